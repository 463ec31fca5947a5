//! Fields about what became of a flow and what kind of event tells of it.

use super::{Predicate, Reason, predicate};
use crate::flow::{EventTypeFilter, Verdict};

/// `verdict`.
pub(super) fn verdict(wanted: &i32) -> Result<Predicate, Reason> {
    let wanted = *wanted;
    predicate(move |flow| flow.verdict == wanted)
}

/// `drop_reason_desc`: only dropped flows have one.
pub(super) fn drop_reason(wanted: &i32) -> Result<Predicate, Reason> {
    let wanted = *wanted;
    predicate(move |flow| flow.verdict() == Verdict::Dropped && flow.drop_reason_desc == wanted)
}

/// `traffic_direction`.
pub(super) fn traffic_direction(wanted: &i32) -> Result<Predicate, Reason> {
    let wanted = *wanted;
    predicate(move |flow| flow.traffic_direction == wanted)
}

/// `event_type`: type 0 is any, the sub-type counts only if asked for. A flow without an event type never matches.
pub(super) fn event_type(wanted: &EventTypeFilter) -> Result<Predicate, Reason> {
    let EventTypeFilter { r#type: kind, match_sub_type, sub_type } = *wanted;
    predicate(move |flow| {
        flow.event_type.as_ref().is_some_and(|event| {
            (kind == 0 || kind == event.r#type) && (!match_sub_type || sub_type == event.sub_type)
        })
    })
}

/// `reply`: a flow of unknown direction never matches, unless it was dropped: then it was no answer.
pub(super) fn reply(wanted: &bool) -> Result<Predicate, Reason> {
    let wanted = *wanted;
    predicate(move |flow| match flow.is_reply {
        Some(is_reply) => is_reply == wanted,
        None => flow.verdict() == Verdict::Dropped && !wanted,
    })
}
