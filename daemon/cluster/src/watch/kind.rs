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
    /// Whether it belongs to no namespace.
    pub cluster_scoped: bool,
    /// Whether only the metadata is asked for.
    pub metadata_only: bool,
    /// Whether an API server may not have it.
    pub optional: bool,
}

impl Kind {
    const fn new(object: ObjectKind, group: &'static str, kind: &'static str, plural: &'static str) -> Self {
        Self {
            object,
            group,
            version: "v1",
            kind,
            plural,
            cluster_scoped: matches!(
                object,
                ObjectKind::Namespace | ObjectKind::Node | ObjectKind::ServiceCidr
            ),
            metadata_only: false,
            optional: false,
        }
    }

    const fn metadata_only(self) -> Self {
        Self { metadata_only: true, ..self }
    }

    const fn optional(self) -> Self {
        Self { optional: true, ..self }
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

/// All that is watched. Of Namespaces, ReplicaSets and Jobs nothing but labels and owners is used.
pub const KINDS: [Kind; 8] = [
    Kind::new(ObjectKind::Namespace, "", "Namespace", "namespaces").metadata_only(),
    Kind::new(ObjectKind::Node, "", "Node", "nodes"),
    Kind::new(ObjectKind::ServiceCidr, "networking.k8s.io", "ServiceCIDR", "servicecidrs").optional(),
    Kind::new(ObjectKind::Service, "", "Service", "services"),
    Kind::new(ObjectKind::EndpointSlice, "discovery.k8s.io", "EndpointSlice", "endpointslices"),
    Kind::new(ObjectKind::ReplicaSet, "apps", "ReplicaSet", "replicasets").metadata_only(),
    Kind::new(ObjectKind::Job, "batch", "Job", "jobs").metadata_only(),
    Kind::new(ObjectKind::Pod, "", "Pod", "pods"),
];

/// What the watch does with each of them, as RBAC calls it.
pub const VERBS: [&str; 2] = ["list", "watch"];
