//! A moment, as weir counts it: nanoseconds since the Unix epoch.
//!
//! Packets, cluster changes and flows are all stamped with this one type, so that "who owned this address when this
//! packet was captured" is a comparison of two integers. No clock is read here: the time is always handed in.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// Nanoseconds since 1970-01-01T00:00:00Z, up to the year 2554. Arithmetic saturates: a wrong clock must not panic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct UnixNanos(u64);

impl UnixNanos {
    /// The epoch. A change applied at `ZERO` holds "since ever": use it for a snapshot whose own beginning is unknown.
    pub const ZERO: Self = Self(0);
    /// Later than every packet: a look-up at `MAX` answers with the newest state.
    pub const MAX: Self = Self(u64::MAX);

    /// From a count of nanoseconds since the epoch.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// From whole seconds since the epoch and nanoseconds within the second (a `Timestamp` message, a pcap record).
    /// Nanoseconds of a second or more carry over; a time beyond the range becomes `MAX`.
    #[must_use]
    pub const fn from_parts(seconds: u64, nanos: u32) -> Self {
        Self(seconds.saturating_mul(NANOS_PER_SECOND).saturating_add(nanos as u64))
    }

    /// Nanoseconds since the epoch.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Whole seconds since the epoch, and the nanoseconds within the second (always below 10^9).
    #[must_use]
    pub const fn parts(self) -> (u64, u32) {
        (self.0 / NANOS_PER_SECOND, (self.0 % NANOS_PER_SECOND) as u32)
    }

    /// This moment and `later` after it.
    #[must_use]
    pub fn saturating_add(self, later: Duration) -> Self {
        Self(self.0.saturating_add(nanos_of(later)))
    }

    /// This moment less `earlier`; the epoch if that lies before it.
    #[must_use]
    pub fn saturating_sub(self, earlier: Duration) -> Self {
        Self(self.0.saturating_sub(nanos_of(earlier)))
    }

    /// This moment and so many nanoseconds after it.
    #[must_use]
    pub const fn plus_nanos(self, nanos: u64) -> Self {
        Self(self.0.saturating_add(nanos))
    }

    /// Nanoseconds from `earlier` to this moment; 0 if it is not after it.
    #[must_use]
    pub const fn nanos_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// How long after `earlier` this moment is; zero if it is not after it.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

fn nanos_of(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

impl From<SystemTime> for UnixNanos {
    /// A time before 1970 becomes the epoch.
    fn from(time: SystemTime) -> Self {
        Self(time.duration_since(UNIX_EPOCH).map_or(0, nanos_of))
    }
}

impl From<UnixNanos> for SystemTime {
    fn from(time: UnixNanos) -> Self {
        UNIX_EPOCH + Duration::from_nanos(time.0)
    }
}

impl fmt::Display for UnixNanos {
    /// Seconds since the epoch with nine decimals, as `tcpdump -tt --nano` prints it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, nanos) = self.parts();
        write!(f, "{seconds}.{nanos:09}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_round_trip_and_carry() {
        let time = UnixNanos::from_parts(1_700_000_000, 1_500_000_000);
        assert_eq!(time.parts(), (1_700_000_001, 500_000_000));
        assert_eq!(time.to_string(), "1700000001.500000000");
        assert_eq!(UnixNanos::from(SystemTime::from(time)), time);
    }

    #[test]
    fn arithmetic_saturates_at_both_ends() {
        assert_eq!(UnixNanos::from_parts(u64::MAX, 0), UnixNanos::MAX);
        assert_eq!(UnixNanos::ZERO.saturating_sub(Duration::from_secs(1)), UnixNanos::ZERO);
        assert_eq!(UnixNanos::MAX.saturating_add(Duration::MAX), UnixNanos::MAX);
        assert_eq!(UnixNanos::ZERO.since(UnixNanos::MAX), Duration::ZERO);
    }
}
