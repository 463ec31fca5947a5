//! NetworkPolicies: what of the text means what, once and for all.
//!
//! The rules are those of the API's types and of what the API server checks before it takes a policy
//! (`k8s.io/api/networking/v1`, `types.go`; `k8s.io/kubernetes/pkg/apis/networking`, `validation.go` and `v1/defaults.go`).
//! What it would refuse is refused here with the path. A field that is not known is no error: it is told, and the policy
//! is there, since one that is left out would be taken for none at all.

mod wire;

use std::ops::RangeInclusive;
use std::sync::Arc;

use ipnet::IpNet;

use super::field::{self, namespaced, port, protocol, ranges, required};
use super::selector::{Unknown, selector};
use super::wire::NumberOrName;
use super::{FieldError, wire::Whole};
use crate::object::{NetworkPolicy, Object, Peer, PolicyPort, PortMatch, Rule, Selector};

pub(super) type Policy = Whole<wire::Spec>;

pub(super) fn network_policy(policy: &Policy) -> Result<Option<Object>, FieldError> {
    let Policy { metadata, spec, .. } = policy;
    let spec = required(spec.as_ref(), "spec")?;
    let mut unknown = Unknown::default();
    unknown.note("spec", &spec.unknown);
    let pods = spec.pod_selector.as_ref();
    let selects = pods.map(|pods| selector(pods, "spec.podSelector", &mut unknown)).transpose()?;
    let types = policy_types(spec)?;
    // Checked whether they count or not, as the API server does.
    let ingress = rules(spec.ingress.as_deref(), Side::INGRESS, &mut unknown)?;
    let egress = rules(spec.egress.as_deref(), Side::EGRESS, &mut unknown)?;
    Ok(Some(Object::NetworkPolicy(NetworkPolicy {
        name: namespaced(metadata)?,
        generation: metadata.generation.unwrap_or(0),
        resource_version: metadata.resource_version.as_deref().unwrap_or_default().into(),
        selects: selects.unwrap_or_default(),
        ingress: types.ingress.then_some(ingress),
        egress: types.egress.then_some(egress),
        unknown_field: unknown.first(),
    })))
}

/// What a policy says something about.
struct Types {
    ingress: bool,
    egress: bool,
}

/// Where none is stated: Ingress, and Egress if there is a rule for it.
fn policy_types(spec: &wire::Spec) -> Result<Types, FieldError> {
    let stated = spec.policy_types.as_deref().unwrap_or_default();
    if stated.is_empty() {
        let egress = spec.egress.as_ref().is_some_and(|rules| !rules.is_empty());
        return Ok(Types { ingress: true, egress });
    }
    let known = |stated: &&String| matches!(stated.as_str(), "Ingress" | "Egress");
    if let Some((index, other)) = stated.iter().enumerate().find(|(_, stated)| !known(stated)) {
        let why = format!("{other:?} is neither Ingress nor Egress");
        return Err(FieldError::at(format!("spec.policyTypes[{index}]"), why));
    }
    let has = |name: &str| stated.iter().any(|stated| stated == name);
    Ok(Types { ingress: has("Ingress"), egress: has("Egress") })
}

/// One of the two lists of rules, and how its rules call their peers.
#[derive(Clone, Copy)]
struct Side {
    list: &'static str,
    peers: &'static str,
}

impl Side {
    const INGRESS: Self = Self { list: "spec.ingress", peers: "from" };
    const EGRESS: Self = Self { list: "spec.egress", peers: "to" };
}

fn rules(rules: Option<&[wire::Rule]>, side: Side, unknown: &mut Unknown) -> Result<Vec<Rule>, FieldError> {
    let rules = rules.unwrap_or_default().iter().enumerate();
    rules.map(|(index, of)| rule(of, &format!("{}[{index}]", side.list), side.peers, unknown)).collect()
}

fn rule(rule: &wire::Rule, path: &str, peers: &str, unknown: &mut Unknown) -> Result<Rule, FieldError> {
    // The other side's list is a field that this one does not have.
    let (listed, foreign) = if peers == "from" { (&rule.from, &rule.to) } else { (&rule.to, &rule.from) };
    if foreign.is_some() {
        unknown.add(format!("{path}.{}", if peers == "from" { "to" } else { "from" }));
    }
    unknown.note(path, &rule.unknown);
    let listed = listed.iter().flatten().enumerate();
    let peers = listed.map(|(index, of)| peer(of, &format!("{path}.{peers}[{index}]"), unknown));
    let peers = peers.collect::<Result<_, _>>()?;
    let ports = rule.ports.iter().flatten().enumerate();
    let ports = ports.map(|(index, of)| policy_port(of, &format!("{path}.ports[{index}]"), unknown));
    Ok(Rule { peers, ports: ports.collect::<Result<_, _>>()? })
}

