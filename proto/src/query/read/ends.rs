//! What a flow says of either end.

use super::super::field::{Datum, Sink};
use super::detail;
use super::message::dns_query;
use crate::flow::Flow;
use crate::matching::End::{self, Destination, Source};

/// Identities and labels of a node itself, and of what is outside.
const NODES: [u32; 2] = [1, 6];
const NODE_LABELS: [&str; 2] = ["reserved:host", "reserved:remote-node"];
const WORLDS: [u32; 3] = [2, 9, 10];
const WORLD_LABELS: [&str; 3] = ["reserved:world", "reserved:world-ipv4", "reserved:world-ipv6"];

pub(in crate::query) fn pod(flow: &Flow, end: End, sink: &mut Sink<'_>) {
    if let Some(endpoint) = end.endpoint(flow) {
        sink.name(&endpoint.namespace, &endpoint.pod_name);
    }
}

pub(in crate::query) fn namespace(flow: &Flow, end: End, sink: &mut Sink<'_>) {
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

pub(in crate::query) fn service(flow: &Flow, end: End, sink: &mut Sink<'_>) {
    if let Some(service) = end.service(flow) {
        sink.name(&service.namespace, &service.name);
    }
    for service in end.found_services(flow) {
        sink.name(&service.namespace, &service.name);
    }
}

pub(in crate::query) fn workload(flow: &Flow, end: End, sink: &mut Sink<'_>) {
    for workload in end.endpoint(flow).map_or(&[][..], |endpoint| &endpoint.workloads) {
        sink.name(&workload.kind, &workload.name);
    }
}

/// Also none: a selector may ask for the lack of one.
pub(in crate::query) fn labels(flow: &Flow, end: End, sink: &mut Sink<'_>) {
    sink.take(Datum::Labels(end.endpoint(flow).map_or(&[][..], |endpoint| &endpoint.labels)));
}

pub(in crate::query) fn ip(flow: &Flow, end: End, sink: &mut Sink<'_>) {
    sink.text(end.address(flow).unwrap_or_default());
    sink.text(end.translated(flow).map_or("", |(address, _)| address));
}

pub(in crate::query) fn port(flow: &Flow, end: End, sink: &mut Sink<'_>) {
    let Some(port) = end.port(flow) else { return };
    sink.number(port);
    if let Some((_, port)) = end.translated(flow) {
        sink.number(port);
    }
}

pub(in crate::query) fn name(flow: &Flow, end: End, sink: &mut Sink<'_>) {
    sink.texts(end.names(flow));
}

pub(in crate::query) fn identity(flow: &Flow, end: End, sink: &mut Sink<'_>) {
    sink.number(end.endpoint(flow).map_or(0, |endpoint| endpoint.identity));
}

pub(in crate::query) fn node(flow: &Flow, end: End, sink: &mut Sink<'_>) {
    sink.text(detail(flow).map_or("", |detail| match end {
        Source => &detail.source_node,
        Destination => &detail.destination_node,
    }));
}

pub(in crate::query) fn cluster(flow: &Flow, end: End, sink: &mut Sink<'_>) {
    sink.text(end.endpoint(flow).map_or("", |endpoint| &endpoint.cluster_name));
}

fn is_reserved(flow: &Flow, end: End, identities: &[u32], labels: &[&str]) -> bool {
    end.endpoint(flow).is_some_and(|endpoint| {
        identities.contains(&endpoint.identity)
            || endpoint.labels.iter().any(|label| labels.contains(&label.as_str()))
    })
}

pub(in crate::query) fn host(flow: &Flow, end: End, sink: &mut Sink<'_>) {
    sink.flag(is_reserved(flow, end, &NODES, &NODE_LABELS));
}

pub(in crate::query) fn world(flow: &Flow, end: End, sink: &mut Sink<'_>) {
    sink.flag(is_reserved(flow, end, &WORLDS, &WORLD_LABELS));
}

pub(in crate::query) fn any(flow: &Flow, _: End, sink: &mut Sink<'_>) {
    for end in [Source, Destination] {
        for read in [pod, namespace, service, workload, ip, name, node] {
            read(flow, end, sink);
        }
    }
    dns_query(flow, Source, sink);
}
