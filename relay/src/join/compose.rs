//! One row of what several nodes say of a connection: each part from the node that knows it best.
//!
//! The client's node (the one that counts) is the base: it saw the call before any NAT, so it alone knows whether there
//! was a Service. The backend's node knows the backend. The verdict is that of the strongest evidence, wherever it was
//! seen. Nothing is made up: what no node says stays absent.

use std::sync::Arc;

use weir_proto::flow::{Endpoint, Flow, Service, TrafficDirection, Verdict};
use weir_proto::place::{NodeHash, Place as WirePlace};
use weir_proto::weir::v1::{
    Connection, ConnectionState, Evidence, FlowDetail, Nat, NatSource, Observation, PolicyConflict,
    PolicyDirection, PolicyDisagreement, PolicyRuling,
};

use super::{Row, Sighting};
use crate::moment::UnixNanos;
use crate::node::Place;
use crate::peer::Record;

/// The row's name: the place of its first record.
#[must_use]
pub fn row_id(first: &Record) -> Arc<str> {
    let Place { run, seq } = first.place;
    match WirePlace::new(NodeHash::of(first.node.as_str()), run, seq) {
        Ok(place) => place.to_string().into(),
        // Beyond what a uuid can carry; as unique, only longer.
        Err(_) => format!("{}/{run}/{seq}", first.node).into(),
    }
}

/// The row as a client is told it. A row without sightings has no flow.
#[must_use]
pub fn connection(row: &Row) -> Connection {
    let mut flows: Vec<Flow> = row.sightings.iter().map(|s| s.record.decode_flow()).collect();
    flows.sort_by_key(side);
    let message = row.sightings.iter().filter_map(latest_message).max_by_key(time);
    Connection {
        id: row.id.to_string(),
        revision: row.revision,
        flow: joined(&flows, message),
        sightings: flows,
        ended: row.ended,
    }
}

fn latest_message(sighting: &Sighting) -> Option<Flow> {
    sighting.message.as_ref().map(|record| record.decode_flow())
}

fn time(flow: &Flow) -> UnixNanos {
    flow.time.as_ref().map(UnixNanos::from).unwrap_or_default()
}

/// Where a node stands in the connection, client's side first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Side {
    Client,
    Between,
    Server,
}

fn side(flow: &Flow) -> Side {
    let Some(detail) = &flow.weir else {
        return Side::Between;
    };
    let local = |node: &str| !node.is_empty() && is_node(&flow.node_name, node);
    if detail.counts || local(&detail.source_node) {
        Side::Client
    } else if local(&detail.destination_node) {
        Side::Server
    } else {
        match flow.traffic_direction() {
            TrafficDirection::Ingress => Side::Server,
            _ => Side::Between,
        }
    }
}

/// `node_name` may have the cluster before it.
fn is_node(node_name: &str, node: &str) -> bool {
    node_name == node || node_name.rsplit_once('/').is_some_and(|(_, name)| name == node)
}

/// The joined flow. `flows` are in the order of their sides.
fn joined(flows: &[Flow], message: Option<Flow>) -> Option<Flow> {
    let mut joined = flows.first()?.clone();
    let others = flows.get(1..).unwrap_or_default();
    if let Some(newest) = flows.iter().max_by_key(|flow| time(flow)) {
        joined.time = newest.time;
    }
    ends(&mut joined, others);
    detail(&mut joined, flows);
    if let [base, onward @ ..] = chain(flows).as_slice()
        && !onward.is_empty()
    {
        translated_again(&mut joined, base, onward);
    }
    services(&mut joined, flows);
    policies(&mut joined, flows);
    verdict(&mut joined, flows);
    if let Some(message) = message {
        joined.l7 = message.l7;
    }
    Some(joined)
}

/// The base, and the views that it leads to by one translation after another: each came to its node in the form in which it
/// left the one before.
fn chain(flows: &[Flow]) -> Vec<&Flow> {
    let key = |flow: &Flow| flow.weir.as_ref().map_or((0, 0), |detail| (detail.join_key, detail.entry_key));
    let mut chain: Vec<&Flow> = flows.first().into_iter().collect();
    while let Some(last) = chain.last().map(|flow| key(flow).0).filter(|key| *key != 0) {
        let next = flows
            .iter()
            .find(|flow| key(flow).1 == last && !chain.iter().any(|known| key(known) == key(flow)));
        let Some(next) = next else { break };
        chain.push(next);
    }
    chain
}

