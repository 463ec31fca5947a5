//! Services and the ranges their addresses are taken from.

use std::net::IpAddr;
use std::num::NonZeroU16;

use super::field::{self, address, addresses, namespaced, port, protocol, ranges, required};
use super::{FieldError, wire};
use crate::object::{Object, PortSpec, Service, ServiceCidr, ServiceType, TargetPort};

/// What `clusterIP` says for a headless Service.
const HEADLESS: &str = "None";

pub(super) fn service(service: &wire::Service) -> Result<Option<Object>, FieldError> {
    let wire::Service { metadata, spec, status } = service;
    let spec = required(spec.as_ref(), "spec")?;
    let mut external = addresses(spec.external_ips.as_deref().unwrap_or_default(), "spec.externalIPs")?;
    external.extend(load_balancer_addresses(status.as_ref())?);
    Ok(Some(Object::Service(Service {
        name: namespaced(metadata)?,
        labels: metadata.labels.clone().unwrap_or_default(),
        service_type: service_type(spec)?,
        cluster_addresses: cluster_addresses(spec)?,
        external_addresses: external,
        ports: ports(spec)?,
    })))
}

fn service_type(spec: &wire::ServiceSpec) -> Result<ServiceType, FieldError> {
    Ok(match spec.type_.as_deref() {
        None | Some("" | "ClusterIP") => ServiceType::ClusterIp,
        Some("NodePort") => ServiceType::NodePort,
        Some("LoadBalancer") => ServiceType::LoadBalancer,
        Some("ExternalName") => {
            let name = required(spec.external_name.as_deref(), "spec.externalName")?;
            ServiceType::ExternalName(name.into())
        }
        Some(other) => return Err(FieldError::at("spec.type", format!("{other:?} is no type of Service"))),
    })
}

fn cluster_addresses(spec: &wire::ServiceSpec) -> Result<Vec<IpAddr>, FieldError> {
    let is_address = |text: &str| !text.is_empty() && text != HEADLESS;
    let listed = spec.cluster_ips.iter().flatten().enumerate().filter(|(_, text)| is_address(text));
    let listed: Vec<IpAddr> = listed
        .map(|(index, text)| address(text, format_args!("spec.clusterIPs[{index}]")))
        .collect::<Result<_, _>>()?;
    if !listed.is_empty() {
        return Ok(listed);
    }
    let single = spec.cluster_ip.as_deref().filter(|text| is_address(text));
    let single = single.map(|text| address(text, "spec.clusterIP")).transpose()?;
    Ok(single.into_iter().collect())
}

fn load_balancer_addresses(status: Option<&wire::ServiceStatus>) -> Result<Vec<IpAddr>, FieldError> {
    let ingress = status.and_then(|status| status.load_balancer.as_ref()?.ingress.as_ref());
    let texts = ingress.into_iter().flatten().enumerate();
    texts
        .filter_map(|(index, ingress)| Some((index, ingress.ip.as_deref()?)))
        .filter(|(_, text)| !text.is_empty())
        .map(|(index, text)| address(text, format_args!("status.loadBalancer.ingress[{index}].ip")))
        .collect()
}

fn ports(spec: &wire::ServiceSpec) -> Result<Vec<PortSpec>, FieldError> {
    let ports = spec.ports.iter().flatten().enumerate();
    ports.map(|(index, port)| port_spec(port, &format!("spec.ports[{index}]"))).collect()
}

fn port_spec(spec: &wire::ServicePort, path: &str) -> Result<PortSpec, FieldError> {
    let number = port(spec.port, format_args!("{path}.port"))?;
    let target_port = match &spec.target_port {
        None => TargetPort::Number(number),
        Some(wire::NumberOrName::Number(0)) => TargetPort::Number(number),
        Some(wire::NumberOrName::Number(target)) => {
            TargetPort::Number(port(*target, format_args!("{path}.targetPort"))?)
        }
        Some(wire::NumberOrName::Name(name)) => TargetPort::Name(name.as_str().into()),
    };
    let node_port = spec.node_port.filter(|number| *number != 0);
    let node_port = node_port.map(|number| port(number, format_args!("{path}.nodePort"))).transpose()?;
    Ok(PortSpec {
        name: spec.name.as_deref().unwrap_or_default().into(),
        protocol: protocol(spec.protocol.as_deref(), format_args!("{path}.protocol"))?,
        port: number,
        node_port: node_port.and_then(NonZeroU16::new),
        target_port,
    })
}

pub(super) fn service_cidr(range: &wire::ServiceCidr) -> Result<Option<Object>, FieldError> {
    let cidrs = range.spec.as_ref().and_then(|spec| spec.cidrs.as_deref()).unwrap_or_default();
    let name = field::name(&range.metadata)?;
    Ok(Some(Object::ServiceCidr(ServiceCidr { name, cidrs: ranges(cidrs, "spec.cidrs")? })))
}
