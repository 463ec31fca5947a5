//! How long to wait before the next try: twice as long each time up to a cap, with jitter, from a given seed.
//!
//! Pure: it neither waits nor reads a clock.

use std::time::Duration;

/// The first wait and the longest.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    /// Longest first wait.
    pub first: Duration,
    /// No wait is longer.
    pub cap: Duration,
}

impl Default for Schedule {
    fn default() -> Self {
        Self { first: Duration::from_millis(100), cap: Duration::from_secs(5) }
    }
}

/// The waits of one peer.
#[derive(Clone, Debug)]
pub struct Backoff {
    schedule: Schedule,
    failures: u32,
    state: u64,
}

impl Backoff {
    /// Peers with different seeds wait differently, so that a cluster's daemons are not called in step.
    #[must_use]
    pub const fn new(schedule: Schedule, seed: u64) -> Self {
        Self { schedule, failures: 0, state: seed }
    }

    /// The next wait: between half of and the whole of `first * 2^failures`, at most the cap.
    pub fn next_wait(&mut self) -> Duration {
        let doubled = self.schedule.first.checked_mul(1_u32.checked_shl(self.failures).unwrap_or(u32::MAX));
        let longest = doubled.unwrap_or(self.schedule.cap).min(self.schedule.cap);
        self.failures = self.failures.saturating_add(1);
        let half = longest / 2;
        let span = u64::try_from((longest - half).as_nanos()).unwrap_or(u64::MAX);
        half + Duration::from_nanos(self.random() % span.saturating_add(1))
    }

    /// It went well: the next wait is a first one again.
    pub const fn reset(&mut self) {
        self.failures = 0;
    }

    /// SplitMix64.
    const fn random(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCHEDULE: Schedule = Schedule { first: Duration::from_millis(100), cap: Duration::from_secs(5) };

    #[test]
    fn waits_double_up_to_the_cap_and_stay_there() {
        let mut backoff = Backoff::new(SCHEDULE, 7);
        for longest_ms in [100, 200, 400, 800, 1600, 3200, 5000, 5000].into_iter().chain([5000; 200]) {
            let longest = Duration::from_millis(longest_ms);
            let wait = backoff.next_wait();
            assert!(wait >= longest / 2 && wait <= longest, "{wait:?} for {longest:?}");
        }
    }

    #[test]
    fn the_seed_decides_the_waits() {
        let waits = |seed| {
            let mut backoff = Backoff::new(SCHEDULE, seed);
            (0..8).map(|_| backoff.next_wait()).collect::<Vec<_>>()
        };
        assert_eq!(waits(1), waits(1));
        assert_ne!(waits(1), waits(2));
    }

    #[test]
    fn success_starts_over() {
        let mut backoff = Backoff::new(SCHEDULE, 3);
        for _ in 0..10 {
            backoff.next_wait();
        }
        backoff.reset();
        assert!(backoff.next_wait() <= SCHEDULE.first);
    }
}
