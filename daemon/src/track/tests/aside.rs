//! Ways that never pass the measured point: answers by another card, or past the pod's device.

use super::*;

const ETH1: (u32, Role) = (9, Role::Underlay);
const NODE: &str = "192.168.0.1:40000";
const OUTSIDE: &str = "203.0.113.9:7000";

/// Flags, sequence and acknowledgement number, and whether the client sends it.
const SEGMENTS: &[(u16, u32, u32, bool)] = &[
    (SYN, 100, 0, true),
    (SYN_ACK, 900, 101, false),
    (ACK, 101, 901, true),
    (FIN_ACK, 101, 901, true),
    (FIN_ACK, 901, 102, false),
    (ACK, 102, 902, true),
];

fn call(world: &mut World, there: (u32, Role), back: (u32, Role)) {
    let forward = tuple(NODE, OUTSIDE);
    for (flags, sequence, acknowledgement, from_client) in SEGMENTS {
        let numbers = (*sequence, *acknowledgement);
        if *from_client {
            world.tcp(there, Direction::Outbound, forward, *flags, numbers);
        } else {
            world.tcp(back, Direction::Inbound, forward.reversed(), *flags, numbers);
        }
    }
}

#[test]
fn answers_by_another_card_count_and_close() {
    for (there, back) in [(ETH1, (7, Role::Underlay)), ((7, Role::Underlay), ETH1)] {
        let mut world = World::new();
        call(&mut world, there, back);
        world.wait(SECOND);
        let ends = world.ends();
        assert_eq!(ends.len(), 1, "{:#?}", world.told);
        assert_eq!((ends[0].packets, ends[0].state), ((4, 2), State::Closed), "{:#?}", world.told);
        assert_eq!((ends[0].verdict, ends[0].nat), (Verdict::Forwarded, None));
        let sum = world.told.iter().fold((0, 0), |sum, told| (sum.0 + told.delta.0, sum.1 + told.delta.1));
        assert_eq!(sum, (4, 2), "the deltas add up to the total");
        let connection = world.tracker.find(super::super::ConnectionId(1)).unwrap();
        assert!(!connection.one_sided());
    }
}

#[test]
fn a_network_that_goes_past_the_pods_device_shows_its_answers_on_the_card() {
    let mut world = World::new();
    let forward = tuple(CLIENT, OUTSIDE);
    for (flags, sequence, acknowledgement, from_client) in SEGMENTS {
        let numbers = (*sequence, *acknowledgement);
        if *from_client {
            world.tcp(VETH, Direction::Inbound, forward, *flags, numbers);
            world.tcp((7, Role::Underlay), Direction::Outbound, forward, *flags, numbers);
        } else {
            world.tcp((7, Role::Underlay), Direction::Inbound, forward.reversed(), *flags, numbers);
        }
    }
    world.wait(SECOND);
    let ends = world.ends();
    assert_eq!((ends.len(), ends[0].packets, ends[0].state), (1, (4, 2), State::Closed), "{:#?}", world.told);
}

#[test]
fn what_comes_late_to_the_measured_point_is_counted_there() {
    let mut world = World::new();
    let forward = tuple(CLIENT, OUTSIDE);
    world.tcp(VETH, Direction::Inbound, forward, SYN, (100, 0));
    world.tcp((7, Role::Underlay), Direction::Outbound, forward, SYN, (100, 0));
    for number in 0..3 {
        world.tcp((7, Role::Underlay), Direction::Inbound, forward.reversed(), ACK, (900 + number, 101));
    }
    world.wait(SECOND);
    assert_eq!(world.last().packets, (1, 3), "by the card, as they never came to the pod");
    for number in 3..7 {
        world.tcp((7, Role::Underlay), Direction::Inbound, forward.reversed(), ACK, (900 + number, 101));
        world.tcp(VETH, Direction::Outbound, forward.reversed(), ACK, (900 + number, 101));
    }
    world.wait(6 * SECOND);
    assert_eq!(world.last().packets, (1, 4), "{:#?}", world.told);
}

#[test]
fn a_client_that_acknowledges_was_answered_by_a_way_that_nobody_sees() {
    let mut world = World::new();
    let forward = tuple(NODE, OUTSIDE);
    world.tcp(ETH1, Direction::Outbound, forward, SYN, (100, 0));
    world.tcp(ETH1, Direction::Outbound, forward, ACK, (101, 901));
    world.wait(10 * SECOND);
    assert!(world.told.iter().all(|told| told.state == State::Established), "{:#?}", world.told);
    let connection = world.tracker.find(super::super::ConnectionId(1)).unwrap();
    assert!(connection.one_sided());
    assert_eq!(world.last().verdict, Verdict::Traced, "no answer was observed");
}
