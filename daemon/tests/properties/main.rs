//! What must hold of the whole pipeline for any traffic: clocks that jump wedge no timer, the order in which devices' frames come
//! changes no total, and a capture that begins later gives fewer joins and never another.
//!
//! What holds of every frame holds of a source that counts in the kernel, and both tell the same of every connection.
//!
//! Traffic is drawn from the calls of a node; the last one is tried with real captures too, where WEIR_CORPUS names them.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

mod clock;
mod kernel;
mod node;
mod order;
mod prefix;
mod story;
mod tallies;
