//! A conversation's measures -> `Flow.weir.tcp`, with the names of those that could not be taken: 0 means measured.

use weir_proto::weir::v1::{CloseReason, ClosedBy, RoundTrip, Tcp, TcpMeasure};

use crate::capture::Detail;
use crate::track::connection::{Connection, Observation, State, Way};
use crate::track::event::{Event, Reason};
use crate::track::tcp::{self, Conversation};

pub(super) fn write(room: &mut Tcp, event: &Event<'_>, tcp: &Conversation) {
    let connection = event.connection;
    let (client, server) = (&tcp.client, &tcp.server);
    let now = connection.last_packet;
    let mut absent = std::mem::take(&mut room.absent);
    write_absent(&mut absent, connection, tcp);
    *room = Tcp {
        handshake_server_ns: tcp.server_rtt_ns().unwrap_or(0),
        handshake_client_ns: tcp.client_rtt_ns().unwrap_or(0),
        retransmissions_forward: client.retransmissions,
        retransmissions_reverse: server.retransmissions,
        closed_by: closed_by(connection, tcp).into(),
        client_isn: client.isn.unwrap_or(0),
        server_isn: server.isn.unwrap_or(0),
        isn_known: client.isn.is_some() && server.isn.is_some(),
        syns: tcp.syns,
        rtt_server: client.round_trip().map(round_trip),
        rtt_client: server.round_trip().map(round_trip),
        out_of_order_forward: client.out_of_order,
        out_of_order_reverse: server.out_of_order,
        duplicate_acks_forward: client.duplicate_acks,
        duplicate_acks_reverse: server.duplicate_acks,
        zero_windows_forward: client.zero_windows,
        zero_windows_reverse: server.zero_windows,
        zero_window_ns_forward: client.zero_window_ns(now),
        zero_window_ns_reverse: server.zero_window_ns(now),
        resets_forward: client.resets,
        resets_reverse: server.resets,
        half_open: tcp.is_half_open(),
        close_reason: close_reason(event, tcp).into(),
        absent,
    };
}

const fn round_trip(measured: tcp::RoundTrip) -> RoundTrip {
    RoundTrip {
        smoothed_ns: measured.smoothed_ns,
        least_ns: measured.least_ns,
        greatest_ns: measured.greatest_ns,
        samples: measured.samples,
        by_timestamp: measured.by_timestamp,
    }
}

fn closed_by(connection: &Connection, tcp: &Conversation) -> ClosedBy {
    match tcp.closed_by {
        Some(_) if connection.observed(Observation::ResetByNetwork) => ClosedBy::Network,
        Some(Way::Forward) => ClosedBy::Client,
        Some(Way::Reverse) => ClosedBy::Server,
        None => ClosedBy::Unspecified,
    }
}

fn close_reason(event: &Event<'_>, tcp: &Conversation) -> CloseReason {
    let over = event.reason == Reason::End;
    let silent = || {
        if tcp.is_half_open() { CloseReason::HalfOpen } else { CloseReason::Idle }
    };
    match event.connection.state {
        State::Closed => CloseReason::Fin,
        State::Reset => CloseReason::Reset,
        State::Rejected => CloseReason::Rejected,
        State::Evicted => CloseReason::Evicted,
        _ if !over => CloseReason::Unspecified,
        State::Unanswered => CloseReason::NeverAnswered,
        State::Idle if tcp.client.fin != tcp.server.fin => CloseReason::HalfClosed,
        State::Idle => silent(),
        State::Opening | State::Established | State::Closing => CloseReason::CaptureEnded,
    }
}

fn write_absent(room: &mut Vec<i32>, connection: &Connection, tcp: &Conversation) {
    let uncounted = connection.gaps.reduced >= Detail::NoTiming;
    let table = [
        (tcp.server_rtt_ns().is_none(), TcpMeasure::HandshakeServer),
        (tcp.client_rtt_ns().is_none(), TcpMeasure::HandshakeClient),
        (tcp.client.round_trip().is_none(), TcpMeasure::RttServer),
        (tcp.server.round_trip().is_none(), TcpMeasure::RttClient),
        (!tcp.client.seen() || uncounted, TcpMeasure::Forward),
        (!tcp.server.seen() || uncounted, TcpMeasure::Reverse),
        (connection.gaps.midstream, TcpMeasure::Syns),
    ];
    room.clear();
    room.extend(table.into_iter().filter(|(absent, _)| *absent).map(|(_, measure)| i32::from(measure)));
}
