//! The kernel's connection tracking: what ctnetlink says of connections, as [`Testimony`](crate::testimony::Testimony).
//!
//! An entry names a connection in both of its forms, before and after NAT; that is all weir takes from it. Counters come
//! from packets, so `nf_conntrack_acct` is not needed. A message is the same live and in a recording: the codec is pure,
//! the reader knows sockets and nothing of attributes.

mod codec;
mod reader;
pub mod table;

pub use codec::{emit_message, parse_message};
pub use reader::{ConntrackError, Reader, Settings, Stats, start};
