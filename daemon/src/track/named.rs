//! Packets that the kernel named, as logged or as dropped: which connection they belong to, and those that wait for one.
//!
//! What the kernel says of a packet and the packet's frame come in any order. In this order: a form that is known; a twin on
//! another device (see [`super::nat`]). One without a connection waits a second for its frame, looked at again when a new form
//! appears; after that, what the kernel says is all there is, and is told as a connection of its own. Bounded: when too many
//! wait, the oldest wait no longer.

use std::collections::VecDeque;

use weir_cluster::UnixNanos;

use super::nat::{Fingerprint, Passage};
use super::{Place, SECOND, Sink, Stats, Tracker};
use crate::capture::{Direction, InterfaceId, Role};
use crate::decode::{self, Fragment, Packet};
use crate::testimony::{DroppedPacket, LoggedPacket};

/// A named packet waits so long for a frame of its connection.
const WAIT_NS: u64 = SECOND;
/// Named packets of one kind that wait.
const MAX_WAITING: usize = 4096;
/// So many are looked at with each new form; more, only so often: or each new connection would cost a look at all of them.
const FEW: usize = 64;
const LOOK_NS: u64 = 5_000_000;

/// What the kernel says of one packet.
pub(super) trait Named: Clone {
    /// When it was said.
    fn at(&self) -> UnixNanos;
    /// The packet, where it can be read and is this node's to tell of.
    fn packet(&self, settings: &decode::Settings) -> Option<Packet<'_>>;
    /// Where those of this kind wait.
    fn waiting(unclaimed: &mut Unclaimed) -> &mut Waiting<Self>;
    /// Counts one of which no frame was seen.
    fn count_unseen(stats: &mut Stats);
    /// Writes it into its connection.
    fn note(&self, packet: &Packet<'_>, place: Place, tracker: &mut Tracker, sink: Sink<'_>);
}

/// Named packets without a connection.
#[derive(Debug, Default)]
pub(super) struct Unclaimed {
    pub(super) logged: Waiting<LoggedPacket>,
    pub(super) dropped: Waiting<DroppedPacket>,
}

impl Unclaimed {
    pub(super) fn is_empty(&self) -> bool {
        self.logged.packets.is_empty() && self.dropped.packets.is_empty()
    }

    /// A new form may be the one that is waited for.
    pub(super) const fn form_made(&mut self) {
        self.logged.stale = true;
        self.dropped.stale = true;
    }

    pub(super) fn set_back(&mut self, now: UnixNanos) {
        self.logged.set_back(now);
        self.dropped.set_back(now);
    }
}

/// Those of one kind, oldest first, each with the time since when it waits.
#[derive(Debug)]
pub(super) struct Waiting<N> {
    packets: VecDeque<(UnixNanos, N)>,
    /// Forms were made since they were looked at last.
    stale: bool,
    looked_at: UnixNanos,
}

impl<N> Default for Waiting<N> {
    fn default() -> Self {
        Self { packets: VecDeque::new(), stale: false, looked_at: UnixNanos::ZERO }
    }
}

impl<N> Waiting<N> {
    fn set_back(&mut self, now: UnixNanos) {
        self.looked_at = self.looked_at.min(now);
        for (since, _) in &mut self.packets {
            *since = (*since).min(now);
        }
    }

    fn overdue(&self, now: UnixNanos) -> bool {
        let waited = self.packets.front().map_or(0, |(since, _)| now.nanos_since(*since));
        waited > WAIT_NS || self.packets.len() > MAX_WAITING
    }

    /// True if it is time to look at them again.
    fn is_due(&mut self, now: UnixNanos) -> bool {
        let few = self.packets.len() <= FEW || now.nanos_since(self.looked_at) >= LOOK_NS;
        let due = self.stale && few && !self.packets.is_empty();
        if due {
            (self.stale, self.looked_at) = (false, now);
        }
        due
    }
}

impl Tracker {
    /// The kernel named a packet.
    pub(super) fn named<N: Named>(&mut self, named: &N, sink: Sink<'_>) {
        if !self.place_named(named, sink) {
            // Before the first packet there is no other clock than the kernel's own.
            let now = if self.now == UnixNanos::ZERO { named.at() } else { self.now };
            N::waiting(&mut self.unclaimed).packets.push_back((now, named.clone()));
            self.expire::<N>(sink);
        }
    }

