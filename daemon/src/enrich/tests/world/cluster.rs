//! Two nodes, their pods and Services.

use std::collections::BTreeMap;
use std::num::NonZeroU16;

use weir_cluster::object::{
    Condition, EndpointPort, EndpointSet, EndpointSlice, Node, Object, ObjectName, Owner, Pod, PodPhase,
    PortSpec, Service, ServiceType, TargetPort,
};
use weir_cluster::{Cluster, Protocol, UnixNanos};

pub(super) fn cluster(local: &str) -> Cluster {
    let mut cluster = Cluster::default();
    cluster.set_local_node(local);
    let node = |name: &str, addresses: [&str; 3], pods: &str| {
        Object::Node(Node {
            name: name.into(),
            created: UnixNanos::ZERO,
            addresses: addresses.iter().map(|address| address.parse().unwrap()).collect(),
            pod_cidrs: vec![pods.parse().unwrap()],
            labels: BTreeMap::new(),
        })
    };
    let objects = [
        node("worker-1", ["192.168.0.1", "10.244.1.0", "10.244.1.1"], "10.244.1.0/24"),
        node("worker-2", ["192.168.0.2", "10.244.2.0", "10.244.2.1"], "10.244.2.0/24"),
        pod("web-1", "10.244.1.5", "worker-1"),
        pod("api-1", "10.244.1.9", "worker-1"),
        pod("api-2", "10.244.2.7", "worker-2"),
        service("api", "10.96.0.10", Protocol::Tcp, 80, NonZeroU16::new(30080)),
        service("empty", "10.96.0.20", Protocol::Tcp, 80, None),
        service("dns", "10.96.0.53", Protocol::Udp, 53, None),
        slice("api", &["10.244.1.9", "10.244.2.7"]),
    ];
    for object in objects {
        cluster.apply(object, UnixNanos::ZERO);
    }
    cluster
}

fn pod(name: &str, address: &str, node: &str) -> Object {
    let app = name.split('-').next().unwrap();
    Object::Pod(Pod {
        name: ObjectName::new("shop", name),
        uid: name.into(),
        created: UnixNanos::ZERO,
        labels: BTreeMap::from([("app".to_owned(), app.to_owned())]),
        addresses: vec![address.parse().unwrap()],
        host_network: false,
        phase: PodPhase::Running,
        node: node.into(),
        owner: Some(Owner { kind: "StatefulSet".into(), name: app.into() }),
        service_account: "default".into(),
        named_ports: Vec::new(),
    })
}

fn service(
    name: &str,
    address: &str,
    protocol: Protocol,
    port: u16,
    node_port: Option<NonZeroU16>,
) -> Object {
    Object::Service(Service {
        name: ObjectName::new("shop", name),
        labels: BTreeMap::new(),
        service_type: if node_port.is_some() { ServiceType::NodePort } else { ServiceType::ClusterIp },
        cluster_addresses: vec![address.parse().unwrap()],
        external_addresses: Vec::new(),
        ports: vec![PortSpec {
            name: "http".into(),
            protocol,
            port,
            node_port,
            target_port: TargetPort::Number(8080),
        }],
    })
}

fn slice(service: &str, addresses: &[&str]) -> Object {
    let address = |text: &&str| (text.parse().unwrap(), Condition::READY);
    Object::EndpointSlice(EndpointSlice {
        name: ObjectName::new("shop", &format!("{service}-slice")),
        service: service.into(),
        set: EndpointSet {
            ports: vec![EndpointPort { name: "http".into(), protocol: Protocol::Tcp, port: 8080 }],
            addresses: addresses.iter().map(address).collect(),
        },
    })
}
