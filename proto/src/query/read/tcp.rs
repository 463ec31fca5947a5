//! What was measured of a TCP connection. What could not be measured (`Tcp.absent`) is given to nobody: 0 means measured.

use super::super::field::Sink;
use super::detail;
use crate::flow::Flow;
use crate::flow::layer4::Protocol;
use crate::matching::End;
use crate::weir::v1::{RoundTrip, Tcp, TcpMeasure};

const fn tcp(flow: &Flow) -> Option<&Tcp> {
    match detail(flow) {
        Some(detail) => detail.tcp.as_ref(),
        None => None,
    }
}

fn is_absent(tcp: &Tcp, measure: TcpMeasure) -> bool {
    tcp.absent.contains(&measure.into())
}

/// What both sides did together; nothing where neither side's segments were seen.
fn both(flow: &Flow, sink: &mut Sink<'_>, sides: fn(&Tcp) -> (u64, u64)) {
    let Some(tcp) = tcp(flow) else { return };
    let unseen = |side| is_absent(tcp, side);
    if !(unseen(TcpMeasure::Forward) && unseen(TcpMeasure::Reverse)) {
        let (client, server) = sides(tcp);
        sink.number(client.saturating_add(server));
    }
}

pub(in crate::query) fn rtt(flow: &Flow, _: End, sink: &mut Sink<'_>) {
    sink.known(tcp(flow).map_or(0, |tcp| tcp.handshake_server_ns.saturating_add(tcp.handshake_client_ns)));
}

pub(in crate::query) fn rtt_server(flow: &Flow, _: End, sink: &mut Sink<'_>) {
    running(tcp(flow).and_then(|tcp| tcp.rtt_server.as_ref()), sink);
}

pub(in crate::query) fn rtt_client(flow: &Flow, _: End, sink: &mut Sink<'_>) {
    running(tcp(flow).and_then(|tcp| tcp.rtt_client.as_ref()), sink);
}

fn running(measured: Option<&RoundTrip>, sink: &mut Sink<'_>) {
    if let Some(measured) = measured {
        sink.number(measured.smoothed_ns);
    }
}

pub(in crate::query) fn rtt_greatest(flow: &Flow, _: End, sink: &mut Sink<'_>) {
    let Some(tcp) = tcp(flow) else { return };
    let greatest = [&tcp.rtt_server, &tcp.rtt_client].into_iter().flatten().map(|rtt| rtt.greatest_ns).max();
    if let Some(greatest) = greatest {
        sink.number(greatest);
    }
}

pub(in crate::query) fn retransmissions(flow: &Flow, _: End, sink: &mut Sink<'_>) {
    both(flow, sink, |tcp| (tcp.retransmissions_forward.into(), tcp.retransmissions_reverse.into()));
}

pub(in crate::query) fn out_of_order(flow: &Flow, _: End, sink: &mut Sink<'_>) {
    both(flow, sink, |tcp| (tcp.out_of_order_forward.into(), tcp.out_of_order_reverse.into()));
}

pub(in crate::query) fn duplicate_acks(flow: &Flow, _: End, sink: &mut Sink<'_>) {
    both(flow, sink, |tcp| (tcp.duplicate_acks_forward.into(), tcp.duplicate_acks_reverse.into()));
}

pub(in crate::query) fn zero_windows(flow: &Flow, _: End, sink: &mut Sink<'_>) {
    both(flow, sink, |tcp| (tcp.zero_windows_forward.into(), tcp.zero_windows_reverse.into()));
}

pub(in crate::query) fn zero_window_time(flow: &Flow, _: End, sink: &mut Sink<'_>) {
    both(flow, sink, |tcp| (tcp.zero_window_ns_forward, tcp.zero_window_ns_reverse));
}

pub(in crate::query) fn resets(flow: &Flow, _: End, sink: &mut Sink<'_>) {
    both(flow, sink, |tcp| (tcp.resets_forward.into(), tcp.resets_reverse.into()));
}

pub(in crate::query) fn syns(flow: &Flow, _: End, sink: &mut Sink<'_>) {
    if let Some(tcp) = tcp(flow).filter(|tcp| !is_absent(tcp, TcpMeasure::Syns)) {
        sink.number(tcp.syns);
    }
}

pub(in crate::query) fn half_open(flow: &Flow, _: End, sink: &mut Sink<'_>) {
    sink.flag(tcp(flow).is_some_and(|tcp| tcp.half_open));
}

pub(in crate::query) fn closed_by(flow: &Flow, _: End, sink: &mut Sink<'_>) {
    if let Some(tcp) = tcp(flow) {
        sink.word(tcp.closed_by);
    }
}

pub(in crate::query) fn close_reason(flow: &Flow, _: End, sink: &mut Sink<'_>) {
    if let Some(tcp) = tcp(flow) {
        sink.word(tcp.close_reason);
    }
}

pub(in crate::query) fn unmeasured(flow: &Flow, _: End, sink: &mut Sink<'_>) {
    for measure in tcp(flow).map_or(&[][..], |tcp| &tcp.absent) {
        sink.word(*measure);
    }
}

pub(in crate::query) fn tcp_flags(flow: &Flow, _: End, sink: &mut Sink<'_>) {
    if let Some(Protocol::Tcp(tcp)) = flow.l4.as_ref().and_then(|l4| l4.protocol.as_ref())
        && let Some(flags) = &tcp.flags
    {
        let set = [
            flags.fin, flags.syn, flags.rst, flags.psh, flags.ack, flags.urg, flags.ece, flags.cwr, flags.ns,
        ];
        for (bit, _) in (0u64..).zip(set).filter(|(_, set)| *set) {
            sink.number(bit);
        }
    }
}
