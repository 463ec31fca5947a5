//! The node's daemon: packets in, annotated flows out.
//!
//! The stages in their order; each takes the type of the one before it and imports nothing behind it. Only `app` wires.

pub mod capture;
pub mod decode;
pub mod testimony;
pub mod track;
pub mod tuple;
