//! Frames of different devices come microseconds out of order; nothing that is told may depend on it.

use proptest::prelude::*;
use weir_cluster::UnixNanos;

use super::*;
use crate::track::connection::Observation;

/// One sighting of a packet.
#[derive(Clone, Copy, Debug)]
struct Sight {
    at: u64,
    device: (u32, Role),
    direction: Direction,
    tuple: Tuple,
    flags: u16,
    sequence: u32,
    payload: u32,
}

const LOCAL: &str = "10.244.1.9:8080";

/// A route of forward packets through a node: device, direction there, form there. Reverse packets take it backwards.
type Route = [((u32, Role), Direction, &'static str)];

const TO_LOCAL: &Route = &[(VETH, Direction::Inbound, VIP), (PEER_VETH, Direction::Outbound, LOCAL)];
const TO_REMOTE: &Route = &[
    (VETH, Direction::Inbound, VIP),
    (FLANNEL, Direction::Outbound, BACKEND),
    (ETH0, Direction::Outbound, BACKEND),
];
const FROM_REMOTE: &Route = &[
    (ETH0, Direction::Inbound, LOCAL),
    (FLANNEL, Direction::Inbound, LOCAL),
    (VETH, Direction::Outbound, LOCAL),
];

/// Flags, sequence number, payload, and whether it comes from the client: a request, one segment sent again, an answer, the end.
const SEGMENTS: &[(u16, u32, u32, bool)] = &[
    (SYN, 100, 0, true),
    (SYN_ACK, 900, 0, false),
    (ACK, 101, 0, true),
    (ACK, 101, 50, true),
    (ACK, 101, 50, true),
    (ACK, 901, 300, false),
    (ACK, 151, 0, true),
    (FIN_ACK, 151, 0, true),
    (FIN_ACK, 1201, 0, false),
    (ACK, 152, 0, true),
];

fn sights(route: &Route) -> Vec<Sight> {
    let mut sights = Vec::new();
    for (number, (flags, sequence, payload, forward)) in SEGMENTS.iter().copied().enumerate() {
        let last = route.len() - 1;
        for (hop, (device, direction, server)) in route.iter().copied().enumerate() {
            let tuple = tuple(CLIENT, server);
            let (delay, direction, tuple) = if forward {
                (hop, direction, tuple)
            } else {
                (last - hop, crate::track::connection::opposite(direction), tuple.reversed())
            };
            let at = SECOND + number as u64 * 1_000_000 + delay as u64 * 3_000;
            sights.push(Sight { at, device, direction, tuple, flags, sequence, payload });
        }
    }
    sights.sort_by_key(|sight| sight.at);
    sights
}

impl World {
    fn sight(&mut self, sight: &Sight) {
        self.now = sight.at - 10_000;
        let tcp = Tcp {
            sequence: sight.sequence,
            acknowledgement: if sight.sequence < 900 { 901 } else { 101 },
            flags: TcpFlags(sight.flags),
            payload_len: sight.payload,
            ..SEGMENT
        };
        self.seen(sight.device, sight.direction, sight.tuple, Transport::Tcp(tcp));
    }
}

fn is_told_right(world: &World, backend: &str) {
    let ends = world.ends();
    assert_eq!(ends.len(), 1, "{:#?}", world.told);
    let end = ends[0];
    assert_eq!(end.packets, (7, 3));
    assert_eq!((end.verdict, end.state), (Verdict::Forwarded, State::Closed));
    assert_eq!(end.backend, tuple(CLIENT, backend));
    let sum = world.told.iter().fold((0, 0), |sum, told| (sum.0 + told.delta.0, sum.1 + told.delta.1));
    assert_eq!(sum, (7, 3), "the deltas add up to the total: {:#?}", world.told);
    let connection = world.tracker.find(crate::track::connection::ConnectionId(end.id)).unwrap();
    let tcp = connection.tcp.unwrap();
    assert_eq!((tcp.client.retransmissions, tcp.server.retransmissions), (1, 0));
    let [syn, syn_ack, ack] = [tcp.syn_at, tcp.syn_ack_at, tcp.ack_at].map(Option::unwrap);
    let measured = &connection.path[connection.measured];
    assert_eq!(syn, measured.first);
    assert_eq!(tcp.server_rtt_ns(), Some(syn_ack.nanos_since(syn)));
    assert_eq!(tcp.client_rtt_ns(), Some(ack.nanos_since(syn_ack)));
    let total = connection.total();
    assert_eq!((total.forward.payload_bytes, total.reverse.payload_bytes), (100, 300));
}

proptest! {
    #[test]
    fn totals_do_not_depend_on_the_order_of_devices(
        route in 0_usize..3,
        delays in prop::collection::vec(0_u64..60_000, 6),
    ) {
        let (route, backend, original) = [
            (TO_LOCAL, LOCAL, VIP),
            (TO_REMOTE, BACKEND, VIP),
            (FROM_REMOTE, LOCAL, LOCAL),
        ][route];
        let mut arrivals = sights(route);
        // Each device's frames keep their order: its queue is only late.
        arrivals.sort_by_key(|sight| sight.at + delays[sight.device.0 as usize % delays.len()]);
        let mut world = World::new();
        for sight in &arrivals {
            world.sight(sight);
        }
        world.wait(SECOND);
        is_told_right(&world, backend);
        prop_assert_eq!(world.ends()[0].original, tuple(CLIENT, original));
        prop_assert!(world.told.iter().all(|told| told.id == world.told[0].id));
    }

    #[test]
    fn one_lost_frame_of_a_device_does_not_split_a_connection(
        lost in 0_usize..9,
        other in any::<bool>(),
    ) {
        let device = if other { VETH } else { FLANNEL };
        let mut world = World::new();
        for sight in sights(TO_REMOTE) {
            let flags = SEGMENTS[lost];
            let gone = sight.device == device && sight.flags == flags.0 && sight.sequence == flags.1;
            if !gone {
                world.sight(&sight);
            }
        }
        world.wait(SECOND);
        // A lost FIN leaves it open.
        world.feed(Tracker::finish);
        let open: Vec<_> = world.ends();
        prop_assert_eq!(open.len(), 1, "{:#?}", world.told);
        prop_assert_eq!((open[0].original, open[0].backend), (tuple(CLIENT, VIP), tuple(CLIENT, BACKEND)));
    }
}

#[test]
fn a_reset_that_leaves_before_it_enters_is_still_the_pods() {
    let back = tuple(LOCAL, CLIENT);
    let mut world = World::new();
    world.tcp(VETH, Direction::Inbound, tuple(CLIENT, LOCAL), SYN, (100, 0));
    world.tcp(PEER_VETH, Direction::Outbound, tuple(CLIENT, LOCAL), SYN, (100, 0));
    world.tcp(VETH, Direction::Outbound, back, RST_ACK, (0, 101));
    world.tcp(PEER_VETH, Direction::Inbound, back, RST_ACK, (0, 101));
    world.wait(SECOND);
    assert!(world.told.iter().all(|told| told.state == State::Reset), "{:#?}", world.told);
    assert_eq!(world.last().verdict, Verdict::Forwarded);
    let connection = world.tracker.find(crate::track::connection::ConnectionId(1)).unwrap();
    assert!(connection.observed(Observation::ResetByEndpoint));
    assert!(!connection.observed(Observation::ResetByNetwork));
}

#[test]
fn the_farthest_point_is_by_place_and_not_by_sight() {
    let mut arrivals: Vec<Sight> = sights(TO_REMOTE).into_iter().take(3).collect();
    arrivals.reverse();
    let mut world = World::new();
    for sight in &arrivals {
        world.sight(sight);
    }
    let connection = world.tracker.find(crate::track::connection::ConnectionId(1)).unwrap();
    assert_eq!(connection.farthest().unwrap().interface, InterfaceId(ETH0.0));
    assert_eq!(connection.path[connection.measured].interface, InterfaceId(VETH.0));
    assert_eq!(connection.first_packet, UnixNanos::from_nanos(SECOND));
}

#[test]
fn a_syn_that_comes_after_its_answer_is_the_beginning_and_no_second_connection() {
    for known in [true, false] {
        let mut world = World::new();
        if known {
            world.conntrack(tuple(CLIENT, BACKEND), tuple(BACKEND, CLIENT));
        }
        // On the server's node, busy: the rings of the way out are read before those of the way in.
        world.now += 90_000;
        world.tcp(FLANNEL, Direction::Outbound, tuple(BACKEND, CLIENT), SYN_ACK, (900, 101));
        world.now -= 90_000;
        world.tcp(FLANNEL, Direction::Inbound, tuple(CLIENT, BACKEND), SYN, (100, 0));
        world.tcp(VETH, Direction::Outbound, tuple(CLIENT, BACKEND), SYN, (100, 0));
        world.tcp(VETH, Direction::Inbound, tuple(BACKEND, CLIENT), SYN_ACK, (900, 101));
        world.wait(SECOND);
        assert!(world.told.iter().all(|told| told.id == 1), "{:#?}", world.told);
        assert_eq!((world.told.len(), world.last().packets), (1, (1, 1)), "{:#?}", world.told);
        assert_eq!(world.last().original, tuple(CLIENT, BACKEND));
        let connection = world.tracker.find(super::super::ConnectionId(1)).unwrap();
        assert!(!connection.gaps.midstream);
        assert_eq!(connection.tcp.unwrap().client.isn, Some(100));
    }
}

#[test]
fn a_syn_older_than_all_that_was_seen_says_who_is_the_client() {
    // By its ports alone the middle of this conversation has its ends the other way.
    let (client, server) = ("10.244.1.5:1024", "10.244.2.7:40000");
    let mut world = World::new();
    world.now += 90_000;
    world.tcp(VETH, Direction::Inbound, tuple(client, server), ACK, (101, 901));
    assert_eq!(
        world.tracker.find(super::super::ConnectionId(1)).unwrap().original_tuple(),
        tuple(server, client)
    );
    world.now -= 90_000;
    world.tcp(VETH, Direction::Inbound, tuple(client, server), SYN, (100, 0));
    world.wait(SECOND);
    assert_eq!((world.last().id, world.last().original), (1, tuple(client, server)));
    assert!(!world.tracker.find(super::super::ConnectionId(1)).unwrap().gaps.midstream);
}

#[test]
fn an_answer_that_comes_before_its_question_does_not_ask() {
    let (client, server) = ("10.244.1.5:40000", "10.244.2.7:5000");
    let datagram = |world: &mut World, direction, source, destination| {
        let tuple = Tuple { protocol: IpProtocol::UDP, ..tuple(source, destination) };
        world.seen(VETH, direction, tuple, Transport::Udp { payload: b"datagram", payload_len: 8 });
    };
    let mut world = World::new();
    world.now += 90_000;
    datagram(&mut world, Direction::Outbound, server, client);
    world.now -= 90_000;
    datagram(&mut world, Direction::Inbound, client, server);
    world.wait(SECOND);
    assert_eq!((world.last().id, world.last().original.source), (1, addr(client)));
    assert_eq!(world.last().packets, (1, 1));
}

#[test]
fn the_first_flow_of_an_answered_call_counts_the_answer() {
    let mut world = World::new();
    world.conntrack(tuple(CLIENT, VIP), tuple(BACKEND, CLIENT));
    world.leaves(CLIENT, SYN, (100, 0));
    // Seen on the wire first, and only then at the measured point.
    world.returns(CLIENT, SYN_ACK, (900, 101));
    assert_eq!((world.told.len(), world.last().packets), (1, (1, 1)), "{:#?}", world.told);
}
