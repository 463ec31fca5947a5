//! [`Datagram`] -> ports and [`Transport`]. A new transport protocol is one line in [`read`].
//!
//! A header that is cut behind its ports, or contradicts itself there, still names its connection: its packet counts, but
//! nothing is measured by it. Options and payload may be cut, the lengths still tell what was on the wire.

use etherparse::{TcpOptionElement, TcpOptionsIterator};

use super::icmp;
use super::ip::Datagram;
use super::wire::{behind, len_of, u8_at, u16_at, u32_at, up_to};
use super::{Chunks, Fragment, Settings, Tcp, TcpFlags, Transport, Undecodable};
use crate::tuple::IpProtocol;

pub(super) type Ports = (u16, u16);

/// Chunks that are looked at; more are data.
const MAX_CHUNKS: usize = 32;

/// Reads the transport header: its ports (0 without) and itself.
pub(super) fn read<'a>(
    datagram: &Datagram<'a>,
    settings: &Settings,
) -> Result<(Ports, Transport<'a>), Undecodable> {
    if datagram.fragment == Fragment::Later {
        return Ok(((0, 0), Transport::Other { payload_len: datagram.payload_len }));
    }
    match datagram.protocol {
        IpProtocol::TCP => tcp(datagram),
        IpProtocol::UDP => udp(datagram),
        IpProtocol::SCTP => sctp(datagram),
        IpProtocol::ICMP | IpProtocol::ICMPV6 => icmp::read(datagram, settings),
        _ => Ok(((0, 0), Transport::Other { payload_len: datagram.payload_len })),
    }
}

pub(super) fn ports(datagram: &Datagram<'_>) -> Option<Ports> {
    Some((u16_at(datagram.payload, 0)?, u16_at(datagram.payload, 2)?))
}

/// Of a connection, without a header.
const fn unmeasured<'a>(datagram: &Datagram<'a>) -> Transport<'a> {
    Transport::Other { payload_len: datagram.payload_len }
}

/// RFC 9293 section 3.1.
fn tcp<'a>(datagram: &Datagram<'a>) -> Result<(Ports, Transport<'a>), Undecodable> {
    let bytes = datagram.payload;
    let ports = ports(datagram).ok_or_else(|| datagram.lacks(20))?;
    let header_len = bytes.get(12).map_or(0, |first| u32::from(first >> 4) * 4);
    let Some(header) =
        bytes.first_chunk::<20>().filter(|_| (20..=datagram.payload_len).contains(&header_len))
    else {
        // Where the header ends it does not say, and so not what is payload.
        return Ok((ports, Transport::Other { payload_len: 0 }));
    };
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
    let ports = ports(datagram).ok_or_else(|| datagram.lacks(8))?;
    let len = match u16_at(datagram.payload, 4) {
        Some(0) => datagram.payload_len,
        Some(len @ 8..) => u32::from(len).min(datagram.payload_len),
        _ => return Ok((ports, unmeasured(datagram))),
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
    let chunks = chunks(behind(datagram.payload, 12));
    Ok((ports, Transport::Sctp { first_chunk, chunks, payload_len: datagram.payload_len - 12 }))
}

/// Each chunk is type, flags, length with these four bytes, and is filled up to whole words.
fn chunks(mut rest: &[u8]) -> Chunks {
    let mut found = Chunks::default();
    for _ in 0..MAX_CHUNKS {
        let [kind, _, high, low, ..] = *rest else { break };
        found = found.with(kind);
        let len = u16::from_be_bytes([high, low]);
        if len < 4 || u32::from(len) > len_of(rest) {
            break;
        }
        rest = behind(rest, usize::from(len).next_multiple_of(4));
    }
    found
}
