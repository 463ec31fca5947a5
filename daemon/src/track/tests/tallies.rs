//! Packets that were counted where they passed.

use super::*;
use crate::capture::{Progress, Tally};
use crate::track::connection::{Connection, ConnectionId};

/// So many segments with 100 bytes of payload each, which the device of the role saw in the last millisecond.
fn counted(world: &World, device: (u32, Role), direction: Direction, tuple: Tuple, packets: u64) -> Tally {
    let last = UnixNanos::from_nanos(world.now);
    let first = UnixNanos::from_nanos(world.now - 1_000_000);
    Tally {
        tuple,
        interface: InterfaceId(device.0),
        direction,
        tunnelled: device == ETH0,
        first,
        last,
        packets,
        wire_packets: 2 * packets,
        ip_bytes: 140 * packets,
        frame_bytes: 154 * packets,
        payload_bytes: 100 * packets,
        tcp: Some(Progress { next: 1101, next_at: last, acknowledgement: 901, window: 1000, flags: ACK | 8 }),
    }
}

impl World {
    fn tally(&mut self, device: (u32, Role), tally: &Tally) {
        self.feed(|tracker, sink| tracker.tally(tally, device.1, sink));
    }

    /// A call of the client's to a server of its node's network, answered and acknowledged.
    fn opened(&mut self) -> (Tuple, u64) {
        let call = tuple(CLIENT, BACKEND);
        self.tcp(VETH, Direction::Inbound, call, SYN, (100, 0));
        self.tcp(VETH, Direction::Outbound, call.reversed(), SYN_ACK, (900, 101));
        self.tcp(VETH, Direction::Inbound, call, ACK, (101, 901));
        self.wait(SECOND);
        (call, self.last().id)
    }

    fn tracked(&self, id: u64) -> &Connection {
        self.tracker.find(ConnectionId(id)).unwrap()
    }
}

#[test]
fn they_count_where_they_passed() {
    let mut world = World::new();
    let (call, id) = world.opened();
    world.tally(VETH, &counted(&world, VETH, Direction::Inbound, call, 10));
    world.tally(ETH0, &counted(&world, ETH0, Direction::Outbound, call, 9));
    let connection = world.tracked(id);
    let forward = connection.total().forward;
    assert_eq!((forward.packets, forward.wire_packets, forward.payload_bytes), (12, 22, 1000));
    assert_eq!((forward.ip_bytes, forward.frame_bytes), (2 * 60 + 1400, 2 * 100 + 1540));
    let [veth, eth0] = &connection.path[..] else { panic!("{:?}", connection.path) };
    assert_eq!((veth.counters.forward.packets, veth.last.as_nanos()), (12, world.now));
    assert_eq!((eth0.counters.forward.packets, eth0.tunnels.is_empty()), (9, false));
    assert_eq!(connection.last_packet.as_nanos(), world.now);
    assert_eq!(world.tracker.stats().packets, 3 + 19);
}

#[test]
fn what_comes_after_them_is_judged_by_how_far_they_came() {
    let mut world = World::new();
    let (call, id) = world.opened();
    world.carries(call, Direction::Inbound, 101, 100);
    world.tally(VETH, &counted(&world, VETH, Direction::Inbound, call, 10));
    world.now += SECOND;
    world.carries(call, Direction::Inbound, 1001, 100);
    world.carries(call, Direction::Inbound, 1101, 100);
    let tcp = world.tracked(id).tcp.unwrap();
    assert_eq!((tcp.client.retransmissions, tcp.client.out_of_order), (1, 0));
}

#[test]
fn a_segment_that_they_overtook_was_not_sent_again() {
    let mut world = World::new();
    let (call, id) = world.opened();
    world.tally(VETH, &counted(&world, VETH, Direction::Inbound, call, 10));
    world.carries(call, Direction::Inbound, 901, 100);
    let tcp = world.tracked(id).tcp.unwrap();
    assert_eq!((tcp.client.retransmissions, tcp.client.out_of_order), (0, 1));
}

#[test]
fn round_trips_are_not_told_of_them() {
    let mut world = World::new();
    let (call, id) = world.opened();
    let timed = |world: &World| world.tracked(id).tcp.unwrap().client.round_trip();
    world.carries(call, Direction::Inbound, 101, 100);
    world.tcp(VETH, Direction::Outbound, call.reversed(), ACK, (901, 201));
    assert!(timed(&world).is_some());
    world.tally(VETH, &counted(&world, VETH, Direction::Inbound, call, 10));
    assert_eq!(timed(&world), None);
    world.carries(call, Direction::Inbound, 1101, 100);
    world.tcp(VETH, Direction::Outbound, call.reversed(), ACK, (901, 1201));
    assert_eq!(timed(&world), None, "nor of what comes after them");
    assert!(world.tracked(id).tcp.unwrap().server_rtt_ns().is_some(), "the handshake was seen");
}

