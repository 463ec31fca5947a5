//! Fields that name one flow or one trace: uuid, trace id, IP trace id.

use super::{Predicate, Reason, predicate};
use crate::flow::Flow;

/// `uuid`: the flow's own.
pub(super) fn uuid(text: &str) -> Result<Predicate, Reason> {
    let wanted = text.to_owned();
    predicate(move |flow| flow.uuid == wanted)
}

/// `trace_id`: of the distributed trace that the flow's request belongs to.
pub(super) fn trace_id(text: &str) -> Result<Predicate, Reason> {
    let wanted = text.to_owned();
    predicate(move |flow| parent_trace(flow).is_some_and(|id| id == wanted))
}

fn parent_trace(flow: &Flow) -> Option<&str> {
    let parent = flow.trace_context.as_ref()?.parent.as_ref()?;
    Some(parent.trace_id.as_str()).filter(|id| !id.is_empty())
}

/// `ip_trace_id`: carried in an IP option; a flow without one has 0.
pub(super) fn ip_trace_id(wanted: &u64) -> Result<Predicate, Reason> {
    let wanted = *wanted;
    predicate(move |flow| flow.ip_trace_id.as_ref().map_or(0, |id| id.trace_id) == wanted)
}
