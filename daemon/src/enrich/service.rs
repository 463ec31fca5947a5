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
    room: &mut Vec<ServiceRef>,
    connection: &Connection,
    ends: &Ends,
    cluster: &Cluster,
) {
    let Some(protocol) = service_protocol(ends.protocol) else { return room.clear() };
    let at = connection.first_packet;
    let called: SocketAddr = ends.vip.unwrap_or(ends.server);
    if let Some(service) = cluster.frontend(protocol, called.ip(), called.port(), at) {
        return text::list(room, [service], |service, room| reference(room, &service, true));
    }
    if ends.vip.is_some() || calls_directly(connection, ends) {
        return room.clear();
    }
    let behind = cluster.services_behind(protocol, ends.server.ip(), ends.server.port(), at);
    text::list(room, behind.iter(), |service, room| reference(room, service, false));
}

/// The Service that Hubble's field may name. An inferred one is named in `weir` alone: a relay's join can add to a flow that is
/// already encoded, and cannot take away from it.
pub(super) fn called(room: &mut Option<Service>, candidates: &[ServiceRef]) {
    let exact = candidates.iter().find(|candidate| candidate.exact);
    text::either(room, exact, |exact, room: &mut Service| {
        text::set(&mut room.name, &exact.name);
        text::set(&mut room.namespace, &exact.namespace);
    });
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

pub(super) const fn service_protocol(protocol: IpProtocol) -> Option<Protocol> {
    match protocol {
        IpProtocol::TCP => Some(Protocol::Tcp),
        IpProtocol::UDP => Some(Protocol::Udp),
        IpProtocol::SCTP => Some(Protocol::Sctp),
        _ => None,
    }
}

fn reference(room: &mut ServiceRef, service: &ServicePort, exact: bool) {
    text::set(&mut room.name, &service.name);
    text::set(&mut room.namespace, &service.namespace);
    text::set(&mut room.port_name, &service.port_name);
    room.exact = exact;
}
