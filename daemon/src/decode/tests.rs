//! Packets made byte by byte, cut at every byte, and random ones.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use proptest::prelude::*;

use super::*;
use crate::capture::{Frame, LinkType};

mod built;
mod links;
mod pieces;
mod tunnels;

const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 244, 1, 7);
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 10);
const CLIENT6: Ipv6Addr = Ipv6Addr::new(0xfd00, 1, 0, 0, 0, 0, 0, 7);
const SERVER6: Ipv6Addr = Ipv6Addr::new(0xfd00, 2, 0, 0, 0, 0, 0, 10);
const MACS: ([u8; 6], [u8; 6]) = ([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]);
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;

fn bytes(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

fn ethernet(kind: u16, rest: &[u8]) -> Vec<u8> {
    bytes(&[&MACS.1, &MACS.0, &kind.to_be_bytes(), rest])
}

/// An IPv4 packet with its fragment field; `options` in whole words.
fn ipv4_with(protocol: u8, fragment: u16, options: &[u8], payload: &[u8]) -> Vec<u8> {
    let header_len = 20 + options.len();
    let total = u16::try_from(header_len + payload.len()).unwrap().to_be_bytes();
    let first = [0x40 | u8::try_from(header_len / 4).unwrap(), 0, total[0], total[1], 0x12, 0x34];
    let second = [63, protocol, 0, 0];
    let (source, destination) = (CLIENT.octets(), SERVER.octets());
    bytes(&[&first, &fragment.to_be_bytes(), &second, &source, &destination, options, payload])
}

fn ipv4(protocol: IpProtocol, payload: &[u8]) -> Vec<u8> {
    ipv4_with(protocol.0, 0, &[], payload)
}

fn ipv6(next: u8, payload: &[u8]) -> Vec<u8> {
    let len = u16::try_from(payload.len()).unwrap().to_be_bytes();
    let head = [0x60, 0, 0, 0, len[0], len[1], next, 61];
    bytes(&[&head, &CLIENT6.octets(), &SERVER6.octets(), payload])
}

/// A SYN with MSS 1460, SACK permitted, timestamps 7 and 9, and window scale.
fn syn(payload: &[u8]) -> Vec<u8> {
    let ports = [0x9c, 0x40, 0, 80];
    let numbers = [0, 0, 0, 5, 0, 0, 0, 6];
    let options = [2, 4, 5, 0xb4, 4, 2, 8, 10, 0, 0, 0, 7, 0, 0, 0, 9, 1, 3, 3, 7];
    bytes(&[&ports, &numbers, &[0xa1, 0x02, 0xfa, 0xf0, 0, 0, 0, 0], &options, payload])
}

fn udp(source: u16, destination: u16, payload: &[u8]) -> Vec<u8> {
    let len = u16::try_from(8 + payload.len()).unwrap();
    bytes(&[&source.to_be_bytes(), &destination.to_be_bytes(), &len.to_be_bytes(), &[0, 0], payload])
}

fn vxlan(vni: u32, frame: &[u8]) -> Vec<u8> {
    bytes(&[&[8, 0, 0, 0], &(vni << 8).to_be_bytes(), frame])
}

fn frame(link: LinkType, bytes: &[u8]) -> Frame<'_> {
    Frame {
        at: UnixNanos::from_parts(1_700_000_000, 5),
        interface: InterfaceId(3),
        direction: Direction::Unknown,
        link,
        original_len: u32::try_from(bytes.len()).unwrap(),
        bytes,
    }
}

fn read(link: LinkType, bytes: &[u8]) -> Result<Packet<'_>, Undecodable> {
    decode(&frame(link, bytes), &Settings::default())
}

fn read_ip(bytes: &[u8]) -> Packet<'_> {
    read(LinkType::RAW, bytes).unwrap()
}

fn tuple(protocol: IpProtocol, source: u16, destination: u16) -> Tuple {
    Tuple::new(protocol, (CLIENT.into(), source), (SERVER.into(), destination))
}

