//! Pods, and the controllers between them and their workload.

use super::FieldError;
use super::field::{addresses, controller, created, namespaced, required};
use super::wire::{self, ObjectMeta};
use crate::object::{Controller, Object, Pod, PodPhase};

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
        named_ports: Vec::new(),
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
