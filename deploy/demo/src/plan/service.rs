//! Services of a plan: their addresses, their ports, how they are reached and who is behind them.

use std::net::SocketAddr;

use super::{Addresses, Family, Role};

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
    /// Its ClusterIPs; a headless Service has none.
    pub addresses: Addresses,
    pub reach: Reach,
    /// Each client's connections go to one backend (`sessionAffinity: ClientIP`).
    pub sticky: bool,
    pub ports: Vec<ServicePort>,
    /// App that its selector names.
    pub selects: String,
    /// Roles of the pods behind it.
    pub backends: Vec<Role>,
}

/// How a Service is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// By its ClusterIP, and by NodePorts where its ports have them.
    ClusterIp,
    /// By its pods' addresses alone, which DNS tells.
    Headless,
    /// By a load balancer's address too, routed to the nodes that have a backend (`externalTrafficPolicy: Local`).
    LoadBalancer(Addresses),
}

impl Reach {
    /// The load balancer's addresses.
    pub fn ingress(self) -> Option<Addresses> {
        match self {
            Self::LoadBalancer(ingress) => Some(ingress),
            Self::ClusterIp | Self::Headless => None,
        }
    }
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

    pub fn has_address(&self) -> bool {
        self.reach != Reach::Headless
    }

    /// Address and first port that clients call.
    pub fn frontend(&self, family: Family) -> SocketAddr {
        self.addresses.port(family, self.port())
    }

    /// Its first port.
    pub fn port(&self) -> u16 {
        self.ports.first().map_or(0, |port| port.port)
    }

    /// Its first port's NodePort.
    pub fn node_port(&self) -> Option<u16> {
        self.ports.iter().find_map(|port| port.node_port)
    }

    /// Port that the pods behind its first port listen on.
    pub fn target(&self) -> u16 {
        self.ports.first().map_or(0, |port| port.target)
    }
}
