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

pub(super) fn fill(flow: &mut Flow, scene: &Scene<'_>, old: &mut Flow) {
    let connection = scene.event.connection;
    flow.ethernet = connection.ethernet.map(|(source, destination)| {
        let old = old.ethernet.take().unwrap_or_default();
        Ethernet {
            source: text::mac(source, old.source),
            destination: text::mac(destination, old.destination),
        }
    });
    let Some(farthest) = connection.farthest() else {
        return;
    };
    flow.interface = scene.interfaces.get(&farthest.interface).map(|interface| {
        let old = old.interface.take().unwrap_or_default();
        NetworkInterface { index: interface.index, name: text::of(&interface.name, old.name) }
    });
    let tunnelled =
        std::iter::once(farthest).chain(connection.path.iter()).find_map(|point| point.tunnels.forward());
    flow.tunnel = tunnelled.map(|tunnel| outer(tunnel, old.tunnel.take().unwrap_or_default()));
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

fn outer(tunnel: Tunnel, old: weir_proto::flow::Tunnel) -> weir_proto::flow::Tunnel {
    let ip = old.ip.unwrap_or_default();
    let version = if tunnel.source.is_ipv4() { IpVersion::IPv4 } else { IpVersion::IPv6 };
    let ports = Udp {
        source_port: u32::from(tunnel.source_port),
        destination_port: u32::from(tunnel.destination_port),
    };
    weir_proto::flow::Tunnel {
        protocol: match tunnel.protocol {
            TunnelProtocol::Vxlan => tunnel::Protocol::Vxlan,
            TunnelProtocol::Geneve => tunnel::Protocol::Geneve,
            _ => tunnel::Protocol::Unknown,
        }
        .into(),
        ip: Some(Ip {
            source: text::address(tunnel.source, ip.source),
            destination: text::address(tunnel.destination, ip.destination),
            ip_version: version.into(),
            ..Ip::default()
        }),
        l4: (tunnel.destination_port != 0).then_some(Layer4 { protocol: Some(layer4::Protocol::Udp(ports)) }),
        vni: tunnel.vni,
    }
}
