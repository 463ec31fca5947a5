//! The tracker as a whole, on packets as they pass a node's devices.

use std::net::SocketAddr;

use weir_cluster::UnixNanos;

use super::connection::{NatSource, Observation, State, Verdict};
use super::event::Reason;
use super::{SECOND, Settings, Tracker};
use crate::capture::{Direction, InterfaceId, Role};
use crate::decode::{
    Fragment, Icmp, Packet, Quoted, Tcp, TcpFlags, Transport, Tunnel, TunnelProtocol, Vlans, Wrappings,
};
use crate::testimony::{ConntrackEntry, Phase, Testimony};
use crate::tuple::{IpProtocol, Tuple};

mod apart;
mod aside;
mod between;
mod bounds;
mod corpus;
mod dropped;
mod errors;
mod fragments;
mod lasting;
mod logged;
mod messages;
mod named;
mod order;
mod rest;
mod reuse;
mod tallies;
mod translations;

const VETH: (u32, Role) = (3, Role::PodVeth);
const PEER_VETH: (u32, Role) = (4, Role::PodVeth);
const FLANNEL: (u32, Role) = (5, Role::Overlay);
const ETH0: (u32, Role) = (6, Role::Underlay);
const CNI0: (u32, Role) = (7, Role::Bridge);

const CLIENT: &str = "10.244.1.5:40000";
const VIP: &str = "10.96.0.10:80";
const BACKEND: &str = "10.244.2.7:8080";

const SYN: u16 = 2;
const SYN_ACK: u16 = 18;
const ACK: u16 = 16;
const FIN_ACK: u16 = 17;
const RST_ACK: u16 = 20;

/// A segment that says nothing.
const SEGMENT: Tcp<'static> = Tcp {
    sequence: 0,
    acknowledgement: 0,
    flags: TcpFlags(0),
    window: 1000,
    mss: None,
    timestamps: None,
    payload: &[],
    payload_len: 0,
};

/// What an event said, by value.
#[derive(Clone, Debug)]
struct Told {
    id: u64,
    reason: Reason,
    state: State,
    verdict: Verdict,
    original: Tuple,
    backend: Tuple,
    nat: Option<NatSource>,
    packets: (u64, u64),
    delta: (u64, u64),
    points: usize,
    rules: Vec<String>,
    correction: bool,
    merged_into: Option<u64>,
}

struct World {
    tracker: Tracker,
    told: Vec<Told>,
    now: u64,
}

fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn tuple(source: &str, destination: &str) -> Tuple {
    Tuple { protocol: IpProtocol::TCP, source: addr(source), destination: addr(destination) }
}

impl World {
    /// Connections rest as soon as they may: nobody can tell.
    fn new() -> Self {
        Self::with(Settings { rest_from: 0, ..Settings::default() })
    }

    fn with(settings: Settings) -> Self {
        Self { tracker: Tracker::new(settings), told: Vec::new(), now: SECOND }
    }

