//! The Kubernetes objects weir looks at, reduced to what an address, a name or a Service hangs on.
//!
//! They are made once, where a manifest or a watch event comes in: addresses are parsed, defaults the API server would
//! fill in are filled in, and of several owner references only the controller's is kept. So nothing further in has to
//! ask whether a field is there or means what it says. Policies are in `policy`.

mod policy;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::num::NonZeroU16;
use std::sync::Arc;

use ipnet::IpNet;

pub use policy::{
    ForeignKind, ForeignPolicy, NamedPort, NetworkPolicy, Operator, Peer, PolicyPort, PortMatch, Requirement,
    Rule, Selector, is_in_block,
};

use crate::{Protocol, UnixNanos};

/// Labels of an object, by key.
pub type Labels = BTreeMap<String, String>;

/// The label that names a node's zone (`k8s.io/api/core/v1`, well-known labels).
const ZONE_LABEL: &str = "topology.kubernetes.io/zone";

/// Namespace and name; the namespace is empty for what belongs to no namespace (Node, Namespace, ServiceCIDR).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectName {
    /// Namespace.
    pub namespace: Arc<str>,
    /// Name.
    pub name: Arc<str>,
}

impl ObjectName {
    /// A name within a namespace.
    #[must_use]
    pub fn new(namespace: &str, name: &str) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }
}

impl std::fmt::Display for ObjectName {
    /// `shop/web`, or the name alone where there is no namespace.
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let separator = if self.namespace.is_empty() { "" } else { "/" };
        write!(out, "{}{separator}{}", self.namespace, self.name)
    }
}

/// The kinds of object weir understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ObjectKind {
    /// v1.
    Namespace,
    /// v1.
    Node,
    /// networking.k8s.io/v1.
    ServiceCidr,
    /// v1.
    Service,
    /// discovery.k8s.io/v1.
    EndpointSlice,
    /// v1; used only for a Service that has no EndpointSlice.
    Endpoints,
    /// apps/v1.
    ReplicaSet,
    /// batch/v1.
    Job,
    /// networking.k8s.io/v1.
    NetworkPolicy,
    /// A policy of another kind.
    ForeignPolicy(ForeignKind),
    /// v1.
    Pod,
}

/// What identifies an object among all of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectKey {
    /// Kind.
    pub kind: ObjectKind,
    /// Namespace and name.
    pub name: ObjectName,
}

/// One object, ready to be applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Object {
    /// A namespace and its labels.
    Namespace(Namespace),
    /// A node.
    Node(Node),
    /// A range that ClusterIPs are taken from.
    ServiceCidr(ServiceCidr),
    /// A Service.
    Service(Service),
    /// Some of a Service's endpoints.
    EndpointSlice(EndpointSlice),
    /// A Service's endpoints in the older form.
    Endpoints(Endpoints),
    /// The link from pods to their Deployment.
    ReplicaSet(Controller),
    /// The link from pods to their CronJob.
    Job(Controller),
    /// Who may talk to pods, and to whom they may.
    NetworkPolicy(NetworkPolicy),
    /// Something else that says so, in words that weir does not judge by.
    ForeignPolicy(ForeignPolicy),
    /// A pod.
    Pod(Pod),
}

impl Object {
    /// What identifies it.
    #[must_use]
    pub fn key(&self) -> ObjectKey {
        let (kind, name) = match self {
            Self::Namespace(it) => (ObjectKind::Namespace, cluster_scoped(&it.name)),
            Self::Node(it) => (ObjectKind::Node, cluster_scoped(&it.name)),
            Self::ServiceCidr(it) => (ObjectKind::ServiceCidr, cluster_scoped(&it.name)),
            Self::Service(it) => (ObjectKind::Service, it.name.clone()),
            Self::EndpointSlice(it) => (ObjectKind::EndpointSlice, it.name.clone()),
            Self::Endpoints(it) => (ObjectKind::Endpoints, it.name.clone()),
            Self::ReplicaSet(it) => (ObjectKind::ReplicaSet, it.name.clone()),
            Self::Job(it) => (ObjectKind::Job, it.name.clone()),
            Self::NetworkPolicy(it) => (ObjectKind::NetworkPolicy, it.name.clone()),
            Self::ForeignPolicy(it) => (ObjectKind::ForeignPolicy(it.kind), it.name.clone()),
            Self::Pod(it) => (ObjectKind::Pod, it.name.clone()),
        };
        ObjectKey { kind, name }
    }
}

fn cluster_scoped(name: &Arc<str>) -> ObjectName {
    ObjectName { namespace: "".into(), name: Arc::clone(name) }
}

/// A namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namespace {
    /// Name.
    pub name: Arc<str>,
    /// Labels.
    pub labels: Labels,
}

/// A node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Name.
    pub name: Arc<str>,
    /// When it was created; the epoch where that is not said.
    pub created: UnixNanos,
    /// Its own addresses, internal and external, and those of its tunnel devices where an annotation names them.
    pub addresses: Vec<IpAddr>,
    /// The ranges its pods get addresses from. Empty where the CNI does not use them.
    pub pod_cidrs: Vec<IpNet>,
    /// Labels.
    pub labels: Labels,
}