/// The first node knows the client and what it called; the last one who answers and what that sees as its client.
fn translated_again(joined: &mut Flow, base: &Flow, onward: &[&Flow]) {
    let Some(last) = onward.last() else { return };
    if let (Some(ip), Some(told)) = (&mut joined.ip, &last.ip) {
        ip.destination.clone_from(&told.destination);
    }
    destination_port(joined, last);
    joined.destination.clone_from(&last.destination);
    let nats = || onward.iter().rev().filter_map(|flow| flow.weir.as_ref()?.nat.as_ref());
    let masquerade = nats().find(|nat| !nat.masquerade.is_empty());
    let called = base.weir.as_ref().and_then(|detail| detail.nat.as_ref()).filter(|nat| !nat.vip.is_empty());
    let called = called.or_else(|| nats().rfind(|nat| !nat.vip.is_empty()));
    let Some(detail) = &mut joined.weir else { return };
    let nat = detail.nat.get_or_insert_default();
    if let Some(called) = called {
        (nat.vip, nat.vip_port) = (called.vip.clone(), called.vip_port);
    }
    if let Some(seen) = masquerade {
        (nat.masquerade, nat.masquerade_port) = (seen.masquerade.clone(), seen.masquerade_port);
    }
    nat.set_source(NatSource::Join);
    if let Some(ip) = &mut joined.ip {
        ip.source_xlated.clone_from(&nat.masquerade);
    }
    if let Some(told) = &last.weir {
        detail.destination_node.clone_from(&told.destination_node);
    }
    // No node has hashed these two ends together.
    detail.community_id.clear();
}

fn destination_port(joined: &mut Flow, last: &Flow) {
    use weir_proto::flow::layer4::Protocol::{Sctp, Tcp, Udp};
    let protocol = |flow: &Flow| flow.l4.as_ref().and_then(|l4| l4.protocol.clone());
    let port = match protocol(last) {
        Some(Tcp(tcp)) => tcp.destination_port,
        Some(Udp(udp)) => udp.destination_port,
        Some(Sctp(sctp)) => sctp.destination_port,
        _ => return,
    };
    match joined.l4.as_mut().and_then(|l4| l4.protocol.as_mut()) {
        Some(Tcp(tcp)) => tcp.destination_port = port,
        Some(Udp(udp)) => udp.destination_port = port,
        Some(Sctp(sctp)) => sctp.destination_port = port,
        _ => {}
    }
}

/// What the base does not know of the two ends, from who does; the backend from its own node.
fn ends(joined: &mut Flow, others: &[Flow]) {
    for other in others {
        let backend_is_local = side(other) == Side::Server;
        fill_endpoint(&mut joined.source, other.source.as_ref(), false);
        fill_endpoint(&mut joined.destination, other.destination.as_ref(), backend_is_local);
        fill_list(&mut joined.source_names, &other.source_names);
        fill_list(&mut joined.destination_names, &other.destination_names);
        if joined.tunnel.is_none() {
            joined.tunnel.clone_from(&other.tunnel);
        }
        if joined.ethernet.is_none() {
            joined.ethernet.clone_from(&other.ethernet);
        }
    }
}

fn fill_endpoint(known: &mut Option<Endpoint>, told: Option<&Endpoint>, knows_better: bool) {
    let is_pod = |end: &Endpoint| !end.pod_name.is_empty();
    let better =
        |told: &Endpoint| known.as_ref().is_none_or(|known| !is_pod(known) && (is_pod(told) || knows_better));
    if let Some(told) = told.filter(|told| better(told)) {
        *known = Some(told.clone());
    }
}

fn fill_list(known: &mut Vec<String>, told: &[String]) {
    if known.is_empty() {
        known.extend_from_slice(told);
    }
}

/// What the base's detail lacks, from who has it.
fn detail(joined: &mut Flow, flows: &[Flow]) {
    let nat = nat(flows);
    let Some(base) = &mut joined.weir else {
        return;
    };
    for other in flows.iter().skip(1).filter_map(|flow| flow.weir.as_ref()) {
        fill_detail(base, other);
    }
    if let (Some(nat), Some(ip)) = (&nat, &mut joined.ip)
        && ip.source_xlated.is_empty()
    {
        ip.source_xlated.clone_from(&nat.masquerade);
    }
    base.nat = nat;
}

