//! One connection as one node sees it: its forms, the devices it passed, what was counted and what was observed.
//!
//! Everything the later stages need is here as plain values. One path point is the *measured* one: its counters are the
//! connection's, since the same packet is seen on up to three devices of a node and must count once.

use std::sync::Arc;

use smallvec::SmallVec;
use weir_cluster::UnixNanos;

pub use super::counters::{Counters, Counts};
use super::dns::Exchange;
pub use super::dropped::{Cause, Drops, KernelDrop};
use super::emission::Emission;
use super::logged::{LogRule, Passing};
pub use super::path::PathPoint;
use super::path::UNKNOWN_POSITION;
use super::tcp::Conversation;
pub use super::tunnels::{Seen, Tunnels};
use crate::capture::{Detail, Direction, InterfaceId, Role};
use crate::decode::{Opaque, TcpFlags};
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

impl Way {
    /// The other one.
    #[must_use]
    pub const fn opposite(self) -> Self {
        match self {
            Self::Forward => Self::Reverse,
            Self::Reverse => Self::Forward,
        }
    }
}

/// How a second form was found to be the same connection. Stronger is greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NatSource {
    /// The same UDP payload and IP id, DNS id and question, or ICMP echo, with one shared end.
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
    /// The kernel gave one of its packets up.
    KernelDrop,
    /// The kernel's packet log named one of its packets.
    Logged,
    /// ICMP unreachable about one of its packets.
    IcmpUnreachable,
    /// An RST that came out of the destination's veth.
    ResetByEndpoint,
    /// An RST that no pod sent.
    ResetByNetwork,
    /// A router has no room for a packet of that size: ICMP fragmentation needed, ICMPv6 packet too big.
    PacketTooBig,
    /// A router gave a packet up that had passed too many: ICMP time exceeded in transit.
    HopsExceeded,
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
    /// An ICMP error.
    Icmp(IcmpError),
    /// The kernel's reason and place of a drop.
    Kernel(Arc<Cause>),
    /// Weir's clock.
    Time,
}

/// An ICMP or ICMPv6 error, by the protocol of its connection's addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IcmpError {
    /// Who sent it: a router, a node, or an end itself.
    pub sender: std::net::IpAddr,
    /// Type.
    pub kind: u8,
    /// Code.
    pub code: u8,
    /// The largest packet that fits, bytes from the IP header on, where it says so.
    pub mtu: Option<u32>,
    /// Whose packet it is about.
    pub about: Way,
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
    /// The least that was looked at while it had packets.
    pub reduced: Detail,
}

/// A connection. Its lists have room in place for what is usual: before and behind one DNAT, three devices of a node, seen
/// delivered and answered. So one that is known allocates nothing.
#[derive(Debug)]
pub struct Connection {
    /// Its number.
    pub id: ConnectionId,
    /// Its address forms, client first, in the order in which they were found along the forward way. Never empty.
    pub forms: SmallVec<[Tuple; 2]>,
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
    pub path: SmallVec<[PathPoint; 3]>,
    /// The point whose counters and times count: index into `path`.
    pub measured: usize,
    /// Where the way is counted that never passes the measured point: an index into `path`. Answers may come back by another
    /// device, or past the pod's.
    pub(super) aside: Option<usize>,
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
    pub evidence: SmallVec<[Evidence; 2]>,
    /// Where log rules named its packets.
    pub(super) passing: Passing,
    /// What the kernel gave up of it.
    pub(super) drops: Option<Box<Drops>>,
    /// The log rules that named it.
    pub rules: Vec<LogRule>,
    /// What is missing.
    pub gaps: Gaps,
    /// Packets that are still compared with those of other connections: only the first of each.
    pub(super) prints_left: u8,
    /// Capture losses counted when it began.
    pub(super) losses: u64,
    /// TCP flags from the client since the last flow.
    pub flags_forward: TcpFlags,
    /// ICMP type and code of the first message.
    pub icmp: Option<(u8, u8)>,
    /// MAC addresses at the measured point, forward.
    pub ethernet: Option<([u8; 6], [u8; 6])>,
    /// What its packets wrap unreadably, where they do.
    pub opaque: Option<Opaque>,
    pub(super) emission: Emission,
}

