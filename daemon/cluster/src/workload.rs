//! From a pod to the workload a person knows it by: Pod -> `ReplicaSet` -> Deployment, Pod -> Job -> `CronJob`.
//!
//! Where the object in between is not known, a Deployment's name follows from the pod's own hash label or not at all:
//! names are not guessed.

use std::sync::Arc;

use crate::endpoint::Workload;
use crate::object::{Controller, ObjectKind, Owner, Pod};

/// The label that names a `ReplicaSet`'s share of its Deployment's pods; the `ReplicaSet` is called DEPLOYMENT-HASH.
const TEMPLATE_HASH_LABEL: &str = "pod-template-hash";

/// The kind of controller that has a controller itself, if this is one.
pub(crate) fn middle_kind(kind: &str) -> Option<ObjectKind> {
    match kind {
        "ReplicaSet" => Some(ObjectKind::ReplicaSet),
        "Job" => Some(ObjectKind::Job),
        _ => None,
    }
}

/// The workload of a pod. `controller` finds a `ReplicaSet` or Job of the pod's namespace by name.
pub(crate) fn workload_of<'a>(
    pod: &Pod,
    controller: impl Fn(ObjectKind, &Arc<str>) -> Option<&'a Controller>,
) -> Option<Workload> {
    let owner = pod.owner.as_ref()?;
    let Some(kind) = middle_kind(&owner.kind) else {
        return Some(named(owner));
    };
    let workload = match controller(kind, &owner.name) {
        Some(known) => named(known.owner.as_ref().unwrap_or(owner)),
        None => deployment_by_hash(pod, owner).unwrap_or_else(|| named(owner)),
    };
    Some(workload)
}

fn deployment_by_hash(pod: &Pod, owner: &Owner) -> Option<Workload> {
    let hash = pod.labels.get(TEMPLATE_HASH_LABEL)?;
    let name = owner.name.strip_suffix(hash.as_str())?.strip_suffix('-')?;
    let proven = &*owner.kind == "ReplicaSet" && !hash.is_empty() && !name.is_empty();
    proven.then(|| Workload { kind: "Deployment".into(), name: name.into() })
}

fn named(owner: &Owner) -> Workload {
    Workload { kind: Arc::clone(&owner.kind), name: Arc::clone(&owner.name) }
}
