//! The devices that a connection passed on this node, and in words where an observation was made.

use weir_proto::weir::v1;

use super::detail::counters;
use super::{Interfaces, Scene, text, timestamp};
use crate::capture::{Direction, InterfaceId, Role};
use crate::decode::Tunnel;
use crate::track::connection::{Evidence, IcmpError, Observation, PathPoint, Seen, Tunnels, Way, Witness};
use crate::tuple::{IpProtocol, Tuple};

pub(super) fn of(scene: &Scene<'_>, old: Vec<v1::PathPoint>) -> Vec<v1::PathPoint> {
    let connection = scene.event.connection;
    let measured = |index: usize| index == connection.measured;
    text::list(old, connection.path.iter().enumerate(), |(index, at), old| {
        point(scene, at, measured(index), old)
    })
}

fn point(scene: &Scene<'_>, point: &PathPoint, measured: bool, old: v1::PathPoint) -> v1::PathPoint {
    let interface = scene.interfaces.get(&point.interface);
    let form = scene.event.connection.forms.get(point.form).copied();
    let (source, destination) = form.map(|form| ends(form, old.source, old.destination)).unwrap_or_default();
    v1::PathPoint {
        device: device(scene.interfaces, point.interface, old.device),
        ifindex: interface.map_or(0, |interface| interface.index),
        role: role(point.role).into(),
        source,
        destination,
        tunnel: point.tunnels.forward().map(|tunnel| encapsulation(tunnel, old.tunnel.unwrap_or_default())),
        first: Some(timestamp(point.first)),
        last: Some(timestamp(point.last)),
        counters: Some(counters(&point.counters)),
        measured,
        inbound: point.forward_direction == Direction::Inbound,
        vlans: point.vlans.ids().iter().copied().map(u32::from).collect(),
        wrappings: wrappings(&point.tunnels),
        more_wrapped: point.tunnels.more(),
    }
}

/// Nothing where there is one tunnel a way, and the answer's is the same turned round.
fn wrappings(tunnels: &Tunnels) -> Vec<v1::Wrapping> {
    let usual = |seen: &Seen| seen.around.is_empty();
    let said = match tunnels.seen() {
        [] => true,
        [one] => usual(one),
        [one, other] => {
            usual(one) && usual(other) && one.way != other.way && one.tunnel.answers(&other.tunnel)
        }
        _ => false,
    };
    if said { Vec::new() } else { tunnels.seen().iter().map(wrapping).collect() }
}

fn wrapping(seen: &Seen) -> v1::Wrapping {
    v1::Wrapping {
        reverse: seen.way == Way::Reverse,
        stack: seen
            .around
            .iter()
            .copied()
            .chain([seen.tunnel])
            .map(|tunnel| encapsulation(tunnel, Default::default()))
            .collect(),
        packets: seen.packets,
        frame_bytes: seen.frame_bytes,
    }
}

/// With ports where the protocol has them: the identifier of an ICMP echo is none.
fn ends(tuple: Tuple, source: String, destination: String) -> (String, String) {
    match tuple.protocol {
        IpProtocol::TCP | IpProtocol::UDP | IpProtocol::SCTP => {
            (text::end(tuple.source, source), text::end(tuple.destination, destination))
        }
        _ => (text::address(tuple.source.ip(), source), text::address(tuple.destination.ip(), destination)),
    }
}

const fn role(role: Role) -> v1::Role {
    match role {
        Role::Unknown => v1::Role::Unspecified,
        Role::Loopback => v1::Role::Loopback,
        Role::Underlay => v1::Role::Underlay,
        Role::Bridge => v1::Role::Bridge,
        Role::Overlay => v1::Role::Overlay,
        Role::PodVeth => v1::Role::PodVeth,
    }
}

fn encapsulation(tunnel: Tunnel, old: v1::Encapsulation) -> v1::Encapsulation {
    v1::Encapsulation {
        protocol: text::of(tunnel.protocol.name(), old.protocol),
        source: text::address(tunnel.source, old.source),
        destination: text::address(tunnel.destination, old.destination),
        source_port: u32::from(tunnel.source_port),
        destination_port: u32::from(tunnel.destination_port),
        vni: tunnel.vni,
    }
}

fn device(interfaces: &Interfaces, id: InterfaceId, old: String) -> String {
    match interfaces.get(&id) {
        Some(interface) => text::of(&interface.name, old),
        None => text::written(&format_args!("if{}", id.0), old),
    }
}

/// `flannel.1 out`; the way of the forward direction.
pub(super) fn place(interfaces: &Interfaces, id: InterfaceId, direction: Direction, old: String) -> String {
    let way = match direction {
        Direction::Inbound => " in",
        Direction::Outbound => " out",
        Direction::Unknown => "",
    };
    let mut place = device(interfaces, id, old);
    place.push_str(way);
    place
}

pub(super) fn evidence(interfaces: &Interfaces, evidence: &Evidence, old: v1::Evidence) -> v1::Evidence {
    let detail = match &evidence.witness {
        Witness::Device(id, direction) => place(interfaces, *id, *direction, old.detail),
        Witness::Rule(prefix) => text::of(prefix, old.detail),
        Witness::Icmp(error) => icmp_in_words(error),
        Witness::Kernel(cause) => text::written(&**cause, old.detail),
        Witness::Time => text::of("", old.detail),
    };
    let icmp = match &evidence.witness {
        Witness::Icmp(error) => Some(icmp(error)),
        _ => None,
    };
    v1::Evidence {
        observation: observation(evidence.observation).into(),
        time: Some(timestamp(evidence.at)),
        detail,
        icmp,
    }
}

fn icmp_in_words(error: &IcmpError) -> String {
    let IcmpError { sender, kind, code, mtu, about: _ } = error;
    let mtu = mtu.map(|mtu| format!(" mtu {mtu}")).unwrap_or_default();
    format!("{sender} icmp {kind}/{code}{mtu}")
}

fn icmp(error: &IcmpError) -> v1::IcmpError {
    v1::IcmpError {
        sender: text::address(error.sender, String::new()),
        r#type: u32::from(error.kind),
        code: u32::from(error.code),
        mtu: error.mtu.unwrap_or(0),
        about_reply: error.about == Way::Reverse,
    }
}

const fn observation(observation: Observation) -> v1::Observation {
    match observation {
        Observation::Delivered => v1::Observation::Delivered,
        Observation::Answered => v1::Observation::Answered,
        Observation::KernelDrop => v1::Observation::KernelDrop,
        Observation::Logged => v1::Observation::Logged,
        Observation::IcmpUnreachable => v1::Observation::IcmpUnreachable,
        Observation::ResetByEndpoint => v1::Observation::ResetByEndpoint,
        Observation::ResetByNetwork => v1::Observation::ResetByNetwork,
        Observation::PacketTooBig => v1::Observation::PacketTooBig,
        Observation::HopsExceeded => v1::Observation::HopsExceeded,
        Observation::Unanswered => v1::Observation::Unanswered,
    }
}
