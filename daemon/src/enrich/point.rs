//! The farthest point where the connection was seen on this node, as Hubble's observation point, and what is told of it:
//! device, MAC addresses, encapsulation.

use weir_proto::flow::{
    Ethernet, Flow, Ip, IpVersion, Layer4, NetworkInterface, TraceObservationPoint, Udp, layer4, tunnel,
};

use super::{Scene, text};
use crate::capture::{Direction, Role};
use crate::decode::{Tunnel, TunnelProtocol};
use crate::track::connection::PathPoint;

/// `event_type.type` of a trace.
const TRACE: i32 = 4;

pub(super) fn fill(flow: &mut Flow, scene: &Scene<'_>) {
    let connection = scene.event.connection;
    text::either(&mut flow.ethernet, connection.ethernet, |(source, destination), room: &mut Ethernet| {
        text::mac(&mut room.source, source);
        text::mac(&mut room.destination, destination);
    });
    let farthest = connection.farthest();
    let interface = farthest.and_then(|point| scene.interfaces.get(&point.interface));
    text::either(&mut flow.interface, interface, |interface, room: &mut NetworkInterface| {
        room.index = interface.index;
        text::set(&mut room.name, &interface.name);
    });
    let tunnelled = farthest.and_then(|farthest| {
        std::iter::once(farthest).chain(connection.path.iter()).find_map(|point| point.tunnels.forward())
    });
    text::either(&mut flow.tunnel, tunnelled, outer);
    flow.trace_observation_point = TraceObservationPoint::UnknownPoint.into();
    let Some(farthest) = farthest else { return };
    if let Some(event_type) = flow.event_type.as_mut().filter(|event_type| event_type.r#type == TRACE) {
        let point = observation_point(farthest);
        flow.trace_observation_point = point.into();
        // TO_ENDPOINT is 101 as a point and 0 as a sub type.
        event_type.sub_type = if point == TraceObservationPoint::ToEndpoint { 0 } else { i32::from(point) };
    }
}

const fn observation_point(point: &PathPoint) -> TraceObservationPoint {
    use TraceObservationPoint as At;
    match (point.role, point.forward_direction) {
        (Role::PodVeth, Direction::Outbound) => At::ToEndpoint,
        (Role::PodVeth, Direction::Inbound) => At::FromEndpoint,
        (Role::Overlay, Direction::Outbound) => At::ToOverlay,
        (Role::Overlay, Direction::Inbound) => At::FromOverlay,
        (Role::Underlay, Direction::Outbound) => At::ToNetwork,
        (Role::Underlay, Direction::Inbound) => At::FromNetwork,
        (Role::Loopback, Direction::Outbound) => At::ToHost,
        (Role::Loopback, Direction::Inbound) => At::FromHost,
        (Role::Bridge, Direction::Outbound) => At::FromStack,
        (Role::Bridge, Direction::Inbound) => At::ToStack,
        (Role::Unknown, _) | (_, Direction::Unknown) => At::UnknownPoint,
    }
}

fn outer(tunnel: Tunnel, room: &mut weir_proto::flow::Tunnel) {
    room.protocol = match tunnel.protocol {
        TunnelProtocol::Vxlan => tunnel::Protocol::Vxlan,
        TunnelProtocol::Geneve => tunnel::Protocol::Geneve,
        _ => tunnel::Protocol::Unknown,
    }
    .into();
    let version = if tunnel.source.is_ipv4() { IpVersion::IPv4 } else { IpVersion::IPv6 };
    let ip = room.ip.get_or_insert_with(Ip::default);
    text::address(&mut ip.source, tunnel.source);
    text::address(&mut ip.destination, tunnel.destination);
    ip.ip_version = version.into();
    let ports = Udp {
        source_port: u32::from(tunnel.source_port),
        destination_port: u32::from(tunnel.destination_port),
    };
    let udp = Layer4 { protocol: Some(layer4::Protocol::Udp(ports)) };
    room.l4 = (tunnel.destination_port != 0).then_some(udp);
    room.vni = tunnel.vni;
}