    fn feed(&mut self, act: impl FnOnce(&mut Tracker, super::Sink<'_>)) {
        let told = &mut self.told;
        act(&mut self.tracker, &mut |event| {
            let connection = event.connection;
            let total = connection.total();
            told.push(Told {
                id: connection.id.0,
                reason: event.reason,
                state: connection.state,
                verdict: connection.verdict(),
                original: connection.original_tuple(),
                backend: connection.backend_tuple(),
                nat: connection.nat_source,
                packets: (total.forward.packets, total.reverse.packets),
                delta: (event.delta.forward.packets, event.delta.reverse.packets),
                points: connection.path.len(),
                rules: connection.rules.iter().map(|rule| rule.prefix.to_string()).collect(),
                correction: event.correction,
                merged_into: connection.merged_into().map(|into| into.0),
            });
        });
    }

    fn seen(&mut self, device: (u32, Role), direction: Direction, tuple: Tuple, transport: Transport<'_>) {
        let packet = self.packet(device, direction, tuple, transport);
        self.take(&packet, device.1);
    }

    fn take(&mut self, packet: &Packet<'_>, role: Role) {
        self.feed(|tracker, sink| tracker.packet(packet, role, sink));
    }

    /// The next packet on a device, 10 µs later; on the node's card it is in a tunnel.
    fn packet<'a>(
        &mut self,
        device: (u32, Role),
        direction: Direction,
        tuple: Tuple,
        transport: Transport<'a>,
    ) -> Packet<'a> {
        self.now += 10_000;
        let tunnel = (device == ETH0).then(|| Tunnel {
            protocol: TunnelProtocol::Vxlan,
            source: "192.168.0.1".parse().unwrap(),
            destination: "192.168.0.2".parse().unwrap(),
            source_port: 50_000,
            destination_port: 8472,
            vni: 1,
        });
        Packet {
            at: UnixNanos::from_nanos(self.now),
            interface: InterfaceId(device.0),
            direction,
            frame_len: 100,
            ethernet: None,
            tuple,
            ip_len: 60,
            ip_id: Some(7),
            ttl: 64,
            fragment: Fragment::Whole,
            transport,
            vlans: Vlans::default(),
            tunnel,
            wrappings: Wrappings::default(),
            opaque: None,
            truncated: false,
        }
    }

    fn tcp(
        &mut self,
        device: (u32, Role),
        direction: Direction,
        tuple: Tuple,
        flags: u16,
        numbers: (u32, u32),
    ) {
        let (sequence, acknowledgement) = numbers;
        let tcp = Tcp { sequence, acknowledgement, flags: TcpFlags(flags), ..SEGMENT };
        self.seen(device, direction, tuple, Transport::Tcp(tcp));
    }

    /// A segment with payload, at the client's device.
    fn carries(&mut self, tuple: Tuple, direction: Direction, sequence: u32, payload_len: u32) {
        let tcp = Tcp { sequence, acknowledgement: 901, flags: TcpFlags(ACK), payload_len, ..SEGMENT };
        self.seen(VETH, direction, tuple, Transport::Tcp(tcp));
    }

    /// A client's packet of a ClusterIP call leaves the node: veth before DNAT, overlay and wire after it.
    fn leaves(&mut self, client: &str, flags: u16, numbers: (u32, u32)) {
        self.tcp(VETH, Direction::Inbound, tuple(client, VIP), flags, numbers);
        self.tcp(FLANNEL, Direction::Outbound, tuple(client, BACKEND), flags, numbers);
        self.tcp(ETH0, Direction::Outbound, tuple(client, BACKEND), flags, numbers);
    }

    fn returns(&mut self, client: &str, flags: u16, numbers: (u32, u32)) {
        self.tcp(ETH0, Direction::Inbound, tuple(BACKEND, client), flags, numbers);
        self.tcp(FLANNEL, Direction::Inbound, tuple(BACKEND, client), flags, numbers);
        self.tcp(VETH, Direction::Outbound, tuple(VIP, client), flags, numbers);
    }

    fn conversation(&mut self, client: &str, isn: u32) {
        self.leaves(client, SYN, (isn, 0));
        self.returns(client, SYN_ACK, (900, isn + 1));
        self.leaves(client, ACK, (isn + 1, 901));
        self.leaves(client, FIN_ACK, (isn + 1, 901));
        self.returns(client, FIN_ACK, (901, isn + 2));
        self.leaves(client, ACK, (isn + 2, 902));
    }

    fn conntrack(&mut self, original: Tuple, reply: Tuple) {
        let entry = ConntrackEntry {
            at: UnixNanos::from_nanos(self.now),
            original,
            reply,
            zone: 0,
            phase: Phase::Open,
        };
        self.feed(|tracker, sink| tracker.testimony(&Testimony::Tracked(entry), sink));
    }

    fn wait(&mut self, nanos: u64) {
        self.now += nanos;
        let now = UnixNanos::from_nanos(self.now);
        self.feed(|tracker, sink| tracker.advance(now, sink));
    }

    fn last(&self) -> &Told {
        self.told.last().unwrap()
    }

    fn ends(&self) -> Vec<&Told> {
        self.told.iter().filter(|told| told.reason == Reason::End).collect()
    }
}

#[test]
fn a_call_to_a_service_is_one_connection_without_conntrack() {
    let mut world = World::new();
    world.conversation(CLIENT, 100);
    world.wait(SECOND);
    let ends = world.ends();
    assert_eq!(ends.len(), 1, "{:#?}", world.told);
    let end = ends[0];
    assert_eq!((end.original, end.backend), (tuple(CLIENT, VIP), tuple(CLIENT, BACKEND)));
    assert_eq!(end.nat, Some(NatSource::Sequence));
    assert_eq!((end.packets, end.points), ((4, 2), 3));
    assert_eq!((end.verdict, end.state), (Verdict::Forwarded, State::Closed));
    let sum: (u64, u64) =
        world.told.iter().fold((0, 0), |sum, told| (sum.0 + told.delta.0, sum.1 + told.delta.1));
    assert_eq!(sum, (4, 2), "the deltas add up to the total");
}