/// What can be said of a connection's fate from what this node observed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// Seen delivered, or answered.
    Forwarded,
    /// Seen stopped: the kernel dropped it, or its log names it, and nothing was delivered; or the answer was dropped.
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

    /// The connection that this one was found to be part of, after something was told of both.
    #[must_use]
    pub const fn merged_into(&self) -> Option<ConnectionId> {
        self.emission.merged_into
    }

    /// True if `observation` was made.
    #[must_use]
    pub fn observed(&self, observation: Observation) -> bool {
        self.evidence.iter().any(|evidence| evidence.observation == observation)
    }

    /// The verdict that the evidence supports. A log rule may log what it lets pass: delivery outweighs it, and so does a packet
    /// that left the node, since the kernel's log stands before every device that sends. What was logged on its way into the node
    /// itself is not seen again if it passes: that log alone is no evidence. A drop of the kernel's is one, unless packets were seen
    /// behind it.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        let passed = [Observation::Delivered, Observation::Answered, Observation::ResetByEndpoint];
        if self.drops.is_some() && self.stopped_by().is_some() {
            Verdict::Dropped
        } else if passed.iter().any(|kind| self.observed(*kind)) {
            Verdict::Forwarded
        } else if self.passing.is_last_of(&self.path) {
            Verdict::Dropped
        } else {
            Verdict::Traced
        }
    }

    /// The farthest point on the forward way where its packets were seen.
    #[must_use]
    pub fn farthest(&self) -> Option<&PathPoint> {
        self.path.iter().filter(|point| point.counters.forward.packets > 0).max_by_key(|point| point.along())
    }

    /// True if packets of one way only were seen, on every point.
    #[must_use]
    pub fn one_sided(&self) -> bool {
        let forward = self.path.iter().any(|point| point.counters.forward.packets > 0);
        let reverse = self.path.iter().any(|point| point.counters.reverse.packets > 0);
        forward != reverse
    }

    pub(super) fn observe(&mut self, observation: Observation, at: UnixNanos, witness: Witness) -> bool {
        if let Some(known) = self.evidence.iter_mut().find(|known| known.observation == observation) {
            // Frames of several devices, and connections that become one, come in no certain order: the first sighting is told.
            let seen = |witness: &Witness| matches!(witness, Witness::Device(..));
            if at < known.at && seen(&known.witness) && seen(&witness) {
                (known.at, known.witness) = (at, witness);
            }
            return false;
        }
        self.evidence.push(Evidence { observation, at, witness });
        self.evidence.sort_by_key(|evidence| evidence.observation);
        true
    }

    /// The smallest MTU that a router asked for.
    #[must_use]
    pub fn asked_mtu(&self) -> Option<u32> {
        self.evidence.iter().find_map(|evidence| match (evidence.observation, &evidence.witness) {
            (Observation::PacketTooBig, Witness::Icmp(error)) => error.mtu,
            _ => None,
        })
    }

    /// Takes an observation back that turned out to be none.
    pub(super) fn retract(&mut self, observation: Observation) -> bool {
        let before = self.evidence.len();
        self.evidence.retain(|evidence| evidence.observation != observation);
        self.evidence.len() < before
    }

    /// The other end is the client after all: conntrack knows, or a SYN came late.
    pub(super) fn flip(&mut self) {
        for form in &mut self.forms {
            *form = form.reversed();
        }
        for point in &mut self.path {
            point.counters.flip();
            std::mem::swap(&mut point.flags.0, &mut point.flags.1);
            std::mem::swap(&mut point.forward_direction, &mut point.reverse_direction);
            point.tunnels.flip();
        }
        self.emission.told.flip();
        self.ethernet = self.ethernet.map(|(source, destination)| (destination, source));
        self.flags_forward = TcpFlags::default();
        if let Some(tcp) = &mut self.tcp {
            tcp.flip();
        }
        if let Some(drops) = &mut self.drops {
            drops.flip();
        }
        if let Some(dns) = &mut self.dns {
            dns.flip();
        }
        self.witness_anew();
    }

    /// What was seen of the packets means the other thing when the ends change places.
    fn witness_anew(&mut self) {
        for kind in [Observation::Delivered, Observation::Answered] {
            self.retract(kind);
        }
        let mut seen = Vec::new();
        for point in &self.path {
            let to_pod = point.role == Role::PodVeth && point.forward_direction == Direction::Outbound;
            if to_pod && point.counters.forward.packets > 0 {
                seen.push((Observation::Delivered, point.first, point.interface, point.forward_direction));
            }
            if point.counters.reverse.packets > 0 && !self.observed(Observation::ResetByEndpoint) {
                seen.push((Observation::Answered, point.first, point.interface, point.reverse_direction));
            }
        }
        for (observation, at, interface, direction) in seen {
            self.observe(observation, at, Witness::Device(interface, direction));
        }
    }

    /// Finds the client's and the server's form by where along the way each was seen. Conntrack's word is not touched.
    pub(super) fn order_forms(&mut self) {
        if self.nat_source == Some(NatSource::Conntrack) || self.forms.len() < 2 {
            return;
        }
        let (mut first, mut last) = (None, None);
        for form in 0..self.forms.len() {
            let points = || self.path.iter().filter(move |point| point.form == form).map(PathPoint::along);
            // A form that only the kernel's log told of stands in the middle.
            let logged = (UNKNOWN_POSITION, UnixNanos::MAX);
            let (low, high) = (points().min().unwrap_or(logged), points().max().unwrap_or(logged));
            if first.is_none_or(|(known, _)| low < known) {
                first = Some((low, form));
            }
            if last.is_none_or(|(known, _)| high > known) {
                last = Some((high, form));
            }
        }
        let (Some((_, original)), Some((_, backend))) = (first, last) else {
            return;
        };
        let news = (self.original, self.backend) != (original, backend);
        self.emission.correction |= self.emission.settled && news;
        self.original = original;
        self.backend = backend;
    }

    /// Conntrack named a translation from one form to another. Two zones may know a part of the way each: what one makes of
    /// what the other made belongs together. What packets showed of a further leg stays in `forms` and the path.
    pub(super) fn translated(&mut self, from: usize, to: usize, zone: u16) {
        let known = self.nat_source == Some(NatSource::Conntrack);
        let (original, backend) = match (self.original, self.backend) {
            (first, last) if known && from == last => (first, to),
            (first, last) if known && to == first => (from, last),
            _ => (from, to),
        };
        let news = !self.conntrack && (self.original, self.backend) != (original, backend);
        self.emission.correction |= self.emission.settled && news;
        (self.original, self.backend) = (original, backend);
        self.conntrack = true;
        self.zone = zone;
        self.nat_source = Some(NatSource::Conntrack);
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
