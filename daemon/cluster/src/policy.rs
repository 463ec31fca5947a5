//! What the NetworkPolicies say of a connection: for either direction who decided, by which rule, or why no rule let it pass.
//!
//! Policies are about connections: the answers of an allowed one are never judged. They add up: what any one allows is
//! allowed, and a pod that none selects in a direction is open in it. `compiled` makes a policy fast to ask, `table` keeps
//! which policies select which pods, now and before, `judge` asks them, `miss` says how near the others came, `advice`
//! what was probably meant, and `sentence` says all of it in words. Three answers are possible: yes, no, and that it cannot be decided, with the reason;
//! nothing is guessed. Pure.

mod advice;
mod compiled;
mod ends;
mod judge;
mod labels;
mod miss;
mod sentence;
mod subject;
mod table;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::object::{ForeignKind, NetworkPolicy, ObjectName};
use crate::{Endpoint, Protocol, UnixNanos};

pub use advice::{Advice, Explanation};
pub use ends::{Called, EndError, kind_of_end};
pub use miss::{Miss, PeerMiss, PortMistake};
pub use subject::Subject;
pub(crate) use subject::Subjects;
pub(crate) use table::Policies;

/// Which of a connection's two pods is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Direction {
    /// What leaves the client.
    Egress,
    /// What enters the server.
    Ingress,
}

/// A connection, as policies are asked about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question {
    /// Policies, pods and labels are those of this time: the connection's first packet.
    pub at: UnixNanos,
    /// Protocol; `None`: one that NetworkPolicy has no word for, as ICMP.
    pub protocol: Option<Protocol>,
    /// The client as it sent.
    pub client: IpAddr,
    /// The client as it leaves this node for the server: another address where this node masquerades.
    pub client_behind: IpAddr,
    /// What the client called.
    pub called: SocketAddr,
    /// Who answers, after DNAT; the called address where none is known.
    pub server: SocketAddr,
}

impl Question {
    /// Without any translation.
    #[must_use]
    pub const fn direct(at: UnixNanos, protocol: Protocol, client: IpAddr, server: SocketAddr) -> Self {
        let protocol = Some(protocol);
        Self { at, protocol, client, client_behind: client, called: server, server }
    }
}

/// What the policies say about one direction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// Which pod was judged.
    pub direction: Direction,
    /// That pod.
    pub pod: Arc<Endpoint>,
    /// The result.
    pub ruling: Ruling,
    /// Every policy that selects the pod in this direction with what it says, in the order of their names.
    pub opinions: Vec<Opinion>,
}

/// The result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ruling {
    /// No policy selects the pod in this direction: all may pass.
    Open,
    /// Some policy lets it pass.
    Allowed,
    /// It passes whatever policies say.
    Always(Always),
    /// Policies select the pod, and none lets it pass.
    Denied,
    /// Nobody can say.
    Undecidable(Undecidable),
}

/// Why a connection passes whatever policies say (`k8s.io/api/networking/v1`, NetworkPolicySpec; the concept's page).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Always {
    /// The other end is the pod's own node.
    OwnNode,
    /// The other end is the pod itself.
    Itself,
}

/// Why nobody can say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Undecidable {
    /// A policy of a kind that weir does not judge by selects the pod.
    Foreign {
        /// Kind.
        kind: ForeignKind,
        /// Name.
        name: ObjectName,
    },
    /// A policy that selects the pod has a field that weir does not know.
    UnknownField {
        /// Name of the policy.
        policy: ObjectName,
        /// Path of the field.
        field: Arc<str>,
    },
    /// NetworkPolicy says nothing of protocols other than TCP, UDP and SCTP: each network plugin does as it likes.
    Protocol,
    /// The other end has an address of the cluster's and nobody is known there.
    UnknownPeer(IpAddr),
    /// The labels of the other end's namespace are not known.
    UnknownNamespace(Arc<str>),
    /// A Service was called, and which pod answers is not known.
    NoBackend(SocketAddr),
    /// The answer depends on whether a range is compared with the Service's address or with the pod's: plugins differ.
    BlockAtService(SocketAddr),
    /// The answer depends on whether the client is judged by its own address or by the node's that stands for it.
    Masqueraded(IpAddr),
    /// What held then is forgotten.
    TooOld,
}

/// What one policy says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opinion {
    /// The policy, as it was then.
    pub policy: Arc<NetworkPolicy>,
    /// What it says.
    pub outcome: Outcome,
}

/// What one policy says of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It lets it pass, by this rule.
    Allows(Allowance),
    /// It does not; how near it came.
    Misses(Miss),
    /// It may.
    Maybe(Undecidable),
}

/// The first rule of a policy that lets a connection pass, with what of it matched. Indices as in the policy's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// Rule.
    pub rule: usize,
    /// Item of its `from` or `to`; `None`: it lists none, so everybody is meant.
    pub peer: Option<usize>,
    /// Item of its `ports`; `None`: it lists none, so every port is meant.
    pub port: Option<usize>,
}

impl Judgement {
    /// The policies that let it pass.
    pub fn allowing(&self) -> impl Iterator<Item = (&NetworkPolicy, Allowance)> {
        self.opinions.iter().filter_map(|opinion| match opinion.outcome {
            Outcome::Allows(allowance) => Some((&*opinion.policy, allowance)),
            Outcome::Misses(_) | Outcome::Maybe(_) => None,
        })
    }

    /// Whether it is one of the answers that let the connection pass.
    #[must_use]
    pub const fn passes(&self) -> bool {
        matches!(self.ruling, Ruling::Open | Ruling::Allowed | Ruling::Always(_))
    }
}
