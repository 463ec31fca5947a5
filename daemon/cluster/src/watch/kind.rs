//! The table of what is watched. What the watch asks the API server for follows from it, and so does the RBAC it needs.

use crate::object::{ForeignKind, ObjectKind};

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
    /// This kind is watched instead, or the same in another version or group.
    Instead(&'static Kind),
}

impl Kind {
    const fn new(
        object: ObjectKind,
        group: &'static str,
        version: &'static str,
        kind: &'static str,
        plural: &'static str,
    ) -> Self {
        Self { object, group, version, kind, plural, metadata_only: false, absent: Absent::Never }
    }

    /// A policy that weir does not judge by: few clusters have the kind.
    const fn foreign(
        kind: ForeignKind,
        group: &'static str,
        version: &'static str,
        name: &'static str,
        plural: &'static str,
    ) -> Self {
        Self::new(ObjectKind::ForeignPolicy(kind), group, version, name, plural).or(Absent::DoneWithout)
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

    /// This, and what is watched where it is absent, in order.
    pub fn candidates(&'static self) -> impl Iterator<Item = &'static Self> {
        std::iter::successors(Some(self), |kind| match kind.absent {
            Absent::Instead(other) => Some(other),
            Absent::Never | Absent::DoneWithout => None,
        })
    }

    /// Whether a server may have none of its candidates.
    pub(super) fn is_optional(&'static self) -> bool {
        self.candidates().any(|kind| kind.absent == Absent::DoneWithout)
    }

    /// Where the server has it, in all namespaces.
    pub(super) fn path(&self) -> String {
        let root = if self.group.is_empty() { "api" } else { "apis" };
        format!("/{root}/{}/{}", self.api_version(), self.plural)
    }

    /// Group and version, as objects state them.
    pub(super) fn api_version(&self) -> String {
        let slash = if self.group.is_empty() { "" } else { "/" };
        format!("{}{slash}{}", self.group, self.version)
    }
}

/// Where there are no EndpointSlices (before Kubernetes 1.21, or where the group is switched off).
static ENDPOINTS: Kind = Kind::new(ObjectKind::Endpoints, "", "v1", "Endpoints", "endpoints");

/// Kubernetes' policies for administrators, in their older version.
static CLUSTER_POLICIES_V1ALPHA2: Kind = Kind::foreign(
    ForeignKind::ClusterNetworkPolicy,
    "policy.networking.k8s.io",
    "v1alpha2",
    "ClusterNetworkPolicy",
    "clusternetworkpolicies",
);
/// Calico's, where they are under the name that its users know.
static CALICO_V3: Kind = Kind::foreign(
    ForeignKind::CalicoNetworkPolicy,
    "projectcalico.org",
    "v3",
    "NetworkPolicy",
    "networkpolicies",
);
static CALICO_GLOBAL_V3: Kind = Kind::foreign(
    ForeignKind::CalicoGlobalNetworkPolicy,
    "projectcalico.org",
    "v3",
    "GlobalNetworkPolicy",
    "globalnetworkpolicies",
);

/// All that is watched. Of Namespaces, ReplicaSets and Jobs nothing but labels and owners is used. ServiceCIDRs are v1 since
/// Kubernetes 1.33. Of a kind that has been in several versions or groups the first is watched that the server has.
pub static KINDS: [Kind; 16] = [
    Kind::new(ObjectKind::Namespace, "", "v1", "Namespace", "namespaces").metadata_only(),
    Kind::new(ObjectKind::Node, "", "v1", "Node", "nodes"),
    Kind::new(ObjectKind::ServiceCidr, "networking.k8s.io", "v1", "ServiceCIDR", "servicecidrs")
        .or(Absent::DoneWithout),
    Kind::new(ObjectKind::Service, "", "v1", "Service", "services"),
    Kind::new(ObjectKind::EndpointSlice, "discovery.k8s.io", "v1", "EndpointSlice", "endpointslices")
        .or(Absent::Instead(&ENDPOINTS)),
    Kind::new(ObjectKind::ReplicaSet, "apps", "v1", "ReplicaSet", "replicasets").metadata_only(),
    Kind::new(ObjectKind::Job, "batch", "v1", "Job", "jobs").metadata_only(),
    Kind::new(ObjectKind::NetworkPolicy, "networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies"),
    Kind::foreign(
        ForeignKind::AdminNetworkPolicy,
        "policy.networking.k8s.io",
        "v1alpha1",
        "AdminNetworkPolicy",
        "adminnetworkpolicies",
    ),
    Kind::foreign(
        ForeignKind::BaselineAdminNetworkPolicy,
        "policy.networking.k8s.io",
        "v1alpha1",
        "BaselineAdminNetworkPolicy",
        "baselineadminnetworkpolicies",
    ),
    Kind::foreign(
        ForeignKind::ClusterNetworkPolicy,
        "policy.networking.k8s.io",
        "v1beta1",
        "ClusterNetworkPolicy",
        "clusternetworkpolicies",
    )
    .or(Absent::Instead(&CLUSTER_POLICIES_V1ALPHA2)),
    Kind::foreign(
        ForeignKind::CiliumNetworkPolicy,
        "cilium.io",
        "v2",
        "CiliumNetworkPolicy",
        "ciliumnetworkpolicies",
    ),
    Kind::foreign(
        ForeignKind::CiliumClusterwideNetworkPolicy,
        "cilium.io",
        "v2",
        "CiliumClusterwideNetworkPolicy",
        "ciliumclusterwidenetworkpolicies",
    ),
    Kind::foreign(
        ForeignKind::CalicoNetworkPolicy,
        "crd.projectcalico.org",
        "v1",
        "NetworkPolicy",
        "networkpolicies",
    )
    .or(Absent::Instead(&CALICO_V3)),
    Kind::foreign(
        ForeignKind::CalicoGlobalNetworkPolicy,
        "crd.projectcalico.org",
        "v1",
        "GlobalNetworkPolicy",
        "globalnetworkpolicies",
    )
    .or(Absent::Instead(&CALICO_GLOBAL_V3)),
    Kind::new(ObjectKind::Pod, "", "v1", "Pod", "pods"),
];

/// All that may be asked for: the table, and what stands in for a kind of it.
pub fn with_substitutes() -> impl Iterator<Item = &'static Kind> {
    KINDS.iter().flat_map(Kind::candidates)
}

/// What the watch does with each of them, as RBAC calls it.
pub const VERBS: [&str; 2] = ["list", "watch"];
