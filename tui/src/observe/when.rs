//! What is typed after `--since` and `--until` -> a moment. The present is handed in.

use jiff::{SignedDuration, Timestamp, civil};
use prost_types::Timestamp as WireTime;

/// Reads a duration back from `now` (`5m`, `1h30m`), or a time: RFC 3339, RFC 2822's date, or a date with or without a
/// time of day, which are UTC.
///
/// # Errors
/// A sentence with examples.
pub fn moment(text: &str, now: Timestamp) -> Result<WireTime, String> {
    let time = ago(text, now)
        .or_else(|| text.parse::<Timestamp>().ok())
        .or_else(|| civil_utc(text))
        .or_else(|| jiff::fmt::rfc2822::parse(text).ok().map(|zoned| zoned.timestamp()))
        .ok_or("neither a duration nor a time: 5m, 1h30m, 2026-11-25, 2026-11-25T03:12:00Z")?;
    Ok(WireTime { seconds: time.as_second(), nanos: time.subsec_nanosecond() })
}

fn ago(text: &str, now: Timestamp) -> Option<Timestamp> {
    let duration: SignedDuration = text.parse().ok()?;
    now.checked_sub(duration).ok()
}

fn civil_utc(text: &str) -> Option<Timestamp> {
    let date_time = text
        .parse::<civil::DateTime>()
        .ok()
        .or_else(|| civil::DateTime::strptime("%Y-%m-%dT%H", text).ok())
        .or_else(|| text.parse::<civil::Date>().ok().map(|date| date.at(0, 0, 0, 0)))?;
    date_time.in_tz("UTC").ok().map(|zoned| zoned.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(text: &str) -> Result<i64, String> {
        moment(text, Timestamp::from_second(1_000_000).unwrap()).map(|time| time.seconds)
    }

    #[test]
    fn durations_go_back_from_now() {
        assert_eq!(seconds("5m"), Ok(1_000_000 - 300));
        assert_eq!(seconds("1h30m"), Ok(1_000_000 - 5400));
        assert_eq!(moment("1500ms", Timestamp::from_second(10).unwrap()).unwrap().nanos, 500_000_000);
    }

    #[test]
    fn times_in_the_common_forms() {
        for text in [
            "2026-11-01T00:00:00Z",
            "2026-11-01T01:00:00+01:00",
            "2026-11-01",
            "2026-11-01T00",
            "2026-11-01T00:00",
            "Sun, 01 Nov 2026 00:00:00 +0000",
        ] {
            assert_eq!(seconds(text), Ok(1_793_491_200), "{text}");
        }
        assert!(seconds("yesterday").unwrap_err().contains("5m"));
    }
}
