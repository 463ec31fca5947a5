//! What the kernel gave up and the frames of the same packets, in either order; and what it says of the connection.

use std::sync::Arc;

use proptest::prelude::*;

use super::named::{bytes, udp};
use super::*;
use crate::testimony::{Device, DropSite, DroppedPacket, Owner};
use crate::track::connection::{Connection, ConnectionId, Way};

const DENIED: &str = "NETFILTER_DROP";
const NO_ROOM: &str = "SOCKET_RCVBUFF";
const CLOSED: &str = "NO_SOCKET";

fn device(ifindex: u32, name: &str) -> Device {
    Device { ifindex, name: name.into() }
}

fn in_node() -> DropSite {
    DropSite { owner: Owner::Node, device: Some(device(VETH.0, "veth3")) }
}

/// In the pod behind this device.
fn in_pod(host: u32) -> DropSite {
    DropSite { owner: Owner::Pod(device(host, &format!("veth{host}"))), device: Some(device(2, "eth0")) }
}

impl World {
    fn dropped(&mut self, reason: &str, site: DropSite, packet: Vec<u8>) {
        let at = UnixNanos::from_nanos(self.now);
        let dropped = DroppedPacket { at, reason: Arc::from(reason), site, packet };
        self.feed(|tracker, sink| tracker.testimony(&Testimony::Dropped(dropped), sink));
    }

    fn syn_dropped(&mut self, reason: &str, site: DropSite, tuple: Tuple, sequence: u32) {
        self.dropped(reason, site, bytes(tuple, SYN, (sequence, 0)));
    }

    fn connection(&self, id: u64) -> &Connection {
        self.tracker.find(ConnectionId(id)).unwrap()
    }
}

fn datagram(source: &str, destination: &str) -> Tuple {
    Tuple { protocol: IpProtocol::UDP, ..tuple(source, destination) }
}

fn seen_datagram(world: &mut World, device: (u32, Role), direction: Direction, tuple: Tuple) {
    let payload = Transport::Udp { payload: b"eight and more", payload_len: 14 };
    world.seen(device, direction, tuple, payload);
}

#[test]
fn a_syn_dropped_behind_dnat_belongs_to_the_call_of_the_service_whichever_comes_first() {
    for drop_first in [true, false] {
        let mut world = World::new();
        if drop_first {
            world.syn_dropped(DENIED, in_node(), tuple(CLIENT, BACKEND), 100);
        }
        world.tcp(VETH, Direction::Inbound, tuple(CLIENT, VIP), SYN, (100, 0));
        if !drop_first {
            world.syn_dropped(DENIED, in_node(), tuple(CLIENT, BACKEND), 100);
        }
        world.wait(60_000_000);
        assert_eq!(world.told.len(), 1, "{:#?}", world.told);
        let told = world.last();
        assert_eq!((told.reason, told.verdict), (Reason::Drop, Verdict::Dropped));
        assert_eq!((told.original, told.backend), (tuple(CLIENT, VIP), tuple(CLIENT, BACKEND)));
        let drop = world.connection(1).stopped_by().unwrap();
        assert_eq!(drop.cause.to_string(), "NETFILTER_DROP at veth3");
        assert_eq!((drop.way, drop.packets), (Way::Forward, 1));
        assert!(world.connection(1).observed(Observation::KernelDrop));
    }
}

#[test]
fn a_drop_without_a_frame_is_told_after_a_second() {
    let mut world = World::new();
    world.syn_dropped(DENIED, in_node(), tuple(CLIENT, BACKEND), 100);
    world.wait(SECOND / 2);
    assert!(world.told.is_empty());
    world.wait(SECOND);
    world.wait(60_000_000);
    assert_eq!((world.last().reason, world.last().verdict), (Reason::Drop, Verdict::Dropped));
    assert_eq!((world.last().packets, world.last().points), ((0, 0), 0));
    assert_eq!(world.tracker.stats().dropped_unseen, 1);
}

