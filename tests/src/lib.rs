//! The tests that no single package can hold: the law of the tree, scenarios from capture to flows, whole programs.
//!
//! The library is empty on purpose; look into `tests/`.
