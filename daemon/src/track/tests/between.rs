//! Calls that a node translates at both ends, seen in between by a bridge's device; and what is told when it is known late.

use super::*;

const BRIDGE: (u32, Role) = (8, Role::Bridge);
const MASQUERADE: &str = "192.168.0.1:20001";

/// The forms of a pod's call to a Service whose backend is a node: as sent, after the DNAT, after the SNAT.
fn forms() -> [Tuple; 3] {
    [tuple(CLIENT, VIP), tuple(CLIENT, "192.168.0.2:9100"), tuple(MASQUERADE, "192.168.0.2:9100")]
}

fn passes(world: &mut World, flags: u16, numbers: (u32, u32)) {
    let [sent, between, last] = forms();
    world.tcp(VETH, Direction::Inbound, sent, flags, numbers);
    world.tcp(BRIDGE, Direction::Inbound, between, flags, numbers);
    world.tcp(ETH0, Direction::Outbound, last, flags, numbers);
}

fn comes_back(world: &mut World, flags: u16, numbers: (u32, u32)) {
    let [sent, between, last] = forms();
    world.tcp(ETH0, Direction::Inbound, last.reversed(), flags, numbers);
    world.tcp(BRIDGE, Direction::Outbound, between.reversed(), flags, numbers);
    world.tcp(VETH, Direction::Outbound, sent.reversed(), flags, numbers);
}

#[test]
fn a_bridge_between_two_translations_shows_the_same_connection() {
    let [sent, _, last] = forms();
    for conntrack_first in [true, false] {
        let mut world = World::new();
        if conntrack_first {
            world.conntrack(sent, last.reversed());
        }
        passes(&mut world, SYN, (5, 0));
        if !conntrack_first {
            world.conntrack(sent, last.reversed());
        }
        comes_back(&mut world, SYN_ACK, (9, 6));
        world.wait(SECOND);
        assert!(world.told.iter().all(|told| told.id == world.told[0].id), "{:#?}", world.told);
        let told = world.last();
        assert_eq!((told.original, told.backend, told.nat), (sent, last, Some(NatSource::Conntrack)));
        assert_eq!((told.packets, told.points), ((1, 1), 3));
    }
}

#[test]
fn a_connection_of_its_own_in_that_form_stays_its_own() {
    let [sent, between, last] = forms();
    let mut world = World::new();
    world.conntrack(sent, last.reversed());
    passes(&mut world, SYN, (5, 0));
    comes_back(&mut world, SYN_ACK, (9, 6));
    world.wait(SECOND);
    // The same client calls the backend itself, from the same port.
    world.conntrack(between, between.reversed());
    world.tcp(VETH, Direction::Inbound, between, SYN, (77, 0));
    world.tcp(ETH0, Direction::Outbound, between, SYN, (77, 0));
    world.tcp(ETH0, Direction::Inbound, between.reversed(), SYN_ACK, (99, 78));
    world.tcp(VETH, Direction::Outbound, between.reversed(), SYN_ACK, (99, 78));
    world.wait(SECOND);
    let direct = world.told.iter().rfind(|told| told.original == between).unwrap();
    assert_eq!((direct.packets, direct.nat), ((1, 1), None));
    let service = world.told.iter().rfind(|told| told.original == sent).unwrap();
    assert_ne!(service.id, direct.id);
    assert_eq!(service.state, State::Established);
}

#[test]
fn what_was_told_as_two_is_said_to_be_one() {
    let before = tuple("172.18.0.9:51000", "192.168.0.1:30080");
    let after = tuple("10.244.1.0:20001", BACKEND);
    let mut world = World::new();
    world.tcp((7, Role::Underlay), Direction::Inbound, before, SYN, (5, 0));
    world.tcp(FLANNEL, Direction::Outbound, after, SYN, (5, 0));
    world.wait(SECOND);
    assert_eq!(world.told.len(), 2, "settled apart: {:#?}", world.told);
    world.conntrack(before, after.reversed());
    let part = world.ends().into_iter().find(|told| told.id == 2).unwrap();
    assert_eq!((part.merged_into, part.correction), (Some(1), true));
    let whole = world.last();
    assert_eq!(
        (whole.id, whole.reason, whole.original, whole.backend),
        (1, Reason::Correction, before, after)
    );
    assert_eq!((whole.packets, whole.merged_into), ((1, 0), None));
}

#[test]
fn frames_after_the_end_was_told_are_told_with_a_second_end() {
    let mut world = World::new();
    world.conversation(CLIENT, 100);
    world.wait(SECOND);
    let end = world.last().clone();
    assert_eq!((end.reason, end.correction), (Reason::End, false));
    world.leaves(CLIENT, ACK, (103, 302));
    world.wait(SECOND);
    let again = world.last();
    assert_eq!((again.id, again.reason, again.correction), (end.id, Reason::End, true));
    assert_eq!(again.delta, (1, 0));
    assert_eq!(again.packets, (end.packets.0 + 1, end.packets.1));
    world.wait(20 * SECOND);
    assert!(world.tracker.is_empty());
}
