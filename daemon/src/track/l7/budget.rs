//! Room for messages that have begun and wait for their rest: one budget of bytes for all connections of a tracker.
//!
//! What is [`Kept`] pays for its bytes and gives them back when it is read or dropped, whichever way its connection goes. What
//! finds no room is not kept, and whoever asked learns it. A tracker has one thread; the count is shared without a lock so that
//! the tracker may move to another.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A budget of bytes; its copies are the same one.
#[derive(Clone, Debug)]
pub struct Budget {
    limit: usize,
    used: Arc<AtomicUsize>,
}

impl Budget {
    /// A budget of so many bytes, all free.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { limit, used: Arc::default() }
    }

    /// Bytes kept now.
    #[must_use]
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// Takes so many bytes, if they are free.
    fn take(&self, bytes: usize) -> bool {
        let more = |used: usize| used.checked_add(bytes).filter(|used| *used <= self.limit);
        self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }

    fn give_back(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// Bytes that a budget has room for.
#[derive(Debug)]
pub struct Kept {
    bytes: Vec<u8>,
    budget: Budget,
}

impl Kept {
    /// Nothing yet.
    #[must_use]
    pub const fn new(budget: Budget) -> Self {
        Self { bytes: Vec::new(), budget }
    }

    /// What is kept.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// True without bytes.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Keeps a copy. False if there is no room for it: then nothing changed.
    pub fn keep(&mut self, bytes: &[u8]) -> bool {
        let room = self.budget.take(bytes.len());
        if room {
            // No more than was paid for.
            self.bytes.reserve_exact(bytes.len());
            self.bytes.extend_from_slice(bytes);
        }
        room
    }

    /// Gives up what is kept, to be read.
    pub fn take(&mut self) -> Vec<u8> {
        self.budget.give_back(self.bytes.len());
        std::mem::take(&mut self.bytes)
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.budget.give_back(self.bytes.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_or_dropped_makes_room_again() {
        let budget = Budget::new(10);
        let (mut one, mut other) = (Kept::new(budget.clone()), Kept::new(budget.clone()));
        assert!(one.keep(&[1; 6]) && one.keep(&[2]));
        assert!(!other.keep(&[3; 4]) && other.is_empty());
        assert!(other.keep(&[3; 3]));
        assert_eq!((budget.used(), one.bytes()), (10, &[1, 1, 1, 1, 1, 1, 2][..]));
        assert_eq!(one.take(), [1, 1, 1, 1, 1, 1, 2]);
        assert_eq!(budget.used(), 3);
        drop(other);
        assert_eq!(budget.used(), 0);
    }
}
