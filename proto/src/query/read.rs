//! How each field is read from a flow. What a flow does not carry is given to nobody.

use prost_types::Timestamp;

use super::field::{Datum, Sink};
use super::words::DENIED;
use crate::filter::End::{self, Destination, Source};
use crate::filter::{http as message, l4};
use crate::flow::layer4::Protocol;
use crate::flow::layer7::Record;
use crate::flow::{Dns, DropReason, Flow, Policy, Verdict, tunnel as outer};
use crate::weir::v1::{ConnectionState, Counters, FlowDetail, Observation, Tcp};

/// Identities and labels of a node itself, and of what is outside.
const NODES: [u32; 2] = [1, 6];
const NODE_LABELS: [&str; 2] = ["reserved:host", "reserved:remote-node"];
const WORLDS: [u32; 3] = [2, 9, 10];
const WORLD_LABELS: [&str; 3] = ["reserved:world", "reserved:world-ipv4", "reserved:world-ipv6"];

const fn detail(flow: &Flow) -> Option<&FlowDetail> {
    flow.weir.as_ref()
}

pub(super) fn pod(flow: &Flow, end: End, sink: &mut Sink<'_>) {
    if let Some(endpoint) = end.endpoint(flow) {
        sink.name(&endpoint.namespace, &endpoint.pod_name);
    }
}

pub(super) fn namespace(flow: &Flow, end: End, sink: &mut Sink<'_>) {
    if let Some(endpoint) = end.endpoint(flow) {
        sink.text(&endpoint.namespace);
    }
    if let Some(service) = end.service(flow) {
        sink.text(&service.namespace);
    }
    for service in end.found_services(flow) {
        sink.text(&service.namespace);
    }
}

pub(super) fn service(flow: &Flow, end: End, sink: &mut Sink<'_>) {
    if let Some(service) = end.service(flow) {
        sink.name(&service.namespace, &service.name);
    }
    for service in end.found_services(flow) {
        sink.name(&service.namespace, &service.name);
    }
}

pub(super) fn workload(flow: &Flow, end: End, sink: &mut Sink<'_>) {
    for workload in end.endpoint(flow).map_or(&[][..], |endpoint| &endpoint.workloads) {
        sink.name(&workload.kind, &workload.name);
    }
}

/// Also none: a selector may ask for the lack of one.
pub(super) fn labels(flow: &Flow, end: End, sink: &mut Sink<'_>) {
    sink.take(Datum::Labels(end.endpoint(flow).map_or(&[][..], |endpoint| &endpoint.labels)));
}

pub(super) fn ip(flow: &Flow, end: End, sink: &mut Sink<'_>) {
    sink.text(end.address(flow).unwrap_or_default());
    sink.text(end.translated(flow).map_or("", |(address, _)| address));
}

pub(super) fn port(flow: &Flow, end: End, sink: &mut Sink<'_>) {
    let Some(port) = end.port(flow) else { return };
    sink.number(port);
    if let Some((_, port)) = end.translated(flow) {
        sink.number(port);
    }
}

pub(super) fn name(flow: &Flow, end: End, sink: &mut Sink<'_>) {
    sink.texts(end.names(flow));
}

pub(super) fn identity(flow: &Flow, end: End, sink: &mut Sink<'_>) {
    sink.number(end.endpoint(flow).map_or(0, |endpoint| endpoint.identity));
}

pub(super) fn node(flow: &Flow, end: End, sink: &mut Sink<'_>) {
    sink.text(detail(flow).map_or("", |detail| match end {
        Source => &detail.source_node,
        Destination => &detail.destination_node,
    }));
}

pub(super) fn cluster(flow: &Flow, end: End, sink: &mut Sink<'_>) {
    sink.text(end.endpoint(flow).map_or("", |endpoint| &endpoint.cluster_name));
}

fn is_reserved(flow: &Flow, end: End, identities: &[u32], labels: &[&str]) -> bool {
    end.endpoint(flow).is_some_and(|endpoint| {
        identities.contains(&endpoint.identity)
            || endpoint.labels.iter().any(|label| labels.contains(&label.as_str()))
    })
}

pub(super) fn host(flow: &Flow, end: End, sink: &mut Sink<'_>) {
    sink.flag(is_reserved(flow, end, &NODES, &NODE_LABELS));
}

pub(super) fn world(flow: &Flow, end: End, sink: &mut Sink<'_>) {
    sink.flag(is_reserved(flow, end, &WORLDS, &WORLD_LABELS));
}

