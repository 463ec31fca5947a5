//! Losses to be told on one stream: at most one message a second for each source, and no unit forgotten.
//!
//! The first is told at once. What comes within a second of it is summed and told when the second is over, or when the
//! stream ends.

use std::time::Duration;

use tokio::time::Instant;
use weir_proto::flow::LostEvent;

/// Between two messages of one source.
const INTERVAL: Duration = Duration::from_secs(1);
const SOURCES: usize = 4;

/// What is lost and not told yet.
#[derive(Debug, Default)]
pub(super) struct Losses {
    sources: [Source; SOURCES],
}

#[derive(Debug, Default)]
struct Source {
    pending: Option<LostEvent>,
    not_before: Option<Instant>,
}

impl Losses {
    pub(super) fn add(&mut self, lost: LostEvent) {
        let index = usize::try_from(lost.source).ok().filter(|source| *source < SOURCES).unwrap_or(0);
        let pending = &mut self.sources[index].pending;
        *pending = Some(match pending.take() {
            Some(before) => sum(before, lost),
            None => lost,
        });
    }

    /// A loss that may be told now.
    pub(super) fn due(&mut self, now: Instant) -> Option<LostEvent> {
        let source = self.sources.iter_mut().find(|source| source.is_due(now))?;
        source.not_before = Some(now + INTERVAL);
        source.pending.take()
    }

    /// When the next loss may be told, if there is one.
    pub(super) fn due_at(&self) -> Option<Instant> {
        self.sources
            .iter()
            .filter(|source| source.pending.is_some())
            .filter_map(|source| source.not_before)
            .min()
    }

    /// A loss, whenever the last was told: the stream ends.
    pub(super) fn flush(&mut self) -> Option<LostEvent> {
        self.sources.iter_mut().find_map(|source| source.pending.take())
    }
}

impl Source {
    fn is_due(&self, now: Instant) -> bool {
        self.pending.is_some() && self.not_before.is_none_or(|not_before| now >= not_before)
    }
}

fn sum(before: LostEvent, later: LostEvent) -> LostEvent {
    LostEvent {
        source: before.source,
        num_events_lost: before.num_events_lost.saturating_add(later.num_events_lost),
        cpu: before.cpu.filter(|cpu| Some(cpu) == later.cpu.as_ref()),
        first: before.first.or(later.first),
        last: later.last.or(before.last),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_proto::flow::LostEventSource;

    fn lost(source: LostEventSource, count: u64, second: i64) -> LostEvent {
        let time = Some(prost_types::Timestamp { seconds: second, nanos: 0 });
        LostEvent { source: source.into(), num_events_lost: count, cpu: Some(0), first: time, last: time }
    }

    #[test]
    fn the_first_is_told_at_once_and_the_rest_once_a_second() {
        let start = Instant::now();
        let mut losses = Losses::default();
        losses.add(lost(LostEventSource::HubbleRingBuffer, 3, 1));
        assert_eq!(losses.due(start).map(|told| told.num_events_lost), Some(3));
        losses.add(lost(LostEventSource::HubbleRingBuffer, 4, 2));
        losses.add(LostEvent { cpu: Some(1), ..lost(LostEventSource::HubbleRingBuffer, 5, 3) });
        losses.add(lost(LostEventSource::PerfEventRingBuffer, 7, 3));
        assert_eq!(
            losses.due(start).map(|told| told.num_events_lost),
            Some(7),
            "another source has its own second"
        );
        assert_eq!(losses.due(start), None);
        let due = losses.due_at().unwrap();
        assert_eq!(due, start + INTERVAL);
        let told = losses.due(due).unwrap();
        assert_eq!((told.num_events_lost, told.cpu), (9, None));
        assert_eq!((told.first.unwrap().seconds, told.last.unwrap().seconds), (2, 3));
        assert_eq!(losses.due_at(), None);
    }

    #[test]
    fn the_end_of_a_stream_tells_the_rest() {
        let mut losses = Losses::default();
        losses.add(lost(LostEventSource::HubbleRingBuffer, 1, 1));
        assert!(losses.due(Instant::now()).is_some());
        losses.add(lost(LostEventSource::HubbleRingBuffer, 2, 1));
        assert_eq!(losses.flush().map(|told| told.num_events_lost), Some(2));
        assert_eq!(losses.flush(), None);
    }
}
