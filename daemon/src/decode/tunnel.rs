//! The packet inside a tunnel's packet. A new encapsulation is one line in [`inside`].
//!
//! What does not hold a readable packet is no tunnel: then the outer packet is the packet, and nothing is lost. ARP in a tunnel is
//! ARP.

use super::link::{self, Linked};
use super::wire::{behind, u8_at, u32_at};
use super::{
    Direction, Envelope, Fragment, Packet, Settings, Transport, Tunnel, TunnelProtocol, Undecodable, assemble,
};

/// Tunnels in tunnels that are opened.
const MAX_DEPTH: usize = 4;

/// The innermost readable packet.
pub(super) fn innermost<'a>(outer: Packet<'a>, settings: &Settings) -> Result<Packet<'a>, Undecodable> {
    let mut packet = outer;
    for _ in 0..MAX_DEPTH {
        let Some(inner) = inside(&packet, settings) else {
            break;
        };
        packet = inner?;
    }
    Ok(packet)
}

fn inside<'a>(packet: &Packet<'a>, settings: &Settings) -> Option<Result<Packet<'a>, Undecodable>> {
    match packet.transport {
        Transport::Udp { payload, payload_len }
            if settings.vxlan_ports.contains(&packet.tuple.destination.port()) =>
        {
            vxlan(packet, payload, payload_len)
        }
        _ => None,
    }
}

/// RFC 7348 section 5: flags, of which only I is looked at and must be set; VNI in bytes 4 to 6; an Ethernet frame.
fn vxlan<'a>(
    packet: &Packet<'a>,
    payload: &'a [u8],
    payload_len: u32,
) -> Option<Result<Packet<'a>, Undecodable>> {
    if u8_at(payload, 0)? & 0x08 == 0 {
        return None;
    }
    let vni = u32_at(payload, 4)? >> 8;
    let frame = Linked {
        ethernet: None,
        direction: Direction::Unknown,
        rest: behind(payload, 8),
        wire_len: payload_len.checked_sub(8)?,
    };
    let linked = match link::ethernet(frame) {
        Err(Undecodable::Arp) => return Some(Err(Undecodable::Arp)),
        linked => linked.ok()?,
    };
    // A fragmented outer datagram holds the rest of the inner packet in its later pieces.
    let wire_len = (packet.fragment == Fragment::Whole).then_some(linked.wire_len);
    let inner = assemble(Envelope::of(packet), linked.ethernet, linked.rest, wire_len).ok()?;
    let tunnel = Tunnel {
        protocol: TunnelProtocol::Vxlan,
        source: packet.tuple.source.ip(),
        destination: packet.tuple.destination.ip(),
        source_port: packet.tuple.source.port(),
        destination_port: packet.tuple.destination.port(),
        vni,
    };
    Some(Ok(Packet { tunnel: Some(tunnel), truncated: inner.truncated || packet.truncated, ..inner }))
}
