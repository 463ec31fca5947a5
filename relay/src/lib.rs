//! Many daemons in; one ordered stream and one row a connection out.
//!
//! The stages in their order: [`peers`] says who the daemons are, [`peer`] reads one stream from each, [`merge`] puts
//! them in order, [`join`] makes one row of what several nodes saw, [`history`] keeps what is recent, [`serve`] answers.
//! [`pipeline`] calls merge and join in order; [`status`] is what the relay knows of itself; only [`app`] wires.

pub mod app;
pub mod config;
pub mod history;
pub mod join;
pub mod merge;
pub mod moment;
pub mod node;
pub mod peer;
pub mod peers;
pub mod pipeline;
pub mod serve;
pub mod status;
pub mod stop;