#[test]
fn conntrack_says_the_same_whenever_it_speaks() {
    let entry = (tuple(CLIENT, VIP), tuple(BACKEND, CLIENT));
    for moment in 0..5 {
        let mut world = World::new();
        let speak = |world: &mut World, now: i32| {
            if now == moment {
                world.conntrack(entry.0, entry.1);
            }
        };
        speak(&mut world, 0);
        world.tcp(VETH, Direction::Inbound, tuple(CLIENT, VIP), SYN, (100, 0));
        speak(&mut world, 1);
        world.tcp(FLANNEL, Direction::Outbound, tuple(CLIENT, BACKEND), SYN, (100, 0));
        speak(&mut world, 2);
        world.returns(CLIENT, SYN_ACK, (900, 101));
        speak(&mut world, 3);
        world.leaves(CLIENT, FIN_ACK, (101, 901));
        world.returns(CLIENT, FIN_ACK, (901, 102));
        speak(&mut world, 4);
        world.wait(SECOND);
        let ends = world.ends();
        assert_eq!(ends.len(), 1, "conntrack at {moment}: {:#?}", world.told);
        assert_eq!((ends[0].original, ends[0].backend), (tuple(CLIENT, VIP), tuple(CLIENT, BACKEND)));
        assert_eq!(ends[0].nat, Some(NatSource::Conntrack));
        assert_eq!(ends[0].packets, (2, 2));
    }
}

#[test]
fn a_node_port_call_shares_no_end_and_needs_conntrack() {
    let outside = "172.18.0.9:51000";
    let before = tuple(outside, "192.168.0.1:30080");
    let after = tuple("10.244.1.0:20001", BACKEND);
    for conntrack_first in [true, false] {
        let mut world = World::new();
        if conntrack_first {
            world.conntrack(before, after.reversed());
        }
        world.tcp(FLANNEL, Direction::Outbound, after, SYN, (5, 0));
        world.tcp((7, Role::Underlay), Direction::Inbound, before, SYN, (5, 0));
        if !conntrack_first {
            world.conntrack(before, after.reversed());
        }
        world.tcp(FLANNEL, Direction::Inbound, after.reversed(), SYN_ACK, (9, 6));
        world.tcp((7, Role::Underlay), Direction::Outbound, before.reversed(), SYN_ACK, (9, 6));
        world.wait(SECOND);
        assert!(world.told.iter().all(|told| told.id == world.told[0].id), "{:#?}", world.told);
        let last = world.last();
        assert_eq!((last.original, last.backend, last.nat), (before, after, Some(NatSource::Conntrack)));
        assert_eq!(last.packets, (1, 1));
        assert_eq!(last.verdict, Verdict::Forwarded);
    }
}

#[test]
fn without_conntrack_a_doubly_translated_call_is_two_and_never_a_wrong_one() {
    let mut world = World::new();
    world.tcp(FLANNEL, Direction::Outbound, tuple("10.244.1.0:20001", BACKEND), SYN, (5, 0));
    world.tcp(
        (7, Role::Underlay),
        Direction::Inbound,
        tuple("172.18.0.9:51000", "192.168.0.1:30080"),
        SYN,
        (5, 0),
    );
    world.wait(SECOND);
    assert_eq!(world.told.iter().map(|told| told.id).max(), Some(2));
    assert!(world.told.iter().all(|told| told.nat.is_none()));
}

#[test]
fn a_syn_into_nothing_is_unanswered_and_told_where_it_was_last() {
    let mut world = World::new();
    world.leaves(CLIENT, SYN, (100, 0));
    world.wait(60_000_000);
    assert_eq!((world.last().reason, world.last().verdict), (Reason::Settled, Verdict::Traced));
    world.wait(3 * SECOND);
    assert_eq!((world.last().reason, world.last().state), (Reason::State, State::Unanswered));
    let connection = world.tracker.find(super::ConnectionId(1)).unwrap();
    assert_eq!(connection.farthest().unwrap().interface, InterfaceId(ETH0.0));
    world.wait(80 * SECOND);
    assert_eq!((world.last().reason, world.last().state), (Reason::End, State::Unanswered));
    world.wait(20 * SECOND);
    assert!(world.tracker.is_empty());
}

#[test]
fn an_unreachable_service_is_rejected_by_whom_the_icmp_names() {
    let mut world = World::new();
    world.tcp(VETH, Direction::Inbound, tuple(CLIENT, VIP), SYN, (100, 0));
    let quoted = Some(Quoted { tuple: tuple(CLIENT, VIP), tcp_sequence: Some(100) });
    let icmp = Icmp { kind: 3, code: 3, quoted, mtu: None, echo: None };
    let from_node = Tuple::new(IpProtocol::ICMP, ("10.244.1.1".parse().unwrap(), 0), (addr(CLIENT).ip(), 0));
    world.seen(VETH, Direction::Outbound, from_node, Transport::Icmp(icmp));
    world.wait(SECOND);
    assert_eq!(world.ends().len(), 1);
    assert_eq!((world.last().state, world.last().verdict), (State::Rejected, Verdict::Traced));
    assert!(world.tracker.find(super::ConnectionId(1)).unwrap().observed(Observation::IcmpUnreachable));
}

