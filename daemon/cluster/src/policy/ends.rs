//! Ends of a connection as people name them: an address, a pod, a workload, a Service.
//!
//! Only what is there now is found by name. A workload stands for any of its pods, a Service for each pod behind it. A Service and
//! the workload behind it often share a name: what is called by it is the Service, where that has the port.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use thiserror::Error;

use crate::object::{Object, ObjectKey, ObjectKind, ObjectName, Pod, Service};
use crate::{Cluster, EndpointKind, Protocol, ServicePort, UnixNanos};

/// Pods of a workload that are looked at, at most.
const MOST: usize = 64;

/// Why there is no such end.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum EndError {
    /// Nothing has the name.
    #[error("no pod, workload or Service is called {name}; names are NAMESPACE/NAME, or an address")]
    Unknown {
        /// As it was asked for.
        name: String,
    },
    /// It is there and has no address.
    #[error("{name} has no address yet: its pod is not scheduled or has not started")]
    NoAddress {
        /// As it was asked for.
        name: String,
    },
    /// A Service cannot be a client.
    #[error(
        "{name} is a Service, and Services call nobody: name a pod, a workload or an address as the source"
    )]
    NoClient {
        /// As it was asked for.
        name: String,
    },
    /// The Service has no such port.
    #[error("Service {name} has no {protocol} port {port}; it has {known}")]
    NoPort {
        /// As it was asked for.
        name: String,
        /// Protocol.
        protocol: Protocol,
        /// Port.
        port: u16,
        /// Its ports.
        known: String,
    },
    /// The Service has no backend.
    #[error("Service {name} has no endpoints: no pod answers for it")]
    NoEndpoints {
        /// As it was asked for.
        name: String,
    },
    /// No port was asked for, and none is known.
    #[error("no port of {name} is known: say which")]
    WhichPort {
        /// As it was asked for.
        name: String,
    },
}

/// A server that can be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Called {
    /// What is called.
    pub called: SocketAddr,
    /// Who answers.
    pub server: SocketAddr,
}

impl Cluster {
    /// The addresses that a client of that name has.
    ///
    /// # Errors
    /// If there is none.
    pub fn clients(&self, name: &str) -> Result<Vec<IpAddr>, EndError> {
        if let Ok(address) = name.parse::<IpAddr>() {
            return Ok(vec![address]);
        }
        let found = self.pods_called(name);
        if found.is_empty() && self.service_called(name).is_some() {
            return Err(EndError::NoClient { name: name.to_owned() });
        }
        addresses(name, &found)
    }

    /// What can be called under that name on a port; without one on every port that is known.
    ///
    /// # Errors
    /// If there is none.
    pub fn servers(
        &self,
        name: &str,
        protocol: Protocol,
        port: Option<u16>,
    ) -> Result<Vec<Called>, EndError> {
        let direct = |addresses: Vec<IpAddr>| self.at_ports(name, &addresses, protocol, port);
        if let Ok(address) = name.parse::<IpAddr>() {
            return direct(vec![address]);
        }
        let pods = self.pods_called(name);
        let has_port = |service: &Service| {
            port.is_none_or(|port| service.ports.iter().any(|it| it.protocol == protocol && it.port == port))
        };
        match self.service_called(name) {
            Some(service) if pods.is_empty() || has_port(&service) && !self.is_pod(name) => {
                self.behind(name, &service, protocol, port)
            }
            _ => direct(addresses(name, &pods)?),
        }
    }

    fn at_ports(
        &self,
        name: &str,
        addresses: &[IpAddr],
        protocol: Protocol,
        port: Option<u16>,
    ) -> Result<Vec<Called>, EndError> {
        let at = |address: &IpAddr, port: u16| {
            let called = SocketAddr::new(*address, port);
            Called { called, server: self.answering(called, protocol).unwrap_or(called) }
        };
        let all: Vec<_> = addresses
            .iter()
            .flat_map(|address| {
                let ports = port.map_or_else(|| self.known_ports(*address, protocol), |port| vec![port]);
                ports.into_iter().map(|port| at(address, port)).collect::<Vec<_>>()
            })
            .collect();
        if all.is_empty() { Err(EndError::WhichPort { name: name.to_owned() }) } else { Ok(all) }
    }

    /// A backend, where the address is a Service's.
    fn answering(&self, called: SocketAddr, protocol: Protocol) -> Option<SocketAddr> {
        let service = self.frontend(protocol, called.ip(), called.port(), UnixNanos::MAX)?;
        self.backends(&service, UnixNanos::MAX).first().copied()
    }

    /// Ports of a pod that its containers name, or that Services lead to.
    fn known_ports(&self, address: IpAddr, protocol: Protocol) -> Vec<u16> {
        let owner = self.owner(address.to_canonical(), UnixNanos::MAX);
        let named = owner.subject.iter().flat_map(|subject| subject.ports.iter());
        let mut ports: Vec<_> =
            named.filter(|port| port.protocol == protocol).map(|port| port.port).collect();
        ports.extend(self.services.ports_behind(protocol, address));
        ports.sort_unstable();
        ports.dedup();
        ports
    }

