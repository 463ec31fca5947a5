//! Services over time: which frontend is whose, and which address and port stands behind which.
//!
//! Frontends are ClusterIPs, external and load balancer addresses with a port, and node ports at any node. Backends come
//! from EndpointSlices, or from Endpoints where a Service has no slice, whether ready or not: a packet may go to one that
//! is ending. A headless Service has backends only.

use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU16;
use std::sync::Arc;

use crate::history::{Claims, History, HistorySize};
use crate::object::{
    Condition, EndpointPort, EndpointSet, EndpointSlice, Endpoints, ObjectKey, ObjectName, PortSpec, Service,
};
use crate::{HistoryLimits, Protocol, ServicePort, UnixNanos};

/// Where clients reach a Service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Frontend {
    At(Protocol, IpAddr, u16),
    EveryNode(Protocol, NonZeroU16),
}

/// Where a Service's connections end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Backend {
    pub(crate) protocol: Protocol,
    pub(crate) address: SocketAddr,
}

/// The ports of Services that have a backend, with its condition there; in the order of their names, each once.
type Behind = Arc<[(ServicePort, Condition)]>;

/// All Services of the cluster, now and before.
#[derive(Debug)]
pub(crate) struct Services {
    frontend_claims: Claims<ObjectName, Frontend, ServicePort, ()>,
    frontends: History<Frontend, ServicePort>,
    backend_claims: Claims<ObjectKey, Backend, (ServicePort, ObjectKey), Condition>,
    backends: History<Backend, Behind>,
    /// The backends each port has or had, as far as `backends` remembers.
    by_port: HashMap<ServicePort, BTreeSet<Backend>>,
    /// The EndpointSlices of each Service.
    slices: HashMap<ObjectName, BTreeSet<ObjectKey>>,
}

impl Services {
    pub(crate) fn new(limits: HistoryLimits) -> Self {
        Self {
            frontend_claims: Claims::default(),
            frontends: History::new(limits),
            backend_claims: Claims::default(),
            backends: History::new(limits),
            by_port: HashMap::new(),
            slices: HashMap::new(),
        }
    }

    /// The Service is now so, or is no more.
    pub(crate) fn set_service(&mut self, name: &ObjectName, service: Option<&Service>) {
        let claims = service.map(frontends_of).unwrap_or_default();
        self.frontend_claims.claim(name, claims);
    }

    /// The slice is now so, or is no more.
    pub(crate) fn set_slice(&mut self, key: &ObjectKey, slice: Option<&EndpointSlice>) {
        let claims = slice.map(|slice| {
            let service =
                ObjectName { namespace: Arc::clone(&slice.name.namespace), name: Arc::clone(&slice.service) };
            backends_of(&service, key, std::slice::from_ref(&slice.set))
        });
        self.backend_claims.claim(key, claims.unwrap_or_default());
    }

    /// A Service gained or lost a slice.
    pub(crate) fn link_slice(&mut self, service: &ObjectName, slice: &ObjectKey, exists: bool) {
        let slices = self.slices.entry(service.clone()).or_default();
        if exists {
            slices.insert(slice.clone());
        } else {
            slices.remove(slice);
        }
        if slices.is_empty() {
            self.slices.remove(service);
        }
    }

    /// The Endpoints of that name are now so, or are no more. They count only while the Service has no slice.
    pub(crate) fn set_endpoints(&mut self, key: &ObjectKey, endpoints: Option<&Endpoints>) {
        let counting = endpoints.filter(|_| !self.slices.contains_key(&key.name));
        let claims = counting.map(|it| backends_of(&key.name, key, &it.sets)).unwrap_or_default();
        self.backend_claims.claim(key, claims);
    }

    /// What changed since the last call holds from `at` on.
    pub(crate) fn settle(&mut self, at: UnixNanos) {
        for frontend in self.frontend_claims.take_changed() {
            let holder = self.frontend_claims.of(&frontend).first().map(|(port, ())| port.clone());
            self.frontends.set(&frontend, holder, at);
        }
        for backend in self.backend_claims.take_changed() {
            self.settle_backend(backend, at);
        }
    }

    fn settle_backend(&mut self, backend: Backend, at: UnixNanos) {
        let behind = merged(self.backend_claims.of(&backend));
        for (port, _) in &behind {
            self.by_port.entry(port.clone()).or_default().insert(backend);
        }
        let behind = (!behind.is_empty()).then(|| behind.into());
        for (backend, ports) in self.backends.set(&backend, behind, at) {
            for (port, _) in &*ports {
                self.forget(port, backend);
            }
        }
    }

