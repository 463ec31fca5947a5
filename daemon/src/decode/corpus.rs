//! Real captures against what tshark found in them; see `capture::file::corpus`.
//!
//! Independent of the tracker: every frame's ends, payload, tunnels, tags, fragments and ICMP types, file by file.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::*;
use crate::capture::Batch;
use crate::capture::file::corpus::{Capture, captures};

/// Packets and payload bytes of a direction, by protocol and ends.
type Ways = BTreeMap<Tuple, (u64, u64)>;
/// Packets and bytes by kind, number, outer and inner ends.
type Tunnelled = BTreeMap<String, (u64, u64)>;

/// Protocols of tshark's that carry packets and are none of weir's: a file with one of them is left out, and counted.
const OUTSIDE: [&str; 22] = [
    "gtp",
    "lisp",
    "lisp-data",
    "wlan",
    "radiotap",
    "wpan",
    "cfp",
    "macsec",
    "fr",
    "juniper",
    "clip",
    "atm",
    "pktap",
    "openflow",
    "openflow_v1",
    "openflow_v4",
    "sflow",
    "cmd",
    "user_dlt",
    "pcap_pktdata",
    "arcnet",
    "loop",
];

/// Files where tshark reads otherwise, and why.
const OTHERWISE: [(&str, &str); 16] = [
    ("bigtcp", "tshark does not read packets longer than their length field"),
    (
        "loose_source_route",
        "tshark names the last hop of the route as destination, weir the next as conntrack does",
    ),
    (
        "geneve.06_geneve_invalid_version",
        "RFC 8926 section 3.4: another version than 0 is dropped, so it is no tunnel",
    ),
    ("vxlan.17_vxlan_udp_port_and_header_matrix", "RFC 7348 section 5: without the flag I it is no VXLAN"),
    ("geneve.27_geneve_unsupported", "tshark names a tunnel whose header is cut off"),
    ("pbb-recursive-frames", "more than 32 headers are not passed"),
    ("arkime_synthetic", "three of its packets are in GTP"),
    ("fletcher-checksum-negative-shift", "no IP in it: tags of packets alone are told"),
    ("vlan.09_vlan_unknown_inner_ethertype", "no IP in it: tags of packets alone are told"),
    ("vlan.11_vlan_truncated_inner_ipv4", "no IP in it: tags of packets alone are told"),
    ("drop-protocol-change", "of a TCP header shorter than one, tshark counts payload"),
    ("LINKTYPE_IPV6_invalid", "IPv4 where IPv6 was announced is read by its version"),
    ("tcp-session-decode-malformed-ipv4", "tshark does not read what is behind a malformed option"),
    ("bgp_capabilities_print-oobr-1", "tshark counts no payload of a segment that it finds malformed"),
    ("ipv6_frag6_negative_len", "tshark finds the datagram too short for a piece"),
    ("udp-length-heapoverflow", "the header is cut off before its ports"),
];

#[test]
fn every_frame_is_what_tshark_says() {
    let Some(captures) = captures("every_frame_is_what_tshark_says") else { return };
    let (mut compared, mut outside, mut differ) = (0, 0, Vec::new());
    for capture in &captures {
        let path = capture.path.to_string_lossy();
        if OTHERWISE.iter().any(|(part, _)| path.contains(part)) {
            continue;
        }
        let layers = layers(capture);
        if OUTSIDE.iter().any(|name| layers.contains(*name)) {
            outside += 1;
            continue;
        }
        compared += 1;
        let differences = Seen::of(capture).against(capture, &layers);
        if !differences.is_empty() {
            differ.push(format!("{path}\n    {}", differences.join("\n    ")));
        }
    }
    println!("{compared} files compared, {outside} outside the list");
    assert!(differ.is_empty(), "{} of {compared}:\n{}", differ.len(), differ.join("\n"));
    assert!(compared > 700);
}

/// All protocols in the file.
fn layers(capture: &Capture) -> BTreeSet<String> {
    let stacks = capture.truth["protocol_stacks"].as_object().unwrap();
    stacks.keys().flat_map(|stack| stack.split(':')).map(str::to_owned).collect()
}

/// What the decoder finds in a file.
#[derive(Default)]
struct Seen {
    ways: Ways,
    tunnelled: Tunnelled,
    vlans: BTreeMap<u16, u64>,
    fragments: [u64; 2],
    icmp: BTreeMap<String, u64>,
    refused: BTreeMap<Undecodable, u64>,
}

impl Seen {
    fn of(capture: &Capture) -> Self {
        let mut seen = Self::default();
        for frame in capture.batches().iter().flat_map(Batch::frames) {
            match decode(&frame, &Settings::default()) {
                Err(reason) => *seen.refused.entry(reason).or_default() += 1,
                Ok(packet) => seen.add(&packet),
            }
        }
        seen
    }