pub(super) fn any(flow: &Flow, _: End, sink: &mut Sink<'_>) {
    for end in [Source, Destination] {
        for read in [pod, namespace, service, workload, ip, name, node] {
            read(flow, end, sink);
        }
    }
    dns_query(flow, Source, sink);
}

pub(super) fn verdict(flow: &Flow, _: End, sink: &mut Sink<'_>) {
    sink.word(flow.verdict);
    if flow.verdict() == Verdict::Dropped
        && matches!(flow.drop_reason_desc(), DropReason::PolicyDenied | DropReason::PolicyDeny)
    {
        sink.number(DENIED);
    }
}

/// Only dropped flows have one.
pub(super) fn drop_reason(flow: &Flow, _: End, sink: &mut Sink<'_>) {
    if flow.verdict() == Verdict::Dropped {
        sink.word(flow.drop_reason_desc);
    }
}

fn is_state(flow: &Flow, state: ConnectionState) -> bool {
    detail(flow).is_some_and(|detail| detail.state() == state)
}

fn is_observed(flow: &Flow, observations: &[Observation]) -> bool {
    let evidence = detail(flow).map_or(&[][..], |detail| &detail.evidence);
    evidence.iter().any(|evidence| observations.contains(&evidence.observation()))
}

pub(super) fn unanswered(flow: &Flow, _: End, sink: &mut Sink<'_>) {
    sink.flag(is_state(flow, ConnectionState::Unanswered) || is_observed(flow, &[Observation::Unanswered]));
}

pub(super) fn rejected(flow: &Flow, _: End, sink: &mut Sink<'_>) {
    let refusals = [Observation::IcmpUnreachable, Observation::ResetByNetwork];
    sink.flag(is_state(flow, ConnectionState::Rejected) || is_observed(flow, &refusals));
}

pub(super) fn evidence(flow: &Flow, _: End, sink: &mut Sink<'_>) {
    for evidence in detail(flow).map_or(&[][..], |detail| &detail.evidence) {
        sink.word(evidence.observation);
    }
}

pub(super) fn rule(flow: &Flow, _: End, sink: &mut Sink<'_>) {
    sink.texts(detail(flow).map_or(&[][..], |detail| &detail.rule_names));
}

pub(super) fn policy(flow: &Flow, _: End, sink: &mut Sink<'_>) {
    let lists: [&[Policy]; 4] =
        [&flow.egress_allowed_by, &flow.ingress_allowed_by, &flow.egress_denied_by, &flow.ingress_denied_by];
    for policy in lists.into_iter().flatten() {
        sink.name(&policy.namespace, &policy.name);
    }
}

pub(super) fn protocol(flow: &Flow, _: End, sink: &mut Sink<'_>) {
    for (number, (_, is_carried)) in (0u64..).zip(l4::PROTOCOLS) {
        if is_carried(flow) {
            sink.number(number);
        }
    }
}

