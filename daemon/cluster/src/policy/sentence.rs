//! What policies say, in words for people: each a clause that needs no other to be understood.

use std::fmt::{self, Display, Formatter};

use super::miss::{Miss, PeerMiss, PortMistake};
use super::{Always, Direction, Undecidable};
use crate::object::{Operator, PolicyPort, PortMatch, Requirement, Selector};
use crate::{EndpointKind, Protocol};

impl Display for Protocol {
    /// As Kubernetes writes it.
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
            Self::Sctp => "SCTP",
        })
    }
}

impl Display for Direction {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Egress => "egress",
            Self::Ingress => "ingress",
        })
    }
}

impl Display for PolicyPort {
    /// `TCP 80`, `TCP 80-90`, `UDP dns`, `every port of SCTP`.
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        let protocol = self.protocol;
        match &self.port {
            PortMatch::Every => write!(out, "every port of {protocol}"),
            PortMatch::Numbers(numbers) if numbers.start() == numbers.end() => {
                write!(out, "{protocol} {}", numbers.start())
            }
            PortMatch::Numbers(numbers) => write!(out, "{protocol} {}-{}", numbers.start(), numbers.end()),
            PortMatch::Named(name) => write!(out, "{protocol} {name}"),
        }
    }
}

impl Display for Requirement {
    /// As `kubectl get --selector` takes it: `app=web`, `app in (a,b)`, `!app`.
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        let key = &self.key;
        match &self.operator {
            Operator::In(values) if values.len() == 1 => write!(out, "{key}={}", values.join(",")),
            Operator::In(values) => write!(out, "{key} in ({})", values.join(",")),
            Operator::NotIn(values) if values.len() == 1 => write!(out, "{key}!={}", values.join(",")),
            Operator::NotIn(values) => write!(out, "{key} notin ({})", values.join(",")),
            Operator::Exists => write!(out, "{key}"),
            Operator::DoesNotExist => write!(out, "!{key}"),
        }
    }
}

impl Display for Selector {
    /// Its requirements with commas between them; `everything` where there are none.
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        if self.requirements.is_empty() {
            return out.write_str("everything");
        }
        for (index, requirement) in self.requirements.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(out, "{comma}{requirement}")?;
        }
        Ok(())
    }
}

impl Display for Always {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::OwnNode => "the other end is the pod's own node, whose traffic with it is always allowed",
            Self::Itself => "both ends are the same pod, which may always talk to itself",
        })
    }
}

impl Display for Undecidable {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Foreign { kind, name } => {
                let separator = if name.namespace.is_empty() { "" } else { "/" };
                let (kind, space, name) = (kind.name(), &name.namespace, &name.name);
                write!(out, "{kind} {space}{separator}{name} selects this pod, and weir does not judge by its kind")
            }
            Self::UnknownField { policy, field } => write!(
                out,
                "policy {}/{} has a field that weir does not know: {field}",
                policy.namespace, policy.name
            ),
            Self::Protocol => out.write_str(
                "policies select this pod, and NetworkPolicy knows no protocols but TCP, UDP and SCTP: each network plugin \
                 does with others as it likes",
            ),
            Self::UnknownPeer(address) => {
                write!(out, "{address} is an address of the cluster's, and no pod is known to have it")
            }
            Self::UnknownNamespace(name) => write!(out, "the labels of namespace {name} are not known"),
            Self::NoBackend(service) => {
                write!(out, "{service} is a Service's, and no pod is known to have answered for it")
            }
            Self::BlockAtService(service) => write!(
                out,
                "it depends on whether an ipBlock is compared with the Service's address {} or with the pod's behind it: \
                 network plugins differ",
                service.ip()
            ),
            Self::Masqueraded(address) => write!(
                out,
                "it depends on whether the client is judged by its own address or by {address}, which this node put in its \
                 place: network plugins differ"
            ),
            Self::TooOld => out.write_str("it is too long ago: what the policies were then is forgotten"),
        }
    }
}

impl Display for Miss {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRule => out.write_str("has no rule for it: by itself it lets nothing pass"),
            Self::Port { rule, named, mistake } => {
                write!(out, "rule {rule} means this peer, but only on ")?;
                for (index, port) in named.iter().enumerate() {
                    let comma = if index == 0 { "" } else { ", " };
                    write!(out, "{comma}{port}")?;
                }
                mistake.as_ref().map_or(Ok(()), |mistake| write!(out, "; {mistake}"))
            }
            Self::Peer { rule, peer, lacks } => {
                write!(out, "rule {rule} means others: its peer {peer} {lacks}")
            }
            Self::Both { rule } => write!(out, "rule {rule} means others, and other ports"),
        }
    }
}

impl Display for PortMistake {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::ServicePort(port) => {
                write!(out, "{port} is the Service's port, and policies judge the pod's")
            }
            Self::NoSuchName(name) => write!(out, "no container of the pod calls a port {name:?}"),
            Self::Protocol => out.write_str("the port is right, the protocol is not"),
        }
    }
}

impl Display for PeerMiss {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::OwnNamespace => out.write_str(
                "has no namespaceSelector, so it looks in the policy's own namespace, and this peer is in another",
            ),
            Self::NamespaceLabel(requirement, value) => {
                write!(out, "asks for namespaces with {requirement}, and this peer's ")?;
                has(out, requirement, value.as_deref())
            }
            Self::PodLabel(requirement, value) => {
                write!(out, "asks for pods with {requirement}, and this one ")?;
                has(out, requirement, value.as_deref())
            }
            Self::NoPod(kind) => {
                let what = match kind {
                    EndpointKind::Node => "a node's address, which its host-network pods have too",
                    EndpointKind::World => "outside the cluster",
                    EndpointKind::Service => "a Service's address",
                    EndpointKind::Unmanaged => "an address of the cluster's that nobody is known to have",
                    EndpointKind::Pod => "another pod",
                };
                write!(out, "selects pods, and this one is {what}")
            }
            Self::Excepted(range) => write!(out, "excepts {range}, and this peer is in it"),
            Self::OutOfRange(range) => write!(out, "is {range}, and this peer is not in it"),
        }
    }
}

fn has(out: &mut Formatter<'_>, requirement: &Requirement, value: Option<&str>) -> fmt::Result {
    match value {
        Some(value) => write!(out, "has {}={value}", requirement.key),
        None => write!(out, "has no {}", requirement.key),
    }
}