    /// A past state of the backend was forgotten; if it was the last to name the port, so is the link.
    fn forget(&mut self, port: &ServicePort, backend: Backend) {
        let still = self.backends.any_time(&backend, |ports| ports.iter().any(|(other, _)| other == port));
        if still {
            return;
        }
        if let Some(backends) = self.by_port.get_mut(port) {
            backends.remove(&backend);
            if backends.is_empty() {
                self.by_port.remove(port);
            }
        }
    }

    pub(crate) fn frontend(&self, frontend: Frontend, at: UnixNanos) -> Option<&ServicePort> {
        self.frontends.at(&frontend, at).held()
    }

    pub(crate) fn behind(&self, backend: Backend, at: UnixNanos) -> &[(ServicePort, Condition)] {
        self.backends.at(&backend, at).held().map_or(&[], |ports| &**ports)
    }

    /// Ports of an address that Services lead to, now or before.
    pub(crate) fn ports_behind(&self, protocol: Protocol, address: IpAddr) -> impl Iterator<Item = u16> {
        let of_address =
            move |backend: &&Backend| backend.protocol == protocol && backend.address.ip() == address;
        self.by_port.values().flatten().filter(of_address).map(|backend| backend.address.port())
    }

    pub(crate) fn backends(
        &self,
        port: &ServicePort,
        at: UnixNanos,
    ) -> impl Iterator<Item = (SocketAddr, Condition)> {
        let known = self.by_port.get(port).into_iter().flatten();
        known.filter_map(move |backend| {
            let behind = self.behind(*backend, at);
            let (_, condition) = behind.iter().find(|(other, _)| other == port)?;
            Some((backend.address, *condition))
        })
    }

    /// Links from ports to backends.
    #[cfg(test)]
    pub(crate) fn links(&self) -> usize {
        self.by_port.values().map(BTreeSet::len).sum()
    }

    /// How much of the past of frontends and of backends there is.
    pub(crate) fn history(&self) -> [HistorySize; 2] {
        [self.frontends.size(), self.backends.size()]
    }
}

fn port_of(service: &ObjectName, port_name: &Arc<str>) -> ServicePort {
    ServicePort {
        namespace: Arc::clone(&service.namespace),
        name: Arc::clone(&service.name),
        port_name: Arc::clone(port_name),
    }
}

fn frontends_of(service: &Service) -> Vec<(Frontend, ServicePort, ())> {
    let addresses = || service.cluster_addresses.iter().chain(&service.external_addresses);
    let of_port = |port: &PortSpec| {
        let protocol = port.protocol;
        let at = addresses().map(|address| Frontend::At(protocol, *address, port.port));
        let on_nodes = port.node_port.map(|number| Frontend::EveryNode(protocol, number));
        let name = port_of(&service.name, &port.name);
        at.chain(on_nodes).map(|frontend| (frontend, name.clone(), ())).collect::<Vec<_>>()
    };
    service.ports.iter().flat_map(of_port).collect()
}

type BackendClaim = (Backend, (ServicePort, ObjectKey), Condition);

fn backends_of(service: &ObjectName, source: &ObjectKey, sets: &[EndpointSet]) -> Vec<BackendClaim> {
    let of_port = |set: &EndpointSet, port: &EndpointPort| {
        let name = port_of(service, &port.name);
        let claim = |(address, condition): &(IpAddr, Condition)| {
            let address = SocketAddr::new(*address, port.port);
            (Backend { protocol: port.protocol, address }, (name.clone(), source.clone()), *condition)
        };
        set.addresses.iter().map(claim).collect::<Vec<_>>()
    };
    sets.iter().flat_map(|set| set.ports.iter().flat_map(move |port| of_port(set, port))).collect()
}

/// A backend may be in two slices of a Service while it moves from one to the other: the better condition counts.
fn merged(claims: &[((ServicePort, ObjectKey), Condition)]) -> Vec<(ServicePort, Condition)> {
    let mut merged: Vec<(ServicePort, Condition)> = Vec::new();
    for ((port, _), condition) in claims {
        match merged.last_mut() {
            Some((last, best)) if last == port => {
                if (condition.ready, condition.serving) > (best.ready, best.serving) {
                    *best = *condition;
                }
            }
            Some(_) | None => merged.push((port.clone(), *condition)),
        }
    }
    merged
}
