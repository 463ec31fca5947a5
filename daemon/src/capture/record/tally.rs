//! A [`Tally`] <-> the bytes of its frame in a recording.
//!
//! Link type USER0, which is nobody's: a viewer shows the bytes and goes on. The frame's time is that of the last packet. Numbers
//! are big endian: version 1, flags, protocol, a byte of nothing, device (`id` of its label), ports, addresses of 16 bytes, time
//! of the first packet, the five counts, and of TCP the time and number that follow what was sent, acknowledgement, window, flags.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use weir_cluster::UnixNanos;

use crate::capture::{Direction, InterfaceId, Progress, Tally};
use crate::tuple::{IpProtocol, Tuple};

const VERSION: u8 = 1;

/// Bits of the flags; the direction is two of them.
const V6: u8 = 1;
const TUNNELLED: u8 = 2;
const TCP: u8 = 4;
const INBOUND: u8 = 8;
const OUTBOUND: u8 = 16;

/// The bytes of a tally; its last packet's time goes beside them.
pub(super) fn emit(tally: &Tally) -> Vec<u8> {
    let Tuple { protocol, source, destination } = tally.tuple;
    let mut bytes = vec![VERSION, flags(tally), protocol.0, 0];
    bytes.extend(tally.interface.0.to_be_bytes());
    bytes.extend(source.port().to_be_bytes());
    bytes.extend(destination.port().to_be_bytes());
    bytes.extend(octets(source.ip()));
    bytes.extend(octets(destination.ip()));
    let numbers = [
        tally.first.as_nanos(),
        tally.packets,
        tally.wire_packets,
        tally.ip_bytes,
        tally.frame_bytes,
        tally.payload_bytes,
    ];
    bytes.extend(numbers.into_iter().flat_map(u64::to_be_bytes));
    if let Some(Progress { next, next_at, acknowledgement, window, flags }) = tally.tcp {
        bytes.extend(next_at.as_nanos().to_be_bytes());
        bytes.extend([next, acknowledgement].into_iter().flat_map(u32::to_be_bytes));
        bytes.extend([window, flags].into_iter().flat_map(u16::to_be_bytes));
    }
    bytes
}

fn flags(tally: &Tally) -> u8 {
    let direction = match tally.direction {
        Direction::Inbound => INBOUND,
        Direction::Outbound => OUTBOUND,
        Direction::Unknown => 0,
    };
    let bit = |is: bool, bit: u8| if is { bit } else { 0 };
    direction
        | bit(tally.tuple.source.is_ipv6(), V6)
        | bit(tally.tunnelled, TUNNELLED)
        | bit(tally.tcp.is_some(), TCP)
}

/// An IPv4 address is the first four.
fn octets(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
        }
        IpAddr::V6(address) => address.octets(),
    }
}

/// The tally in a frame, its device numbered as in the recording. None for what is none, or of another version.
pub(in crate::capture) fn parse(last: UnixNanos, bytes: &[u8]) -> Option<Tally> {
    let mut rest = Rest(bytes);
    let [version, flags, protocol, _] = rest.take()?;
    if version != VERSION {
        return None;
    }
    let interface = InterfaceId(rest.u32()?);
    let (from, to) = (rest.u16()?, rest.u16()?);
    let (source, destination) = (rest.address(flags)?, rest.address(flags)?);
    let tuple = Tuple::new(IpProtocol(protocol), (source, from), (destination, to));
    let direction = match flags & (INBOUND | OUTBOUND) {
        INBOUND => Direction::Inbound,
        OUTBOUND => Direction::Outbound,
        _ => Direction::Unknown,
    };
    Some(Tally {
        tuple,
        interface,
        direction,
        tunnelled: flags & TUNNELLED != 0,
        first: rest.time()?,
        last,
        packets: rest.u64()?,
        wire_packets: rest.u64()?,
        ip_bytes: rest.u64()?,
        frame_bytes: rest.u64()?,
        payload_bytes: rest.u64()?,
        tcp: if flags & TCP == 0 { None } else { Some(rest.progress()?) },
    })
}

/// What is still to be read.
struct Rest<'a>(&'a [u8]);

impl Rest<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }

    fn u16(&mut self) -> Option<u16> {
        self.take().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_be_bytes)
    }

    fn time(&mut self) -> Option<UnixNanos> {
        self.u64().map(UnixNanos::from_nanos)
    }

    fn address(&mut self, flags: u8) -> Option<IpAddr> {
        let octets: [u8; 16] = self.take()?;
        let [a, b, c, d, ..] = octets;
        Some(if flags & V6 == 0 {
            Ipv4Addr::from([a, b, c, d]).into()
        } else {
            Ipv6Addr::from(octets).into()
        })
    }

    fn progress(&mut self) -> Option<Progress> {
        Some(Progress {
            next_at: self.time()?,
            next: self.u32()?,
            acknowledgement: self.u32()?,
            window: self.u16()?,
            flags: self.u16()?,
        })
    }
}
