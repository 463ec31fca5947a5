//! Frames of every kind of tag and tunnel, put together as drawn with etherparse's headers, are read back as they were built.

use etherparse::{IpNumber, Ipv4Header, Ipv6FlowLabel, Ipv6Header, PacketBuilder, UdpHeader};
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// A tunnel, by how its header looks.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Vxlan,
    Gpe { bridged: bool },
    Geneve { bridged: bool, options: u8 },
    Gre { bridged: bool, checksum: bool, key: bool, sequence: bool },
    Erspan(u8),
    Ip,
}

/// One tunnel around a packet, and what the frame in it has, where it is a frame.
#[derive(Clone, Debug)]
struct Around {
    kind: Kind,
    v6: bool,
    number: u32,
    inner: Link,
}

/// What lies between an Ethernet header and IP.
#[derive(Clone, Debug)]
struct Link {
    vlans: Vec<u16>,
    labels: Vec<u32>,
    pppoe: bool,
}

fn link() -> impl Strategy<Value = Link> {
    let labels = prop_oneof![3 => Just(Vec::new()), 1 => vec(0_u32..1 << 20, 1..4)];
    (vec(0_u16..4096, 0..3), labels, prop::bool::weighted(0.2)).prop_map(|(vlans, labels, pppoe)| Link {
        vlans,
        labels,
        pppoe,
    })
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![
        Just(Kind::Vxlan),
        any::<bool>().prop_map(|bridged| Kind::Gpe { bridged }),
        (any::<bool>(), 0_u8..64).prop_map(|(bridged, options)| Kind::Geneve { bridged, options }),
        any::<[bool; 4]>().prop_map(|[bridged, checksum, key, sequence]| Kind::Gre {
            bridged,
            checksum,
            key,
            sequence
        }),
        (1_u8..4).prop_map(Kind::Erspan),
        Just(Kind::Ip),
    ]
}

fn around() -> impl Strategy<Value = Around> {
    (kind(), any::<bool>(), any::<u32>(), link()).prop_map(|(kind, v6, number, inner)| Around {
        kind,
        v6,
        number,
        inner,
    })
}

/// The packet in the middle: UDP or TCP with a payload, by etherparse's builder.
fn middle(v6: bool, tcp: bool, payload: &[u8]) -> Vec<u8> {
    let builder = if v6 {
        PacketBuilder::ipv6(CLIENT6.octets(), SERVER6.octets(), 9)
    } else {
        PacketBuilder::ipv4(CLIENT.octets(), SERVER.octets(), 9)
    };
    let mut bytes = Vec::new();
    if tcp {
        builder.tcp(4001, 80, 7, 1000).write(&mut bytes, payload).unwrap();
    } else {
        builder.udp(4001, 80).write(&mut bytes, payload).unwrap();
    }
    bytes
}

fn is_v6(packet: &[u8]) -> bool {
    packet[0] >> 4 == 6
}

fn kind_of(packet: &[u8]) -> u16 {
    if is_v6(packet) { IPV6 } else { IPV4 }
}

/// Ends of the tunnel at this depth.
fn nodes(v6: bool, depth: usize) -> (IpAddr, IpAddr) {
    let depth = u8::try_from(depth).unwrap();
    if v6 {
        let node = |last: u16| Ipv6Addr::new(0xfd00, 9, 0, 0, 0, 0, depth.into(), last);
        (node(1).into(), node(2).into())
    } else {
        (Ipv4Addr::new(192, 168, depth, 1).into(), Ipv4Addr::new(192, 168, depth, 2).into())
    }
}

fn in_ip(ends: (IpAddr, IpAddr), protocol: u8, payload: &[u8]) -> Vec<u8> {
    let header = match ends {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let len = u16::try_from(payload.len()).unwrap();
            Ipv4Header::new(len, 64, IpNumber(protocol), source.octets(), destination.octets())
                .unwrap()
                .to_bytes()
                .to_vec()
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => Ipv6Header {
            traffic_class: 0,
            flow_label: Ipv6FlowLabel::ZERO,
            payload_length: u16::try_from(payload.len()).unwrap(),
            next_header: IpNumber(protocol),
            hop_limit: 64,
            source: source.octets(),
            destination: destination.octets(),
        }
        .to_bytes()
        .to_vec(),
        mixed => panic!("{mixed:?}"),
    };
    bytes(&[&header, payload])
}

fn in_udp(port: u16, payload: &[u8]) -> Vec<u8> {
    let header = UdpHeader::without_ipv4_checksum(51_000, port, payload.len()).unwrap();
    bytes(&[&header.to_bytes(), payload])
}