#[test]
fn the_second_drop_of_a_reason_is_a_count_and_no_flow() {
    let mut world = World::new();
    for _ in 0..5 {
        world.tcp(VETH, Direction::Inbound, tuple(CLIENT, BACKEND), SYN, (100, 0));
        world.syn_dropped(DENIED, in_node(), tuple(CLIENT, BACKEND), 100);
    }
    world.wait(60_000_000);
    assert_eq!(world.told.len(), 1);
    for _ in 0..5 {
        world.syn_dropped(DENIED, in_node(), tuple(CLIENT, BACKEND), 100);
    }
    assert_eq!(world.told.len(), 1);
    // Of another reason, or at another place, it is news.
    world.syn_dropped("NEIGH_FAILED", in_node(), tuple(CLIENT, BACKEND), 100);
    world.syn_dropped(DENIED, in_pod(9), tuple(CLIENT, BACKEND), 100);
    assert_eq!(world.told.len(), 3);
    let counts: Vec<u64> = world.connection(1).drops().iter().map(|drop| drop.packets).collect();
    assert_eq!(counts, [10, 1, 1]);
    // What was not told with them is told in time, though no packet came since.
    world.wait(4 * SECOND);
    assert_eq!((world.told.len(), world.last().state), (4, State::Unanswered));
    world.syn_dropped(DENIED, in_node(), tuple(CLIENT, BACKEND), 100);
    world.wait(6 * SECOND);
    assert!(world.told.iter().any(|told| told.reason == Reason::Periodic), "{:#?}", world.told);
}

#[test]
fn kinds_of_drops_of_one_connection_are_bounded() {
    let mut world = World::new();
    world.tcp(VETH, Direction::Inbound, tuple(CLIENT, BACKEND), SYN, (100, 0));
    for number in 0..20 {
        world.syn_dropped(&format!("REASON_{number}"), in_node(), tuple(CLIENT, BACKEND), 100);
    }
    let connection = world.connection(1);
    assert_eq!((connection.drops().len(), connection.drops_more()), (8, 12));
}

#[test]
fn a_syn_that_is_sent_again_and_passes_was_not_stopped() {
    let mut world = World::new();
    world.tcp(VETH, Direction::Inbound, tuple(CLIENT, VIP), SYN, (100, 0));
    world.syn_dropped(DENIED, in_node(), tuple(CLIENT, BACKEND), 100);
    world.wait(60_000_000);
    assert_eq!(world.last().verdict, Verdict::Dropped);
    world.leaves(CLIENT, SYN, (100, 0));
    assert_eq!(world.last().verdict, Verdict::Traced);
    world.returns(CLIENT, SYN_ACK, (900, 101));
    assert_eq!((world.last().verdict, world.last().state), (Verdict::Forwarded, State::Established));
    assert_eq!(world.connection(1).drops().len(), 1, "but it is not forgotten");
}

#[test]
fn what_is_dropped_in_its_pod_was_delivered_and_stopped_all_the_same() {
    let mut world = World::new();
    world.tcp(VETH, Direction::Inbound, tuple(CLIENT, BACKEND), SYN, (100, 0));
    world.tcp(PEER_VETH, Direction::Outbound, tuple(CLIENT, BACKEND), SYN, (100, 0));
    world.syn_dropped(DENIED, in_pod(PEER_VETH.0), tuple(CLIENT, BACKEND), 100);
    world.wait(60_000_000);
    assert_eq!((world.last().reason, world.last().verdict), (Reason::Drop, Verdict::Dropped));
    assert!(world.connection(1).observed(Observation::Delivered));
    assert_eq!(
        world.connection(1).stopped_by().unwrap().cause.to_string(),
        "NETFILTER_DROP at eth0 in the pod behind veth4"
    );
    world.tcp(PEER_VETH, Direction::Inbound, tuple(BACKEND, CLIENT), SYN_ACK, (900, 101));
    assert_eq!(world.last().verdict, Verdict::Forwarded);
}

#[test]
fn a_closed_port_is_a_refusal_and_no_drop() {
    let mut world = World::new();
    world.tcp(VETH, Direction::Inbound, tuple(CLIENT, BACKEND), SYN, (100, 0));
    world.tcp(PEER_VETH, Direction::Outbound, tuple(CLIENT, BACKEND), SYN, (100, 0));
    world.syn_dropped(CLOSED, in_pod(PEER_VETH.0), tuple(CLIENT, BACKEND), 100);
    world.tcp(PEER_VETH, Direction::Inbound, tuple(BACKEND, CLIENT), RST_ACK, (0, 101));
    world.tcp(VETH, Direction::Outbound, tuple(BACKEND, CLIENT), RST_ACK, (0, 101));
    world.wait(SECOND);
    assert_eq!((world.last().verdict, world.last().state), (Verdict::Forwarded, State::Reset));
    assert!(world.told.iter().all(|told| told.reason != Reason::Drop), "{:#?}", world.told);
    let evidence = &world.connection(1).evidence;
    assert!(evidence.iter().any(|evidence| evidence.observation == Observation::KernelDrop));
    assert!(!world.connection(1).drops()[0].is_loss());
}

