//! A flow's time in the forms people ask for, in the local time zone.

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// How times are printed: a named pattern of strftime's.
#[derive(Clone, Debug)]
pub struct TimeFormat {
    pattern: &'static str,
    zone: TimeZone,
}

const FORMATS: [(&str, &str); 6] = [
    ("StampMilli", "%b %e %H:%M:%S.%3f"),
    ("RFC3339", "%Y-%m-%dT%H:%M:%S%:z"),
    ("RFC3339Milli", "%Y-%m-%dT%H:%M:%S.%3f%:z"),
    ("RFC3339Micro", "%Y-%m-%dT%H:%M:%S.%6f%:z"),
    ("RFC3339Nano", "%Y-%m-%dT%H:%M:%S.%9f%:z"),
    ("RFC1123Z", "%a, %d %b %Y %H:%M:%S %z"),
];

impl TimeFormat {
    /// Names to choose from.
    pub const NAMES: [&'static str; FORMATS.len()] = {
        let mut names = [""; FORMATS.len()];
        let mut at = 0;
        while at < names.len() {
            names[at] = FORMATS[at].0;
            at += 1;
        }
        names
    };

    /// The format of that name, or the first.
    #[must_use]
    pub fn named(name: &str) -> Self {
        let pattern = FORMATS.iter().find(|(known, _)| *known == name).unwrap_or(&FORMATS[0]).1;
        Self { pattern, zone: TimeZone::system() }
    }

    /// The time of day alone, to the second or, of that name, to the millisecond.
    #[must_use]
    pub fn clock(precision: &str, zone: TimeZone) -> Self {
        Self { pattern: if precision == "milliseconds" { "%H:%M:%S.%3f" } else { "%H:%M:%S" }, zone }
    }

    /// The same in another time zone.
    #[cfg(test)]
    pub fn in_zone(self, zone: TimeZone) -> Self {
        Self { zone, ..self }
    }

    /// A time of the wire; a dash where there is none.
    #[must_use]
    pub fn print(&self, time: Option<prost_types::Timestamp>) -> String {
        let moment = time.and_then(|time| Timestamp::new(time.seconds, time.nanos).ok());
        moment.map_or_else(
            || "-".to_owned(),
            |moment| moment.to_zoned_datetime(self.zone.clone()).strftime(self.pattern).to_string(),
        )
    }
}