fn peer(peer: &wire::Peer, path: &str, unknown: &mut Unknown) -> Result<Peer, FieldError> {
    unknown.note(path, &peer.unknown);
    let wire::Peer { pod_selector, namespace_selector, ip_block, unknown: _ } = peer;
    let mut of = |part: &Option<super::selector::wire::Selector>, name: &str| -> Result<_, FieldError> {
        let part = part.as_ref();
        part.map(|part| selector(part, &format!("{path}.{name}"), unknown)).transpose()
    };
    let pods: Option<Selector> = of(pod_selector, "podSelector")?;
    let namespaces = of(namespace_selector, "namespaceSelector")?;
    match (ip_block, pods.is_some() || namespaces.is_some()) {
        (Some(_), true) => {
            Err(FieldError::at(path, "has an ipBlock beside a selector; a peer is one or the other"))
        }
        (Some(block), false) => ip_block_of(block, &format!("{path}.ipBlock"), unknown),
        (None, true) => Ok(Peer::Pods { namespaces, pods }),
        // It may well say something, in words that came later.
        (None, false) if !peer.unknown.is_empty() => Ok(Peer::Pods { namespaces: None, pods: None }),
        (None, false) => {
            Err(FieldError::at(path, "names nobody; a peer has podSelector, namespaceSelector or ipBlock"))
        }
    }
}

fn ip_block_of(block: &wire::Block, path: &str, unknown: &mut Unknown) -> Result<Peer, FieldError> {
    unknown.note(path, &block.unknown);
    let field = format!("{path}.cidr");
    let cidr: Result<IpNet, _> = block.cidr.parse();
    let cidr = cidr
        .map(|cidr| cidr.trunc())
        .map_err(|_| FieldError::at(field, format!("{:?} is not an IP range", block.cidr)))?;
    let field = format!("{path}.except");
    let except = ranges(block.except.as_deref().unwrap_or_default(), &field)?;
    let is_part = |range: &IpNet| cidr.contains(range) && range.prefix_len() > cidr.prefix_len();
    if let Some((index, range)) = except.iter().enumerate().find(|(_, range)| !is_part(range)) {
        let why = format!("{range} is no part of {cidr}");
        return Err(FieldError::at(format!("{field}[{index}]"), why));
    }
    Ok(Peer::Block { cidr, except })
}

fn policy_port(of: &wire::Port, path: &str, unknown: &mut Unknown) -> Result<PolicyPort, FieldError> {
    unknown.note(path, &of.unknown);
    let protocol = protocol(of.protocol.as_deref(), format_args!("{path}.protocol"))?;
    let end = format!("{path}.endPort");
    let port = match (&of.port, of.end_port) {
        (None, None) => PortMatch::Every,
        (None, Some(_)) => return Err(FieldError::at(end, "is without a port to begin with")),
        (Some(NumberOrName::Number(first)), last) => {
            let first = port(*first, format_args!("{path}.port"))?;
            PortMatch::Numbers(range_of(first, last, &end)?)
        }
        (Some(NumberOrName::Name(name)), None) => named(name, path)?,
        (Some(NumberOrName::Name(_)), Some(_)) => {
            return Err(FieldError::at(end, "is beside a port that is a name and not a number"));
        }
    };
    Ok(PolicyPort { protocol, port })
}

fn range_of(first: u16, last: Option<i32>, path: &str) -> Result<RangeInclusive<u16>, FieldError> {
    let last = last.map_or(Ok(first), |last| field::port(last, path))?;
    if last < first {
        return Err(FieldError::at(path, format!("{last} is less than the port {first}")));
    }
    Ok(first..=last)
}

/// A name as RFC 6335 has them (section 5.1), in small letters.
fn named(name: &str, path: &str) -> Result<PortMatch, FieldError> {
    let of_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let is_name = (1..=15).contains(&name.len())
        && name.bytes().all(of_name)
        && name.bytes().any(|byte| byte.is_ascii_lowercase())
        && !(name.starts_with('-') || name.ends_with('-') || name.contains("--"));
    if !is_name {
        let why = format!("{name:?} is neither a number nor the name of a port");
        return Err(FieldError::at(format!("{path}.port"), why));
    }
    Ok(PortMatch::Named(Arc::from(name)))
}
