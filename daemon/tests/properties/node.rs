//! A node with pods that call each other, Services and the outside: drawn calls -> the frames that its devices see, and what a
//! pipeline tells of them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};

use etherparse::PacketBuilder;
use proptest::prelude::*;
use weir_cluster::{Cluster, UnixNanos};
use weir_daemon::capture::{Batch, Direction, Frame, Input, Interface, InterfaceId, LinkType, Role};
use weir_daemon::decode;
use weir_daemon::enrich::{self, Enricher};
use weir_daemon::pipeline::{Output, Pipeline};
use weir_daemon::track::{self, Tracker};
use weir_proto::flow::Flow;
use weir_proto::weir::v1::Reason;

use crate::kernel::Kernel;

pub const SECOND: u64 = 1_000_000_000;
/// When the calls begin.
pub const START: u64 = 1_700_000_000 * SECOND;
const MACS: ([u8; 6], [u8; 6]) = ([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]);
const NODES: [[u8; 4]; 2] = [[192, 168, 1, 11], [192, 168, 1, 12]];
const OVERLAY: (u32, Role) = (20, Role::Overlay);
const UNDERLAY: (u32, Role) = (21, Role::Underlay);
/// Pods of this node: their devices are 1 to 4.
const PODS: u8 = 4;

fn pod(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 244, 1, 10 + number % PODS)
}

fn veth(number: u8) -> (u32, Role) {
    (u32::from(1 + number % PODS), Role::PodVeth)
}

/// A conversation of a pod of this node.
#[derive(Clone, Debug)]
pub struct Call {
    pub client: u8,
    pub port: u16,
    pub to: To,
    /// Requests, each with its answer.
    pub rounds: u8,
    pub udp: bool,
    pub closes: bool,
    /// After the beginning of all, microseconds.
    pub begins_us: u32,
    pub isn: u32,
}

/// Whom it calls.
#[derive(Clone, Copy, Debug)]
pub enum To {
    /// A pod of this node, directly: so many after the caller.
    Local(u8),
    /// A Service, whose backend is a pod of this node: so many after the caller.
    LocalService(u8),
    /// A Service, whose backend is on the other node.
    RemoteService(u8),
}

pub fn calls() -> impl Strategy<Value = Vec<Call>> {
    let to = prop_oneof![
        (1..PODS).prop_map(To::Local),
        (1..PODS).prop_map(To::LocalService),
        (0_u8..3).prop_map(To::RemoteService),
    ];
    let call = (0..PODS, to, 1_u8..4, any::<bool>(), any::<bool>(), 0_u32..2_000_000, any::<u32>()).prop_map(
        |(client, to, rounds, udp, closes, begins_us, isn)| Call {
            client,
            port: 0,
            to,
            rounds,
            udp,
            closes,
            begins_us,
            isn,
        },
    );
    // Each call has a port of its own: the same again within seconds is another test's matter.
    prop::collection::vec(call, 1..12).prop_map(|mut calls| {
        for (port, call) in (40_000..).zip(&mut calls) {
            call.port = port;
        }
        calls
    })
}

/// A packet that an end of a call sends.
#[derive(Clone, Debug)]
pub struct Sent {
    /// After the beginning of its call, microseconds.
    pub after_us: u64,
    pub from_client: bool,
    /// Letters of S, F, R and A.
    pub flags: &'static str,
    pub sequence: u32,
    pub acknowledgement: u32,
    pub window: u16,
    pub payload: Vec<u8>,
}

impl Sent {
    /// From the client or not, flags, sequence and acknowledgement, payload.
    fn after(after_us: u64, packet: (bool, &'static str, u32, u32, Vec<u8>)) -> Self {
        let (from_client, flags, sequence, acknowledgement, payload) = packet;
        Self { after_us, from_client, flags, sequence, acknowledgement, window: 64_000, payload }
    }
}

/// A frame on one of the node's devices.
#[derive(Clone, Debug)]
pub struct Sight {
    pub at: u64,
    pub device: (u32, Role),
    pub direction: Direction,
    pub bytes: Vec<u8>,
}

impl Sight {
    /// As it is captured when the clock says `at`.
    pub fn frame(&self, at: u64) -> Frame<'_> {
        Frame {
            at: UnixNanos::from_nanos(at),
            interface: InterfaceId(self.device.0),
            direction: self.direction,
            link: LinkType::ETHERNET,
            original_len: u32::try_from(self.bytes.len()).unwrap(),
            bytes: &self.bytes,
        }
    }
}

