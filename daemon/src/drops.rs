//! Packets that the kernel gives up in the node's network namespace and its pods', with its own reason: as
//! [`DroppedPacket`](crate::testimony::DroppedPacket)s, and counted by reason.
//!
//! A program at the tracepoint skb:kfree_skb (`daemon/ebpf/drops.bpf.c`) sees them all, counts each, and tells of as many of each
//! reason as its rate allows; what it could not tell of is known from the counts. Where no program can run, the daemon goes
//! on without: a drop then is a packet that is not seen any more.

mod abi;
mod names;
mod program;
mod reader;
mod uplinks;

pub use program::{DropsError, Way};
pub use reader::{Reader, ReasonCount, Settings, Stats, start};
