//! The cluster as a whole: the traps of identity, Services over time, and a naive model it must agree with.

mod identity;
mod model;
mod past;
mod services;

use std::net::IpAddr;
use std::sync::Arc;

use crate::object::{
    Condition, Controller, EndpointPort, EndpointSet, EndpointSlice, Labels, Namespace, Node, Object,
    ObjectKey, ObjectName, Owner, Pod, PodPhase, PortSpec, Service, ServiceType, TargetPort,
};
use crate::{Cluster, Endpoint, Protocol, ServicePort, UnixNanos};

const NOW: UnixNanos = UnixNanos::from_nanos(1_000);

fn at(nanos: u64) -> UnixNanos {
    UnixNanos::from_nanos(nanos)
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn pod(namespace: &str, name: &str, address: &str) -> Pod {
    Pod {
        name: ObjectName::new(namespace, name),
        uid: format!("uid-{name}").into(),
        created: UnixNanos::ZERO,
        labels: labels(&[("app", "web")]),
        addresses: vec![ip(address)],
        host_network: false,
        phase: PodPhase::Running,
        node: "node-a".into(),
        owner: None,
        service_account: "default".into(),
        named_ports: Vec::new(),
    }
}

fn owner(kind: &str, name: &str) -> Option<Owner> {
    Some(Owner { kind: kind.into(), name: name.into() })
}

fn node(name: &str, address: &str, pod_cidr: &str) -> Node {
    Node {
        name: name.into(),
        created: UnixNanos::ZERO,
        addresses: vec![ip(address)],
        pod_cidrs: vec![pod_cidr.parse().unwrap()],
        labels: labels(&[("topology.kubernetes.io/zone", "zone-1")]),
    }
}

fn port_spec(name: &str, port: u16, node_port: u16) -> PortSpec {
    PortSpec {
        name: name.into(),
        protocol: Protocol::Tcp,
        port,
        node_port: node_port.try_into().ok(),
        target_port: TargetPort::Name("http".into()),
    }
}

fn service(namespace: &str, name: &str, address: &str) -> Service {
    Service {
        name: ObjectName::new(namespace, name),
        labels: Labels::new(),
        service_type: ServiceType::ClusterIp,
        cluster_addresses: vec![ip(address)],
        external_addresses: Vec::new(),
        ports: vec![port_spec("http", 80, 0)],
    }
}

fn slice(name: &str, service: &str, backends: &[(&str, Condition)]) -> EndpointSlice {
    EndpointSlice {
        name: ObjectName::new("shop", name),
        service: service.into(),
        set: endpoint_set(backends),
    }
}

fn endpoint_set(backends: &[(&str, Condition)]) -> EndpointSet {
    EndpointSet {
        ports: vec![EndpointPort { name: "http".into(), protocol: Protocol::Tcp, port: 8080 }],
        addresses: backends.iter().map(|(address, condition)| (ip(address), *condition)).collect(),
    }
}

fn http_of(service: &str) -> ServicePort {
    ServicePort { namespace: "shop".into(), name: service.into(), port_name: "http".into() }
}

fn cluster_of(objects: Vec<Object>) -> Cluster {
    let mut cluster = Cluster::default();
    cluster.replace(objects, NOW);
    cluster
}

fn labels_at(cluster: &Cluster, address: &str) -> Vec<String> {
    cluster.endpoint(ip(address), NOW).labels.to_vec()
}

fn key_of(object: impl Into<Object>) -> ObjectKey {
    object.into().key()
}

fn controller(name: &str, owner: Option<Owner>) -> Controller {
    Controller { name: ObjectName::new("shop", name), owner }
}

fn namespace(name: &str, pairs: &[(&str, &str)]) -> Namespace {
    Namespace { name: name.into(), labels: labels(pairs) }
}

impl From<Pod> for Object {
    fn from(pod: Pod) -> Self {
        Self::Pod(pod)
    }
}

impl From<Service> for Object {
    fn from(service: Service) -> Self {
        Self::Service(service)
    }
}

impl From<EndpointSlice> for Object {
    fn from(slice: EndpointSlice) -> Self {
        Self::EndpointSlice(slice)
    }
}

impl From<Node> for Object {
    fn from(node: Node) -> Self {
        Self::Node(node)
    }
}

fn pod_name(endpoint: &Arc<Endpoint>) -> &str {
    &endpoint.pod_name
}
