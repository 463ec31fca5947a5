//! Packets that the kernel's log named: evidence for their connection, and its form after DNAT where nothing else showed it.
//!
//! How they find their connection is `named`'s; this says what they mean there: which rule, and between which devices.
//! A log is no drop: the packet may have been seen behind it, and the rule may say that it lets pass what it logs. Such a rule is
//! named on the connection's next flow and is no evidence.

use std::sync::Arc;

use weir_cluster::UnixNanos;

use super::connection::{Observation, Witness};
use super::event::Reason;
use super::named::{self, Named, Unclaimed, Waiting};
use super::pack::packed;
use super::path::PathPoint;
use super::{Place, Sink, Stats, Tracker};
use crate::capture::{Direction, Role};
use crate::decode::{self, Packet};
use crate::testimony::LoggedPacket;
use crate::testimony::rule::Rule;

/// Rules kept of one connection.
const MAX_RULES: usize = 8;

/// A rule of the kernel's log that named a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogRule {
    /// Its prefix, raw.
    pub prefix: Arc<str>,
    /// What that says, where its writer is known.
    pub known: Option<Rule>,
}

impl LogRule {
    fn of(logged: &LoggedPacket) -> Self {
        Self { prefix: Arc::clone(&logged.prefix), known: Rule::of(logged.group, &logged.prefix) }
    }

    /// Whether it says that it stops nothing.
    #[must_use]
    pub fn lets_pass(&self) -> bool {
        self.known.as_ref().is_some_and(Rule::lets_pass)
    }
}

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

impl Named for LoggedPacket {
    fn at(&self) -> UnixNanos {
        self.at
    }

    fn packet(&self, settings: &decode::Settings) -> Option<Packet<'_>> {
        named::read(self.at, self.in_ifindex, &self.packet, settings)
    }

    fn waiting(unclaimed: &mut Unclaimed) -> &mut Waiting<Self> {
        &mut unclaimed.logged
    }

    fn count_unseen(stats: &mut Stats) {
        stats.logged_unseen += 1;
    }

    fn note(&self, _: &Packet<'_>, place: Place, tracker: &mut Tracker, sink: Sink<'_>) {
        let Some(connection) = tracker.connections.get_mut(place.slot) else {
            return;
        };
        let rule = LogRule::of(self);
        let lets_pass = rule.lets_pass();
        let news = !connection.rules.contains(&rule) && connection.rules.len() < MAX_RULES;
        if news {
            connection.rules.push(rule);
        }
        if lets_pass {
            return;
        }
        connection.observe(Observation::Logged, self.at, Witness::Rule(self.prefix.clone()));
        connection.passing = connection.passing.max(Passing::of(self));
        if news {
            tracker.tell_now(place.slot, Reason::Drop, sink);
        }
    }
}
