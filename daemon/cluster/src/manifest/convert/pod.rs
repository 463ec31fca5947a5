//! Pods, and the controllers between them and their workload.

use super::FieldError;
use super::field::{addresses, controller, created, namespaced, port, protocol, required};
use super::wire::{self, Container, ObjectMeta};
use crate::object::{Controller, NamedPort, Object, Pod, PodPhase};

/// The restart policy of an init container that runs on beside the others, a sidecar (`k8s.io/api/core/v1`, Container).
const SIDECAR: &str = "Always";

pub(super) fn pod(pod: &wire::Pod) -> Result<Option<Object>, FieldError> {
    let wire::Pod { metadata, spec, status } = pod;
    let spec = required(spec.as_ref(), "spec")?;
    Ok(Some(Object::Pod(Pod {
        name: namespaced(metadata)?,
        uid: metadata.uid.as_deref().unwrap_or_default().into(),
        created: created(metadata)?,
        owner: controller(metadata),
        labels: metadata.labels.clone().unwrap_or_default(),
        addresses: status.as_ref().map(pod_addresses).transpose()?.unwrap_or_default(),
        host_network: spec.host_network.unwrap_or(false),
        phase: phase(status.as_ref().and_then(|status| status.phase.as_deref()))?,
        node: spec.node_name.as_deref().unwrap_or_default().into(),
        service_account: spec.service_account_name.as_deref().unwrap_or("default").into(),
        named_ports: named_ports(spec)?,
    })))
}

/// The list where there is one, else the single address of older API servers and hand-written manifests.
fn pod_addresses(status: &wire::PodStatus) -> Result<Vec<std::net::IpAddr>, FieldError> {
    let listed: Vec<String> = status.pod_ips.iter().flatten().map(|pod_ip| pod_ip.ip.clone()).collect();
    if !listed.is_empty() {
        return addresses(&listed, "status.podIPs");
    }
    let single = status.pod_ip.as_deref().filter(|address| !address.is_empty());
    let address = single.map(|address| super::field::address(address, "status.podIP")).transpose()?;
    Ok(address.into_iter().collect())
}

/// Of the containers that run, sidecars included; an init container is over before anybody can call it.
fn named_ports(spec: &wire::PodSpec) -> Result<Vec<NamedPort>, FieldError> {
    let mut named = Vec::new();
    let is_sidecar = |container: &Container| container.restart_policy.as_deref() == Some(SIDECAR);
    for (index, container) in spec.containers.iter().flatten().enumerate() {
        add_named(&mut named, container, &format!("spec.containers[{index}]"))?;
    }
    for (index, container) in spec.init_containers.iter().flatten().enumerate() {
        if is_sidecar(container) {
            add_named(&mut named, container, &format!("spec.initContainers[{index}]"))?;
        }
    }
    Ok(named)
}

fn add_named(named: &mut Vec<NamedPort>, container: &Container, path: &str) -> Result<(), FieldError> {
    for (index, of) in container.ports.iter().flatten().enumerate() {
        let Some(name) = of.name.as_deref().filter(|name| !name.is_empty()) else { continue };
        named.push(NamedPort {
            name: name.into(),
            protocol: protocol(of.protocol.as_deref(), format_args!("{path}.ports[{index}].protocol"))?,
            port: port(of.container_port, format_args!("{path}.ports[{index}].containerPort"))?,
        });
    }
    Ok(())
}

fn phase(phase: Option<&str>) -> Result<PodPhase, FieldError> {
    Ok(match phase {
        None | Some("" | "Pending") => PodPhase::Pending,
        Some("Running") => PodPhase::Running,
        Some("Succeeded") => PodPhase::Succeeded,
        Some("Failed") => PodPhase::Failed,
        Some("Unknown") => PodPhase::Unknown,
        Some(other) => return Err(FieldError::at("status.phase", format!("{other:?} is no phase of a pod"))),
    })
}

pub(super) fn replica_set(set: &wire::Bare) -> Result<Option<Object>, FieldError> {
    link(&set.metadata).map(|controller| Some(Object::ReplicaSet(controller)))
}

pub(super) fn job(job: &wire::Bare) -> Result<Option<Object>, FieldError> {
    link(&job.metadata).map(|controller| Some(Object::Job(controller)))
}

fn link(metadata: &ObjectMeta) -> Result<Controller, FieldError> {
    Ok(Controller { name: namespaced(metadata)?, owner: controller(metadata) })
}
