//! What the relay knows of itself and of each peer: state, last error, counters, how far each node was read.
//!
//! Written by the stages, read by the answers to status questions. Holds no flow. A node is read through one peer at a
//! time, whatever addresses lead to it; how far it was read outlives the address.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tonic::transport::Channel;
use weir_proto::weir::v1::PeerStatus;

use crate::node::{NodeName, Progress};
use crate::peers::Target;

/// Nodes remembered that no peer leads to any more.
const NODES_REMEMBERED: usize = 4096;

/// All peers.
#[derive(Debug)]
pub struct Registry {
    peers: Mutex<BTreeMap<Target, Arc<Peer>>>,
    nodes: Mutex<HashMap<NodeName, Reading>>,
    changed: watch::Sender<u64>,
    /// Flows that went out before their turn, because too many were waiting.
    pub early: AtomicU64,
    started: Instant,
    /// When the pipeline last turned, milliseconds after the start.
    turned: AtomicU64,
}

#[derive(Debug, Default)]
struct Reading {
    progress: Arc<Mutex<Progress>>,
    by: Option<Target>,
}

/// One peer.
#[derive(Debug)]
pub struct Peer {
    target: Target,
    state: Mutex<State>,
    opened: AtomicU64,
    called: AtomicBool,
    /// What is counted of it.
    pub counters: Counters,
}

/// Counters of one peer.
#[derive(Debug, Default)]
pub struct Counters {
    /// Flows received, those that came twice excepted.
    pub received: AtomicU64,
    /// Flows known to be lost on the way from the daemon.
    pub lost: AtomicU64,
    /// Flows that came too late for their order.
    pub late: AtomicU64,
    /// Messages that were no valid answer.
    pub invalid: AtomicU64,
    /// Times the stream was opened, the first excepted.
    pub reconnects: AtomicU64,
    /// The node's clock minus the relay's, nanoseconds.
    pub skew_ns: AtomicI64,
}

/// Whether a peer's stream is open.
#[derive(Clone, Debug)]
pub enum State {
    /// Not, and why; the node's name where it was connected before.
    Unavailable {
        /// Who it was.
        node: Option<NodeName>,
        /// Why it is not.
        message: String,
    },
    /// Its node is read through another peer: no node is missing.
    Duplicate {
        /// Through which.
        message: String,
    },
    /// It is.
    Connected {
        /// Who it is.
        node: NodeName,
        /// For questions beside the stream.
        channel: Channel,
    },
}

/// A peer at one moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The node's name, or the peer's label while that is not known.
    pub name: String,
    /// Where it listens.
    pub address: String,
    /// Its state.
    pub state: State,
    /// All in the wire's form.
    pub status: PeerStatus,
    /// Messages that were no valid answer.
    pub invalid: u64,
}

/// The right to read a node, given back when dropped.
#[derive(Debug)]
pub struct Claim {
    registry: Arc<Registry>,
    /// Whose.
    pub node: NodeName,
    /// How far it was read, through whatever peer.
    pub progress: Arc<Mutex<Progress>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Default for Registry {
    fn default() -> Self {
        Self {
            peers: Mutex::default(),
            nodes: Mutex::default(),
            changed: watch::Sender::new(0),
            early: AtomicU64::new(0),
            started: Instant::now(),
            turned: AtomicU64::new(0),
        }
    }
}

impl Registry {
    /// The pipeline turns.
    pub fn turns(&self) {
        let now = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.turned.store(now, Ordering::Relaxed);
    }

    /// How long ago the pipeline last turned.
    #[must_use]
    pub fn idle(&self) -> Duration {
        let turned = Duration::from_millis(self.turned.load(Ordering::Relaxed));
        self.started.elapsed().saturating_sub(turned)
    }

    /// A peer to be.
    pub fn add(&self, target: &Target) -> Arc<Peer> {
        let state = State::Unavailable { node: None, message: "not yet connected".to_owned() };
        let peer = Arc::new(Peer {
            target: target.clone(),
            state: Mutex::new(state),
            opened: AtomicU64::new(0),
            called: AtomicBool::new(false),
            counters: Counters::default(),
        });
        lock(&self.peers).insert(target.clone(), Arc::clone(&peer));
        self.touch();
        peer
    }

    /// It is no peer any more.
    pub fn remove(&self, target: &Target) {
        lock(&self.peers).remove(target);
        self.touch();
    }

