//! Clusters, their changes, and calls, drawn so that near misses are likely: few labels and values, few ports, ranges in ranges.
//!
//! Everything comes from one seed. A cluster is a handful of objects that change some times; the calls are between addresses that
//! somebody has, had or will have, at the very moment of a change, just before it and well after.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use ipnet::IpNet;
use weir_cluster::object::{
    Labels, NamedPort, Namespace, Node, ObjectName, Pod, PodPhase, Service, ServiceType,
};
use weir_cluster::{Protocol, UnixNanos};

use super::naive::{Call, Past, Snapshot};
use super::rules;
use super::seed::Draw;

/// Of the last, no object is known; the first has the most pods and policies.
pub const NAMESPACES: [&str; 4] = ["x", "y", "z", "w"];
const CROWDED: [&str; 8] = ["x", "x", "x", "x", "y", "y", "z", "w"];
pub const PORTS: [u16; 5] = [80, 81, 82, 443, 8080];
const NODES: [&str; 3] = ["alder", "birch", "cedar"];
const PROTOCOLS: [Protocol; 5] = [Protocol::Tcp, Protocol::Tcp, Protocol::Tcp, Protocol::Udp, Protocol::Sctp];
/// A moment every hundred nanoseconds: calls at one, beside it and between two differ.
const STEP: u64 = 100;

/// A namespace for a pod or a policy.
pub fn home(draw: &mut Draw) -> &'static str {
    draw.one(&CROWDED)
}

/// A protocol, mostly TCP.
pub fn protocol(draw: &mut Draw) -> Protocol {
    draw.one(&PROTOCOLS)
}

/// Labels of few keys with few values, or fewer.
pub fn labels(draw: &mut Draw, keys: &[&str], values: &[&str]) -> Labels {
    let mut labels = Labels::new();
    for key in keys {
        if draw.chance(70) {
            labels.insert((*key).to_owned(), draw.one(values).to_owned());
        }
    }
    labels
}

/// A cluster and its changes.
pub fn past(draw: &mut Draw) -> Past {
    let mut now = first(draw);
    let mut past = Past { moments: vec![(UnixNanos::ZERO, Snapshot::default())], ranges: Vec::new() };
    if draw.chance(50) {
        past.ranges = vec![net("10.1.0.0/16"), net("10.96.0.0/16")];
    }
    for moment in 1..=1 + draw.below(6) as u64 {
        past.moments.push((UnixNanos::from_nanos(moment * STEP), now.clone()));
        for _ in 0..=draw.below(3) {
            change(draw, &mut now);
        }
    }
    past
}

fn first(draw: &mut Draw) -> Snapshot {
    let namespaces = NAMESPACES[..3].iter().map(|name| namespace(draw, name)).collect();
    let nodes = (0..2 + draw.below(2)).map(node).collect();
    let mut now = Snapshot { namespaces, nodes, ..Snapshot::default() };
    for number in 0..6 + draw.below(6) {
        let pod = pod(draw, number);
        now.pods.push(pod);
    }
    now.services = (0..2).map(service).collect();
    for number in 0..1 + draw.below(9) {
        now.policies.push(rules::policy(draw, number));
    }
    if draw.chance(4) {
        now.foreign.push(rules::foreign(draw));
    }
    now
}

fn namespace(draw: &mut Draw, name: &str) -> Namespace {
    let mut labels = labels(draw, &["team"], &["red", "blue"]);
    if draw.chance(50) {
        labels.insert("kubernetes.io/metadata.name".to_owned(), name.to_owned());
    }
    Namespace { name: name.into(), labels }
}

fn node(number: usize) -> Node {
    Node {
        name: NODES[number].into(),
        created: UnixNanos::from_nanos(number as u64),
        addresses: vec![ip(&format!("192.168.0.{}", 10 + number)), ip(&format!("fd01::{}", 10 + number))],
        pod_cidrs: vec![net(&format!("10.1.{number}.0/24")), net(&format!("fd00:{number}::/64"))],
        labels: Labels::new(),
    }
}

