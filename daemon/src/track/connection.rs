//! One connection as one node sees it: its forms, the devices it passed, what was counted and what was observed.
//!
//! Everything the later stages need is here as plain values. One path point is the *measured* one: its counters are the
//! connection's, since the same packet is seen on up to three devices of a node and must count once.

use std::sync::Arc;

use weir_cluster::UnixNanos;

use super::dns::Exchange;
use super::tcp::Conversation;
use crate::capture::{Direction, InterfaceId, Role};
use crate::decode::{TcpFlags, Tunnel};
use crate::tuple::Tuple;

/// Number of a connection on this node, from 1 in each run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(pub u64);

/// Which end of a connection a packet came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Way {
    /// From the client.
    Forward,
    /// From the server.
    Reverse,
}

/// Counts of one way through one point.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Packets as the device carried them.
    pub packets: u64,
    /// Packets on the wire that these stand for, by the segment size.
    pub wire_packets: u64,
    /// Bytes from the IP header on.
    pub ip_bytes: u64,
    /// Bytes of the whole frames.
    pub frame_bytes: u64,
    /// Bytes of transport payload.
    pub payload_bytes: u64,
}

impl Counts {
    /// Adds one packet's counts.
    pub const fn add(&mut self, more: &Self) {
        self.packets += more.packets;
        self.wire_packets += more.wire_packets;
        self.ip_bytes += more.ip_bytes;
        self.frame_bytes += more.frame_bytes;
        self.payload_bytes += more.payload_bytes;
    }

    /// What was counted since `earlier`; 0 where a changed measuring point made it less.
    #[must_use]
    pub const fn since(&self, earlier: &Self) -> Self {
        Self {
            packets: self.packets.saturating_sub(earlier.packets),
            wire_packets: self.wire_packets.saturating_sub(earlier.wire_packets),
            ip_bytes: self.ip_bytes.saturating_sub(earlier.ip_bytes),
            frame_bytes: self.frame_bytes.saturating_sub(earlier.frame_bytes),
            payload_bytes: self.payload_bytes.saturating_sub(earlier.payload_bytes),
        }
    }
}

/// Counts of both ways.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// From the client.
    pub forward: Counts,
    /// From the server.
    pub reverse: Counts,
}

impl Counters {
    /// The counts of one way, to add to.
    pub const fn way(&mut self, way: Way) -> &mut Counts {
        match way {
            Way::Forward => &mut self.forward,
            Way::Reverse => &mut self.reverse,
        }
    }

    /// See [`Counts::since`].
    #[must_use]
    pub const fn since(&self, earlier: &Self) -> Self {
        Self { forward: self.forward.since(&earlier.forward), reverse: self.reverse.since(&earlier.reverse) }
    }

    /// Swaps the ways, when the client turns out to be the other end.
    pub const fn flip(&mut self) {
        std::mem::swap(&mut self.forward, &mut self.reverse);
    }
}

/// A device where the connection was seen, in one form and one wrapping.
#[derive(Clone, Debug)]
pub struct PathPoint {
    /// The device.
    pub interface: InterfaceId,
    /// Its role.
    pub role: Role,
    /// Which form of the addresses, an index into [`Connection::forms`].
    pub form: usize,
    /// The encapsulation there, outer addresses in the forward direction, of the latest packet.
    pub tunnel: Option<Tunnel>,
    /// How the forward direction passes the device.
    pub forward_direction: Direction,
    /// First packet here.
    pub first: UnixNanos,
    /// Last packet here.
    pub last: UnixNanos,
    /// Last forward packet here, in the order of sight over all points; 0 for none.
    pub last_forward_sight: u64,
    /// What passed.
    pub counters: Counters,
}

/// How a second form was found to be the same connection. Stronger is greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NatSource {
    /// The same UDP payload and IP id, or DNS id and question, with one shared end.
    Payload,
    /// The same TCP sequence numbers with one shared end.
    Sequence,
    /// The kernel's connection tracking.
    Conntrack,
}