#[test]
fn a_loss_says_more_than_the_refusal_before_it() {
    let mut world = World::new();
    world.tcp(VETH, Direction::Inbound, tuple(CLIENT, BACKEND), SYN, (100, 0));
    world.syn_dropped(CLOSED, in_node(), tuple(CLIENT, BACKEND), 100);
    world.syn_dropped(DENIED, in_node(), tuple(CLIENT, BACKEND), 100);
    let connection = world.connection(1);
    let said: Vec<String> = connection.evidence.iter().map(|evidence| format!("{evidence:?}")).collect();
    assert_eq!(said.len(), 1);
    assert!(said[0].contains(DENIED), "{said:?}");
}

#[test]
fn a_dropped_answer_is_told_until_the_client_has_got_one() {
    let mut world = World::new();
    world.tcp(VETH, Direction::Inbound, tuple(CLIENT, BACKEND), SYN, (100, 0));
    world.tcp(PEER_VETH, Direction::Outbound, tuple(CLIENT, BACKEND), SYN, (100, 0));
    world.tcp(PEER_VETH, Direction::Inbound, tuple(BACKEND, CLIENT), SYN_ACK, (900, 101));
    world.dropped(DENIED, in_node(), bytes(tuple(BACKEND, CLIENT), SYN_ACK, (900, 101)));
    world.wait(60_000_000);
    assert!(world.told.iter().any(|told| told.reason == Reason::Drop), "{:#?}", world.told);
    assert_eq!((world.last().state, world.last().verdict), (State::Established, Verdict::Dropped));
    assert_eq!(world.connection(1).stopped_by().unwrap().way, Way::Reverse);
    world.tcp(PEER_VETH, Direction::Inbound, tuple(BACKEND, CLIENT), SYN_ACK, (900, 101));
    world.tcp(VETH, Direction::Outbound, tuple(BACKEND, CLIENT), SYN_ACK, (900, 101));
    world.tcp(VETH, Direction::Inbound, tuple(CLIENT, BACKEND), ACK, (101, 901));
    assert_eq!(world.last().verdict, Verdict::Forwarded);
}

#[test]
fn of_datagrams_without_room_some_arrive() {
    let call = datagram(CLIENT, "10.244.2.7:514");
    let mut world = World::new();
    for lost in [false, true, false] {
        seen_datagram(&mut world, VETH, Direction::Inbound, call);
        seen_datagram(&mut world, PEER_VETH, Direction::Outbound, call);
        if lost {
            world.dropped(NO_ROOM, in_pod(PEER_VETH.0), udp(call, b"eight and more"));
        }
    }
    world.wait(60_000_000);
    assert_eq!(world.last().verdict, Verdict::Forwarded);
    assert_eq!(world.connection(1).drops()[0].packets, 1);
    // All of them lost: nothing has arrived.
    let mut world = World::new();
    for _ in 0..3 {
        seen_datagram(&mut world, VETH, Direction::Inbound, call);
        seen_datagram(&mut world, PEER_VETH, Direction::Outbound, call);
        world.dropped(NO_ROOM, in_pod(PEER_VETH.0), udp(call, b"eight and more"));
    }
    world.wait(60_000_000);
    assert_eq!(world.last().verdict, Verdict::Dropped);
    // A rule takes them all, told one by one or not.
    let mut world = World::new();
    for number in 0..3 {
        seen_datagram(&mut world, VETH, Direction::Inbound, call);
        seen_datagram(&mut world, PEER_VETH, Direction::Outbound, call);
        if number == 0 {
            world.dropped(DENIED, in_pod(PEER_VETH.0), udp(call, b"eight and more"));
        }
    }
    world.wait(60_000_000);
    assert_eq!(world.last().verdict, Verdict::Dropped);
}

#[test]
fn a_dropped_answer_to_a_datagram_is_the_answers() {
    let call = datagram(CLIENT, "10.244.2.7:5353");
    let mut world = World::new();
    seen_datagram(&mut world, VETH, Direction::Inbound, call);
    seen_datagram(&mut world, PEER_VETH, Direction::Outbound, call);
    seen_datagram(&mut world, PEER_VETH, Direction::Inbound, call.reversed());
    world.dropped(DENIED, in_node(), udp(call.reversed(), b"eight and more"));
    world.wait(60_000_000);
    assert_eq!(world.last().verdict, Verdict::Dropped);
    seen_datagram(&mut world, VETH, Direction::Outbound, call.reversed());
    assert_eq!(world.last().verdict, Verdict::Forwarded);
}

