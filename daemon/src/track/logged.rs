//! Packets that the kernel's log named: evidence for their connection, and its form after DNAT where nothing else showed it.
//!
//! The log and the frame of one packet come in any order. A logged packet without a connection waits a second for its frame,
//! looked at again only when a new form appears; after that, what the log says is all there is, and is told as such. Bounded: when
//! too many wait, the oldest wait no longer.

use std::collections::VecDeque;

use weir_cluster::UnixNanos;

use super::connection::{Observation, Witness};
use super::event::Reason;
use super::nat::{Fingerprint, Passage};
use super::pack::packed;
use super::path::PathPoint;
use super::{SECOND, Sink, Tracker};
use crate::capture::{Direction, InterfaceId, Role};
use crate::decode::{self, Packet};
use crate::testimony::LoggedPacket;

/// A logged packet waits so long for a frame of its connection.
const WAIT_NS: u64 = SECOND;
/// Logged packets waiting.
const MAX_WAITING: usize = 4096;
/// Rule names kept of one connection.
const MAX_RULES: usize = 8;

/// Between which devices the kernel's log saw packets of a connection: had they passed, they would have been seen behind it.
/// Where it saw several (a SYN that is sent again may be translated to another backend), the last of these is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Passing {
    /// On the way into the node itself, or not at all: what passes there is not seen again.
    #[default]
    Nowhere,
    /// From the node itself to a device.
    Sent,
    /// From device to device.
    Devices,
    /// From port to port of a bridge. What the bridge's own device sends was sent before: a call that was translated on a
    /// bridge may take that way to the ports (net/bridge/br_netfilter_hooks.c).
    Ports,
}

packed!(
    enum Passing {
        Nowhere,
        Sent,
        Devices,
        Ports,
    }
);

impl Passing {
    const fn of(logged: &LoggedPacket) -> Self {
        match (logged.in_ifindex, logged.out_ifindex, logged.out_port_ifindex) {
            (_, 0, _) => Self::Nowhere,
            (0, ..) => Self::Sent,
            (_, _, 0) => Self::Devices,
            _ => Self::Ports,
        }
    }

    /// True if what was logged was seen before the log and by no device behind it. A connection that was seen by none belongs to
    /// what is not captured: nor would its way out be.
    pub(super) fn is_last_of(self, path: &[PathPoint]) -> bool {
        let told = |point: &&PathPoint| self != Self::Ports || point.role != Role::Bridge;
        let sent = path.iter().filter(told).any(|point| {
            point.counters.forward.packets > 0 && point.forward_direction == Direction::Outbound
        });
        match self {
            Self::Nowhere => false,
            Self::Sent => !sent,
            Self::Ports | Self::Devices => !sent && path.iter().any(|point| told(&point)),
        }
    }
}

/// Logged packets without a connection, oldest first.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    packets: VecDeque<(UnixNanos, LoggedPacket)>,
    /// Forms made since they were looked at last.
    stale: bool,
}

impl Waiting {
    pub(super) fn is_empty(&self) -> bool {
        self.packets.is_empty()
    }

    /// A new form may be the one that is waited for.
    pub(super) const fn form_made(&mut self) {
        self.stale = true;
    }

    pub(super) fn set_back(&mut self, now: UnixNanos) {
        for (since, _) in &mut self.packets {
            *since = (*since).min(now);
        }
    }

    fn overdue(&self, now: UnixNanos) -> bool {
        let waited = self.packets.front().map_or(0, |(since, _)| now.nanos_since(*since));
        waited > WAIT_NS || self.packets.len() > MAX_WAITING
    }
}

impl Tracker {
    /// NFLOG named a packet.
    pub(super) fn logged(&mut self, logged: &LoggedPacket, sink: Sink<'_>) {
        if !self.place_logged(logged, sink) {
            // Before the first packet there is no other clock than the log's own.
            let now = if self.now == UnixNanos::ZERO { logged.at } else { self.now };
            self.logged.packets.push_back((now, logged.clone()));
            self.expire_logged(sink);
        }
    }

    /// True if it needs to wait no longer.
    fn place_logged(&mut self, logged: &LoggedPacket, sink: Sink<'_>) -> bool {
        let Some(packet) = read(logged) else {
            return true;
        };
        // The log of a new connection's first packet is nothing to the one that had its addresses before.
        let known = self.known(packet.tuple).filter(|place| !self.begins_anew(*place, &packet));
        let place = known.or_else(|| {
            let print = Fingerprint::of(&packet)?;
            let (id, source) = self.twins.find(print, None, packet.tuple, NOWHERE, packet.at)?;
            let slot = self.slot_of(id)?;
            let place = self.add_form(slot, packet.tuple, source)?;
            self.connections.get_mut(slot)?.order_forms();
            Some(place)
        });
        let Some(place) = place else { return false };
        self.note_logged(place.slot, logged, sink);
        true
    }

    fn note_logged(&mut self, slot: usize, logged: &LoggedPacket, sink: Sink<'_>) {
        let Some(connection) = self.connections.get_mut(slot) else {
            return;
        };
        let news = !connection.rule_names.contains(&logged.prefix) && connection.rule_names.len() < MAX_RULES;
        if news {
            connection.rule_names.push(logged.prefix.clone());
        }
        connection.observe(Observation::Logged, logged.at, Witness::Rule(logged.prefix.clone()));
        connection.passing = connection.passing.max(Passing::of(logged));
        if news {
            self.tell_now(slot, Reason::Drop, sink);
        }
    }

    /// A new form appeared: those who wait may belong to it.
    pub(super) fn claim_logged(&mut self, sink: Sink<'_>) {
        if self.logged.is_empty() || !std::mem::take(&mut self.logged.stale) {
            return;
        }
        for _ in 0..self.logged.packets.len() {
            let Some((since, logged)) = self.logged.packets.pop_front() else {
                break;
            };
            if !self.place_logged(&logged, sink) {
                self.logged.packets.push_back((since, logged));
            }
        }
    }

    /// Those who waited long enough are told without a frame.
    pub(super) fn expire_logged(&mut self, sink: Sink<'_>) {
        while self.logged.overdue(self.now) {
            self.tell_oldest_logged(sink);
        }
    }

    pub(super) fn tell_all_logged(&mut self, sink: Sink<'_>) {
        while !self.logged.is_empty() {
            self.tell_oldest_logged(sink);
        }
    }

    fn tell_oldest_logged(&mut self, sink: Sink<'_>) {
        let Some((_, logged)) = self.logged.packets.pop_front() else {
            return;
        };
        if self.place_logged(&logged, sink) {
            return;
        }
        self.stats.logged_unseen += 1;
        if let Some(packet) = read(&logged) {
            let place = self.begin(&packet, sink);
            self.note_logged(place.slot, &logged, sink);
        }
    }
}

/// The log stands between the devices: no passage of its own.
const NOWHERE: Passage =
    Passage { interface: InterfaceId(0), role: Role::Unknown, direction: Direction::Unknown, ttl: 0 };

fn read(logged: &LoggedPacket) -> Option<Packet<'_>> {
    let interface = InterfaceId(logged.in_ifindex);
    decode::decode_ip(logged.at, interface, Direction::Unknown, &logged.packet, &decode::Settings::default())
        .ok()
}
