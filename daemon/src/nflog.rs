//! The kernel's packet log: what rules with `-j NFLOG` say, as [`LoggedPacket`](crate::testimony::LoggedPacket).
//!
//! A CNI that logs what its policies stop names the rule in the prefix: the one piece of evidence that says *which* rule.
//! A message is the same live and in a recording (LINKTYPE_NFLOG): the codec is pure, the reader knows sockets.

mod codec;
mod reader;

pub use codec::{emit_packet, parse_packet};
pub use reader::{NflogError, Reader, Settings, Stats, start};
