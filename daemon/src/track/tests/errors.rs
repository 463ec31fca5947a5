//! ICMP errors, and the connections they are about.

use super::*;
use crate::track::connection::{Connection, IcmpError, Way, Witness};

const ROUTER: &str = "192.168.0.254";
const MASQUERADE: &str = "192.168.0.1:20001";
const OUTSIDE: &str = "203.0.113.9:7000";

/// An error about a packet with these numbers, as it comes back in by the node's card.
fn error(world: &mut World, (kind, code): (u8, u8), mtu: Option<u32>, about: Tuple, sequence: u32) {
    let quoted = Some(Quoted { tuple: about, tcp_sequence: Some(sequence) });
    let tuple = Tuple::new(IpProtocol::ICMP, (ROUTER.parse().unwrap(), 0), (about.source.ip(), 0));
    world.seen(
        ETH0,
        Direction::Inbound,
        tuple,
        Transport::Icmp(Icmp { kind, code, quoted, mtu, echo: None }),
    );
}

/// An open call out of the cluster, masqueraded on its way.
fn open_call() -> World {
    let mut world = World::new();
    world.conntrack(tuple(CLIENT, OUTSIDE), tuple(OUTSIDE, MASQUERADE));
    world.tcp(VETH, Direction::Inbound, tuple(CLIENT, OUTSIDE), SYN, (100, 0));
    world.tcp(ETH0, Direction::Outbound, tuple(MASQUERADE, OUTSIDE), SYN, (100, 0));
    world.tcp(ETH0, Direction::Inbound, tuple(OUTSIDE, MASQUERADE), SYN_ACK, (900, 101));
    world.tcp(VETH, Direction::Outbound, tuple(OUTSIDE, CLIENT), SYN_ACK, (900, 101));
    world.wait(SECOND);
    assert_eq!((world.told.len(), world.last().state), (1, State::Established), "{:#?}", world.told);
    world
}

fn connection(world: &World) -> &Connection {
    world.tracker.find(super::super::ConnectionId(1)).unwrap()
}

fn witness(world: &World, observation: Observation) -> IcmpError {
    let found = connection(world).evidence.iter().find(|evidence| evidence.observation == observation);
    match &found.unwrap().witness {
        Witness::Icmp(error) => *error,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_smaller_packet_wanted_is_told_with_the_mtu_and_told_again_only_when_it_shrinks() {
    let mut world = open_call();
    let about = tuple(MASQUERADE, OUTSIDE);
    for (mtu, told) in [(1400, 2), (1400, 2), (1450, 2), (1300, 3)] {
        error(&mut world, (3, 4), Some(mtu), about, 101);
        assert_eq!(world.told.len(), told, "mtu {mtu}: {:#?}", world.told);
    }
    assert_eq!((world.last().reason, world.last().state), (Reason::Icmp, State::Established));
    let expected =
        IcmpError { sender: ROUTER.parse().unwrap(), kind: 3, code: 4, mtu: Some(1300), about: Way::Forward };
    assert_eq!(witness(&world, Observation::PacketTooBig), expected);
    assert_eq!(connection(&world).asked_mtu(), Some(1300));
}

#[test]
fn an_answer_that_is_too_big_is_the_connections_too() {
    let mut world = open_call();
    error(&mut world, (3, 4), Some(1280), tuple(OUTSIDE, MASQUERADE), 901);
    assert_eq!(witness(&world, Observation::PacketTooBig).about, Way::Reverse);
    error(&mut world, (3, 3), None, tuple(OUTSIDE, MASQUERADE), 901);
    assert!(!connection(&world).observed(Observation::IcmpUnreachable), "nobody refused the connection");
}

#[test]
fn a_syn_that_runs_out_of_hops_is_unanswered_and_says_where() {
    let mut world = World::new();
    world.tcp(VETH, Direction::Inbound, tuple(CLIENT, OUTSIDE), SYN, (100, 0));
    world.tcp(ETH0, Direction::Outbound, tuple(CLIENT, OUTSIDE), SYN, (100, 0));
    error(&mut world, (11, 0), None, tuple(CLIENT, OUTSIDE), 100);
    world.wait(4 * SECOND);
    assert_eq!((world.last().state, world.last().verdict), (State::Unanswered, Verdict::Traced));
    assert_eq!(witness(&world, Observation::HopsExceeded).sender.to_string(), ROUTER);
}

#[test]
fn an_error_about_the_connection_before_is_not_this_ones() {
    let mut world = World::new();
    world.conversation(CLIENT, 5000);
    world.leaves(CLIENT, SYN, (70_000, 0));
    error(&mut world, (3, 1), None, tuple(CLIENT, BACKEND), 5001);
    world.wait(SECOND);
    let second: Vec<_> = world.told.iter().filter(|told| told.id == 2).collect();
    assert!(second.iter().all(|told| told.state == State::Opening), "{second:#?}");
    error(&mut world, (3, 1), None, tuple(CLIENT, BACKEND), 70_000);
    assert_eq!((world.last().id, world.last().state), (2, State::Rejected));
}

#[test]
fn an_error_is_the_connections_in_either_half_of_the_sequence_numbers() {
    let mut world = open_call();
    let mut sequence = 101_u32;
    for _ in 0..3 {
        world.carries(tuple(CLIENT, OUTSIDE), Direction::Inbound, sequence, 1 << 30);
        sequence = sequence.wrapping_add(1 << 30);
    }
    error(&mut world, (3, 4), Some(1280), tuple(MASQUERADE, OUTSIDE), sequence);
    assert_eq!((world.tracker.len(), connection(&world).asked_mtu()), (1, Some(1280)));
}
