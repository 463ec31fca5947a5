//! Times on the wire (`google.protobuf.Timestamp`) as Unix nanoseconds and back.
//!
//! What comes from outside may hold any number; these conversions never fail and never panic. They keep every time from
//! 1970 to 2554 exactly, and move what lies outside to the nearest end.

use prost_types::Timestamp;

const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// A wire time as Unix nanoseconds; before 1970 it is 0, after 2554 the largest number.
#[must_use]
pub fn unix_nanos(time: &Timestamp) -> u64 {
    let nanos = i128::from(time.seconds) * i128::from(NANOS_PER_SECOND) + i128::from(time.nanos);
    u64::try_from(nanos.max(0)).unwrap_or(u64::MAX)
}

/// Unix nanoseconds as a wire time, normalised.
#[must_use]
pub fn timestamp(unix_nanos: u64) -> Timestamp {
    // Neither can fail: a quotient by 10^9 is below 2^35, a remainder below 10^9.
    Timestamp {
        seconds: i64::try_from(unix_nanos / NANOS_PER_SECOND).unwrap_or(i64::MAX),
        nanos: i32::try_from(unix_nanos % NANOS_PER_SECOND).unwrap_or(i32::MAX),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_lies_outside_moves_to_the_nearest_end() {
        for (seconds, nanos, expected) in [
            (0, 0, 0),
            (1, 5, 1_000_000_005),
            (1, -5, 999_999_995),
            (-1, 0, 0),
            (i64::MIN, i32::MIN, 0),
            (i64::MAX, i32::MAX, u64::MAX),
        ] {
            assert_eq!(unix_nanos(&Timestamp { seconds, nanos }), expected);
        }
    }

    proptest! {
        #[test]
        fn nanoseconds_survive_the_way(nanos in any::<u64>()) {
            let time = timestamp(nanos);
            prop_assert!((0..1_000_000_000).contains(&time.nanos));
            prop_assert_eq!(unix_nanos(&time), nanos);
        }
    }
}
