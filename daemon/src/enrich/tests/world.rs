//! Two nodes, their pods and Services, and the routes that packets take through a node.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use etherparse::PacketBuilder;
use weir_cluster::object::Object;
use weir_cluster::{Cluster, UnixNanos};
use weir_proto::flow::Flow;

use crate::capture::{Direction, Interface, InterfaceId, Role};
use crate::decode::{
    Fragment, Icmp, Packet, Quoted, Tcp, TcpFlags, Transport, Tunnel, TunnelProtocol, Vlans, Wrappings,
};
use crate::enrich::{Enricher, Interfaces, Settings};
use crate::testimony::{
    self, ConntrackEntry, Device, DropSite, DroppedPacket, LoggedPacket, Phase, Testimony,
};
use crate::track::{self, Tracker};
use crate::tuple::{IpProtocol, Tuple};
use cluster::cluster;

mod cluster;

pub(super) const SYN: u16 = 2;
pub(super) const SYN_ACK: u16 = 18;
pub(super) const ACK: u16 = 16;
pub(super) const FIN_ACK: u16 = 17;
pub(super) const RST_ACK: u16 = 20;

pub(super) const CLIENT: &str = "10.244.1.5:40000";
const OUTSIDE: &str = "203.0.113.9:51000";

/// One device on a way: which, which way forward packets pass it, and their addresses there.
pub(super) struct Hop {
    device: usize,
    direction: Direction,
    pub(super) source: &'static str,
    pub(super) destination: &'static str,
}

impl Hop {
    /// The same of another client.
    pub(super) const fn of(self, source: &'static str) -> Self {
        Self { source, ..self }
    }
}

pub(super) type Route = [Hop];

const WEB: usize = 0;
const API: usize = 1;
const FLANNEL: usize = 2;
const ETH0: usize = 3;
const WIRE: usize = 4;

/// Name and role; `WIRE` is eth0 with the tunnel around the packet.
const DEVICES: [(&str, Role); 4] = [
    ("vethcli", Role::PodVeth),
    ("vethweb", Role::PodVeth),
    ("flannel.1", Role::Overlay),
    ("eth0", Role::Underlay),
];

const fn enters(device: usize, source: &'static str, destination: &'static str) -> Hop {
    Hop { device, direction: Direction::Inbound, source, destination }
}

const fn leaves(device: usize, source: &'static str, destination: &'static str) -> Hop {
    Hop { device, direction: Direction::Outbound, source, destination }
}

const VIP: &str = "10.96.0.10:80";
const REMOTE: &str = "10.244.2.7:8080";
const LOCAL: &str = "10.244.1.9:8080";
const MASQUERADED: &str = "10.244.1.0:20001";

pub(super) const TO_REMOTE: [Hop; 3] =
    [enters(WEB, CLIENT, VIP), leaves(FLANNEL, CLIENT, REMOTE), leaves(WIRE, CLIENT, REMOTE)];
pub(super) const FROM_REMOTE: [Hop; 3] =
    [enters(WIRE, CLIENT, REMOTE), enters(FLANNEL, CLIENT, REMOTE), leaves(API, CLIENT, REMOTE)];
pub(super) const DIRECT: [Hop; 3] =
    [enters(WEB, CLIENT, REMOTE), leaves(FLANNEL, CLIENT, REMOTE), leaves(WIRE, CLIENT, REMOTE)];
pub(super) const LOCAL_CALL: [Hop; 2] = [enters(WEB, CLIENT, VIP), leaves(API, CLIENT, LOCAL)];
pub(super) const TO_EMPTY: [Hop; 1] = [enters(WEB, CLIENT, "10.96.0.20:80")];
pub(super) const TO_OUTSIDE: [Hop; 2] =
    [enters(WEB, CLIENT, "192.0.2.80:443"), leaves(ETH0, "192.168.0.1:40000", "192.0.2.80:443")];
pub(super) const NODE_PORT: [Hop; 3] = [
    enters(ETH0, OUTSIDE, "192.168.0.1:30080"),
    leaves(FLANNEL, MASQUERADED, REMOTE),
    leaves(WIRE, MASQUERADED, REMOTE),
];
pub(super) const FROM_MASQUERADE: [Hop; 3] = [
    enters(WIRE, MASQUERADED, REMOTE),
    enters(FLANNEL, MASQUERADED, REMOTE),
    leaves(API, MASQUERADED, REMOTE),
];

pub(super) struct World {
    tracker: Tracker,
    enricher: Enricher,
    settings: Settings,
    cluster: Cluster,
    interfaces: Interfaces,
    pub(super) flows: Vec<Flow>,
    /// Nanoseconds of Unix time.
    pub(super) now: u64,
}

impl World {
    pub(super) fn on(node: &str) -> Self {
        Self::in_cluster("default", node)
    }

