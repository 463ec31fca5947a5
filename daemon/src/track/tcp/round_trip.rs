//! The running round-trip time of what one side sends: from a segment to the other side's answer to it.
//!
//! One segment is timed at once (RFC 6298 section 3). What was sent again is worth nothing (Karn's rule), unless the echoed
//! timestamp says which of its copies was answered (RFC 7323 section 4). A pure value: times are the packets'.

use weir_cluster::UnixNanos;

use super::after;
use crate::decode::Tcp;
use crate::track::pack::packed;

/// Round-trip times so far, nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoundTrip {
    /// Smoothed, each new one an eighth (RFC 6298 section 2).
    pub smoothed_ns: u64,
    /// The least.
    pub least_ns: u64,
    /// The greatest.
    pub greatest_ns: u64,
    /// How many there were.
    pub samples: u32,
    /// The latest was matched by its timestamp, not by sequence numbers alone.
    pub by_timestamp: bool,
}

/// A segment whose answer is waited for.
#[derive(Clone, Copy, Debug)]
struct Timed {
    /// The sequence number that its answer acknowledges.
    end: u32,
    at: UnixNanos,
    timestamp: Option<u32>,
    again: bool,
}

/// Times one side's segments.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Stopwatch {
    timed: Option<Timed>,
    measured: Option<RoundTrip>,
    stopped: bool,
}

packed!(struct RoundTrip { smoothed_ns, least_ns, greatest_ns, samples, by_timestamp });
packed!(struct Timed { end, at, timestamp, again });
packed!(struct Stopwatch { timed, measured, stopped });

impl Stopwatch {
    /// What it measured; None without a sample.
    pub(super) const fn measured(&self) -> Option<RoundTrip> {
        self.measured
    }

    /// Drops what was measured, and measures no more.
    pub(super) fn stop(&mut self) {
        *self = Self { stopped: true, ..Self::default() };
    }

    /// The side sent something new, up to `end`.
    pub(super) fn sent(&mut self, at: UnixNanos, tcp: &Tcp<'_>, end: u32) {
        if self.timed.is_none() && !self.stopped {
            let timestamp = tcp.timestamps.map(|(value, _)| value);
            self.timed = Some(Timed { end, at, timestamp, again: false });
        }
    }

    /// The side sent something again, up to `end`: of what is timed only the new copy's echo tells now.
    pub(super) fn sent_again(&mut self, at: UnixNanos, tcp: &Tcp<'_>, end: u32) {
        let Some(timed) = &mut self.timed else { return };
        timed.again = true;
        if !after(timed.end, end) {
            timed.at = at;
            timed.timestamp = tcp.timestamps.map(|(value, _)| value);
        }
    }

    /// The other side acknowledged.
    pub(super) fn answered(&mut self, at: UnixNanos, tcp: &Tcp<'_>) {
        let Some(timed) = self.timed.filter(|timed| !after(timed.end, tcp.acknowledgement)) else {
            return;
        };
        self.timed = None;
        let by_timestamp =
            timed.timestamp.is_some_and(|value| Some(value) == tcp.timestamps.map(|(_, echo)| echo));
        // Frames of a busy node may come out of order; what took no time at all took none that could be measured.
        if at < timed.at || timed.again && !by_timestamp {
            return;
        }
        let sample = at.nanos_since(timed.at);
        self.measured = Some(match self.measured {
            None => RoundTrip {
                smoothed_ns: sample,
                least_ns: sample,
                greatest_ns: sample,
                samples: 1,
                by_timestamp,
            },
            Some(before) => RoundTrip {
                smoothed_ns: before.smoothed_ns - before.smoothed_ns / 8 + sample / 8,
                least_ns: before.least_ns.min(sample),
                greatest_ns: before.greatest_ns.max(sample),
                samples: before.samples.saturating_add(1),
                by_timestamp,
            },
        });
    }
}
