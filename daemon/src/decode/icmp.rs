//! ICMP and ICMPv6 messages, and the packets that errors quote.
//!
//! What is quoted is cut as the sender of the error liked, so it is read as far as it goes.

use super::ip::{self, Datagram};
use super::transport::{Ports, ports};
use super::tunnel;
use super::wire::{behind, u8_at, u16_at, u32_at};
use super::wrapping::MAX_DEPTH;
use super::{Fragment, Icmp, Quoted, Settings, Transport, Undecodable};
use crate::tuple::{IpProtocol, Tuple};

/// RFC 792, RFC 4443: type, code, checksum, four bytes by type, and the quoted packet of an error.
pub(super) fn read<'a>(
    datagram: &Datagram<'a>,
    settings: &Settings,
) -> Result<(Ports, Transport<'a>), Undecodable> {
    let head: &[u8; 4] = datagram.payload.first_chunk().ok_or_else(|| datagram.lacks(8))?;
    let (kind, code) = (head[0], head[1]);
    let v6 = datagram.protocol == IpProtocol::ICMPV6;
    let (mut ports, mut echo) = ((0, 0), None);
    if has_identifier(v6, kind) {
        let id = u16_at(datagram.payload, 4).ok_or_else(|| datagram.lacks(8))?;
        ports = (id, id);
        echo = u16_at(datagram.payload, 6).zip(u16_at(datagram.payload, 2));
    }
    let quoted = if quotes(v6, kind) { quoted(behind(datagram.payload, 8), settings) } else { None };
    let mtu = match (v6, kind, code) {
        // RFC 1191 section 4: routers older than it leave the field 0.
        (false, 3, 4) => u16_at(datagram.payload, 6).map(u32::from).filter(|mtu| *mtu > 0),
        (true, 2, _) => u32_at(datagram.payload, 4),
        _ => None,
    };
    Ok((ports, Transport::Icmp(Icmp { kind, code, quoted, mtu, echo })))
}

/// Requests and replies that carry an identifier: echo, and of ICMP timestamp, information and address mask.
const fn has_identifier(v6: bool, kind: u8) -> bool {
    if v6 { matches!(kind, 128 | 129) } else { matches!(kind, 0 | 8 | 13..=18) }
}

/// Errors that quote a packet: of ICMP unreachable, source quench, redirect, time exceeded, parameter problem; all errors
/// of ICMPv6 that are assigned.
const fn quotes(v6: bool, kind: u8) -> bool {
    if v6 { matches!(kind, 1..=4) } else { matches!(kind, 3 | 4 | 5 | 11 | 12) }
}

/// The packet that an error quotes: RFC 792 asks for no more than eight bytes behind its IP header, but most quote more. An
/// error about a tunnel's packet is about the packet in it, where the quote reaches so far.
fn quoted(bytes: &[u8], settings: &Settings) -> Option<Quoted> {
    let (mut bytes, mut found) = (bytes, None);
    for _ in 0..=MAX_DEPTH {
        let Some((quoted, datagram)) = ends(bytes) else { break };
        found = Some(quoted);
        let Some(inside) = tunnel::quoted(&datagram, settings) else { break };
        bytes = inside;
    }
    found
}

/// Addresses and ports of the packet that `bytes` begin with, however short.
fn ends(bytes: &[u8]) -> Option<(Quoted, Datagram<'_>)> {
    let datagram = ip::read(bytes, None).ok()?;
    let (ports, tcp_sequence) = match (datagram.fragment, datagram.protocol) {
        (Fragment::Later, _) => ((0, 0), None),
        (_, IpProtocol::TCP) => (ports(&datagram)?, u32_at(datagram.payload, 4)),
        (_, IpProtocol::UDP | IpProtocol::SCTP) => (ports(&datagram)?, None),
        (_, IpProtocol::ICMP | IpProtocol::ICMPV6) => (quoted_identifier(&datagram), None),
        _ => ((0, 0), None),
    };
    let tuple = Tuple::new(datagram.protocol, (datagram.source, ports.0), (datagram.destination, ports.1));
    Some((Quoted { tuple, tcp_sequence }, datagram))
}

fn quoted_identifier(datagram: &Datagram<'_>) -> Ports {
    let v6 = datagram.protocol == IpProtocol::ICMPV6;
    let echo = u8_at(datagram.payload, 0).is_some_and(|kind| has_identifier(v6, kind));
    let id = if echo { u16_at(datagram.payload, 4).unwrap_or_default() } else { 0 };
    (id, id)
}
