//! A connection that was packed while nothing happened to it is what it was before, to the last field.

use super::*;

/// Conversations with a second between their packets, so that each rests between any two; all that is told of them.
fn told(rest_from: usize) -> Vec<String> {
    let mut world = World::with(Settings { rest_from, ..Settings::default() });
    let mut told = Vec::new();
    for number in 0..40_u32 {
        let client = format!("10.244.1.{}:40000", number % 20 + 1);
        let (called, behind) = (tuple(&client, VIP), tuple(&client, BACKEND));
        let flags = [SYN, ACK, if number % 5 == 4 { RST_ACK } else { ACK }, FIN_ACK][number as usize / 10];
        let sequence = (100 + number, 900);
        let steps = [(VETH, Direction::Inbound, called), (FLANNEL, Direction::Outbound, behind)];
        let tunnelled = [(ETH0, Direction::Outbound, behind)];
        for (device, direction, tuple) in steps.into_iter().chain(tunnelled) {
            world.tcp(device, direction, tuple, flags, sequence);
            world.now += 7 * SECOND / 3;
            world.tcp(
                device,
                opposite(direction),
                tuple.reversed(),
                flags | ACK,
                (sequence.1, sequence.0 + 1),
            );
        }
        world.now += 11 * SECOND * u64::from(number % 3);
        let now = UnixNanos::from_nanos(world.now);
        world.tracker.advance(now, &mut |event| told.push(format!("{event:?}")));
    }
    world.tracker.finish(&mut |event| told.push(format!("{event:?}")));
    told.extend(world.told.iter().map(|told| format!("{told:?}")));
    told
}

fn opposite(direction: Direction) -> Direction {
    if direction == Direction::Inbound { Direction::Outbound } else { Direction::Inbound }
}

#[test]
fn what_is_told_is_the_same_with_rest_and_without() {
    let (awake, rested) = (told(usize::MAX), told(0));
    assert!(awake.len() > 100, "{}", awake.len());
    for (awake, rested) in awake.iter().zip(&rested) {
        assert_eq!(awake, rested);
    }
    assert_eq!(awake.len(), rested.len());
}

#[test]
fn a_resting_connection_is_small() {
    let mut world = World::new();
    world.tcp(VETH, Direction::Inbound, tuple(CLIENT, BACKEND), SYN, (100, 0));
    world.tcp(VETH, Direction::Outbound, tuple(BACKEND, CLIENT), SYN_ACK, (900, 101));
    let now = UnixNanos::from_nanos(world.now + SECOND);
    world.tracker.advance(now, &mut |_| {});
    let room = world.tracker.connections.resting_bytes();
    assert!((1..=256).contains(&room), "{room} bytes");
}