/// A place on the way from the client: device, direction there, the server's form there.
type Hop = ((u32, Role), Direction, SocketAddr);

impl Call {
    /// The forms of its addresses, the client's first.
    pub fn forms(&self) -> Vec<(SocketAddr, SocketAddr)> {
        let client = (pod(self.client), self.port).into();
        let servers: BTreeSet<SocketAddr> = self.way().into_iter().map(|(_, _, server)| server).collect();
        servers.into_iter().map(|server| (client, server)).collect()
    }

    /// The same in the order of its way, each once.
    pub fn forms_in_order(&self) -> Vec<(SocketAddr, SocketAddr)> {
        let client = (pod(self.client), self.port).into();
        let mut servers: Vec<SocketAddr> = self.way().into_iter().map(|(_, _, server)| server).collect();
        servers.dedup();
        servers.into_iter().map(|server| (client, server)).collect()
    }

    fn way(&self) -> Vec<Hop> {
        let port = if self.udp { 5300 } else { 8080 };
        let vip = |number: u8| SocketAddr::from((Ipv4Addr::new(10, 96, 0, 10 + number), 80));
        let enters = |server| (veth(self.client), Direction::Inbound, server);
        let leaves = |number, server| (veth(number), Direction::Outbound, server);
        match self.to {
            To::Local(after) => {
                let number = self.client + after;
                let server = (pod(number), port).into();
                vec![enters(server), leaves(number, server)]
            }
            To::LocalService(after) => {
                let number = self.client + after;
                vec![enters(vip(number % PODS)), leaves(number, (pod(number), port).into())]
            }
            To::RemoteService(number) => {
                let server = (Ipv4Addr::new(10, 244, 2, 20 + number), port).into();
                let outwards = [OVERLAY, UNDERLAY].map(|device| (device, Direction::Outbound, server));
                [vec![enters(vip(10 + number))], outwards.to_vec()].concat()
            }
        }
    }

    /// Its packets.
    fn packets(&self) -> Vec<Sent> {
        let payload = |round: u8, who: u8| vec![who ^ round; 40 + usize::from(round)];
        let (mut sent, mut answered) = (self.isn, self.isn.wrapping_mul(7).wrapping_add(99));
        let mut packets = Vec::new();
        let mut send = |packet: (bool, &'static str, u32, u32, Vec<u8>)| {
            packets.push(Sent::after(900 * packets.len() as u64, packet));
        };
        if !self.udp {
            send((true, "S", sent, 0, Vec::new()));
            sent = sent.wrapping_add(1);
            send((false, "SA", answered, sent, Vec::new()));
            answered = answered.wrapping_add(1);
            send((true, "A", sent, answered, Vec::new()));
        }
        for round in 0..self.rounds {
            let (question, answer) = (payload(round, self.client), payload(round, 128));
            send((true, "A", sent, answered, question.clone()));
            sent = sent.wrapping_add(question.len() as u32);
            send((false, "A", answered, sent, answer.clone()));
            answered = answered.wrapping_add(answer.len() as u32);
        }
        if !self.udp && self.closes {
            send((true, "FA", sent, answered, Vec::new()));
            send((false, "FA", answered, sent.wrapping_add(1), Vec::new()));
            send((true, "A", sent.wrapping_add(1), answered.wrapping_add(1), Vec::new()));
        }
        packets
    }

    /// All sightings, in the order in which they happened.
    fn sights(&self) -> Vec<Sight> {
        self.sights_of(&self.packets())
    }

