//! Where each way of a connection is counted: at the measured point, or aside where a way never passes that.
//!
//! Answers may come back by another card, or past the pod's device (Cilium's host routing, netkit). A way that did not come to
//! the measured point in the time that a packet takes through the node, and was seen elsewhere, counts there from then on.

use weir_cluster::UnixNanos;

use super::connection::{Connection, Counters, PathPoint, State, Way};
use super::observe::worth;

impl Connection {
    /// The counters that count: those of the measured point, or of the one aside for a way that passes the measured one by;
    /// never less than what was told before from another.
    #[must_use]
    pub fn total(&self) -> Counters {
        self.counted().at_least(&self.emission.told)
    }

    fn counted(&self) -> Counters {
        let at = |way| self.path.get(self.counting(way)).map(|point| point.counters).unwrap_or_default();
        Counters { forward: at(Way::Forward).forward, reverse: at(Way::Reverse).reverse }
    }

    /// The point where packets of this way count.
    pub(super) fn counting(&self, way: Way) -> usize {
        let passes = |point: &PathPoint| point.counters.of(way).packets > 0;
        match self.aside {
            Some(aside) if !self.path.get(self.measured).is_some_and(passes) => aside,
            _ => self.measured,
        }
    }

    /// The way that was not seen at the measured point, the best of the points that saw it, and since when it did. None where both were, or where
    /// it is known already.
    pub(super) fn passed_by(&self) -> Option<(Way, usize, UnixNanos)> {
        let measured = &self.path.get(self.measured)?.counters;
        let lacking = match (measured.forward.packets, measured.reverse.packets) {
            (0, _) => Way::Forward,
            (_, 0) => Way::Reverse,
            _ => return None,
        };
        if self.aside.is_some() {
            return None;
        }
        let points = self.path.iter().enumerate();
        let sees = points.filter(|(_, point)| point.counters.of(lacking).packets > 0);
        sees.max_by_key(|(_, point)| worth(point)).map(|(index, point)| (lacking, index, point.first))
    }

    /// True if something was counted that was not told yet.
    pub(super) fn has_untold(&self) -> bool {
        let drops = self.drops.as_ref().is_some_and(|drops| drops.has_untold());
        drops || self.counted().exceeds(&self.emission.told)
    }

    /// Counts the way that passes the measured point by where it is seen, if it was for `settle_ns`. What was not read of it
    /// until then was seen all the same.
    pub(super) fn look_aside(&mut self, now: UnixNanos, settle_ns: u64) {
        let Some((way, index, _)) =
            self.passed_by().filter(|(_, _, since)| since.plus_nanos(settle_ns) <= now)
        else {
            return;
        };
        let Some(point) = self.path.get(index) else { return };
        let (flags, last) = (if way == Way::Forward { point.flags.0 } else { point.flags.1 }, point.last);
        self.aside = Some(index);
        if let Some(tcp) = &mut self.tcp {
            self.state = tcp.seen_aside(way, flags, self.state);
            let over = matches!(self.state, State::Closed | State::Reset);
            self.emission.over_at = self.emission.over_at.or(over.then_some(last));
        }
    }
}
