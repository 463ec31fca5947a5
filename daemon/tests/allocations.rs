//! A packet of a connection that is already known allocates nothing, from the frame to the end of the tracker.
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

#[test]
fn a_packet_of_a_known_connection_allocates_nothing() {
    let figures = allocations::figures(&synthetic::capture());
    let value = |name: &str| figures.iter().find(|figure| figure.name == name).map(|figure| figure.value);
    assert!(value("known_packets") > Some(200_000.0), "{figures:?}");
    assert_eq!(value("known_allocations"), Some(0.0), "{figures:?}");
}
