//! Packets that the kernel gave up: evidence for their connection, and what they say of its fate.
//!
//! How they find their connection is `named`'s. Of a connection, drops of one reason at one place are one entry with a count: the
//! first is news, the others are told with whatever is told next. A drop is of one packet; whether it stopped the connection is
//! judged by what was seen behind it, and by what the reason says of other packets (see [`reason`]).

use std::fmt;
use std::sync::Arc;

use weir_cluster::UnixNanos;

use super::connection::{Connection, Observation, PathPoint, Way, Witness};
use super::event::Reason;
use super::named::{self, Named, Unclaimed, Waiting};
use super::{Place, Sink, Stats, Tracker};
use crate::capture::{Direction, Role};
use crate::decode::{self, Packet, TcpFlags};
use crate::testimony::reason::{self, Weight};
use crate::testimony::{DropSite, DroppedPacket, Owner};
use crate::tuple::IpProtocol;

/// Reasons, places and ways of one connection's drops that are told apart.
const MAX_DROPS: usize = 8;

/// Packets of one connection that the kernel gave up, for one reason at one place.
#[derive(Clone, Debug)]
pub struct KernelDrop {
    /// Why and where.
    pub cause: Arc<Cause>,
    /// Whose packets.
    pub way: Way,
    /// How many are known: of a flood, the kernel tells of some.
    pub packets: u64,
    /// The first of them.
    pub first: UnixNanos,
    /// The last.
    pub last: UnixNanos,
    /// They were in a tunnel.
    tunnelled: bool,
}

/// Why and where a packet was given up.
#[derive(Debug, PartialEq, Eq)]
pub struct Cause {
    /// The kernel's name for the reason: `NETFILTER_DROP`.
    pub reason: Arc<str>,
    /// Where.
    pub site: DropSite,
}

impl fmt::Display for Cause {
    /// `NETFILTER_DROP at eth0`.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}{}", self.reason, self.site)
    }
}

/// All that the kernel gave up of one connection.
#[derive(Clone, Debug, Default)]
pub struct Drops {
    /// By reason, place and way, in the order of the first of each; at most eight.
    pub told_apart: Vec<KernelDrop>,
    /// Packets beyond those.
    pub others: u64,
    untold: bool,
}

impl KernelDrop {
    /// False for a refusal.
    #[must_use]
    pub fn is_loss(&self) -> bool {
        matches!(reason::weight(&self.cause.reason), Weight::Single | Weight::Every)
    }

    fn stops_every(&self) -> bool {
        reason::weight(&self.cause.reason) == Weight::Every
    }

    /// It was given up on its way out of a device, where a source may have seen it already.
    fn is_behind_a_sighting(&self) -> bool {
        reason::strikes_behind_a_device(&self.cause.reason)
    }

    fn is_in_pod(&self) -> bool {
        matches!(self.cause.site.owner, Owner::Pod(_))
    }

    /// True where packets of its way were seen that had passed the place. What a bridge's own device sends has a port to pass yet;
    /// of what was dropped in a tunnel, only a tunnel's packets went further. What is seen at a device says nothing of what is dropped
    /// behind it.
    fn was_passed(&self, path: &[PathPoint]) -> bool {
        if self.is_behind_a_sighting() {
            return false;
        }
        let behind =
            |point: &&PathPoint| point.role != Role::Bridge && (!self.tunnelled || !point.tunnels.is_empty());
        path.iter().filter(behind).any(|point| {
            point.counters.of(self.way).packets > 0 && point.direction_of(self.way) == Direction::Outbound
        })
    }

    fn add(&mut self, packets: u64, first: UnixNanos, last: UnixNanos) {
        self.packets += packets;
        self.first = self.first.min(first);
        self.last = self.last.max(last);
    }
}

impl Drops {
    /// True if it is the first of its kind.
    fn add(&mut self, drop: KernelDrop) -> bool {
        self.untold = true;
        let same = |known: &&mut KernelDrop| (&known.cause, known.way) == (&drop.cause, drop.way);
        if let Some(known) = self.told_apart.iter_mut().find(same) {
            known.add(drop.packets, drop.first, drop.last);
            return false;
        }
        let room = self.told_apart.len() < MAX_DROPS;
        if room {
            self.told_apart.push(drop);
        } else {
            self.others += drop.packets;
        }
        room
    }

    /// The ends changed places.
    pub(super) fn flip(&mut self) {
        for drop in &mut self.told_apart {
            drop.way = drop.way.opposite();
        }
    }

    /// True if something was added since this was last asked to forget so.
    pub(super) const fn has_untold(&self) -> bool {
        self.untold
    }

    pub(super) const fn told(&mut self) {
        self.untold = false;
    }
}

impl Connection {
    /// What the kernel gave up of it.
    #[must_use]
    pub fn drops(&self) -> &[KernelDrop] {
        self.drops.as_ref().map_or(&[], |drops| &drops.told_apart)
    }

    /// Packets that the kernel gave up beside those.
    #[must_use]
    pub fn drops_more(&self) -> u64 {
        self.drops.as_ref().map_or(0, |drops| drops.others)
    }

