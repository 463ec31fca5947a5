//! What a packet of a known connection changes: counters of its path point, TCP's measures, evidence, DNS messages.
//!
//! Counters are kept for every point. TCP and DNS are read at the measured point alone: the one nearest to a pod, and of equals
//! the client's. When a nearer one shows up (the same first packet, microseconds later), reading starts anew there.

use std::cmp::Reverse;

use weir_cluster::UnixNanos;

use super::connection::{Connection, Counts, Observation, PathPoint, State, Way, Witness, opposite};
use super::dns::Exchange;
use super::event::{Content, Message};
use super::join::orientation;
use super::l7::budget::Budget;
use super::tunnels::Tunnels;
use super::{Place, Tracker, l7, rank, sctp};
use crate::capture::{Detail, Direction, InterfaceId, Role};
use crate::decode::{Fragment, Packet, Tcp, TcpFlags, Transport, Vlans};

/// Devices and forms of one connection that are told apart; a node has about three devices on a path.
const MAX_PATH: usize = 16;
/// Messages kept while a connection settles.
const MAX_WAITING: usize = 16;
const DNS_PORT: u16 = 53;

impl Tracker {
    /// Counts a packet of the connection at `place`.
    pub(super) fn count(&mut self, place: Place, packet: &Packet<'_>, role: Role) {
        let Some(connection) = self.connections.get_mut(place.slot) else {
            return;
        };
        note_beginning(connection, place.form, packet);
        let way = connection.way_of(place.form, packet.tuple);
        connection.first_packet = connection.first_packet.min(packet.at);
        connection.last_packet = connection.last_packet.max(packet.at);
        connection.gaps.truncated |= packet.truncated && l7_port(packet);
        connection.gaps.reduced = connection.gaps.reduced.max(self.detail);
        connection.emission.late |= connection.emission.ended;
        connection.opaque = connection.opaque.or(packet.opaque);
        let sighting = Sighting::of(packet, role);
        let Some(point) = point_of(connection, place.form, &sighting, way) else {
            return;
        };
        let wire_packets = wire_packets(connection, packet);
        let counts = counts(packet, wire_packets);
        if let Some(point) = connection.path.get_mut(point) {
            passed(point, packet, way, &counts);
        }
        if nearer(connection, point) {
            remeasure(connection, point);
        }
        let reset = matches!(packet.transport, Transport::Tcp(tcp) if tcp.flags.has(TcpFlags::RST));
        witness(connection, &sighting, way, reset);
        let reading = Reading { detail: self.detail, begun: &self.begun };
        if connection.counting(way) == point && !measure(connection, packet, way, reading) {
            self.stats.messages_dropped += 1;
        }
        if way == Way::Reverse {
            judge_reset(connection, packet);
        }
    }
}

/// Where and how something of a connection passed, for the first time of what is told at once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sighting {
    pub(super) at: UnixNanos,
    pub(super) interface: InterfaceId,
    pub(super) role: Role,
    pub(super) direction: Direction,
    pub(super) tunnelled: bool,
    pub(super) vlans: Vlans,
}

impl Sighting {
    const fn of(packet: &Packet<'_>, role: Role) -> Self {
        Self {
            at: packet.at,
            interface: packet.interface,
            role,
            direction: packet.direction,
            tunnelled: packet.tunnel.is_some(),
            vlans: packet.vlans,
        }
    }
}

/// Frames of several devices may come out of order when the node is busy: the first packet after its answer. Who sent the
/// earliest is the client, unless conntrack has said who is.
fn note_beginning(connection: &mut Connection, form: usize, packet: &Packet<'_>) {
    let opens = match packet.transport {
        Transport::Tcp(tcp) => {
            connection.gaps.midstream && tcp.flags.has(TcpFlags::SYN) && !tcp.flags.has(TcpFlags::ACK)
        }
        _ => packet.at < connection.first_packet && orientation(packet) == (true, false),
    };
    if !opens {
        return;
    }
    let from_server = connection.way_of(form, packet.tuple) == Way::Reverse;
    if from_server && !connection.conntrack {
        connection.flip();
    }
    let news = from_server && !connection.conntrack || connection.gaps.midstream;
    connection.gaps.midstream = false;
    connection.emission.correction |= connection.emission.settled && news;
}

fn l7_port(packet: &Packet<'_>) -> bool {
    packet.tuple.source.port() == DNS_PORT || packet.tuple.destination.port() == DNS_PORT
}

fn wire_packets(connection: &Connection, packet: &Packet<'_>) -> u64 {
    match (&connection.tcp, packet.transport) {
        (Some(tcp), Transport::Tcp(segment)) => tcp.wire_packets(&segment),
        _ => 1,
    }
}