fn fill_detail(base: &mut FlowDetail, other: &FlowDetail) {
    if base.source_node.is_empty() {
        base.source_node.clone_from(&other.source_node);
    }
    if base.destination_node.is_empty() {
        base.destination_node.clone_from(&other.destination_node);
    }
    for rule in &other.rule_names {
        if !base.rule_names.contains(rule) {
            base.rule_names.push(rule.clone());
        }
    }
    for rule in &other.logged_rules {
        if !base.logged_rules.contains(rule) {
            base.logged_rules.push(rule.clone());
        }
    }
    base.kernel_drops.extend_from_slice(&other.kernel_drops);
    base.kernel_drops_more += other.kernel_drops_more;
    if finality(other.state()) > finality(base.state()) {
        base.state = other.state;
    }
    if let (Some(base), Some(other)) = (&mut base.tcp, &other.tcp) {
        if base.closed_by == 0 {
            base.closed_by = other.closed_by;
        }
    } else if base.tcp.is_none() {
        base.tcp.clone_from(&other.tcp);
    }
}

/// How much a state says of how it went; the one that says most is the connection's.
const fn finality(state: ConnectionState) -> u8 {
    match state {
        ConnectionState::Unspecified => 0,
        ConnectionState::Opening => 1,
        ConnectionState::Evicted => 2,
        ConnectionState::Unanswered => 3,
        ConnectionState::Established => 4,
        ConnectionState::Idle => 5,
        ConnectionState::Closing => 6,
        ConnectionState::Rejected => 7,
        ConnectionState::Reset => 8,
        ConnectionState::Closed => 9,
    }
}

/// The translation from whoever knows its two halves; what the base did not know itself was learnt by the join.
fn nat(flows: &[Flow]) -> Option<Nat> {
    let told: Vec<&Nat> = flows.iter().filter_map(|flow| flow.weir.as_ref()?.nat.as_ref()).collect();
    let own = flows.first().and_then(|flow| flow.weir.as_ref()?.nat.clone());
    let mut nat = own.clone().or_else(|| told.first().map(|nat| (*nat).clone()))?;
    for other in told {
        if nat.vip.is_empty() {
            nat.vip.clone_from(&other.vip);
            nat.vip_port = other.vip_port;
        }
        if nat.masquerade.is_empty() {
            nat.masquerade.clone_from(&other.masquerade);
            nat.masquerade_port = other.masquerade_port;
        }
    }
    if own.as_ref() != Some(&nat) {
        nat.set_source(NatSource::Join);
    }
    Some(nat)
}

/// The client's node saw what was called: its Service is the Service, and if it saw none, there is none, whatever the
/// backend's node infers from its EndpointSlices.
fn services(joined: &mut Flow, flows: &[Flow]) {
    let Some(detail) = &mut joined.weir else {
        return;
    };
    let told = flows.iter().filter_map(|flow| flow.weir.as_ref());
    let exact = told.flat_map(|detail| &detail.services).find(|service| service.exact).cloned();
    let base = flows.first();
    let client_saw_it = base.is_some_and(|flow| side(flow) == Side::Client);
    let called_a_vip = detail.nat.as_ref().is_some_and(|nat| !nat.vip.is_empty());
    match exact {
        Some(service) => {
            joined.destination_service =
                Some(Service { name: service.name.clone(), namespace: service.namespace.clone() });
            detail.services = vec![service];
        }
        None if client_saw_it && !called_a_vip => {
            joined.destination_service = None;
            detail.services.clear();
        }
        None => {
            let inferred =
                flows.iter().find(|flow| flow.weir.as_ref().is_some_and(|d| !d.services.is_empty()));
            if let (Some(from), true) = (inferred, detail.services.is_empty()) {
                detail.services = from.weir.as_ref().map(|d| d.services.clone()).unwrap_or_default();
                joined.destination_service.clone_from(&from.destination_service);
            }
        }
    }
}

/// Each direction as the node of its pod judges it, and what contradicts that, once.
fn policies(joined: &mut Flow, flows: &[Flow]) {
    let Some(detail) = &mut joined.weir else {
        return;
    };
    let clients_first: Vec<&FlowDetail> = flows.iter().filter_map(|flow| flow.weir.as_ref()).collect();
    let servers_first: Vec<&FlowDetail> = clients_first.iter().rev().copied().collect();
    let sides = [
        (PolicyDirection::Egress, &clients_first),
        (PolicyDirection::Ingress, &servers_first),
        (PolicyDirection::Unspecified, &servers_first),
    ];
    (detail.policies, detail.disagreements) = (Vec::new(), Vec::new());
    for (direction, told) in sides {
        let judged = told.iter().flat_map(|told| &told.policies).find(|it| it.direction() == direction);
        detail.policies.extend(judged.cloned());
        let contradicted = told.iter().flat_map(|told| &told.disagreements);
        for disagreement in contradicted.filter(|it| it.direction() == direction) {
            if !detail.disagreements.iter().any(|known| is_same(known, disagreement)) {
                detail.disagreements.push(disagreement.clone());
            }
        }
    }
    // A node that judges one direction alone cannot know that the other one denies it.
    if detail.policies.iter().any(|it| it.ruling() == PolicyRuling::Denied) {
        detail.disagreements.retain(|it| it.conflict() != PolicyConflict::AllowedButDropped);
    }
}

