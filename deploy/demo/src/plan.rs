//! What the world will be: nodes, pods, Services, policies and every name, address and port in it, drawn from a seed.
//!
//! Pure. `world` makes it of namespaces and links, `services` and `policies` write its rules, `cluster` writes it as
//! manifests, and the checks know from it what must be true. All of them read this one description, so they cannot differ.

mod cast;

use std::fmt;
use std::net::{Ipv4Addr, SocketAddrV4};

/// UDP port of flannel's VXLAN on Linux.
pub const VXLAN_PORT: u16 = 8472;
/// VXLAN network identifier that flannel uses.
pub const VNI: u32 = 1;
/// NFLOG group that the policies' rules log to.
pub const NFLOG_GROUP: u16 = 5;

/// An IPv4 network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    pub base: Ipv4Addr,
    pub length: u8,
}

impl Network {
    /// The address at this number of the network's last byte.
    pub fn at(self, last: u8) -> Ipv4Addr {
        let [one, two, three, _] = self.base.octets();
        Ipv4Addr::new(one, two, three, last)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.base, self.length)
    }
}

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
    pub address: Ipv4Addr,
    /// Range of its pods' addresses; the first one belongs to its overlay device.
    pub pods: Network,
    /// MAC address of its overlay device.
    pub overlay_mac: String,
}

impl Node {
    /// Address of the overlay device, as flannel gives it: the pod range's first.
    pub fn overlay(&self) -> Ipv4Addr {
        self.pods.base
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
}

/// A pod.
#[derive(Clone, Debug)]
pub struct Pod {
    pub role: Role,
    pub namespace: String,
    pub name: String,
    /// Value of its `app` label (`k8s-app` for DNS) and name of its Deployment.
    pub app: String,
    /// Its ReplicaSet's hash.
    pub template_hash: String,
    pub place: Place,
    pub address: Ipv4Addr,
    /// Host end of its veth.
    pub veth: String,
}

impl Pod {
    /// Namespace and name, as weir prints them.
    pub fn path(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }
}

/// Transport protocol of a Service's port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    Tcp,
    Udp,
}

impl Protocol {
    /// As iptables spells it.
    pub fn lower(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }

    /// As Kubernetes spells it.
    pub fn upper(self) -> &'static str {
        match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
        }
    }
}

/// A port of a Service.
#[derive(Clone, Debug)]
pub struct ServicePort {
    pub name: String,
    pub protocol: Protocol,
    pub port: u16,
    pub target: u16,
    pub node_port: Option<u16>,
}

/// A Service.
#[derive(Clone, Debug)]
pub struct Service {
    pub namespace: String,
    pub name: String,
    pub address: Ipv4Addr,
    pub ports: Vec<ServicePort>,
    /// Roles of the pods behind it.
    pub backends: Vec<Role>,
}

impl Service {
    /// Namespace and name, as weir prints them.
    pub fn path(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }

    /// Its name in the cluster's DNS.
    pub fn dns_name(&self) -> String {
        format!("{}.{}.svc.cluster.local", self.name, self.namespace)
    }

    /// Address and first port that clients call.
    pub fn frontend(&self) -> SocketAddrV4 {
        SocketAddrV4::new(self.address, self.ports.first().map_or(0, |port| port.port))
    }

    /// Port that the pods behind its first port listen on.
    pub fn target(&self) -> u16 {
        self.ports.first().map_or(0, |port| port.target)
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
        format!("deny:{}/{}", self.namespace, self.name)
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
    /// The nodes' own network; `.1` is its router.
    pub underlay: Network,
    /// A network outside the cluster; `.1` is its router.
    pub world: Network,
    /// The client and server outside the cluster.
    pub outside: Ipv4Addr,
    pub pod_range: Network,
    pub near: Node,
    pub far: Node,
    pub pods: Vec<Pod>,
    pub api: Service,
    pub store: Service,
    pub dns: Service,
    /// A Service without endpoints.
    pub empty: Service,
    pub api_policy: Policy,
    pub egress_policy: Policy,
    /// A pod that has ended and whose address is now the client's.
    pub ended_pod: Pod,
    /// Names outside the cluster that its DNS knows.
    pub external_names: Vec<String>,
    pub outside_port: u16,
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

    pub fn services(&self) -> [&Service; 4] {
        [&self.api, &self.store, &self.dns, &self.empty]
    }

    pub fn policies(&self) -> [&Policy; 2] {
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
            let plan = Plan::draw(seed);
            let mut addresses: Vec<Ipv4Addr> = plan.pods.iter().map(|pod| pod.address).collect();
            addresses.extend(plan.services().map(|service| service.address));
            addresses.extend(plan.nodes().map(|node| node.address));
            addresses.extend(plan.nodes().map(Node::overlay));
            addresses.push(plan.outside);
            let count = addresses.len();
            addresses.sort_unstable();
            addresses.dedup();
            assert_eq!(addresses.len(), count, "seed {seed}: {plan:?}");
            assert_ne!(plan.near.name, plan.far.name, "seed {seed}");
            assert!(plan.policies().iter().all(|policy| policy.log_prefix().len() < 64), "seed {seed}");
        }
    }
}