    /// True if it needs to wait no longer.
    fn place_named<N: Named>(&mut self, named: &N, sink: Sink<'_>) -> bool {
        let Some(packet) = named.packet(&self.decode) else {
            return true;
        };
        let Some(packet) = self.whole_of(packet) else {
            return false;
        };
        // What is said of a new connection's first packet is nothing to the one that had its addresses before.
        let known = self.known(packet.tuple).filter(|place| !self.begins_anew(*place, &packet));
        let Some(place) = known.or_else(|| self.twin_of_named(&packet)) else {
            return false;
        };
        named.note(&packet, place, self, sink);
        true
    }

    /// A later piece of a datagram has the ports of the first. None while that was not seen.
    fn whole_of<'a>(&self, packet: Packet<'a>) -> Option<Packet<'a>> {
        if packet.fragment == Fragment::Later { self.fragments.belonging(&packet) } else { Some(packet) }
    }

    fn twin_of_named(&mut self, packet: &Packet<'_>) -> Option<Place> {
        let print = Fingerprint::of(packet)?;
        let (id, source) = self.twins.find(print, None, packet.tuple, NOWHERE, packet.at)?;
        let slot = self.slot_of(id)?;
        let place = self.add_form(slot, packet.tuple, source)?;
        self.connections.get_mut(slot)?.order_forms();
        Some(place)
    }

    /// New forms may have appeared: those who wait may belong to one.
    pub(super) fn claim_named(&mut self, sink: Sink<'_>) {
        if self.unclaimed.is_empty() {
            return;
        }
        self.claim::<LoggedPacket>(sink);
        self.claim::<DroppedPacket>(sink);
    }

    fn claim<N: Named>(&mut self, sink: Sink<'_>) {
        let now = self.now;
        let waiting = N::waiting(&mut self.unclaimed);
        if !waiting.is_due(now) {
            return;
        }
        for _ in 0..waiting.packets.len() {
            let Some((since, named)) = N::waiting(&mut self.unclaimed).packets.pop_front() else {
                break;
            };
            if !self.place_named(&named, sink) {
                N::waiting(&mut self.unclaimed).packets.push_back((since, named));
            }
        }
    }

    /// Those who waited long enough are told without a frame.
    pub(super) fn expire_named(&mut self, sink: Sink<'_>) {
        self.expire::<LoggedPacket>(sink);
        self.expire::<DroppedPacket>(sink);
    }

    fn expire<N: Named>(&mut self, sink: Sink<'_>) {
        while N::waiting(&mut self.unclaimed).overdue(self.now) {
            self.tell_oldest::<N>(sink);
        }
    }

    pub(super) fn tell_all_named(&mut self, sink: Sink<'_>) {
        while !self.unclaimed.is_empty() {
            self.tell_oldest::<LoggedPacket>(sink);
            self.tell_oldest::<DroppedPacket>(sink);
        }
    }

    fn tell_oldest<N: Named>(&mut self, sink: Sink<'_>) {
        let Some((_, named)) = N::waiting(&mut self.unclaimed).packets.pop_front() else {
            return;
        };
        if self.place_named(&named, sink) {
            return;
        }
        N::count_unseen(&mut self.stats);
        // A later piece alone tells of no connection.
        if let Some(packet) = named.packet(&self.decode).filter(|packet| packet.fragment != Fragment::Later) {
            let place = self.begin(&packet, sink);
            named.note(&packet, place, self, sink);
        }
    }
}

/// The kernel's word stands between the devices: no passage of its own.
const NOWHERE: Passage = Passage {
    interface: InterfaceId(0),
    role: Role::Unknown,
    direction: Direction::Unknown,
    ttl: 0,
    ip_id: None,
};

/// A packet as the kernel gives it, from its IP header on.
pub(super) fn read<'a>(
    at: UnixNanos,
    ifindex: u32,
    bytes: &'a [u8],
    settings: &decode::Settings,
) -> Option<Packet<'a>> {
    decode::decode_ip(at, InterfaceId(ifindex), Direction::Unknown, bytes, settings).ok()
}
