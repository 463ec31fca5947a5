//! Namespaces that a flow's ends were in, and when each was last seen.
//!
//! Outlives the flows in the ring: a namespace is remembered for an hour after its last flow. Bounded in number; when full,
//! the one unseen for longest goes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use weir_cluster::UnixNanos;

/// How long a namespace is remembered.
pub const REMEMBERED: Duration = Duration::from_secs(3600);
/// A namespace seen again sooner is not worth telling the readers.
const RESOLUTION: Duration = Duration::from_secs(60);
const MOST: usize = 10_000;

/// A namespace and the time of its latest flow, to within a minute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastSeen {
    /// Its name.
    pub namespace: Arc<str>,
    /// Time of a flow of it, at most a minute before its latest.
    pub at: UnixNanos,
}

#[derive(Debug, Default)]
pub(super) struct Namespaces {
    seen: BTreeMap<Arc<str>, UnixNanos>,
}

impl Namespaces {
    /// Notes a flow of `namespace`; the new list where readers need one.
    pub(super) fn see(&mut self, namespace: &str, at: UnixNanos) -> Option<Vec<LastSeen>> {
        if namespace.is_empty() {
            return None;
        }
        match self.seen.get_mut(namespace) {
            Some(last) if at.since(*last) < RESOLUTION => return None,
            Some(last) => *last = at,
            None => {
                self.seen.insert(Arc::from(namespace), at);
            }
        }
        self.seen.retain(|_, last| at.since(*last) <= REMEMBERED);
        if self.seen.len() > MOST
            && let Some(oldest) =
                self.seen.iter().min_by_key(|(_, last)| **last).map(|(name, _)| Arc::clone(name))
        {
            self.seen.remove(&oldest);
        }
        Some(
            self.seen
                .iter()
                .map(|(namespace, at)| LastSeen { namespace: Arc::clone(namespace), at: *at })
                .collect(),
        )
    }
}
