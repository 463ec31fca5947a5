//! Loads of many shapes against the governor, second by second.

use super::*;

/// A load that costs so many thousandths of a core at each level.
struct Load {
    governor: Governor,
    cpu: Duration,
    now: Duration,
}

impl Load {
    fn new(budget: Budget) -> Self {
        Self { governor: Governor::new(budget), cpu: Duration::ZERO, now: Duration::from_secs(100) }
    }

    /// Seconds pass, a look each. Gives the changes, with the second of each.
    fn pass(
        &mut self,
        seconds: u64,
        cost: impl Fn(Detail) -> u64,
        resident_bytes: u64,
    ) -> Vec<(u64, Detail)> {
        let mut changes = Vec::new();
        for second in 0..seconds {
            self.now += Duration::from_secs(1);
            self.cpu += Duration::from_millis(cost(self.governor.detail()));
            let usage = Usage { cpu: self.cpu, resident_bytes };
            changes.extend(self.governor.look(self.now, usage).map(|detail| (second, detail)));
        }
        changes
    }
}

const HALF_A_CORE: Budget = Budget { cpu_thousandths: Some(500), resident_bytes: None };

#[test]
fn within_the_budget_everything_is_looked_at() {
    let mut load = Load::new(HALF_A_CORE);
    assert_eq!(load.pass(600, |_| 490, u64::MAX), []);
    assert!((480..=490).contains(&load.governor.cpu_thousandths()), "{}", load.governor.cpu_thousandths());
}

#[test]
fn without_a_budget_nothing_is_ever_left_out() {
    let mut load = Load::new(Budget::default());
    assert_eq!(load.pass(600, |_| 8_000, u64::MAX), []);
}

#[test]
fn levels_are_left_in_their_order_and_with_patience() {
    let mut load = Load::new(HALF_A_CORE);
    let changes = load.pass(60, |_| 2_000, 0);
    let details: Vec<Detail> = changes.iter().map(|(_, detail)| *detail).collect();
    assert_eq!(details, Detail::ALL[1..]);
    for pair in changes.windows(2) {
        assert!(pair[1].0 - pair[0].0 >= PATIENCE.as_secs(), "{changes:?}");
    }
}

#[test]
fn it_stops_at_the_level_that_suffices() {
    let mut load = Load::new(HALF_A_CORE);
    let cost = |detail| if detail >= Detail::NoTiming { 450 } else { 900 };
    load.pass(300, cost, 0);
    assert_eq!(load.governor.detail(), Detail::NoTiming, "450 is within 500, and no room for more");
}

#[test]
fn it_comes_back_when_the_load_is_over() {
    let mut load = Load::new(HALF_A_CORE);
    load.pass(60, |_| 2_000, 0);
    let changes = load.pass(600, |_| 10, 0);
    let details: Vec<Detail> = changes.iter().map(|(_, detail)| *detail).collect();
    assert_eq!(details, [Detail::Sampled, Detail::NoTiming, Detail::NoPayload, Detail::Full]);
    assert!(changes[0].0 >= RECOVERY.as_secs(), "{changes:?}");
}

#[test]
fn a_load_that_comes_back_with_the_detail_is_tried_again_less_and_less_often() {
    let mut load = Load::new(HALF_A_CORE);
    // Cheap on the first level, dear on the one above: it looks as if there were room.
    let cost = |detail| if detail == Detail::Full { 900 } else { 100 };
    let changes = load.pass(3_600, cost, 0);
    let tries: Vec<u64> =
        changes.iter().filter(|(_, detail)| *detail == Detail::Full).map(|(second, _)| *second).collect();
    assert!(tries.len() >= 4, "{changes:?}");
    let waits: Vec<u64> = tries.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(waits.windows(2).all(|pair| pair[1] >= pair[0]), "{waits:?}");
    assert!(waits[waits.len() - 1] >= 4 * waits[0], "{waits:?}");
    assert!(waits.iter().all(|wait| *wait <= LONGEST_RECOVERY.as_secs() + 60), "{waits:?}");
}