fn counts(packet: &Packet<'_>, wire_packets: u64) -> Counts {
    let payload = match packet.transport {
        Transport::Tcp(crate::decode::Tcp { payload_len, .. })
        | Transport::Udp { payload_len, .. }
        | Transport::Sctp { payload_len, .. }
        | Transport::Other { payload_len } => payload_len,
        Transport::Icmp(_) => 0,
    };
    Counts {
        packets: 1,
        wire_packets,
        ip_bytes: u64::from(packet.ip_len),
        frame_bytes: u64::from(packet.frame_len),
        payload_bytes: u64::from(payload),
    }
}

/// Finds or makes the point of this device, form and wrapping. None if the path has grown beyond sense.
pub(super) fn point_of(
    connection: &mut Connection,
    form: usize,
    sighting: &Sighting,
    way: Way,
) -> Option<usize> {
    let Sighting { at, interface, role, direction, tunnelled, vlans } = *sighting;
    let here = |point: &PathPoint| {
        point.interface == interface && point.form == form && point.tunnels.is_empty() != tunnelled
    };
    // A device that a packet enters and leaves by, or an `any` capture, sees it twice: two points. On loopback both ways come in:
    // one point.
    let path = &mut connection.path;
    let found = path
        .iter()
        .position(|point| here(point) && point.direction_of(way) == direction)
        .or_else(|| path.iter_mut().position(|point| here(point) && point.adopt(way, direction)));
    if found.is_some() || connection.path.len() >= MAX_PATH {
        return found;
    }
    let turned = opposite(direction);
    let (forward_direction, reverse_direction) = match way {
        Way::Forward => (direction, turned),
        Way::Reverse => (turned, direction),
    };
    connection.path.push(PathPoint {
        interface,
        role,
        form,
        tunnels: Tunnels::default(),
        vlans,
        forward_direction,
        reverse_direction,
        first: at,
        last: at,
        counters: super::connection::Counters::default(),
        flags: Default::default(),
    });
    connection.order_forms();
    Some(connection.path.len() - 1)
}

fn passed(point: &mut PathPoint, packet: &Packet<'_>, way: Way, counts: &Counts) {
    point.counters.way(way).add(counts);
    if let Transport::Tcp(segment) = packet.transport {
        let flags = if way == Way::Forward { &mut point.flags.0 } else { &mut point.flags.1 };
        *flags = flags.with(segment.flags);
    }
    point.first = point.first.min(packet.at);
    point.last = point.last.max(packet.at);
    point.vlans = packet.vlans;
    point.tunnels.note(packet, way);
}

pub(super) fn nearer(connection: &Connection, point: usize) -> bool {
    let worth = |index: usize| connection.path.get(index).map(worth);
    point != connection.measured && worth(point) > worth(connection.measured)
}

/// Which of two points should be measured: nearest to a pod, then nearest to the client. Never by the order of sight.
pub(super) fn worth(point: &PathPoint) -> (u8, bool, bool, Reverse<InterfaceId>) {
    let from_client = point.forward_direction == Direction::Inbound;
    (rank(point.role), from_client, point.tunnels.is_empty(), Reverse(point.interface))
}

pub(super) fn remeasure(connection: &mut Connection, point: usize) {
    connection.measured = point;
    connection.aside = None;
    connection.tcp = connection.tcp.map(|tcp| tcp.restarted());
    if !connection.emission.settled {
        connection.emission.waiting.clear();
    }
    connection.dns = None;
    connection.flags_forward = TcpFlags::default();
}

/// Draws evidence from one sighting; `reset`: it is TCP's RST.
pub(super) fn witness(connection: &mut Connection, sighting: &Sighting, way: Way, reset: bool) {
    let Sighting { at, interface, role, direction, .. } = *sighting;
    let device = Witness::Device(interface, direction);
    let from_pod = role == Role::PodVeth && direction == Direction::Inbound;
    let to_pod = role == Role::PodVeth && direction == Direction::Outbound;
    match way {
        Way::Forward if to_pod && !connection.is_lost_behind() => {
            connection.observe(Observation::Delivered, at, device);
        }
        Way::Forward => {}
        Way::Reverse if reset && from_pod => {
            connection.observe(Observation::ResetByEndpoint, at, device);
        }
        Way::Reverse if reset => {}
        Way::Reverse => {
            connection.observe(Observation::Answered, at, device);
            let silent = matches!(connection.state, State::Opening | State::Unanswered | State::Rejected);
            if connection.tcp.is_none() && silent {
                connection.state = State::Established;
            }
        }
    }
}

