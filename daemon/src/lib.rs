//! The node's daemon: packets in, annotated flows out.
//!
//! The stages in their order; each takes the type of the one before it and imports nothing behind it. `pipeline` calls them,
//! only `app` wires.

pub mod capture;
pub mod decode;
pub mod track;

pub mod enrich;
pub mod explain;
pub mod pipeline;
pub mod ring;
pub mod serve;

pub mod conntrack;
#[cfg(feature = "ebpf")]
pub mod drops;
pub mod nflog;
pub mod testimony;
pub mod tuple;

pub mod app;
pub mod config;
pub mod governor;
pub mod netlink;
pub mod notice;
pub mod run_state;
pub mod worker;
