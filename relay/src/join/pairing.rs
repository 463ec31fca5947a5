//! Whether a node's view is one of a connection that others saw: a matter of sequence numbers and lifetimes.
//!
//! Their keys link them already. Ports are used again within seconds, so the key alone proves nothing.

use std::time::Duration;

use super::{Row, Sighting};
use crate::moment::nanos;
use crate::peer::{Record, View};

/// How well a view fits; the smaller the better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fit {
    /// Not proven by equal sequence numbers.
    unproven: bool,
    /// How far apart the first packets are.
    apart_ns: u64,
}

/// The fit of `record` to `row`, if it is possible at all.
pub fn fit(row: &Row, record: &Record, allowance: Duration) -> Option<Fit> {
    let mut best: Option<Fit> = None;
    for sighting in &row.sightings {
        if is_another_of_same_run(sighting, record) {
            return None;
        }
        let fit = fit_views(&sighting.record.view, &record.view, allowance)?;
        best = Some(best.map_or(fit, |best| best.min(fit)));
    }
    best
}

/// One run of a daemon never sees one connection as two in one form. It may in two, when another node that translated it has
/// sent it back.
fn is_another_of_same_run(sighting: &Sighting, record: &Record) -> bool {
    let (known, new) = (&sighting.record, record);
    known.node == new.node && known.place.run == new.place.run && known.view.join_key == new.view.join_key
}

fn fit_views(one: &View, other: &View, allowance: Duration) -> Option<Fit> {
    let proven = match (one.isn, other.isn) {
        (Some(a), Some(b)) if contradict(a, b) => return None,
        (Some(_), Some(_)) => true,
        _ => false,
    };
    if !proven && !overlap(one, other, allowance) {
        return None;
    }
    Some(Fit { unproven: !proven, apart_ns: one.first.since(other.first).unsigned_abs() })
}

/// The server's number is 0 while it has not answered.
const fn contradict(one: (u32, u32), other: (u32, u32)) -> bool {
    one.0 != other.0 || (one.1 != 0 && other.1 != 0 && one.1 != other.1)
}

fn overlap(one: &View, other: &View, allowance: Duration) -> bool {
    let allowance = nanos(allowance);
    one.first.since(other.last) <= allowance && other.first.since(one.last) <= allowance
}
