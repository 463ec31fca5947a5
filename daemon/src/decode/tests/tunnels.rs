//! What the drawn frames do not reach: damaged and unusual tunnel headers, quotes, opaque tunnels, long packets in tunnels.

use super::*;

const GRE: IpProtocol = IpProtocol::GRE;

fn names(packet: &Packet<'_>) -> Vec<(&'static str, u32)> {
    packet.wrappings.tunnels().map(|tunnel| (tunnel.protocol.name(), tunnel.vni)).collect()
}

fn query() -> Vec<u8> {
    ipv4(IpProtocol::UDP, &udp(1000, 53, b"abc"))
}

#[test]
fn gre_of_every_use() {
    let ppp = [0x30, 0x81, 0x88, 0x0b, 0, 0, 0, 9, 0, 0, 0, 1, 0, 0, 0, 2, 0xff, 3, 0, 0x21];
    let cases: [(&[u8], u32); 4] = [
        (&ppp, 0),
        (&[0x20, 0, 8, 0, 0xff, 0xff, 0xff, 0xff], u32::MAX),
        (&[0, 0, 0x88, 0x3e], 0),
        (&[0, 0, 0x88, 0x3e, 0, 1, 2, 3], 0),
    ];
    for (header, key) in cases {
        let bytes = ipv4(GRE, &bytes(&[header, &query()]));
        let packet = read_ip(&bytes);
        assert_eq!((names(&packet), packet.tuple), (vec![("gre", key)], tuple(IpProtocol::UDP, 1000, 53)));
    }
}

#[test]
fn labels_in_ip_and_in_udp() {
    let labelled = bytes(&[&[0, 1, 1, 64], &query()]);
    for (protocol, payload) in
        [(IpProtocol::MPLS, labelled.clone()), (IpProtocol::UDP, udp(50_000, 6635, &labelled))]
    {
        let bytes = ipv4(protocol, &payload);
        assert_eq!(names(&read_ip(&bytes)), [("mpls", 0)]);
    }
}

#[test]
fn what_is_no_tunnel_stays_the_outer_packet() {
    let refused: [&[u8]; 8] = [
        &[0x40, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0],    // routing
        &[0, 2, 8, 0],                               // version
        &[0x20, 0, 8, 0, 0, 0],                      // cut key
        &[0, 0, 0, 60],                              // no Ethernet type
        &[0x10, 0, 0x88, 0xbe, 0, 0, 0, 1, 0x20],    // ERSPAN II of another version
        &[0x10, 0, 0x22, 0xeb, 0, 0, 0, 1, 0x20, 0], // ERSPAN III cut
        &[0, 0, 0x65, 0x58, 1, 2, 3],                // a frame cut
        &[],
    ];
    for header in refused {
        let bytes = ipv4(GRE, header);
        let packet = read_ip(&bytes);
        assert_eq!((packet.tunnel, packet.tuple.protocol), (None, GRE), "{header:02x?}");
    }
    let wrong_version = ipv4(IpProtocol::IPV4, &ipv6(17, &udp(1, 2, b"")));
    assert_eq!(read_ip(&wrong_version).tunnel, None);
    let geneve_of_version_1 = udp(50_000, 6081, &bytes(&[&[0x40, 0, 8, 0, 0, 0, 1, 0], &query()]));
    assert_eq!(read_ip(&ipv4(IpProtocol::UDP, &geneve_of_version_1)).tunnel, None);
    let network_service_header = udp(50_000, 4790, &bytes(&[&[0x0c, 0, 0, 4, 0, 0, 1, 0], &query()]));
    assert_eq!(read_ip(&ipv4(IpProtocol::UDP, &network_service_header)).tunnel, None);
}

#[test]
fn vxlan_with_its_extensions_on_its_ports() {
    let group_policy = bytes(&[&[0x88, 0, 0x12, 0x34, 0, 0, 7, 0], &ethernet(IPV4, &query())]);
    let next_protocol = bytes(&[&[0x0c, 0, 0, 1, 0, 0, 7, 0], &query()]);
    for (payload, name) in [(&group_policy, "vxlan"), (&next_protocol, "vxlan-gpe")] {
        for ports in [(50_000, 4789), (50_000, 6784), (4789, 50_000)] {
            let bytes = ipv4(IpProtocol::UDP, &udp(ports.0, ports.1, payload));
            assert_eq!(names(&read_ip(&bytes)), [(name, 7)]);
        }
    }
    let bytes = ipv4(IpProtocol::UDP, &udp(50_000, 7000, &group_policy));
    let settings = Settings { vxlan_ports: vec![7000], ..Settings::default() };
    assert_eq!(names(&decode(&frame(LinkType::RAW, &bytes), &settings).unwrap()), [("vxlan", 7)]);
}