#[test]
fn what_leaves_by_the_overlay_may_be_dropped_in_its_tunnel() {
    let mut world = World::new();
    world.tcp(VETH, Direction::Inbound, tuple(CLIENT, BACKEND), SYN, (100, 0));
    world.tcp(FLANNEL, Direction::Outbound, tuple(CLIENT, BACKEND), SYN, (100, 0));
    let inner = [&[0; 12][..], &[8, 0], &bytes(tuple(CLIENT, BACKEND), SYN, (100, 0))].concat();
    let vxlan = [&[8, 0, 0, 0, 0, 0, 1, 0][..], &inner].concat();
    world.dropped("NEIGH_FAILED", in_node(), udp(datagram("192.168.0.1:50000", "192.168.0.2:8472"), &vxlan));
    world.wait(60_000_000);
    assert_eq!((world.last().id, world.last().verdict), (1, Verdict::Dropped));
    world.tcp(ETH0, Direction::Outbound, tuple(CLIENT, BACKEND), SYN, (100, 0));
    assert_eq!(world.last().verdict, Verdict::Traced);
}

#[test]
fn the_drop_of_the_next_connection_is_not_the_last_ones() {
    let mut world = World::new();
    world.conversation(CLIENT, 100);
    world.syn_dropped(DENIED, in_node(), tuple(CLIENT, VIP), 70_000);
    world.tcp(VETH, Direction::Inbound, tuple(CLIENT, VIP), SYN, (70_000, 0));
    world.wait(60_000_000);
    let first: Vec<_> = world.told.iter().filter(|told| told.id == 1).collect();
    assert!(first.iter().all(|told| told.verdict == Verdict::Forwarded), "{first:#?}");
    assert_eq!((world.last().id, world.last().verdict), (2, Verdict::Dropped));
}

#[test]
fn a_pods_own_loopback_is_nobodys_here() {
    let local = tuple("127.0.0.1:40000", "127.0.0.1:80");
    let mut world = World::new();
    world.tcp((1, Role::Loopback), Direction::Inbound, local, SYN, (100, 0));
    world.syn_dropped(DENIED, in_pod(4), local, 100);
    world.wait(2 * SECOND);
    assert!(world.connection(1).drops().is_empty());
    assert_eq!(world.tracker.stats().begun, 1);
    world.syn_dropped(DENIED, in_node(), local, 100);
    assert_eq!(world.connection(1).drops().len(), 1);
}

#[test]
fn many_drops_without_frames_are_bounded_and_leave_the_logs_their_room() {
    let mut world = World::new();
    world.wait(1000 * SECOND);
    for number in 0..5000_u32 {
        let source = format!("10.244.{}.{}:4000", 1 + number / 250, 1 + number % 250);
        world.syn_dropped(DENIED, in_node(), tuple(&source, BACKEND), number);
    }
    let stats = world.tracker.stats();
    assert_eq!((stats.dropped_unseen, stats.logged_unseen), (5000 - 4096, 0));
    // One of the many finds its frame.
    world.tcp(VETH, Direction::Inbound, tuple("10.244.20.5:4000", VIP), SYN, (4754, 0));
    world.wait(1_000_000);
    world.tcp(VETH, Direction::Inbound, tuple("10.244.20.5:4000", VIP), SYN, (4754, 0));
    world.wait(60_000_000);
    let joined = world.told.iter().find(|told| told.original == tuple("10.244.20.5:4000", VIP)).unwrap();
    assert_eq!(joined.verdict, Verdict::Dropped);
    world.wait(2 * SECOND);
    assert_eq!(world.tracker.stats().dropped_unseen, 4999);
}

/// Callers, Services and backends from few, so that addresses and numbers coincide.
fn call() -> impl Strategy<Value = (u8, u8, u8, u8, bool)> {
    (0_u8..4, 0_u8..3, 0_u8..3, 0_u8..6, any::<bool>())
}

