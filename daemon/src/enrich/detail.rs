//! `Flow.weir`: everything about the connection that Hubble's messages have no place for.

use std::net::SocketAddr;

use weir_proto::weir::v1::{ConnectionState, Counters, FlowDetail, Incomplete, Nat, NatSource, Reason};

use super::ends::Ends;
use super::{Scene, community_id, drops, join_key, path, rules, tcp, text, timestamp};
use crate::capture::Detail;
use crate::decode::Opaque;
use crate::track::connection::{self, Connection, Observation, State};
use crate::track::event::{self, Content, Event};

/// Everything but `services`, which is written before it, and what policies say, which is `policy`'s.
pub(super) fn fill(room: &mut FlowDetail, scene: &Scene<'_>) {
    let (event, ends, connection) = (scene.event, scene.ends, scene.event.connection);
    // By name, so that none is forgotten.
    let FlowDetail {
        connection_id,
        join_key,
        community_id,
        reason,
        state,
        first_packet,
        last_packet,
        delta,
        total,
        counts,
        nat,
        path,
        tcp,
        evidence,
        services: _,
        incomplete,
        source_node,
        destination_node,
        dns_latency_ns,
        last_seen_at,
        correction,
        rule_names,
        logged_rules,
        icmp_id,
        entry_key,
        merged_into,
        kernel_drops,
        kernel_drops_more,
        carries,
        policies: _,
        disagreements: _,
    } = room;
    *connection_id = connection.id.0;
    (*join_key, *entry_key) = (join_key::of(connection.backend_tuple()), entry_key_of(connection, ends));
    community_id::write(community_id, ends.true_tuple(), connection.icmp);
    *icmp_id = if ends.protocol.is_icmp() { u32::from(ends.client.port()) } else { 0 };
    (*merged_into, *correction) = (connection.merged_into().map_or(0, |into| into.0), event.correction);
    (*reason, *state) = (reason_of(event.reason).into(), state_of(connection.state).into());
    (*first_packet, *last_packet) =
        (Some(timestamp(connection.first_packet)), Some(timestamp(connection.last_packet)));
    (*delta, *total) = (Some(counters(&event.delta)), Some(counters(&connection.total())));
    *counts = ends.counts();
    let translated = ends.vip.is_some() || ends.masquerade.is_some();
    text::either(nat, translated.then_some(connection), |connection, room| write_nat(room, connection, ends));
    path::write(path, scene);
    text::either(tcp, connection.tcp.as_ref(), |tcp, room| tcp::write(room, event, tcp));
    *dns_latency_ns = latency(event);
    text::list(evidence, connection.evidence.iter(), |evidence, room| {
        path::evidence(room, scene.interfaces, evidence);
    });
    rules::write(rule_names, logged_rules, connection);
    *kernel_drops_more = drops::write(kernel_drops, connection);
    write_incomplete(incomplete, connection);
    write_last_seen_at(last_seen_at, scene);
    for (room, end) in [(source_node, &ends.source), (destination_node, &ends.destination)] {
        text::set(room, &end.node);
    }
    text::set(carries, connection.opaque.map_or("", Opaque::name));
}

/// The key that a node which sent the connection here has: of the tuple before this node's translation.
fn entry_key_of(connection: &Connection, ends: &Ends) -> u64 {
    let translated = connection.original != connection.backend;
    if translated && !ends.client_is_local { join_key::of(connection.original_tuple()) } else { 0 }
}

const fn reason_of(reason: event::Reason) -> Reason {
    match reason {
        event::Reason::Settled => Reason::Settled,
        event::Reason::State => Reason::State,
        event::Reason::Message => Reason::L7,
        event::Reason::Drop => Reason::Drop,
        event::Reason::Icmp => Reason::Icmp,
        event::Reason::Periodic => Reason::Periodic,
        event::Reason::Correction => Reason::Correction,
        event::Reason::End => Reason::End,
    }
}