#[test]
fn an_answer_that_was_only_counted_is_one() {
    let mut world = World::new();
    let call = tuple(CLIENT, BACKEND);
    world.tcp(VETH, Direction::Inbound, call, SYN, (100, 0));
    world.wait(SECOND / 10);
    let id = world.last().id;
    let answer = Tally {
        first: UnixNanos::from_nanos(world.now),
        ..counted(&world, VETH, Direction::Outbound, call.reversed(), 1)
    };
    world.tally(VETH, &answer);
    let connection = world.tracked(id);
    assert_eq!(connection.state, State::Established);
    let answered = connection.evidence.iter().find(|seen| seen.observation == Observation::Answered);
    assert_eq!(answered.map(|seen| seen.at), Some(answer.first));
}

#[test]
fn of_an_unknown_connection_they_begin_the_middle() {
    let mut world = World::new();
    let call = tuple(CLIENT, BACKEND);
    world.tally(VETH, &counted(&world, VETH, Direction::Outbound, call.reversed(), 5));
    world.wait(SECOND);
    let told = world.last().clone();
    assert_eq!((told.original, told.packets), (call, (0, 5)), "who has the greater port is the client");
    assert!(world.tracked(told.id).gaps.midstream);
}

#[test]
fn after_the_end_they_are_stragglers_if_they_passed_before_it() {
    let mut world = World::new();
    let datagrams = Tuple { protocol: IpProtocol::UDP, ..tuple(CLIENT, BACKEND) };
    let payload = [7; 20];
    world.seen(VETH, Direction::Inbound, datagrams, Transport::Udp { payload: &payload, payload_len: 20 });
    world.wait(31 * SECOND);
    let ended = world.last().clone();
    assert_eq!((ended.reason, ended.packets), (Reason::End, (1, 0)));
    let late = Tally { tcp: None, ..counted(&world, VETH, Direction::Inbound, datagrams, 3) };
    let [first, last] = [2, 3].map(|seconds| UnixNanos::from_nanos(seconds * SECOND));
    world.tally(VETH, &Tally { first, last, ..late });
    world.wait(SECOND);
    assert_eq!((world.last().id, world.last().reason, world.last().packets), (ended.id, Reason::End, (4, 0)));
    // What passed after it is another conversation.
    world.tally(VETH, &Tally { tcp: None, ..counted(&world, VETH, Direction::Inbound, datagrams, 3) });
    world.wait(SECOND);
    assert_ne!(world.last().id, ended.id);
    assert_eq!(world.last().packets, (3, 0));
}

#[test]
fn the_next_connection_with_its_ports_takes_none_of_the_former_ones() {
    let mut world = World::new();
    let (call, _) = world.opened();
    let former = counted(&world, ETH0, Direction::Outbound, call, 4);
    world.now += SECOND;
    world.tcp(VETH, Direction::Inbound, call, SYN, (5_000_000, 0));
    world.wait(SECOND);
    let id = world.last().id;
    world.tally(ETH0, &former);
    assert_eq!(world.tracked(id).path.len(), 1);
    assert_eq!(world.tracker.stats().superseded, 4);
}

#[test]
fn a_clock_that_was_set_back_leaves_nothing_in_the_future() {
    let mut world = World::new();
    let (call, id) = world.opened();
    let ahead = UnixNanos::from_nanos(world.now + 3600 * SECOND);
    let tally = Tally { first: ahead, last: ahead, ..counted(&world, VETH, Direction::Inbound, call, 4) };
    world.tally(VETH, &tally);
    let connection = world.tracked(id);
    assert_eq!((connection.last_packet.as_nanos(), connection.total().forward.packets), (world.now, 6));
}

#[test]
fn what_a_further_device_counted_comes_after_the_end_and_has_it_told_once_more() {
    let mut world = World::new();
    world.conversation(CLIENT, 100);
    world.wait(SECOND);
    let before = world.ends().len();
    assert_eq!(before, 1);
    // Of the connection's own packets, on a device by which nothing is counted.
    let late =
        Tally { tunnelled: false, ..counted(&world, ETH0, Direction::Outbound, tuple(CLIENT, BACKEND), 1) };
    let at = world.told[0].id;
    let total = world.tracked(at).total();
    let over = world.tracked(at).last_packet;
    world.tally(ETH0, &Tally { first: over, last: over, ..late });
    world.wait(SECOND);
    assert_eq!(world.tracked(at).total(), total, "no total goes by it");
    assert_eq!(world.ends().len(), before + 1);
    world.wait(SECOND);
    assert_eq!(world.ends().len(), before + 1, "once");
}