fn tcp(packet: &Packet<'_>) -> Tcp<'static> {
    match packet.transport {
        Transport::Tcp(tcp) => Tcp { payload: &[], ..tcp },
        other => panic!("{other:?}"),
    }
}

fn icmp(packet: &Packet<'_>) -> Icmp {
    match packet.transport {
        Transport::Icmp(icmp) => icmp,
        other => panic!("{other:?}"),
    }
}

#[test]
fn tcp_over_ethernet_with_padding() {
    let mut bytes = ethernet(IPV4, &ipv4(IpProtocol::TCP, &syn(b"hi")));
    bytes.extend([0xee; 9]);
    let packet = read(LinkType::ETHERNET, &bytes).unwrap();
    assert_eq!(packet.tuple, tuple(IpProtocol::TCP, 40_000, 80));
    assert_eq!(packet.ethernet, Some(MACS));
    assert_eq!((packet.ip_len, packet.frame_len, packet.truncated), (62, 85, false));
    assert_eq!((packet.ip_id, packet.ttl, packet.fragment), (Some(0x1234), 63, Fragment::Whole));
    let segment = tcp(&packet);
    assert_eq!((segment.sequence, segment.acknowledgement, segment.window), (5, 6, 0xfaf0));
    assert_eq!(segment.flags, TcpFlags::SYN.with(TcpFlags::NS));
    assert_eq!((segment.mss, segment.timestamps), (Some(1460), Some((7, 9))));
    assert!(matches!(packet.transport, Transport::Tcp(Tcp { payload: b"hi", payload_len: 2, .. })));
}

#[test]
fn tags_and_snap_are_skipped() {
    let inner = ipv4(IpProtocol::UDP, &udp(53, 5353, b"x"));
    let tagged = bytes(&[&[0, 5, 0x81, 0, 0, 6], &IPV4.to_be_bytes(), &inner]);
    let qinq = ethernet(0x88a8, &tagged);
    assert_eq!(read(LinkType::ETHERNET, &qinq).unwrap().tuple, tuple(IpProtocol::UDP, 53, 5353));
    let snap = bytes(&[&[0xaa, 0xaa, 3, 0, 0, 0], &IPV4.to_be_bytes(), &inner, &[0; 20]]);
    let len = u16::try_from(8 + inner.len()).unwrap();
    let packet = ethernet(len, &snap);
    assert_eq!(read(LinkType::ETHERNET, &packet).unwrap().ip_len, 29);
    let endless = [0x81, 0x00, 0, 0].repeat(40);
    assert_eq!(read(LinkType::ETHERNET, &ethernet(0x8100, &endless[2..])).unwrap_err(), Undecodable::NotIp);
}

#[test]
fn other_link_types() {
    let ip = ipv4(IpProtocol::UDP, &udp(1000, 2000, b"abc"));
    let sll = |kind: u8| bytes(&[&[0, kind, 0, 1, 0, 6], &MACS.0, &[0, 0], &IPV4.to_be_bytes(), &ip]);
    let sll2 =
        |kind: u8| bytes(&[&IPV4.to_be_bytes(), &[0, 0, 0, 0, 0, 42, 0, 1, kind, 6], &MACS.0, &[0, 0], &ip]);
    for (kind, direction) in [
        (0, Direction::Inbound),
        (1, Direction::Inbound),
        (3, Direction::Inbound),
        (4, Direction::Outbound),
        (7, Direction::Unknown),
    ] {
        assert_eq!(read(LinkType::LINUX_SLL, &sll(kind)).unwrap().direction, direction);
        assert_eq!(read(LinkType::LINUX_SLL2, &sll2(kind)).unwrap().direction, direction);
    }
    assert_eq!(frame(LinkType::LINUX_SLL2, &sll2(0)).cooked_ifindex(), Some(42));
    assert_eq!(frame(LinkType::LINUX_SLL, &sll2(0)).cooked_ifindex(), None);
    let (little, big) = (bytes(&[&[2, 0, 0, 0], &ip]), bytes(&[&[0, 0, 0, 2], &ip]));
    let (v6, raw6) = (ipv6(17, &udp(1, 2, b"")), ipv6(17, &udp(1, 2, b"")));
    assert_eq!(read(LinkType::NULL, &little).unwrap().ip_len, 31);
    assert_eq!(read(LinkType::LOOP, &big).unwrap().ip_len, 31);
    assert_eq!(read(LinkType::NULL, &bytes(&[&[30, 0, 0, 0], &v6])).unwrap().ip_len, 48);
    assert_eq!(read(LinkType::IPV6, &raw6).unwrap().ip_len, 48);
    assert_eq!(read(LinkType::NULL, &[7, 0, 0, 0, 0x45]).unwrap_err(), Undecodable::NotIp);
}

#[test]
fn a_direction_the_source_knows_is_kept() {
    let ip = ipv4(IpProtocol::UDP, &udp(1, 2, b""));
    let cooked = bytes(&[&[0, 4, 0, 1, 0, 6], &MACS.0, &[0, 0], &IPV4.to_be_bytes(), &ip]);
    let told = Frame { direction: Direction::Inbound, ..frame(LinkType::LINUX_SLL, &cooked) };
    assert_eq!(decode(&told, &Settings::default()).unwrap().direction, Direction::Inbound);
}

#[test]
fn what_is_no_ip_is_told_apart() {
    let cases: [(LinkType, Vec<u8>, Undecodable); 6] = [
        (LinkType(9999), vec![0; 60], Undecodable::LinkType),
        (LinkType::ETHERNET, ethernet(0x0806, &[0; 28]), Undecodable::Arp),
        (LinkType::ETHERNET, ethernet(0x88cc, &[0; 28]), Undecodable::NotIp),
        (LinkType::ETHERNET, ethernet(IPV4, &[0x90; 28]), Undecodable::NotIp),
        (LinkType::ETHERNET, ethernet(IPV4, &[]), Undecodable::Truncated),
        (LinkType::RAW, vec![0x44; 40], Undecodable::Malformed),
    ];
    for (link, bytes, reason) in cases {
        assert_eq!(read(link, &bytes).unwrap_err(), reason, "{link} {bytes:02x?}");
    }
}

#[test]
fn a_header_that_contradicts_itself_behind_its_ports_counts_for_its_connection() {
    let short_udp = ipv4(IpProtocol::UDP, &[0, 1, 0, 2, 0, 7, 0, 0]);
    let short_tcp = ipv4(IpProtocol::TCP, &[&[0, 1, 0, 2][..], &[0; 16]].concat());
    let first_piece = ipv4_with(IpProtocol::TCP.0, 0x2000, &[], &syn(b"")[..8]);
    for (bytes, protocol, ports) in [
        (short_udp, IpProtocol::UDP, (1, 2)),
        (short_tcp, IpProtocol::TCP, (1, 2)),
        (first_piece, IpProtocol::TCP, (40_000, 80)),
    ] {
        let packet = read_ip(&bytes);
        assert_eq!(packet.tuple, tuple(protocol, ports.0, ports.1));
        assert!(matches!(packet.transport, Transport::Other { .. }));
    }
    let no_ports = ipv4(IpProtocol::UDP, &[0, 1]);
    assert_eq!(read(LinkType::RAW, &no_ports).unwrap_err(), Undecodable::Malformed);
}

#[test]
fn options_and_fragments_of_ipv4() {
    let options = ipv4_with(17, 0x4000, &[7, 7, 4, 1, 2, 3, 4, 0], &udp(1, 2, b"abc"));
    let packet = read_ip(&options);
    assert_eq!((packet.ip_len, packet.tuple), (39, tuple(IpProtocol::UDP, 1, 2)));
    let mut first = ipv4_with(17, 0x2000, &[], &udp(1, 2, b"abcdefgh"));
    first[25] = 200; // the whole datagram's length
    let packet = read_ip(&first);
    assert_eq!((packet.fragment, packet.truncated), (Fragment::First, false));
    assert!(matches!(packet.transport, Transport::Udp { payload: b"abcdefgh", payload_len: 8 }));
    let packet_bytes = ipv4_with(6, 0x2001, &[], b"abcdefgh");
    let packet = read_ip(&packet_bytes);
    assert_eq!((packet.fragment, packet.tuple), (Fragment::Later, tuple(IpProtocol::TCP, 0, 0)));
    assert!(matches!(packet.transport, Transport::Other { payload_len: 8 }));
}

#[test]
fn extension_headers_of_ipv6() {
    let padding = [1, 4, 0, 0, 0, 0];
    let hop_by_hop = bytes(&[&[60, 0], &padding]);
    let destination = bytes(&[&[51, 0], &padding]);
    let authentication = bytes(&[&[44, 4], &[0; 22]]);
    let fragment = [6, 0, 0, 1, 0, 1, 2, 3];
    let chain = bytes(&[&hop_by_hop, &destination, &authentication, &fragment, &syn(b"xyz")]);
    let whole = ipv6(0, &chain);
    let packet = read_ip(&whole);
    let expected = Tuple::new(IpProtocol::TCP, (CLIENT6.into(), 40_000), (SERVER6.into(), 80));
    assert_eq!((packet.tuple, packet.fragment), (expected, Fragment::First));
    assert_eq!((packet.ip_id, packet.ttl), (Some(0x0001_0203), 61));
    assert!(matches!(packet.transport, Transport::Tcp(Tcp { payload: b"xyz", payload_len: 3, .. })));
    let endless = bytes(&[&[60, 0], &padding]).repeat(30);
    assert_eq!(read(LinkType::RAW, &ipv6(60, &endless)).unwrap_err(), Undecodable::Malformed);
    let nothing = ipv6(59, &[]);
    assert_eq!((read_ip(&nothing).ip_len, read_ip(&nothing).tuple.protocol), (40, IpProtocol(59)));
    let later = ipv6(44, &[17, 0, 0, 8, 0, 0, 0, 9, 60, 60, 60, 60]);
    let packet = read_ip(&later);
    assert_eq!((packet.fragment, packet.ip_id), (Fragment::Later, Some(9)));
    assert!(matches!(packet.transport, Transport::Other { payload_len: 4 }));
    assert_eq!(packet.tuple.source, SocketAddr::new(CLIENT6.into(), 0));
}

#[test]
fn super_packets_longer_than_their_length_field() {
    let mut four = ethernet(IPV4, &ipv4(IpProtocol::TCP, &syn(b"data")));
    four[16..18].fill(0);
    let big = Frame { original_len: 200_014, ..frame(LinkType::ETHERNET, &four) };
    let packet = decode(&big, &Settings::default()).unwrap();
    assert_eq!((packet.ip_len, packet.truncated), (200_000, true));
    assert_eq!(tcp(&packet).payload_len, 200_000 - 60);
    let jumbo = bytes(&[&[6, 0, 0xc2, 4], &199_960_u32.to_be_bytes(), &syn(b"data")]);
    let mut six = ethernet(IPV6, &ipv6(0, &jumbo));
    six[18..20].fill(0);
    let big = Frame { original_len: 200_054, ..frame(LinkType::ETHERNET, &six) };
    let packet = decode(&big, &Settings::default()).unwrap();
    assert_eq!((packet.ip_len, tcp(&packet).payload_len), (200_000, 199_960 - 8 - 40));
}

#[test]
fn sctp_by_its_first_chunk() {
    let init = ipv4(IpProtocol::SCTP, &[0, 9, 0, 10, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 20]);
    let packet = read_ip(&init);
    assert_eq!(packet.tuple, tuple(IpProtocol::SCTP, 9, 10));
    assert!(matches!(packet.transport, Transport::Sctp { first_chunk: Some(1), payload_len: 4, .. }));
}

#[test]
fn echo_has_its_identifier_as_both_ports() {
    let request = ipv4(IpProtocol::ICMP, &[8, 0, 0, 0, 0x30, 0x39, 0, 1, 1, 2]);
    assert_eq!(read_ip(&request).tuple, tuple(IpProtocol::ICMP, 12_345, 12_345));
    let reply = ipv6(58, &[129, 0, 0, 0, 0x30, 0x39, 0, 1]);
    assert_eq!(read_ip(&reply).tuple.source.port(), 12_345);
    let neighbour = ipv6(58, &[135, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!((read_ip(&neighbour).tuple.source.port(), icmp(&read_ip(&neighbour)).quoted), (0, None));
}

#[test]
fn errors_quote_their_packet_and_its_mtu() {
    let about = ipv4(IpProtocol::TCP, &syn(b""));
    let too_big = ipv4(IpProtocol::ICMP, &bytes(&[&[3, 4, 0, 0, 0, 0, 5, 0x78], &about[..28]]));
    let quoted = Quoted { tuple: tuple(IpProtocol::TCP, 40_000, 80), tcp_sequence: Some(5) };
    let message = icmp(&read_ip(&too_big));
    assert_eq!((message.kind, message.code, message.mtu, message.quoted), (3, 4, Some(1400), Some(quoted)));
    let old_router = ipv4(IpProtocol::ICMP, &bytes(&[&[3, 4, 0, 0, 0, 0, 0, 0], &about[..24]]));
    let message = icmp(&read_ip(&old_router));
    assert_eq!((message.mtu, message.quoted), (None, Some(Quoted { tcp_sequence: None, ..quoted })));
    let about = ipv6(17, &udp(7, 53, b"q"));
    let too_big = ipv6(58, &bytes(&[&[2, 0, 0, 0, 0, 0, 5, 0], &about]));
    let message = icmp(&read_ip(&too_big));
    assert_eq!(message.mtu, Some(1280));
    assert_eq!(message.quoted.map(|quoted| quoted.tuple.destination.port()), Some(53));
    let no_quote = ipv4(IpProtocol::ICMP, &[3, 1, 0, 0, 0, 0, 0, 0]);
    assert_eq!(icmp(&read_ip(&no_quote)).quoted, None);
}

fn wrapped(flags: u8, inner: &[u8]) -> Vec<u8> {
    let mut tunnelled = vxlan(77, inner);
    tunnelled[0] = flags;
    ethernet(IPV4, &ipv4(IpProtocol::UDP, &udp(51_000, 8472, &tunnelled)))
}

#[test]
fn a_logged_packet_begins_with_ip_and_keeps_its_length() {
    let whole = ipv4(IpProtocol::TCP, &syn(&[1; 50]));
    let (at, interface) = (UnixNanos::ZERO, InterfaceId(1));
    let packet = decode_ip(at, interface, Direction::Inbound, &whole[..64], &Settings::default()).unwrap();
    assert_eq!((packet.ip_len, packet.frame_len, packet.truncated), (110, 110, true));
    assert_eq!(tcp(&packet).payload_len, 50);
}

/// Whatever a cut packet still tells is what the whole one tells.
#[test]
fn cut_at_every_byte() {
    let echo = [8, 0, 0, 0, 0, 1, 0, 1, 1, 2, 3];
    let inner = ethernet(IPV4, &ipv4(IpProtocol::TCP, &syn(b"payload")));
    let error = bytes(&[&[3, 1, 0, 0, 0, 0, 0, 0], &ipv4(IpProtocol::TCP, &syn(b""))]);
    for whole in [
        ethernet(IPV4, &ipv4(IpProtocol::TCP, &syn(b"payload"))),
        ethernet(IPV6, &ipv6(0, &bytes(&[&[17, 0, 1, 4, 0, 0, 0, 0], &udp(1, 2, b"payload")]))),
        ethernet(IPV4, &ipv4(IpProtocol::ICMP, &echo)),
        ethernet(IPV4, &ipv4(IpProtocol::ICMP, &error)),
        ethernet(IPV4, &ipv4(IpProtocol::SCTP, &[9; 30])),
        wrapped(8, &inner),
    ] {
        let full = read(LinkType::ETHERNET, &whole).unwrap();
        assert!(!full.truncated);
        for len in 0..whole.len() {
            let cut = Frame {
                original_len: u32::try_from(whole.len()).unwrap(),
                ..frame(LinkType::ETHERNET, &whole[..len])
            };
            match decode(&cut, &Settings::default()) {
                Err(reason) => assert_eq!(reason, Undecodable::Truncated, "cut at {len}"),
                Ok(packet) if packet.tunnel != full.tunnel => {
                    assert_eq!(packet.tuple.destination.port(), 8472);
                }
                Ok(packet) if matches!(packet.transport, Transport::Other { .. }) => {
                    assert!(packet.truncated && packet.tuple == full.tuple);
                }
                Ok(packet) => same_but_cut(&packet, &full),
            }
        }
    }
}

fn same_but_cut(cut: &Packet<'_>, full: &Packet<'_>) {
    assert!(cut.truncated);
    assert_eq!((cut.tuple, cut.ip_len, cut.frame_len), (full.tuple, full.ip_len, full.frame_len));
    assert_eq!(payload(cut).1, payload(full).1);
    assert!(payload(full).0.starts_with(payload(cut).0));
}

fn payload<'a>(packet: &Packet<'a>) -> (&'a [u8], u32) {
    match packet.transport {
        Transport::Tcp(tcp) => (tcp.payload, tcp.payload_len),
        Transport::Udp { payload, payload_len } => (payload, payload_len),
        Transport::Sctp { payload_len, .. } | Transport::Other { payload_len } => (&[], payload_len),
        Transport::Icmp(_) => (&[], 0),
    }
}

pub(super) fn consistent(packet: &Packet<'_>) {
    let (captured, len) = payload(packet);
    assert!(captured.len() as u64 <= u64::from(len));
    assert!(len <= packet.ip_len);
    assert!(packet.tunnel.is_some() || packet.ip_len <= packet.frame_len);
    let carries_bytes = matches!(packet.transport, Transport::Tcp(_) | Transport::Udp { .. });
    if carries_bytes && !packet.truncated {
        assert_eq!(captured.len() as u64, u64::from(len));
    }
}

const LINKS: [u16; 11] = [0, 1, 12, 101, 108, 113, 228, 229, 239, 253, 276];

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(
        link in prop::sample::select(&LINKS[..]),
        bytes in prop::collection::vec(any::<u8>(), 0..400),
        more in 0_u32..70_000,
    ) {
        let frame = Frame { original_len: more, ..frame(LinkType(link), &bytes) };
        if let Ok(packet) = decode(&frame, &Settings::default()) {
            consistent(&packet);
        }
        if let Ok(packet) =
            decode_ip(frame.at, frame.interface, frame.direction, &bytes, &Settings::default())
        {
            consistent(&packet);
        }
    }

    /// Random bytes seldom get past the link header: here they hit a good packet.
    #[test]
    fn any_damage_is_read_or_refused(
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        which in 0_usize..5,
        len in any::<prop::sample::Index>(),
    ) {
        let inner = ethernet(IPV4, &ipv4(IpProtocol::TCP, &syn(b"payload")));
        let error = bytes(&[&[3, 1, 0, 0, 0, 0, 0, 0], &ipv4(IpProtocol::TCP, &syn(b""))]);
        let mut packet = match which {
            0 => inner,
            1 => wrapped(8, &inner),
            2 => ethernet(IPV6, &ipv6(0, &bytes(&[&[44, 0, 1, 4, 0, 0, 0, 0], &[17; 8], &syn(b"abc")]))),
            3 => ethernet(IPV4, &ipv4(IpProtocol::ICMP, &error)),
            _ => ethernet(IPV4, &ipv4_with(132, 0, &[7; 12], &[9; 30])),
        };
        for (at, value) in damage {
            let at = at.index(packet.len());
            packet[at] = value;
        }
        let cut = &packet[..=len.index(packet.len())];
        let frame = Frame {
            original_len: u32::try_from(packet.len()).unwrap(),
            ..frame(LinkType::ETHERNET, cut)
        };
        if let Ok(packet) = decode(&frame, &Settings::default()) {
            consistent(&packet);
        }
    }
}

#[test]
fn neighbour_discovery_and_memberships_are_about_the_link() {
    let about_the_link = |bytes: &[u8]| {
        let at = UnixNanos::from_nanos(1);
        decode_ip(at, InterfaceId(1), Direction::Inbound, bytes, &Settings::default())
            .unwrap()
            .is_about_the_link()
    };
    let message = |kind: u8| [kind, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    for kind in [131, 133, 134, 135, 136] {
        assert!(about_the_link(&ipv6(IpProtocol::ICMPV6.0, &message(kind))), "type {kind}");
    }
    // A report of MLDv2 behind its hop-by-hop header with the router alert.
    let report = bytes(&[&[IpProtocol::ICMPV6.0, 0, 5, 2, 0, 0, 1, 0], &message(143)]);
    assert!(about_the_link(&ipv6(0, &report)));
    assert!(about_the_link(&ipv4(IpProtocol::IGMP, &message(0x16))));
    for kind in [1, 2, 128, 129] {
        assert!(!about_the_link(&ipv6(IpProtocol::ICMPV6.0, &message(kind))), "type {kind}");
    }
    assert!(!about_the_link(&ipv4(IpProtocol::ICMP, &message(8))));
}