    pub(super) fn in_cluster(cluster_name: &str, node: &str) -> Self {
        let settings = Settings {
            node_name: node.to_owned(),
            cluster_name: cluster_name.to_owned(),
            ..Settings::default()
        };
        let device = |index: u32| {
            let (name, role) = DEVICES[index as usize];
            (InterfaceId(index), Interface { index: index + 2, name: name.into(), role })
        };
        Self {
            tracker: Tracker::new(track::Settings::default()),
            enricher: Enricher::new(settings.clone()).unwrap(),
            settings,
            cluster: cluster(node),
            interfaces: (0..4).map(device).collect(),
            flows: Vec::new(),
            now: 1_700_000_000_000_000_000,
        }
    }

    fn feed(&mut self, act: impl FnOnce(&mut Tracker, track::Sink<'_>)) {
        let Self { tracker, enricher, settings, cluster, interfaces, flows, .. } = self;
        act(tracker, &mut |event| {
            let flow = enricher.enrich(&event, interfaces, cluster).clone();
            let mut fresh = Enricher::new(settings.clone()).unwrap();
            assert_nothing_stays(&flow, fresh.enrich(&event, interfaces, cluster));
            flows.push(flow);
            while let Some(verdict) = enricher.verdict() {
                flows.push(verdict);
            }
        });
    }

    /// What policies say of so many connections is remembered.
    pub(super) fn remembers(&mut self, max_judged: usize) {
        self.settings.max_judged = max_judged;
        self.enricher = Enricher::new(self.settings.clone()).unwrap();
    }

    /// The cluster's objects are such, from that time on.
    pub(super) fn knows(&mut self, objects: impl IntoIterator<Item = Object>, at: UnixNanos) {
        for object in objects {
            self.cluster.apply(object, at);
        }
    }

    fn seen(&mut self, device: usize, direction: Direction, tuple: Tuple, transport: Transport<'_>) {
        self.now += 10_000;
        let tunnelled = device == WIRE;
        let device = device.min(ETH0);
        let outward = direction == Direction::Outbound;
        let (here, there): (IpAddr, IpAddr) =
            ("192.168.0.1".parse().unwrap(), "192.168.0.2".parse().unwrap());
        let (source, destination) = if outward { (here, there) } else { (there, here) };
        let tunnel = tunnelled.then_some(Tunnel {
            protocol: TunnelProtocol::Vxlan,
            source,
            destination,
            source_port: 50_000,
            destination_port: 8472,
            vni: 1,
        });
        let packet = Packet {
            at: UnixNanos::from_nanos(self.now),
            interface: InterfaceId(u32::try_from(device).unwrap()),
            direction,
            frame_len: if tunnelled { 124 } else { 74 },
            ethernet: Some(([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2])),
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
        };
        self.feed(|tracker, sink| tracker.packet(&packet, DEVICES[device].1, sink));
    }

    fn tcp(&mut self, hop: &Hop, back: bool, flags: u16, sequence: u32) {
        let tcp = Tcp {
            sequence,
            acknowledgement: match (flags, back) {
                (SYN, _) => 0,
                (_, true) => 101,
                (_, false) => 901,
            },
            flags: TcpFlags(flags),
            window: 1000,
            mss: None,
            timestamps: None,
            payload: &[],
            payload_len: 0,
        };
        let tuple = tuple(hop);
        let (direction, tuple) = match (back, hop.direction) {
            (false, direction) => (direction, tuple),
            (true, Direction::Inbound) => (Direction::Outbound, tuple.reversed()),
            (true, _) => (Direction::Inbound, tuple.reversed()),
        };
        self.seen(hop.device, direction, tuple, Transport::Tcp(tcp));
    }

    pub(super) fn forward(&mut self, route: &Route, flags: u16, sequence: u32) {
        for hop in route {
            self.tcp(hop, false, flags, sequence);
        }
    }

    pub(super) fn reverse(&mut self, route: &Route, flags: u16, sequence: u32) {
        for hop in route.iter().rev() {
            self.tcp(hop, true, flags, sequence);
        }
    }

    /// The kernel names the route's first and last form.
    pub(super) fn conntrack(&mut self, route: &Route) {
        let (first, last) = (tuple(&route[0]), tuple(&route[route.len() - 1]));
        let at = UnixNanos::from_nanos(self.now);
        let entry =
            ConntrackEntry { at, original: first, reply: last.reversed(), zone: 0, phase: Phase::Open };
        self.feed(|tracker, sink| tracker.testimony(&Testimony::Tracked(entry), sink));
    }

    pub(super) fn log(&mut self, rule: &str, hop: &Hop, sequence: u32) {
        let logged = LoggedPacket {
            at: UnixNanos::from_nanos(self.now),
            prefix: Arc::from(rule),
            group: 5,
            in_ifindex: 2,
            out_ifindex: 5,
            in_port_ifindex: 0,
            out_port_ifindex: 0,
            packet: syn(hop, sequence),
        };
        self.feed(|tracker, sink| tracker.testimony(&Testimony::Logged(logged), sink));
    }

    /// The kernel drops the hop's SYN at the client's device.
    pub(super) fn kernel_drops(&mut self, reason: &str, hop: &Hop, sequence: u32) {
        let device = Device { ifindex: 2, name: DEVICES[WEB].0.into() };
        let dropped = DroppedPacket {
            at: UnixNanos::from_nanos(self.now),
            reason: reason.into(),
            site: DropSite { owner: testimony::Owner::Node, device: Some(device) },
            packet: syn(hop, sequence),
        };
        self.feed(|tracker, sink| tracker.testimony(&Testimony::Dropped(dropped), sink));
    }

    /// The node answers the hop's client with "port unreachable".
    pub(super) fn unreachable(&mut self, hop: &Hop, sender: &str) {
        let quoted = Some(Quoted { tuple: tuple(hop), tcp_sequence: Some(100) });
        let back = Tuple::new(IpProtocol::ICMP, (sender.parse().unwrap(), 0), (tuple(hop).source.ip(), 0));
        let icmp = Icmp { kind: 3, code: 3, quoted, mtu: None, echo: None };
        self.seen(hop.device, Direction::Outbound, back, Transport::Icmp(icmp));
    }

    /// A question from the client's veth to the DNS Service, or its answer: response code and address.
    pub(super) fn dns(&mut self, id: u16, name: &str, answer: Option<(u16, &str)>) {
        let (code, address) = answer.unwrap_or_default();
        let flags = if answer.is_some() { 0x8180 | code } else { 0x0100 };
        let answers = u16::from(!address.is_empty());
        let mut payload = Vec::new();
        for field in [id, flags, 1, answers, 0, 0] {
            payload.extend(field.to_be_bytes());
        }
        for label in name.split('.') {
            payload.push(u8::try_from(label.len()).unwrap());
            payload.extend(label.as_bytes());
        }
        payload.extend([0, 0, 1, 0, 1]);
        if let Ok(IpAddr::V4(address)) = address.parse() {
            payload.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 30, 0, 4]);
            payload.extend(address.octets());
        }
        let to_server = Tuple {
            protocol: IpProtocol::UDP,
            source: "10.244.1.5:50001".parse().unwrap(),
            destination: "10.96.0.53:53".parse().unwrap(),
        };
        let (direction, tuple) = match answer {
            None => (Direction::Inbound, to_server),
            Some(_) => (Direction::Outbound, to_server.reversed()),
        };
        let payload_len = u32::try_from(payload.len()).unwrap();
        self.seen(WEB, direction, tuple, Transport::Udp { payload: &payload, payload_len });
    }

    pub(super) fn wait_ms(&mut self, millis: u64) {
        self.now += millis * 1_000_000;
        let now = UnixNanos::from_nanos(self.now);
        while let Some(due) = self.enricher.review_due(now) {
            self.feed(|tracker, sink| tracker.advance(due, sink));
            while let Some(id) = self.enricher.to_review(due) {
                let Some(connection) = self.tracker.find(id) else { continue };
                if self.enricher.contradicts(connection, due, &self.cluster) {
                    self.feed(|tracker, sink| tracker.tell_again(id, sink));
                }
            }
        }
        self.feed(|tracker, sink| tracker.advance(now, sink));
    }

    pub(super) fn finish(&mut self) {
        self.feed(Tracker::finish);
    }

    pub(super) fn last(&self) -> &Flow {
        self.flows.last().unwrap()
    }
}

