//! Two calls that look alike are two calls: equal answers of two servers, and a scanner's equal SYNs.

use super::*;

const OTHER: &str = "10.244.2.9:53";
const HERE: &str = "10.244.1.9:53";
const ASKER: &str = "10.244.1.5:40000";

fn datagram(source: &str, destination: &str) -> Tuple {
    Tuple { protocol: IpProtocol::UDP, ..tuple(source, destination) }
}

fn says(world: &mut World, device: (u32, Role), direction: Direction, tuple: Tuple, payload: &[u8]) {
    let payload_len = u32::try_from(payload.len()).unwrap();
    world.seen(device, direction, tuple, Transport::Udp { payload, payload_len });
}

#[test]
fn one_question_to_two_servers_whose_answers_are_equal_is_two_connections() {
    let mut world = World::new();
    let (question, answer) = (b"who is it then".as_slice(), b"it is nobody at all".as_slice());
    for (server, device) in [(HERE, PEER_VETH), (OTHER, FLANNEL)] {
        says(&mut world, VETH, Direction::Inbound, datagram(ASKER, server), question);
        says(&mut world, device, Direction::Outbound, datagram(ASKER, server), question);
    }
    for (server, device) in [(HERE, PEER_VETH), (OTHER, FLANNEL)] {
        says(&mut world, device, Direction::Inbound, datagram(server, ASKER), answer);
        says(&mut world, VETH, Direction::Outbound, datagram(server, ASKER), answer);
    }
    world.wait(40 * SECOND);
    let ends = world.ends();
    assert_eq!(ends.len(), 2, "{ends:#?}");
    for end in ends {
        assert_eq!((end.packets, end.nat), ((1, 1), None), "{end:#?}");
    }
}

#[test]
fn a_scanners_syns_with_one_number_and_any_hops_are_as_many_connections() {
    let mut world = World::new();
    for (port, ttl) in [(21, 48), (22, 57), (23, 39), (25, 55), (80, 41), (443, 44)] {
        world.now += 10_000;
        let tcp = Tcp { sequence: 77, flags: TcpFlags(SYN), window: 1024, ..NO_SEGMENT };
        let packet = Packet {
            at: UnixNanos::from_nanos(world.now),
            interface: InterfaceId(9),
            direction: Direction::Unknown,
            frame_len: 58,
            ethernet: None,
            tuple: tuple(CLIENT, &format!("10.244.2.7:{port}")),
            ip_len: 44,
            ip_id: Some(port),
            ttl,
            fragment: Fragment::Whole,
            transport: Transport::Tcp(tcp),
            vlans: Vlans::default(),
            tunnel: None,
            wrappings: Wrappings::default(),
            opaque: None,
            truncated: false,
        };
        world.feed(|tracker, sink| tracker.packet(&packet, Role::Unknown, sink));
    }
    world.wait(100 * SECOND);
    assert_eq!(world.ends().len(), 6, "{:#?}", world.told);
    assert!(world.ends().iter().all(|end| end.nat.is_none()));
}

const NO_SEGMENT: Tcp<'static> = Tcp {
    sequence: 0,
    acknowledgement: 0,
    flags: TcpFlags(0),
    window: 0,
    mss: None,
    timestamps: None,
    payload: &[],
    payload_len: 0,
};
