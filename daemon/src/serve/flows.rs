//! One answer to `GetFlows`: reads the ring forward from a start and says what to send next.
//!
//! A state machine without waiting: [`Reading::step`] says send, wait, pause or end; `stream.rs` does it. It looks at a
//! bounded number of flows a step, so that a filter that matches nothing does not hold a thread. Losses pass filters and
//! time ranges.

use std::sync::Arc;

use tokio::time::Instant;
use weir_proto::flow::LostEvent;
use weir_proto::observer::{GetFlowsResponse, get_flows_response::ResponseTypes};
use weir_proto::weir::v1::Place;

use super::Run;
use super::answer::Answer;
use super::losses::Losses;
use super::request::{Selection, Start};
use crate::ring::{Content, Entry, Position, Read, Reader, Recorded, Ring, Seq, timestamp_of};

/// Flows looked at in one step.
const LOOKED_AT: usize = 256;

/// What to do next.
#[derive(Debug)]
pub(super) enum Step {
    /// Send this.
    Send(Answer),
    /// Let others run, then go on.
    Pause,
    /// Wait for a flow, but no longer than until then.
    Wait(Option<Instant>),
    /// The answer is complete.
    End,
}

/// A reader with its selection, and how far it got.
#[derive(Debug)]
pub(super) struct Reading {
    reader: Reader,
    selection: Selection,
    origin: Origin,
    /// Where an answer that does not follow ends: the newest entry at the time of the request.
    end: Position,
    /// A follower's end by the clock: `until` is over.
    over_at: Option<Instant>,
    sent: u64,
    losses: Losses,
    ended: bool,
}

/// Who numbers the flows.
#[derive(Clone, Debug)]
pub(super) struct Origin {
    pub(super) node: Arc<str>,
    pub(super) run: Run,
}

/// Finds the start; pauses on the way, as a long ring and a dear filter take time.
pub(super) async fn find_start(ring: &Arc<Ring>, selection: &Selection) -> Reader {
    match selection.start {
        Start::After(seq) => ring.after(seq),
        Start::Since(time) => ring.since(time),
        Start::Oldest => ring.from_oldest(),
        Start::Newest => ring.from_newest(),
        Start::Last(number) if number >= ring.stats().held => ring.from_oldest(),
        Start::Last(number) => {
            let mut back = ring.rewind();
            let mut matched = 0;
            let mut looked_at = 0;
            while matched < number
                && let Some(entry) = back.previous()
            {
                matched +=
                    u64::from(entry.flow().is_some_and(|recorded| selection.filter.matches(recorded.flow())));
                looked_at += 1;
                if looked_at % LOOKED_AT == 0 {
                    tokio::task::yield_now().await;
                }
            }
            back.reader()
        }
    }
}

impl Reading {
    pub(super) fn new(
        reader: Reader,
        end: Position,
        selection: Selection,
        origin: Origin,
        over_at: Option<Instant>,
    ) -> Self {
        Self { reader, selection, origin, end, over_at, sent: 0, losses: Losses::default(), ended: false }
    }

    pub(super) const fn reader(&self) -> &Reader {
        &self.reader
    }

    /// The next thing to do at `now`.
    pub(super) fn step(&mut self, now: Instant) -> Step {
        if self.ended || self.sent >= self.selection.at_most {
            return self.end();
        }
        for _ in 0..LOOKED_AT {
            if let Some(lost) = self.losses.due(now) {
                return Step::Send(self.loss(lost));
            }
            if !self.selection.follow && self.reader.position() >= self.end {
                return self.end();
            }
            match self.reader.read() {
                Read::Entry(entry) => {
                    if let Some(step) = self.take(&entry) {
                        return step;
                    }
                }
                Read::Overrun(overrun) => overrun.losses().into_iter().for_each(|lost| self.losses.add(lost)),
                Read::End => return self.at_newest(now),
            }
        }
        Step::Pause
    }

    fn take(&mut self, entry: &Entry) -> Option<Step> {
        let recorded = match &entry.content {
            Content::Loss(lost) => {
                self.losses.add(*lost);
                return None;
            }
            Content::Flow(recorded) => recorded,
        };
        if recorded.time > self.selection.until {
            return Some(self.end());
        }
        let wanted = recorded.time >= self.selection.since
            && entry.seq() > self.selection.known
            && self.selection.filter.matches(recorded.flow());
        wanted.then(|| Step::Send(self.answer(recorded, entry.seq())))
    }

    fn at_newest(&mut self, now: Instant) -> Step {
        if !self.selection.follow || self.over_at.is_some_and(|over| now >= over) {
            return self.end();
        }
        Step::Wait(self.losses.due_at().into_iter().chain(self.over_at).min())
    }

    fn end(&mut self) -> Step {
        self.ended = true;
        match self.losses.flush() {
            Some(lost) => Step::Send(self.loss(lost)),
            None => Step::End,
        }
    }

    fn answer(&mut self, recorded: &Recorded, seq: Seq) -> Answer {
        let is_first = self.sent == 0;
        self.sent += 1;
        let answer = match &self.selection.mask {
            Some(mask) => Answer::masked(recorded, mask),
            None => Answer::whole(recorded),
        };
        if self.selection.places { answer.at(self.origin.place(seq, is_first)) } else { answer }
    }

    fn loss(&self, lost: LostEvent) -> Answer {
        Answer::of(&GetFlowsResponse {
            node_name: self.origin.node.to_string(),
            time: lost.last.or(lost.first).or_else(|| self.reader.time().map(timestamp_of)),
            response_types: Some(ResponseTypes::LostEvents(lost)),
            weir: None,
        })
    }
}

impl Origin {
    fn place(&self, seq: Seq, is_first: bool) -> Place {
        let previous = self.run.previous.filter(|_| is_first).unwrap_or_default();
        Place {
            node: self.node.to_string(),
            run: self.run.id,
            seq: seq.0,
            previous_run: previous.id,
            previous_seq: previous.last.0,
        }
    }
}
