//! A policy with its selectors ready to be asked, and what its rules say of the other end of a connection.
//!
//! Three answers: yes, no, and maybe with the reason. A rule lets a connection pass if one of its peers is the other end and
//! one of its ports is the port; where it lists none, everybody or every port is meant (`k8s.io/api/networking/v1`,
//! NetworkPolicyIngressRule, NetworkPolicyEgressRule).

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use ipnet::IpNet;

use super::labels::Matcher;
use super::subject::{NAMESPACE_NAME, Subject};
use super::{Allowance, Direction, Undecidable};
use crate::object::{
    ForeignKind, ForeignPolicy, NetworkPolicy, ObjectName, Peer, PolicyPort, PortMatch, Rule, Selector,
    is_in_block,
};
use crate::{Endpoint, EndpointKind, Protocol};

/// A NetworkPolicy, ready to be asked.
#[derive(Debug)]
pub(crate) struct Compiled {
    pub(super) policy: Arc<NetworkPolicy>,
    selects: Matcher,
    ingress: Option<Box<[CompiledRule]>>,
    egress: Option<Box<[CompiledRule]>>,
}

/// Two are one if their texts are.
impl PartialEq for Compiled {
    fn eq(&self, other: &Self) -> bool {
        self.policy == other.policy
    }
}

#[derive(Debug)]
pub(super) struct CompiledRule {
    pub(super) peers: Box<[CompiledPeer]>,
    pub(super) ports: Box<[PolicyPort]>,
}

#[derive(Debug)]
pub(super) enum CompiledPeer {
    Pods { namespaces: Option<Matcher>, pods: Option<Matcher> },
    Block { cidr: IpNet, except: Vec<IpNet> },
}

/// A yes, a no, or a maybe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Yes,
    No,
    Maybe(Undecidable),
}

/// The other end of a connection, as rules are asked about it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Party<'a> {
    /// Who it is.
    pub(super) endpoint: &'a Endpoint,
    /// Its address.
    pub(super) address: IpAddr,
    /// What was called in its place, where that is another address: ranges may be compared with either.
    pub(super) called: Option<IpAddr>,
    /// It is a Service that was called, and no pod is known to answer for it.
    pub(super) unanswered: Option<SocketAddr>,
}

/// What rules are asked: who the other end is, and which port of which pod is called.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked<'a> {
    pub(super) party: Party<'a>,
    pub(super) protocol: Protocol,
    pub(super) port: u16,
    /// The pod whose port it is, where it is a pod's: its names count.
    pub(super) port_of: Option<&'a Subject>,
}

impl Compiled {
    pub(super) fn of(policy: &NetworkPolicy) -> Self {
        let rules = |rules: &Option<Vec<Rule>>| {
            rules.as_ref().map(|rules| rules.iter().map(CompiledRule::of).collect())
        };
        Self {
            selects: Matcher::of(&policy.selects),
            ingress: rules(&policy.ingress),
            egress: rules(&policy.egress),
            policy: Arc::new(policy.clone()),
        }
    }

    /// Whether it is about that pod, in any direction.
    pub(super) fn selects(&self, pod: &Subject) -> bool {
        pod.namespace == self.policy.name.namespace && self.selects.matches(&pod.labels)
    }

    /// Its rules for that direction; none where it says nothing about it.
    pub(super) fn rules(&self, direction: Direction) -> Option<&[CompiledRule]> {
        match direction {
            Direction::Ingress => self.ingress.as_deref(),
            Direction::Egress => self.egress.as_deref(),
        }
    }

    /// The first rule that lets it pass; else a maybe, if there is one.
    pub(super) fn allowance(
        &self,
        direction: Direction,
        asked: &Asked<'_>,
    ) -> Result<Option<Allowance>, Undecidable> {
        if let Some(field) = &self.policy.unknown_field {
            return Err(Undecidable::UnknownField {
                policy: self.policy.name.clone(),
                field: Arc::clone(field),
            });
        }
        self.allowance_in(&self.policy.name.namespace, direction, asked)
    }

