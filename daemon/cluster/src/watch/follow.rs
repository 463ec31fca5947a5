//! One kind: its watcher's events -> batches of changes, in the order of the events.
//!
//! kube-runtime lists, watches, resumes and lists anew; here is what follows from it for the cluster. While a list runs its
//! keys are collected, and at its end all that it did not name is gone: so a list never empties what it replaces.

use std::collections::HashSet;
use std::pin::pin;
use std::sync::Arc;

use futures_util::StreamExt;
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client};
use tokio::sync::mpsc::Sender;

use super::count::Counters;
use super::error::{Then, then, words};
use super::watched::Watched;
use super::{Batch, Settings};
use crate::Change;
use crate::manifest::convert::FieldError;
use crate::object::ObjectKey;

/// Changes handed over at once, at most.
pub(super) const BATCH: usize = 500;

/// What every kind's task has.
#[derive(Clone)]
pub(super) struct Follower {
    pub(super) client: Client,
    pub(super) settings: Settings,
    pub(super) counters: Arc<Counters>,
    pub(super) batches: Sender<Batch>,
}

/// Why a stream of events is left.
enum Left {
    /// To begin with a new list.
    Relist,
    /// The server has no such kind.
    Absent,
    /// Nobody takes the batches any more.
    Unwanted,
}

impl Follower {
    /// Follows the kind at index `K` of the table until nobody takes the batches any more.
    pub(super) async fn run<const K: usize>(self) {
        loop {
            match self.follow::<K>().await {
                Left::Relist => {}
                Left::Absent => tokio::time::sleep(self.settings.absent_retry).await,
                Left::Unwanted => return,
            }
        }
    }

    async fn follow<const K: usize>(&self) -> Left {
        let config = watcher::Config {
            timeout: Some(self.settings.watch_seconds),
            page_size: Some(self.settings.page_size),
            ..watcher::Config::default()
        };
        let events = watcher::watcher(Api::<Watched<K>>::all(self.client.clone()), config);
        let mut chunks = pin!(events.ready_chunks(BATCH));
        let mut gathered = Gathered::<K>::default();
        while let Some(chunk) = chunks.next().await {
            let at = (self.settings.clock)();
            let mut left = None;
            for event in chunk {
                match event {
                    Ok(event) => left = gathered.take(event, &self.counters).or(left),
                    Err(error) => left = self.failed::<K>(&error, &mut gathered).or(left),
                }
            }
            let changes = std::mem::take(&mut gathered.changes);
            let listed = std::mem::take(&mut gathered.listed).then_some(Watched::<K>::KIND.object);
            let news = !changes.is_empty() || listed.is_some();
            if news && self.batches.send(Batch { at, changes, listed }).await.is_err() {
                return Left::Unwanted;
            }
            if let Some(left) = left {
                return left;
            }
        }
        Left::Relist
    }

    fn failed<const K: usize>(&self, error: &watcher::Error, gathered: &mut Gathered<K>) -> Option<Left> {
        let kind = Watched::<K>::KIND;
        match then(error, kind) {
            Then::Absent => {
                tracing::info!("the API server has no {}; done without", kind.resource());
                gathered.changes.push(Change::Only(kind.object, HashSet::new()));
                gathered.listed = true;
                Some(Left::Absent)
            }
            Then::Lists => {
                tracing::info!("{} are listed anew: {error}", kind.resource());
                None
            }
            Then::Relist => {
                Counters::add(&self.counters.failures);
                tracing::info!("{} are listed anew: {error}", kind.resource());
                Some(Left::Relist)
            }
            Then::Retry => {
                Counters::add(&self.counters.failures);
                self.counters.trouble(kind, words(error, kind));
                None
            }
        }
    }
}

/// What came and is not handed over yet.
struct Gathered<const K: usize> {
    changes: Vec<Change>,
    /// A list is complete.
    listed: bool,
    /// What the list under way named so far.
    named: HashSet<ObjectKey>,
    /// The highest resource version seen.
    newest: u128,
}

impl<const K: usize> Default for Gathered<K> {
    fn default() -> Self {
        Self { changes: Vec::new(), listed: false, named: HashSet::new(), newest: 0 }
    }
}

impl<const K: usize> Gathered<K> {
    fn take(&mut self, event: Event<Watched<K>>, counters: &Counters) -> Option<Left> {
        let kind = Watched::<K>::KIND;
        match event {
            Event::Init => {
                self.named.clear();
                self.newest = 0;
            }
            Event::InitApply(watched) => {
                Counters::add(&counters.events);
                self.newest = self.newest.max(watched.version().unwrap_or(0));
                let key = watched.key();
                if let Some(object) = readable(watched, counters) {
                    self.changes.push(object);
                }
                self.named.insert(key);
            }
            Event::InitDone => {
                self.changes.push(Change::Only(kind.object, std::mem::take(&mut self.named)));
                self.listed = true;
                counters.settle(kind);
            }
            Event::Apply(watched) => {
                let left = self.older(watched.version());
                self.changes.extend(readable(watched, counters));
                Counters::add(&counters.events);
                return left;
            }
            Event::Delete(watched) => {
                let left = self.older(watched.version());
                self.changes.push(Change::Delete(watched.key()));
                Counters::add(&counters.events);
                return left;
            }
        }
        None
    }

    /// Versions only grow, unless the server was put back to an older state; then what it forgot must go here too.
    fn older(&mut self, version: Option<u128>) -> Option<Left> {
        let version = version?;
        let older = version < self.newest;
        self.newest = self.newest.max(version);
        older.then_some(Left::Relist)
    }
}

/// What follows from an object as it is now. One that says nothing used is as good as gone; one that cannot be read
/// changes nothing.
fn readable<const K: usize>(watched: Watched<K>, counters: &Counters) -> Option<Change> {
    let key = watched.key();
    match watched.object {
        Ok(Some(object)) => Some(Change::Apply(object)),
        Ok(None) => Some(Change::Delete(key)),
        Err(FieldError { object, field, why }) => {
            Counters::add(&counters.unreadable);
            tracing::warn!("cannot read {object}: field {field}: {why}; what was known of it stays");
            None
        }
    }
}