#[test]
fn a_small_packet_wanted_is_no_rejection() {
    let mut world = World::new();
    world.leaves(CLIENT, SYN, (100, 0));
    let quoted = Some(Quoted { tuple: tuple(CLIENT, BACKEND), tcp_sequence: Some(100) });
    let icmp = Icmp { kind: 3, code: 4, quoted, mtu: Some(1400), echo: None };
    let router = Tuple::new(IpProtocol::ICMP, ("192.168.0.254".parse().unwrap(), 0), (addr(CLIENT).ip(), 0));
    world.seen(ETH0, Direction::Inbound, router, Transport::Icmp(icmp));
    assert_eq!(world.tracker.find(super::ConnectionId(1)).unwrap().state, State::Opening);
}

#[test]
fn who_sent_the_reset_decides_whether_it_was_refused() {
    let server = "10.244.1.9:8080";
    let mut closed_port = World::new();
    closed_port.tcp(VETH, Direction::Inbound, tuple(CLIENT, server), SYN, (100, 0));
    closed_port.tcp(PEER_VETH, Direction::Outbound, tuple(CLIENT, server), SYN, (100, 0));
    closed_port.tcp(PEER_VETH, Direction::Inbound, tuple(server, CLIENT), RST_ACK, (0, 101));
    closed_port.tcp(VETH, Direction::Outbound, tuple(server, CLIENT), RST_ACK, (0, 101));
    closed_port.wait(SECOND);
    assert_eq!((closed_port.last().state, closed_port.last().verdict), (State::Reset, Verdict::Forwarded));

    let mut by_node = World::new();
    by_node.tcp(VETH, Direction::Inbound, tuple(CLIENT, VIP), SYN, (100, 0));
    by_node.tcp(VETH, Direction::Outbound, tuple(VIP, CLIENT), RST_ACK, (0, 101));
    by_node.wait(SECOND);
    assert_eq!((by_node.last().state, by_node.last().verdict), (State::Rejected, Verdict::Traced));
}

#[test]
fn a_port_used_again_is_a_connection_of_its_own() {
    let mut world = World::new();
    world.conversation(CLIENT, 100);
    world.conversation(CLIENT, 70_000);
    world.wait(SECOND);
    let ends = world.ends();
    assert_eq!(ends.len(), 2);
    assert_ne!(ends[0].id, ends[1].id);
    assert_eq!((ends[0].packets, ends[1].packets), ((4, 2), (4, 2)));
}

#[test]
fn nat_learnt_after_the_first_flow_is_a_correction() {
    let mut world = World::new();
    world.tcp(VETH, Direction::Inbound, tuple(CLIENT, VIP), SYN, (100, 0));
    world.wait(60_000_000);
    assert!(!world.last().correction);
    world.conntrack(tuple(CLIENT, VIP), tuple(BACKEND, CLIENT));
    assert_eq!((world.last().reason, world.last().correction), (Reason::Correction, true));
    assert_eq!(world.last().backend, tuple(CLIENT, BACKEND));
    assert!(world.last().rules.is_empty());
}

#[test]
fn the_first_word_about_an_answer_counts_the_answer() {
    let mut world = World::new();
    world.conntrack(tuple(CLIENT, VIP), tuple(BACKEND, CLIENT));
    world.tcp(VETH, Direction::Inbound, tuple(CLIENT, VIP), SYN, (100, 0));
    world.tcp(FLANNEL, Direction::Outbound, tuple(CLIENT, BACKEND), SYN, (100, 0));
    world.tcp(FLANNEL, Direction::Inbound, tuple(BACKEND, CLIENT), SYN_ACK, (500, 101));
    assert!(world.told.is_empty(), "the answer has not reached the client's veth");
    world.tcp(VETH, Direction::Outbound, tuple(VIP, CLIENT), SYN_ACK, (500, 101));
    assert_eq!(world.told[0].packets, (1, 1));
}

#[test]
fn an_entry_of_a_conversation_that_is_over_waits_for_no_packet() {
    let entry = |phase, port| ConntrackEntry {
        at: UnixNanos::from_nanos(1),
        original: Tuple::new(IpProtocol::TCP, ([10, 0, 0, 1].into(), port), ([10, 96, 0, 1].into(), 80)),
        reply: Tuple::new(IpProtocol::TCP, ([10, 0, 1, 1].into(), 8080), ([10, 0, 0, 1].into(), port)),
        zone: 0,
        phase,
    };
    let mut tracker = Tracker::new(Settings::default());
    for port in 1000..1100 {
        tracker.testimony(&Testimony::Tracked(entry(Phase::Over, port)), &mut |_| {});
    }
    assert_eq!(tracker.testified.waiting(), 0);
    tracker.testimony(&Testimony::Tracked(entry(Phase::Open, 1000)), &mut |_| {});
    tracker.testimony(&Testimony::Tracked(entry(Phase::Over, 1000)), &mut |_| {});
    assert_eq!(tracker.testified.waiting(), 2, "both forms of the one whose packets may still come");
}
