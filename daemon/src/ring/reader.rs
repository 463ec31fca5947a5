//! A reader's way through the ring: forward from a start, never waiting, told of what it missed.
//!
//! A reader holds no entry. When the writer has overtaken it, it goes on with the oldest entry and says what lay between:
//! flows by their numbers, losses of the capture by the difference of their sums.

use std::sync::Arc;

use weir_cluster::UnixNanos;
use weir_proto::flow::{LostEvent, LostEventSource};

use super::entry::{Content, Entry, Mark, timestamp_of};
use super::{Position, Ring, Seq};

/// What a reader finds next.
#[derive(Debug)]
pub enum Read {
    /// The next entry.
    Entry(Arc<Entry>),
    /// Entries were forgotten before they could be read. The next read goes on after them.
    Overrun(Overrun),
    /// Nothing more yet.
    End,
}

/// What a reader missed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overrun {
    from: Mark,
    to: Mark,
}

impl Overrun {
    /// Flows missed, exactly.
    #[must_use]
    pub const fn flows(&self) -> u64 {
        self.to.seq.0.saturating_sub(self.from.seq.0)
    }

    /// As told to clients: the missed flows, and the missed tellings of the capture's losses. `first` is the time of the
    /// last flow read before (absent if there was none), `last` that of the last one missed.
    #[must_use]
    pub fn losses(&self) -> Vec<LostEvent> {
        let flows = (LostEventSource::HubbleRingBuffer as i32, self.flows());
        let sums = self.to.losses.0.into_iter().zip(self.from.losses.0);
        let captured = (0..).zip(sums.map(|(to, from)| to.saturating_sub(from)));
        std::iter::once(flows)
            .chain(captured)
            .filter(|(_, lost)| *lost > 0)
            .map(|(source, num_events_lost)| LostEvent {
                source,
                num_events_lost,
                cpu: None,
                first: self.from.time.map(timestamp_of),
                last: self.to.time.map(timestamp_of),
            })
            .collect()
    }
}

/// A place between two entries, moving forward.
#[derive(Debug)]
pub struct Reader {
    ring: Arc<Ring>,
    next: Position,
    mark: Mark,
}

impl Ring {
    /// A reader whose next entry is the oldest.
    #[must_use]
    pub fn from_oldest(self: &Arc<Self>) -> Reader {
        self.from(self.tail())
    }

    /// A reader whose next entry is the newest.
    #[must_use]
    pub fn from_newest(self: &Arc<Self>) -> Reader {
        self.from(Position(self.head().0.saturating_sub(1)))
    }

    /// A reader whose next entry is the first flow that is not older than `time`; where times fall, older ones may follow.
    #[must_use]
    pub fn since(self: &Arc<Self>, time: UnixNanos) -> Reader {
        self.from(self.partition(|entry| entry.after().time.is_some_and(|last| last >= time)))
    }

    /// A reader that goes on after flow `seq`. Its first read tells what was forgotten since.
    #[must_use]
    pub fn after(self: &Arc<Self>, seq: Seq) -> Reader {
        let mut reader = self.from(self.partition(|entry| entry.before.seq >= seq));
        if seq < reader.mark.seq {
            reader.mark.seq = seq;
            reader.mark.time = None;
        }
        reader
    }

    /// A reader whose next entry is at `position`, or the oldest if that is forgotten.
    fn from(self: &Arc<Self>, position: Position) -> Reader {
        let at = |entry: &Entry| Reader {
            ring: Arc::clone(self),
            next: entry.position,
            mark: entry.before.clone(),
        };
        if let Some(entry) = self.get(position) {
            return at(&entry);
        }
        if position < self.head()
            && let Some(oldest) = self.oldest()
        {
            return at(&oldest);
        }
        match self.newest() {
            Some(newest) => {
                Reader { ring: Arc::clone(self), next: newest.position.following(), mark: newest.after() }
            }
            None => Reader { ring: Arc::clone(self), next: Position(0), mark: Mark::default() },
        }
    }

    /// Goes back from the newest entry, entry by entry, until `stop` says that one is far enough back.
    #[must_use]
    pub fn rewind(self: &Arc<Self>) -> Rewind {
        Rewind { ring: Arc::clone(self), at: self.head() }
    }
}

/// A way back through the ring, to find a start.
#[derive(Debug)]
pub struct Rewind {
    ring: Arc<Ring>,
    at: Position,
}

impl Rewind {
    /// The entry before, or `None` where the ring's memory ends.
    pub fn previous(&mut self) -> Option<Arc<Entry>> {
        let before = Position(self.at.0.checked_sub(1)?);
        let entry = self.ring.get(before)?;
        self.at = before;
        Some(entry)
    }

    /// A reader whose next entry is the one that `previous` gave last.
    #[must_use]
    pub fn reader(&self) -> Reader {
        self.ring.from(self.at)
    }
}

impl Reader {
    /// The next entry, or what was missed, or the end; never waits.
    pub fn read(&mut self) -> Read {
        loop {
            if self.next >= self.ring.head() {
                return Read::End;
            }
            let found = self.ring.get(self.next).or_else(|| self.ring.oldest());
            // The oldest may be forgotten between two looks: look again.
            let Some(entry) = found.filter(|entry| entry.position >= self.next) else { continue };
            self.next = entry.position;
            if self.mark != entry.before {
                let from = std::mem::replace(&mut self.mark, entry.before.clone());
                let overrun = Overrun { from, to: entry.before.clone() };
                if !overrun.losses().is_empty() {
                    return Read::Overrun(overrun);
                }
            }
            self.next = entry.position.following();
            self.mark = entry.after();
            return Read::Entry(entry);
        }
    }

    /// Position of the next entry.
    #[must_use]
    pub const fn position(&self) -> Position {
        self.next
    }

    /// Time of the latest flow read or missed.
    #[must_use]
    pub const fn time(&self) -> Option<UnixNanos> {
        self.mark.time
    }

    /// The ring it reads.
    #[must_use]
    pub const fn ring(&self) -> &Arc<Ring> {
        &self.ring
    }
}

impl Entry {
    /// The flow, unless it is a loss.
    #[must_use]
    pub fn flow(&self) -> Option<&super::Recorded> {
        match &self.content {
            Content::Flow(recorded) => Some(recorded),
            Content::Loss(_) => None,
        }
    }
}
