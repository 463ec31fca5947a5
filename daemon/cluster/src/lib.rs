//! What the cluster looked like at a moment: who owned an address, which Service a frontend was, which backends it had.
//!
//! The library does no I/O and reads no clock: `apply(object, at)` and look-ups for a time. The feature `sources` holds the
//! manifest files. History is bounded: what was forgotten is answered with the oldest state still known.

mod time;

use std::net::IpAddr;
use std::sync::Arc;

pub use time::UnixNanos;

/// A transport protocol, as Services name them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

/// Numeric identity: stable hash of a label set, or one of Hubble's reserved numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Identity(pub u32);

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
    /// Owning workload, by owner references: kind and name.
    pub workload: Option<Workload>,
    /// Node of the pod, or the node itself; empty otherwise.
    pub node: Arc<str>,
}

/// The controller that made a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workload {
    /// Kind, as `Deployment`.
    pub kind: Arc<str>,
    /// Name.
    pub name: Arc<str>,
}

/// A port of a Service.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ServicePort {
    /// Namespace of the Service.
    pub namespace: Arc<str>,
    /// Name of the Service.
    pub name: Arc<str>,
    /// Name of the port, empty where it has none.
    pub port_name: Arc<str>,
}

/// The cluster's state over time.
#[derive(Debug, Default)]
pub struct Cluster {}

impl Cluster {
    /// Who owned the address at that time.
    #[must_use]
    pub fn endpoint(&self, address: IpAddr, at: UnixNanos) -> Arc<Endpoint> {
        let _ = (address, at);
        Arc::new(Endpoint {
            kind: EndpointKind::World,
            identity: Identity(2),
            namespace: "".into(),
            pod_name: "".into(),
            labels: Arc::new(["reserved:world".to_owned()]),
            workload: None,
            node: "".into(),
        })
    }

    /// The Service that this frontend (ClusterIP, external or load balancer address and port, or a node's address and a
    /// NodePort) belonged to at that time.
    #[must_use]
    pub fn frontend(
        &self,
        protocol: Protocol,
        address: IpAddr,
        port: u16,
        at: UnixNanos,
    ) -> Option<ServicePort> {
        let _ = (protocol, address, port, at);
        None
    }

    /// All Services that had this address and port as a backend at that time, ready or not, in the order of their names.
    #[must_use]
    pub fn services_behind(
        &self,
        protocol: Protocol,
        address: IpAddr,
        port: u16,
        at: UnixNanos,
    ) -> Vec<ServicePort> {
        let _ = (protocol, address, port, at);
        Vec::new()
    }
}
