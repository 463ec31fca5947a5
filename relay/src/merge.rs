//! Puts the flows of many nodes into one order by their time: a k-way merge that waits at most a window for a quiet node.
//!
//! The earliest flow goes out as soon as every connected node has one waiting, or when it has waited for the window. A
//! flow older than what already went out goes at once and is late. The order of each node is kept, nothing is dropped;
//! when the buffer is full the earliest goes out early, and that is counted. Pure: time is an argument.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use crate::moment::UnixNanos;

/// A node, as this stage knows it: an index from [`Merge::source`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceId(usize);

impl SourceId {
    /// Sources are numbered from 0 as they are made.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0
    }
}

/// Limits of the merge.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Longest wait of a flow.
    pub window: Duration,
    /// Most items waiting.
    pub capacity: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { window: Duration::from_millis(250), capacity: 65_536 }
    }
}

/// What came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Emitted<T> {
    /// Whose it is.
    pub source: SourceId,
    /// It was older than what had gone out before.
    pub late: bool,
    /// What was pushed.
    pub item: T,
}

/// The merge of items of type `T`.
#[derive(Debug)]
pub struct Merge<T> {
    settings: Settings,
    sources: Vec<Source<T>>,
    /// First item of each queue: by time, and by when it came.
    by_time: BTreeSet<(UnixNanos, SourceId)>,
    by_age: BTreeSet<(Duration, SourceId)>,
    /// Connected sources with nothing waiting.
    silent: usize,
    /// Sources to be, of which nothing is known yet.
    pending: usize,
    waiting: usize,
    watermark: UnixNanos,
    early: u64,
}

#[derive(Debug)]
struct Source<T> {
    queue: VecDeque<Waiting<T>>,
    connected: bool,
    last: UnixNanos,
}

#[derive(Debug)]
struct Waiting<T> {
    time: UnixNanos,
    /// False for an item without a time of its own, which is never late.
    timed: bool,
    came: Duration,
    item: T,
}

impl<T> Merge<T> {
    /// An empty one.
    #[must_use]
    pub const fn new(settings: Settings) -> Self {
        Self {
            settings,
            sources: Vec::new(),
            by_time: BTreeSet::new(),
            by_age: BTreeSet::new(),
            silent: 0,
            pending: 0,
            waiting: 0,
            watermark: UnixNanos(i64::MIN),
            early: 0,
        }
    }

    /// A new source, not connected.
    pub fn source(&mut self) -> SourceId {
        self.sources.push(Source { queue: VecDeque::new(), connected: false, last: UnixNanos(i64::MIN) });
        SourceId(self.sources.len() - 1)
    }

    /// A connected source is waited for.
    pub fn set_connected(&mut self, id: SourceId, connected: bool) {
        let Some(source) = self.sources.get_mut(id.0) else {
            return;
        };
        if source.connected == connected {
            return;
        }
        source.connected = connected;
        if source.queue.is_empty() {
            self.silent = if connected { self.silent + 1 } else { self.silent - 1 };
        }
    }

    /// A source may come: it is waited for like a connected one, until [`Self::no_longer_pending`]. So what the nodes
    /// remember at the relay's start is in order, whichever of them answers first.
    pub const fn pending(&mut self) {
        self.pending += 1;
    }

    /// It came, or it will not for now.
    pub const fn no_longer_pending(&mut self) {
        self.pending = self.pending.saturating_sub(1);
    }

    /// Items that went out before their time because the buffer was full.
    #[must_use]
    pub const fn early(&self) -> u64 {
        self.early
    }

    /// Takes an item that came at `now` (the relay's monotonic clock). Without a time of its own it keeps its place
    /// behind what its source told before.
    pub fn push(&mut self, id: SourceId, time: Option<UnixNanos>, item: T, now: Duration) {
        let Some(source) = self.sources.get_mut(id.0) else {
            return;
        };
        let timed = time.is_some();
        let time = time.unwrap_or(source.last);
        source.last = time;
        if source.queue.is_empty() {
            self.by_time.insert((time, id));
            self.by_age.insert((now, id));
            self.silent -= usize::from(source.connected);
        }
        source.queue.push_back(Waiting { time, timed, came: now, item });
        self.waiting += 1;
    }

    /// Takes out what is to go by `now`, in order.
    pub fn poll(&mut self, now: Duration, mut out: impl FnMut(Emitted<T>)) {
        while let Some(&(time, id)) = self.by_time.first() {
            let in_order =
                time < self.watermark || self.silent + self.pending == 0 || self.oldest_is_due(now);
            if !in_order && self.waiting <= self.settings.capacity {
                return;
            }
            self.early += u64::from(!in_order);
            if let Some(emitted) = self.take(time, id) {
                out(emitted);
            }
        }
    }

    /// When `poll` is to be called again if nothing comes.
    #[must_use]
    pub fn next_due(&self) -> Option<Duration> {
        self.by_age.first().map(|(came, _)| came.saturating_add(self.settings.window))
    }

    fn oldest_is_due(&self, now: Duration) -> bool {
        self.next_due().is_some_and(|due| due <= now)
    }

    fn take(&mut self, time: UnixNanos, id: SourceId) -> Option<Emitted<T>> {
        self.by_time.remove(&(time, id));
        let source = self.sources.get_mut(id.0)?;
        let taken = source.queue.pop_front()?;
        self.waiting -= 1;
        self.by_age.remove(&(taken.came, id));
        match source.queue.front() {
            Some(next) => {
                self.by_time.insert((next.time, id));
                self.by_age.insert((next.came, id));
            }
            None => self.silent += usize::from(source.connected),
        }
        let late = taken.timed && taken.time < self.watermark;
        self.watermark = self.watermark.max(taken.time);
        Some(Emitted { source: id, late, item: taken.item })
    }
}

#[cfg(test)]
mod tests;
