//! Fixed history of this node's flows: one writer, many readers.
//!
//! Each flow is numbered, encoded once, and decoded again when the first filter asks for it. The newest is visible at once. The ring
//! is bounded by entries and by bytes; when full it forgets its oldest entries. A reader never makes the writer wait: slots
//! are swapped atomically, and a reader that was overtaken is told how many flows it lost, to the unit.
//! Losses of the capture lie between the flows without a number of their own.

mod entry;
mod namespaces;
mod reader;

use std::borrow::Borrow;
use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use tokio::sync::Notify;
use weir_cluster::UnixNanos;
use weir_proto::flow::{Flow, LostEvent};

pub use entry::{Content, Entry, Recorded, time_of, timestamp_of};
pub use namespaces::{LastSeen, REMEMBERED};
pub use reader::{Overrun, Read, Reader, Rewind};

use entry::Mark;
use namespaces::Namespaces;

/// Number of a flow in one run of the daemon, from 1 without holes; 0 stands before the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seq(pub u64);

/// Index of an entry since the ring was made, flows and losses alike.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position(u64);

impl Position {
    const fn following(self) -> Self {
        Self(self.0 + 1)
    }
}

/// How much a ring holds; whichever is reached first.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Entries. The slots are allocated at once, 8 bytes each.
    pub entries: NonZeroUsize,
    /// Bytes of the entries, as [`Entry`] estimates them. The newest entry is always held.
    pub bytes: usize,
}

/// Rate over the flows of this time before now.
const RATE_WINDOW: Duration = Duration::from_secs(60);

/// What a ring holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stats {
    /// Flows held now.
    pub held: u64,
    /// Entries it may hold.
    pub capacity: u64,
    /// Flows ever pushed; the number of the newest.
    pub seen: Seq,
}

/// The readers' side. Made by [`ring`].
pub struct Ring {
    /// One more than the limit, so that the newest is in its place before the oldest goes.
    slots: Box<[ArcSwapOption<Entry>]>,
    /// Oldest entry still held. Moves before its slot is emptied.
    tail: AtomicU64,
    /// Next entry to come. Moves after its slot is filled.
    head: AtomicU64,
    grown: Notify,
    namespaces: ArcSwap<Vec<LastSeen>>,
}

impl std::fmt::Debug for Ring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ring").field("tail", &self.tail).field("head", &self.head).finish_non_exhaustive()
    }
}

/// An empty ring: the one who writes, and what readers share.
#[must_use]
pub fn ring(limits: Limits) -> (Writer, Arc<Ring>) {
    let ring = Arc::new(Ring {
        slots: (0..=limits.entries.get()).map(|_| ArcSwapOption::empty()).collect(),
        tail: AtomicU64::new(0),
        head: AtomicU64::new(0),
        grown: Notify::new(),
        namespaces: ArcSwap::default(),
    });
    let writer = Writer {
        ring: Arc::clone(&ring),
        byte_limit: limits.bytes,
        bytes: 0,
        weights: VecDeque::new(),
        mark: Mark::default(),
        namespaces: Namespaces::default(),
    };
    (writer, ring)
}

impl Ring {
    fn tail(&self) -> Position {
        Position(self.tail.load(Ordering::Acquire))
    }

    /// Entries it may hold.
    const fn capacity(&self) -> usize {
        self.slots.len() - 1
    }

    /// The position that the next entry will have.
    #[must_use]
    pub fn head(&self) -> Position {
        Position(self.head.load(Ordering::Acquire))
    }

    fn slot(&self, position: Position) -> &ArcSwapOption<Entry> {
        let slots = self.slots.len() as u64;
        &self.slots[usize::try_from(position.0 % slots).unwrap_or(0)]
    }

    /// The entry at `position`; `None` if it is forgotten or not yet there.
    fn get(&self, position: Position) -> Option<Arc<Entry>> {
        self.slot(position).load_full().filter(|entry| entry.position == position)
    }

    /// The newest entry, `None` in an empty ring. It is held until a newer one is visible.
    fn newest(&self) -> Option<Arc<Entry>> {
        loop {
            let head = self.head();
            if head.0 == 0 {
                return None;
            }
            if let Some(entry) = self.get(Position(head.0 - 1)) {
                return Some(entry);
            }
        }
    }

    /// The oldest entry, `None` in an empty ring.
    fn oldest(&self) -> Option<Arc<Entry>> {
        loop {
            let tail = self.tail();
            if let Some(entry) = self.get(tail) {
                return Some(entry);
            }
            if tail == self.head() {
                return None;
            }
        }
    }