fn service(number: usize) -> Service {
    Service {
        name: ObjectName::new("x", &format!("service-{number}")),
        labels: Labels::new(),
        service_type: ServiceType::ClusterIp,
        cluster_addresses: vec![ip(&format!("10.96.0.{}", 10 + number))],
        external_addresses: Vec::new(),
        ports: Vec::new(),
    }
}

fn pod(draw: &mut Draw, number: usize) -> Pod {
    let at = draw.below(NODES.len());
    // A pod on the network of a node, or one whose addresses are those of another before it.
    let host_network = draw.chance(8);
    let place = if draw.chance(10) { 2 + draw.below(6) } else { 2 + number };
    let mut addresses = vec![ip(&format!("10.1.{at}.{place}")), ip(&format!("fd00:{at}::{place}"))];
    if host_network {
        addresses = node(at).addresses;
    } else if draw.chance(30) {
        addresses.truncate(1);
    }
    Pod {
        name: ObjectName::new(home(draw), &format!("pod-{number}")),
        uid: format!("uid-{number}").into(),
        created: UnixNanos::from_nanos(draw.below(3) as u64),
        labels: labels(draw, &["app", "tier"], &["a", "b", "c"]),
        addresses,
        host_network,
        phase: phase(draw),
        node: if draw.chance(3) { "".into() } else { NODES[at].into() },
        owner: None,
        service_account: "default".into(),
        named_ports: named_ports(draw),
    }
}

fn phase(draw: &mut Draw) -> PodPhase {
    let seldom = [PodPhase::Pending, PodPhase::Succeeded, PodPhase::Failed, PodPhase::Unknown];
    if draw.chance(88) { PodPhase::Running } else { draw.one(&seldom) }
}

fn named_ports(draw: &mut Draw) -> Vec<NamedPort> {
    let mut ports: Vec<NamedPort> = Vec::new();
    for name in rules::PORT_NAMES {
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            if draw.chance(45) {
                let number = if draw.chance(50) { 80 } else { draw.one(&PORTS) };
                ports.push(NamedPort { name: name.into(), protocol, port: number });
            }
        }
    }
    ports
}

/// One object becomes different, comes or goes.
fn change(draw: &mut Draw, now: &mut Snapshot) {
    let number = draw.below(100);
    match draw.below(14) {
        0..=2 => change_pod(draw, now),
        3 => {
            let new = pod(draw, 20 + number);
            now.pods.retain(|pod| pod.name != new.name);
            now.pods.push(new);
        }
        4 => drop(take(draw, &mut now.pods)),
        5 | 12 | 13 => change_namespace(draw, now),
        6 => {
            let new = rules::policy(draw, 20 + number);
            now.policies.retain(|policy| policy.name != new.name);
            now.policies.push(new);
        }
        7 => drop(take(draw, &mut now.policies)),
        8 | 9 => {
            if let Some(old) = take(draw, &mut now.policies) {
                now.policies.push(rules::changed(draw, old));
            }
        }
        10 if draw.chance(15) && now.foreign.is_empty() => now.foreign.push(rules::foreign(draw)),
        10 => now.foreign.clear(),
        _ if draw.chance(50) => drop(take(draw, &mut now.services)),
        _ => drop(take(draw, &mut now.nodes)),
    }
}

fn change_pod(draw: &mut Draw, now: &mut Snapshot) {
    let Some(mut pod) = take(draw, &mut now.pods) else { return };
    match draw.below(5) {
        0..=2 => pod.labels = labels(draw, &["app", "tier"], &["a", "b", "c"]),
        3 => pod.named_ports = named_ports(draw),
        _ => pod.phase = phase(draw),
    }
    now.pods.push(pod);
}

fn change_namespace(draw: &mut Draw, now: &mut Snapshot) {
    let name = draw.one(&NAMESPACES);
    now.namespaces.retain(|namespace| *namespace.name != *name);
    if draw.chance(85) {
        now.namespaces.push(namespace(draw, name));
    }
}

