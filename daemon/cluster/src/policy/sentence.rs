//! What policies say, in words for people.
