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
use super::error::{Then, is_refused, then, words};
use super::kind::{Absent, Kind};
use super::watched::Watched;
use super::{Batch, Settings};
use crate::Change;
use crate::manifest::convert::FieldError;
use crate::object::{ObjectKey, ObjectKind};

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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Left {
    /// To begin with a new list.
    Relist,
    /// The server has no such kind.
    Absent,
    /// Nobody takes the batches any more.
    Unwanted,
}

impl Follower {
    /// Follows one kind of the table until nobody takes the batches any more.
    pub(super) async fn run(self, kind: &'static Kind) {
        let mut substituted = None;
        loop {
            let left = match self.follow(kind, kind.object, substituted).await {
                Left::Absent => self.without(kind, &mut substituted).await,
                other => other,
            };
            if left == Left::Unwanted {
                return;
            }
        }
    }

    /// What is done while the server does not have the kind: what stands in for it is followed, the first that there is, or
    /// nothing. After a while the kind itself is looked for again.
    async fn without(&self, kind: &'static Kind, substituted: &mut Option<ObjectKind>) -> Left {
        let again = tokio::time::sleep(self.settings.absent_retry);
        tokio::pin!(again);
        let mut absent = kind;
        while let Absent::Instead(other) = absent.absent {
            // Another version of the same is the same: its own list ends what was there before.
            let differs = other.object != kind.object;
            *substituted = differs.then_some(other.object);
            tokio::select! {
                () = &mut again => return Left::Relist,
                left = self.follow(other, kind.object, differs.then_some(kind.object)) => match left {
                    Left::Unwanted => return left,
                    Left::Absent => absent = other,
                    Left::Relist => {}
                },
            }
        }
        let sent = self.send(vec![Change::Only(kind.object, HashSet::new())], Some(kind.object)).await;
        if sent == Some(Left::Unwanted) {
            return Left::Unwanted;
        }
        again.await;
        Left::Relist
    }

    /// One watcher's events, until it must be left. Its list counts as that of `listed`, and ends what there is of the kind
    /// that it stands in for, or that stood in for it.
    async fn follow(&self, kind: &'static Kind, listed: ObjectKind, ends: Option<ObjectKind>) -> Left {
        let following = Following { follower: self, kind, listed, ends };
        if kind.metadata_only { following.run::<true>().await } else { following.run::<false>().await }
    }

    /// Hands changes over.
    async fn send(&self, changes: Vec<Change>, listed: Option<ObjectKind>) -> Option<Left> {
        if changes.is_empty() && listed.is_none() {
            return None;
        }
        let batch = Batch { at: (self.settings.clock)(), changes, listed };
        self.batches.send(batch).await.is_err().then_some(Left::Unwanted)
    }
}

/// A kind that is followed, and what its list means.
struct Following<'a> {
    follower: &'a Follower,
    kind: &'static Kind,
    listed: ObjectKind,
    ends: Option<ObjectKind>,
}

impl Following<'_> {
    async fn run<const METADATA_ONLY: bool>(&self) -> Left {
        let Follower { client, settings, counters, .. } = self.follower;
        let config = watcher::Config {
            timeout: Some(settings.watch_seconds),
            page_size: Some(settings.page_size),
            ..watcher::Config::default()
        };
        let api = Api::<Watched<METADATA_ONLY>>::all_with(client.clone(), &self.kind);
        let mut chunks = pin!(watcher::watcher(api, config).ready_chunks(BATCH));
        let mut gathered = Gathered::new(self.kind);
        while let Some(chunk) = chunks.next().await {
            let mut left = None;
            let mut refused = false;
            for event in chunk {
                match event {
                    Ok(event) => left = gathered.take(event, counters).or(left),
                    Err(error) => {
                        refused |= is_refused(&error);
                        left = self.failed(&error).or(left);
                    }
                }
            }
            let mut changes = std::mem::take(&mut gathered.changes);
            let listed = std::mem::take(&mut gathered.listed);
            if listed {
                changes.extend(self.ends.map(|kind| Change::Only(kind, HashSet::new())));
            }
            // What can be done without and may not be listed is not waited for.
            let done = listed || refused && self.kind.is_optional();
            let listed = done.then_some(self.listed);
            if let Some(left) = self.follower.send(changes, listed).await.or(left) {
                return left;
            }
        }
        Left::Relist
    }

    fn failed(&self, error: &watcher::Error) -> Option<Left> {
        let Self { follower: Follower { counters, .. }, kind, .. } = self;
        match then(error, kind) {
            Then::Absent => {
                counters.forget(kind);
                tracing::info!("the API server has no {}", kind.resource());
                Some(Left::Absent)
            }
            Then::Lists => {
                tracing::info!("{} are listed anew: {error}", kind.resource());
                None
            }
            Then::Relist => {
                Counters::add(&counters.failures);
                tracing::info!("{} are listed anew: {error}", kind.resource());
                Some(Left::Relist)
            }
            Then::Retry => {
                Counters::add(&counters.failures);
                counters.trouble(kind, words(error, kind));
                None
            }
        }
    }
}

/// What came and is not handed over yet.
struct Gathered {
    kind: &'static Kind,
    changes: Vec<Change>,
    /// A list is complete.
    listed: bool,
    /// What the list under way named so far.
    named: HashSet<ObjectKey>,
    /// The highest resource version seen.
    newest: u128,
}

impl Gathered {
    fn new(kind: &'static Kind) -> Self {
        Self { kind, changes: Vec::new(), listed: false, named: HashSet::new(), newest: 0 }
    }

    fn take<const METADATA_ONLY: bool>(
        &mut self,
        event: Event<Watched<METADATA_ONLY>>,
        counters: &Counters,
    ) -> Option<Left> {
        match event {
            Event::Init => {
                self.named.clear();
                self.newest = 0;
            }
            Event::InitApply(watched) => {
                Counters::add(&counters.events);
                self.newest = self.newest.max(watched.version().unwrap_or(0));
                self.named.insert(watched.key(self.kind));
                self.changes.extend(self.readable(watched, counters));
            }
            Event::InitDone => {
                self.changes.push(Change::Only(self.kind.object, std::mem::take(&mut self.named)));
                self.listed = true;
                counters.settle(self.kind);
            }
            Event::Apply(watched) => {
                let left = self.older(watched.version());
                self.changes.extend(self.readable(watched, counters));
                Counters::add(&counters.events);
                return left;
            }
            Event::Delete(watched) => {
                let left = self.older(watched.version());
                self.changes.push(Change::Delete(watched.key(self.kind)));
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

    /// What follows from an object as it is now. One that says nothing used is as good as gone; one that cannot be read
    /// changes nothing.
    fn readable<const METADATA_ONLY: bool>(
        &self,
        watched: Watched<METADATA_ONLY>,
        counters: &Counters,
    ) -> Option<Change> {
        let key = watched.key(self.kind);
        match watched.reduced(self.kind) {
            Ok(Some(object)) => Some(Change::Apply(object)),
            Ok(None) => Some(Change::Delete(key)),
            Err(FieldError { object, field, why }) => {
                Counters::add(&counters.unreadable);
                tracing::warn!("cannot read {object}: field {field}: {why}; what was known of it stays");
                None
            }
        }
    }
}
