//! What the cluster looked like at a moment: who owned an address, which Service a frontend was, which backends it had, and
//! what the policies said of a connection.
//!
//! The library does no I/O and reads no clock: `apply(object, at)` and look-ups for a time. The feature `sources` holds the
//! manifest files and the Kubernetes watch. History is bounded: what was forgotten is answered with the oldest state still known.

mod address;
mod apply;
mod endpoint;
mod history;
mod label;
#[cfg(feature = "sources")]
pub mod manifest;
pub mod object;
pub mod policy;
mod range;
mod service;
mod time;
#[cfg(feature = "sources")]
pub mod watch;
mod workload;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU16;
use std::sync::Arc;

use ipnet::IpNet;

use address::{Claimed, Strength, is_beyond_ranges};
pub use apply::Change;
use apply::Objects;
use endpoint::Holder;
pub use endpoint::{Endpoint, EndpointKind, Identity, Workload};
pub use history::HistoryLimits;
use history::{Claims, History, State};
use label::LabelSets;
use object::{Condition, Node, ObjectKey};
use policy::{Policies, Subjects};
use range::Ranges;
use service::{Backend, Frontend, Services};
pub use time::UnixNanos;

/// A transport protocol, as Services name them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

/// A port of a Service.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServicePort {
    /// Namespace of the Service.
    pub namespace: Arc<str>,
    /// Name of the Service.
    pub name: Arc<str>,
    /// Name of the port, empty where it has none.
    pub port_name: Arc<str>,
}

/// How much the cluster's state is, and what it could not hold or had to decide. Counts only grow, sizes go both ways.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClusterStats {
    /// Size: objects there are now.
    pub objects: usize,
    /// Size: policies there are now, those of kinds that are not judged by included.
    pub policies: usize,
    /// Size: addresses known, whether held now or before.
    pub addresses: usize,
    /// Size: ended states kept, of all tables.
    pub history_entries: usize,
    /// Count: ended states forgotten, of all tables, because a bound was reached.
    pub forgotten: u64,
    /// From this time on no state was forgotten; an earlier look-up may be answered with a later state.
    pub exact_since: UnixNanos,
    /// Count: times that an address came to be claimed by two running pods. The newer pod holds it.
    pub address_conflicts: u64,
    /// Count: times that two label sets got one numeric identity.
    pub identity_collisions: u64,
    /// Count: pod and Service ranges left out because there were too many.
    pub ranges_refused: u64,
}

/// The cluster's state over time.
#[derive(Debug)]
pub struct Cluster {
    objects: Objects,
    /// The time of the latest change.
    latest: UnixNanos,
    local_node: Arc<str>,

    address_claims: Claims<ObjectKey, IpAddr, Strength, Claimed>,
    addresses: History<IpAddr, Holder>,
    apiservers: HashSet<IpAddr>,
    ranges: Ranges,
    services: Services,
    nodes: History<Arc<str>, Arc<Node>>,
    namespaces: History<Arc<str>, ()>,
    namespace_objects: HashMap<Arc<str>, usize>,
    label_sets: LabelSets,
    subjects: Subjects,
    policies: Policies,

    unsettled_pods: BTreeSet<ObjectKey>,
    apiservers_unsettled: bool,
    contested: HashSet<IpAddr>,
    conflicts: u64,

    world: Arc<Endpoint>,
    unmanaged: Arc<Endpoint>,
    /// The local node at its loopback addresses.
    loopback: Arc<Endpoint>,
}

impl Default for Cluster {
    fn default() -> Self {
        Self::new(HistoryLimits::default())
    }
}

impl Cluster {
    /// An empty cluster that keeps so much of its past.
    #[must_use]
    pub fn new(limits: HistoryLimits) -> Self {
        let nowhere: Arc<str> = "".into();
        Self {
            objects: Objects::new(),
            latest: UnixNanos::ZERO,
            local_node: Arc::clone(&nowhere),
            address_claims: Claims::default(),
            addresses: History::new(limits),
            apiservers: HashSet::new(),
            ranges: Ranges::default(),
            services: Services::new(limits),
            nodes: History::new(limits),
            namespaces: History::new(limits),
            namespace_objects: HashMap::new(),
            label_sets: LabelSets::default(),
            subjects: Subjects::default(),
            policies: Policies::new(limits),
            unsettled_pods: BTreeSet::new(),
            apiservers_unsettled: false,
            contested: HashSet::new(),
            conflicts: 0,
            world: Endpoint::world(),
            unmanaged: Endpoint::unmanaged(),
            loopback: Endpoint::host(&nowhere, false),
        }
    }

    /// The node that asks: its own addresses are `host`, other nodes' are `remote-node`. Holds for all times.
    pub fn set_local_node(&mut self, name: &str) {
        self.local_node = name.into();
        self.loopback = Endpoint::host(&self.local_node, false);
    }

    /// A range that belongs to the cluster though no object says so (a configured cluster or Service CIDR): an address in
    /// it that nobody owns is unmanaged, not the world.
    pub fn add_range(&mut self, range: IpNet) {
        self.ranges.add(range);
    }

    /// Who owned the address at that time. An IPv4-mapped IPv6 address is looked up as IPv4.
    #[must_use]
    pub fn endpoint(&self, address: IpAddr, at: UnixNanos) -> Arc<Endpoint> {
        Arc::clone(self.owner(address.to_canonical(), at))
    }

