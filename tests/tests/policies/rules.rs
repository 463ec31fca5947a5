//! Policies, drawn: selectors of few keys, ports that overlap, ranges in ranges, empty lists and absent ones.

use ipnet::IpNet;
use weir_cluster::object::{
    ForeignKind, ForeignPolicy, NetworkPolicy, ObjectName, Operator, Peer, PolicyPort, PortMatch,
    Requirement, Rule, Selector,
};

use super::draw::{self, NAMESPACES, PORTS, net, protocol, word};
use super::seed::Draw;

pub const PORT_NAMES: [&str; 2] = ["http", "web"];
const BLOCKS: [&str; 14] = [
    "0.0.0.0/0",
    "10.1.0.0/16",
    "10.1.0.0/23",
    "10.1.0.0/24",
    "10.1.1.0/24",
    "10.1.1.0/29",
    "10.1.2.4/30",
    "10.1.0.3/32",
    "10.96.0.0/16",
    "192.168.0.0/24",
    "::/0",
    "fd00::/16",
    "fd00:1::/64",
    "fd00:1::/126",
];

/// A policy.
pub fn policy(draw: &mut Draw, number: usize) -> NetworkPolicy {
    let name = ObjectName::new(draw::home(draw), &format!("policy-{number}"));
    of_name(draw, name)
}

/// A policy of that name, as another text.
pub fn changed(draw: &mut Draw, mut old: NetworkPolicy) -> NetworkPolicy {
    let new = of_name(draw, old.name.clone());
    match draw.below(4) {
        0 => old.selects = new.selects,
        1 => old.ingress = new.ingress,
        2 => old.egress = new.egress,
        _ => return new,
    }
    old
}

fn of_name(draw: &mut Draw, name: ObjectName) -> NetworkPolicy {
    let types = draw.below(10);
    NetworkPolicy {
        name,
        generation: draw.number() % 9,
        resource_version: "".into(),
        selects: pods(draw),
        ingress: (types < 7).then(|| rules(draw)),
        egress: (types > 3).then(|| rules(draw)),
        unknown_field: draw.chance(1).then(|| "spec.mystery".into()),
    }
}

fn rules(draw: &mut Draw) -> Vec<Rule> {
    (0..draw.one(&[0, 1, 1, 2, 2, 3])).map(|_| rule(draw)).collect()
}

fn rule(draw: &mut Draw) -> Rule {
    let peers = if draw.chance(12) { 0 } else { 1 + draw.below(3) };
    let ports = if draw.chance(35) { 0 } else { 1 + draw.below(3) };
    Rule { peers: (0..peers).map(|_| peer(draw)).collect(), ports: (0..ports).map(|_| port(draw)).collect() }
}

fn peer(draw: &mut Draw) -> Peer {
    match draw.below(10) {
        0..4 => Peer::Pods { namespaces: None, pods: Some(pods(draw)) },
        4..6 => Peer::Pods { namespaces: Some(namespaces(draw)), pods: None },
        6..8 => Peer::Pods { namespaces: Some(namespaces(draw)), pods: Some(pods(draw)) },
        _ => block(draw),
    }
}

fn block(draw: &mut Draw) -> Peer {
    let cidr = net(draw.one(&BLOCKS));
    // An exception lies within its range: the API server refuses any other.
    let within: Vec<IpNet> = BLOCKS
        .iter()
        .map(|block| net(block))
        .filter(|block| *block != cidr && cidr.contains(block))
        .collect();
    let except = if within.is_empty() || draw.chance(40) { Vec::new() } else { draw.few(&within) };
    Peer::Block { cidr, except }
}

fn port(draw: &mut Draw) -> PolicyPort {
    let number = draw::port(draw);
    let port = match draw.below(10) {
        0 => PortMatch::Every,
        1..3 => PortMatch::Named(word(draw, &PORT_NAMES)),
        3..6 => PortMatch::Numbers(number..=number.max(draw.one(&PORTS))),
        _ => PortMatch::Numbers(number..=number),
    };
    PolicyPort { protocol: protocol(draw), port }
}

fn pods(draw: &mut Draw) -> Selector {
    selector(draw, &["app", "tier"], &["a", "b", "c"])
}

fn namespaces(draw: &mut Draw) -> Selector {
    if draw.chance(50) {
        return selector(draw, &["kubernetes.io/metadata.name"], &NAMESPACES);
    }
    selector(draw, &["team", "team", "kubernetes.io/metadata.name"], &["red", "blue", "x", "w"])
}

fn selector(draw: &mut Draw, keys: &[&str], values: &[&str]) -> Selector {
    let count = draw.one(&[0, 1, 1, 1, 2]);
    Selector { requirements: (0..count).map(|_| requirement(draw, keys, values)).collect() }
}

fn requirement(draw: &mut Draw, keys: &[&str], values: &[&str]) -> Requirement {
    let values: Vec<_> = draw.few(values).into_iter().map(Into::into).collect();
    let operator = match draw.below(10) {
        0..5 => Operator::In(values),
        5..8 => Operator::NotIn(values),
        8 => Operator::Exists,
        _ => Operator::DoesNotExist,
    };
    Requirement { key: word(draw, keys), operator }
}

/// A policy of a kind that is not judged by.
pub fn foreign(draw: &mut Draw) -> ForeignPolicy {
    let (kind, namespace) = draw.one(&[
        (ForeignKind::AdminNetworkPolicy, ""),
        (ForeignKind::CiliumNetworkPolicy, "x"),
        (ForeignKind::CalicoNetworkPolicy, "w"),
        (ForeignKind::CalicoGlobalNetworkPolicy, ""),
    ]);
    ForeignPolicy {
        kind,
        name: ObjectName::new(namespace, "foreign"),
        namespaces: draw.chance(50).then(|| namespaces(draw)),
        pods: draw.chance(70).then(|| pods(draw)),
    }
}