pub(super) fn event_type(flow: &Flow, _: End, sink: &mut Sink<'_>) {
    if let Some(event) = &flow.event_type {
        sink.word(event.r#type);
    }
}

pub(super) fn point(flow: &Flow, _: End, sink: &mut Sink<'_>) {
    sink.word(flow.trace_observation_point);
}

pub(super) fn direction(flow: &Flow, _: End, sink: &mut Sink<'_>) {
    sink.word(flow.traffic_direction);
}

pub(super) fn reply(flow: &Flow, _: End, sink: &mut Sink<'_>) {
    sink.flag(flow.is_reply == Some(true));
}

pub(super) fn ip_version(flow: &Flow, _: End, sink: &mut Sink<'_>) {
    sink.word(flow.ip.as_ref().map_or(0, |ip| ip.ip_version));
}

pub(super) fn encrypted(flow: &Flow, _: End, sink: &mut Sink<'_>) {
    sink.flag(flow.ip.as_ref().is_some_and(|ip| ip.encrypted));
}

/// With the cluster before it and without.
pub(super) fn observer(flow: &Flow, _: End, sink: &mut Sink<'_>) {
    sink.text(&flow.node_name);
    if let Some((_, node)) = flow.node_name.split_once('/') {
        sink.text(node);
    }
}

pub(super) fn state(flow: &Flow, _: End, sink: &mut Sink<'_>) {
    if let Some(detail) = detail(flow) {
        sink.word(detail.state);
    }
}

pub(super) fn reason(flow: &Flow, _: End, sink: &mut Sink<'_>) {
    if let Some(detail) = detail(flow) {
        sink.word(detail.reason);
    }
}

pub(super) fn vip(flow: &Flow, _: End, sink: &mut Sink<'_>) {
    if let Some(nat) = detail(flow).and_then(|detail| detail.nat.as_ref()) {
        sink.text(&nat.vip);
    }
}

pub(super) fn snat(flow: &Flow, _: End, sink: &mut Sink<'_>) {
    if let Some(ip) = &flow.ip {
        sink.text(&ip.source_xlated);
    }
    if let Some(nat) = detail(flow).and_then(|detail| detail.nat.as_ref()) {
        sink.text(&nat.masquerade);
    }
}

pub(super) fn nat(flow: &Flow, _: End, sink: &mut Sink<'_>) {
    if let Some(nat) = detail(flow).and_then(|detail| detail.nat.as_ref()) {
        sink.word(nat.source);
    }
}

pub(super) fn tunnel(flow: &Flow, _: End, sink: &mut Sink<'_>) {
    match flow.tunnel.as_ref().map(crate::flow::Tunnel::protocol) {
        Some(outer::Protocol::Vxlan) => sink.text("vxlan"),
        Some(outer::Protocol::Geneve) => sink.text("geneve"),
        Some(outer::Protocol::Unknown) | None => {}
    }
    for point in detail(flow).map_or(&[][..], |detail| &detail.path) {
        sink.text(point.tunnel.as_ref().map_or("", |tunnel| &tunnel.protocol));
    }
}

pub(super) fn vni(flow: &Flow, _: End, sink: &mut Sink<'_>) {
    if let Some(tunnel) = &flow.tunnel {
        sink.number(tunnel.vni);
    }
    for point in detail(flow).map_or(&[][..], |detail| &detail.path) {
        if let Some(tunnel) = &point.tunnel {
            sink.number(tunnel.vni);
        }
    }
}

pub(super) fn device(flow: &Flow, _: End, sink: &mut Sink<'_>) {
    sink.text(flow.interface.as_ref().map_or("", |interface| &interface.name));
    for point in detail(flow).map_or(&[][..], |detail| &detail.path) {
        sink.text(&point.device);
    }
}

pub(super) fn role(flow: &Flow, _: End, sink: &mut Sink<'_>) {
    for point in detail(flow).map_or(&[][..], |detail| &detail.path) {
        sink.word(point.role);
    }
}

const fn tcp(flow: &Flow) -> Option<&Tcp> {
    match detail(flow) {
        Some(detail) => detail.tcp.as_ref(),
        None => None,
    }
}

pub(super) fn rtt(flow: &Flow, _: End, sink: &mut Sink<'_>) {
    sink.known(tcp(flow).map_or(0, |tcp| tcp.handshake_server_ns.saturating_add(tcp.handshake_client_ns)));
}

pub(super) fn retransmissions(flow: &Flow, _: End, sink: &mut Sink<'_>) {
    if let Some(tcp) = tcp(flow) {
        sink.number(u64::from(tcp.retransmissions_forward) + u64::from(tcp.retransmissions_reverse));
    }
}

pub(super) fn syns(flow: &Flow, _: End, sink: &mut Sink<'_>) {
    if let Some(tcp) = tcp(flow) {
        sink.number(tcp.syns);
    }
}

pub(super) fn closed_by(flow: &Flow, _: End, sink: &mut Sink<'_>) {
    if let Some(tcp) = tcp(flow) {
        sink.word(tcp.closed_by);
    }
}

pub(super) fn tcp_flags(flow: &Flow, _: End, sink: &mut Sink<'_>) {
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

const fn total(flow: &Flow) -> Option<&Counters> {
    match detail(flow) {
        Some(detail) => detail.total.as_ref(),
        None => None,
    }
}

pub(super) fn bytes(flow: &Flow, _: End, sink: &mut Sink<'_>) {
    if let Some(total) = total(flow) {
        sink.number(total.ip_bytes_forward.saturating_add(total.ip_bytes_reverse));
    }
}

pub(super) fn sent(flow: &Flow, _: End, sink: &mut Sink<'_>) {
    if let Some(total) = total(flow) {
        sink.number(total.ip_bytes_forward);
    }
}

pub(super) fn received(flow: &Flow, _: End, sink: &mut Sink<'_>) {
    if let Some(total) = total(flow) {
        sink.number(total.ip_bytes_reverse);
    }
}

pub(super) fn packets(flow: &Flow, _: End, sink: &mut Sink<'_>) {
    if let Some(total) = total(flow) {
        sink.number(total.packets_forward.saturating_add(total.packets_reverse));
    }
}

pub(super) fn duration(flow: &Flow, _: End, sink: &mut Sink<'_>) {
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

pub(super) fn incomplete(flow: &Flow, _: End, sink: &mut Sink<'_>) {
    for lack in detail(flow).map_or(&[][..], |detail| &detail.incomplete) {
        sink.word(*lack);
    }
}

pub(super) fn correction(flow: &Flow, _: End, sink: &mut Sink<'_>) {
    sink.flag(detail(flow).is_some_and(|detail| detail.correction));
}

pub(super) fn counts(flow: &Flow, _: End, sink: &mut Sink<'_>) {
    sink.flag(detail(flow).is_some_and(|detail| detail.counts));
}

fn dns(flow: &Flow) -> Option<&Dns> {
    match flow.l7.as_ref()?.record.as_ref()? {
        Record::Dns(dns) => Some(dns),
        _ => None,
    }
}

pub(super) fn dns_query(flow: &Flow, _: End, sink: &mut Sink<'_>) {
    sink.text(dns(flow).map_or("", |dns| &dns.query));
}

/// Only an answer has one.
pub(super) fn dns_rcode(flow: &Flow, _: End, sink: &mut Sink<'_>) {
    let answer = flow.l7.as_ref().is_some_and(|l7| l7.r#type() == crate::flow::L7FlowType::Response);
    if let Some(dns) = dns(flow).filter(|_| answer) {
        sink.number(dns.rcode);
    }
}

pub(super) fn dns_type(flow: &Flow, _: End, sink: &mut Sink<'_>) {
    sink.texts(dns(flow).map_or(&[][..], |dns| &dns.qtypes));
}

pub(super) fn dns_answer(flow: &Flow, _: End, sink: &mut Sink<'_>) {
    sink.texts(dns(flow).map_or(&[][..], |dns| &dns.ips));
}

pub(super) fn dns_latency(flow: &Flow, _: End, sink: &mut Sink<'_>) {
    if dns(flow).is_some() {
        let told = detail(flow).map_or(0, |detail| detail.dns_latency_ns);
        sink.known(if told > 0 { told } else { flow.l7.as_ref().map_or(0, |l7| l7.latency_ns) });
    }
}

pub(super) fn http(flow: &Flow, _: End, sink: &mut Sink<'_>) {
    sink.flag(message::message(flow).is_some());
}

pub(super) fn http_status(flow: &Flow, _: End, sink: &mut Sink<'_>) {
    sink.known(message::message(flow).map_or(0, |http| http.code));
}

pub(super) fn http_method(flow: &Flow, _: End, sink: &mut Sink<'_>) {
    sink.text(message::message(flow).map_or("", |http| &http.method));
}

pub(super) fn http_path(flow: &Flow, _: End, sink: &mut Sink<'_>) {
    if let Some(path) = message::message(flow).and_then(|http| message::path_of(&http.url)) {
        sink.take(Datum::Text(&path));
    }
}

pub(super) fn http_url(flow: &Flow, _: End, sink: &mut Sink<'_>) {
    if let Some(http) = message::message(flow) {
        sink.take(Datum::Text(&http.url));
    }
}

pub(super) fn http_header(flow: &Flow, _: End, sink: &mut Sink<'_>) {
    for header in message::message(flow).map_or(&[][..], |http| &http.headers) {
        sink.text(&format!("{}:{}", header.key, header.value));
    }
}

pub(super) fn http_latency(flow: &Flow, _: End, sink: &mut Sink<'_>) {
    if message::message(flow).is_some() {
        sink.known(flow.l7.as_ref().map_or(0, |l7| l7.latency_ns));
    }
}

pub(super) fn uuid(flow: &Flow, _: End, sink: &mut Sink<'_>) {
    sink.text(&flow.uuid);
}

pub(super) fn connection(flow: &Flow, _: End, sink: &mut Sink<'_>) {
    if let Some(detail) = detail(flow) {
        sink.number(detail.connection_id);
    }
}

pub(super) fn join(flow: &Flow, _: End, sink: &mut Sink<'_>) {
    if let Some(detail) = detail(flow) {
        sink.number(detail.join_key);
    }
}

pub(super) fn community(flow: &Flow, _: End, sink: &mut Sink<'_>) {
    sink.text(detail(flow).map_or("", |detail| &detail.community_id));
}

pub(super) fn trace(flow: &Flow, _: End, sink: &mut Sink<'_>) {
    let parent = flow.trace_context.as_ref().and_then(|context| context.parent.as_ref());
    sink.text(parent.map_or("", |parent| &parent.trace_id));
}
