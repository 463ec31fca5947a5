//! Who has an address at a moment, for the naive evaluator: walks all objects, from the strongest claim to the weakest.

use std::net::IpAddr;

use ipnet::IpNet;
use weir_cluster::UnixNanos;
use weir_cluster::object::{Node, Pod, PodPhase};

use super::{Past, Snapshot};

/// Who has an address.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Party<'a> {
    Pod(&'a Pod),
    Node(&'a str),
    Service,
    Unknown,
    Outside,
}

impl Past {
    pub(super) fn at(&self, at: UnixNanos) -> Option<&Snapshot> {
        self.moments.iter().rev().find(|(from, _)| *from <= at).map(|(_, snapshot)| snapshot)
    }

    pub(super) fn party(&self, address: IpAddr, at: UnixNanos) -> Party<'_> {
        // weir: an IPv4 address in IPv6's clothes is that IPv4 address.
        let address = address.to_canonical();
        if let Some(owner) = self.at(at).and_then(|now| owner(now, address)) {
            return owner;
        }
        // weir: where a pod or a Service was or will be, and in the cluster's ranges, somebody may be who is not known.
        let last = self.moments.iter().rev().find_map(|(_, snapshot)| owner(snapshot, address));
        let of_nodes = self.moments.iter().flat_map(|(_, now)| &now.nodes).flat_map(|node| &node.pod_cidrs);
        let in_range = of_nodes.chain(&self.ranges).any(|range| range.contains(&address));
        match last {
            Some(Party::Pod(_) | Party::Service) => Party::Unknown,
            _ if in_range => Party::Unknown,
            _ => Party::Outside,
        }
    }
}

/// Who has the address. Of several that would have it, the one that is newer.
fn owner(now: &Snapshot, address: IpAddr) -> Option<Party<'_>> {
    // core/v1 NodeStatus.addresses.
    let nodes = || now.nodes.iter().filter(|node| node.addresses.contains(&address));
    if let Some(node) = nodes().max_by_key(|node| (node.created, &node.name)) {
        return Some(Party::Node(&node.name));
    }
    // core/v1 PodStatus.phase: one that succeeded or failed has stopped all its containers, and its address is free.
    let alive = |pod: &&Pod| !matches!(pod.phase, PodPhase::Succeeded | PodPhase::Failed);
    let mut pods: Vec<&Pod> =
        now.pods.iter().filter(alive).filter(|pod| pod.addresses.contains(&address)).collect();
    pods.sort_by(|one, other| {
        (one.created, &one.uid, &one.name).cmp(&(other.created, &other.uid, &other.name))
    });
    // core/v1 PodSpec.hostNetwork: the pod uses its node's network.
    if let Some(pod) = pods.iter().rev().find(|pod| pod.host_network) {
        return Some(Party::Node(&pod.node));
    }
    if let Some(pod) = pods.last() {
        return Some(Party::Pod(pod));
    }
    // weir: the first two addresses of a node's pod range are its tunnel's and its bridge's.
    let gateway = |node: &&Node| node.pod_cidrs.iter().any(|range| first_two(range).contains(&Some(address)));
    if let Some(node) = now.nodes.iter().filter(gateway).max_by_key(|node| (node.created, &node.name)) {
        return Some(Party::Node(&node.name));
    }
    // core/v1 ServiceSpec.clusterIPs.
    let service = now.services.iter().any(|service| service.cluster_addresses.contains(&address));
    service.then_some(Party::Service)
}

/// None of a range of no more than two: those are pods'.
fn first_two(range: &IpNet) -> [Option<IpAddr>; 2] {
    if range.prefix_len() + 1 >= range.max_prefix_len() {
        return [None, None];
    }
    let first = range.network();
    let second = match first {
        IpAddr::V4(first) => IpAddr::V4((u32::from(first) + 1).into()),
        IpAddr::V6(first) => IpAddr::V6((u128::from(first) + 1).into()),
    };
    [Some(first), Some(second)]
}
