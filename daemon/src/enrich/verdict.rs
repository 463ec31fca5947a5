//! What a flow says of its fate, in Hubble's words, from evidence alone; and which family of events it belongs to.
//!
//! Seen delivered or answered is `FORWARDED`; dropped by the kernel, or named by its log, and not seen past that is `DROPPED`;
//! everything else, unanswered and rejected included, is `TRACED`: how it went is told by the state and the evidence in
//! `Flow.weir`.

use weir_proto::flow::{CiliumEventType, DropReason, Flow, FlowType, Verdict};

use super::drops;
use crate::track::connection;
use crate::track::event::Event;

/// Cilium's monitor message types, which `event_type.type` carries.
const DROP: i32 = 1;
const TRACE: i32 = 4;
const L7: i32 = 129;
/// A reason that Cilium has no words for. Hubble's clients print it as the number that it is; 0 they would print as "Success".
const NO_WORDS: i32 = 1;

pub(super) fn fill(flow: &mut Flow, event: &Event<'_>) {
    let verdict = event.connection.verdict();
    flow.verdict = match verdict {
        connection::Verdict::Forwarded => Verdict::Forwarded,
        connection::Verdict::Dropped => Verdict::Dropped,
        connection::Verdict::Traced => Verdict::Traced,
    }
    .into();
    let dropped = verdict == connection::Verdict::Dropped;
    let reason = if dropped { drops::reason(event.connection) } else { DropReason::Unknown };
    let (kind, sub_type) = match reason {
        _ if event.message.is_some() => (L7, 0),
        _ if !dropped => (TRACE, 0),
        DropReason::Unknown => (DROP, NO_WORDS),
        reason => (DROP, reason as i32),
    };
    flow.event_type = Some(CiliumEventType { r#type: kind, sub_type });
    flow.r#type = if event.message.is_some() { FlowType::L7 } else { FlowType::L3L4 }.into();
    flow.drop_reason_desc = reason.into();
    #[expect(deprecated, reason = "old Hubble clients read this field")]
    {
        flow.drop_reason = reason as u32;
    }
}
