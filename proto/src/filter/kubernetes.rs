//! Fields about what Kubernetes calls the ends: pod, namespace, Service, labels, workload, identity, cluster; and the
//! node that reports the flow.

use super::{Predicate, Reason, predicate};
use crate::flow::Workload;
use crate::matching::{End, Glob, Malformed, NamespacedPrefix, Selector};

/// The cluster of a node whose name says none.
const DEFAULT_CLUSTER: &str = "default";

/// `source_pod`, `destination_pod`.
pub(super) fn pod(end: End, text: &str) -> Result<Predicate, Reason> {
    let wanted = NamespacedPrefix::parse(text)?;
    predicate(move |flow| {
        end.endpoint(flow).is_some_and(|endpoint| wanted.matches(&endpoint.namespace, &endpoint.pod_name))
    })
}

/// `source_service`, `destination_service`: the Service that the flow names, or one that weir found its server to stand
/// for.
pub(super) fn service(end: End, text: &str) -> Result<Predicate, Reason> {
    let wanted = NamespacedPrefix::parse(text)?;
    predicate(move |flow| {
        end.service(flow).is_some_and(|service| wanted.matches(&service.namespace, &service.name))
            || end
                .found_services(flow)
                .iter()
                .any(|service| wanted.matches(&service.namespace, &service.name))
    })
}

/// `source_label`, `destination_label`: a label selector.
pub(super) fn labels(end: End, text: &str) -> Result<Predicate, Reason> {
    let wanted = Selector::parse(text)?;
    predicate(move |flow| wanted.matches(end.endpoint(flow).map_or(&[][..], |endpoint| &endpoint.labels)))
}

/// `node_labels`: a label selector on the node that reports the flow.
pub(super) fn node_labels(text: &str) -> Result<Predicate, Reason> {
    let wanted = Selector::parse(text)?;
    predicate(move |flow| wanted.matches(&flow.node_labels))
}

/// `source_identity`, `destination_identity`; an end without one has 0.
pub(super) fn identity(end: End, wanted: u32) -> Result<Predicate, Reason> {
    predicate(move |flow| end.endpoint(flow).map_or(0, |endpoint| endpoint.identity) == wanted)
}

/// `source_workload`, `destination_workload`: name, kind or both.
pub(super) fn workload(end: End, wanted: &Workload) -> Result<Predicate, Reason> {
    let Workload { name, kind } = wanted.clone();
    if name.is_empty() && kind.is_empty() {
        return Err(Malformed::EmptyWorkload.into());
    }
    predicate(move |flow| {
        end.endpoint(flow).is_some_and(|endpoint| {
            endpoint.workloads.iter().any(|workload| {
                (name.is_empty() || name == workload.name) && (kind.is_empty() || kind == workload.kind)
            })
        })
    })
}

/// `source_cluster_name`, `destination_cluster_name`: the exact name.
pub(super) fn cluster(end: End, text: &str) -> Result<Predicate, Reason> {
    if text.is_empty() {
        return Err(Malformed::Empty.into());
    }
    let wanted = text.to_owned();
    predicate(move |flow| end.endpoint(flow).is_some_and(|endpoint| endpoint.cluster_name == wanted))
}

/// `node_name`: `node` or `cluster/node`, each a pattern as of names; an empty one matches all.
pub(super) fn node_name(text: &str) -> Result<Predicate, Reason> {
    if text.is_empty() {
        return Err(Malformed::Empty.into());
    }
    let (cluster, node) = text.split_once('/').unwrap_or(("", text));
    if node.contains('/') {
        return Err(Reason::Slashes(text.to_owned()));
    }
    let part = |pattern: &str| if pattern.is_empty() { Ok(Glob::any()) } else { Glob::parse(pattern) };
    let (wanted_cluster, wanted_node) = (part(cluster)?, part(node)?);
    predicate(move |flow| {
        let (cluster, node) = flow.node_name.split_once('/').unwrap_or((DEFAULT_CLUSTER, &flow.node_name));
        wanted_cluster.matches(cluster) && wanted_node.matches(node)
    })
}
