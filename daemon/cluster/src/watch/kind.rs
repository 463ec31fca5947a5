//! The table of what is watched. What the watch asks the API server for follows from it, and so does the RBAC it needs.

use crate::object::ObjectKind;

/// A kind of object, as the API server knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    /// What it is for the cluster.
    pub object: ObjectKind,
    /// API group, empty for the core group.
    pub group: &'static str,
    /// Version within the group.
    pub version: &'static str,
    /// Kind.
    pub kind: &'static str,
    /// The resource's name in paths and in RBAC.
    pub plural: &'static str,
    /// Whether only the metadata is asked for.
    pub metadata_only: bool,
    /// What is done where the API server does not have it.
    pub absent: Absent,
}

/// What is done without a kind that the API server does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absent {
    /// Every API server has it: that this one has not is an error.
    Never,
    /// Nothing is missed.
    DoneWithout,
    /// This kind is watched instead.
    Instead(&'static Kind),
}

impl Kind {
    const fn new(object: ObjectKind, group: &'static str, kind: &'static str, plural: &'static str) -> Self {
        Self { object, group, version: "v1", kind, plural, metadata_only: false, absent: Absent::Never }
    }

    const fn metadata_only(self) -> Self {
        Self { metadata_only: true, ..self }
    }

    const fn or(self, absent: Absent) -> Self {
        Self { absent, ..self }
    }

    /// As RBAC and `kubectl` write it: `endpointslices.discovery.k8s.io`.
    #[must_use]
    pub fn resource(&self) -> String {
        let dot = if self.group.is_empty() { "" } else { "." };
        format!("{}{dot}{}", self.plural, self.group)
    }

    /// Group and version, as objects state them.
    pub(super) fn api_version(&self) -> String {
        let slash = if self.group.is_empty() { "" } else { "/" };
        format!("{}{slash}{}", self.group, self.version)
    }
}

/// Where there are no EndpointSlices (before Kubernetes 1.21, or where the group is switched off).
static ENDPOINTS: Kind = Kind::new(ObjectKind::Endpoints, "", "Endpoints", "endpoints");

/// All that is watched. Of Namespaces, ReplicaSets and Jobs nothing but labels and owners is used. ServiceCIDRs are v1 since
/// Kubernetes 1.33.
pub static KINDS: [Kind; 8] = [
    Kind::new(ObjectKind::Namespace, "", "Namespace", "namespaces").metadata_only(),
    Kind::new(ObjectKind::Node, "", "Node", "nodes"),
    Kind::new(ObjectKind::ServiceCidr, "networking.k8s.io", "ServiceCIDR", "servicecidrs")
        .or(Absent::DoneWithout),
    Kind::new(ObjectKind::Service, "", "Service", "services"),
    Kind::new(ObjectKind::EndpointSlice, "discovery.k8s.io", "EndpointSlice", "endpointslices")
        .or(Absent::Instead(&ENDPOINTS)),
    Kind::new(ObjectKind::ReplicaSet, "apps", "ReplicaSet", "replicasets").metadata_only(),
    Kind::new(ObjectKind::Job, "batch", "Job", "jobs").metadata_only(),
    Kind::new(ObjectKind::Pod, "", "Pod", "pods"),
];

/// All that may be asked for: the table, and what stands in for a kind of it.
pub fn with_substitutes() -> impl Iterator<Item = &'static Kind> {
    let substitute = |kind: &Kind| match kind.absent {
        Absent::Instead(other) => Some(other),
        Absent::Never | Absent::DoneWithout => None,
    };
    KINDS.iter().chain(KINDS.iter().filter_map(substitute))
}

/// What the watch does with each of them, as RBAC calls it.
pub const VERBS: [&str; 2] = ["list", "watch"];
