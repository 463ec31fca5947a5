//! The promises of the merge: order, nothing lost, no stall.

use std::time::Duration;

use proptest::prelude::*;

use super::*;

const MS: i64 = 1_000_000;

/// Node, flow time and arrival, both in ms.
type Arrival = (usize, i64, u64);

/// Feeds arrivals (in order of arrival) with `poll` at each and at each due time; returns (node, time, late, out at).
fn run(nodes: usize, settings: Settings, arrivals: &[Arrival]) -> (Vec<(usize, i64, bool, u64)>, u64) {
    let mut merge = Merge::new(settings);
    let sources: Vec<_> = (0..nodes).map(|_| merge.source()).collect();
    for source in &sources {
        merge.set_connected(*source, true);
    }
    let mut out = Vec::new();
    let mut drain = |merge: &mut Merge<i64>, at: Duration| {
        let at_ms = u64::try_from(at.as_millis()).unwrap();
        merge.poll(at, |e| out.push((e.source.0, e.item, e.late, at_ms)));
    };
    for &(node, time, came) in arrivals {
        let came = Duration::from_millis(came);
        while let Some(due) = merge.next_due().filter(|due| *due < came) {
            drain(&mut merge, due);
        }
        merge.push(sources[node], Some(UnixNanos(time * MS)), time, came);
        drain(&mut merge, came);
    }
    while let Some(due) = merge.next_due() {
        drain(&mut merge, due);
    }
    (out, merge.early())
}

/// Flows of up to four nodes, each node's in order of time, each on its way for `delay` ms; in order of arrival.
fn arrivals(delay: std::ops::Range<u64>) -> impl Strategy<Value = Vec<Arrival>> {
    proptest::collection::vec((0..4_usize, 0..60_u64, delay), 0..200).prop_map(|steps| {
        let mut clock = 1000_u64;
        let mut last_came = [0_u64; 4];
        let mut all: Vec<Arrival> = Vec::new();
        for (node, step, delay) in steps {
            clock += step;
            last_came[node] = last_came[node].max(clock + delay);
            all.push((node, i64::try_from(clock).unwrap(), last_came[node]));
        }
        all.sort_by_key(|(_, _, came)| *came);
        all
    })
}

proptest! {
    #[test]
    fn within_the_window_the_output_is_sorted(input in arrivals(0..240)) {
        let (out, early) = run(4, Settings::default(), &input);
        prop_assert_eq!(early, 0);
        prop_assert!(out.is_sorted_by_key(|(_, time, _, _)| *time));
        prop_assert!(out.iter().all(|(_, _, late, _)| !late));
    }

    #[test]
    fn nothing_is_lost_and_each_node_keeps_its_order(input in arrivals(0..2000), capacity in 1..50_usize) {
        let (out, _) = run(4, Settings { capacity, ..Settings::default() }, &input);
        for node in 0..4 {
            let pushed: Vec<_> = input.iter().filter(|a| a.0 == node).map(|a| a.1).collect();
            let emitted: Vec<_> = out.iter().filter(|a| a.0 == node).map(|a| a.1).collect();
            prop_assert_eq!(pushed, emitted);
        }
    }

    #[test]
    fn nothing_waits_longer_than_the_window(input in arrivals(0..2000)) {
        let (out, _) = run(4, Settings::default(), &input);
        let mut came: std::collections::HashMap<_, std::collections::VecDeque<_>> = std::collections::HashMap::new();
        for (node, time, at) in input {
            came.entry((node, time)).or_default().push_back(at);
        }
        for (node, time, _, at) in out {
            let arrived = came.get_mut(&(node, time)).and_then(std::collections::VecDeque::pop_front).unwrap();
            prop_assert!(at <= arrived + 250);
        }
    }
}

#[test]
fn clocks_two_seconds_apart_neither_stall_nor_lose() {
    let input: Vec<Arrival> = (0..100)
        .flat_map(|i| {
            let came = 10_000 + 20 * i;
            let time = i64::try_from(came).unwrap();
            [(0, time + 2000, came), (1, time, came + 1)]
        })
        .collect();
    let (out, early) = run(2, Settings::default(), &input);
    assert_eq!((out.len(), early), (200, 0));
    assert!(out.iter().filter(|o| o.0 == 0).all(|o| !o.2), "the node ahead is never late");
    assert!(out.iter().any(|o| o.0 == 1 && o.2), "the node behind is counted late");
}

#[test]
fn a_quiet_node_is_not_waited_for_when_it_is_gone() {
    let mut merge = Merge::new(Settings::default());
    let (a, b) = (merge.source(), merge.source());
    merge.set_connected(a, true);
    merge.set_connected(b, true);
    merge.push(a, Some(UnixNanos(5)), "flow", Duration::ZERO);
    let mut out = Vec::new();
    merge.poll(Duration::ZERO, |e| out.push(e.item));
    assert!(out.is_empty());
    merge.set_connected(b, false);
    merge.poll(Duration::ZERO, |e| out.push(e.item));
    assert_eq!(out, ["flow"]);
}

#[test]
fn what_has_no_time_keeps_its_place_and_is_never_late() {
    let mut merge = Merge::new(Settings::default());
    let (a, b) = (merge.source(), merge.source());
    merge.push(b, Some(UnixNanos(9)), "b9", Duration::ZERO);
    merge.push(a, Some(UnixNanos(5)), "a5", Duration::ZERO);
    merge.push(a, None, "hole", Duration::ZERO);
    merge.push(a, Some(UnixNanos(7)), "a7", Duration::ZERO);
    let mut out = Vec::new();
    merge.poll(Duration::ZERO, |e| out.push((e.item, e.late)));
    assert_eq!(out, [("a5", false), ("hole", false), ("a7", false), ("b9", false)]);
    merge.push(a, None, "gone", Duration::ZERO);
    merge.poll(Duration::ZERO, |e| out.push((e.item, e.late)));
    assert_eq!(out.last(), Some(&("gone", false)));
}

#[test]
fn a_full_buffer_lets_the_earliest_go_and_counts_it() {
    let input: Vec<Arrival> = (0..10).map(|i| (0, i, 0)).collect();
    let (out, early) = run(2, Settings { capacity: 4, ..Settings::default() }, &input);
    assert_eq!((out.len(), early), (10, 6));
}

#[test]
fn a_node_that_is_still_being_called_is_waited_for() {
    let mut merge = Merge::new(Settings::default());
    merge.pending();
    let a = merge.source();
    merge.set_connected(a, true);
    merge.push(a, Some(UnixNanos(5)), "a5", Duration::ZERO);
    let mut out = Vec::new();
    merge.poll(Duration::from_millis(200), |e| out.push(e.item));
    assert!(out.is_empty());
    let b = merge.source();
    merge.set_connected(b, true);
    merge.no_longer_pending();
    merge.push(b, Some(UnixNanos(3)), "b3", Duration::from_millis(200));
    merge.poll(Duration::from_millis(200), |e| out.push(e.item));
    merge.poll(Duration::from_millis(250), |e| out.push(e.item));
    assert_eq!(out, ["b3", "a5"]);
}
