//! Questions as people ask them, over manifests as they write them.
