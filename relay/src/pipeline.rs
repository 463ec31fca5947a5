//! The one loop between the peers and the clients: events in; merge, join, and history in order.
//!
//! It alone writes the history and the table of connections. It waits for nobody: clients read what is there.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};
use weir_proto::flow::{LostEvent, LostEventSource};
use weir_proto::relay::NodeState;

use crate::history::{Entry, History, Lost, Status};
use crate::join::Join;
use crate::merge::{self, Merge, SourceId};
use crate::moment::UnixNanos;
use crate::node::{Missing, NodeName};
use crate::peer::PeerEvent;
use crate::status::Registry;

/// Events taken at once before clients are woken.
const BATCH: usize = 512;

/// The connections, and how readers are woken.
#[derive(Debug)]
pub struct Connections {
    table: Mutex<Join>,
    newest: watch::Sender<u64>,
}

impl Connections {
    /// Around an empty table.
    #[must_use]
    pub fn new(table: Join) -> Self {
        Self { table: Mutex::new(table), newest: watch::Sender::new(0) }
    }

    /// The table; held only for look-ups and single changes.
    pub fn table(&self) -> MutexGuard<'_, Join> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes when a connection changed.
    #[must_use]
    pub fn wake(&self) -> watch::Receiver<u64> {
        self.newest.subscribe()
    }
}

/// What the loop writes to.
#[derive(Clone, Debug)]
pub struct Outputs {
    /// All that is told, in order.
    pub history: Arc<History>,
    /// News only: losses, and nodes that come and go. For readers of connections.
    pub notices: Arc<History>,
    /// One row a connection.
    pub connections: Arc<Connections>,
    /// Counters.
    pub registry: Arc<Registry>,
}

struct Pipeline {
    merge: Merge<Entry>,
    sources: HashMap<NodeName, SourceId>,
    nodes: Vec<NodeName>,
    outputs: Outputs,
    started: Instant,
}

/// Runs until all peers are gone.
pub async fn run(mut events: mpsc::Receiver<PeerEvent>, settings: merge::Settings, outputs: Outputs) {
    let mut pipeline = Pipeline {
        merge: Merge::new(settings),
        sources: HashMap::new(),
        nodes: Vec::new(),
        outputs,
        started: Instant::now(),
    };
    let mut batch = Vec::with_capacity(BATCH);
    loop {
        pipeline.outputs.registry.turns();
        let wait = pipeline.until_due();
        tokio::select! {
            taken = events.recv_many(&mut batch, BATCH) => if taken == 0 { break },
            () = tokio::time::sleep(wait) => {}
        }
        let now = pipeline.started.elapsed();
        for event in batch.drain(..) {
            pipeline.take(event, now);
        }
        pipeline.emit(now);
    }
    pipeline.emit(Duration::MAX);
}

impl Pipeline {
    fn until_due(&self) -> Duration {
        // Whoever looks whether the loop turns must not wait for a flow.
        const IDLE: Duration = Duration::from_secs(5);
        let join = self.outputs.connections.table().next_due();
        let due = self.merge.next_due().into_iter().chain(join).min();
        due.map_or(IDLE, |due| due.saturating_sub(self.started.elapsed())).min(IDLE)
    }

    fn source(&mut self, node: &NodeName) -> SourceId {
        if let Some(id) = self.sources.get(node) {
            return *id;
        }
        let id = self.merge.source();
        self.sources.insert(node.clone(), id);
        self.nodes.push(node.clone());
        id
    }

    fn take(&mut self, event: PeerEvent, now: Duration) {
        match event {
            PeerEvent::Calling => self.merge.pending(),
            PeerEvent::Called => self.merge.no_longer_pending(),
            PeerEvent::Flow(record, missing) => {
                let source = self.source(&record.node);
                if missing != Missing::default() {
                    let lost = Entry::Lost(Arc::new(hole(record.node.clone(), record.time, missing)));
                    self.merge.push(source, None, lost, now);
                }
                self.merge.push(source, Some(record.time), Entry::Flow(record), now);
            }
            PeerEvent::Lost(node, event) => {
                let source = self.source(&node);
                let lost = Lost { node, at: UnixNanos::now(), event, and_more: false };
                self.merge.push(source, None, Entry::Lost(Arc::new(lost)), now);
            }
            PeerEvent::Connected(node) => {
                let source = self.source(&node);
                self.merge.set_connected(source, true);
                self.status(source, node, NodeState::NodeConnected, "connected".to_owned(), now);
            }
            PeerEvent::Disconnected(node, message) => {
                let source = self.source(&node);
                self.merge.set_connected(source, false);
                self.status(source, node, NodeState::NodeUnavailable, message, now);
            }
        }
    }

    fn status(&mut self, source: SourceId, node: NodeName, state: NodeState, message: String, now: Duration) {
        let status = Status { node, at: UnixNanos::now(), state, message };
        self.merge.push(source, None, Entry::Status(Arc::new(status)), now);
    }

    fn emit(&mut self, now: Duration) {
        let mut told = Vec::new();
        let Self { merge, nodes, outputs, .. } = self;
        merge.poll(now, |emitted| {
            if let (true, Some(node)) = (emitted.late, nodes.get(emitted.source.index())) {
                outputs.registry.count_late(node);
            }
            told.push(emitted.item);
        });
        outputs.registry.early.store(merge.early(), Ordering::Relaxed);
        self.join(&told, now);
        let news = told.iter().filter(|entry| !matches!(entry, Entry::Flow(_)));
        self.outputs.notices.append(news.cloned());
        self.outputs.history.append(told);
    }

    fn join(&self, told: &[Entry], now: Duration) {
        let connections = &self.outputs.connections;
        let mut table = connections.table();
        for entry in told {
            if let Entry::Flow(record) = entry {
                table.apply(record, now);
            }
        }
        table.tick(now);
        let newest = table.newest();
        drop(table);
        connections.newest.send_if_modified(|known| {
            let grown = *known != newest;
            *known = newest;
            grown
        });
    }
}

/// Flows that the numbers of a node say there were.
fn hole(node: NodeName, before: UnixNanos, missing: Missing) -> Lost {
    let event = LostEvent {
        source: LostEventSource::HubbleRingBuffer.into(),
        num_events_lost: missing.flows,
        last: Some(before.to_timestamp()),
        ..LostEvent::default()
    };
    Lost { node, at: UnixNanos::now(), event, and_more: missing.unknown_tail }
}
