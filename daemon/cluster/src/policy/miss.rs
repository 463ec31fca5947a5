//! How near a policy came to letting a connection pass: the rule that lacks least, and what it lacks.
//!
//! Nearest first: the peer is right and the port is not; the port is right and the peer is another pod, another namespace, no
//! pod; neither is right.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use super::compiled::{Answer, Asked, Compiled, CompiledPeer, CompiledRule, Party};
use super::labels::LabelSet;
use super::{Direction, Question};
use crate::EndpointKind;
use crate::object::{NetworkPolicy, Peer, PolicyPort, PortMatch, Requirement, Rule, Selector};
use crate::policy::labels::holds;

/// What the nearest rule of a policy lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Miss {
    /// There is no rule for the direction: by itself the policy lets nothing pass.
    NoRule,
    /// The rule means this peer, and other ports.
    Port {
        /// Which rule.
        rule: usize,
        /// The ports that it names.
        named: Vec<PolicyPort>,
        /// What may have been meant.
        mistake: Option<PortMistake>,
    },
    /// The rule means this port, or every port, and other peers.
    Peer {
        /// Which rule.
        rule: usize,
        /// Which of its peers came nearest.
        peer: usize,
        /// What that one lacks.
        lacks: PeerMiss,
    },
    /// The rule means other peers and other ports.
    Both {
        /// Which rule.
        rule: usize,
    },
}

impl Miss {
    /// The rule that came nearest.
    #[must_use]
    pub const fn rule(&self) -> Option<usize> {
        match self {
            Self::NoRule => None,
            Self::Port { rule, .. } | Self::Peer { rule, .. } | Self::Both { rule } => Some(*rule),
        }
    }

    /// The peer of it that came nearest, where that is known.
    #[must_use]
    pub const fn peer(&self) -> Option<usize> {
        match self {
            Self::Peer { peer, .. } => Some(*peer),
            Self::NoRule | Self::Port { .. } | Self::Both { .. } => None,
        }
    }
}

/// A mistake that is often made with ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PortMistake {
    /// The rule names the port of the Service; policies judge the pod's.
    ServicePort(u16),
    /// The rule names a port by a name that no container of the pod gives.
    NoSuchName(Arc<str>),
    /// The rule names that very port of another protocol.
    Protocol,
}

/// What a peer of a rule lacks to be the other end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerMiss {
    /// Its selector is right, and looks in the policy's own namespace alone: a podSelector without a namespaceSelector.
    OwnNamespace,
    /// A label of the other end's namespace is not as it asks; the label's value there, if any.
    NamespaceLabel(Requirement, Option<Box<str>>),
    /// A label of the other end is not as it asks.
    PodLabel(Requirement, Option<Box<str>>),
    /// It selects pods, and the other end is none with an address of its own.
    NoPod(EndpointKind),
    /// The other end is in its range, and in one that is excepted.
    Excepted(IpNet),
    /// The other end is in none of its ranges.
    OutOfRange(IpNet),
}

/// What the nearest rule lacks.
pub(super) fn nearest(
    compiled: &Compiled,
    direction: Direction,
    asked: &Asked<'_>,
    question: &Question,
) -> Miss {
    let rules = compiled.rules(direction).unwrap_or_default();
    let texts = texts(&compiled.policy, direction);
    let each = rules.iter().zip(texts).enumerate();
    let misses =
        each.map(|(index, (rule, text))| of_rule(index, rule, text, &compiled.policy, asked, question));
    misses.min_by_key(|(distance, _)| *distance).map_or(Miss::NoRule, |(_, miss)| miss)
}

fn texts(policy: &NetworkPolicy, direction: Direction) -> &[Rule] {
    let rules = match direction {
        Direction::Ingress => &policy.ingress,
        Direction::Egress => &policy.egress,
    };
    rules.as_deref().unwrap_or_default()
}

