//! Which Service was called.
//!
//! Exact where the address that the client called is seen: before the DNAT, or where there is none because the Service has no
//! endpoints. Where only the backend's address is seen, all Services in front of it are candidates. Where the client's own packet
//! is seen to name the backend itself, there is no Service at all.

use std::net::SocketAddr;

use weir_cluster::{Cluster, Protocol, ServicePort};
use weir_proto::flow::Service;
use weir_proto::weir::v1::ServiceRef;

use super::ends::{Ends, carries_forward};
use super::text;
use crate::capture::{Direction, Role};
use crate::track::connection::Connection;
use crate::tuple::IpProtocol;

pub(super) fn candidates(
    connection: &Connection,
    ends: &Ends,
    cluster: &Cluster,
    mut old: Vec<ServiceRef>,
) -> Vec<ServiceRef> {
    let Some(protocol) = service_protocol(ends.protocol) else {
        old.clear();
        return old;
    };
    let at = connection.first_packet;
    let called: SocketAddr = ends.vip.unwrap_or(ends.server);
    if let Some(service) = cluster.frontend(protocol, called.ip(), called.port(), at) {
        return text::list(old, [service], |service, old| reference(&service, true, old));
    }
    if ends.vip.is_some() || calls_directly(connection, ends) {
        old.clear();
        return old;
    }
    let behind = cluster.services_behind(protocol, ends.server.ip(), ends.server.port(), at);
    text::list(old, behind.iter(), |service, old| reference(service, false, old))
}

/// The Service that Hubble's field may name. An inferred one is named in `weir` alone: a relay's join can add to a flow that is
/// already encoded, and cannot take away from it.
pub(super) fn called(candidates: &[ServiceRef], old: Service) -> Option<Service> {
    let exact = candidates.iter().find(|candidate| candidate.exact)?;
    let Service { name, namespace } = old;
    Some(Service { name: text::of(&exact.name, name), namespace: text::of(&exact.namespace, namespace) })
}

/// True if the called address was seen before any DNAT of this node could change it: it came that way out of the client's veth,
/// or from outside; or conntrack of the client's node says that nothing was changed.
fn calls_directly(connection: &Connection, ends: &Ends) -> bool {
    if !ends.counts() {
        return false;
    }
    let seen_as_sent = connection.path.iter().any(|point| {
        point.form == connection.original
            && carries_forward(point)
            && point.forward_direction == Direction::Inbound
            && (point.role == Role::PodVeth || point.role == Role::Underlay && point.tunnels.is_empty())
    });
    connection.conntrack || seen_as_sent
}

const fn service_protocol(protocol: IpProtocol) -> Option<Protocol> {
    match protocol {
        IpProtocol::TCP => Some(Protocol::Tcp),
        IpProtocol::UDP => Some(Protocol::Udp),
        IpProtocol::SCTP => Some(Protocol::Sctp),
        _ => None,
    }
}

fn reference(service: &ServicePort, exact: bool, old: ServiceRef) -> ServiceRef {
    ServiceRef {
        name: text::of(&service.name, old.name),
        namespace: text::of(&service.namespace, old.namespace),
        port_name: text::of(&service.port_name, old.port_name),
        exact,
    }
}
