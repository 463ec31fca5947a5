//! The kernel's packet log and the frames of the same packets, in either order.

use std::sync::Arc;

use super::named::bytes;
use super::*;
use crate::testimony::LoggedPacket;

const RULE: &str = "deny:shop/api-ingress";

/// The log of a SYN, as the FORWARD chain sees it.
fn log(world: &mut World, tuple: Tuple, sequence: u32) {
    log_between(world, (VETH.0, FLANNEL.0), tuple, sequence);
}

/// The log of a SYN between two devices; 0 is the node itself.
fn log_between(world: &mut World, devices: (u32, u32), tuple: Tuple, sequence: u32) {
    log_on(world, devices, (0, 0), tuple, sequence);
}

/// The log of a SYN between two devices, and between two ports where these are bridges.
fn log_on(world: &mut World, devices: (u32, u32), ports: (u32, u32), tuple: Tuple, sequence: u32) {
    log_by(world, (5, RULE), (devices, ports), tuple, sequence);
}

/// The log of a SYN by the rule of this group and prefix, between two devices and two ports.
fn log_by(
    world: &mut World,
    (group, prefix): (u16, &str),
    (devices, ports): ((u32, u32), (u32, u32)),
    tuple: Tuple,
    sequence: u32,
) {
    let packet = bytes(tuple, SYN, (sequence, 0));
    let logged = LoggedPacket {
        at: UnixNanos::from_nanos(world.now),
        prefix: Arc::from(prefix),
        group,
        in_ifindex: devices.0,
        out_ifindex: devices.1,
        in_port_ifindex: ports.0,
        out_port_ifindex: ports.1,
        packet,
    };
    world.feed(|tracker, sink| tracker.testimony(&Testimony::Logged(logged), sink));
}

#[test]
fn a_denied_call_names_its_rule_and_backend_whichever_comes_first() {
    for log_first in [true, false] {
        let mut world = World::new();
        if log_first {
            log(&mut world, tuple(CLIENT, BACKEND), 100);
        }
        world.tcp(VETH, Direction::Inbound, tuple(CLIENT, VIP), SYN, (100, 0));
        if !log_first {
            log(&mut world, tuple(CLIENT, BACKEND), 100);
        }
        world.wait(60_000_000);
        assert_eq!(world.told.len(), 1, "{:#?}", world.told);
        let told = world.last();
        assert_eq!((told.reason, told.verdict), (Reason::Drop, Verdict::Dropped));
        assert_eq!((told.original, told.backend), (tuple(CLIENT, VIP), tuple(CLIENT, BACKEND)));
        assert_eq!((told.rules.as_slice(), told.packets), ([RULE.to_owned()].as_slice(), (1, 0)));
    }
}

#[test]
fn a_rule_that_logs_what_passes_drops_nothing() {
    let mut world = World::new();
    world.tcp(VETH, Direction::Inbound, tuple(CLIENT, VIP), SYN, (100, 0));
    log(&mut world, tuple(CLIENT, BACKEND), 100);
    world.tcp(FLANNEL, Direction::Outbound, tuple(CLIENT, BACKEND), SYN, (100, 0));
    world.wait(60_000_000);
    assert_eq!(world.last().verdict, Verdict::Traced);
    world.returns(CLIENT, SYN_ACK, (900, 101));
    assert_eq!(world.last().verdict, Verdict::Forwarded);
    assert_eq!(world.last().rules, [RULE]);
}

