//! Each device's frames keep their order, and all devices' are mixed anew: no total changes, no connection is split or joined.

use std::collections::BTreeMap;

use proptest::prelude::*;

use crate::node::{SECOND, START, Sight, Watched, calls, joins, sights};

/// What is counted of each connection, by its ends as the client called them and as the server sees them.
fn totals(watched: &Watched) -> BTreeMap<String, Vec<String>> {
    let mut totals: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for flow in watched.connections() {
        let detail = flow.weir.as_ref().unwrap();
        let vip = detail.nat.as_ref().map(|nat| (nat.vip.clone(), nat.vip_port));
        let key = format!("{:?} {:?} {vip:?}", flow.ip, flow.l4.as_ref().map(ports));
        let mut devices: Vec<String> =
            detail.path.iter().map(|point| format!("{} {:?}", point.device, point.counters)).collect();
        devices.sort();
        totals.entry(key).or_default().push(format!("{:?} {devices:?}", detail.total));
    }
    totals
}

fn ports(l4: &weir_proto::flow::Layer4) -> Option<(u32, u32)> {
    use weir_proto::flow::layer4::Protocol;
    match l4.protocol.as_ref()? {
        Protocol::Tcp(tcp) => Some((tcp.source_port, tcp.destination_port)),
        Protocol::Udp(udp) => Some((udp.source_port, udp.destination_port)),
        _ => None,
    }
}

fn watched(arrivals: &[Sight], counts: bool) -> Watched {
    let mut watched = Watched::by(counts);
    for sight in arrivals {
        watched.sees(sight, sight.at);
    }
    watched.advance(START + 60 * SECOND);
    watched.finish();
    watched
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn the_order_of_devices_changes_no_total(
        calls in calls(),
        delays in prop::collection::vec(0_u64..60_000, 7),
        counts in any::<bool>(),
    ) {
        let mut arrivals = sights(&calls);
        let in_order = watched(&arrivals, counts);
        arrivals.sort_by_key(|sight| sight.at + delays[sight.device.0 as usize % delays.len()]);
        let mixed = watched(&arrivals, counts);
        prop_assert_eq!(totals(&mixed), totals(&in_order));
        prop_assert_eq!(joins(mixed.connections()), joins(in_order.connections()));
        prop_assert_eq!(in_order.connections().len(), calls.len());
    }
}
