//! The targets, by what they take their bytes from.

pub(crate) mod cluster;
pub(crate) mod kernel;
pub(crate) mod packets;
pub(crate) mod pipeline;
pub(crate) mod wire;