    /// The drop that stopped it: the client's packets did not arrive, or the answer did not. None where there was none, or where
    /// what was dropped was made up for.
    #[must_use]
    pub fn stopped_by(&self) -> Option<&KernelDrop> {
        self.drops().iter().filter(|drop| drop.is_loss()).find(|drop| match drop.way {
            Way::Forward => self.call_stopped(drop),
            Way::Reverse => self.answer_stopped(drop),
        })
    }

    fn call_stopped(&self, drop: &KernelDrop) -> bool {
        let arrived = [Observation::Answered, Observation::ResetByEndpoint];
        if arrived.iter().any(|kind| self.observed(*kind)) {
            return false;
        }
        // What was delivered to the pod's device is dropped behind it.
        let delivered = self.observed(Observation::Delivered) && !drop.is_behind_a_sighting();
        let passed = !drop.is_in_pod() && (delivered || drop.was_passed(&self.path));
        !passed && (drop.stops_every() || self.all_dropped(Way::Forward))
    }

    fn answer_stopped(&self, drop: &KernelDrop) -> bool {
        if self.original_tuple().protocol == IpProtocol::TCP {
            // Who acknowledges has got something.
            let acknowledged = self.path.iter().any(|point| point.flags.0.has(TcpFlags::ACK));
            return !self.gaps.midstream && !acknowledged;
        }
        let passed = !drop.is_in_pod() && drop.was_passed(&self.path);
        !passed && self.all_dropped(Way::Reverse)
    }

    /// True if as many were dropped as were seen anywhere.
    fn all_dropped(&self, way: Way) -> bool {
        let dropped: u64 = self.drops().iter().filter(|drop| drop.way == way).map(|drop| drop.packets).sum();
        let seen = self.path.iter().map(|point| point.counters.of(way).packets).max().unwrap_or(0);
        dropped >= seen
    }

    /// True while every packet of the call that was seen was given up behind where it was seen last: none was delivered.
    pub(super) fn is_lost_behind(&self) -> bool {
        let behind =
            |drop: &KernelDrop| drop.way == Way::Forward && !drop.is_in_pod() && drop.is_behind_a_sighting();
        self.drops().iter().any(behind) && self.all_dropped(Way::Forward)
    }

    /// Takes over what was dropped of a connection that was found to be part of this one.
    pub(super) fn take_drops(&mut self, drops: Option<Box<Drops>>) {
        let Some(drops) = drops else { return };
        let own = self.drops.get_or_insert_default();
        own.others += drops.others;
        for drop in drops.told_apart {
            own.add(drop);
        }
    }

    /// Notes a drop. True if it is news.
    fn note_drop(&mut self, drop: KernelDrop) -> bool {
        let (cause, at, loss) = (Arc::clone(&drop.cause), drop.first, drop.is_loss());
        let first_loss = loss && !self.drops().iter().any(KernelDrop::is_loss);
        // A loss says more than a refusal that was known before.
        if first_loss {
            self.retract(Observation::KernelDrop);
        }
        self.observe(Observation::KernelDrop, at, Witness::Kernel(cause));
        let news = self.drops.get_or_insert_default().add(drop);
        if self.is_lost_behind() {
            self.retract(Observation::Delivered);
        }
        news
    }
}

impl Named for DroppedPacket {
    fn at(&self) -> UnixNanos {
        self.at
    }

    /// What a pod says to itself is nobody else's: addresses like 127.0.0.1 are every pod's, and the node's.
    fn packet(&self, settings: &decode::Settings) -> Option<Packet<'_>> {
        let ifindex = self.site.device.as_ref().map_or(0, |device| device.ifindex);
        let packet = named::read(self.at, ifindex, &self.packet, settings)?;
        let local = packet.tuple.source.ip().is_loopback() || packet.tuple.destination.ip().is_loopback();
        let private = local && matches!(self.site.owner, Owner::Pod(_));
        (!private).then_some(packet)
    }

    fn waiting(unclaimed: &mut Unclaimed) -> &mut Waiting<Self> {
        &mut unclaimed.dropped
    }

    fn count_unseen(stats: &mut Stats) {
        stats.dropped_unseen += 1;
    }

    fn note(&self, packet: &Packet<'_>, place: Place, tracker: &mut Tracker, sink: Sink<'_>) {
        let Some(connection) = tracker.connections.get_mut(place.slot) else {
            return;
        };
        let drop = KernelDrop {
            cause: Arc::new(Cause { reason: Arc::clone(&self.reason), site: self.site.clone() }),
            way: connection.way_of(place.form, packet.tuple),
            packets: 1,
            first: self.at,
            last: self.at,
            tunnelled: packet.tunnel.is_some(),
        };
        let loss = drop.is_loss();
        let news = connection.note_drop(drop);
        if news && loss {
            tracker.tell_now(place.slot, Reason::Drop, sink);
        } else {
            tracker.reconsider(place.slot, sink);
        }
    }
}
