//! ICMP errors: evidence for the connection whose packet they quote, and no connection of their own.
//!
//! Who sent it, and the MTU that it asks for, are kept with the evidence. A quote names its connection by the addresses in any
//! of its forms, and a quoted TCP sequence number must not be older than the connection: after a port was used again, an
//! error about the connection before it is nobody's. Such an error, and one about a packet that was never seen, is a
//! connection of its own like any other message that cannot be joined.

use super::connection::{Connection, IcmpError, Observation, State, Way, Witness};
use super::event::Reason;
use super::tcp::after;
use super::{Sink, Tracker};
use crate::decode::{Icmp, Packet, Quoted, Transport};
use crate::tuple::IpProtocol;

impl Tracker {
    /// True if the packet is an ICMP error about a known connection.
    pub(super) fn icmp_error(&mut self, packet: &Packet<'_>, sink: Sink<'_>) -> bool {
        let Transport::Icmp(Icmp { kind, code, quoted: Some(quoted), mtu, .. }) = packet.transport else {
            return false;
        };
        let Some(place) = self.known(quoted.tuple) else {
            return false;
        };
        let Some(connection) = self.connections.get_mut(place.slot) else {
            return false;
        };
        let about = connection.way_of(place.form, quoted.tuple);
        if !is_about(connection, about, &quoted) {
            return false;
        }
        let sender = packet.tuple.source.ip();
        let error = IcmpError { sender, kind, code, mtu, about };
        let state = connection.state;
        let news = match observation(packet.tuple.protocol, kind, code) {
            // An answer to a client that is gone: nothing was refused to the connection.
            Some(Observation::IcmpUnreachable) if about == Way::Reverse => false,
            Some(observation) => note(connection, observation, packet, error),
            None => false,
        };
        if news {
            let reason = if connection.state == state { Reason::Icmp } else { Reason::State };
            self.tell_now(place.slot, reason, sink);
        }
        true
    }
}

/// False for a quote of an earlier connection with the same addresses and ports.
fn is_about(connection: &Connection, way: Way, quoted: &Quoted) -> bool {
    let side = connection.tcp.as_ref().map(|tcp| match way {
        Way::Forward => tcp.client,
        Way::Reverse => tcp.server,
    });
    let Some((side, isn)) = side.and_then(|side| Some((side, side.isn?))) else { return true };
    // Behind a gigabyte, which is as much as may be under way (RFC 7323 section 2.3), either half of the numbers is its own.
    let far = connection.total().of(way).payload_bytes > 1 << 30 || side.is_in_the_other_half();
    quoted.tcp_sequence.is_none_or(|sequence| far || !after(isn, sequence))
}

/// What an error is evidence of. Unreachable is every code but the one that only asks for smaller packets (RFC 792; RFC 4443
/// has a type of its own for that). Redirects and source quench say nothing of a packet's fate.
const fn observation(protocol: IpProtocol, kind: u8, code: u8) -> Option<Observation> {
    match (protocol, kind, code) {
        (IpProtocol::ICMP, 3, 4) | (IpProtocol::ICMPV6, 2, _) => Some(Observation::PacketTooBig),
        (IpProtocol::ICMP, 3, _) | (IpProtocol::ICMPV6, 1, _) => Some(Observation::IcmpUnreachable),
        (IpProtocol::ICMP, 11, 0) | (IpProtocol::ICMPV6, 3, 0) => Some(Observation::HopsExceeded),
        _ => None,
    }
}

/// True if it is news: the first of its kind, or a smaller MTU.
fn note(
    connection: &mut Connection,
    observation: Observation,
    packet: &Packet<'_>,
    error: IcmpError,
) -> bool {
    let smaller = connection.asked_mtu().zip(error.mtu).is_some_and(|(known, mtu)| mtu < known);
    if observation == Observation::PacketTooBig && smaller {
        connection.retract(observation);
    }
    let news = connection.observe(observation, packet.at, Witness::Icmp(error));
    let opening = matches!(connection.state, State::Opening | State::Unanswered);
    if news
        && opening
        && observation == Observation::IcmpUnreachable
        && !connection.observed(Observation::Answered)
    {
        connection.state = State::Rejected;
        // Who sends datagrams may go on doing so, and be answered yet.
        connection.emission.over_at = connection.tcp.is_some().then_some(packet.at);
    }
    news
}
