//! Datagrams in pieces: all of them are the connection's, which only the first one names.

use super::*;

fn piece(world: &mut World, tuple: Tuple, id: u32, fragment: Fragment) {
    piece_on(world, VETH, tuple, id, fragment);
}

fn piece_on(world: &mut World, device: (u32, Role), tuple: Tuple, id: u32, fragment: Fragment) {
    let bare = |end: SocketAddr| SocketAddr::new(end.ip(), 0);
    let (tuple, transport) = match fragment {
        Fragment::Later => {
            let bare = Tuple { source: bare(tuple.source), destination: bare(tuple.destination), ..tuple };
            (bare, Transport::Other { payload_len: 1000 })
        }
        _ => (tuple, Transport::Udp { payload: b"the beginning", payload_len: 1472 }),
    };
    let direction = if device == VETH { Direction::Inbound } else { Direction::Outbound };
    let packet = world.packet(device, direction, tuple, transport);
    world.take(&Packet { frame_len: 1034, ip_len: 1020, ip_id: Some(id), fragment, ..packet }, device.1);
}

#[test]
fn later_pieces_count_for_the_connection_of_the_first() {
    let mut world = World::new();
    let call = Tuple { protocol: IpProtocol::UDP, ..tuple(CLIENT, BACKEND) };
    piece(&mut world, call, 9, Fragment::Later);
    assert_eq!(world.tracker.len(), 0, "a piece begins no connection");
    for id in [9, 10] {
        piece(&mut world, call, id, Fragment::First);
        piece(&mut world, call, id, Fragment::Later);
        piece(&mut world, call, id, Fragment::Later);
    }
    piece(&mut world, call, 11, Fragment::Later);
    assert_eq!(world.tracker.stats().unmatched, 0, "its first piece may come yet");
    world.wait(31 * SECOND);
    assert_eq!(world.tracker.stats().unmatched, 1, "a datagram whose beginning was not seen");
    let ends = world.ends();
    assert_eq!((ends.len(), ends[0].packets), (1, (7, 0)));
    let connection = world.tracker.find(super::super::ConnectionId(1)).unwrap();
    assert_eq!(connection.total().forward.payload_bytes, 2 * (1472 + 2000) + 1000);
    piece(&mut world, call, 10, Fragment::Later);
    world.wait(31 * SECOND);
    assert_eq!(world.tracker.stats().unmatched, 2, "its connection is over");
}

#[test]
fn datagrams_in_pieces_are_remembered_within_bounds() {
    let mut world = World::new();
    let call = Tuple { protocol: IpProtocol::UDP, ..tuple(CLIENT, BACKEND) };
    for id in 0..5000 {
        piece(&mut world, call, id, Fragment::First);
    }
    let packets = |world: &World| {
        let connection = world.tracker.find(super::super::ConnectionId(1)).unwrap();
        connection.total().forward.packets
    };
    piece(&mut world, call, 5000 - 4096 - 1, Fragment::Later);
    assert_eq!(packets(&world), 5000);
    piece(&mut world, call, 5000 - 4096, Fragment::Later);
    assert_eq!(packets(&world), 5001);
}

#[test]
fn pieces_that_wait_for_their_first_are_within_bounds() {
    let mut world = World::new();
    let call = Tuple { protocol: IpProtocol::UDP, ..tuple(CLIENT, BACKEND) };
    for id in 0..1030 {
        piece(&mut world, call, id, Fragment::Later);
    }
    assert_eq!(world.tracker.stats().unmatched, 6);
}

/// The first piece of a tunnel's datagram holds the packet inside; the later ones know only the two nodes.
#[test]
fn later_pieces_of_a_tunnel_count_for_the_connection_in_it() {
    let node = |last| std::net::Ipv4Addr::new(192, 168, 0, last);
    let ip = |fragment: u16, payload: &[u8]| {
        let mut header = etherparse::Ipv4Header::new(
            u16::try_from(payload.len()).unwrap(),
            64,
            etherparse::IpNumber::UDP,
            node(1).octets(),
            node(2).octets(),
        )
        .unwrap();
        header.identification = 77;
        header.dont_fragment = false;
        header.more_fragments = fragment == 0;
        header.fragment_offset = fragment.try_into().unwrap();
        [&header.to_bytes()[..], payload].concat()
    };
    let mut inner = Vec::new();
    etherparse::PacketBuilder::ethernet2([2; 6], [4; 6])
        .ipv4([10, 244, 1, 5], [10, 244, 2, 9], 64)
        .udp(4000, 9000)
        .write(&mut inner, &[7; 400])
        .unwrap();
    let vxlan = [&[8, 0, 0, 0, 0, 0, 1, 0][..], &inner].concat();
    let udp = etherparse::UdpHeader::without_ipv4_checksum(50_000, 8472, vxlan.len()).unwrap();
    let whole = [&udp.to_bytes()[..], &vxlan].concat();
    let pieces = [ip(0, &whole[..200]), ip(25, &whole[200..])];
    for order in [[0, 1], [1, 0]] {
        let mut world = World::new();
        for piece in order {
            world.now += 10_000;
            let packet = crate::decode::decode_ip(
                UnixNanos::from_nanos(world.now),
                InterfaceId(ETH0.0),
                Direction::Outbound,
                &pieces[piece],
                &crate::decode::Settings::default(),
            )
            .unwrap();
            world.feed(|tracker, sink| tracker.packet(&packet, ETH0.1, sink));
        }
        let connection = world.tracker.find(super::super::ConnectionId(1)).unwrap();
        assert_eq!(connection.forms[0].destination.port(), 9000);
        assert_eq!((world.tracker.len(), connection.path.len()), (1, 1));
        let seen = connection.path[0].tunnels.seen();
        assert_eq!((seen.len(), seen[0].packets, seen[0].tunnel.vni), (1, 2, 1));
        assert_eq!(connection.total().forward.packets, 2);
    }
}

#[test]
fn pieces_are_where_they_are_seen_bare_and_in_a_tunnel() {
    let mut world = World::new();
    let call = Tuple { protocol: IpProtocol::UDP, ..tuple(CLIENT, BACKEND) };
    for fragment in [Fragment::First, Fragment::Later] {
        for device in [VETH, FLANNEL, ETH0] {
            piece_on(&mut world, device, call, 9, fragment);
        }
    }
    let connection = world.tracker.find(super::super::ConnectionId(1)).unwrap();
    assert_eq!(connection.total().forward.packets, 2);
    let passed: Vec<_> = connection
        .path
        .iter()
        .map(|point| (point.interface.0, point.tunnels.is_empty(), point.counters.forward.packets))
        .collect();
    assert_eq!(passed, [(VETH.0, true, 2), (FLANNEL.0, true, 2), (ETH0.0, false, 2)]);
}
