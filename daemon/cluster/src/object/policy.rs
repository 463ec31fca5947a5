//! NetworkPolicies (networking.k8s.io/v1), and what is known of other kinds of policy: whom they select.
//!
//! What a field means when it is absent, empty or defaulted is decided where these are made: here an absent list is told
//! from an empty one by the type, and `policyTypes` is resolved. The source of each rule is the text of the API's types
//! (`k8s.io/api/networking/v1`, `types.go`).

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;

use ipnet::IpNet;

use super::ObjectName;
use crate::Protocol;

/// A NetworkPolicy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkPolicy {
    /// Namespace and name.
    pub name: ObjectName,
    /// `metadata.generation`: grows with each change of the specification; 0 where it is not said.
    pub generation: u64,
    /// `metadata.resourceVersion`, opaque; empty where it is not said.
    pub resource_version: Arc<str>,
    /// The pods of its namespace that it is about.
    pub selects: Selector,
    /// What may enter them; `None`: it says nothing about what enters, `Some` of no rule: nothing may.
    pub ingress: Option<Vec<Rule>>,
    /// What may leave them, in the same way.
    pub egress: Option<Vec<Rule>>,
    /// Path of a field that is there and not known to weir, so that nobody knows what the policy means. Usually none.
    pub unknown_field: Option<Arc<str>>,
}

/// One rule: it lets those peers talk on those ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Who; none listed: everybody.
    pub peers: Vec<Peer>,
    /// On what; none listed: every port of every protocol.
    pub ports: Vec<PolicyPort>,
}

/// Whom a rule lets talk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peer {
    /// Pods with an address of their own.
    Pods {
        /// In which namespaces; `None`: the policy's own.
        namespaces: Option<Selector>,
        /// Which pods there; `None`: all of them.
        pods: Option<Selector>,
    },
    /// Addresses.
    Block {
        /// In this range.
        cidr: IpNet,
        /// And in none of these.
        except: Vec<IpNet>,
    },
}

/// A port that a rule names, of the pod that is talked to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyPort {
    /// Protocol, TCP where it was not said.
    pub protocol: Protocol,
    /// Which ports of it.
    pub port: PortMatch,
}

/// Which ports of a protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PortMatch {
    /// All.
    Every,
    /// This one, or these.
    Numbers(RangeInclusive<u16>),
    /// The one that the pod's container calls so.
    Named(Arc<str>),
}

/// A label selector: all of it must hold; without requirements it selects everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    /// `matchLabels` and `matchExpressions`, in the order of the text.
    pub requirements: Vec<Requirement>,
}

/// A condition on one label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirement {
    /// Key of the label.
    pub key: Arc<str>,
    /// What must be so.
    pub operator: Operator,
}

/// What must be so of a label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operator {
    /// It is there and has one of these values.
    In(Vec<Arc<str>>),
    /// It is not there, or has none of these values.
    NotIn(Vec<Arc<str>>),
    /// It is there.
    Exists,
    /// It is not there.
    DoesNotExist,
}

/// A port that a pod's container gives a name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NamedPort {
    /// Name, unique in the pod for its protocol.
    pub name: Arc<str>,
    /// Protocol.
    pub protocol: Protocol,
    /// Number.
    pub port: u16,
}

/// Kinds of policy that weir sees and does not judge by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ForeignKind {
    /// policy.networking.k8s.io.
    AdminNetworkPolicy,
    /// policy.networking.k8s.io.
    BaselineAdminNetworkPolicy,
    /// policy.networking.k8s.io, which came after both.
    ClusterNetworkPolicy,
    /// cilium.io.
    CiliumNetworkPolicy,
    /// cilium.io.
    CiliumClusterwideNetworkPolicy,
    /// crd.projectcalico.org.
    CalicoNetworkPolicy,
    /// crd.projectcalico.org.
    CalicoGlobalNetworkPolicy,
}

impl ForeignKind {
    /// As its users call it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::AdminNetworkPolicy => "AdminNetworkPolicy",
            Self::BaselineAdminNetworkPolicy => "BaselineAdminNetworkPolicy",
            Self::ClusterNetworkPolicy => "ClusterNetworkPolicy",
            Self::CiliumNetworkPolicy => "CiliumNetworkPolicy",
            Self::CiliumClusterwideNetworkPolicy => "CiliumClusterwideNetworkPolicy",
            Self::CalicoNetworkPolicy => "Calico's NetworkPolicy",
            Self::CalicoGlobalNetworkPolicy => "Calico's GlobalNetworkPolicy",
        }
    }
}

/// A policy of a kind that weir does not judge by: the verdicts of the pods that it selects are undecidable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForeignPolicy {
    /// Kind.
    pub kind: ForeignKind,
    /// Name, and namespace where the kind has one.
    pub name: ObjectName,
    /// In which namespaces it selects pods; `None`: its own, or all where it has none.
    pub namespaces: Option<Selector>,
    /// Which pods there; `None`: it cannot be told, so all of them.
    pub pods: Option<Selector>,
}

/// Whether an address is in a block: in its range and in none of its exceptions.
#[must_use]
pub fn is_in_block(address: IpAddr, cidr: &IpNet, except: &[IpNet]) -> bool {
    cidr.contains(&address) && !except.iter().any(|range| range.contains(&address))
}
