//! What the world will be: nodes, pods, Services, policies and every name, address and port in it, drawn from a seed.
//!
//! Pure. `world` makes it of namespaces and links, `services` and `policies` write its rules, `cluster` writes it as
//! manifests, and the checks know from it what must be true. All of them read this one description, so they cannot differ.

mod address;
mod cast;
mod service;

use std::net::{IpAddr, SocketAddr};

pub use address::{Addresses, Family, Network};
pub use service::{Protocol, Reach, Service, ServicePort};

use crate::kinds::{Attachment, Kinds};

/// UDP port of flannel's VXLAN on Linux.
pub const VXLAN_PORT: u16 = 8472;
/// VXLAN network identifier that flannel uses.
pub const VNI: u32 = 1;
/// NFLOG groups that the policies' rules log to: the kernel gives each to one listener, and a check may have two daemons on a node.
pub const NFLOG_GROUPS: [u16; 2] = [5, 6];

/// Which of the two nodes: callers live on the first, remote backends on the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Near,
    Far,
}

/// A node.
#[derive(Clone, Debug)]
pub struct Node {
    pub place: Place,
    pub name: String,
    pub addresses: Addresses,
    /// Range of its pods' addresses; the first one belongs to its overlay device, the next to its bridge.
    pub pods: Network,
    /// MAC addresses of its overlay devices.
    pub overlay_macs: [String; 2],
}

impl Node {
    pub fn address(&self, family: Family) -> IpAddr {
        self.addresses.of(family)
    }

    /// Address of the overlay device, as flannel gives it: the pod range's first.
    pub fn overlay(&self, family: Family) -> IpAddr {
        self.pods.base.of(family)
    }

    /// Address of the bridge, which is its pods' gateway.
    pub fn gateway(&self, family: Family) -> IpAddr {
        self.pods.at(1).of(family)
    }

    /// MAC address of the overlay device of that family.
    pub fn overlay_mac(&self, family: Family) -> &str {
        let [v4, v6] = &self.overlay_macs;
        match family {
            Family::V4 => v4,
            Family::V6 => v6,
        }
    }
}

/// What a pod is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Calls the API by its name and external names with ndots:5.
    Client,
    /// Makes the calls that are checked, and no others.
    Checker,
    /// Calls the API, whose policy does not let it.
    Denied,
    /// Calls the store, which its own egress policy does not let it.
    Restricted,
    /// API backend on the callers' node.
    ApiNear,
    /// API backend on the other node.
    ApiFar,
    /// Backend of the NodePort Service.
    Store,
    /// The cluster's DNS server.
    Dns,
    /// First pod of the StatefulSet, on the callers' node.
    First,
    /// Second pod of the StatefulSet, on the other node.
    Second,
    /// A server on the other node whose address is the node's.
    HostServer,
    /// A caller whose address is the callers' node's.
    HostClient,
}

/// What makes pods of a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Controller {
    Deployment,
    StatefulSet,
    DaemonSet,
}

/// A pod.
#[derive(Clone, Debug)]
pub struct Pod {
    pub role: Role,
    pub namespace: String,
    pub name: String,
    /// Value of its `app` label (`k8s-app` for DNS) and name of its controller.
    pub app: String,
    pub controller: Controller,
    /// Hash of its template, which its ReplicaSet is named by.
    pub template_hash: String,
    pub place: Place,
    /// A host-network pod has its node's.
    pub addresses: Addresses,
    pub host_network: bool,
    /// Host end of its veth.
    pub veth: String,
}

impl Pod {
    /// Namespace and name, as weir prints them.
    pub fn path(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }

    pub fn address(&self, family: Family) -> IpAddr {
        self.addresses.of(family)
    }

    /// Its address with a port.
    pub fn at(&self, family: Family, port: u16) -> SocketAddr {
        self.addresses.port(family, port)
    }
}

/// Which packets a policy judges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    Ingress,
    Egress,
}

/// A NetworkPolicy that selects the pods of one app and lets them talk to some apps on some ports.
#[derive(Clone, Debug)]
pub struct Policy {
    pub namespace: String,
    pub name: String,
    pub app: String,
    pub direction: Direction,
    pub allow: Vec<Allow>,
}

impl Policy {
    /// What its rule writes into the kernel's packet log.
    pub fn log_prefix(&self) -> String {
        format!("deny:{}", self.path())
    }

    /// Namespace and name, as weir prints them.
    pub fn path(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }
}

/// One rule of a policy: these peers on these ports.
#[derive(Clone, Debug)]
pub struct Allow {
    /// Namespace and app.
    pub peers: Vec<(String, String)>,
    pub ports: Vec<(Protocol, u16)>,
}

