//! Datagrams in pieces: all of them are the connection's, which only the first one names.

use super::*;

fn piece(world: &mut World, tuple: Tuple, id: u32, fragment: Fragment) {
    world.now += 10_000;
    let transport = match fragment {
        Fragment::Later => Transport::Other { payload_len: 1000 },
        _ => Transport::Udp { payload: b"the beginning", payload_len: 1472 },
    };
    let bare = |end: SocketAddr| SocketAddr::new(end.ip(), 0);
    let later = Tuple { source: bare(tuple.source), destination: bare(tuple.destination), ..tuple };
    let packet = Packet {
        at: UnixNanos::from_nanos(world.now),
        interface: InterfaceId(VETH.0),
        direction: Direction::Inbound,
        frame_len: 1034,
        ethernet: None,
        tuple: if fragment == Fragment::Later { later } else { tuple },
        ip_len: 1020,
        ip_id: Some(id),
        ttl: 64,
        fragment,
        transport,
        vlans: Vlans::default(),
        tunnel: None,
        wrappings: Wrappings::default(),
        opaque: None,
        truncated: false,
    };
    world.feed(|tracker, sink| tracker.packet(&packet, VETH.1, sink));
}

#[test]
fn later_pieces_count_for_the_connection_of_the_first() {
    let mut world = World::new();
    let call = Tuple { protocol: IpProtocol::UDP, ..tuple(CLIENT, BACKEND) };
    piece(&mut world, call, 9, Fragment::Later);
    assert_eq!((world.tracker.stats().unmatched, world.tracker.len()), (1, 0), "before the first piece");
    for id in [9, 10] {
        piece(&mut world, call, id, Fragment::First);
        piece(&mut world, call, id, Fragment::Later);
        piece(&mut world, call, id, Fragment::Later);
    }
    piece(&mut world, call, 11, Fragment::Later);
    assert_eq!(world.tracker.stats().unmatched, 2, "a datagram whose beginning was not seen");
    world.wait(31 * SECOND);
    let ends = world.ends();
    assert_eq!((ends.len(), ends[0].packets), (1, (6, 0)));
    let connection = world.tracker.find(super::super::ConnectionId(1)).unwrap();
    assert_eq!(connection.total().forward.payload_bytes, 2 * (1472 + 2000));
    piece(&mut world, call, 10, Fragment::Later);
    assert_eq!(world.tracker.stats().unmatched, 3, "its connection is over");
}

#[test]
fn datagrams_in_pieces_are_remembered_within_bounds() {
    let mut world = World::new();
    let call = Tuple { protocol: IpProtocol::UDP, ..tuple(CLIENT, BACKEND) };
    for id in 0..5000 {
        piece(&mut world, call, id, Fragment::First);
    }
    piece(&mut world, call, 5000 - 4096 - 1, Fragment::Later);
    assert_eq!(world.tracker.stats().unmatched, 1);
    piece(&mut world, call, 5000 - 4096, Fragment::Later);
    assert_eq!(world.tracker.stats().unmatched, 1);
}
