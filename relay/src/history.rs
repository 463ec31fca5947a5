//! What was told lately, in order, for any number of readers: a ring bounded by entries and bytes.
//!
//! The one writer never waits. A reader that is overtaken goes on with the oldest entry and is told how many flows it
//! missed, to the unit. Readers get references to shared entries, never copies of flows.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use weir_proto::flow::LostEvent;
use weir_proto::relay::NodeState;

use crate::moment::UnixNanos;
use crate::node::{NodeName, Place};
use crate::peer::Record;

/// Limits of the ring.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Most entries.
    pub entries: usize,
    /// Most bytes of them together.
    pub bytes: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { entries: 100_000, bytes: 128 << 20 }
    }
}

/// Something told.
#[derive(Clone, Debug)]
pub enum Entry {
    /// A flow.
    Flow(Arc<Record>),
    /// Records of a node were lost.
    Lost(Arc<Lost>),
    /// A node came or went.
    Status(Arc<Status>),
}

/// Records of a node that never came.
#[derive(Clone, Debug)]
pub struct Lost {
    /// Whose.
    pub node: NodeName,
    /// When the relay learnt it.
    pub at: UnixNanos,
    /// How many, and where.
    pub event: LostEvent,
    /// More are lost, and nobody knows how many.
    pub and_more: bool,
}

/// A node came or went.
#[derive(Clone, Debug)]
pub struct Status {
    /// Which.
    pub node: NodeName,
    /// When.
    pub at: UnixNanos,
    /// What it is now.
    pub state: NodeState,
    /// Why.
    pub message: String,
}

/// Where a reader is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor {
    /// Number of the next entry, from 0.
    pub position: u64,
    /// Flows told before it.
    flows: u64,
}

/// The next entries for a reader.
#[derive(Debug)]
pub struct Chunk {
    /// Flows that were forgotten before the reader came to them.
    pub missed: u64,
    /// Position of the first entry.
    pub start: u64,
    /// Entries in order.
    pub entries: Vec<Entry>,
    /// Where the reader goes on.
    pub next: Cursor,
}

/// The ring.
#[derive(Debug)]
pub struct History {
    settings: Settings,
    ring: Mutex<Ring>,
    newest: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Ring {
    entries: VecDeque<Entry>,
    /// Cursor of the oldest entry.
    position: u64,
    flows_before: u64,
    flows: u64,
    bytes: usize,
    by_node: HashMap<NodeName, usize>,
}

impl History {
    /// An empty one.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self { settings, ring: Mutex::default(), newest: watch::Sender::new(0) }
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds entries and wakes the readers once.
    pub fn append(&self, entries: impl IntoIterator<Item = Entry>) {
        let mut ring = self.ring();
        for entry in entries {
            ring.push(entry, &self.settings);
        }
        let end = ring.end().position;
        drop(ring);
        self.newest.send_if_modified(|newest| {
            let grown = *newest != end;
            *newest = end;
            grown
        });
    }

    /// Wakes when entries are added.
    #[must_use]
    pub fn wake(&self) -> watch::Receiver<u64> {
        self.newest.subscribe()
    }

    /// Before the oldest entry.
    #[must_use]
    pub fn oldest(&self) -> Cursor {
        self.ring().start()
    }

    /// Behind the newest entry.
    #[must_use]
    pub fn end(&self) -> Cursor {
        self.ring().end()
    }

    /// Nodes with flows in the ring.
    #[must_use]
    pub fn nodes(&self) -> usize {
        self.ring().by_node.len()
    }

    /// Place of the oldest flow of a node.
    #[must_use]
    pub fn oldest_of(&self, node: &NodeName) -> Option<Place> {
        let ring = self.ring();
        if !ring.by_node.contains_key(node) {
            return None;
        }
        ring.entries.iter().find_map(|entry| match entry {
            Entry::Flow(record) if record.node == *node => Some(record.place),
            _ => None,
        })
    }

    /// At most `limit` entries from `cursor` on.
    #[must_use]
    pub fn read(&self, cursor: Cursor, limit: usize) -> Chunk {
        let ring = self.ring();
        let start = cursor.max(ring.start());
        let skip = usize::try_from(start.position - ring.position).unwrap_or(usize::MAX);
        let entries: Vec<Entry> = ring.entries.iter().skip(skip).take(limit).cloned().collect();
        let flows = entries.iter().filter(|entry| entry.is_flow()).count();
        let next = Cursor {
            position: start.position + u64::try_from(entries.len()).unwrap_or(0),
            flows: start.flows + u64::try_from(flows).unwrap_or(0),
        };
        Chunk { missed: start.flows - cursor.flows, start: start.position, entries, next }
    }