#[test]
fn a_rule_that_says_that_it_lets_pass_is_no_evidence() {
    let forward = ((VETH.0, FLANNEL.0), (0, 0));
    for (rule, verdict) in [
        ((2, "APE0|knp/shop/web"), Verdict::Traced),
        ((2, "PPE|default"), Verdict::Traced),
        ((2, "DPE0|sknp/shop/web"), Verdict::Traced),
        ((5, "allow:shop/web"), Verdict::Traced),
        ((2, "DPE0|knp/shop/web"), Verdict::Dropped),
        ((100, ""), Verdict::Dropped),
        ((5, "whatever it means"), Verdict::Dropped),
    ] {
        let mut world = World::new();
        world.tcp(VETH, Direction::Inbound, tuple(CLIENT, BACKEND), SYN, (100, 0));
        log_by(&mut world, rule, forward, tuple(CLIENT, BACKEND), 100);
        world.wait(60_000_000);
        assert_eq!((world.last().verdict, world.last().rules.len()), (verdict, 1), "{rule:?}");
        assert_eq!(world.last().reason == Reason::Drop, verdict == Verdict::Dropped, "{rule:?}");
    }
}

#[test]
fn what_one_rule_lets_pass_another_may_stop() {
    let forward = ((VETH.0, FLANNEL.0), (0, 0));
    let mut world = World::new();
    world.tcp(VETH, Direction::Inbound, tuple(CLIENT, BACKEND), SYN, (100, 0));
    log_by(&mut world, (2, "APE0|knp/shop/web"), forward, tuple(CLIENT, BACKEND), 100);
    world.wait(60_000_000);
    log_by(&mut world, (1, "DPI0|knp/shop/api"), forward, tuple(CLIENT, BACKEND), 100);
    assert_eq!((world.last().reason, world.last().verdict), (Reason::Drop, Verdict::Dropped));
    assert_eq!(world.last().rules, ["APE0|knp/shop/web", "DPI0|knp/shop/api"]);
}

#[test]
fn a_log_without_a_frame_is_told_after_a_second() {
    let mut world = World::new();
    log(&mut world, tuple(CLIENT, BACKEND), 100);
    world.wait(SECOND / 2);
    assert!(world.told.is_empty());
    world.wait(SECOND);
    world.wait(60_000_000);
    // Its frames are not captured, so nobody can say that they went no further.
    assert_eq!((world.last().reason, world.last().verdict), (Reason::Drop, Verdict::Traced));
    assert_eq!((world.last().packets, world.last().points), ((0, 0), 0));
    assert_eq!(world.tracker.stats().logged_unseen, 1);
}

#[test]
fn a_bridge_that_sends_a_translated_call_to_its_ports_has_not_delivered_it() {
    let (bridge, other_port) = (CNI0.0, 99);
    let mut world = World::new();
    world.tcp(VETH, Direction::Inbound, tuple(CLIENT, VIP), SYN, (100, 0));
    world.tcp(CNI0, Direction::Inbound, tuple(CLIENT, VIP), SYN, (100, 0));
    // The bridge did not know the backend's neighbour by heart: it sent the SYN by its own device, and only then asked the rules.
    world.tcp(CNI0, Direction::Outbound, tuple(CLIENT, BACKEND), SYN, (100, 0));
    log_on(&mut world, (bridge, bridge), (VETH.0, other_port), tuple(CLIENT, BACKEND), 100);
    world.wait(60_000_000);
    assert_eq!((world.last().reason, world.last().verdict), (Reason::Drop, Verdict::Dropped));
    // Sent again, it was given another backend, on another node, and stopped on the way there.
    log_between(&mut world, (bridge, FLANNEL.0), tuple(CLIENT, "10.244.2.8:8080"), 100);
    world.wait(60_000_000);
    assert_eq!(world.last().verdict, Verdict::Dropped);
    // A routed call that the same device sends has passed the rules.
    let mut world = World::new();
    world.tcp(VETH, Direction::Inbound, tuple(CLIENT, VIP), SYN, (100, 0));
    log_between(&mut world, (VETH.0, bridge), tuple(CLIENT, BACKEND), 100);
    world.tcp(CNI0, Direction::Outbound, tuple(CLIENT, BACKEND), SYN, (100, 0));
    world.wait(60_000_000);
    assert_eq!(world.last().verdict, Verdict::Traced);
}

