//! What was already told about a connection, and when it is looked at next. [`super::emit`] moves it on.

use weir_cluster::UnixNanos;

use super::connection::{ConnectionId, Counters, State, Verdict};
use super::event::Message;

#[derive(Debug)]
pub(super) struct Emission {
    /// The first event was told.
    pub settled: bool,
    /// When it is told at the latest.
    pub settle_at: UnixNanos,
    pub told_at: UnixNanos,
    pub told: Counters,
    pub told_state: State,
    pub told_verdict: Verdict,
    /// What was told has changed since.
    pub correction: bool,
    pub ended: bool,
    /// Packets came after the end was told, whatever point they passed.
    pub late: bool,
    pub merged_into: Option<ConnectionId>,
    pub over_at: Option<UnixNanos>,
    /// When its timer rings.
    pub due: UnixNanos,
    /// Messages to be told, while it settles.
    pub waiting: Vec<Message>,
}

impl Emission {
    /// Nothing was told of a connection that begins now.
    pub fn begun(now: UnixNanos, settle_ns: u64) -> Self {
        let due = now.plus_nanos(settle_ns);
        Self {
            settled: false,
            settle_at: due,
            told_at: now,
            told: Counters::default(),
            told_state: State::Opening,
            told_verdict: Verdict::Traced,
            correction: false,
            ended: false,
            late: false,
            merged_into: None,
            over_at: None,
            due,
            waiting: Vec::new(),
        }
    }
}
