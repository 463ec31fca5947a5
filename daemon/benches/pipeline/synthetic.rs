//! A small capture made here: connections of a pod through a Service to a pod on another node, each packet on three devices.
//!
//! As a node sees them: before DNAT on the pod's veth, behind it on flannel.1, and in VXLAN on eth0. conntrack has named them.

use std::net::{IpAddr, Ipv4Addr};

use etherparse::PacketBuilder;
use weir_cluster::{Cluster, UnixNanos};
use weir_daemon::capture::{Batch, Direction, Frame, Input, Interface, InterfaceId, LinkType, Role};
use weir_daemon::testimony::{ConntrackEntry, Phase, Testimony};
use weir_daemon::tuple::{IpProtocol, Tuple};

use crate::input::Recorded;

const CONNECTIONS: u16 = 1000;
/// A request and its answer each.
const ROUNDS: u32 = 40;
const PAYLOAD: [u8; 120] = [b'w'; 120];

const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 244, 1, 5);
const VIP: (Ipv4Addr, u16) = (Ipv4Addr::new(10, 96, 0, 80), 80);
const BACKEND: (Ipv4Addr, u16) = (Ipv4Addr::new(10, 244, 2, 7), 8080);
const NODES: ([u8; 4], [u8; 4]) = ([192, 168, 1, 11], [192, 168, 1, 12]);
const MACS: ([u8; 6], [u8; 6]) = ([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]);

const DEVICES: [(InterfaceId, &str, Role); 3] = [
    (InterfaceId(3), "veth0", Role::PodVeth),
    (InterfaceId(4), "flannel.1", Role::Overlay),
    (InterfaceId(2), "eth0", Role::Underlay),
];

/// What a segment does.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    Syn,
    Data(u32),
    Fin,
}

/// The capture, and an empty cluster: every address is unknown in it.
pub fn capture() -> Recorded {
    let mut capture = Capture { batch: Batch::default(), now: 1_700_000_000_000_000_000 };
    let mut inputs = Vec::new();
    for (id, name, role) in DEVICES {
        inputs.push(Input::Interface(id, Interface { index: id.0, name: name.into(), role }));
    }
    let ports = 40_000..40_000 + CONNECTIONS;
    inputs.extend(ports.clone().map(|port| Input::Testimony(Testimony::Tracked(entry(port, capture.now)))));
    let steps = [Step::Syn].into_iter().chain((0..ROUNDS).map(Step::Data)).chain([Step::Fin]);
    for step in steps {
        for port in ports.clone() {
            capture.seen(port, true, step);
            capture.seen(port, false, step);
        }
        inputs.push(Input::Frames(std::mem::take(&mut capture.batch)));
    }
    Recorded { inputs, cluster: Cluster::default(), node: "node-a".to_owned() }
}

fn entry(port: u16, now: u64) -> ConntrackEntry {
    let end = |(address, port): (Ipv4Addr, u16)| (IpAddr::V4(address), port);
    ConntrackEntry {
        at: UnixNanos::from_nanos(now),
        original: Tuple::new(IpProtocol::TCP, end((CLIENT, port)), end(VIP)),
        reply: Tuple::new(IpProtocol::TCP, end(BACKEND), end((CLIENT, port))),
        zone: 0,
        phase: Phase::Open,
    }
}

struct Capture {
    batch: Batch,
    now: u64,
}

impl Capture {
    /// One segment on all three devices, the client's or the server's.
    fn seen(&mut self, port: u16, from_client: bool, step: Step) {
        let before = segment(port, VIP, from_client, step);
        let behind = segment(port, BACKEND, from_client, step);
        let mut passages = [(0, before), (1, behind.clone()), (2, wrapped(port, from_client, &behind))];
        if !from_client {
            passages.reverse();
        }
        for (device, bytes) in passages {
            let enters = (device == 0) == from_client;
            self.now += 400;
            let frame = Frame {
                at: UnixNanos::from_nanos(self.now),
                interface: DEVICES[device].0,
                direction: if enters { Direction::Inbound } else { Direction::Outbound },
                link: LinkType::ETHERNET,
                original_len: u32::try_from(bytes.len()).unwrap_or(u32::MAX),
                bytes: &bytes,
            };
            self.batch.push(&frame);
        }
    }
}

fn segment(port: u16, server: (Ipv4Addr, u16), from_client: bool, step: Step) -> Vec<u8> {
    let (client, server) = ((CLIENT.octets(), port), (server.0.octets(), server.1));
    let (from, to) = if from_client { (client, server) } else { (server, client) };
    let length = PAYLOAD.len() as u32;
    let (sequence, acknowledged) = match step {
        Step::Syn => (0, 1),
        Step::Data(round) => (1 + round * length, 1 + (round + u32::from(!from_client)) * length),
        Step::Fin => (1 + ROUNDS * length, 1 + ROUNDS * length + u32::from(!from_client)),
    };
    let builder = PacketBuilder::ethernet2(MACS.0, MACS.1).ipv4(from.0, to.0, 63);
    let mut tcp = builder.tcp(from.1, to.1, sequence, 64_000);
    if step != Step::Syn || !from_client {
        tcp = tcp.ack(acknowledged);
    }
    let (tcp, payload) = match step {
        Step::Syn => (tcp.syn(), &PAYLOAD[..0]),
        Step::Data(_) => (tcp, &PAYLOAD[..]),
        Step::Fin => (tcp.fin(), &PAYLOAD[..0]),
    };
    let mut bytes = Vec::with_capacity(tcp.size(payload.len()));
    // Writing into memory does not fail.
    let _ = tcp.write(&mut bytes, payload);
    bytes
}

/// The frame behind a VXLAN header (RFC 7348: flag I, network 1) from node to node.
fn wrapped(port: u16, from_client: bool, inner: &[u8]) -> Vec<u8> {
    let (from, to) = if from_client { (NODES.0, NODES.1) } else { (NODES.1, NODES.0) };
    let payload = [&[8, 0, 0, 0, 0, 0, 1, 0], inner].concat();
    let outer = PacketBuilder::ethernet2(MACS.0, MACS.1).ipv4(from, to, 64).udp(port, 8472);
    let mut bytes = Vec::with_capacity(outer.size(payload.len()));
    let _ = outer.write(&mut bytes, &payload);
    bytes
}
