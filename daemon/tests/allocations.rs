//! Packets of connections that are already known allocate nothing of their own, from the frame to the end of the tracker.
//!
//! The benchmark's own count, over its synthetic capture: the figure that the README shows of a recording is held here.

#[path = "../benches/pipeline/allocations.rs"]
mod allocations;
#[path = "../benches/pipeline/input.rs"]
#[expect(dead_code, reason = "the benchmark reads recordings too")]
mod input;
#[path = "../benches/pipeline/synthetic.rs"]
mod synthetic;

use std::alloc::System;

use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// One was counted where this was written; what grows for all connections together may double.
const MAX_ALLOCATIONS: f64 = 8.0;

#[test]
fn packets_of_known_connections_allocate_nothing_of_their_own() {
    let figures = allocations::figures(&synthetic::capture());
    let value = |name: &str| figures.iter().find(|figure| figure.name == name).map(|figure| figure.value);
    assert!(value("known_packets") > Some(200_000.0), "{figures:?}");
    // Far fewer than the thousand connections and their 250,000 packets: no packet and no connection brings one.
    assert!(value("known_allocations") <= Some(MAX_ALLOCATIONS), "{figures:?}");
}
