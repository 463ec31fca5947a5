//! Registry.
pub mod budget;
pub mod dns;