/// How far the conversation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// No answer yet.
    Opening,
    /// Answered.
    Established,
    /// One side has said FIN.
    Closing,
    /// Both have.
    Closed,
    /// RST.
    Reset,
    /// No packet for the protocol's idle time.
    Idle,
    /// Not answered within its time.
    Unanswered,
    /// Refused by ICMP, or by an RST that no pod sent.
    Rejected,
    /// Left the table early.
    Evicted,
}

impl State {
    /// True once nothing more is to come but stragglers.
    #[must_use]
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Closed | Self::Reset | Self::Idle | Self::Evicted)
    }
}

/// A kind of observation that a verdict can rest on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Observation {
    /// A packet left a pod's veth towards the destination.
    Delivered,
    /// The other end answered.
    Answered,
    /// The kernel's packet log named one of its packets.
    Logged,
    /// ICMP unreachable about one of its packets.
    IcmpUnreachable,
    /// An RST that came out of the destination's veth.
    ResetByEndpoint,
    /// An RST that no pod sent.
    ResetByNetwork,
    /// No answer in time.
    Unanswered,
}

/// What was observed, when, and where or by whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// Kind.
    pub observation: Observation,
    /// Packet time.
    pub at: UnixNanos,
    /// The place or the witness.
    pub witness: Witness,
}

/// Who or what an observation comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Witness {
    /// A device, and the way the packet passed it.
    Device(InterfaceId, Direction),
    /// A log rule's prefix.
    Rule(Arc<str>),
    /// An ICMP message: sender, type, code.
    Icmp(std::net::IpAddr, u8, u8),
    /// Weir's clock.
    Time,
}

/// What is missing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gaps {
    /// The first packet seen was not the connection's first.
    pub midstream: bool,
    /// The capture cut packets so that a message could not be read.
    pub truncated: bool,
    /// The capture lost frames while it was open.
    pub capture_loss: bool,
}

/// A connection.
#[derive(Clone, Debug)]
pub struct Connection {
    /// Its number.
    pub id: ConnectionId,
    /// Its address forms, client first, in the order in which they were found along the forward way. Never empty.
    pub forms: Vec<Tuple>,
    /// The client's own form, once conntrack or the order of sight settled it: index into `forms`.
    pub original: usize,
    /// The form as the backend sees it: index into `forms`. Equal to `original` without NAT.
    pub backend: usize,
    /// How the forms were joined; absent with one form.
    pub nat_source: Option<NatSource>,
    /// Conntrack named it, with or without NAT.
    pub conntrack: bool,
    /// Its conntrack zone.
    pub zone: u16,
    /// Where it was seen.
    pub path: Vec<PathPoint>,
    /// The point whose counters and times count: index into `path`.
    pub measured: usize,
    /// How far it is.
    pub state: State,
    /// First packet, on any point.
    pub first_packet: UnixNanos,
    /// Last packet, on any point.
    pub last_packet: UnixNanos,
    /// TCP's measures.
    pub tcp: Option<Conversation>,
    /// DNS questions waiting for their answer.
    pub dns: Option<Box<Exchange>>,
    /// What was observed, one of each kind.
    pub evidence: Vec<Evidence>,
    /// Prefixes of log rules that named it.
    pub rule_names: Vec<Arc<str>>,
    /// What is missing.
    pub gaps: Gaps,
    /// TCP flags from the client since the last flow.
    pub flags_forward: TcpFlags,
    /// ICMP type and code of the first message.
    pub icmp: Option<(u8, u8)>,
    /// MAC addresses at the measured point, forward.
    pub ethernet: Option<([u8; 6], [u8; 6])>,
    pub(super) emission: Emission,
}

