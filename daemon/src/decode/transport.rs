//! [`Datagram`] -> ports and [`Transport`]. A new transport protocol is one line in [`read`].
//!
//! A header cut after the ports but before its end gives no packet: a half-read TCP header would be a wrong measurement.
//! Options and payload may be cut, the lengths still tell what was on the wire.

use etherparse::{TcpOptionElement, TcpOptionsIterator};

use super::ip::{self, Datagram};
use super::wire::{behind, u8_at, u16_at, u32_at, up_to};
use super::{Fragment, Icmp, Quoted, Tcp, TcpFlags, Transport, Undecodable};
use crate::tuple::{IpProtocol, Tuple};

type Ports = (u16, u16);

/// Reads the transport header: its ports (0 without) and itself.
pub(super) fn read<'a>(datagram: &Datagram<'a>) -> Result<(Ports, Transport<'a>), Undecodable> {
    if datagram.fragment == Fragment::Later {
        return Ok(((0, 0), Transport::Other { payload_len: datagram.payload_len }));
    }
    match datagram.protocol {
        IpProtocol::TCP => tcp(datagram),
        IpProtocol::UDP => udp(datagram),
        IpProtocol::SCTP => sctp(datagram),
        IpProtocol::ICMP | IpProtocol::ICMPV6 => icmp(datagram),
        _ => Ok(((0, 0), Transport::Other { payload_len: datagram.payload_len })),
    }
}

fn ports(datagram: &Datagram<'_>) -> Option<Ports> {
    Some((u16_at(datagram.payload, 0)?, u16_at(datagram.payload, 2)?))
}

/// RFC 9293 section 3.1.
fn tcp<'a>(datagram: &Datagram<'a>) -> Result<(Ports, Transport<'a>), Undecodable> {
    let bytes = datagram.payload;
    let header: &[u8; 20] = bytes.first_chunk().ok_or_else(|| datagram.lacks(20))?;
    let ports = ports(datagram).ok_or_else(|| datagram.lacks(20))?;
    let header_len = u32::from(header[12] >> 4) * 4;
    if header_len < 20 || header_len > datagram.payload_len {
        return Err(Undecodable::Malformed);
    }
    let flags = TcpFlags(u16::from(header[12] & 1) << 8 | u16::from(header[13]));
    let options = tcp_options(behind(up_to(bytes, header_len), 20), flags);
    let segment = Tcp {
        sequence: u32_at(header, 4).unwrap_or_default(),
        acknowledgement: u32_at(header, 8).unwrap_or_default(),
        flags,
        window: u16_at(header, 14).unwrap_or_default(),
        mss: options.mss,
        timestamps: options.timestamps,
        payload: behind(bytes, header_len as usize),
        payload_len: datagram.payload_len - header_len,
    };
    Ok((ports, Transport::Tcp(segment)))
}

#[derive(Default)]
struct TcpOptions {
    mss: Option<u16>,
    timestamps: Option<(u32, u32)>,
}

/// Options as far as they were captured and are well formed; a bad one ends the list, as in the kernel.
fn tcp_options(bytes: &[u8], flags: TcpFlags) -> TcpOptions {
    // Nearly every segment has these alone, which are not worth an iterator: no-operation twice, timestamps.
    if let [1, 1, 8, 10, value @ ..] = bytes
        && let (8, Some(value), Some(echo)) = (value.len(), u32_at(value, 0), u32_at(value, 4))
    {
        return TcpOptions { mss: None, timestamps: Some((value, echo)) };
    }
    let mut options = TcpOptions::default();
    for option in TcpOptionsIterator::from_slice(bytes).map_while(Result::ok) {
        match option {
            TcpOptionElement::MaximumSegmentSize(mss) if flags.has(TcpFlags::SYN) => options.mss = Some(mss),
            TcpOptionElement::Timestamp(value, echo) => options.timestamps = Some((value, echo)),
            _ => {}
        }
    }
    options
}

