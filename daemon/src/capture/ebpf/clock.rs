//! The kernel's monotonic nanoseconds -> wall time.
//!
//! Programs stamp packets with CLOCK_MONOTONIC. Its distance from wall time is taken anew at each drain, but only believed if it
//! differs by more than reading two clocks one after the other does: so times stay in order unless wall time itself jumps.

use rustix::time::{ClockId, Timespec, clock_gettime};
use weir_cluster::UnixNanos;

/// Two clocks are read within a few microseconds unless the thread is interrupted; slewing gives no more in a drain's time.
const NOISE_NS: i64 = 100_000;

/// The distance of both clocks.
#[derive(Debug)]
pub struct Clock {
    /// Wall time less monotonic time, nanoseconds.
    distance_ns: i64,
}

impl Clock {
    /// Looks at both.
    #[must_use]
    pub fn new() -> Self {
        Self { distance_ns: distance_ns() }
    }

    /// Looks again.
    pub fn look(&mut self) {
        let now = distance_ns();
        if now.abs_diff(self.distance_ns) > NOISE_NS.unsigned_abs() {
            self.distance_ns = now;
        }
    }

    /// The wall time of a moment of the kernel's.
    #[must_use]
    pub const fn wall(&self, monotonic_ns: u64) -> UnixNanos {
        UnixNanos::from_nanos(monotonic_ns.saturating_add_signed(self.distance_ns))
    }
}

/// Now, in the kernel's nanoseconds.
#[must_use]
pub fn monotonic_ns() -> u64 {
    nanos(clock_gettime(ClockId::Monotonic)).unsigned_abs()
}

fn distance_ns() -> i64 {
    let before = nanos(clock_gettime(ClockId::Monotonic));
    let wall = nanos(clock_gettime(ClockId::Realtime));
    let after = nanos(clock_gettime(ClockId::Monotonic));
    wall - (before + (after - before) / 2)
}

const fn nanos(time: Timespec) -> i64 {
    time.tv_sec.saturating_mul(1_000_000_000).saturating_add(time.tv_nsec)
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    #[test]
    fn now_is_now_and_noise_is_none() {
        let mut clock = Clock::new();
        let before = UnixNanos::from(SystemTime::now());
        let wall = clock.wall(monotonic_ns());
        assert!(wall.as_nanos().abs_diff(before.as_nanos()) < 1_000_000_000, "{wall:?} {before:?}");
        clock.distance_ns += NOISE_NS / 2;
        let noisy = clock.distance_ns;
        clock.look();
        assert_eq!(clock.distance_ns, noisy);
        clock.distance_ns -= 3_600_000_000_000;
        clock.look();
        assert!(clock.distance_ns.abs_diff(noisy) < 1_000_000_000, "a jump is believed");
    }
}
