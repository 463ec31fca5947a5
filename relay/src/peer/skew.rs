//! How a node's clock differs from the relay's: the flow that was under way the shortest tells best.
//!
//! Each live flow gives "its time minus the time it came", which is the skew minus the way. The greatest of the last 10
//! to 20 seconds is kept. Pure.

use std::time::Duration;

use crate::moment::{UnixNanos, nanos};

const BUCKET: Duration = Duration::from_secs(10);

/// The estimate for one node.
#[derive(Clone, Copy, Debug, Default)]
pub struct Skew {
    started: UnixNanos,
    current: Option<i64>,
    before: Option<i64>,
}

impl Skew {
    /// A flow of the node's time `told` came at `arrived` on the relay's clock. Returns the node's clock minus the
    /// relay's, nanoseconds.
    pub fn observe(&mut self, told: UnixNanos, arrived: UnixNanos) -> i64 {
        let age = arrived.since(self.started);
        if self.current.is_none() || age < 0 || age >= nanos(BUCKET) {
            self.before = self.current.take();
            self.started = arrived;
        }
        let sample = told.since(arrived);
        let current = self.current.map_or(sample, |best| best.max(sample));
        self.current = Some(current);
        self.before.map_or(current, |before| before.max(current))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000_000;

    #[test]
    fn the_flow_with_the_shortest_way_counts() {
        let mut skew = Skew::default();
        let at = |ms: i64| UnixNanos(100 * SECOND + ms * 1_000_000);
        assert_eq!(skew.observe(at(2000), at(50)), 1_950_000_000);
        assert_eq!(skew.observe(at(2100), at(101)), 1_999_000_000);
        assert_eq!(skew.observe(at(2200), at(400)), 1_999_000_000);
    }

    #[test]
    fn a_clock_that_is_set_right_is_seen_to_be_so() {
        let mut skew = Skew::default();
        skew.observe(UnixNanos(102 * SECOND), UnixNanos(100 * SECOND));
        skew.observe(UnixNanos(111 * SECOND), UnixNanos(111 * SECOND));
        assert_eq!(skew.observe(UnixNanos(122 * SECOND), UnixNanos(122 * SECOND)), 0);
    }
}
