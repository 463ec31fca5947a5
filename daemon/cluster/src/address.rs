//! Who claims an address: pods, nodes, the nodes' gateways and Services; and which claim holds.
//!
//! The traps are here. A pod that is over claims nothing. A host-network pod claims its address for its node. The first
//! two addresses of a node's pod range are the node's own tunnel (flannel.1) and bridge (cni0), unless a pod has one.
//! Of two pods on one address the newer holds it.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use crate::UnixNanos;
use crate::endpoint::{Endpoint, Holder};
use crate::object::{Node, ObjectKey, Pod};

/// Why an address is claimed; the later in this list, the stronger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Reason {
    /// It is a Service's (whose external address may well be a node's).
    Service,
    /// It is the first or second of a node's pod range.
    Gateway,
    /// It is a pod's own.
    Pod,
    /// A host-network pod has it, so it is a node's.
    HostNetworkPod,
    /// The Node object lists it.
    Node,
}

/// How strong a claim is: by its reason, then by age, then by what is the same on every node and in every run.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Strength {
    pub(crate) reason: Reason,
    created: UnixNanos,
    uid: Arc<str>,
    claimant: ObjectKey,
}

/// For whom an address is claimed.
#[derive(Clone, Debug)]
pub(crate) enum Claimed {
    Endpoint(Arc<Endpoint>),
    Node(Arc<str>),
}

pub(crate) type AddressClaim = (IpAddr, Strength, Claimed);

/// What a pod claims. `endpoint` makes its endpoint, where one is needed.
pub(crate) fn pod_claims(
    pod: &Pod,
    key: &ObjectKey,
    endpoint: impl FnOnce() -> Arc<Endpoint>,
) -> Vec<AddressClaim> {
    if !pod.phase.owns_address() || pod.addresses.is_empty() {
        return Vec::new();
    }
    let (reason, claimed) = if pod.host_network {
        (Reason::HostNetworkPod, Claimed::Node(Arc::clone(&pod.node)))
    } else {
        (Reason::Pod, Claimed::Endpoint(endpoint()))
    };
    let strength =
        Strength { reason, created: pod.created, uid: Arc::clone(&pod.uid), claimant: key.clone() };
    pod.addresses.iter().map(|address| (*address, strength.clone(), claimed.clone())).collect()
}

/// What a node claims: its addresses, and those its tunnel and bridge have in its pod ranges.
pub(crate) fn node_claims(node: &Node, key: &ObjectKey) -> Vec<AddressClaim> {
    let claim = |reason, address| {
        let strength = Strength { reason, created: node.created, uid: "".into(), claimant: key.clone() };
        (address, strength, Claimed::Node(Arc::clone(&node.name)))
    };
    let own = node.addresses.iter().map(|address| claim(Reason::Node, *address));
    let gateways = node.pod_cidrs.iter().flat_map(gateways).map(|address| claim(Reason::Gateway, address));
    own.chain(gateways).collect()
}

/// What a Service claims.
pub(crate) fn service_claims(
    addresses: impl Iterator<Item = IpAddr>,
    key: &ObjectKey,
    endpoint: &Arc<Endpoint>,
) -> Vec<AddressClaim> {
    addresses
        .map(|address| {
            let strength = Strength {
                reason: Reason::Service,
                created: UnixNanos::ZERO,
                uid: "".into(),
                claimant: key.clone(),
            };
            (address, strength, Claimed::Endpoint(Arc::clone(endpoint)))
        })
        .collect()
}

/// The first two addresses of a pod range: x.y.z.0 is flannel.1's, x.y.z.1 the bridge's. A range of a single address or
/// two is a pod's.
fn gateways(net: &IpNet) -> Vec<IpAddr> {
    if net.max_prefix_len() - net.prefix_len() < 2 {
        return Vec::new();
    }
    match net.network() {
        IpAddr::V4(first) => vec![first.into(), IpAddr::V4((u32::from(first) + 1).into())],
        IpAddr::V6(first) => vec![first.into(), IpAddr::V6((u128::from(first) + 1).into())],
    }
}

/// Who holds an address, given the claims to it from weakest to strongest.
pub(crate) fn holder_of(claims: &[(Strength, Claimed)], is_apiserver: bool) -> Option<Holder> {
    match claims.last() {
        Some((_, Claimed::Endpoint(endpoint))) => Some(Holder::One(Arc::clone(endpoint))),
        Some((_, Claimed::Node(name))) => Some(Holder::node(name, is_apiserver)),
        None => is_apiserver.then(Holder::outside_apiserver),
    }
}

/// Whether two pods claim the address as their own.
pub(crate) fn is_contested(claims: &[(Strength, Claimed)]) -> bool {
    claims.iter().filter(|(strength, _)| strength.reason == Reason::Pod).count() > 1
}

/// Whether an address never belongs to the cluster by its range alone: multicast, broadcast, link-local, unspecified.
pub(crate) fn is_beyond_ranges(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_multicast() || v4.is_broadcast() || v4.is_link_local() || v4.is_unspecified(),
        IpAddr::V6(v6) => v6.is_multicast() || v6.is_unicast_link_local() || v6.is_unspecified(),
    }
}
