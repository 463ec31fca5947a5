//! Connections that go on where one could take them for over: silent for hours, seen one way, refused and answered yet.

use super::*;

fn datagram(source: &str, destination: &str) -> Tuple {
    Tuple { protocol: IpProtocol::UDP, ..tuple(source, destination) }
}

fn says(world: &mut World, direction: Direction, tuple: Tuple) {
    world.seen(VETH, direction, tuple, Transport::Udp { payload: b"a measure:1|c", payload_len: 13 });
}

/// The pod of `about` is told that nobody takes its packet.
fn refused(world: &mut World, about: Tuple, sequence: Option<u32>, code: u8) {
    let tuple = Tuple::new(IpProtocol::ICMP, (about.destination.ip(), 0), (about.source.ip(), 0));
    let quoted = Some(Quoted { tuple: about, tcp_sequence: sequence });
    let icmp = Icmp { kind: 3, code, quoted, mtu: None, echo: None };
    world.seen(VETH, Direction::Outbound, tuple, Transport::Icmp(icmp));
}

#[test]
fn a_keepalive_every_two_hours_keeps_a_connection_one() {
    let mut world = World::new();
    world.leaves(CLIENT, SYN, (100, 0));
    world.returns(CLIENT, SYN_ACK, (900, 101));
    world.leaves(CLIENT, ACK, (101, 901));
    for _ in 0..3 {
        world.wait(7_200 * SECOND + SECOND / 20);
        world.leaves(CLIENT, ACK, (100, 901));
        world.returns(CLIENT, ACK, (901, 101));
    }
    assert!(world.ends().is_empty(), "{:#?}", world.told);
    assert_eq!((world.last().id, world.last().state), (1, State::Established));
}

#[test]
fn the_middle_of_a_connection_is_called_so() {
    let mut world = World::new();
    world.leaves(CLIENT, ACK, (500, 900));
    world.returns(CLIENT, ACK, (900, 501));
    world.wait(SECOND);
    let connection = world.tracker.find(super::super::ConnectionId(1)).unwrap();
    assert!(connection.gaps.midstream);
    assert_eq!(connection.original_tuple(), tuple(CLIENT, VIP));
    assert_eq!(world.told.iter().filter(|told| told.reason == Reason::Settled).count(), 1);
}

#[test]
fn the_middle_of_a_connection_whose_answers_take_another_way_is_established() {
    let mut world = World::new();
    for number in 0..5 {
        world.leaves(CLIENT, ACK, (500 + number, 900));
        world.wait(80 * SECOND);
    }
    assert!(world.ends().is_empty(), "{:#?}", world.told);
    assert_eq!((world.last().id, world.last().state), (1, State::Established));
    assert_eq!(world.last().verdict, Verdict::Traced);
}

#[test]
fn datagrams_that_go_on_being_refused_are_one_connection() {
    let mut world = World::new();
    let sent = datagram(CLIENT, BACKEND);
    for _ in 0..20 {
        says(&mut world, Direction::Inbound, sent);
        refused(&mut world, sent, None, 3);
        world.wait(SECOND);
    }
    world.wait(40 * SECOND);
    let ends = world.ends();
    assert_eq!((ends.len(), ends[0].packets, ends[0].state), (1, (20, 0), State::Rejected));
}

#[test]
fn datagrams_that_are_answered_after_a_refusal_are_a_conversation() {
    let mut world = World::new();
    let sent = datagram(CLIENT, BACKEND);
    says(&mut world, Direction::Inbound, sent);
    refused(&mut world, sent, None, 3);
    world.wait(SECOND);
    says(&mut world, Direction::Inbound, sent);
    says(&mut world, Direction::Outbound, sent.reversed());
    world.wait(10 * SECOND);
    let last = world.last();
    assert_eq!((last.id, last.state, last.verdict), (1, State::Established, Verdict::Forwarded));
    assert!(world.ends().is_empty());
}

#[test]
fn a_syn_that_is_answered_after_a_routers_error_begins_one_connection() {
    let mut world = World::new();
    world.leaves(CLIENT, SYN, (100, 0));
    refused(&mut world, tuple(CLIENT, VIP), Some(100), 1);
    assert_eq!(world.last().state, State::Rejected);
    world.returns(CLIENT, SYN_ACK, (900, 101));
    world.leaves(CLIENT, ACK, (101, 901));
    world.wait(2 * SECOND);
    world.leaves(CLIENT, ACK, (101, 901));
    world.wait(6 * SECOND);
    assert!(world.ends().is_empty(), "{:#?}", world.told);
    assert_eq!((world.last().id, world.last().state), (1, State::Established));
}