/// Everything.
#[derive(Clone, Debug)]
pub struct Plan {
    pub seed: u64,
    pub kinds: Kinds,
    /// The nodes' own network; `.1` is its router.
    pub underlay: Network,
    /// A network outside the cluster; `.1` is its router.
    pub world: Network,
    /// The client and server outside the cluster.
    pub outside: Addresses,
    pub pod_range: Network,
    pub near: Node,
    pub far: Node,
    pub pods: Vec<Pod>,
    pub api: Service,
    pub store: Service,
    pub dns: Service,
    /// A Service without endpoints.
    pub empty: Service,
    /// The StatefulSet's headless Service.
    pub headless: Service,
    /// The same pods behind an address, and each client stays with one of them.
    pub session: Service,
    /// The StatefulSet's first pod alone.
    pub primary: Service,
    /// The Service of the host-network server.
    pub agent: Service,
    /// The store's Service behind a load balancer that hands connections to its node as they are.
    pub edge: Service,
    pub api_policy: Policy,
    pub egress_policy: Policy,
    /// Says that nobody but themselves may talk to the StatefulSet's pods. No rule of the kernel enforces it.
    pub forgotten_policy: Policy,
    /// A pod that has ended and whose address is now the client's.
    pub ended_pod: Pod,
    /// Names outside the cluster that its DNS knows.
    pub external_names: Vec<String>,
    pub outside_port: u16,
    /// Port of its node that leads to the store, where CNI's portmap serves.
    pub store_host_port: u16,
}

impl Plan {
    pub fn nodes(&self) -> [&Node; 2] {
        [&self.near, &self.far]
    }

    pub fn node(&self, place: Place) -> &Node {
        match place {
            Place::Near => &self.near,
            Place::Far => &self.far,
        }
    }

    /// Families that the world has, the first one first.
    pub fn families(&self) -> &'static [Family] {
        self.kinds.family.list()
    }

    /// The family that single-family clients use, and the cluster's DNS.
    pub fn family(&self) -> Family {
        self.families().first().copied().unwrap_or(Family::V4)
    }

    pub fn services(&self) -> [&Service; 9] {
        let Self { api, store, dns, empty, headless, session, primary, agent, edge, .. } = self;
        [api, store, dns, empty, headless, session, primary, agent, edge]
    }

    pub fn policies(&self) -> [&Policy; 3] {
        [&self.api_policy, &self.egress_policy, &self.forgotten_policy]
    }

    /// The policies that the nodes' rules enforce.
    pub fn enforced(&self) -> [&Policy; 2] {
        [&self.api_policy, &self.egress_policy]
    }

    /// The pod of that role. Every plan has one of each.
    pub fn pod(&self, role: Role) -> &Pod {
        self.pods.iter().find(|pod| pod.role == role).unwrap_or(&self.ended_pod)
    }

    /// The pods behind a Service.
    pub fn backends<'a>(&'a self, service: &'a Service) -> impl Iterator<Item = &'a Pod> {
        service.backends.iter().map(|role| self.pod(*role))
    }

    /// Namespaces of Kubernetes that the world has, in the order of their names.
    pub fn namespaces(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.pods.iter().map(|pod| pod.namespace.as_str()).collect();
        names.extend(["default", "kube-system"]);
        names.sort_unstable();
        names.dedup();
        names
    }

    /// An external name that pods look up, with fewer dots than ndots.
    pub fn external_name(&self) -> &str {
        self.external_names.first().map_or("www.supplier.example", String::as_str)
    }

    /// The node's port that leads to this pod, and the pod's port, where there is one.
    pub fn host_port(&self, pod: &Pod) -> Option<(u16, u16)> {
        let mapped = self.kinds.pods == Attachment::Cni && pod.role == Role::Store;
        mapped.then(|| (self.store_host_port, self.store.target()))
    }

    /// Search domains of a pod of that namespace, as the kubelet writes them.
    pub fn search_domains(namespace: &str) -> [String; 3] {
        [format!("{namespace}.svc.cluster.local"), "svc.cluster.local".to_owned(), "cluster.local".to_owned()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thousand_worlds_have_no_address_or_name_twice() {
        for seed in 0..1000 {
            let plan = Plan::draw(seed, Kinds::default());
            for family in [Family::V4, Family::V6] {
                let own = plan.pods.iter().filter(|pod| !pod.host_network);
                let mut addresses: Vec<IpAddr> = own.map(|pod| pod.address(family)).collect();
                let services = plan.services().into_iter().filter(|service| service.has_address());
                addresses.extend(services.map(|service| service.addresses.of(family)));
                addresses.extend(plan.edge.reach.ingress().map(|ingress| ingress.of(family)));
                addresses.extend(plan.nodes().map(|node| node.address(family)));
                addresses.extend(plan.nodes().map(|node| node.overlay(family)));
                addresses.extend(plan.nodes().map(|node| node.gateway(family)));
                addresses.push(plan.outside.of(family));
                let count = addresses.len();
                addresses.sort_unstable();
                addresses.dedup();
                assert_eq!(addresses.len(), count, "seed {seed}: {plan:?}");
            }
            assert_ne!(plan.near.name, plan.far.name, "seed {seed}");
            assert!(plan.policies().iter().all(|policy| policy.log_prefix().len() < 64), "seed {seed}");
        }
    }
}
