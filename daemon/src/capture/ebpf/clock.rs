//! The kernel's monotonic nanoseconds -> wall time.
//!
//! Programs stamp packets with CLOCK_MONOTONIC. Its distance from wall time is taken anew at each drain, but only believed if it
//! differs by more than reading two clocks one after the other does: so times stay in order unless wall time itself jumps. A
//! thread that was taken off its CPU between the readings has read nothing of use, and reads again.

use rustix::time::{ClockId, Timespec, clock_gettime};
use weir_cluster::UnixNanos;

/// Two readings that are both undisturbed differ by less; slewing gives no more in a drain's time.
const NOISE_NS: i64 = 100_000;
/// Reading takes less, unless the thread is interrupted.
const UNDISTURBED_NS: u64 = 20_000;
/// Readings in a row; then what was known is kept.
const TRIES: usize = 5;

/// The distance of both clocks.
#[derive(Debug)]
pub struct Clock {
    /// Wall time less monotonic time, nanoseconds.
    distance_ns: i64,
}

impl Default for Clock {
    /// Looks at both. The best reading is taken, since there is none to keep.
    fn default() -> Self {
        Self { distance_ns: best(Reading::now).distance_ns() }
    }
}

impl Clock {
    /// Looks again.
    pub fn look(&mut self) {
        self.believe(best(Reading::now));
    }

    const fn believe(&mut self, reading: Reading) {
        let now = reading.distance_ns();
        if reading.is_undisturbed() && now.abs_diff(self.distance_ns) > NOISE_NS.unsigned_abs() {
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

/// Wall time, between two looks at the monotonic clock.
#[derive(Clone, Copy, Debug)]
struct Reading {
    before: i64,
    wall: i64,
    after: i64,
}

impl Reading {
    fn now() -> Self {
        let before = nanos(clock_gettime(ClockId::Monotonic));
        let wall = nanos(clock_gettime(ClockId::Realtime));
        let after = nanos(clock_gettime(ClockId::Monotonic));
        Self { before, wall, after }
    }

    const fn took_ns(self) -> u64 {
        self.after.abs_diff(self.before)
    }

    const fn is_undisturbed(self) -> bool {
        self.took_ns() <= UNDISTURBED_NS
    }

    const fn distance_ns(self) -> i64 {
        self.wall - (self.before + (self.after - self.before) / 2)
    }
}

/// The first reading that is undisturbed, else the one that took least.
fn best(mut read: impl FnMut() -> Reading) -> Reading {
    let mut best = read();
    for _ in 1..TRIES {
        if best.is_undisturbed() {
            break;
        }
        let another = read();
        if another.took_ns() < best.took_ns() {
            best = another;
        }
    }
    best
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
        let mut clock = Clock::default();
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

    const fn reading(took: i64, distance: i64) -> Reading {
        Reading { before: 1_000, wall: 1_000 + took / 2 + distance, after: 1_000 + took }
    }

    #[test]
    fn a_disturbed_reading_is_tried_again_and_never_believed() {
        let mut readings = [reading(3_000_000, 1_500_000), reading(900, 7), reading(100, 9)].into_iter();
        assert_eq!(best(|| readings.next().unwrap()).distance_ns(), 7, "the first that is undisturbed");
        assert_eq!(readings.len(), 1, "and no more");
        let mut took = 3_000_000;
        let disturbed = best(|| {
            took -= 100_000;
            reading(took, took)
        });
        assert_eq!(disturbed.took_ns(), 3_000_000 - 100_000 * TRIES as u64, "the best of all tries");
        let mut clock = Clock { distance_ns: 7 };
        clock.believe(disturbed);
        assert_eq!(clock.distance_ns, 7, "what was known is kept");
        clock.believe(reading(900, 3_000_000));
        assert_eq!(clock.distance_ns, 3_000_000);
    }
}
