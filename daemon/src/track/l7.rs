//! Registry.
pub mod dns;
