//! `Flow.weir`: everything about the connection that Hubble's messages have no place for.

use std::mem::take;

use weir_proto::weir::v1::{
    ConnectionState, Counters, FlowDetail, Incomplete, Nat, NatSource, Reason, ServiceRef,
};

use super::ends::Ends;
use super::{Scene, community_id, drops, join_key, path, tcp, text, timestamp};
use crate::capture::Detail;
use crate::decode::Opaque;
use crate::track::connection::{self, Connection, Observation, State};
use crate::track::event::{self, Content, Event};

pub(super) fn of(scene: &Scene<'_>, services: Vec<ServiceRef>, old: &mut FlowDetail) -> FlowDetail {
    let (event, ends, connection) = (scene.event, scene.ends, scene.event.connection);
    let evidence = text::list(take(&mut old.evidence), connection.evidence.iter(), |evidence, old| {
        path::evidence(scene.interfaces, evidence, old)
    });
    FlowDetail {
        connection_id: connection.id.0,
        join_key: join_key::of(connection.backend_tuple()),
        community_id: community_id::of(ends.true_tuple(), connection.icmp, take(&mut old.community_id)),
        reason: reason(event.reason).into(),
        state: state(connection.state).into(),
        first_packet: Some(timestamp(connection.first_packet)),
        last_packet: Some(timestamp(connection.last_packet)),
        delta: Some(counters(&event.delta)),
        total: Some(counters(&connection.total())),
        counts: ends.counts(),
        nat: nat(connection, ends, old.nat.take().unwrap_or_default()),
        path: path::of(scene, take(&mut old.path)),
        tcp: connection.tcp.as_ref().map(|tcp| tcp::of(event, tcp)),
        evidence,
        services,
        incomplete: incomplete(connection, take(&mut old.incomplete)),
        source_node: text::of(&ends.source.node, take(&mut old.source_node)),
        destination_node: text::of(&ends.destination.node, take(&mut old.destination_node)),
        dns_latency_ns: latency(event),
        last_seen_at: last_seen_at(scene, take(&mut old.last_seen_at)),
        correction: event.correction,
        rule_names: text::list(take(&mut old.rule_names), connection.rule_names.iter(), |name, old| {
            text::of(name, old)
        }),
        icmp_id: if ends.protocol.is_icmp() { u32::from(ends.client.port()) } else { 0 },
        entry_key: entry_key(connection, ends),
        merged_into: connection.merged_into().map_or(0, |into| into.0),
        kernel_drops: drops::of(connection, take(&mut old.kernel_drops)),
        kernel_drops_more: connection.drops_more(),
        carries: text::of(connection.opaque.map_or("", Opaque::name), take(&mut old.carries)),
    }
}

/// The key that a node which sent the connection here has: of the tuple before this node's translation.
fn entry_key(connection: &Connection, ends: &Ends) -> u64 {
    let translated = connection.original != connection.backend;
    if translated && !ends.client_is_local { join_key::of(connection.original_tuple()) } else { 0 }
}

const fn reason(reason: event::Reason) -> Reason {
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

const fn state(state: State) -> ConnectionState {
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

fn nat(connection: &Connection, ends: &Ends, old: Nat) -> Option<Nat> {
    if ends.vip.is_none() && ends.masquerade.is_none() {
        return None;
    }
    let source = match connection.nat_source {
        Some(connection::NatSource::Conntrack) => NatSource::Conntrack,
        Some(connection::NatSource::Sequence) => NatSource::Sequence,
        Some(connection::NatSource::Payload) => NatSource::Payload,
        None => NatSource::Unspecified,
    };
    let address = |end: Option<std::net::SocketAddr>, old: String| match end {
        Some(end) => text::address(end.ip(), old),
        None => text::of("", old),
    };
    let port = |end: Option<std::net::SocketAddr>| end.map_or(0, |end| u32::from(end.port()));
    Some(Nat {
        vip: address(ends.vip, old.vip),
        vip_port: port(ends.vip),
        masquerade: address(ends.masquerade, old.masquerade),
        masquerade_port: port(ends.masquerade),
        source: source.into(),
        zone: u32::from(connection.zone),
    })
}

fn incomplete(connection: &Connection, old: Vec<i32>) -> Vec<i32> {
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
    text::list(old, table.into_iter().filter(|(lacks, _)| *lacks), |(_, what), _| what.into())
}

fn latency(event: &Event<'_>) -> u64 {
    let Some(message) = event.message else { return 0 };
    let Content::Dns { latency_ns, .. } = &message.content;
    latency_ns.unwrap_or(0)
}

fn last_seen_at(scene: &Scene<'_>, old: String) -> String {
    let connection = scene.event.connection;
    let farthest = connection.farthest().filter(|_| connection.state == State::Unanswered);
    match farthest {
        Some(point) => path::place(scene.interfaces, point.interface, point.forward_direction, old),
        None => text::of("", old),
    }
}
