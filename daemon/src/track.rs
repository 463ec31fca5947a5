//! Packets and the kernel's testimony -> [`Event`]s: one connection on this node, whatever number of devices and address
//! forms it is seen in.
//!
//! `join` finds the connection of a packet, `observe` counts and draws evidence, `tally` does both for packets that the source
//! counted, `emit` decides when it is told. Pure: time
//! is the packets' own, handed in; no I/O. The table is bounded: when it is full, the longest idle of a sample of connections
//! ends early, is told so, and counted. A packet that cannot be joined is a connection of its own, never a guess.

mod apart;
mod aside;
pub mod connection;
mod counters;
mod dns;
pub mod dropped;
mod emission;
mod emit;
pub mod event;
mod fragments;
mod icmp;
mod index;
mod join;
pub mod l7;
mod logged;
mod named;
pub mod nat;
mod observe;
mod pack;
mod path;
mod sctp;
mod table;
mod tally;
pub mod tcp;
mod timer;
mod tunnels;

use weir_cluster::UnixNanos;

use crate::capture::{Detail, Role, detail};
use crate::decode::{self, Fragment, Packet};
use crate::testimony::Testimony;
use crate::tuple::Tuple;
use connection::{Connection, ConnectionId};
use event::Event;
use fragments::Fragments;
use index::{Index, Place};
use l7::budget::Budget;
use named::Unclaimed;
use nat::{Testified, Twins};
use table::Table;
use timer::Timers;

/// Bounds and times of the tracker, nanoseconds where `_ns`.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Connections in the table.
    pub max_connections: usize,
    /// In a table of so many, those that wait for their idle time alone are kept in a fifth of their room.
    pub rest_from: usize,
    /// Conntrack entries kept whose packets were not seen yet.
    pub max_testimony: usize,
    /// Bytes kept of messages that have begun and wait for their rest, over all connections.
    pub max_begun_bytes: usize,
    /// The first event waits so long for NAT and verdict.
    pub settle_ns: u64,
    /// A connection with traffic is told of this often.
    pub periodic_ns: u64,
    /// A TCP SYN or a DNS query without answer is called unanswered after this.
    pub unanswered_ns: u64,
    /// A closed connection waits so long for stragglers before its end is told.
    pub linger_ns: u64,
    /// Idle times: established TCP.
    pub tcp_idle_ns: u64,
    /// Idle time of TCP without an answer. Longer than Linux' last wait between SYNs (64 s).
    pub tcp_opening_idle_ns: u64,
    /// Idle time of everything that is not TCP.
    pub datagram_idle_ns: u64,
    /// A told connection stays so long to absorb late packets.
    pub tombstone_ns: u64,
}

const SECOND: u64 = 1_000_000_000;

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_connections: 262_144,
            rest_from: 4_096,
            max_testimony: 131_072,
            max_begun_bytes: 8 << 20,
            settle_ns: 50_000_000,
            periodic_ns: 5 * SECOND,
            unanswered_ns: 3 * SECOND,
            linger_ns: 300_000_000,
            // Linux asks after two hours of silence (net.ipv4.tcp_keepalive_time), nine times, 75 s apart; RFC 5382 (REQ-5) wants a
            // little more than the two hours as well.
            tcp_idle_ns: 8000 * SECOND,
            tcp_opening_idle_ns: 75 * SECOND,
            datagram_idle_ns: 30 * SECOND,
            tombstone_ns: 10 * SECOND,
        }
    }
}

/// What the tracker counts of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Packets taken.
    pub packets: u64,
    /// Packets that were counted and not followed, to stay within the budget.
    pub left_out: u64,
    /// Connections begun.
    pub begun: u64,
    /// Connections that ended early for lack of room.
    pub evicted: u64,
    /// Connections found to be one after both were begun.
    pub merged: u64,
    /// Packets of tallies that came when their connection had made way for the next one with the same addresses and ports.
    pub superseded: u64,
    /// Later pieces of datagrams whose first piece was not seen: without ports they belong to no connection.
    pub unmatched: u64,
    /// Logged packets of which no frame was seen.
    pub logged_unseen: u64,
    /// Dropped packets of which no frame was seen.
    pub dropped_unseen: u64,
    /// Messages of application protocols that were not told for lack of room.
    pub messages_dropped: u64,
}

