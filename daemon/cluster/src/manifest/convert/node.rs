//! Nodes and namespaces.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::field::{self, address, created, ranges};
use super::{FieldError, wire};
use crate::object::{Namespace, Node, Object};

/// Annotations in which CNIs note the addresses of the devices they make on a node.
const ADDRESS_ANNOTATIONS: &[&str] = &[
    "flannel.alpha.coreos.com/public-ip",
    "flannel.alpha.coreos.com/public-ipv6",
    "network.cilium.io/ipv4-cilium-host",
    "network.cilium.io/ipv6-cilium-host",
    "projectcalico.org/IPv4IPIPTunnelAddr",
    "projectcalico.org/IPv4VXLANTunnelAddr",
    "projectcalico.org/IPv4WireguardInterfaceAddr",
    "projectcalico.org/IPv6VXLANTunnelAddr",
    "projectcalico.org/IPv6WireguardInterfaceAddr",
];

pub(super) fn namespace(namespace: &wire::Bare) -> Result<Option<Object>, FieldError> {
    let name = field::name(&namespace.metadata)?;
    let labels = namespace.metadata.labels.clone().unwrap_or_default();
    Ok(Some(Object::Namespace(Namespace { name, labels })))
}

pub(super) fn node(node: &wire::Node) -> Result<Option<Object>, FieldError> {
    let wire::Node { metadata, spec, status } = node;
    let mut addresses = status.as_ref().map(own_addresses).transpose()?.unwrap_or_default();
    addresses.extend(annotated(metadata.annotations.as_ref())?);
    Ok(Some(Object::Node(Node {
        name: field::name(metadata)?,
        created: created(metadata)?,
        addresses,
        pod_cidrs: spec.as_ref().map(pod_cidrs).transpose()?.unwrap_or_default(),
        labels: metadata.labels.clone().unwrap_or_default(),
    })))
}

/// Internal and external addresses; the other types are names.
fn own_addresses(status: &wire::NodeStatus) -> Result<Vec<IpAddr>, FieldError> {
    let listed = status.addresses.iter().flatten().enumerate();
    listed
        .filter(|(_, listed)| matches!(listed.type_.as_str(), "InternalIP" | "ExternalIP"))
        .map(|(index, listed)| address(&listed.address, format_args!("status.addresses[{index}].address")))
        .collect()
}

fn annotated(annotations: Option<&BTreeMap<String, String>>) -> Result<Vec<IpAddr>, FieldError> {
    let values = ADDRESS_ANNOTATIONS.iter().filter_map(|key| Some((key, annotations?.get(*key)?)));
    values.map(|(key, value)| address(value, format_args!("metadata.annotations.{key}"))).collect()
}

fn pod_cidrs(spec: &wire::NodeSpec) -> Result<Vec<ipnet::IpNet>, FieldError> {
    match (&spec.pod_cidrs, &spec.pod_cidr) {
        (Some(listed), _) if !listed.is_empty() => ranges(listed, "spec.podCIDRs"),
        (_, Some(single)) if !single.is_empty() => ranges(std::slice::from_ref(single), "spec.podCIDR")
            .map_err(|error| FieldError { field: "spec.podCIDR".into(), ..error }),
        _ => Ok(Vec::new()),
    }
}
