//! What weir knows of the connection that a flow tells of: state, counters, ids.

use prost_types::Timestamp;

use super::super::field::Sink;
use super::detail;
use crate::flow::Flow;
use crate::matching::End;
use crate::weir::v1::Counters;

pub(in crate::query) fn state(flow: &Flow, _: End, sink: &mut Sink<'_>) {
    if let Some(detail) = detail(flow) {
        sink.word(detail.state);
    }
}

pub(in crate::query) fn reason(flow: &Flow, _: End, sink: &mut Sink<'_>) {
    if let Some(detail) = detail(flow) {
        sink.word(detail.reason);
    }
}

const fn total(flow: &Flow) -> Option<&Counters> {
    match detail(flow) {
        Some(detail) => detail.total.as_ref(),
        None => None,
    }
}

pub(in crate::query) fn bytes(flow: &Flow, _: End, sink: &mut Sink<'_>) {
    if let Some(total) = total(flow) {
        sink.number(total.ip_bytes_forward.saturating_add(total.ip_bytes_reverse));
    }
}

pub(in crate::query) fn sent(flow: &Flow, _: End, sink: &mut Sink<'_>) {
    if let Some(total) = total(flow) {
        sink.number(total.ip_bytes_forward);
    }
}

pub(in crate::query) fn received(flow: &Flow, _: End, sink: &mut Sink<'_>) {
    if let Some(total) = total(flow) {
        sink.number(total.ip_bytes_reverse);
    }
}

pub(in crate::query) fn packets(flow: &Flow, _: End, sink: &mut Sink<'_>) {
    if let Some(total) = total(flow) {
        sink.number(total.packets_forward.saturating_add(total.packets_reverse));
    }
}

pub(in crate::query) fn duration(flow: &Flow, _: End, sink: &mut Sink<'_>) {
    let Some(detail) = detail(flow) else { return };
    if let (Some(first), Some(last)) = (&detail.first_packet, &detail.last_packet)
        && let Ok(lasted) = u64::try_from(nanos(last) - nanos(first))
    {
        sink.number(lasted);
    }
}

fn nanos(time: &Timestamp) -> i128 {
    i128::from(time.seconds) * 1_000_000_000 + i128::from(time.nanos)
}

pub(in crate::query) fn incomplete(flow: &Flow, _: End, sink: &mut Sink<'_>) {
    for lack in detail(flow).map_or(&[][..], |detail| &detail.incomplete) {
        sink.word(*lack);
    }
}

pub(in crate::query) fn correction(flow: &Flow, _: End, sink: &mut Sink<'_>) {
    sink.flag(detail(flow).is_some_and(|detail| detail.correction));
}

pub(in crate::query) fn counts(flow: &Flow, _: End, sink: &mut Sink<'_>) {
    sink.flag(detail(flow).is_some_and(|detail| detail.counts));
}

pub(in crate::query) fn uuid(flow: &Flow, _: End, sink: &mut Sink<'_>) {
    sink.text(&flow.uuid);
}

pub(in crate::query) fn connection(flow: &Flow, _: End, sink: &mut Sink<'_>) {
    if let Some(detail) = detail(flow) {
        sink.number(detail.connection_id);
    }
}

pub(in crate::query) fn join(flow: &Flow, _: End, sink: &mut Sink<'_>) {
    if let Some(detail) = detail(flow) {
        sink.number(detail.join_key);
    }
}

pub(in crate::query) fn community(flow: &Flow, _: End, sink: &mut Sink<'_>) {
    sink.text(detail(flow).map_or("", |detail| &detail.community_id));
}

pub(in crate::query) fn trace(flow: &Flow, _: End, sink: &mut Sink<'_>) {
    let parent = flow.trace_context.as_ref().and_then(|context| context.parent.as_ref());
    sink.text(parent.map_or("", |parent| &parent.trace_id));
}