/// With its distance.
fn of_rule(
    index: usize,
    rule: &CompiledRule,
    text: &Rule,
    policy: &NetworkPolicy,
    asked: &Asked<'_>,
    question: &Question,
) -> (u8, Miss) {
    let right_port = rule.ports.is_empty() || rule.ports.iter().any(|port| asked.is(port) != Answer::No);
    let own = &policy.name.namespace;
    let is_peer = |peer: &CompiledPeer| peer.is(asked.party, own) != Answer::No;
    if rule.peers.is_empty() || rule.peers.iter().any(is_peer) {
        let mistake = rule.ports.iter().find_map(|port| mistake(port, asked, question));
        return (0, Miss::Port { rule: index, named: rule.ports.to_vec(), mistake });
    }
    let peers = text.peers.iter().enumerate().map(|(peer, text)| (peer, peer_miss(text, asked.party, own)));
    let nearest = peers.min_by_key(|(_, lacks)| lacks.distance());
    match nearest {
        Some((peer, lacks)) if right_port => (lacks.distance(), Miss::Peer { rule: index, peer, lacks }),
        _ => (u8::MAX, Miss::Both { rule: index }),
    }
}

fn mistake(port: &PolicyPort, asked: &Asked<'_>, question: &Question) -> Option<PortMistake> {
    let numbers =
        |number: u16| matches!(&port.port, PortMatch::Numbers(numbers) if numbers.contains(&number));
    if port.protocol != asked.protocol {
        return numbers(asked.port).then_some(PortMistake::Protocol);
    }
    let called = question.called;
    if called != question.server && numbers(called.port()) {
        return Some(PortMistake::ServicePort(called.port()));
    }
    match &port.port {
        PortMatch::Named(name) if asked.port_of.and_then(|pod| pod.port(asked.protocol, name)).is_none() => {
            Some(PortMistake::NoSuchName(Arc::clone(name)))
        }
        _ => None,
    }
}

impl PeerMiss {
    const fn distance(&self) -> u8 {
        match self {
            Self::OwnNamespace => 1,
            Self::NamespaceLabel(..) => 2,
            Self::PodLabel(..) => 3,
            Self::Excepted(_) => 4,
            Self::NoPod(_) => 5,
            Self::OutOfRange(_) => 6,
        }
    }
}

fn peer_miss(peer: &Peer, party: Party<'_>, own: &Arc<str>) -> PeerMiss {
    match peer {
        Peer::Block { cidr, except } => out_of_range(party.address, cidr, except),
        Peer::Pods { namespaces, pods } => match party.pod() {
            Ok(Some(pod)) => {
                let of_pod = pods.as_ref().and_then(|pods| lacking(pods, &pod.labels));
                let namespace = namespaces.as_ref().and_then(|it| lacking(it, &pod.namespace_labels));
                match (of_pod, namespace) {
                    (Some((requirement, value)), _) => PeerMiss::PodLabel(requirement, value),
                    (None, Some((requirement, value))) => PeerMiss::NamespaceLabel(requirement, value),
                    (None, None) if pod.namespace != *own => PeerMiss::OwnNamespace,
                    (None, None) => PeerMiss::NoPod(party.endpoint.kind),
                }
            }
            Ok(None) | Err(_) => PeerMiss::NoPod(party.endpoint.kind),
        },
    }
}

fn out_of_range(address: IpAddr, cidr: &IpNet, except: &[IpNet]) -> PeerMiss {
    let excepted = except.iter().find(|range| cidr.contains(&address) && range.contains(&address));
    excepted.map_or(PeerMiss::OutOfRange(*cidr), |range| PeerMiss::Excepted(*range))
}

/// The first requirement that does not hold, and the label's value.
fn lacking(selector: &Selector, labels: &LabelSet) -> Option<(Requirement, Option<Box<str>>)> {
    let fails = |requirement: &&Requirement| !holds(&requirement.operator, labels.value(&requirement.key));
    let requirement = selector.requirements.iter().find(fails)?;
    Some((requirement.clone(), labels.value(&requirement.key).map(Into::into)))
}
