//! Points in time as the wire has them: Unix time in nanoseconds, of whatever clock told it.
//!
//! One type, so that a daemon's time, the relay's time and a client's `since` are compared and never mixed with lengths.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prost_types::Timestamp;

const NANOS_PER_SECOND: i64 = 1_000_000_000;

/// Unix time in nanoseconds, from 1970 on; what lies outside is held at the ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixNanos(pub i64);

impl UnixNanos {
    /// The relay's clock now. For the edges only: no stage calls it.
    #[must_use]
    pub fn now() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
    }

    /// So much later.
    #[must_use]
    pub fn plus(self, length: Duration) -> Self {
        Self(self.0.saturating_add(nanos(length)))
    }

    /// So much earlier.
    #[must_use]
    pub fn minus(self, length: Duration) -> Self {
        Self(self.0.saturating_sub(nanos(length)))
    }

    /// How much later this is than `earlier`, nanoseconds; negative if it is not.
    #[must_use]
    pub const fn since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }

    /// As the wire has it.
    #[must_use]
    pub fn to_timestamp(self) -> Timestamp {
        let nanos = i32::try_from(self.0.rem_euclid(NANOS_PER_SECOND)).unwrap_or(0);
        Timestamp { seconds: self.0.div_euclid(NANOS_PER_SECOND), nanos }
    }
}

impl From<&Timestamp> for UnixNanos {
    fn from(wire: &Timestamp) -> Self {
        Self(wire.seconds.saturating_mul(NANOS_PER_SECOND).saturating_add(i64::from(wire.nanos)))
    }
}

/// A length in nanoseconds, at most what fits.
#[must_use]
pub fn nanos(length: Duration) -> i64 {
    i64::try_from(length.as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wire_form_keeps_every_nanosecond_on_both_sides_of_1970() {
        for value in [-1, 0, 1, 999_999_999, 1_000_000_000, 1_764_000_000_123_456_789] {
            assert_eq!(UnixNanos::from(&UnixNanos(value).to_timestamp()), UnixNanos(value));
        }
    }

    #[test]
    fn a_timestamp_beyond_the_range_is_held_at_the_end() {
        let far = Timestamp { seconds: i64::MAX, nanos: 5 };
        assert_eq!(UnixNanos::from(&far), UnixNanos(i64::MAX));
    }
}
