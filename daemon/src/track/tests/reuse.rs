//! The same addresses and ports again: another connection, told as such.

use super::*;

const QUESTION: &[u8] = b"a payload of a datagram";

fn udp(world: &mut World, source: &str, destination: &str, device: (u32, Role), direction: Direction) {
    let tuple = Tuple { protocol: IpProtocol::UDP, ..tuple(source, destination) };
    let payload_len = u32::try_from(QUESTION.len()).unwrap();
    world.seen(device, direction, tuple, Transport::Udp { payload: QUESTION, payload_len });
}

#[test]
fn a_datagram_after_an_idle_end_is_told() {
    let mut world = World::new();
    udp(&mut world, CLIENT, VIP, VETH, Direction::Inbound);
    world.wait(31 * SECOND);
    assert_eq!(world.ends().len(), 1);
    udp(&mut world, CLIENT, VIP, VETH, Direction::Inbound);
    world.wait(31 * SECOND);
    let ends = world.ends();
    assert_eq!((ends.len(), ends[0].packets, ends[1].packets), (2, (1, 0), (1, 0)));
    assert_ne!(ends[0].id, ends[1].id);
}

#[test]
fn one_question_to_two_servers_is_two_conversations() {
    let mut world = World::new();
    for (vip, backend) in [("10.96.0.10:53", "10.244.2.7:53"), ("10.96.0.11:53", "10.244.2.8:53")] {
        udp(&mut world, CLIENT, vip, VETH, Direction::Inbound);
        udp(&mut world, CLIENT, backend, FLANNEL, Direction::Outbound);
    }
    world.wait(SECOND);
    let second = world.told.iter().find(|told| told.original.destination == addr("10.96.0.11:53"));
    let second = second.unwrap_or_else(|| panic!("{:#?}", world.told));
    assert!(world.told.iter().all(|told| told.id == second.id || told.original != second.original));
    // Which backend is whose is not known by the payload alone, and not claimed.
    assert_ne!(second.backend.destination, addr("10.244.2.7:53"));
}

#[test]
fn conntracks_word_on_the_next_connection_does_not_change_the_last() {
    let mut world = World::new();
    let elsewhere = "10.244.2.99:8080";
    world.conntrack(tuple(CLIENT, VIP), tuple(BACKEND, CLIENT));
    world.conversation(CLIENT, 100);
    world.conntrack(tuple(CLIENT, VIP), tuple(elsewhere, CLIENT));
    world.tcp(VETH, Direction::Inbound, tuple(CLIENT, VIP), SYN, (70_000, 0));
    world.tcp(FLANNEL, Direction::Outbound, tuple(CLIENT, elsewhere), SYN, (70_000, 0));
    world.wait(60_000_000);
    let first: Vec<_> = world.told.iter().filter(|told| told.id == 1).collect();
    assert!(first.iter().all(|told| told.backend == tuple(CLIENT, BACKEND)), "{first:#?}");
    let next = world.told.iter().rfind(|told| told.id == 2).unwrap();
    assert_eq!((next.backend, next.nat), (tuple(CLIENT, elsewhere), Some(NatSource::Conntrack)));
    assert_eq!(next.packets, (1, 0));
}

#[test]
fn a_syn_sent_again_after_a_soft_error_is_not_swallowed() {
    let mut world = World::new();
    world.leaves(CLIENT, SYN, (100, 0));
    let quoted = Some(Quoted { tuple: tuple(CLIENT, BACKEND), tcp_sequence: Some(100) });
    let router = Tuple::new(IpProtocol::ICMP, ("192.168.0.254".parse().unwrap(), 0), (addr(CLIENT).ip(), 0));
    let icmp = Icmp { kind: 3, code: 1, quoted, mtu: None, echo: None };
    world.seen(ETH0, Direction::Inbound, router, Transport::Icmp(icmp));
    world.wait(SECOND);
    assert_eq!(world.last().state, State::Rejected);
    world.leaves(CLIENT, SYN, (100, 0));
    world.returns(CLIENT, SYN_ACK, (900, 101));
    world.wait(SECOND);
    assert_eq!((world.last().state, world.last().verdict), (State::Established, Verdict::Forwarded));
    assert_eq!(world.last().packets, (1, 1));
}