/// Two nodes may tell it in other words.
fn is_same(one: &PolicyDisagreement, other: &PolicyDisagreement) -> bool {
    (one.direction, one.conflict) == (other.direction, other.conflict)
}

/// The verdict of the node with the strongest evidence, and all evidence together, strongest first.
fn verdict(joined: &mut Flow, flows: &[Flow]) {
    let strongest = flows.iter().max_by_key(|flow| (strength_of(flow), severity(flow.verdict())));
    if let Some(from) = strongest.filter(|from| from.verdict != joined.verdict) {
        take_verdict(joined, from);
    }
    let told = flows.iter().filter_map(|flow| flow.weir.as_ref());
    let mut all: Vec<Evidence> = Vec::new();
    for evidence in told.flat_map(|detail| &detail.evidence) {
        if !all.contains(evidence) {
            all.push(evidence.clone());
        }
    }
    all.sort_by_key(|evidence| std::cmp::Reverse(strength(evidence.observation())));
    if let Some(detail) = &mut joined.weir {
        detail.evidence = all;
    }
}

fn take_verdict(joined: &mut Flow, from: &Flow) {
    let from = from.clone();
    joined.verdict = from.verdict;
    joined.event_type = from.event_type;
    joined.drop_reason_desc = from.drop_reason_desc;
    joined.policy_match_type = from.policy_match_type;
    joined.trace_observation_point = from.trace_observation_point;
    joined.egress_allowed_by = from.egress_allowed_by;
    joined.ingress_allowed_by = from.ingress_allowed_by;
    joined.egress_denied_by = from.egress_denied_by;
    joined.ingress_denied_by = from.ingress_denied_by;
    joined.interface = from.interface;
    #[expect(deprecated, reason = "clients of Hubble's older interface read both")]
    {
        joined.drop_reason = from.drop_reason;
        joined.summary = from.summary;
    }
    if let (Some(detail), Some(from)) = (&mut joined.weir, from.weir) {
        detail.last_seen_at = from.last_seen_at;
    }
}

fn strength_of(flow: &Flow) -> u8 {
    // Its node knows of the delivery, or of the answer, and of the drop behind that.
    if flow.verdict() == Verdict::Dropped && flow.weir.iter().any(dropped_behind) {
        return u8::MAX;
    }
    let evidence = flow.weir.iter().flat_map(|detail| &detail.evidence);
    evidence.map(|evidence| strength(evidence.observation())).max().unwrap_or(0)
}

/// True where the kernel dropped the answer, or what was delivered, in its pod.
fn dropped_behind(detail: &FlowDetail) -> bool {
    detail.kernel_drops.iter().any(|drop| drop.loss && (drop.reply || !drop.pod_device.is_empty()))
}

/// What was seen to arrive is stronger than what was seen to be stopped, and that than what was not seen.
const fn strength(observation: Observation) -> u8 {
    match observation {
        Observation::Unspecified => 0,
        Observation::Unanswered => 1,
        Observation::PacketTooBig => 2,
        Observation::HopsExceeded => 3,
        Observation::ResetByNetwork => 4,
        Observation::IcmpUnreachable => 5,
        Observation::Logged => 6,
        Observation::KernelDrop => 7,
        Observation::ResetByEndpoint => 8,
        Observation::Answered => 9,
        Observation::Delivered => 10,
    }
}

/// Between equally strong evidence, the worse news.
const fn severity(verdict: Verdict) -> u8 {
    match verdict {
        Verdict::Unknown => 0,
        Verdict::Traced => 1,
        Verdict::Translated => 2,
        Verdict::Forwarded => 3,
        Verdict::Redirected => 4,
        Verdict::Audit => 5,
        Verdict::Error => 6,
        Verdict::Dropped => 7,
    }
}