    /// First position whose entry satisfies `is_right`, where all entries after it do too; the head if none does.
    fn partition(&self, is_right: impl Fn(&Entry) -> bool) -> Position {
        let (mut low, mut high) = (self.tail(), self.head());
        while low < high {
            let middle = Position(low.0 + (high.0 - low.0) / 2);
            // A forgotten entry is left of everything that is held.
            if self.get(middle).is_some_and(|entry| is_right(&entry)) {
                high = middle;
            } else {
                low = middle.following();
            }
        }
        low
    }

    /// Waits until an entry at `position` or later was pushed.
    pub async fn reached(&self, position: Position) {
        loop {
            let grown = self.grown.notified();
            if self.head() > position {
                return;
            }
            grown.await;
        }
    }

    /// Counts at this moment.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let newest = self.newest().map_or(Seq(0), |entry| entry.after().seq);
        let before_oldest = self.oldest().map_or(newest, |entry| entry.before.seq);
        Stats {
            held: newest.0.saturating_sub(before_oldest.0),
            capacity: self.capacity() as u64,
            seen: newest,
        }
    }

    /// Flows a second in the minute before `now`, or in the time since the oldest flow held if that is shorter.
    #[must_use]
    pub fn rate(&self, now: UnixNanos) -> f64 {
        let from = now.saturating_sub(RATE_WINDOW);
        let first = self.partition(|entry| entry.after().time.is_some_and(|time| time >= from));
        let (Some(first), Some(newest)) = (self.get(first), self.newest()) else { return 0.0 };
        let flows = newest.after().seq.0.saturating_sub(first.before.seq.0);
        let forgot_some = first.position == self.tail() && first.before.seq > Seq(0);
        let span = match first.after().time {
            Some(oldest) if forgot_some => now.since(oldest),
            _ => RATE_WINDOW,
        };
        if span.is_zero() { 0.0 } else { flows as f64 / span.as_secs_f64() }
    }

    /// Time of the newest flow, `None` before the first.
    #[must_use]
    pub fn newest_time(&self) -> Option<UnixNanos> {
        self.newest().and_then(|entry| entry.after().time)
    }

    /// Namespaces of sources and destinations, with the time of their latest flow to within a minute; by name.
    #[must_use]
    pub fn namespaces(&self) -> Arc<Vec<LastSeen>> {
        self.namespaces.load_full()
    }
}

/// The one who fills a ring: the pipeline's thread. No call of it waits for a reader.
#[derive(Debug)]
pub struct Writer {
    ring: Arc<Ring>,
    byte_limit: usize,
    bytes: usize,
    /// Weight of each entry held, oldest first.
    weights: VecDeque<usize>,
    mark: Mark,
    namespaces: Namespaces,
}

impl Writer {
    /// The number that the next flow will get: what its `uuid` must encode.
    #[must_use]
    pub const fn next_seq(&self) -> Seq {
        Seq(self.mark.seq.0 + 1)
    }

    /// Puts a finished flow into the ring, visible at once, and returns its number.
    pub fn push(&mut self, flow: impl Borrow<Flow>) -> Seq {
        let flow = flow.borrow();
        let recorded = Recorded::new(flow);
        self.seen(flow.source.as_ref(), recorded.time);
        self.seen(flow.destination.as_ref(), recorded.time);
        self.append(Content::Flow(Box::new(recorded)));
        self.mark.seq
    }

    /// Puts a loss of the capture between the flows. Readers get it whatever they filter on.
    pub fn push_lost(&mut self, lost: LostEvent) {
        self.append(Content::Loss(lost));
    }

    fn seen(&mut self, endpoint: Option<&weir_proto::flow::Endpoint>, at: UnixNanos) {
        let Some(endpoint) = endpoint else { return };
        if let Some(changed) = self.namespaces.see(&endpoint.namespace, at) {
            self.ring.namespaces.store(Arc::new(changed));
        }
    }

    fn append(&mut self, content: Content) {
        let position = self.ring.head();
        let entry = Entry { position, before: self.mark.clone(), content };
        self.bytes += entry.weight();
        self.weights.push_back(entry.weight());
        self.mark = entry.after();
        self.ring.slot(position).store(Some(Arc::new(entry)));
        self.ring.head.store(position.following().0, Ordering::Release);
        while self.weights.len() > 1 && self.is_overfull() {
            self.forget_oldest();
        }
        self.ring.grown.notify_waiters();
    }

    fn is_overfull(&self) -> bool {
        self.weights.len() > self.ring.capacity() || self.bytes > self.byte_limit
    }

    fn forget_oldest(&mut self) {
        let oldest = self.ring.tail();
        self.ring.tail.store(oldest.following().0, Ordering::Release);
        self.ring.slot(oldest).store(None);
        self.bytes -= self.weights.pop_front().unwrap_or(0);
    }
}

#[cfg(test)]
mod tests;