    fn behind(
        &self,
        name: &str,
        service: &Service,
        protocol: Protocol,
        port: Option<u16>,
    ) -> Result<Vec<Called>, EndError> {
        let of_protocol = || service.ports.iter().filter(|it| it.protocol == protocol);
        let wanted: Vec<_> = of_protocol().filter(|it| port.is_none_or(|port| it.port == port)).collect();
        if let (true, Some(port)) = (wanted.is_empty(), port) {
            let known: Vec<_> =
                service.ports.iter().map(|it| format!("{} {}", it.protocol, it.port)).collect();
            return Err(EndError::NoPort { name: name.to_owned(), protocol, port, known: known.join(", ") });
        }
        let vip = service.cluster_addresses.first().copied();
        let servers = wanted.into_iter().flat_map(|spec| {
            let port = ServicePort {
                namespace: Arc::clone(&service.name.namespace),
                name: Arc::clone(&service.name.name),
                port_name: Arc::clone(&spec.name),
            };
            let called = vip.map(|vip| SocketAddr::new(vip, spec.port));
            let backends = self.backends(&port, UnixNanos::MAX).into_iter();
            backends.map(move |server| Called { called: called.unwrap_or(server), server })
        });
        let servers: Vec<_> = servers.take(MOST).collect();
        if servers.is_empty() { Err(EndError::NoEndpoints { name: name.to_owned() }) } else { Ok(servers) }
    }

    fn is_pod(&self, name: &str) -> bool {
        let key = |name| ObjectKey { kind: ObjectKind::Pod, name };
        object_name(name).is_some_and(|name| self.objects.contains_key(&key(name)))
    }

    fn service_called(&self, name: &str) -> Option<Service> {
        let key = ObjectKey { kind: ObjectKind::Service, name: object_name(name)? };
        match self.objects.get(&key) {
            Some(Object::Service(service)) => Some(service.clone()),
            _ => None,
        }
    }

    /// The pod of that name, or the pods of the workload of that name.
    fn pods_called(&self, name: &str) -> Vec<&Pod> {
        let Some(name) = object_name(name) else { return Vec::new() };
        let key = ObjectKey { kind: ObjectKind::Pod, name: name.clone() };
        if let Some(Object::Pod(pod)) = self.objects.get(&key) {
            return vec![pod];
        }
        let first = ObjectName { namespace: Arc::clone(&name.namespace), name: "".into() };
        let in_namespace = self
            .objects
            .range(ObjectKey { kind: ObjectKind::Pod, name: first }..)
            .take_while(|(key, _)| key.kind == ObjectKind::Pod && key.name.namespace == name.namespace);
        let pods = in_namespace.filter_map(|(_, object)| match object {
            Object::Pod(pod) => Some(pod),
            _ => None,
        });
        pods.filter(|pod| self.is_of_workload(pod, &name.name)).take(MOST).collect()
    }

    fn is_of_workload(&self, pod: &Pod, name: &str) -> bool {
        let of = |address: &IpAddr| self.owner(*address, UnixNanos::MAX).workload.as_ref();
        let workload = pod.addresses.first().and_then(of);
        let owner = pod.owner.as_ref().is_some_and(|owner| *owner.name == *name);
        owner || workload.is_some_and(|workload| *workload.name == *name)
    }
}

/// `NAMESPACE/NAME`, or a name in `default`; what is before a last part is a kind that says nothing: `shop/deployment/web`.
fn object_name(text: &str) -> Option<ObjectName> {
    let mut parts = text.split('/');
    let (first, rest) = (parts.next()?, parts.next_back());
    let name = match rest {
        Some(name) => ObjectName::new(first, name),
        None => ObjectName::new("default", first),
    };
    (!name.name.is_empty() && !name.namespace.is_empty()).then_some(name)
}

fn addresses(name: &str, pods: &[&Pod]) -> Result<Vec<IpAddr>, EndError> {
    if pods.is_empty() {
        return Err(EndError::Unknown { name: name.to_owned() });
    }
    let addresses: Vec<_> = pods
        .iter()
        .filter(|pod| pod.phase.owns_address())
        .filter_map(|pod| pod.addresses.first().copied())
        .collect();
    if addresses.is_empty() { Err(EndError::NoAddress { name: name.to_owned() }) } else { Ok(addresses) }
}

/// The words for what an end is.
#[must_use]
pub const fn kind_of_end(kind: EndpointKind) -> &'static str {
    match kind {
        EndpointKind::Pod => "pod",
        EndpointKind::Node => "node",
        EndpointKind::Service => "service",
        EndpointKind::Unmanaged => "unmanaged",
        EndpointKind::World => "world",
    }
}
