//! Two calls that look alike are two calls: equal answers of two servers, and a scanner's equal SYNs.

use super::*;

const OTHER: &str = "10.244.2.9:53";
const HERE: &str = "10.244.1.9:53";
/// A file's device: nobody knows what it is.
const UPSTREAM: (u32, Role) = (9, Role::Unknown);
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
        let tcp = Tcp { sequence: 77, flags: TcpFlags(SYN), ..SEGMENT };
        let called = tuple(CLIENT, &format!("10.244.2.7:{port}"));
        let packet = world.packet(UPSTREAM, Direction::Unknown, called, Transport::Tcp(tcp));
        world.take(&Packet { ttl, ip_id: Some(port), ..packet }, UPSTREAM.1);
    }
    world.wait(100 * SECOND);
    assert_eq!(world.ends().len(), 6, "{:#?}", world.told);
    assert!(world.ends().iter().all(|end| end.nat.is_none()));
}