fn take<T>(draw: &mut Draw, list: &mut Vec<T>) -> Option<T> {
    (!list.is_empty()).then(|| list.swap_remove(draw.below(list.len())))
}

/// The addresses that calls are between.
pub struct Addresses {
    /// Of the pods at each moment.
    present: Vec<Vec<IpAddr>>,
    /// Of all that somebody has at any moment, and some that nobody has.
    all: Vec<IpAddr>,
    services: Vec<IpAddr>,
}

impl Addresses {
    pub fn of(past: &Past) -> Self {
        let of_pods = |now: &Snapshot| now.pods.iter().flat_map(|pod| pod.addresses.clone()).collect();
        let present: Vec<Vec<IpAddr>> = past.moments.iter().map(|(_, now)| of_pods(now)).collect();
        let of_nodes =
            past.moments.iter().flat_map(|(_, now)| &now.nodes).flat_map(|node| node.addresses.clone());
        let strangers =
            ["10.1.0.1", "10.1.1.0", "10.1.1.200", "10.7.7.7", "192.0.2.1", "fd00:1::ffff", "2001:db8::1"];
        let all = present.iter().flatten().copied().chain(of_nodes).chain(strangers.map(ip)).collect();
        Self { present, all, services: vec![ip("10.96.0.10"), ip("10.96.0.11")] }
    }

    /// Mostly that of a pod that is there at this moment.
    fn one(&self, draw: &mut Draw, moment: usize) -> IpAddr {
        let pods = &self.present[moment];
        if !pods.is_empty() && draw.chance(80) { draw.one(pods) } else { draw.one(&self.all) }
    }
}

/// A connection between them.
pub fn call(draw: &mut Draw, past: &Past, addresses: &Addresses) -> Call {
    let moment = if draw.chance(4) { 0 } else { 1 + draw.below(past.moments.len() - 1) };
    let client = addresses.one(draw, moment);
    let mut server = SocketAddr::new(addresses.one(draw, moment), port(draw));
    let mut called = server;
    match draw.below(100) {
        // A Service was called, and a pod answers.
        0..12 => called = SocketAddr::new(draw.one(&addresses.services), port(draw)),
        // A Service was called, and nobody knows who answers.
        12..17 => {
            server.set_ip(draw.one(&addresses.services));
            called = server;
        }
        17..20 => server.set_ip(client),
        _ => {}
    }
    let behind = if draw.chance(12) { draw.one(&addresses.all) } else { client };
    Call {
        at: beside(draw, past.moments[moment].0),
        protocol: (!draw.chance(3)).then(|| protocol(draw)),
        client: clothed(draw, client),
        client_behind: clothed(draw, behind),
        called: SocketAddr::new(clothed(draw, called.ip()), called.port()),
        server: SocketAddr::new(clothed(draw, server.ip()), server.port()),
    }
}

/// A port, mostly the first.
pub fn port(draw: &mut Draw) -> u16 {
    if draw.chance(35) { 80 } else { draw.one(&PORTS) }
}

/// That moment, or one just before it, just after it, before the next, at the end.
fn beside(draw: &mut Draw, from: UnixNanos) -> UnixNanos {
    let nanos = from.as_nanos();
    let beside =
        [nanos, nanos, nanos.saturating_sub(1), nanos + 1, nanos + STEP / 2, nanos + STEP - 1, u64::MAX];
    UnixNanos::from_nanos(draw.one(&beside))
}

/// Now and then an IPv4 address as IPv6 writes it.
fn clothed(draw: &mut Draw, address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(v4) if draw.chance(2) => v4.to_ipv6_mapped().into(),
        _ => address,
    }
}

pub fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

pub fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

/// One of a list of words, shared.
pub fn word(draw: &mut Draw, words: &[&str]) -> Arc<str> {
    draw.one(words).into()
}
