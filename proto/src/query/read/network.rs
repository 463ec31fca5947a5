//! Where and how a flow was carried: protocol, point, NAT, tunnel, devices.

use super::super::field::Sink;
use super::detail;
use crate::flow::{Flow, tunnel as outer};
use crate::matching::{End, protocol as names};
use crate::weir::v1::Encapsulation;

pub(in crate::query) fn protocol(flow: &Flow, _: End, sink: &mut Sink<'_>) {
    for (number, (_, is_carried)) in (0u64..).zip(names::PROTOCOLS) {
        if is_carried(flow) {
            sink.number(number);
        }
    }
}

pub(in crate::query) fn event_type(flow: &Flow, _: End, sink: &mut Sink<'_>) {
    if let Some(event) = &flow.event_type {
        sink.word(event.r#type);
    }
}

pub(in crate::query) fn point(flow: &Flow, _: End, sink: &mut Sink<'_>) {
    sink.word(flow.trace_observation_point);
}

pub(in crate::query) fn direction(flow: &Flow, _: End, sink: &mut Sink<'_>) {
    sink.word(flow.traffic_direction);
}

pub(in crate::query) fn reply(flow: &Flow, _: End, sink: &mut Sink<'_>) {
    sink.flag(flow.is_reply == Some(true));
}

pub(in crate::query) fn ip_version(flow: &Flow, _: End, sink: &mut Sink<'_>) {
    sink.word(flow.ip.as_ref().map_or(0, |ip| ip.ip_version));
}

pub(in crate::query) fn encrypted(flow: &Flow, _: End, sink: &mut Sink<'_>) {
    sink.flag(flow.ip.as_ref().is_some_and(|ip| ip.encrypted));
}

/// With the cluster before it and without.
pub(in crate::query) fn observer(flow: &Flow, _: End, sink: &mut Sink<'_>) {
    sink.text(&flow.node_name);
    if let Some((_, node)) = flow.node_name.split_once('/') {
        sink.text(node);
    }
}

pub(in crate::query) fn vip(flow: &Flow, _: End, sink: &mut Sink<'_>) {
    if let Some(nat) = detail(flow).and_then(|detail| detail.nat.as_ref()) {
        sink.text(&nat.vip);
    }
}

pub(in crate::query) fn snat(flow: &Flow, _: End, sink: &mut Sink<'_>) {
    if let Some(ip) = &flow.ip {
        sink.text(&ip.source_xlated);
    }
    if let Some(nat) = detail(flow).and_then(|detail| detail.nat.as_ref()) {
        sink.text(&nat.masquerade);
    }
}

pub(in crate::query) fn nat(flow: &Flow, _: End, sink: &mut Sink<'_>) {
    if let Some(nat) = detail(flow).and_then(|detail| detail.nat.as_ref()) {
        sink.word(nat.source);
    }
}

pub(in crate::query) fn tunnel(flow: &Flow, _: End, sink: &mut Sink<'_>) {
    match flow.tunnel.as_ref().map(crate::flow::Tunnel::protocol) {
        Some(outer::Protocol::Vxlan) => sink.text("vxlan"),
        Some(outer::Protocol::Geneve) => sink.text("geneve"),
        Some(outer::Protocol::Unknown) | None => {}
    }
    for encapsulation in encapsulations(flow) {
        sink.text(&encapsulation.protocol);
    }
    if let Some(detail) = detail(flow).filter(|detail| !detail.carries.is_empty()) {
        sink.text(&detail.carries);
    }
}

/// Of all points, those in other tunnels included.
fn encapsulations(flow: &Flow) -> impl Iterator<Item = &Encapsulation> {
    let path = detail(flow).map_or(&[][..], |detail| &detail.path);
    path.iter().flat_map(|point| {
        point.tunnel.iter().chain(point.wrappings.iter().flat_map(|wrapping| &wrapping.stack))
    })
}

pub(in crate::query) fn vni(flow: &Flow, _: End, sink: &mut Sink<'_>) {
    if let Some(tunnel) = &flow.tunnel {
        sink.number(tunnel.vni);
    }
    for encapsulation in encapsulations(flow) {
        sink.number(encapsulation.vni);
    }
}

pub(in crate::query) fn device(flow: &Flow, _: End, sink: &mut Sink<'_>) {
    sink.text(flow.interface.as_ref().map_or("", |interface| &interface.name));
    for point in detail(flow).map_or(&[][..], |detail| &detail.path) {
        sink.text(&point.device);
    }
}

pub(in crate::query) fn role(flow: &Flow, _: End, sink: &mut Sink<'_>) {
    for point in detail(flow).map_or(&[][..], |detail| &detail.path) {
        sink.word(point.role);
    }
}
