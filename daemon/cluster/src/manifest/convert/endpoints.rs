//! EndpointSlices, and Endpoints as their older form.

use std::net::IpAddr;

use super::field::{self, address, addresses, namespaced, port, protocol};
use super::{FieldError, wire};
use crate::object::{Condition, EndpointPort, EndpointSet, EndpointSlice, Endpoints, Object};

/// The label that names the Service of a slice (`k8s.io/api/discovery/v1`, `LabelServiceName`).
const SERVICE_LABEL: &str = "kubernetes.io/service-name";

/// A slice without the label belongs to no Service; one of names, not addresses, leads nowhere a packet could be seen.
pub(super) fn endpoint_slice(slice: &wire::EndpointSlice) -> Result<Option<Object>, FieldError> {
    let name = namespaced(&slice.metadata)?;
    let service = slice.metadata.labels.as_ref().and_then(|labels| labels.get(SERVICE_LABEL));
    let Some(service) = service.filter(|_| slice.address_type != "FQDN") else {
        return Ok(None);
    };
    let mut set = EndpointSet { ports: ports_of(slice.ports.as_ref(), "ports")?, addresses: Vec::new() };
    for (index, endpoint) in slice.endpoints.iter().flatten().enumerate() {
        let condition = condition(endpoint.conditions.as_ref());
        let listed = addresses(&endpoint.addresses, &format!("endpoints[{index}].addresses"))?;
        set.addresses.extend(listed.into_iter().map(|address| (address, condition)));
    }
    Ok(Some(Object::EndpointSlice(EndpointSlice { name, service: service.as_str().into(), set })))
}

/// What is not said about an endpoint is to be taken as: ready, serving if ready, not ending.
fn condition(conditions: Option<&wire::Conditions>) -> Condition {
    let ready = conditions.and_then(|conditions| conditions.ready).unwrap_or(true);
    Condition {
        ready,
        serving: conditions.and_then(|conditions| conditions.serving).unwrap_or(ready),
        terminating: conditions.and_then(|conditions| conditions.terminating).unwrap_or(false),
    }
}

/// A port without number means all ports, which names none.
fn ports_of(ports: Option<&Vec<wire::EndpointPort>>, path: &str) -> Result<Vec<EndpointPort>, FieldError> {
    let ports = ports.into_iter().flatten().enumerate();
    let numbered = ports.filter_map(|(index, of)| Some((index, of, of.port?)));
    numbered.map(|(index, of, number)| endpoint_port(of, number, &format!("{path}[{index}]"))).collect()
}

fn endpoint_port(of: &wire::EndpointPort, number: i32, path: &str) -> Result<EndpointPort, FieldError> {
    Ok(EndpointPort {
        name: of.name.as_deref().unwrap_or_default().into(),
        protocol: protocol(of.protocol.as_deref(), format_args!("{path}.protocol"))?,
        port: port(number, format_args!("{path}.port"))?,
    })
}

pub(super) fn endpoints(endpoints: &wire::Endpoints) -> Result<Option<Object>, FieldError> {
    let name = field::namespaced(&endpoints.metadata)?;
    let subsets = endpoints.subsets.iter().flatten().enumerate();
    let sets = subsets.map(|(index, subset)| endpoint_set(subset, &format!("subsets[{index}]")));
    Ok(Some(Object::Endpoints(Endpoints { name, sets: sets.collect::<Result<_, _>>()? })))
}

fn endpoint_set(subset: &wire::Subset, path: &str) -> Result<EndpointSet, FieldError> {
    let ports = ports_of(subset.ports.as_ref(), &format!("{path}.ports"))?;
    let mut addresses = Vec::new();
    for (field, listed, condition) in [
        ("addresses", &subset.addresses, Condition::READY),
        ("notReadyAddresses", &subset.not_ready_addresses, Condition::NOT_READY),
    ] {
        for (index, listed) in listed.iter().flatten().enumerate() {
            let address: IpAddr = address(&listed.ip, format_args!("{path}.{field}[{index}].ip"))?;
            addresses.push((address, condition));
        }
    }
    Ok(EndpointSet { ports, addresses })
}