    /// All sightings of these packets, sent by its ends.
    pub fn sights_of(&self, packets: &[Sent]) -> Vec<Sight> {
        let (way, mut sights) = (self.way(), Vec::new());
        let client = SocketAddr::from((pod(self.client), self.port));
        for (number, packet) in packets.iter().enumerate() {
            for (hop, (device, direction, server)) in way.iter().copied().enumerate() {
                let from_client = packet.from_client;
                let hop = if from_client { hop } else { way.len() - 1 - hop };
                let at_us = u64::from(self.begins_us) + packet.after_us;
                let at = START + at_us * 1000 + hop as u64 * 4_000;
                let direction = if from_client { direction } else { opposite(direction) };
                let mut bytes = self.bytes(number, client, server, packet);
                if device == UNDERLAY {
                    bytes = wrapped(self.port, from_client, &bytes);
                }
                sights.push(Sight { at, device, direction, bytes });
            }
        }
        sights
    }

    fn bytes(&self, number: usize, client: SocketAddr, server: SocketAddr, packet: &Sent) -> Vec<u8> {
        let Sent { from_client, flags, sequence, acknowledgement, window, payload, .. } = packet;
        let (from, to) = if *from_client { (client, server) } else { (server, client) };
        let mut header =
            etherparse::Ipv4Header::new(0, 64, etherparse::IpNumber::TCP, v4(from), v4(to)).unwrap();
        header.identification = self.port.wrapping_mul(31).wrapping_add(number as u16) | 1;
        let builder =
            PacketBuilder::ethernet2(MACS.0, MACS.1).ip(etherparse::IpHeaders::Ipv4(header, <_>::default()));
        let mut bytes = Vec::new();
        if self.udp {
            builder.udp(from.port(), to.port()).write(&mut bytes, payload).unwrap();
            return bytes;
        }
        let mut tcp = builder.tcp(from.port(), to.port(), *sequence, *window);
        for flag in flags.chars() {
            tcp = match flag {
                'S' => tcp.syn(),
                'F' => tcp.fin(),
                'R' => tcp.rst(),
                _ => tcp.ack(*acknowledgement),
            };
        }
        tcp.write(&mut bytes, payload).unwrap();
        bytes
    }
}

fn v4(end: SocketAddr) -> [u8; 4] {
    match end {
        SocketAddr::V4(end) => end.ip().octets(),
        SocketAddr::V6(_) => [0; 4],
    }
}

const fn opposite(direction: Direction) -> Direction {
    match direction {
        Direction::Inbound => Direction::Outbound,
        Direction::Outbound => Direction::Inbound,
        Direction::Unknown => Direction::Unknown,
    }
}

/// The frame behind a VXLAN header (RFC 7348: flag I, network 1) from node to node.
fn wrapped(port: u16, from_client: bool, inner: &[u8]) -> Vec<u8> {
    let (from, to) = if from_client { (NODES[0], NODES[1]) } else { (NODES[1], NODES[0]) };
    let payload = [&[8, 0, 0, 0, 0, 0, 1, 0], inner].concat();
    let mut bytes = Vec::new();
    let outer = PacketBuilder::ethernet2(MACS.0, MACS.1).ipv4(from, to, 64).udp(port, 8472);
    outer.write(&mut bytes, &payload).unwrap();
    bytes
}

/// All sightings of all calls, in the order in which they happened.
pub fn sights(calls: &[Call]) -> Vec<Sight> {
    let mut sights: Vec<Sight> = calls.iter().flat_map(Call::sights).collect();
    sights.sort_by_key(|sight| sight.at);
    sights
}

/// The node's devices, as they are announced.
pub fn devices() -> Vec<Input> {
    let devices = (1..=u32::from(PODS)).map(|index| (index, Role::PodVeth)).chain([OVERLAY, UNDERLAY]);
    let announced = devices.map(|(index, role)| {
        let interface = Interface { index, name: format!("dev{index}").into(), role };
        Input::Interface(InterfaceId(index), interface)
    });
    announced.collect()
}

/// A pipeline, and the flows that came out of it.
pub struct Watched {
    pub pipeline: Pipeline,
    pub flows: Vec<Flow>,
    cluster: Cluster,
    /// Of a source that counts: hands up news and tallies instead of every frame.
    kernel: Option<Kernel>,
}

