//! Batches of all kinds -> the cluster. The first lists become one snapshot; after it batches are applied as they come.
//!
//! One snapshot, since a list of pods is of little use without their namespaces and ReplicaSets, and since the first
//! snapshot of a cluster holds for packets that are older than it.

use std::collections::{BTreeMap, HashSet};

use tokio::sync::mpsc::Receiver;
use tokio::sync::mpsc::error::TryRecvError;

use super::Batch;
use super::kind::KINDS;
use crate::object::{Object, ObjectKey, ObjectKind};
use crate::{Change, Cluster, UnixNanos};

/// The owner's side of a watch: takes what it has, and brings a cluster up to date with it.
#[derive(Debug)]
pub struct Changes {
    batches: Receiver<Batch>,
    first: Option<First>,
}

/// The lists that are not all there yet.
#[derive(Debug, Default)]
struct First {
    objects: BTreeMap<ObjectKey, Object>,
    listed: HashSet<ObjectKind>,
}

/// What became of the cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// It may have changed.
    pub changed: bool,
    /// The watch has ended.
    pub ended: bool,
}

impl Changes {
    pub(super) fn new(batches: Receiver<Batch>) -> Self {
        Self { batches, first: Some(First::default()) }
    }

    /// Whether the cluster has the first lists, or as much of them as there was when they were waited for no longer.
    #[must_use]
    pub const fn is_ready(&self) -> bool {
        self.first.is_none()
    }

    /// The kinds whose first list is still waited for, as RBAC names them.
    #[must_use]
    pub fn missing(&self) -> Vec<String> {
        let missing = |first: &First| {
            let kinds = KINDS.iter().filter(|kind| !first.listed.contains(&kind.object));
            kinds.map(super::Kind::resource).collect()
        };
        self.first.as_ref().map(missing).unwrap_or_default()
    }

    /// Batches that have come and are not applied yet.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.batches.len()
    }

    /// Applies what has come, at most so many batches of at most 500 changes, and does not wait.
    pub fn apply_to(&mut self, cluster: &mut Cluster, batches: usize) -> Applied {
        let mut applied = Applied::default();
        for _ in 0..batches {
            match self.batches.try_recv() {
                Ok(batch) => applied.changed |= self.take(batch, cluster),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => {
                    applied.ended = true;
                    break;
                }
            }
        }
        applied
    }

    /// Waits for a batch and applies it. False once the watch has ended.
    pub async fn apply_next(&mut self, cluster: &mut Cluster) -> bool {
        let Some(batch) = self.batches.recv().await else { return false };
        self.take(batch, cluster);
        true
    }

    /// Waits no longer for the first lists: the cluster gets what there is of them, and the rest as it comes.
    pub fn begin(&mut self, cluster: &mut Cluster, at: UnixNanos) {
        if let Some(first) = self.first.take() {
            cluster.replace(first.objects.into_values().collect(), at);
        }
    }

    fn take(&mut self, batch: Batch, cluster: &mut Cluster) -> bool {
        let Some(first) = &mut self.first else {
            cluster.change(batch.changes, batch.at);
            return true;
        };
        first.take(batch.changes);
        first.listed.extend(batch.listed);
        let complete = first.listed.len() == KINDS.len();
        if complete {
            self.begin(cluster, batch.at);
        }
        complete
    }
}

impl First {
    fn take(&mut self, changes: Vec<Change>) {
        for change in changes {
            match change {
                Change::Apply(object) => {
                    self.objects.insert(object.key(), object);
                }
                Change::Delete(key) => {
                    self.objects.remove(&key);
                }
                Change::Only(kind, keys) => {
                    self.objects.retain(|key, _| key.kind != kind || keys.contains(key));
                }
            }
        }
    }
}