#[test]
fn frames_that_come_after_the_log_was_told_complete_the_verdict() {
    let mut world = World::new();
    log(&mut world, tuple(CLIENT, BACKEND), 100);
    world.wait(2 * SECOND);
    world.wait(60_000_000);
    assert_eq!(world.last().verdict, Verdict::Traced);
    world.tcp(VETH, Direction::Inbound, tuple(CLIENT, BACKEND), SYN, (100, 0));
    assert_eq!((world.last().rules.len(), world.last().verdict), (1, Verdict::Dropped));
}

#[test]
fn a_rule_that_logs_what_the_node_itself_receives_drops_nothing() {
    let node = "192.168.0.1:9100";
    let mut world = World::new();
    world.tcp(ETH0, Direction::Inbound, tuple(CLIENT, node), SYN, (100, 0));
    log_between(&mut world, (ETH0.0, 0), tuple(CLIENT, node), 100);
    world.wait(4 * SECOND);
    assert_eq!((world.last().state, world.last().verdict), (State::Unanswered, Verdict::Traced));
    assert_eq!(world.last().rules, [RULE]);
}

#[test]
fn what_the_node_itself_sends_can_be_dropped_before_any_device() {
    let mut world = World::new();
    log_between(&mut world, (0, ETH0.0), tuple("192.168.0.1:40000", BACKEND), 100);
    world.wait(2 * SECOND);
    world.wait(60_000_000);
    assert_eq!(world.last().verdict, Verdict::Dropped);
}

#[test]
fn the_log_of_the_next_connection_is_not_the_last_ones() {
    let mut world = World::new();
    world.conversation(CLIENT, 100);
    log(&mut world, tuple(CLIENT, VIP), 70_000);
    world.tcp(VETH, Direction::Inbound, tuple(CLIENT, VIP), SYN, (70_000, 0));
    world.wait(60_000_000);
    let first: Vec<_> = world.told.iter().filter(|told| told.id == 1).collect();
    assert!(first.iter().all(|told| told.rules.is_empty()), "{first:#?}");
    assert_eq!((world.last().id, world.last().verdict), (2, Verdict::Dropped));
}

#[test]
fn the_log_of_a_call_sent_again_after_its_refusal_is_the_next_ones() {
    let mut world = World::new();
    world.tcp(VETH, Direction::Inbound, tuple(CLIENT, VIP), SYN, (100, 0));
    world.tcp(VETH, Direction::Outbound, tuple(VIP, CLIENT), RST_ACK, (0, 101));
    // The log of the next SYN, with the same number, comes before its frame and brings no time.
    world.now += SECOND;
    log(&mut world, tuple(CLIENT, VIP), 100);
    world.tcp(VETH, Direction::Inbound, tuple(CLIENT, VIP), SYN, (100, 0));
    world.wait(60_000_000);
    let first: Vec<_> = world.told.iter().filter(|told| told.id == 1).collect();
    assert!(first.iter().all(|told| told.rules.is_empty()), "{first:#?}");
    assert_eq!((world.last().id, world.last().rules.len()), (2, 1));
}

#[test]
fn many_logs_without_frames_are_bounded_and_outlive_a_clock_set_back() {
    let mut world = World::new();
    world.wait(1000 * SECOND);
    for number in 0..5000_u32 {
        let source = format!("10.244.{}.{}:4000", 1 + number / 250, 1 + number % 250);
        log(&mut world, tuple(&source, BACKEND), number);
    }
    assert_eq!(world.tracker.stats().logged_unseen, 5000 - 4096);
    world.now = SECOND;
    world.wait(0);
    world.wait(2 * SECOND);
    assert_eq!(world.tracker.stats().logged_unseen, 5000);
    world.wait(60_000_000);
    assert_eq!(world.told.iter().filter(|told| told.reason == Reason::Drop).count(), 5000);
}
