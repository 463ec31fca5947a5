//! What a flow says of its fate, in Hubble's words, from evidence alone; and which family of events it belongs to.
//!
//! Seen delivered or answered is `FORWARDED`; named by the kernel's log and not seen past it is `DROPPED`; everything else,
//! unanswered and rejected included, is `TRACED`: how it went is told by the state and the evidence in `Flow.weir`.

use weir_proto::flow::{CiliumEventType, DropReason, Flow, FlowType, Verdict};

use crate::track::connection;
use crate::track::event::Event;

/// Cilium's monitor message types, which `event_type.type` carries.
const DROP: i32 = 1;
const TRACE: i32 = 4;
const L7: i32 = 129;

pub(super) fn fill(flow: &mut Flow, event: &Event<'_>) {
    let verdict = event.connection.verdict();
    flow.verdict = match verdict {
        connection::Verdict::Forwarded => Verdict::Forwarded,
        connection::Verdict::Dropped => Verdict::Dropped,
        connection::Verdict::Traced => Verdict::Traced,
    }
    .into();
    let (kind, sub_type) = match verdict {
        _ if event.message.is_some() => (L7, 0),
        connection::Verdict::Dropped => (DROP, DropReason::PolicyDenied as i32),
        _ => (TRACE, 0),
    };
    flow.event_type = Some(CiliumEventType { r#type: kind, sub_type });
    flow.r#type = if event.message.is_some() { FlowType::L7 } else { FlowType::L3L4 }.into();
    // The only evidence of a drop is a log rule that names a policy.
    let policy = (verdict == connection::Verdict::Dropped).then_some(DropReason::PolicyDenied);
    flow.drop_reason_desc = policy.map_or(0, i32::from);
    #[expect(deprecated, reason = "old Hubble clients read this field")]
    {
        flow.drop_reason = policy.map_or(0, |reason| reason as u32);
    }
}