/// An Ethernet frame around an IP packet: tags, then PPPoE or labels.
fn framed(link: &Link, packet: &[u8]) -> Vec<u8> {
    let (mut kind, mut rest) = (kind_of(packet), packet.to_vec());
    if link.pppoe {
        let protocol: u16 = if is_v6(packet) { 0x57 } else { 0x21 };
        let len = u16::try_from(rest.len() + 2).unwrap();
        let session = [&[0x11, 0, 0, 9][..], &len.to_be_bytes(), &protocol.to_be_bytes()].concat();
        (kind, rest) = (0x8864, bytes(&[&session, &rest]));
    } else {
        for (index, label) in link.labels.iter().rev().enumerate() {
            let bottom = if index == 0 { 0x100 } else { 0 };
            (kind, rest) = (0x8847, bytes(&[&(label << 12 | bottom | 64).to_be_bytes(), &rest]));
        }
    }
    for (index, vlan) in link.vlans.iter().rev().enumerate() {
        rest = bytes(&[&(vlan | 0x6000).to_be_bytes(), &kind.to_be_bytes(), &rest]);
        kind = if index == 0 { 0x8100 } else { 0x88a8 };
    }
    ethernet(kind, &rest)
}

/// A tunnel's header with what is in it, and what should be told of it.
struct Header {
    protocol: TunnelProtocol,
    number: u32,
    /// Destination port, 0 without.
    port: u16,
    payload: Vec<u8>,
    /// A frame is in it, no bare packet.
    bridged: bool,
}

fn header(packet: &[u8], around: &Around) -> Header {
    let frame = framed(&around.inner, packet);
    let inside = |bridged: bool| if bridged { &frame } else { packet };
    let kind = |bridged: bool| if bridged { 0x6558 } else { kind_of(packet) };
    let vni = around.number >> 8;
    let word = (vni << 8).to_be_bytes();
    let (protocol, number, port, payload, bridged) = match around.kind {
        Kind::Vxlan => (TunnelProtocol::Vxlan, vni, 8472, vxlan(vni, &frame), true),
        Kind::Gpe { bridged } => {
            let next = if bridged { 3 } else { 1 + u8::from(is_v6(packet)) };
            let payload = bytes(&[&[0x0c, 0, 0, next], &word, inside(bridged)]);
            (TunnelProtocol::VxlanGpe, vni, 4790, payload, bridged)
        }
        Kind::Geneve { bridged, options } => {
            let filled = vec![0x5a; usize::from(options) * 4];
            let head = [&[options, 0][..], &kind(bridged).to_be_bytes(), &word, &filled].concat();
            (TunnelProtocol::Geneve, vni, 6081, bytes(&[&head, inside(bridged)]), bridged)
        }
        Kind::Gre { bridged, checksum, key, sequence } => {
            let head = gre(kind(bridged), checksum, key.then_some(around.number), sequence);
            let number = if key { around.number } else { 0 };
            (TunnelProtocol::Gre, number, 0, bytes(&[&head, inside(bridged)]), bridged)
        }
        Kind::Erspan(version) => {
            let session = if version == 1 { 0 } else { around.number & 0x3ff };
            let head = erspan(version, session, around.number & 0x400 != 0);
            (TunnelProtocol::Erspan, session, 0, bytes(&[&head, &frame]), true)
        }
        Kind::Ip => (ip_in_ip(around.v6, is_v6(packet)), 0, 0, packet.to_vec(), false),
    };
    Header { protocol, number, port, payload, bridged }
}

fn gre(kind: u16, checksum: bool, key: Option<u32>, sequence: bool) -> Vec<u8> {
    let flags = [(checksum, 0x8000_u16), (key.is_some(), 0x2000), (sequence, 0x1000)];
    let set: u16 = flags.iter().filter(|(has, _)| *has).map(|(_, flag)| flag).sum();
    let mut head = [set.to_be_bytes(), kind.to_be_bytes()].concat();
    head.extend(if checksum { &[7, 7, 0, 0][..] } else { &[] });
    head.extend(key.map(u32::to_be_bytes).into_iter().flatten());
    head.extend(if sequence { &[0, 0, 0, 1][..] } else { &[] });
    head
}

fn erspan(version: u8, session: u32, subheader: bool) -> Vec<u8> {
    let words = |words: &[u32]| words.iter().flat_map(|word| word.to_be_bytes()).collect::<Vec<u8>>();
    match (version, subheader) {
        (1, _) => words(&[0x88be]),
        (2, _) => words(&[0x1000_88be, 1, 0x1000_0000 | session, 0]),
        (_, false) => words(&[0x1000_22eb, 1, 0x2000_0000 | session, 5, 0]),
        (_, true) => words(&[0x1000_22eb, 1, 0x2000_0000 | session, 5, 1, 6, 6]),
    }
}

const fn ip_in_ip(outer_v6: bool, inner_v6: bool) -> TunnelProtocol {
    match (outer_v6, inner_v6) {
        (false, false) => TunnelProtocol::IpIp,
        (false, true) => TunnelProtocol::Sit,
        (true, false) => TunnelProtocol::IpIp6,
        (true, true) => TunnelProtocol::Ip6Ip6,
    }
}

