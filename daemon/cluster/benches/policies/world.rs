//! A cluster of 100,000 pods and any number of policies, as such clusters are: 200 namespaces of 500 pods, 20 workloads in each.
//!
//! A tenth of the pods belong to StatefulSets, so each has a label of its own and is a class of its own for the policies. A policy
//! selects one workload, lets others of its namespace and of another in on a port or two, and lets out to a range and to DNS.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use weir_cluster::object::{
    Labels, NamedPort, Namespace, NetworkPolicy, Node, Object, ObjectName, Operator, Peer, Pod, PodPhase,
    PolicyPort, PortMatch, Requirement, Rule, Selector,
};
use weir_cluster::{Protocol, UnixNanos};

pub const PODS: u32 = 100_000;
const NAMESPACES: u32 = 200;
const PODS_OF_NAMESPACE: u32 = PODS / NAMESPACES;
const WORKLOADS: u32 = 20;
const NODES: u32 = 1000;

/// Address of a pod.
pub fn address(number: u32) -> IpAddr {
    Ipv4Addr::from_bits(0x0a00_0000 + 256 + number).into()
}

/// A pod; another revision is as after a rollout.
pub fn pod(number: u32, revision: u32) -> Pod {
    let (namespace, within) = (number / PODS_OF_NAMESPACE, number % PODS_OF_NAMESPACE);
    let workload = within % WORKLOADS;
    let mut labels = Labels::new();
    labels.insert("app".to_owned(), format!("app-{workload}"));
    labels.insert("tier".to_owned(), format!("tier-{}", workload % 3));
    if workload < WORKLOADS / 10 {
        labels.insert("statefulset.kubernetes.io/pod-name".to_owned(), format!("pod-{number}"));
    }
    labels.insert("pod-template-hash".to_owned(), format!("{workload}-{revision}"));
    Pod {
        name: ObjectName::new(&namespace_name(namespace), &format!("pod-{number}")),
        uid: format!("uid-{number}").into(),
        created: UnixNanos::ZERO,
        labels,
        addresses: vec![address(number)],
        host_network: false,
        phase: PodPhase::Running,
        node: format!("node-{}", number % NODES).into(),
        owner: None,
        service_account: "default".into(),
        named_ports: vec![NamedPort { name: "http".into(), protocol: Protocol::Tcp, port: 8080 }],
    }
}

fn namespace_name(number: u32) -> String {
    format!("namespace-{number}")
}

/// Namespaces, nodes and pods.
pub fn objects() -> Vec<Object> {
    let namespaces = (0..NAMESPACES).map(|number| {
        let labels = Labels::from([("team".to_owned(), format!("team-{}", number % 10))]);
        Object::Namespace(Namespace { name: namespace_name(number).into(), labels })
    });
    let nodes = (0..NODES).map(|number| {
        Object::Node(Node {
            name: format!("node-{number}").into(),
            created: UnixNanos::ZERO,
            addresses: vec![Ipv4Addr::from_bits(0xac10_0000 + number).into()],
            pod_cidrs: Vec::new(),
            labels: Labels::new(),
        })
    });
    let pods = (0..PODS).map(|number| Object::Pod(pod(number, 0)));
    namespaces.chain(nodes).chain(pods).collect()
}

/// A policy; each namespace has as many as the next.
pub fn policy(number: u32) -> Object {
    let workload = number / NAMESPACES % WORKLOADS;
    Object::NetworkPolicy(NetworkPolicy {
        name: ObjectName::new(&namespace_name(number % NAMESPACES), &format!("policy-{number}")),
        generation: 1,
        resource_version: "".into(),
        selects: label("app", &format!("app-{workload}")),
        ingress: Some(vec![
            Rule {
                peers: vec![pods(None, Some(("app", &format!("app-{}", (workload + 1) % WORKLOADS))))],
                ports: vec![port(Protocol::Tcp, PortMatch::Named("http".into()))],
            },
            Rule {
                peers: vec![pods(Some(&format!("team-{}", number % 10)), Some(("tier", "tier-1")))],
                ports: vec![
                    port(Protocol::Tcp, PortMatch::Numbers(8080..=8081)),
                    port(Protocol::Tcp, PortMatch::Numbers(9090..=9090)),
                ],
            },
        ]),
        egress: Some(vec![
            Rule { peers: vec![block()], ports: Vec::new() },
            Rule { peers: Vec::new(), ports: vec![port(Protocol::Udp, PortMatch::Numbers(53..=53))] },
        ]),
        unknown_field: None,
    })
}

fn block() -> Peer {
    let net = |bits: u32, length| ipnet::Ipv4Net::new_assert(Ipv4Addr::from_bits(bits), length).into();
    Peer::Block { cidr: net(0x0a00_0000, 9), except: vec![net(0x0a00_8000, 17), net(0x0a01_0000, 20)] }
}

fn pods(team: Option<&str>, of: Option<(&str, &str)>) -> Peer {
    let namespaces = team.map(|team| label("team", team));
    Peer::Pods { namespaces, pods: of.map(|(key, value)| label(key, value)) }
}

fn label(key: &str, value: &str) -> Selector {
    let operator = Operator::In(vec![Arc::from(value)]);
    Selector { requirements: vec![Requirement { key: key.into(), operator }] }
}

const fn port(protocol: Protocol, port: PortMatch) -> PolicyPort {
    PolicyPort { protocol, port }
}