#[test]
fn a_pod_that_calls_itself_through_its_service_is_one_connection() {
    let (before, after) = (tuple(CLIENT, VIP), tuple("10.244.1.1:20000", "10.244.1.5:8080"));
    for conntrack_first in [true, false] {
        let mut world = World::new();
        if conntrack_first {
            world.conntrack(before, after.reversed());
        }
        world.tcp(VETH, Direction::Inbound, before, SYN, (100, 0));
        world.tcp(VETH, Direction::Outbound, after, SYN, (100, 0));
        if !conntrack_first {
            world.conntrack(before, after.reversed());
        }
        world.tcp(VETH, Direction::Inbound, after.reversed(), SYN_ACK, (900, 101));
        world.tcp(VETH, Direction::Outbound, before.reversed(), SYN_ACK, (900, 101));
        world.wait(SECOND);
        assert!(world.told.iter().all(|told| told.id == world.told[0].id), "{:#?}", world.told);
        let last = world.last();
        assert_eq!((last.original, last.backend, last.packets), (before, after, (1, 1)));
    }
}

#[test]
fn an_echo_whose_source_was_translated_is_one_exchange() {
    let echo = |world: &mut World, device, direction, ends: (&str, &str), kind: u8, numbers: (u16, u16)| {
        let tuple = Tuple { protocol: IpProtocol::ICMP, ..tuple(ends.0, ends.1) };
        let icmp = Icmp { kind, code: 0, quoted: None, mtu: None, echo: Some(numbers) };
        world.seen(device, direction, tuple, Transport::Icmp(icmp));
    };
    let (pod, node, far) = ("10.244.1.5:77", "192.168.0.1:77", "8.8.8.8:77");
    let mut world = World::new();
    echo(&mut world, VETH, Direction::Inbound, (pod, far), 8, (1, 0xbeef));
    // Another pod asks the same far end with the same identifier and number, but for the time in its payload.
    echo(&mut world, PEER_VETH, Direction::Inbound, ("10.244.1.9:77", far), 8, (1, 0xfeed));
    echo(&mut world, ETH0, Direction::Outbound, (node, far), 8, (1, 0xbeef));
    echo(&mut world, ETH0, Direction::Inbound, (far, node), 0, (1, 0xf00d));
    echo(&mut world, VETH, Direction::Outbound, (far, pod), 0, (1, 0xf00d));
    world.feed(Tracker::finish);
    let ends = world.ends();
    assert_eq!(ends.len(), 2, "{:#?}", world.told);
    assert_eq!((ends[0].packets, ends[0].nat, ends[0].points), ((1, 1), Some(NatSource::Payload), 2));
    assert_eq!((ends[1].packets, ends[1].nat, ends[1].points), ((1, 0), None, 1));
}

#[test]
fn what_conntrack_says_of_the_next_before_its_syn_is_read_is_not_lost_on_the_last() {
    // Events come on their own way, before the frames that are held for their order.
    let entry = |world: &World, phase| ConntrackEntry {
        at: UnixNanos::from_nanos(world.now),
        original: tuple(CLIENT, VIP),
        reply: tuple(BACKEND, CLIENT),
        zone: 0,
        phase,
    };
    let mut world = World::new();
    for isn in [100, 70_000] {
        let opening = Testimony::Tracked(entry(&world, Phase::Opening));
        world.feed(|tracker, sink| tracker.testimony(&opening, sink));
        world.conversation(CLIENT, isn);
        // Late news of what is over.
        let over = Testimony::Tracked(entry(&world, Phase::Over));
        world.feed(|tracker, sink| tracker.testimony(&over, sink));
    }
    world.wait(SECOND);
    let ends = world.ends();
    assert_eq!(ends.len(), 2);
    assert!(ends.iter().all(|end| end.nat == Some(NatSource::Conntrack)), "{ends:#?}");
}