/// The packet in one more tunnel, the tunnel as it should be told, and the tags of the frame in it.
fn wrap(packet: &[u8], around: &Around, depth: usize) -> (Vec<u8>, Tunnel, Vec<u16>) {
    let ends = nodes(around.v6, depth);
    let Header { protocol, number, port, payload, bridged } = header(packet, around);
    let wrapped = match protocol {
        TunnelProtocol::Gre | TunnelProtocol::Erspan => in_ip(ends, 47, &payload),
        _ if port != 0 => in_ip(ends, 17, &in_udp(port, &payload)),
        _ => in_ip(ends, if is_v6(packet) { 41 } else { 4 }, &payload),
    };
    let tunnel = Tunnel {
        protocol,
        source: ends.0,
        destination: ends.1,
        source_port: if port != 0 { 51_000 } else { 0 },
        destination_port: port,
        vni: number,
    };
    (wrapped, tunnel, if bridged { around.inner.vlans.clone() } else { Vec::new() })
}

/// Everything that was drawn, around one packet in the middle.
struct Built {
    frame: Vec<u8>,
    middle_len: usize,
    /// Outermost first.
    tunnels: Vec<Tunnel>,
    vlans: Vec<u16>,
}

fn build(middle: &[u8], outermost: &Link, around: &[Around]) -> Built {
    let (mut packet, mut tunnels, mut vlans) = (middle.to_vec(), Vec::new(), Vec::new());
    for (depth, one) in around.iter().enumerate() {
        let (wrapped, tunnel, tags) = wrap(&packet, one, depth);
        packet = wrapped;
        tunnels.insert(0, tunnel);
        vlans.splice(0..0, tags);
    }
    vlans.splice(0..0, outermost.vlans.iter().copied());
    vlans.truncate(4);
    Built { frame: framed(outermost, &packet), middle_len: middle.len(), tunnels, vlans }
}

fn cut_to(bytes: &[u8], original_len: u32) -> Frame<'_> {
    Frame { original_len, ..frame(LinkType::ETHERNET, bytes) }
}

proptest! {
    #[test]
    fn what_is_built_is_read_back(
        (v6, is_tcp) in any::<(bool, bool)>(),
        payload in vec(any::<u8>(), 0..40),
        outermost in link(),
        around in vec(around(), 0..=4),
        padding in 0_usize..20,
    ) {
        let mut built = build(&middle(v6, is_tcp, &payload), &outermost, &around);
        built.frame.extend(vec![0xee; padding]);
        let packet = read(LinkType::ETHERNET, &built.frame).unwrap();
        consistent(&packet);
        let ends: (IpAddr, IpAddr) =
            if v6 { (CLIENT6.into(), SERVER6.into()) } else { (CLIENT.into(), SERVER.into()) };
        let protocol = if is_tcp { IpProtocol::TCP } else { IpProtocol::UDP };
        prop_assert_eq!(packet.tuple, Tuple::new(protocol, (ends.0, 4001), (ends.1, 80)));
        prop_assert_eq!(super::payload(&packet), (&payload[..], u32::try_from(payload.len()).unwrap()));
        prop_assert_eq!(packet.ip_len as usize, built.middle_len);
        prop_assert_eq!(packet.frame_len as usize, built.frame.len());
        prop_assert_eq!(packet.wrappings.tunnels().collect::<Vec<_>>(), built.tunnels.clone());
        prop_assert_eq!(packet.tunnel, built.tunnels.last().copied());
        prop_assert_eq!(packet.vlans.ids(), &built.vlans[..]);
        prop_assert!(!packet.truncated && packet.ethernet == Some(MACS) && packet.opaque.is_none());
    }

    /// Wherever such a frame is cut: less is read, or the same; nothing else.
    #[test]
    fn what_is_built_and_cut_is_read_as_far_as_it_goes(
        outermost in link(),
        around in vec(around(), 0..=4),
        len in any::<prop::sample::Index>(),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
    ) {
        let built = build(&middle(false, true, b"payload"), &outermost, &around);
        let mut bytes = built.frame.clone();
        let cut = len.index(bytes.len());
        let whole_len = u32::try_from(built.frame.len()).unwrap();
        if let Ok(packet) = decode(&cut_to(&bytes[..cut], whole_len), &Settings::default()) {
            consistent(&packet);
            let tunnels: Vec<Tunnel> = packet.wrappings.tunnels().collect();
            prop_assert!(built.tunnels.starts_with(&tunnels));
            prop_assert!(packet.truncated);
        }
        for (at, value) in damage {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if let Ok(packet) = decode(&cut_to(&bytes[..cut], whole_len), &Settings::default()) {
            consistent(&packet);
            prop_assert_eq!(packet.wrappings.tunnels().count(), packet.wrappings.len());
        }
    }
}

#[test]
fn a_fifth_tunnel_is_not_opened() {
    let plain = Link { vlans: Vec::new(), labels: Vec::new(), pppoe: false };
    let around = vec![Around { kind: Kind::Ip, v6: false, number: 0, inner: plain.clone() }; 5];
    let built = build(&middle(false, false, b"x"), &plain, &around);
    let packet = read(LinkType::ETHERNET, &built.frame).unwrap();
    assert_eq!((packet.wrappings.len(), packet.tuple.protocol), (4, IpProtocol::IPV4));
}