    fn add(&mut self, packet: &Packet<'_>) {
        let payload = match packet.transport {
            Transport::Tcp(tcp) => tcp.payload_len,
            _ => 0,
        };
        let mut passed = |tuple: Tuple, payload: u32| {
            let way = self.ways.entry(tuple).or_default();
            *way = (way.0 + 1, way.1 + u64::from(payload));
        };
        if packet.fragment != Fragment::Later {
            passed(packet.tuple, payload);
        }
        for tunnel in packet.wrappings.tunnels().filter(|tunnel| tunnel.destination_port != 0) {
            let ends = ((tunnel.source, tunnel.source_port), (tunnel.destination, tunnel.destination_port));
            passed(Tuple::new(IpProtocol::UDP, ends.0, ends.1), 0);
        }
        if let Some(told) = told(packet) {
            let way = self.tunnelled.entry(told).or_default();
            *way = (way.0 + 1, way.1 + u64::from(packet.frame_len));
        }
        for vlan in packet.vlans.ids() {
            *self.vlans.entry(*vlan).or_default() += 1;
        }
        if packet.fragment != Fragment::Whole {
            self.fragments[usize::from(packet.tuple.source.is_ipv6())] += 1;
        }
        if let Some(datagram) = packet.wrappings.in_pieces() {
            self.fragments[usize::from(datagram.source.is_ipv6())] += 1;
        }
        if let Transport::Icmp(icmp) = packet.transport {
            let version = if packet.tuple.protocol == IpProtocol::ICMP { 4 } else { 6 };
            *self.icmp.entry(format!("v{version}:{}/{}", icmp.kind, icmp.code)).or_default() += 1;
        }
    }

    fn against(&self, capture: &Capture, layers: &BTreeSet<String>) -> Vec<String> {
        let mut differences = Vec::new();
        let fragments = ["ipv4_fragments", "ipv6_fragments"]
            .map(|name| capture.truth["counts"][name].as_u64().unwrap_or_default());
        // tshark counts a datagram in pieces where it is complete, with the bytes of the last frame.
        if self.fragments != [0, 0] {
            let cut = self.refused.values().sum::<u64>();
            if (0..2).any(|version| {
                !(fragments[version].saturating_sub(cut)..=fragments[version])
                    .contains(&self.fragments[version])
            }) {
                differences.push(format!("fragments: ours {:?}, theirs {fragments:?}", self.fragments));
            }
            return differences;
        }
        let counted = [IpProtocol::TCP, IpProtocol::UDP, IpProtocol::SCTP];
        let (mut ways, mut conversations) = (self.ways.clone(), conversations(capture));
        ways.retain(|tuple, _| counted.contains(&tuple.protocol));
        if self.refused.contains_key(&Undecodable::Arp) {
            // ARP in a tunnel is ARP, and no packet between the nodes.
            let tunnel = [4789, 8472, 6081];
            ways.retain(|tuple, _| !tunnel.contains(&tuple.destination.port()));
            conversations.retain(|tuple, _| !tunnel.contains(&tuple.destination.port()));
        }
        differ(&mut differences, "ends", &ways, &conversations);
        differ(&mut differences, "tunnels", &self.tunnelled, &tunnels(capture));
        if !layers.contains("arp") && !layers.contains("ieee8021ad") {
            differ(&mut differences, "vlans", &self.vlans, &vlans(capture));
        }
        differ(&mut differences, "icmp", &self.icmp, &icmp(capture));
        if !differences.is_empty() {
            differences.push(format!(
                "refused {:?}, malformed {}",
                self.refused,
                capture.count("n_malformed")
            ));
        }
        differences
    }
}

fn differ<K: Ord + std::fmt::Debug, V: PartialEq + std::fmt::Debug>(
    out: &mut Vec<String>,
    what: &str,
    ours: &BTreeMap<K, V>,
    theirs: &BTreeMap<K, V>,
) {
    for (side, one, other) in [("ours", ours, theirs), ("theirs", theirs, ours)] {
        let only = one.iter().filter(|(key, value)| other.get(key) != Some(value)).take(3);
        out.extend(only.map(|(key, value)| format!("{what}, {side}: {key:?} {value:?}")));
    }
}

