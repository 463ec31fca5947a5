//! What the kernel itself says about connections: conntrack entries, logged packets and dropped ones, as values.
//!
//! The readers (`conntrack.rs`, `nflog.rs`, `drops.rs`) and a recording's file make them; the tracker believes them. They arrive after
//! the packet they are about, in no fixed order with it. Nothing here does I/O.

pub mod reason;
pub mod rule;

use std::fmt;
use std::sync::Arc;

use weir_cluster::UnixNanos;

use crate::tuple::Tuple;

/// One piece of the kernel's testimony.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Testimony {
    /// A conntrack entry was made, changed, or found in a dump.
    Tracked(ConntrackEntry),
    /// A conntrack entry is gone.
    Untracked(ConntrackEntry),
    /// The kernel's packet log told of a packet.
    Logged(LoggedPacket),
    /// The kernel gave a packet up.
    Dropped(DroppedPacket),
}

/// An entry of the kernel's connection tracking (linux/netfilter/nfnetlink_conntrack.h).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConntrackEntry {
    /// When weir learnt it.
    pub at: UnixNanos,
    /// As the first packet was sent.
    pub original: Tuple,
    /// As the answer comes back from who really answers; differs from the reversed original where there is NAT.
    pub reply: Tuple,
    /// Conntrack zone, 0 the default.
    pub zone: u16,
    /// How far the conversation was when this was said.
    pub phase: Phase,
}

/// How far conntrack says that a conversation is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// TCP's first SYN was seen and nothing else: SYN_SENT.
    Opening,
    /// Every other state, and all that is not TCP.
    #[default]
    Open,
    /// Over, the entry kept for stragglers alone: TCP's TIME_WAIT and CLOSE.
    Over,
}

impl ConntrackEntry {
    /// The tuple where the destination is translated already and the source not yet: between the kernel's PREROUTING and
    /// POSTROUTING, where a bridge's device and the kernel's log see it. None where not both are translated.
    #[must_use]
    pub fn between(&self) -> Option<Tuple> {
        let (original, backend) = (self.original, self.as_backend_sees());
        let both = original.source != backend.source && original.destination != backend.destination;
        both.then_some(Tuple { destination: backend.destination, ..original })
    }

    /// The tuple as the backend sees it: the reply reversed.
    #[must_use]
    pub const fn as_backend_sees(&self) -> Tuple {
        self.reply.reversed()
    }
}

/// A packet that a LOG rule sent to NFLOG (linux/netfilter/nfnetlink_log.h).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedPacket {
    /// Time of the packet where the kernel gave one, else of reading it.
    pub at: UnixNanos,
    /// The rule's prefix, raw.
    pub prefix: Arc<str>,
    /// Group it came in.
    pub group: u16,
    /// Device it came in by and would leave by, 0 where unknown.
    pub in_ifindex: u32,
    /// See `in_ifindex`.
    pub out_ifindex: u32,
    /// Ports of the bridge where it was seen passing one, by which it came in and would leave; 0 elsewhere.
    pub in_port_ifindex: u32,
    /// See `in_port_ifindex`.
    pub out_port_ifindex: u32,
    /// The packet from its IP header on, cut at the rule's snap length.
    pub packet: Vec<u8>,
}

/// A packet that the kernel gave up, and why (tracepoint skb:kfree_skb, include/net/dropreason-core.h).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DroppedPacket {
    /// When.
    pub at: UnixNanos,
    /// The kernel's name for the reason, without its prefix: `NETFILTER_DROP`.
    pub reason: Arc<str>,
    /// Where.
    pub site: DropSite,
    /// The packet from its IP header on, cut.
    pub packet: Vec<u8>,
}

/// Where a packet was given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DropSite {
    /// Whose network namespace it was.
    pub owner: Owner,
    /// The device that had the packet, in that namespace. None: it was on none, or on none any more.
    pub device: Option<Device>,
}

/// Whose network namespace it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// The node's.
    Node,
    /// A pod's: the one behind this device of the node.
    Pod(Device),
}

/// A device, as its namespace names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// The kernel's index.
    pub ifindex: u32,
    /// Name, as `ip link` shows it.
    pub name: Arc<str>,
}

impl fmt::Display for DropSite {
    /// As the end of a sentence: ` at eth0`, ` at eth0 in the pod behind veth1a2b`, or nothing where nothing is known.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(device) = &self.device {
            write!(out, " at {}", device.name)?;
        }
        match &self.owner {
            Owner::Node => Ok(()),
            Owner::Pod(host) => write!(out, " in the pod behind {}", host.name),
        }
    }
}
