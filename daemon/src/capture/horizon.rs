//! How far a live source has got: everything that passed before has been handed to the queue, or was lost and counted.
//!
//! A machine with too much to do lets captured frames wait in rings, for seconds. Whoever lets time pass by the clock alone would
//! be ahead of them, and end connections before their last packets.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use weir_cluster::UnixNanos;

/// Written by the source's thread, read by the pipeline's.
#[derive(Clone, Debug, Default)]
pub struct Horizon(Arc<AtomicU64>);

impl Horizon {
    /// Everything before this time has been handed over. It goes back where the clock does.
    pub fn note(&self, at: UnixNanos) {
        self.0.store(at.as_nanos(), Ordering::Release);
    }

    /// The time that was noted last. What was handed over before is in the queue once this is read.
    #[must_use]
    pub fn reached(&self) -> UnixNanos {
        UnixNanos::from_nanos(self.0.load(Ordering::Acquire))
    }
}