    /// Whether it would select the pod and let the connection pass if it were in the pod's namespace.
    pub(super) fn would_allow(&self, direction: Direction, pod: &Subject, asked: &Asked<'_>) -> bool {
        self.selects.matches(&pod.labels)
            && matches!(self.allowance_in(&pod.namespace, direction, asked), Ok(Some(_)))
    }

    /// As in that namespace.
    fn allowance_in(
        &self,
        own: &Arc<str>,
        direction: Direction,
        asked: &Asked<'_>,
    ) -> Result<Option<Allowance>, Undecidable> {
        let mut maybe = None;
        for (index, rule) in self.rules(direction).unwrap_or_default().iter().enumerate() {
            match rule.lets(index, asked, own) {
                Ok(Some(allowance)) => return Ok(Some(allowance)),
                Ok(None) => {}
                Err(why) => maybe = maybe.or(Some(why)),
            }
        }
        maybe.map_or(Ok(None), Err)
    }
}

impl CompiledRule {
    fn of(rule: &Rule) -> Self {
        Self {
            peers: rule.peers.iter().map(CompiledPeer::of).collect(),
            ports: rule.ports.iter().cloned().collect(),
        }
    }

    fn lets(&self, rule: usize, asked: &Asked<'_>, own: &Arc<str>) -> Result<Option<Allowance>, Undecidable> {
        let port = first(&self.ports, |port| asked.is(port));
        if port == Found::Nothing {
            return Ok(None);
        }
        let peer = first(&self.peers, |peer| peer.is(asked.party, own));
        match (peer, port) {
            (Found::Nothing, _) | (_, Found::Nothing) => Ok(None),
            (Found::Maybe(why), _) | (_, Found::Maybe(why)) => Err(why),
            (peer, port) => Ok(Some(Allowance { rule, peer: peer.index(), port: port.index() })),
        }
    }
}

/// What of a list matched.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    /// The list is empty: everything is meant.
    Everything,
    At(usize),
    Maybe(Undecidable),
    Nothing,
}

impl Found {
    const fn index(&self) -> Option<usize> {
        match self {
            Self::At(index) => Some(*index),
            Self::Everything | Self::Maybe(_) | Self::Nothing => None,
        }
    }
}

fn first<T>(list: &[T], matches: impl Fn(&T) -> Answer) -> Found {
    if list.is_empty() {
        return Found::Everything;
    }
    let mut found = Found::Nothing;
    for (index, item) in list.iter().enumerate() {
        match matches(item) {
            Answer::Yes => return Found::At(index),
            Answer::Maybe(why) if found == Found::Nothing => found = Found::Maybe(why),
            Answer::Maybe(_) | Answer::No => {}
        }
    }
    found
}

impl CompiledPeer {
    fn of(peer: &Peer) -> Self {
        let matcher = |selector: &Option<Selector>| selector.as_ref().map(Matcher::of);
        match peer {
            Peer::Pods { namespaces, pods } => {
                Self::Pods { namespaces: matcher(namespaces), pods: matcher(pods) }
            }
            Peer::Block { cidr, except } => Self::Block { cidr: *cidr, except: except.clone() },
        }
    }

    /// Whether it is that party; `own` is the policy's namespace.
    pub(super) fn is(&self, party: Party<'_>, own: &Arc<str>) -> Answer {
        match self {
            Self::Pods { namespaces, pods } => match party.pod() {
                Ok(Some(pod)) => is_pod(namespaces.as_ref(), pods.as_ref(), pod, own),
                Ok(None) => Answer::No,
                Err(why) => Answer::Maybe(why),
            },
            Self::Block { cidr, except } => party.is_in(cidr, except),
        }
    }
}

fn is_pod(namespaces: Option<&Matcher>, pods: Option<&Matcher>, pod: &Subject, own: &Arc<str>) -> Answer {
    if !pods.is_none_or(|pods| pods.matches(&pod.labels)) {
        return Answer::No;
    }
    is_in_namespace(namespaces, pod, own)
}

