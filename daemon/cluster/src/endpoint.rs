//! Who owns an address, as a flow tells it: the endpoint, its numeric identity and its labels as on Hubble's wire.
//!
//! The numbers below 256 and the labels `reserved:...` are Hubble's; those of pods and Services are made in `label`.

use std::sync::Arc;

use crate::policy::Subject;

/// Numeric identity: stable hash of a label set, or one of Hubble's reserved numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Identity(pub u32);

impl Identity {
    /// The node that answers for itself.
    pub const HOST: Self = Self(1);
    /// Outside the cluster.
    pub const WORLD: Self = Self(2);
    /// In the cluster, but nobody's that is known.
    pub const UNMANAGED: Self = Self(3);
    /// Another node.
    pub const REMOTE_NODE: Self = Self(6);
    /// The API server, unless it is on the node that answers.
    pub const KUBE_APISERVER: Self = Self(7);
}

const HOST_LABEL: &str = "reserved:host";
const WORLD_LABEL: &str = "reserved:world";
const UNMANAGED_LABEL: &str = "reserved:unmanaged";
const REMOTE_NODE_LABEL: &str = "reserved:remote-node";
const KUBE_APISERVER_LABEL: &str = "reserved:kube-apiserver";

/// What owns an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EndpointKind {
    /// Exactly one pod with an address of its own.
    Pod,
    /// A node's own address: the node, its host-network pods, its tunnel and gateway addresses.
    Node,
    /// A Service's address: ClusterIP, load balancer or external address. No backend behind it is known.
    Service,
    /// Inside a pod or Service range, but nobody's.
    Unmanaged,
    /// Outside the cluster.
    World,
}

/// The owner of an address at a time, ready to be put into a flow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// What it is.
    pub kind: EndpointKind,
    /// Its number.
    pub identity: Identity,
    /// Namespace of pod or Service, empty otherwise.
    pub namespace: Arc<str>,
    /// Name of the pod, empty otherwise. Never set for host-network pods: their address is the node's.
    pub pod_name: Arc<str>,
    /// Labels as on Hubble's wire, sorted: `k8s:app=web`, `reserved:world`.
    pub labels: Arc<[String]>,
    /// Owning workload, by owner references: kind and name. For a Service's address the Service.
    pub workload: Option<Workload>,
    /// Node of the pod, or the node itself; empty otherwise.
    pub node: Arc<str>,
    /// What policies ask of a pod; none of everything else.
    pub subject: Option<Arc<Subject>>,
}

/// The controller that made a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workload {
    /// Kind, as `Deployment`.
    pub kind: Arc<str>,
    /// Name.
    pub name: Arc<str>,
}

impl Endpoint {
    /// What has only reserved labels, and belongs to no namespace.
    fn reserved(kind: EndpointKind, identity: Identity, labels: &[&str], node: &Arc<str>) -> Arc<Self> {
        Arc::new(Self {
            kind,
            identity,
            namespace: "".into(),
            pod_name: "".into(),
            labels: labels.iter().map(|label| (*label).to_owned()).collect(),
            workload: None,
            node: Arc::clone(node),
            subject: None,
        })
    }

    pub(crate) fn world() -> Arc<Self> {
        Self::reserved(EndpointKind::World, Identity::WORLD, &[WORLD_LABEL], &"".into())
    }

    pub(crate) fn unmanaged() -> Arc<Self> {
        Self::reserved(EndpointKind::Unmanaged, Identity::UNMANAGED, &[UNMANAGED_LABEL], &"".into())
    }

    /// The API server outside the cluster, as of a managed control plane.
    fn outside_apiserver() -> Arc<Self> {
        let labels = [KUBE_APISERVER_LABEL, WORLD_LABEL];
        Self::reserved(EndpointKind::World, Identity::KUBE_APISERVER, &labels, &"".into())
    }

    /// A node seen by itself. Hubble keeps number 1 even where the API server runs on it.
    pub(crate) fn host(node: &Arc<str>, is_apiserver: bool) -> Arc<Self> {
        let labels = [HOST_LABEL, KUBE_APISERVER_LABEL];
        let labels = if is_apiserver { &labels[..] } else { &labels[..1] };
        Self::reserved(EndpointKind::Node, Identity::HOST, labels, node)
    }

    /// A node seen by another.
    fn remote_node(node: &Arc<str>, is_apiserver: bool) -> Arc<Self> {
        if is_apiserver {
            let labels = [KUBE_APISERVER_LABEL, REMOTE_NODE_LABEL];
            Self::reserved(EndpointKind::Node, Identity::KUBE_APISERVER, &labels, node)
        } else {
            Self::reserved(EndpointKind::Node, Identity::REMOTE_NODE, &[REMOTE_NODE_LABEL], node)
        }
    }
}

/// The owner of an address; a node is another endpoint to itself than to the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Holder {
    One(Arc<Endpoint>),
    Node { to_others: Arc<Endpoint>, to_itself: Arc<Endpoint> },
}

impl Holder {
    pub(crate) fn node(name: &Arc<str>, is_apiserver: bool) -> Self {
        Self::Node {
            to_others: Endpoint::remote_node(name, is_apiserver),
            to_itself: Endpoint::host(name, is_apiserver),
        }
    }

    pub(crate) fn outside_apiserver() -> Self {
        Self::One(Endpoint::outside_apiserver())
    }

    /// As the node of that name sees it.
    pub(crate) fn seen_by(&self, local_node: &str) -> &Arc<Endpoint> {
        match self {
            Self::One(endpoint) => endpoint,
            Self::Node { to_others, to_itself } => {
                let itself = !local_node.is_empty() && *to_itself.node == *local_node;
                if itself { to_itself } else { to_others }
            }
        }
    }
}
