//! A row of the table: one connection of the cluster, with what each node says of it; and the rows that a reader is handed.

use std::sync::Arc;
use std::time::Duration;

use super::ViewId;
use crate::peer::Record;

/// One connection of the cluster.
#[derive(Clone, Debug)]
pub struct Row {
    /// Stable for the connection's life.
    pub id: Arc<str>,
    /// Grows with each change.
    pub revision: u64,
    /// No node will tell more of it.
    pub ended: bool,
    /// One for each node that saw it. None: it was found to be part of another row, whose id stays.
    pub sightings: Vec<Sighting>,
    pub(super) change: u64,
    pub(super) due: Option<Duration>,
}

/// What one node says of a connection.
#[derive(Clone, Debug)]
pub struct Sighting {
    /// Its latest record of the connection itself.
    pub record: Arc<Record>,
    /// The latest message of the application protocol.
    pub message: Option<Arc<Record>>,
    pub(super) ended: bool,
    pub(super) heard: Duration,
}

/// The next rows for a reader.
#[derive(Debug, Default)]
pub struct Changes {
    /// Rows, the one that changed longest ago first.
    pub rows: Vec<Row>,
    /// Where the reader goes on.
    pub cursor: u64,
    /// At most so many rows changed after the reader's place and were forgotten before it came.
    pub missed: u64,
}

impl Row {
    pub(super) fn sighting_of(&self, record: &Record) -> Option<&Sighting> {
        let view = ViewId::of(record);
        self.sightings.iter().find(|s| ViewId::of(&s.record) == view)
    }

    pub(super) fn sighting_mut(&mut self, record: &Record) -> Option<&mut Sighting> {
        let view = ViewId::of(record);
        self.sightings.iter_mut().find(|s| ViewId::of(&s.record) == view)
    }

    /// Every node that the ends are on has told of it. With no sighting left, nothing is to be waited for.
    pub(super) fn is_complete(&self) -> bool {
        let told =
            |node: &str| node.is_empty() || self.sightings.iter().any(|s| s.record.node.as_str() == node);
        let all_told =
            |s: &Sighting| told(&s.record.view.source_node) && told(&s.record.view.destination_node);
        self.sightings.iter().all(all_told)
    }
}