/// Whether the pod is in one of these namespaces; without a selector in the policy's own.
pub(super) fn is_in_namespace(namespaces: Option<&Matcher>, pod: &Subject, own: &Arc<str>) -> Answer {
    let is = match namespaces {
        None => pod.namespace == *own,
        Some(namespaces) if pod.namespace_is_known || namespaces.asks_only(NAMESPACE_NAME) => {
            namespaces.matches(&pod.namespace_labels)
        }
        Some(namespaces) if !namespaces.matches_in(NAMESPACE_NAME, &pod.namespace_labels) => false,
        Some(_) => return Answer::Maybe(Undecidable::UnknownNamespace(Arc::clone(&pod.namespace))),
    };
    if is { Answer::Yes } else { Answer::No }
}

impl<'a> Party<'a> {
    /// The pod that it is; none where it is surely no pod with an address of its own: a host-network pod is its node.
    pub(super) fn pod(self) -> Result<Option<&'a Subject>, Undecidable> {
        if let Some(service) = self.unanswered {
            return Err(Undecidable::NoBackend(service));
        }
        match self.endpoint.kind {
            EndpointKind::Pod => Ok(self.endpoint.subject.as_deref()),
            EndpointKind::Node | EndpointKind::World | EndpointKind::Service => Ok(None),
            EndpointKind::Unmanaged => Err(Undecidable::UnknownPeer(self.address)),
        }
    }

    fn is_in(self, cidr: &IpNet, except: &[IpNet]) -> Answer {
        if let Some(service) = self.unanswered {
            return Answer::Maybe(Undecidable::NoBackend(service));
        }
        let inside = is_in_block(self.address, cidr, except);
        match self.called {
            Some(called) if is_in_block(called, cidr, except) != inside => {
                Answer::Maybe(Undecidable::BlockAtService((called, 0).into()))
            }
            _ if inside => Answer::Yes,
            _ => Answer::No,
        }
    }
}

impl Asked<'_> {
    /// Whether that is the port.
    pub(super) fn is(&self, port: &PolicyPort) -> Answer {
        if port.protocol != self.protocol {
            return Answer::No;
        }
        if let (Some(service), true) = (self.party.unanswered, port.port != PortMatch::Every) {
            return Answer::Maybe(Undecidable::NoBackend(service));
        }
        let is = match &port.port {
            PortMatch::Every => true,
            PortMatch::Numbers(numbers) => numbers.contains(&self.port),
            PortMatch::Named(name) => match self.port_of {
                Some(pod) => pod.port(self.protocol, name) == Some(self.port),
                // Whoever is there may call its port so.
                None if self.party.endpoint.kind == EndpointKind::Unmanaged => {
                    return Answer::Maybe(Undecidable::UnknownPeer(self.party.address));
                }
                None => false,
            },
        };
        if is { Answer::Yes } else { Answer::No }
    }
}

/// A policy of another kind: only whom it selects is known.
#[derive(Debug)]
pub(super) struct CompiledForeign {
    pub(super) kind: ForeignKind,
    pub(super) name: ObjectName,
    namespaces: Option<Matcher>,
    pods: Option<Matcher>,
}

impl CompiledForeign {
    pub(super) fn of(policy: &ForeignPolicy) -> Self {
        let matcher = |selector: &Option<Selector>| selector.as_ref().map(Matcher::of);
        Self {
            kind: policy.kind,
            name: policy.name.clone(),
            namespaces: matcher(&policy.namespaces),
            pods: matcher(&policy.pods),
        }
    }

    /// Whether it selects the pod, or may.
    pub(super) fn selects(&self, pod: &Subject) -> bool {
        let own = &self.name.namespace;
        let namespaces = match &self.namespaces {
            None if own.is_empty() => true,
            namespaces => is_in_namespace(namespaces.as_ref(), pod, own) != Answer::No,
        };
        namespaces && self.pods.as_ref().is_none_or(|pods| pods.matches(&pod.labels))
    }
}