impl Node {
    /// Availability zone, empty where there is none.
    #[must_use]
    pub fn zone(&self) -> &str {
        self.labels.get(ZONE_LABEL).map_or("", String::as_str)
    }
}

/// A range that ClusterIPs are taken from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceCidr {
    /// Name.
    pub name: Arc<str>,
    /// One range, or one for each address family.
    pub cidrs: Vec<IpNet>,
}

/// The object that controls another, as its owner reference names it. It lives in the same namespace.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Owner {
    /// Kind, as `ReplicaSet`.
    pub kind: Arc<str>,
    /// Name.
    pub name: Arc<str>,
}

/// A `ReplicaSet` or Job: only what owns it matters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Controller {
    /// Namespace and name.
    pub name: ObjectName,
    /// Its own controller, as a Deployment or `CronJob`.
    pub owner: Option<Owner>,
}

/// How far a pod's life has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PodPhase {
    /// Not all containers are running yet; the address may be there already.
    Pending,
    /// Running.
    Running,
    /// Over, and its address may be another's.
    Succeeded,
    /// Over, and its address may be another's.
    Failed,
    /// The node does not answer; the pod may well run on.
    Unknown,
}

impl PodPhase {
    /// Whether a pod in this phase still owns its addresses.
    #[must_use]
    pub const fn owns_address(self) -> bool {
        !matches!(self, Self::Succeeded | Self::Failed)
    }
}

/// A pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// Namespace and name.
    pub name: ObjectName,
    /// UID, empty where it is not said.
    pub uid: Arc<str>,
    /// When it was created; the epoch where that is not said.
    pub created: UnixNanos,
    /// Labels.
    pub labels: Labels,
    /// Its addresses, one for each address family; for a host-network pod the node's.
    pub addresses: Vec<IpAddr>,
    /// Whether it shares its node's network.
    pub host_network: bool,
    /// Phase.
    pub phase: PodPhase,
    /// Node it runs on, empty before it is scheduled.
    pub node: Arc<str>,
    /// Its controller.
    pub owner: Option<Owner>,
    /// Service account, `default` where it is not said.
    pub service_account: Arc<str>,
    /// The ports its containers give a name.
    pub named_ports: Vec<NamedPort>,
}

/// How a Service is published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServiceType {
    /// Within the cluster (headless when it has no cluster address).
    ClusterIp,
    /// And on a port of every node.
    NodePort,
    /// And by a load balancer.
    LoadBalancer,
    /// Only a DNS alias for this name.
    ExternalName(Arc<str>),
}

/// Where a Service's port leads to in the pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TargetPort {
    /// This port.
    Number(u16),
    /// The pod's port of this name; EndpointSlices hold what it resolves to.
    Name(Arc<str>),
}

/// A port of a Service, as its specification has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortSpec {
    /// Name, empty where it has none.
    pub name: Arc<str>,
    /// Protocol.
    pub protocol: Protocol,
    /// Port at the Service's addresses.
    pub port: u16,
    /// Port at every node's addresses.
    pub node_port: Option<NonZeroU16>,
    /// Port in the pod.
    pub target_port: TargetPort,
}

/// A Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Namespace and name.
    pub name: ObjectName,
    /// Labels.
    pub labels: Labels,
    /// Type.
    pub service_type: ServiceType,
    /// Cluster addresses, one for each address family; none for a headless Service.
    pub cluster_addresses: Vec<IpAddr>,
    /// External addresses and those the load balancer got.
    pub external_addresses: Vec<IpAddr>,
    /// Ports.
    pub ports: Vec<PortSpec>,
}

impl Service {
    /// Whether clients reach the pods directly, there being no address of the Service's own.
    #[must_use]
    pub fn is_headless(&self) -> bool {
        self.cluster_addresses.is_empty() && !matches!(self.service_type, ServiceType::ExternalName(_))
    }
}

/// A port of endpoints: the target port is resolved here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointPort {
    /// Name of the Service's port it belongs to, empty where that has none.
    pub name: Arc<str>,
    /// Protocol.
    pub protocol: Protocol,
    /// Port in the pod.
    pub port: u16,
}

/// Whether an endpoint is given connections (`k8s.io/api/discovery/v1`, `EndpointConditions`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Condition {
    /// It takes new connections.
    pub ready: bool,
    /// It answers, though it may be ending.
    pub serving: bool,
    /// It is ending.
    pub terminating: bool,
}

impl Condition {
    /// Takes new connections.
    pub const READY: Self = Self { ready: true, serving: true, terminating: false };
    /// Takes none.
    pub const NOT_READY: Self = Self { ready: false, serving: false, terminating: false };
}

/// Endpoints that have the same ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointSet {
    /// The ports every one of them has.
    pub ports: Vec<EndpointPort>,
    /// Addresses, each with its condition.
    pub addresses: Vec<(IpAddr, Condition)>,
}

/// Some of a Service's endpoints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointSlice {
    /// Namespace and name.
    pub name: ObjectName,
    /// Name of the Service, in the same namespace.
    pub service: Arc<str>,
    /// Its endpoints.
    pub set: EndpointSet,
}

/// A Service's endpoints in the older form; it bears the Service's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoints {
    /// Namespace and name, of the Service as well.
    pub name: ObjectName,
    /// Its endpoints.
    pub sets: Vec<EndpointSet>,
}
