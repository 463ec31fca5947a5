//! The table and its timers stay small, whatever comes and whatever the clock does.

use super::*;

#[test]
fn a_full_table_ends_the_idle_and_says_so() {
    let mut world = World::with(Settings { max_connections: 10, ..Settings::default() });
    for port in 1..=1000_u32 {
        world.tcp(VETH, Direction::Inbound, tuple(&format!("10.244.1.5:{port}"), VIP), SYN, (port * 77, 0));
        assert!(world.tracker.len() <= 10);
    }
    assert_eq!(world.tracker.stats().evicted, 990);
    assert_eq!(world.told.iter().filter(|told| told.state == State::Evicted).count(), 990 * 2);
}

#[test]
fn clocks_that_jump_do_not_wedge_a_timer() {
    let mut world = World::new();
    world.leaves(CLIENT, SYN, (100, 0));
    world.now += 1000 * 86_400 * SECOND;
    world.leaves("10.244.1.5:40001", SYN, (200, 0));
    world.now = 5 * SECOND;
    world.leaves("10.244.1.5:40002", SYN, (300, 0));
    world.wait(100 * SECOND);
    world.wait(100 * SECOND);
    assert_eq!(world.ends().len(), 3, "{:#?}", world.told);
    assert!(world.tracker.is_empty());
}

#[test]
fn timers_of_ended_connections_do_not_pile_up() {
    let mut world = World::new();
    for number in 1..=3000_u32 {
        let client = format!("10.244.1.5:{}", 10_000 + number);
        world.leaves(&client, SYN, (number * 77, 0));
        world.returns(&client, SYN_ACK, (900, number * 77 + 1));
        // Told and quiet, so its timer is set to the idle time of two hours; then it ends.
        world.wait(60_000_000);
        world.leaves(&client, RST_ACK, (number * 77 + 1, 901));
        world.wait(SECOND);
    }
    assert!(world.tracker.timers.len() < 1200, "{} timers", world.tracker.timers.len());
    world.wait(20 * SECOND);
    assert_eq!(world.ends().len(), 3000);
    assert!(world.tracker.is_empty());
}
