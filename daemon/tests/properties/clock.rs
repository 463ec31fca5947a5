//! A clock that is set, by years, backwards too: every connection still ends, and every packet is counted once.

use proptest::prelude::*;
use weir_proto::time::unix_nanos;

use crate::node::{SECOND, START, Watched, calls, sights};

const YEAR: u64 = 365 * 86_400 * SECOND;
/// Longer than any idle time with what follows it.
const FOR_EVER: u64 = 3 * 3600 * SECOND;

/// How far a clock is set: a little, or years.
fn jump() -> impl Strategy<Value = i64> {
    let years = 40 * YEAR as i64;
    prop_oneof![-20 * SECOND as i64..20 * SECOND as i64, -years..years, Just(-years), Just(years),]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_clock_that_jumps_wedges_no_timer(
        calls in calls(),
        jumps in prop::collection::vec((0_usize..200, jump()), 0..6),
        counts in any::<bool>(),
    ) {
        let mut watched = Watched::by(counts);
        let (mut offset, mut now) = (0_i64, START);
        for (number, sight) in sights(&calls).iter().enumerate() {
            for (_, by) in jumps.iter().filter(|(at, _)| *at == number) {
                offset = (offset + by).clamp(-45 * YEAR as i64, 200 * YEAR as i64);
            }
            now = sight.at.saturating_add_signed(offset);
            watched.advance(now);
            watched.sees(sight, now);
        }
        let begun = watched.pipeline.tracker().stats().begun;
        // Time passes in steps, as it does for a daemon without traffic.
        for step in 1..=6 {
            watched.advance(now + step * FOR_EVER / 6);
        }
        watched.advance(now + 2 * FOR_EVER);
        let merged = watched.pipeline.tracker().stats().merged;
        prop_assert!(watched.pipeline.tracker().is_empty(), "{} are left", watched.pipeline.tracker().len());
        prop_assert!(watched.ended().len() as u64 + merged >= begun, "{begun} begun, {merged} merged");
        for flow in &watched.flows {
            let detail = flow.weir.as_ref().unwrap();
            let [first, last] = [&detail.first_packet, &detail.last_packet].map(|time| time.as_ref().map(unix_nanos));
            prop_assert!(first.is_some() && first <= last, "{first:?} {last:?}");
        }
    }
}
