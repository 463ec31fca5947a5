//! What is allocated a packet: in all, and where a packet of a known connection is no more than that.
//!
//! The allocator counts around each packet. A packet is of a known connection if it neither begins a connection nor joins two;
//! where it makes the tracker tell a flow, or a timer rings with it, the allocations are the flow's, and counted apart.

use weir_daemon::enrich::Interfaces;
use weir_daemon::track::{Settings, Tracker};
use weir_tests::results::Figure;

use crate::ALLOCATOR;
use crate::input::{Recorded, Taken};

#[derive(Default)]
struct Share {
    packets: u64,
    allocations: u64,
}

impl Share {
    fn take(&mut self, allocations: u64) {
        self.packets += 1;
        self.allocations += allocations;
    }
}

fn so_far() -> u64 {
    let stats = ALLOCATOR.stats();
    (stats.allocations + stats.reallocations) as u64
}

pub fn figures(recorded: &Recorded) -> Vec<Figure> {
    let (mut known, mut telling, mut beginning) = (Share::default(), Share::default(), Share::default());
    let mut testified = Share::default();
    let mut flows = 0_u64;
    let (mut enricher, interfaces) = (recorded.enricher(), Interfaces::new());
    let mut tracker = Tracker::new(Settings::default());
    recorded.each(|taken| {
        let (connections, told, before) = (tracker.stats(), flows, so_far());
        taken.give(&mut tracker, &mut |event| {
            flows += 1;
            enricher.enrich(&event, &interfaces, &recorded.cluster);
        });
        let allocations = so_far() - before;
        let after = tracker.stats();
        let is_packet = matches!(taken, Taken::Packet(..));
        let share = if !is_packet {
            &mut testified
        } else if (connections.begun, connections.merged) != (after.begun, after.merged) {
            &mut beginning
        } else if flows > told {
            &mut telling
        } else {
            &mut known
        };
        share.take(allocations);
    });
    let packets = known.packets + telling.packets + beginning.packets;
    let allocations = known.allocations + telling.allocations + beginning.allocations + testified.allocations;
    let count = |name: &str, value: u64, what: &str| Figure::new(name, value as f64, "", what);
    vec![
        count("known_packets", known.packets, "packets of known connections, with no flow to tell"),
        count("known_allocations", known.allocations, "allocations for all of these together"),
        count("flows", flows, "flows told"),
        Figure::new(
            "allocations_per_packet",
            allocations as f64 / packets as f64,
            "",
            "allocations a packet, over all packets, beginnings and flows",
        ),
    ]
}