    /// At most `limit` entries before `before`, the newest first, each with its own cursor.
    #[must_use]
    pub fn read_back(&self, before: Cursor, limit: usize) -> Vec<(Cursor, Entry)> {
        let ring = self.ring();
        let length = usize::try_from(before.position.saturating_sub(ring.position)).unwrap_or(0);
        let mut cursor = before;
        let back = ring.entries.iter().take(length).rev().take(limit);
        back.map(|entry| {
            cursor.position -= 1;
            cursor.flows -= u64::from(entry.is_flow());
            (cursor, entry.clone())
        })
        .collect()
    }
}

impl Ring {
    const fn start(&self) -> Cursor {
        Cursor { position: self.position, flows: self.flows_before }
    }

    fn end(&self) -> Cursor {
        let length = u64::try_from(self.entries.len()).unwrap_or(0);
        Cursor { position: self.position + length, flows: self.flows }
    }

    fn push(&mut self, entry: Entry, settings: &Settings) {
        self.bytes += entry.bytes();
        if let Entry::Flow(record) = &entry {
            self.flows += 1;
            *self.by_node.entry(record.node.clone()).or_default() += 1;
        }
        self.entries.push_back(entry);
        while self.entries.len() > settings.entries || self.bytes > settings.bytes {
            let Some(oldest) = self.entries.pop_front() else {
                return;
            };
            self.bytes -= oldest.bytes();
            self.position += 1;
            if let Entry::Flow(record) = &oldest {
                self.flows_before += 1;
                self.forget(&record.node);
            }
        }
    }
}

impl Ring {
    fn forget(&mut self, node: &NodeName) {
        if let Some(flows) = self.by_node.get_mut(node) {
            *flows -= 1;
            if *flows == 0 {
                self.by_node.remove(node);
            }
        }
    }
}

impl Entry {
    const fn is_flow(&self) -> bool {
        matches!(self, Self::Flow(_))
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Flow(record) => record.bytes(),
            Self::Lost(_) => size_of::<Lost>(),
            Self::Status(status) => size_of::<Status>() + status.message.len(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(message: &str) -> Entry {
        let state = NodeState::NodeConnected;
        Entry::Status(Arc::new(Status { node: "n".into(), at: UnixNanos(0), state, message: message.into() }))
    }

    fn flow(seq: u64) -> Entry {
        let flow = weir_proto::flow::Flow { time: Some(UnixNanos(5).to_timestamp()), ..Default::default() };
        Entry::Flow(Record::of_flow("n", crate::node::Place { run: 1, seq }, &flow))
    }

    fn history(entries: usize) -> History {
        History::new(Settings { entries, ..Settings::default() })
    }

    #[test]
    fn an_overtaken_reader_is_told_how_many_flows_it_missed() {
        let history = history(4);
        let start = history.end();
        history.append((1..=3).map(flow).chain([status("")]).chain((4..=6).map(flow)));
        let chunk = history.read(start, 100);
        assert_eq!((chunk.missed, chunk.start, chunk.entries.len()), (3, 3, 4));
        history.append([flow(7)]);
        let chunk = history.read(chunk.next, 100);
        assert_eq!((chunk.missed, chunk.entries.len()), (0, 1));
    }

    #[test]
    fn bytes_bound_it_as_well() {
        let bytes = flow(1).bytes() * 3;
        let history = History::new(Settings { entries: 100, bytes });
        history.append((1..=10).map(flow));
        assert_eq!(history.read(history.oldest(), 100).entries.len(), 3);
    }

    #[test]
    fn reading_back_gives_the_cursors_that_reading_on_takes() {
        let history = history(10);
        history.append([flow(1), status("a"), flow(2)]);
        let back = history.read_back(history.end(), 10);
        assert_eq!(back.len(), 3);
        for (index, (cursor, _)) in back.iter().enumerate() {
            let chunk = history.read(*cursor, 10);
            assert_eq!((chunk.missed, chunk.entries.len(), chunk.next), (0, index + 1, history.end()));
        }
    }

    #[tokio::test]
    async fn a_reader_wakes_when_something_is_told() {
        let history = history(10);
        let mut wake = history.wake();
        wake.mark_unchanged();
        history.append([flow(1)]);
        tokio::time::timeout(std::time::Duration::from_secs(5), wake.changed()).await.unwrap().unwrap();
    }
}