/// What was already told about a connection, and when to look at it next.
#[derive(Clone, Debug)]
pub(super) struct Emission {
    pub settled: bool,
    pub settle_at: UnixNanos,
    pub told_at: UnixNanos,
    pub told: Counters,
    pub told_state: State,
    pub told_verdict: Verdict,
    pub correction: bool,
    pub ended: bool,
    pub over_at: Option<UnixNanos>,
    pub due: UnixNanos,
    pub waiting: Vec<super::event::Message>,
}

/// What can be said of a connection's fate from what this node observed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// Seen delivered, or answered.
    Forwarded,
    /// Seen stopped: the kernel's own log names it and nothing was delivered.
    Dropped,
    /// Neither is known.
    Traced,
}

impl Connection {
    /// The tuple as the client sent it.
    #[must_use]
    pub fn original_tuple(&self) -> Tuple {
        self.forms.get(self.original).copied().unwrap_or(self.forms[0])
    }

    /// The tuple as the backend sees it.
    #[must_use]
    pub fn backend_tuple(&self) -> Tuple {
        self.forms.get(self.backend).copied().unwrap_or(self.forms[0])
    }

    /// The counters that count.
    #[must_use]
    pub fn total(&self) -> Counters {
        self.path.get(self.measured).map(|point| point.counters).unwrap_or_default()
    }

    /// True if `observation` was made.
    #[must_use]
    pub fn observed(&self, observation: Observation) -> bool {
        self.evidence.iter().any(|evidence| evidence.observation == observation)
    }

    /// The verdict that the evidence supports. A log rule may log what it lets pass, so delivery outweighs it.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        let passed = [Observation::Delivered, Observation::Answered, Observation::ResetByEndpoint];
        if passed.iter().any(|kind| self.observed(*kind)) {
            Verdict::Forwarded
        } else if self.observed(Observation::Logged) {
            Verdict::Dropped
        } else {
            Verdict::Traced
        }
    }

    /// The farthest point of the forward way: where its latest forward packet was seen last.
    #[must_use]
    pub fn farthest(&self) -> Option<&PathPoint> {
        self.path
            .iter()
            .filter(|point| point.last_forward_sight > 0)
            .max_by_key(|point| point.last_forward_sight)
    }

    /// True if packets of one way only were seen, on every point.
    #[must_use]
    pub fn one_sided(&self) -> bool {
        let forward = self.path.iter().any(|point| point.counters.forward.packets > 0);
        let reverse = self.path.iter().any(|point| point.counters.reverse.packets > 0);
        forward != reverse
    }

    pub(super) fn observe(&mut self, observation: Observation, at: UnixNanos, witness: Witness) -> bool {
        if self.observed(observation) {
            return false;
        }
        self.evidence.push(Evidence { observation, at, witness });
        self.evidence.sort_by_key(|evidence| evidence.observation);
        true
    }

    /// The other end is the client after all: conntrack knows, or a SYN came late.
    pub(super) fn flip(&mut self) {
        for form in &mut self.forms {
            *form = form.reversed();
        }
        for point in &mut self.path {
            point.counters.flip();
            point.forward_direction = opposite(point.forward_direction);
            if let Some(tunnel) = &mut point.tunnel {
                std::mem::swap(&mut tunnel.source, &mut tunnel.destination);
            }
        }
        self.emission.told.flip();
        if let Some(tcp) = &mut self.tcp {
            tcp.flip();
        }
    }

    /// Which way a tuple in one of its forms goes.
    pub(super) fn way_of(&self, form: usize, tuple: Tuple) -> Way {
        match self.forms.get(form) {
            Some(known) if known.source == tuple.source => Way::Forward,
            _ => Way::Reverse,
        }
    }
}

/// The other direction through a device.
pub(super) const fn opposite(direction: Direction) -> Direction {
    match direction {
        Direction::Inbound => Direction::Outbound,
        Direction::Outbound => Direction::Inbound,
        Direction::Unknown => Direction::Unknown,
    }
}