proptest! {
    /// Whatever is dropped, a connection with a drop shares an end with the packet, and no connection has one that is not
    /// explained by a packet of its own: the caller's port is in one connection only.
    #[test]
    fn no_drop_is_joined_to_another_callers_connection(calls in prop::collection::vec(call(), 1..40)) {
        let mut world = World::new();
        let mut dropped: Vec<(Tuple, u32)> = Vec::new();
        for (caller, service, backend, sequence, lost) in calls {
            let source = format!("10.244.1.{}:4000{caller}", 5 + caller);
            let called = tuple(&source, &format!("10.96.0.{}:80", 10 + service));
            let translated = tuple(&source, &format!("10.244.2.{}:8080", 7 + backend));
            let sequence = u32::from(sequence);
            world.tcp(VETH, Direction::Inbound, called, SYN, (sequence, 0));
            if lost {
                world.syn_dropped(DENIED, in_node(), translated, sequence);
                dropped.push((translated, sequence));
            } else {
                world.tcp(FLANNEL, Direction::Outbound, translated, SYN, (sequence, 0));
            }
            world.wait(1_000_000);
        }
        let begun = world.tracker.stats().begun;
        let mut noted = 0;
        for id in 1..=begun {
            let Some(connection) = world.tracker.find(ConnectionId(id)) else { continue };
            let client = connection.original_tuple().source;
            noted += connection.drops().iter().map(|drop| drop.packets).sum::<u64>();
            for drop in connection.drops() {
                prop_assert_eq!(drop.way, Way::Forward);
                let mine = dropped.iter().filter(|(tuple, _)| {
                    tuple.source == client && connection.forms.contains(tuple)
                });
                prop_assert!(mine.count() as u64 >= 1, "{connection:#?}");
            }
        }
        prop_assert!(noted <= dropped.len() as u64);
    }
}

/// A program at tcx sees what a device is about to send; filters and queues come behind it.
#[test]
fn what_is_given_up_on_its_way_out_of_a_device_was_not_delivered_there() {
    for (reason, drop_first) in [("TC_EGRESS", false), ("TC_EGRESS", true), ("QDISC_OVERLIMIT", false)] {
        let mut world = World::new();
        world.tcp(VETH, Direction::Inbound, tuple(CLIENT, BACKEND), SYN, (100, 0));
        let site = DropSite { owner: Owner::Node, device: Some(device(PEER_VETH.0, "veth4")) };
        if drop_first {
            world.syn_dropped(reason, site.clone(), tuple(CLIENT, BACKEND), 100);
        }
        world.tcp(PEER_VETH, Direction::Outbound, tuple(CLIENT, BACKEND), SYN, (100, 0));
        if !drop_first {
            world.syn_dropped(reason, site, tuple(CLIENT, BACKEND), 100);
        }
        world.wait(60_000_000);
        assert_eq!(
            (world.last().verdict, world.told.len()),
            (Verdict::Dropped, 1),
            "{reason}: {:#?}",
            world.told
        );
        assert!(!world.connection(1).observed(Observation::Delivered));
        // Once it is answered, it has arrived.
        world.tcp(VETH, Direction::Inbound, tuple(CLIENT, BACKEND), SYN, (100, 0));
        world.tcp(PEER_VETH, Direction::Outbound, tuple(CLIENT, BACKEND), SYN, (100, 0));
        world.tcp(PEER_VETH, Direction::Inbound, tuple(BACKEND, CLIENT), SYN_ACK, (900, 101));
        world.tcp(VETH, Direction::Outbound, tuple(BACKEND, CLIENT), SYN_ACK, (900, 101));
        world.wait(60_000_000);
        assert_eq!(world.last().verdict, Verdict::Forwarded, "{reason}: {:#?}", world.told);
    }
}

#[test]
fn a_dropped_packet_is_read_by_the_ports_that_frames_are_read_by() {
    let inner = bytes(tuple(CLIENT, BACKEND), SYN, (100, 0));
    let ethernet = [&[2; 12], [8, 0].as_slice(), &inner].concat();
    let vxlan = [&[8, 0, 0, 0, 0, 0, 7, 0], ethernet.as_slice()].concat();
    let outer = udp(datagram("192.168.0.1:50000", "192.168.0.2:4799"), &vxlan);
    for (ports, connections) in [(vec![8472], 2), (vec![4799], 1)] {
        let mut world = World::new();
        world.tracker.decode_as(crate::decode::Settings { vxlan_ports: ports, ..Default::default() });
        world.tcp(VETH, Direction::Inbound, tuple(CLIENT, BACKEND), SYN, (100, 0));
        let card = DropSite { owner: Owner::Node, device: Some(device(ETH0.0, "eth0")) };
        world.dropped(DENIED, card, outer.clone());
        world.wait(2 * SECOND);
        assert_eq!(world.tracker.len(), connections, "{:#?}", world.told);
        assert_eq!(world.connection(1).drops().len(), 2 - connections);
    }
}
