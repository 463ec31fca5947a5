//! The devices that a connection passed on this node, and in words where an observation was made.

use smallvec::SmallVec;
use weir_proto::weir::v1;

use super::detail::counters as counters_of;
use super::{Interfaces, Scene, text, timestamp};
use crate::capture::{Direction, InterfaceId, Role};
use crate::decode::Tunnel;
use crate::track::connection::{Evidence, IcmpError, Observation, PathPoint, Seen, Tunnels, Way, Witness};
use crate::tuple::{IpProtocol, Tuple};

pub(super) fn write(room: &mut Vec<v1::PathPoint>, scene: &Scene<'_>) {
    let connection = scene.event.connection;
    let mut along: SmallVec<[(usize, &PathPoint); 8]> = connection.path.iter().enumerate().collect();
    along.sort_by_key(|(_, point)| point.along());
    text::list(room, along, |(index, at), room| {
        point(room, scene, at, index == connection.measured);
    });
}

fn point(room: &mut v1::PathPoint, scene: &Scene<'_>, point: &PathPoint, is_measured: bool) {
    // By name, so that none is forgotten.
    let v1::PathPoint {
        device,
        ifindex,
        role,
        source,
        destination,
        tunnel,
        first,
        last,
        counters,
        measured,
        inbound,
        vlans,
        wrappings,
        more_wrapped,
    } = room;
    write_device(device, scene.interfaces, point.interface);
    *ifindex = scene.interfaces.get(&point.interface).map_or(0, |interface| interface.index);
    *role = role_of(point.role).into();
    match scene.event.connection.forms.get(point.form) {
        Some(form) => write_ends(source, destination, *form),
        None => {
            source.clear();
            destination.clear();
        }
    }
    text::either(tunnel, point.tunnels.forward(), encapsulation);
    (*first, *last) = (Some(timestamp(point.first)), Some(timestamp(point.last)));
    *counters = Some(counters_of(&point.counters));
    *measured = is_measured;
    *inbound = point.forward_direction == Direction::Inbound;
    vlans.clear();
    vlans.extend(point.vlans.ids().iter().copied().map(u32::from));
    *wrappings = wrappings_of(&point.tunnels);
    *more_wrapped = point.tunnels.more();
}

/// Nothing where there is one tunnel a way, and the answer's is the same turned round.
fn wrappings_of(tunnels: &Tunnels) -> Vec<v1::Wrapping> {
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
    let mut stack = Vec::new();
    text::list(&mut stack, seen.around.iter().copied().chain([seen.tunnel]), encapsulation);
    let Seen { way, packets, frame_bytes, .. } = *seen;
    v1::Wrapping { reverse: way == Way::Reverse, stack, packets, frame_bytes }
}

/// With ports where the protocol has them: the identifier of an ICMP echo is none.
fn write_ends(source: &mut String, destination: &mut String, tuple: Tuple) {
    match tuple.protocol {
        IpProtocol::TCP | IpProtocol::UDP | IpProtocol::SCTP => {
            text::end(source, tuple.source);
            text::end(destination, tuple.destination);
        }
        _ => {
            text::address(source, tuple.source.ip());
            text::address(destination, tuple.destination.ip());
        }
    }
}

const fn role_of(role: Role) -> v1::Role {
    match role {
        Role::Unknown => v1::Role::Unspecified,
        Role::Loopback => v1::Role::Loopback,
        Role::Underlay => v1::Role::Underlay,
        Role::Bridge => v1::Role::Bridge,
        Role::Overlay => v1::Role::Overlay,
        Role::PodVeth => v1::Role::PodVeth,
    }
}

fn encapsulation(tunnel: Tunnel, room: &mut v1::Encapsulation) {
    text::set(&mut room.protocol, tunnel.protocol.name());
    text::address(&mut room.source, tunnel.source);
    text::address(&mut room.destination, tunnel.destination);
    room.source_port = tunnel.source_port.into();
    room.destination_port = tunnel.destination_port.into();
    room.vni = tunnel.vni;
}

fn write_device(room: &mut String, interfaces: &Interfaces, id: InterfaceId) {
    match interfaces.get(&id) {
        Some(interface) => text::set(room, &interface.name),
        None => text::write(room, &format_args!("if{}", id.0)),
    }
}

/// `flannel.1 out`; the way of the forward direction.
pub(super) fn place(room: &mut String, interfaces: &Interfaces, id: InterfaceId, direction: Direction) {
    let way = match direction {
        Direction::Inbound => " in",
        Direction::Outbound => " out",
        Direction::Unknown => "",
    };
    write_device(room, interfaces, id);
    room.push_str(way);
}

pub(super) fn evidence(room: &mut v1::Evidence, interfaces: &Interfaces, evidence: &Evidence) {
    room.observation = observation(evidence.observation).into();
    room.time = Some(timestamp(evidence.at));
    room.icmp = None;
    match &evidence.witness {
        Witness::Device(id, direction) => place(&mut room.detail, interfaces, *id, *direction),
        Witness::Rule(prefix) => text::set(&mut room.detail, prefix),
        Witness::Kernel(cause) => text::write(&mut room.detail, &**cause),
        Witness::Icmp(error) => {
            icmp_in_words(&mut room.detail, error);
            room.icmp = Some(icmp(error));
        }
        Witness::Time => room.detail.clear(),
    }
}

fn icmp_in_words(room: &mut String, error: &IcmpError) {
    let IcmpError { sender, kind, code, mtu, about: _ } = error;
    let mtu = mtu.map(|mtu| format!(" mtu {mtu}")).unwrap_or_default();
    text::write(room, &format_args!("{sender} icmp {kind}/{code}{mtu}"));
}

fn icmp(error: &IcmpError) -> v1::IcmpError {
    v1::IcmpError {
        sender: error.sender.to_string(),
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
