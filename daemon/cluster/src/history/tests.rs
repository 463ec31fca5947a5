//! The bounds of the past, against a model that keeps everything.

use proptest::prelude::*;

use super::*;

fn at(nanos: u64) -> UnixNanos {
    UnixNanos::from_nanos(nanos)
}

#[test]
fn a_change_and_its_undoing_at_one_time_leave_no_trace() {
    let mut history = History::new(HistoryLimits::default());
    history.set(&"a", Some(1), at(5));
    history.set(&"a", None, at(5));
    assert_eq!(history.at(&"a", at(5)), State::Never);
    assert_eq!((history.len(), history.size().ended), (0, 0));
}

#[test]
fn equal_values_are_one_state() {
    let mut history = History::new(HistoryLimits::default());
    for time in 1..10 {
        history.set(&"a", Some(1), at(time));
    }
    assert_eq!(history.size().ended, 0);
    assert_eq!(history.at(&"a", at(1)), State::Held(&1));
    assert_eq!(history.at(&"a", at(0)), State::Vacant(&1));
}

proptest! {
    /// Whatever is set, the bounds hold, the present is right, and so is all since `exact_since`.
    #[test]
    fn bounds_hold_and_what_is_kept_is_right(
        changes in prop::collection::vec((0..2_u64, 0..4_u8, prop::option::of(0..3_u8)), 0..120),
        entries in 0..12_usize,
        per_key in 0..5_usize,
    ) {
        let mut history = History::new(HistoryLimits { entries, per_key });
        let mut all: Vec<(u64, u8, Option<u8>)> = Vec::new();
        let mut now = 1;
        for (step, key, value) in changes {
            now += step;
            let forgotten = history.set(&key, value, at(now));
            prop_assert!(forgotten.iter().all(|(key, _)| *key < 4));
            all.push((now, key, value));
            prop_assert!(history.size().ended <= entries);
            prop_assert!(history.timelines.values().all(|timeline| timeline.entries.len() <= per_key + 1));
        }
        let since = history.size().exact_since.as_nanos();
        for time in since.max(1)..=now {
            for key in 0..4 {
                let last = all.iter().rev().find(|(from, of, _)| *from <= time && *of == key);
                let expected = last.and_then(|(_, _, value)| *value);
                prop_assert_eq!(history.at(&key, at(time)).held().copied(), expected, "key {} at {}", key, time);
            }
        }
    }
}