impl Watched {
    /// One that knows the node's devices.
    pub fn new() -> Self {
        let enricher = Enricher::new(enrich::Settings::default()).unwrap();
        let tracker = Tracker::new(track::Settings::default());
        let pipeline = Pipeline::new(decode::Settings::default(), tracker, enricher);
        let mut watched = Self { pipeline, flows: Vec::new(), cluster: Cluster::default(), kernel: None };
        devices().iter().for_each(|device| watched.take(device));
        watched
    }

    /// The same by a source that counts in the kernel, or by one that hands up every frame.
    pub fn by(counts: bool) -> Self {
        Self { kernel: counts.then(Kernel::default), ..Self::new() }
    }

    /// What a source that counts hands up.
    fn handed_up(&mut self, from: impl FnOnce(&mut Kernel, &mut Batch)) {
        let Some(kernel) = &mut self.kernel else { return };
        let mut batch = Batch::default();
        from(kernel, &mut batch);
        self.take(&Input::Frames(batch));
    }

    pub fn take(&mut self, input: &Input) {
        let flows = &mut self.flows;
        self.pipeline.take(input, &self.cluster, &mut |output| {
            if let Output::Flow(flow) = output {
                flows.push(flow.clone());
            }
        });
    }

    /// A frame comes; `at` is what the clock says then.
    pub fn sees(&mut self, sight: &Sight, at: u64) {
        self.sees_frame(&sight.frame(at));
    }

    pub fn sees_frame(&mut self, frame: &Frame<'_>) {
        if self.kernel.is_some() {
            return self.handed_up(|kernel, batch| kernel.sees(frame, batch));
        }
        let mut batch = Batch::default();
        batch.push(frame);
        self.take(&Input::Frames(batch));
    }

    pub fn advance(&mut self, now: u64) {
        self.handed_up(|kernel, batch| kernel.advance(now, batch));
        let flows = &mut self.flows;
        self.pipeline.advance(UnixNanos::from_nanos(now), &self.cluster, &mut |output| {
            if let Output::Flow(flow) = output {
                flows.push(flow.clone());
            }
        });
    }

    pub fn finish(&mut self) {
        self.handed_up(Kernel::finish);
        let flows = &mut self.flows;
        self.pipeline.finish(&self.cluster, &mut |output| {
            if let Output::Flow(flow) = output {
                flows.push(flow.clone());
            }
        });
    }

    /// The last record of each connection that is none of another's.
    pub fn connections(&self) -> Vec<&Flow> {
        let mut last: BTreeMap<u64, &Flow> = BTreeMap::new();
        for flow in self.flows.iter().filter(|flow| flow.l7.is_none()) {
            last.insert(flow.weir.as_ref().unwrap().connection_id, flow);
        }
        last.into_values().filter(|flow| flow.weir.as_ref().unwrap().merged_into == 0).collect()
    }

    /// Connections whose end was told.
    pub fn ended(&self) -> BTreeSet<u64> {
        let details = self.flows.iter().map(|flow| flow.weir.as_ref().unwrap());
        details.filter(|detail| detail.reason() == Reason::End).map(|detail| detail.connection_id).collect()
    }
}

/// Two forms of addresses that are one connection.
pub type Join = ((String, String), (String, String));

/// What was joined: every two forms of a connection.
pub fn joins<'a>(connections: impl IntoIterator<Item = &'a Flow>) -> BTreeSet<Join> {
    let mut joins = BTreeSet::new();
    for flow in connections {
        let path = &flow.weir.as_ref().unwrap().path;
        // Who is the client may be taken for the server where the beginning is missing: the form is the same.
        let forms: BTreeSet<(String, String)> = path
            .iter()
            .map(|point| {
                let (one, other) = (point.source.clone(), point.destination.clone());
                if one <= other { (one, other) } else { (other, one) }
            })
            .collect();
        for one in &forms {
            joins.extend(forms.iter().filter(|other| *other > one).map(|other| (one.clone(), other.clone())));
        }
    }
    joins
}