    /// Its state has changed.
    pub fn set(&self, peer: &Peer, state: State) {
        *lock(&peer.state) = state;
        self.touch();
    }

    fn touch(&self) {
        self.changed.send_modify(|version| *version = version.wrapping_add(1));
    }

    /// Wakes at each change of a peer's state.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// The right to read `node` through `by`, or the peer that has it.
    ///
    /// # Errors
    /// The other peer that reads it now.
    pub fn claim(self: &Arc<Self>, node: &NodeName, by: &Target) -> Result<Claim, Target> {
        let mut nodes = lock(&self.nodes);
        if !nodes.contains_key(node) && nodes.len() >= NODES_REMEMBERED {
            nodes.retain(|_, reading| reading.by.is_some());
        }
        let reading = nodes.entry(node.clone()).or_default();
        if let Some(other) = &reading.by {
            return Err(other.clone());
        }
        reading.by = Some(by.clone());
        let progress = Arc::clone(&reading.progress);
        Ok(Claim { registry: Arc::clone(self), node: node.clone(), progress })
    }

    /// A flow of `node` came too late for its order.
    pub fn count_late(&self, node: &NodeName) {
        let by = lock(&self.nodes).get(node).and_then(|reading| reading.by.clone());
        if let Some(peer) = by.and_then(|target| lock(&self.peers).get(&target).cloned()) {
            peer.counters.late.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// All peers as they are, by name.
    #[must_use]
    pub fn snapshot(&self) -> Vec<Snapshot> {
        let mut all: Vec<_> = lock(&self.peers).values().map(|peer| peer.snapshot()).collect();
        all.sort_by(|a, b| (&a.name, &a.address).cmp(&(&b.name, &b.address)));
        all
    }
}

impl Snapshot {
    /// Its node is read through another peer.
    #[must_use]
    pub const fn is_duplicate(&self) -> bool {
        matches!(self.state, State::Duplicate { .. })
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if let Some(reading) = lock(&self.registry.nodes).get_mut(&self.node) {
            reading.by = None;
        }
    }
}

impl Peer {
    /// True if it is unavailable for this very reason already.
    #[must_use]
    pub fn failed_with(&self, reason: &str) -> bool {
        match &*lock(&self.state) {
            State::Unavailable { message, .. } | State::Duplicate { message } => message == reason,
            State::Connected { .. } => false,
        }
    }

    /// How often it was connected before.
    #[must_use]
    pub fn opened(&self) -> u64 {
        self.opened.fetch_add(1, Ordering::Relaxed)
    }

    /// True once: when the first call of it is over.
    #[must_use]
    pub fn is_first_call(&self) -> bool {
        !self.called.swap(true, Ordering::Relaxed)
    }

    /// The node, if it was ever connected.
    #[must_use]
    pub fn node(&self) -> Option<NodeName> {
        match &*lock(&self.state) {
            State::Connected { node, .. } => Some(node.clone()),
            State::Unavailable { node, .. } => node.clone(),
            State::Duplicate { .. } => None,
        }
    }

    /// Whom it stands for.
    #[must_use]
    pub const fn target(&self) -> &Target {
        &self.target
    }

    /// The node's name, or the label while that is not known.
    #[must_use]
    pub fn name(&self) -> String {
        name(&self.target, &lock(&self.state))
    }

    fn snapshot(&self) -> Snapshot {
        let state = lock(&self.state).clone();
        let name = name(&self.target, &state);
        let address = self.target.address.to_string();
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (connected, message) = match &state {
            State::Connected { .. } => (true, String::new()),
            State::Unavailable { message, .. } | State::Duplicate { message } => (false, message.clone()),
        };
        let status = PeerStatus {
            name: name.clone(),
            address: address.clone(),
            connected,
            message,
            received: count(&self.counters.received),
            lost: count(&self.counters.lost),
            late: count(&self.counters.late),
            clock_skew_ns: self.counters.skew_ns.load(Ordering::Relaxed),
            reconnects: count(&self.counters.reconnects),
            cost: None,
            source: None,
            policy: None,
        };
        Snapshot { name, address, state, status, invalid: count(&self.counters.invalid) }
    }
}

fn name(target: &Target, state: &State) -> String {
    match state {
        State::Connected { node, .. } | State::Unavailable { node: Some(node), .. } => node.to_string(),
        State::Unavailable { node: None, .. } | State::Duplicate { .. } => target.label.clone(),
    }
}
