//! What the watch counted, and what is wrong with it now, in words.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use super::kind::Kind;

/// What was counted so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WatchStats {
    /// Lists begun.
    pub lists: u64,
    /// Further pages of lists.
    pub pages: u64,
    /// Watches begun.
    pub watches: u64,
    /// Objects and deletions received.
    pub events: u64,
    /// Requests that failed, and watches that ended in an error.
    pub failures: u64,
    /// Objects that could not be read.
    pub unreadable: u64,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) lists: AtomicU64,
    pub(super) pages: AtomicU64,
    pub(super) watches: AtomicU64,
    pub(super) events: AtomicU64,
    pub(super) failures: AtomicU64,
    pub(super) unreadable: AtomicU64,
    /// By resource.
    troubles: Mutex<BTreeMap<String, String>>,
}

impl Counters {
    pub(super) fn add(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Says what is wrong with a kind, and logs it if it is news.
    pub(super) fn trouble(&self, kind: &Kind, sentence: String) {
        let mut troubles = self.troubles.lock().unwrap_or_else(PoisonError::into_inner);
        let resource = kind.resource();
        if troubles.get(&resource) != Some(&sentence) {
            tracing::warn!("{sentence}");
            troubles.insert(resource, sentence);
        }
    }

    /// Takes back what was said of a kind.
    pub(super) fn settle(&self, kind: &Kind) {
        if self.forget(kind) {
            tracing::info!("{} are watched again", kind.resource());
        }
    }

    /// The server has no such kind (any more): nothing is wrong with it. False if nothing was.
    pub(super) fn forget(&self, kind: &Kind) -> bool {
        let mut troubles = self.troubles.lock().unwrap_or_else(PoisonError::into_inner);
        troubles.remove(&kind.resource()).is_some()
    }

    pub(super) fn troubles(&self) -> Vec<String> {
        self.troubles.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    pub(super) fn stats(&self) -> WatchStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        WatchStats {
            lists: read(&self.lists),
            pages: read(&self.pages),
            watches: read(&self.watches),
            events: read(&self.events),
            failures: read(&self.failures),
            unreadable: read(&self.unreadable),
        }
    }
}