/// RFC 768. A first fragment holds less than the length says: the rest counts with the later ones. A length of 0 is
/// that of a jumbogram (RFC 2675 section 4).
fn udp<'a>(datagram: &Datagram<'a>) -> Result<(Ports, Transport<'a>), Undecodable> {
    if datagram.payload.len() < 8 {
        return Err(datagram.lacks(8));
    }
    let ports = ports(datagram).ok_or_else(|| datagram.lacks(8))?;
    let len = match u16_at(datagram.payload, 4).unwrap_or_default() {
        0 => datagram.payload_len,
        1..8 => return Err(Undecodable::Malformed),
        len => u32::from(len).min(datagram.payload_len),
    };
    let payload_len = len.saturating_sub(8);
    let payload = up_to(behind(datagram.payload, 8), payload_len);
    Ok((ports, Transport::Udp { payload, payload_len }))
}

/// RFC 9260 section 3: a common header of 12 bytes, then chunks. The ports alone make it countable.
fn sctp<'a>(datagram: &Datagram<'a>) -> Result<(Ports, Transport<'a>), Undecodable> {
    let ports = ports(datagram).ok_or_else(|| datagram.lacks(12))?;
    if datagram.payload_len < 12 {
        return Err(Undecodable::Malformed);
    }
    let first_chunk = u8_at(datagram.payload, 12);
    Ok((ports, Transport::Sctp { first_chunk, payload_len: datagram.payload_len - 12 }))
}

/// RFC 792, RFC 4443: type, code, checksum, four bytes by type, and the quoted packet of an error.
fn icmp<'a>(datagram: &Datagram<'a>) -> Result<(Ports, Transport<'a>), Undecodable> {
    let head: &[u8; 4] = datagram.payload.first_chunk().ok_or_else(|| datagram.lacks(8))?;
    let (kind, code) = (head[0], head[1]);
    let v6 = datagram.protocol == IpProtocol::ICMPV6;
    let mut ports = (0, 0);
    if has_identifier(v6, kind) {
        let id = u16_at(datagram.payload, 4).ok_or_else(|| datagram.lacks(8))?;
        ports = (id, id);
    }
    let quoted = if quotes(v6, kind) { quoted(behind(datagram.payload, 8)) } else { None };
    let mtu = match (v6, kind, code) {
        // RFC 1191 section 4: routers older than it leave the field 0.
        (false, 3, 4) => u16_at(datagram.payload, 6).map(u32::from).filter(|mtu| *mtu > 0),
        (true, 2, _) => u32_at(datagram.payload, 4),
        _ => None,
    };
    Ok((ports, Transport::Icmp(Icmp { kind, code, quoted, mtu })))
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

/// The packet that an error quotes: RFC 792 asks for no more than eight bytes behind its IP header.
fn quoted(bytes: &[u8]) -> Option<Quoted> {
    let datagram = ip::read(bytes, None).ok()?;
    let (ports, tcp_sequence) = match (datagram.fragment, datagram.protocol) {
        (Fragment::Later, _) => ((0, 0), None),
        (_, IpProtocol::TCP) => (ports(&datagram)?, u32_at(datagram.payload, 4)),
        (_, IpProtocol::UDP | IpProtocol::SCTP) => (ports(&datagram)?, None),
        (_, IpProtocol::ICMP | IpProtocol::ICMPV6) => (quoted_identifier(&datagram), None),
        _ => ((0, 0), None),
    };
    let tuple = Tuple::new(datagram.protocol, (datagram.source, ports.0), (datagram.destination, ports.1));
    Some(Quoted { tuple, tcp_sequence })
}

fn quoted_identifier(datagram: &Datagram<'_>) -> Ports {
    let v6 = datagram.protocol == IpProtocol::ICMPV6;
    let echo = u8_at(datagram.payload, 0).is_some_and(|kind| has_identifier(v6, kind));
    let id = if echo { u16_at(datagram.payload, 4).unwrap_or_default() } else { 0 };
    (id, id)
}
