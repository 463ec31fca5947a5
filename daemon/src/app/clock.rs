//! The system's clock, read here and handed to everything else as an argument.

use std::time::SystemTime;

use weir_cluster::UnixNanos;

/// Now.
#[must_use]
pub fn now() -> UnixNanos {
    SystemTime::now().into()
}

/// A run's number: its start in Unix milliseconds, never 0.
#[must_use]
pub fn run_of(start: UnixNanos) -> u64 {
    (start.as_nanos() / 1_000_000).max(1)
}