/// From its IP header on, as the kernel names it.
fn syn(hop: &Hop, sequence: u32) -> Vec<u8> {
    let tuple = tuple(hop);
    let octets = |end: SocketAddr| match end.ip() {
        IpAddr::V4(address) => address.octets(),
        IpAddr::V6(address) => panic!("{address} is no IPv4 address"),
    };
    let mut packet = Vec::new();
    PacketBuilder::ipv4(octets(tuple.source), octets(tuple.destination), 63)
        .tcp(tuple.source.port(), tuple.destination.port(), sequence, 1000)
        .syn()
        .write(&mut packet, &[])
        .unwrap();
    packet
}

fn tuple(hop: &Hop) -> Tuple {
    Tuple {
        protocol: IpProtocol::TCP,
        source: hop.source.parse().unwrap(),
        destination: hop.destination.parse().unwrap(),
    }
}

/// A flow is written over the one before: it is as if it were the first, but for its place and for names that others told.
/// But for what is remembered on purpose: names, and what policies said.
fn assert_nothing_stays(flow: &Flow, first: &Flow) {
    let mut weir = first.weir.clone();
    if let (Some(weir), Some(told)) = (&mut weir, &flow.weir) {
        (weir.policies, weir.disagreements) = (told.policies.clone(), told.disagreements.clone());
    }
    let told = Flow {
        weir,
        uuid: flow.uuid.clone(),
        time: flow.time,
        source_names: flow.source_names.clone(),
        destination_names: flow.destination_names.clone(),
        ..first.clone()
    };
    assert_eq!(flow, &told);
}