    fn owner(&self, address: IpAddr, at: UnixNanos) -> &Arc<Endpoint> {
        if address.is_loopback() {
            return &self.loopback;
        }
        let was_inside = match self.addresses.at(&address, at) {
            State::Held(holder) => return holder.seen_by(&self.local_node),
            State::Vacant(Holder::One(other)) => {
                matches!(other.kind, EndpointKind::Pod | EndpointKind::Service)
            }
            State::Vacant(Holder::Node { .. }) | State::Never => false,
        };
        let inside = was_inside || !is_beyond_ranges(address) && self.ranges.contains(address);
        if inside { &self.unmanaged } else { &self.world }
    }

    /// The Service that this frontend (ClusterIP, external or load balancer address and port, or a node's address and a
    /// NodePort) belonged to at that time.
    #[must_use]
    pub fn frontend(
        &self,
        protocol: Protocol,
        address: IpAddr,
        port: u16,
        at: UnixNanos,
    ) -> Option<ServicePort> {
        let address = address.to_canonical();
        let own = self.services.frontend(Frontend::At(protocol, address, port), at);
        own.or_else(|| self.node_port(protocol, address, port, at)).cloned()
    }

    fn node_port(
        &self,
        protocol: Protocol,
        address: IpAddr,
        port: u16,
        at: UnixNanos,
    ) -> Option<&ServicePort> {
        let service = self.services.frontend(Frontend::EveryNode(protocol, NonZeroU16::new(port)?), at)?;
        (self.owner(address, at).kind == EndpointKind::Node).then_some(service)
    }

    /// All Services that had this address and port as a backend at that time, ready or not, in the order of their names.
    #[must_use]
    pub fn services_behind(
        &self,
        protocol: Protocol,
        address: IpAddr,
        port: u16,
        at: UnixNanos,
    ) -> Vec<ServicePort> {
        let address = SocketAddr::new(address.to_canonical(), port);
        let behind = self.services.behind(Backend { protocol, address }, at);
        behind.iter().map(|(port, _)| port.clone()).collect()
    }

    /// The backends a Service's port had at that time, ready or not, in the order of their addresses.
    #[must_use]
    pub fn backends(&self, port: &ServicePort, at: UnixNanos) -> Vec<SocketAddr> {
        self.services.backends(port, at).map(|(address, _)| address).collect()
    }

    /// The backends a Service's port had at that time, each with its condition, in the order of their addresses.
    #[must_use]
    pub fn backend_conditions(&self, port: &ServicePort, at: UnixNanos) -> Vec<(SocketAddr, Condition)> {
        self.services.backends(port, at).collect()
    }

    /// Whether a Service's port had a backend at that time that takes new connections.
    #[must_use]
    pub fn has_ready_backend(&self, port: &ServicePort, at: UnixNanos) -> bool {
        self.services.backends(port, at).any(|(_, condition)| condition.ready)
    }

    /// The nodes at that time, in the order of their names.
    #[must_use]
    pub fn nodes(&self, at: UnixNanos) -> Vec<Arc<Node>> {
        let mut nodes: Vec<_> = self.nodes.all_at(at).map(|(_, node)| Arc::clone(node)).collect();
        nodes.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        nodes
    }

    /// Whether there is or was a node of that name.
    #[must_use]
    pub fn has_node(&self, name: &str) -> bool {
        self.nodes.knows(name)
    }

    /// The node of that name at that time.
    #[must_use]
    pub fn node(&self, name: &Arc<str>, at: UnixNanos) -> Option<Arc<Node>> {
        self.nodes.at(name, at).held().cloned()
    }

    /// The node that owned the address at that time, be it its own, its tunnel's or its bridge's. Not the node of a pod.
    #[must_use]
    pub fn node_by_address(&self, address: IpAddr, at: UnixNanos) -> Option<Arc<Node>> {
        let owner = self.owner(address.to_canonical(), at);
        (owner.kind == EndpointKind::Node).then(|| self.node(&owner.node, at)).flatten()
    }

    /// The namespaces at that time, in the order of their names: those that are objects and those anything is in.
    #[must_use]
    pub fn namespaces(&self, at: UnixNanos) -> Vec<Arc<str>> {
        let mut names: Vec<_> = self.namespaces.all_at(at).map(|(name, ())| Arc::clone(name)).collect();
        names.sort_unstable();
        names
    }

    /// Sizes and counts, for metrics.
    #[must_use]
    pub fn stats(&self) -> ClusterStats {
        let mut stats = ClusterStats {
            objects: self.objects.len(),
            policies: self.policies.len(),
            addresses: self.addresses.len(),
            address_conflicts: self.conflicts,
            identity_collisions: self.label_sets.collisions(),
            ranges_refused: self.ranges.refused(),
            ..ClusterStats::default()
        };
        let [frontends, backends] = self.services.history();
        let policies = self.policies.history();
        let own = [self.addresses.size(), self.nodes.size(), self.namespaces.size()];
        let tables = own.into_iter().chain([frontends, backends, policies]);
        for table in tables {
            stats.history_entries += table.ended;
            stats.forgotten += table.forgotten;
            stats.exact_since = stats.exact_since.max(table.exact_since);
        }
        stats
    }
}

#[cfg(test)]
mod tests;