/// How much is read, and what room there is for messages that have begun.
#[derive(Clone, Copy)]
struct Reading<'a> {
    detail: Detail,
    begun: &'a Budget,
}

/// Reads TCP and DNS at the measured point. False if a message had no room.
fn measure(connection: &mut Connection, packet: &Packet<'_>, way: Way, reading: Reading<'_>) -> bool {
    let has_message = l7_port(packet) && reading.detail < Detail::NoPayload;
    if way == Way::Forward && packet.ethernet.is_some() {
        connection.ethernet = packet.ethernet;
    }
    match packet.transport {
        Transport::Tcp(segment) => {
            if way == Way::Forward {
                connection.flags_forward = connection.flags_forward.with(segment.flags);
            }
            let state = connection.state;
            if let Some(tcp) = &mut connection.tcp {
                connection.state = tcp.segment(packet.at, way, &segment, state);
            }
            if state == State::Rejected && connection.state == State::Established {
                // A router's error is a soft one (RFC 9293 section 3.9.2.2): the SYN sent again found a way.
                connection.emission.over_at = None;
            }
            note_over(connection, packet.at);
            segment.payload_len == 0
                || !has_message
                || dns_over_tcp(connection, way, &segment, packet.at, reading.begun)
        }
        Transport::Sctp { chunks, .. } => {
            connection.state = sctp::after(connection.state, chunks);
            note_over(connection, packet.at);
            true
        }
        Transport::Udp { payload, .. } if has_message => dns(connection, way, payload, packet),
        _ => true,
    }
}

/// The packets themselves have ended it.
pub(super) fn note_over(connection: &mut Connection, at: UnixNanos) {
    if matches!(connection.state, State::Closed | State::Reset) {
        connection.emission.over_at = connection.emission.over_at.or(Some(at));
    }
}

/// An RST from the server's side that entered the node nowhere was made by the node itself. Its entry may be seen after its way
/// out, when two devices' frames come microseconds apart: then the judgement is taken back.
fn judge_reset(connection: &mut Connection, packet: &Packet<'_>) {
    let Transport::Tcp(segment) = packet.transport else { return };
    if !segment.flags.has(TcpFlags::RST) || !matches!(connection.state, State::Reset | State::Rejected) {
        return;
    }
    if !take_back_reset(connection) && packet.direction == Direction::Outbound {
        let device = Witness::Device(packet.interface, packet.direction);
        connection.observe(Observation::ResetByNetwork, packet.at, device);
        connection.state = State::Rejected;
    }
}

/// True if the server's side is known to have sent packets into this node: no reset then is the node's own.
pub(super) fn take_back_reset(connection: &mut Connection) -> bool {
    let entered = connection
        .path
        .iter()
        .any(|point| point.counters.reverse.packets > 0 && point.reverse_direction != Direction::Outbound);
    let sent = entered || connection.observed(Observation::Answered);
    if sent && connection.retract(Observation::ResetByNetwork) {
        connection.state = State::Reset;
    }
    sent
}

/// The message of a datagram. False if it had no room.
fn dns(connection: &mut Connection, way: Way, payload: &[u8], packet: &Packet<'_>) -> bool {
    // A first fragment holds the beginning of an answer too long for one packet.
    let cut = packet.truncated || packet.fragment == Fragment::First;
    l7::dns::parse(payload, cut).is_none_or(|message| told(connection, way, message, packet.at))
}

/// The messages that a segment completes. False if one had no room.
fn dns_over_tcp(connection: &mut Connection, way: Way, tcp: &Tcp<'_>, at: UnixNanos, begun: &Budget) -> bool {
    let exchange = connection.dns.get_or_insert_with(Box::<Exchange>::default);
    let found = exchange.segment(way, tcp, begun);
    connection.gaps.truncated |= found.unread || found.no_room;
    let mut room = !found.no_room;
    for message in found.messages {
        room &= told(connection, way, message, at);
    }
    room
}

fn told(connection: &mut Connection, way: Way, message: l7::dns::Message, at: UnixNanos) -> bool {
    let exchange = connection.dns.get_or_insert_with(Box::<Exchange>::default);
    let latency_ns = if message.response {
        exchange.answered(&message, at)
    } else {
        exchange.asked(&message, at);
        None
    };
    let room = connection.emission.waiting.len() < MAX_WAITING;
    if room {
        let content = Content::Dns { message, latency_ns };
        connection.emission.waiting.push(Message { at, way, content });
    } else {
        connection.gaps.truncated = true;
    }
    room
}
