//! The Kubernetes watch as a source of cluster state: the API server's lists and events -> changes, in bounded batches.
//!
//! kube-runtime's watcher speaks with the server; ours is what follows from an event, how often the server is asked
//! (`pace`), and what is said when it refuses (`error`). `kind` is the table of what is watched. Whoever owns the cluster
//! takes the batches; while it does not, the watchers wait, and so does the server.

mod connect;
mod count;
mod error;
mod follow;
mod gather;
mod kind;
mod pace;
mod probe;
mod watched;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;

pub use connect::Server;
use count::Counters;
pub use count::WatchStats;
pub use error::WatchError;
use follow::Follower;
pub use gather::{Applied, Changes};
pub use kind::{Absent, KINDS, Kind, VERBS, with_substitutes};
pub use pace::Pace;
pub use probe::{Probe, probe};

use crate::object::ObjectKind;
use crate::{Change, UnixNanos};

/// Batches between the watchers and the cluster's owner.
const QUEUE: usize = 16;

/// How to watch.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// The time of receipt.
    pub clock: fn() -> UnixNanos,
    /// Objects in a page of a list.
    pub page_size: u32,
    /// The server ends a watch after so many seconds; below 295, or some proxies do.
    pub watch_seconds: u32,
    /// A connection on which nothing comes for so long is given up.
    pub silence: Duration,
    /// A kind that the server does not have is looked for so often.
    pub absent_retry: Duration,
    /// How often the server is asked.
    pub pace: Pace,
}

impl Settings {
    /// As it should be in a cluster.
    #[must_use]
    pub fn new(clock: fn() -> UnixNanos) -> Self {
        Self {
            clock,
            page_size: 500,
            watch_seconds: 290,
            silence: Duration::from_secs(300),
            absent_retry: Duration::from_secs(600),
            pace: Pace::default(),
        }
    }
}

/// Changes of one kind that came together.
#[derive(Debug)]
struct Batch {
    /// When they came.
    at: UnixNanos,
    changes: Vec<Change>,
    /// The kind, if its list is complete with them.
    listed: Option<ObjectKind>,
}

/// A running watch: the owner of its tasks, which end with it.
#[derive(Debug)]
pub struct Watch {
    tasks: JoinSet<()>,
    /// Tasks that ended by themselves, which none should.
    ended: usize,
    counters: Arc<Counters>,
}

impl Watch {
    /// Starts watching, in the runtime that this is called in. That the server cannot be reached is no error here: it is
    /// tried again.
    ///
    /// # Errors
    /// If the server's address, certificates or credentials cannot be used.
    pub fn start(server: Server, settings: Settings) -> Result<(Self, Changes), WatchError> {
        let counters = Arc::new(Counters::default());
        let client = pace::paced(server.client(settings.silence)?, settings.pace, Arc::clone(&counters));
        let (batches, taken) = mpsc::channel(QUEUE);
        let follower = Follower { client, settings, counters: Arc::clone(&counters), batches };
        let mut tasks = JoinSet::new();
        for kind in &KINDS {
            tasks.spawn(follower.clone().run(kind));
        }
        Ok((Self { tasks, ended: 0, counters }, Changes::new(taken)))
    }

    /// What was counted so far.
    #[must_use]
    pub fn stats(&self) -> WatchStats {
        self.counters.stats()
    }

    /// What is wrong now, a sentence for each kind that is not watched as it should be.
    #[must_use]
    pub fn troubles(&mut self) -> Vec<String> {
        while self.tasks.try_join_next().is_some() {
            self.ended += 1;
        }
        let mut troubles = self.counters.troubles();
        if self.ended > 0 {
            troubles.push(format!(
                "{} of {} watchers ended by themselves, what they watched is old: restart the daemon",
                self.ended,
                KINDS.len()
            ));
        }
        troubles
    }

    /// Ends all tasks and waits until they have ended; none does anything that cannot be broken off.
    pub async fn stop(mut self) {
        self.tasks.shutdown().await;
    }
}

#[cfg(test)]
mod tests;