/// The one wrapping that the truth names of several, with the outermost and the innermost ends.
fn told(packet: &Packet<'_>) -> Option<String> {
    const ORDER: [(&str, &[TunnelProtocol]); 5] = [
        ("vxlan", &[TunnelProtocol::Vxlan]),
        ("geneve", &[TunnelProtocol::Geneve]),
        ("erspan", &[TunnelProtocol::Erspan]),
        ("gre", &[TunnelProtocol::Gre]),
        (
            "ip-in-ip",
            &[TunnelProtocol::IpIp, TunnelProtocol::Sit, TunnelProtocol::Ip6Ip6, TunnelProtocol::IpIp6],
        ),
    ];
    let tunnels: Vec<Tunnel> = packet.wrappings.tunnels().collect();
    let outermost = tunnels.first()?;
    let (name, protocols) = ORDER
        .into_iter()
        .find(|(_, protocols)| tunnels.iter().any(|tunnel| protocols.contains(&tunnel.protocol)))?;
    let numbers: Vec<String> = tunnels
        .iter()
        .filter(|tunnel| protocols.contains(&tunnel.protocol))
        .filter(|tunnel| tunnel.vni != 0)
        .map(|tunnel| tunnel.vni.to_string())
        .collect();
    let Tuple { protocol, source, destination } = packet.tuple;
    let transport = match protocol {
        IpProtocol::TCP => format!("tcp {}>{}", source.port(), destination.port()),
        IpProtocol::UDP => format!("udp {}>{}", source.port(), destination.port()),
        IpProtocol::SCTP => "sctp".to_owned(),
        IpProtocol::ICMP | IpProtocol::ICMPV6 => "icmp".to_owned(),
        _ => "other".to_owned(),
    };
    let outer = (outermost.source, outermost.destination);
    Some(line(name, &numbers.join(","), outer, (source.ip(), destination.ip()), &transport))
}

fn line(
    name: &str,
    number: &str,
    outer: (IpAddr, IpAddr),
    inner: (IpAddr, IpAddr),
    transport: &str,
) -> String {
    format!("{name} {number} {}>{} {}>{} {transport}", outer.0, outer.1, inner.0, inner.1)
}

fn tunnels(capture: &Capture) -> Tunnelled {
    let mut tunnelled = Tunnelled::new();
    for tunnel in capture.list("tunnels") {
        let text = |key: &str| tunnel[key].as_str().unwrap();
        let address = |key: &str| text(key).parse::<IpAddr>().ok();
        let ends = (address("outer_src"), address("outer_dst"), address("inner_src"), address("inner_dst"));
        let (Some(from), Some(to), Some(source), Some(destination)) = ends else { continue };
        let numbers: Vec<String> = text("vni").split(',').filter_map(number).collect();
        let key = line(text("type"), &numbers.join(","), (from, to), (source, destination), text("inner_l4"));
        let way = tunnelled.entry(key).or_default();
        let count = |key: &str| tunnel[key].as_u64().unwrap();
        *way = (way.0 + count("packets"), way.1 + count("bytes"));
    }
    tunnelled
}

/// Hexadecimal or decimal; a number that is 0 is told like one that is not there.
fn number(text: &str) -> Option<String> {
    let number = match text.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16).ok()?,
        None => text.parse().ok()?,
    };
    (number != 0).then(|| number.to_string())
}

/// tshark tells the payload of TCP alone.
fn conversations(capture: &Capture) -> Ways {
    const LISTS: [(IpProtocol, &str); 3] = [
        (IpProtocol::TCP, "tcp_conversations"),
        (IpProtocol::UDP, "udp_conversations"),
        (IpProtocol::SCTP, "sctp_conversations"),
    ];
    let mut ways = Ways::new();
    for (protocol, list) in LISTS {
        for conversation in capture.list(list) {
            let number = |key: &str| conversation[key].as_u64().unwrap_or_default();
            let end = |address: &str, port: &str| {
                let address: IpAddr = conversation[address].as_str().unwrap().parse().unwrap();
                (address, u16::try_from(number(port)).unwrap())
            };
            let tuple = Tuple::new(protocol, end("a", "ap"), end("b", "bp"));
            for (tuple, packets, payload) in
                [(tuple, "pkts_ab", "payload_ab"), (tuple.reversed(), "pkts_ba", "payload_ba")]
            {
                if number(packets) > 0 {
                    let way = ways.entry(tuple).or_default();
                    let payload = if protocol == IpProtocol::TCP { number(payload) } else { 0 };
                    *way = (way.0 + number(packets), way.1 + payload);
                }
            }
        }
    }
    ways
}

fn counts<K: Ord>(capture: &Capture, name: &str, key: impl Fn(&str) -> K) -> BTreeMap<K, u64> {
    let counts = capture.truth[name].as_object().unwrap();
    counts.iter().map(|(name, count)| (key(name), count.as_u64().unwrap())).collect()
}

fn vlans(capture: &Capture) -> BTreeMap<u16, u64> {
    counts(capture, "vlan_ids", |id| id.parse().unwrap())
}

fn icmp(capture: &Capture) -> BTreeMap<String, u64> {
    counts(capture, "icmp", str::to_owned)
}

/// Every capture of every link type, tunnel and damage: read or refused, with lengths that agree.
#[test]
fn every_frame_is_read_or_refused() {
    let Some(captures) = captures("every_frame_is_read_or_refused") else { return };
    let mut packets = 0_u64;
    for capture in &captures {
        for frame in capture.batches().iter().flat_map(Batch::frames) {
            if let Ok(packet) = decode(&frame, &Settings::default()) {
                super::tests::consistent(&packet);
                packets += 1;
            }
        }
    }
    assert!(packets > 10_000);
}