const fn state_of(state: State) -> ConnectionState {
    match state {
        State::Opening => ConnectionState::Opening,
        State::Established => ConnectionState::Established,
        State::Closing => ConnectionState::Closing,
        State::Closed => ConnectionState::Closed,
        State::Reset => ConnectionState::Reset,
        State::Idle => ConnectionState::Idle,
        State::Unanswered => ConnectionState::Unanswered,
        State::Rejected => ConnectionState::Rejected,
        State::Evicted => ConnectionState::Evicted,
    }
}

pub(super) const fn counters(counters: &connection::Counters) -> Counters {
    let (forward, reverse) = (&counters.forward, &counters.reverse);
    Counters {
        packets_forward: forward.packets,
        packets_reverse: reverse.packets,
        ip_bytes_forward: forward.ip_bytes,
        ip_bytes_reverse: reverse.ip_bytes,
        frame_bytes_forward: forward.frame_bytes,
        frame_bytes_reverse: reverse.frame_bytes,
        payload_bytes_forward: forward.payload_bytes,
        payload_bytes_reverse: reverse.payload_bytes,
        wire_packets_forward: forward.wire_packets,
        wire_packets_reverse: reverse.wire_packets,
    }
}

fn write_nat(room: &mut Nat, connection: &Connection, ends: &Ends) {
    let source = match connection.nat_source {
        Some(connection::NatSource::Conntrack) => NatSource::Conntrack,
        Some(connection::NatSource::Sequence) => NatSource::Sequence,
        Some(connection::NatSource::Payload) => NatSource::Payload,
        None => NatSource::Unspecified,
    };
    let address = |room: &mut String, end: Option<SocketAddr>| match end {
        Some(end) => text::address(room, end.ip()),
        None => room.clear(),
    };
    let port = |end: Option<SocketAddr>| end.map_or(0, |end| u32::from(end.port()));
    let Nat { vip, vip_port, masquerade, masquerade_port, source: learnt, zone } = room;
    address(vip, ends.vip);
    address(masquerade, ends.masquerade);
    (*vip_port, *masquerade_port) = (port(ends.vip), port(ends.masquerade));
    *learnt = source.into();
    *zone = connection.zone.into();
}

fn write_incomplete(room: &mut Vec<i32>, connection: &Connection) {
    let gaps = connection.gaps;
    // One way only is the nature of what was not answered; it is a gap where an answer must have been.
    let silent = matches!(connection.state, State::Opening | State::Unanswered | State::Rejected);
    let one_sided = connection.one_sided() && (gaps.midstream || !silent);
    let answered = connection.observed(Observation::Answered);
    let no_handshake = answered && connection.tcp.is_some_and(|tcp| tcp.server_rtt_ns().is_none());
    let table = [
        (gaps.midstream, Incomplete::Midstream),
        (one_sided, Incomplete::OneSided),
        (gaps.truncated, Incomplete::Truncated),
        (connection.state == State::Evicted, Incomplete::Evicted),
        (no_handshake, Incomplete::NoHandshake),
        (gaps.capture_loss, Incomplete::CaptureLoss),
        (gaps.reduced >= Detail::NoPayload, Incomplete::NoPayload),
        (gaps.reduced >= Detail::NoTiming, Incomplete::NoTiming),
        (gaps.reduced >= Detail::Sampled, Incomplete::Sampled),
    ];
    room.clear();
    room.extend(table.into_iter().filter(|(lacks, _)| *lacks).map(|(_, what)| i32::from(what)));
}

fn latency(event: &Event<'_>) -> u64 {
    let Some(message) = event.message else { return 0 };
    let Content::Dns { latency_ns, .. } = &message.content;
    latency_ns.unwrap_or(0)
}

fn write_last_seen_at(room: &mut String, scene: &Scene<'_>) {
    let connection = scene.event.connection;
    let farthest = connection.farthest().filter(|_| connection.state == State::Unanswered);
    match farthest {
        Some(point) => path::place(room, scene.interfaces, point.interface, point.forward_direction),
        None => room.clear(),
    }
}