#[test]
fn authenticated_packets_are_read_in_both_versions() {
    let header = |next: u8| bytes(&[&[next, 4, 0, 0, 0, 0, 0, 7, 0, 0, 0, 1], &[0xaa; 12]]);
    let four = ipv4(IpProtocol::AH, &bytes(&[&header(17), &udp(1000, 53, b"abc")]));
    assert_eq!(read_ip(&four).tuple, tuple(IpProtocol::UDP, 1000, 53));
    let six = ipv6(51, &bytes(&[&header(17), &udp(1000, 53, b"abc")]));
    assert_eq!(read_ip(&six).tuple.destination.port(), 53);
    let tunnel_mode = ipv4(IpProtocol::AH, &bytes(&[&header(4), &query()]));
    assert_eq!(names(&read_ip(&tunnel_mode)), [("ipip", 0)]);
    let endless = ipv4(IpProtocol::AH, &header(51).repeat(20));
    assert_eq!(read(LinkType::RAW, &endless).unwrap_err(), Undecodable::Malformed);
}

#[test]
fn opaque_tunnels_stay_packets_between_their_nodes() {
    let wireguard = |kind: u8, len: usize| {
        let mut message = vec![0x5a; len];
        message[..4].copy_from_slice(&[kind, 0, 0, 0]);
        message
    };
    let cases: [(u16, Vec<u8>, Option<Opaque>); 9] = [
        (40_000, wireguard(1, 148), Some(Opaque::WireGuard)),
        (40_000, wireguard(2, 92), Some(Opaque::WireGuard)),
        (40_000, wireguard(3, 64), Some(Opaque::WireGuard)),
        (40_000, wireguard(1, 149), None),
        (51_871, wireguard(4, 128), Some(Opaque::WireGuard)),
        (51_820, wireguard(4, 120), None),
        (40_000, wireguard(4, 128), None),
        (4500, vec![0x12; 40], Some(Opaque::Esp)),
        (4500, vec![0; 40], None),
    ];
    for (port, message, opaque) in cases {
        let bytes = ipv4(IpProtocol::UDP, &udp(41_000, port, &message));
        let packet = read_ip(&bytes);
        let length = message.len();
        assert_eq!((packet.opaque, packet.tunnel), (opaque, None), "{port} {length} {}", message[0]);
    }
    let esp = ipv4(IpProtocol::ESP, &[7; 60]);
    assert_eq!((read_ip(&esp).opaque, read_ip(&esp).tuple.protocol), (Some(Opaque::Esp), IpProtocol::ESP));
}

/// A router's error about a tunnel's packet is about the packet in it, if the quote reaches so far.
#[test]
fn quotes_are_followed_into_tunnels() {
    let inner = ethernet(IPV4, &ipv4(IpProtocol::TCP, &syn(b"")));
    let outer = ipv4(IpProtocol::UDP, &udp(51_000, 8472, &vxlan(7, &inner)));
    let error = |quote: &[u8]| ipv4(IpProtocol::ICMP, &bytes(&[&[3, 4, 0, 0, 0, 0, 5, 0x78], quote]));
    let quoted = |bytes: &[u8]| icmp(&read_ip(bytes)).quoted.unwrap();
    let whole = quoted(&error(&outer));
    assert_eq!((whole.tuple, whole.tcp_sequence), (tuple(IpProtocol::TCP, 40_000, 80), Some(5)));
    let short = quoted(&error(&outer[..28]));
    assert_eq!((short.tuple, short.tcp_sequence), (tuple(IpProtocol::UDP, 51_000, 8472), None));
    let in_gre = ipv4(GRE, &bytes(&[&[0x20, 0, 8, 0, 0, 0, 0, 9], &ipv4(IpProtocol::TCP, &syn(b""))]));
    assert_eq!(quoted(&error(&in_gre)).tuple, tuple(IpProtocol::TCP, 40_000, 80));
    let extended = ipv6(60, &bytes(&[&[6, 0, 1, 4, 0, 0, 0, 0], &syn(b"")]));
    let error6 = ipv6(58, &bytes(&[&[1, 4, 0, 0, 0, 0, 0, 0], &extended]));
    assert_eq!(quoted(&error6).tuple.destination.port(), 80);
    let inside = ipv4(IpProtocol::UDP, &udp(51_000, 8472, &vxlan(7, &ethernet(IPV4, &error(&in_gre)))));
    let packet = read_ip(&inside);
    assert_eq!(
        (names(&packet), icmp(&packet).quoted.map(|quoted| quoted.tuple.protocol)),
        (vec![("vxlan", 7)], Some(IpProtocol::TCP))
    );
}