/// Where an event goes.
pub type Sink<'a> = &'a mut dyn FnMut(Event<'_>);

/// The connection table of one node.
#[derive(Debug)]
pub struct Tracker {
    settings: Settings,
    /// How what the kernel names is read: as frames are.
    decode: decode::Settings,
    detail: Detail,
    connections: Table,
    index: Index,
    testified: Testified,
    twins: Twins,
    fragments: Fragments,
    unclaimed: Unclaimed,
    begun: Budget,
    timers: Timers,
    now: UnixNanos,
    next_id: u64,
    losses: u64,
    hand: usize,
    stats: Stats,
}

impl Tracker {
    /// An empty table.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            testified: Testified::new(settings.max_testimony),
            twins: Twins::new(65_536),
            fragments: Fragments::default(),
            connections: Table::new(settings.rest_from),
            begun: Budget::new(settings.max_begun_bytes),
            settings,
            decode: decode::Settings::default(),
            detail: Detail::Full,
            index: Index::default(),
            unclaimed: Unclaimed::default(),
            timers: Timers::default(),
            now: UnixNanos::from_nanos(0),
            next_id: 1,
            losses: 0,
            hand: 0,
            stats: Stats::default(),
        }
    }

    /// What was counted so far.
    #[must_use]
    pub const fn stats(&self) -> Stats {
        self.stats
    }

    /// The time it has got to: the latest packet's, or what it was told since.
    #[must_use]
    pub const fn now(&self) -> UnixNanos {
        self.now
    }

    /// Connections in the table, told ones that absorb stragglers included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.connections.len()
    }

    /// True without connections.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.connections.is_empty()
    }

    /// Takes a packet seen on a device of this role.
    pub fn packet(&mut self, packet: &Packet<'_>, role: Role, sink: Sink<'_>) {
        self.advance(packet.at, sink);
        if self.is_left_out(packet.tuple) {
            self.stats.left_out += 1;
            return;
        }
        self.stats.packets += 1;
        if packet.fragment == Fragment::Later {
            return self.later_piece(packet, role, sink);
        }
        if self.icmp_error(packet, sink) {
            return;
        }
        let place = self.place_of(packet, role, sink);
        self.count(place, packet, role);
        self.first_piece(packet);
        self.reconsider(place.slot, sink);
        self.claim_named(sink);
    }

    /// Packets that the kernel names are read by these settings.
    pub fn decode_as(&mut self, settings: decode::Settings) {
        self.decode = settings;
    }

    /// From now on so much is looked at.
    pub const fn look_at(&mut self, detail: Detail) {
        self.detail = detail;
    }

    /// True for a packet that is only counted.
    fn is_left_out(&self, tuple: Tuple) -> bool {
        match self.detail {
            Detail::Full | Detail::NoPayload | Detail::NoTiming => false,
            Detail::Sampled => !detail::is_in_sample(tuple) && self.known(tuple).is_none(),
            Detail::CountersOnly => true,
        }
    }

    /// Of a datagram in pieces, pieces that overtook the first one count now. It may be in pieces itself, or in a tunnel's that is.
    fn first_piece(&mut self, packet: &Packet<'_>) {
        let own = (packet.fragment == Fragment::First).then(|| packet.datagram()).flatten();
        let around = packet.wrappings.in_pieces();
        own.into_iter().for_each(|datagram| self.fragments.note(packet, datagram));
        around.into_iter().for_each(|datagram| self.fragments.note_around(packet, datagram));
        for datagram in own.into_iter().chain(around) {
            for (piece, role) in self.fragments.arrived(datagram, packet.at) {
                self.count_piece(&piece, role);
            }
        }
    }

    /// A later piece counts for the connection of the first, and begins none.
    fn later_piece(&mut self, packet: &Packet<'_>, role: Role, sink: Sink<'_>) {
        match self.count_piece(packet, role) {
            Some(slot) => self.reconsider(slot, sink),
            None => self.stats.unmatched += self.fragments.wait(packet, role),
        }
    }

    fn count_piece(&mut self, packet: &Packet<'_>, role: Role) -> Option<usize> {
        let piece = self.fragments.belonging(packet)?;
        let place = self.known(piece.tuple).filter(|place| self.is_open(*place))?;
        self.count(place, &piece, role);
        Some(place.slot)
    }

    /// Takes what the kernel says of itself.
    pub fn testimony(&mut self, testimony: &Testimony, sink: Sink<'_>) {
        match testimony {
            Testimony::Tracked(entry) => {
                self.tracked(entry, sink);
                self.claim_named(sink);
            }
            Testimony::Untracked(entry) => self.testified.drop_entry(entry),
            Testimony::Logged(logged) => self.named(logged, sink),
            Testimony::Dropped(dropped) => self.named(dropped, sink),
        }
    }

    /// Frames were lost: every open connection may lack some. Each is marked when it is looked at next.
    pub const fn capture_lost(&mut self) {
        self.losses += 1;
    }

    /// Lets time pass: tells what is due, at the time it was due, so that a replay tells the same as a live run however often
    /// this is called. A clock that is set back by more than 10 s makes every connection due, so that no timer waits for a time
    /// that will not come again.
    pub fn advance(&mut self, now: UnixNanos, sink: Sink<'_>) {
        if now.plus_nanos(10 * SECOND) < self.now {
            self.restart_timers(now);
        }
        let idle = self.timers.is_empty() && self.unclaimed.is_empty();
        let now = if idle { now } else { self.now.max(now) };
        while let Some(timer) = self.timers.ring(now) {
            self.now = self.now.max(timer.due);
            self.fire(timer, sink);
        }
        self.now = now;
        self.stats.unmatched += self.fragments.expire(now);
        self.expire_named(sink);
    }

    /// Tells every connection's end, as when a capture file is over. The table is empty after it.
    pub fn finish(&mut self, sink: Sink<'_>) {
        self.tell_all_named(sink);
        // Of a big table even a list of it is felt: the timers make room for it, and it has no more than it needs.
        self.timers.clear();
        let least = self.connections.glances().map(|(_, it)| it.id.0).min().unwrap_or(0);
        let mut open: Vec<(u32, u32)> = Vec::with_capacity(self.connections.len());
        open.extend(self.connections.glances().map(|(slot, it)| {
            let [order, slot] =
                [it.id.0 - least, slot as u64].map(|it| u32::try_from(it).unwrap_or(u32::MAX));
            (order, slot)
        }));
        open.sort_unstable();
        for (_, slot) in open {
            self.conclude(slot as usize, sink);
            self.remove(slot as usize);
        }
    }

    fn restart_timers(&mut self, now: UnixNanos) {
        self.timers.clear();
        for (slot, connection) in self.connections.iter_mut() {
            connection.emission.due = now;
            connection.first_packet = connection.first_packet.min(now);
            connection.last_packet = connection.last_packet.min(now);
            connection.emission.told_at = connection.emission.told_at.min(now);
            connection.emission.settle_at = connection.emission.settle_at.min(now);
            connection.emission.over_at = connection.emission.over_at.map(|at| at.min(now));
            self.timers.set(now, connection.id, slot);
        }
        self.unclaimed.set_back(now);
        self.now = now;
    }

    /// Sets a connection's timer to the time that it is due.
    fn set_timer(&mut self, slot: usize) {
        let Some(connection) = self.connections.glance(slot) else { return };
        self.timers.set(connection.due, connection.id, slot);
        self.timers.sweep(&self.connections);
    }

    fn remove(&mut self, slot: usize) {
        self.index.leave(slot, &self.connections);
        self.connections.remove(slot);
    }

    /// The connection that has this form now.
    fn known(&self, tuple: Tuple) -> Option<Place> {
        self.index.place_of(tuple, &self.connections)
    }

    fn slot_of(&self, id: ConnectionId) -> Option<usize> {
        self.index.slot_of(id, &self.connections)
    }

    /// The connection of that number, while it is in the table.
    #[must_use]
    pub fn find(&self, id: ConnectionId) -> Option<&Connection> {
        self.connections.get(self.slot_of(id)?)
    }
}

/// How much a role's sighting is worth: the closer to a pod, the more it tells.
const fn rank(role: Role) -> u8 {
    match role {
        Role::PodVeth => 4,
        Role::Overlay => 3,
        Role::Bridge => 2,
        Role::Underlay => 1,
        Role::Unknown | Role::Loopback => 0,
    }
}

#[cfg(test)]
mod tests;