const MIB: u64 = 1 << 20;
const SIXTY_MIB: Budget = Budget { cpu_thousandths: None, resident_bytes: Some(60 * MIB) };

#[test]
fn memory_has_a_budget_of_its_own() {
    let mut load = Load::new(SIXTY_MIB);
    assert_eq!(load.pass(60, |_| 8_000, 59 * MIB), []);
    assert_eq!(load.pass(1, |_| 10, 61 * MIB), [(0, Detail::NoPayload)]);
}

/// Memory grows by a MiB a second from 61 on.
fn grow(load: &mut Load, seconds: u64) {
    (0..seconds).for_each(|second| drop(load.pass(1, |_| 10, (61 + second) * MIB)));
}

#[test]
fn memory_that_is_not_given_back_is_no_reason_to_stay() {
    let mut load = Load::new(SIXTY_MIB);
    assert_eq!(load.pass(29, |_| 10, 61 * MIB), [(0, Detail::NoPayload)], "it does not grow");
    let changes = load.pass(600, |_| 10, 61 * MIB);
    assert_eq!(changes.len(), 1, "and is as much as before: {changes:?}");
    assert_eq!(load.governor.detail(), Detail::Full);
}

#[test]
fn memory_that_grows_is_answered_until_connections_are_sampled() {
    let mut load = Load::new(SIXTY_MIB);
    grow(&mut load, 120);
    assert_eq!(load.governor.detail(), Detail::Sampled);
    let changes = load.pass(600, |_| 10, 181 * MIB);
    let details: Vec<Detail> = changes.iter().map(|(_, detail)| *detail).collect();
    assert_eq!(details, [Detail::NoTiming, Detail::NoPayload, Detail::Full], "{changes:?}");
    assert!(changes[0].0 >= RECOVERY.as_secs(), "{changes:?}");
}

#[test]
fn memory_that_grows_again_with_the_detail_is_tried_less_and_less_often() {
    let mut load = Load::new(SIXTY_MIB);
    let (mut resident, mut tries) = (61 * MIB, Vec::new());
    for second in 0..3_600 {
        let changes = load.pass(1, |_| 10, resident);
        tries.extend(changes.iter().filter(|(_, detail)| *detail == Detail::Full).map(|_| second));
        if load.governor.detail() == Detail::Full {
            resident += MIB;
        }
    }
    assert!(tries.len() >= 4, "{tries:?}");
    let waits: Vec<u64> = tries.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(waits.windows(2).all(|pair| pair[1] >= pair[0]), "{waits:?}");
    assert!(waits[waits.len() - 1] >= 4 * waits[0], "{waits:?}");
}

#[test]
fn memory_between_comfort_and_budget_is_room_once_it_does_not_grow() {
    let mut load = Load::new(SIXTY_MIB);
    load.pass(1, |_| 10, 61 * MIB);
    for mib in 43..59 {
        assert_eq!(load.pass(10, |_| 10, mib * MIB), [], "it grows: {mib} MiB");
    }
    assert_eq!(load.pass(60, |_| 10, 59 * MIB).len(), 1);
    assert_eq!(load.governor.detail(), Detail::Full);
    assert_eq!(load.pass(1, |_| 10, 61 * MIB), [(0, Detail::NoPayload)], "over it again, as the first time");
}

#[test]
fn the_processor_is_a_reason_for_less_than_memory_is() {
    let both = Budget { cpu_thousandths: Some(500), ..SIXTY_MIB };
    let mut load = Load::new(both);
    grow(&mut load, 60);
    assert_eq!(load.governor.detail(), Detail::Sampled);
    load.pass(30, |_| 2_000, 120 * MIB);
    assert_eq!(load.governor.detail(), Detail::CountersOnly);
}
