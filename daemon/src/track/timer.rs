//! One timer a connection, by the time it is due; of equals the older connection's rings first.
//!
//! Only what is due within the next moment is kept in order, in a heap so small that it stays in the processor's cache. What is
//! due in the seconds after that lies in bins of a moment each, and the rest unordered. A timer is never taken out: one that was
//! set anew leaves its former times behind, up to two hours for an idle time. Those are swept out before they outnumber the
//! connections, so the room is bounded by the table's.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use slab::Slab;
use weir_cluster::UnixNanos;

use super::connection::ConnectionId;
use super::table::{Glance, Table};

/// Timers that are kept beyond one for each connection.
const SPARE: usize = 1024;
/// A bin's moment is two to the power of this, nanoseconds: 67 ms.
const BIN_SHIFT: u32 = 26;
/// Bins: 17 seconds.
const BINS: u64 = 256;

/// A connection is to be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Timer {
    /// When.
    pub(super) due: UnixNanos,
    /// The lower half of the connection's number: enough to tell those apart that are in the table together.
    id: u32,
    slot: u32,
}

impl Timer {
    /// The slot of its connection, or of a later one there.
    pub(super) const fn slot(self) -> usize {
        self.slot as usize
    }

    /// True if the connection is the one it was set for, and it was not set anew since.
    pub(super) fn is_of(self, connection: Glance) -> bool {
        low(connection.id) == self.id && connection.due == self.due
    }
}

const fn low(id: ConnectionId) -> u32 {
    id.0 as u32
}

/// All timers.
#[derive(Debug)]
pub(super) struct Timers {
    /// Due before the first bin's moment.
    near: BinaryHeap<Reverse<Timer>>,
    /// Due in the moments from `first` on.
    bins: Bins,
    /// Due after those.
    later: Vec<Timer>,
    /// Number of the first bin's moment since the epoch.
    first: u64,
}

const fn moment(at: UnixNanos) -> u64 {
    at.as_nanos() >> BIN_SHIFT
}

/// The bins share one room, so that no bin asks for any of its own: each is a list through it.
#[derive(Debug)]
struct Bins {
    timers: Slab<(Timer, u32)>,
    heads: Box<[u32; BINS as usize]>,
}

/// No timer: the end of a list.
const END: u32 = u32::MAX;

impl Bins {
    /// The list of a moment: its number's rest.
    fn head(&mut self, moment: u64) -> &mut u32 {
        &mut self.heads[(moment % BINS) as usize]
    }

    fn push(&mut self, timer: Timer) {
        let head = *self.head(moment(timer.due));
        let place = self.timers.insert((timer, head));
        *self.head(moment(timer.due)) = u32::try_from(place).unwrap_or(END);
    }

    /// Empties the bin of a moment into `sink`.
    fn drain(&mut self, moment: u64, mut sink: impl FnMut(Timer)) {
        let mut next = std::mem::replace(self.head(moment), END);
        while let Some((timer, after)) = self.timers.try_remove(next as usize) {
            sink(timer);
            next = after;
        }
    }

    fn retain(&mut self, mut keep: impl FnMut(&Timer) -> bool) {
        let kept: Vec<Timer> =
            self.timers.iter().map(|(_, (timer, _))| *timer).filter(|timer| keep(timer)).collect();
        self.timers.clear();
        self.heads.fill(END);
        kept.into_iter().for_each(|timer| self.push(timer));
    }
}

impl Default for Timers {
    fn default() -> Self {
        let bins = Bins { timers: Slab::with_capacity(SPARE), heads: Box::new([END; BINS as usize]) };
        let (near, later) = (BinaryHeap::with_capacity(SPARE), Vec::with_capacity(SPARE));
        Self { near, bins, later, first: 0 }
    }
}

impl Timers {
    pub(super) fn len(&self) -> usize {
        self.near.len() + self.bins.timers.len() + self.later.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    pub(super) fn set(&mut self, due: UnixNanos, id: ConnectionId, slot: usize) {
        let slot = u32::try_from(slot).unwrap_or(u32::MAX);
        self.put(Timer { due, id: low(id), slot });
    }

    fn put(&mut self, timer: Timer) {
        let moment = moment(timer.due);
        if moment < self.first {
            self.near.push(Reverse(timer));
        } else if moment - self.first < BINS {
            self.bins.push(timer);
        } else {
            self.later.push(timer);
        }
    }

    /// The next one that is due by now; it is gone then.
    pub(super) fn ring(&mut self, now: UnixNanos) -> Option<Timer> {
        loop {
            if self.near.peek().is_some_and(|Reverse(next)| next.due <= now) {
                return self.near.pop().map(|Reverse(timer)| timer);
            }
            if self.first > moment(now) {
                return None;
            }
            self.approach(now);
        }
    }

    /// The first bin's moment has come: its timers are near. Where all bins are empty, it is the next moment of any timer.
    fn approach(&mut self, now: UnixNanos) {
        if self.bins.timers.is_empty() {
            let next = self.later.iter().map(|timer| moment(timer.due)).min();
            self.first = next.unwrap_or(u64::MAX).min(moment(now) + 1);
            return self.sort_later();
        }
        self.bins.drain(self.first, |timer| self.near.push(Reverse(timer)));
        self.first += 1;
        if self.first.is_multiple_of(BINS) {
            self.sort_later();
        }
    }

    /// Puts those into bins whose moments have bins now. None is left behind: it is done anew before all bins have passed.
    fn sort_later(&mut self) {
        let mut kept = 0;
        for index in 0..self.later.len() {
            let timer = self.later[index];
            if moment(timer.due).saturating_sub(self.first) < BINS {
                self.put(timer);
            } else {
                self.later[kept] = timer;
                kept += 1;
            }
        }
        self.later.truncate(kept);
    }

    /// Keeps the timers as they are set now, if the others have become as many.
    pub(super) fn sweep(&mut self, connections: &Table) {
        if self.len() <= 2 * connections.len() + SPARE {
            return;
        }
        let set = |timer: &Timer| {
            connections.glance(timer.slot()).is_some_and(|connection| timer.is_of(connection))
        };
        self.near.retain(|Reverse(timer)| set(timer));
        self.bins.retain(set);
        self.later.retain(set);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Steps of time and timers ahead of it, from nothing to years.
        #[test]
        fn they_ring_in_order_and_in_time(steps in prop::collection::vec((0_u32..60, 0_u32..60, 0_u8..4), 1..200)) {
            let mut timers = Timers::default();
            let mut model = BinaryHeap::new();
            let mut now = 1_700_000_000_000_000_000_u64;
            for (number, (step, ahead, times)) in steps.into_iter().enumerate() {
                for again in 0..times {
                    let due = UnixNanos::from_nanos(now.saturating_add((1 << ahead) >> again));
                    timers.set(due, ConnectionId(number as u64), number);
                    model.push(Reverse(Timer { due, id: number as u32, slot: number as u32 }));
                }
                now = now.saturating_add(1 << step);
                let until = UnixNanos::from_nanos(now);
                while let Some(timer) = timers.ring(until) {
                    prop_assert_eq!(model.pop(), Some(Reverse(timer)));
                }
                prop_assert!(model.peek().is_none_or(|Reverse(next)| next.due > until));
                prop_assert_eq!(timers.len(), model.len());
            }
        }
    }
}