#[test]
fn chunks_of_an_association() {
    let chunk = |kind: u8, value: &[u8]| {
        let mut padded = value.to_vec();
        padded.resize(value.len().next_multiple_of(4), 0);
        bytes(&[&[kind, 0], &u16::try_from(value.len() + 4).unwrap().to_be_bytes(), &padded])
    };
    let header = [0, 9, 0, 10, 0, 0, 0, 0, 0, 0, 0, 0];
    let bytes = ipv4(IpProtocol::SCTP, &bytes(&[&header, &chunk(10, b"cookie!"), &chunk(0, &[7; 13])]));
    let Transport::Sctp { first_chunk, chunks, .. } = read_ip(&bytes).transport else { panic!() };
    assert_eq!(first_chunk, Some(Chunks::COOKIE_ECHO));
    assert!(chunks.has(Chunks::COOKIE_ECHO) && chunks.has(Chunks::DATA) && !chunks.has(Chunks::INIT));
    assert_eq!(Chunks::default().with(200), Chunks::default());
}

/// Segmentation offload leaves lengths of tunnels' headers 0, or what is left of them in 16 bits.
#[test]
fn super_packets_in_tunnels() {
    let mut inner = ethernet(IPV4, &ipv4(IpProtocol::TCP, &syn(b"data")));
    inner[16..18].fill(0);
    let mut outer = ethernet(IPV4, &ipv4(IpProtocol::UDP, &udp(51_000, 8472, &vxlan(7, &inner))));
    outer[16..18].fill(0);
    outer[38..40].fill(0);
    let big = Frame { original_len: 200_064, ..frame(LinkType::ETHERNET, &outer) };
    let packet = decode(&big, &Settings::default()).unwrap();
    assert_eq!((names(&packet), packet.ip_len, packet.truncated), (vec![("vxlan", 7)], 200_000, true));
    assert_eq!(tcp(&packet).payload_len, 200_000 - 60);
}

#[test]
fn the_packet_in_a_vxlan_is_the_packet() {
    let inner = ethernet(IPV6, &ipv6(6, &syn(b"hello")));
    let outer = wrapped(8, &inner);
    let packet = read(LinkType::ETHERNET, &outer).unwrap();
    assert_eq!(packet.tuple.destination, SocketAddr::new(SERVER6.into(), 80));
    assert_eq!((packet.ip_len, packet.frame_len), (85, 14 + 28 + 8 + 14 + 85));
    let tunnel = packet.tunnel.unwrap();
    assert_eq!((tunnel.protocol, tunnel.vni), (TunnelProtocol::Vxlan, 77));
    assert_eq!((tunnel.source, tunnel.destination), (CLIENT.into(), SERVER.into()));
    assert_eq!((tunnel.source_port, tunnel.destination_port), (51_000, 8472));
    let other_port = Settings { vxlan_ports: vec![4789], ..Settings::default() };
    assert!(decode(&frame(LinkType::ETHERNET, &outer), &other_port).unwrap().tunnel.is_none());
}

#[test]
fn what_cannot_be_opened_stays_the_outer_packet() {
    let inner = ethernet(IPV4, &ipv4(IpProtocol::UDP, &udp(1, 2, b"")));
    for (flags, inner) in [(0, &inner), (8, &vec![0; 6])] {
        let outer = wrapped(flags, inner);
        let packet = read(LinkType::ETHERNET, &outer).unwrap();
        assert_eq!((packet.tunnel, packet.tuple), (None, tuple(IpProtocol::UDP, 51_000, 8472)));
    }
}

#[test]
fn arp_in_a_tunnel_is_no_connection_between_nodes() {
    let outer = wrapped(8, &ethernet(0x0806, &[0; 28]));
    assert_eq!(read(LinkType::ETHERNET, &outer).unwrap_err(), Undecodable::Arp);
}

#[test]
fn tunnels_in_tunnels_end() {
    let mut bytes = ethernet(IPV4, &ipv4(IpProtocol::UDP, &udp(1, 2, b"")));
    for _ in 0..20 {
        bytes = wrapped(8, &bytes);
    }
    assert_eq!(read(LinkType::ETHERNET, &bytes).unwrap().tuple.destination.port(), 8472);
}

#[test]
fn a_fragmented_tunnel_still_tells_the_inner_lengths() {
    let inner = ethernet(IPV4, &ipv4(IpProtocol::TCP, &syn(&[7; 100])));
    let whole = udp(51_000, 8472, &vxlan(77, &inner));
    let first = ipv4_with(17, 0x2000, &[], &whole[..120]);
    let packet = read_ip(&first);
    assert_eq!((packet.tuple, packet.ip_len), (tuple(IpProtocol::TCP, 40_000, 80), 160));
    assert_eq!((tcp(&packet).payload_len, packet.truncated), (100, true));
}
