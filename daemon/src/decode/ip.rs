//! IPv4 and IPv6 headers -> [`Datagram`]: addresses, lengths, fragment state, and where the transport begins.
//!
//! Lengths come from the header's own fields; the frame's length only bounds them. Padding is left out, and a length of 0
//! is that of a super-packet too long for the field (segmentation offload, "BIG TCP"). Of a source route, the destination is
//! the next stop, as conntrack has it.

use std::net::IpAddr;

use etherparse::{Ipv4HeaderSlice, Ipv6HeaderSlice};

use super::link::missing;
use super::wire::{behind, len_of, u8_at, u16_at, u32_at, up_to};
use super::{Fragment, Undecodable};
use crate::tuple::IpProtocol;

/// Extension headers that are followed (RFC 8200 section 4.1 knows seven, each once but for destination options).
const MAX_EXTENSIONS: usize = 8;
const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = IpProtocol::AH.0;
const NO_NEXT_HEADER: u8 = 59;
/// Option type of a jumbo payload (RFC 2675 section 2).
const JUMBO: u8 = 0xc2;

/// A packet of IP behind its headers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Datagram<'a> {
    pub(super) source: IpAddr,
    pub(super) destination: IpAddr,
    pub(super) protocol: IpProtocol,
    /// From the IP header on, bytes, padding left out.
    pub(super) ip_len: u32,
    pub(super) ip_id: Option<u32>,
    pub(super) ttl: u8,
    pub(super) fragment: Fragment,
    /// Captured bytes behind the headers.
    pub(super) payload: &'a [u8],
    /// The same by the header's length.
    pub(super) payload_len: u32,
    /// Less is there than the header says.
    pub(super) truncated: bool,
}

impl Datagram<'_> {
    /// Why the transport header of `needed` bytes is not there.
    pub(super) fn lacks(&self, needed: u32) -> Undecodable {
        missing(self.payload, self.payload_len, needed)
    }
}

/// Reads a packet whose first nibble is its version. `wire_len` is what followed on the wire from the IP header on,
/// padding included; None where nobody knows, as in a quoted packet.
pub(super) fn read(bytes: &[u8], wire_len: Option<u32>) -> Result<Datagram<'_>, Undecodable> {
    match bytes.first().map(|first| first >> 4) {
        Some(4) => ipv4(bytes, wire_len),
        Some(6) => ipv6(bytes, wire_len),
        Some(_) => Err(Undecodable::NotIp),
        None => Err(Undecodable::Truncated),
    }
}

/// The header's idea of the packet's length, held against the frame.
struct Extent<'a> {
    captured: &'a [u8],
    len: u32,
    truncated: bool,
}

impl<'a> Extent<'a> {
    /// `claimed` is the whole packet's length by its header, None where the field cannot hold it.
    fn new(bytes: &'a [u8], claimed: Option<u32>, wire_len: Option<u32>) -> Self {
        let claimed = claimed.or(wire_len).unwrap_or(len_of(bytes));
        let len = claimed.min(wire_len.unwrap_or(claimed));
        let captured = up_to(bytes, len);
        Self { captured, len, truncated: len_of(captured) < claimed }
    }
}

fn ipv4(bytes: &[u8], wire_len: Option<u32>) -> Result<Datagram<'_>, Undecodable> {
    let header_len = u32::from(u8_at(bytes, 0).unwrap_or_default() & 0x0f) * 4;
    let total = u16_at(bytes, 2).ok_or(Undecodable::Truncated)?;
    let claimed = (total != 0).then_some(u32::from(total));
    if header_len < 20 || claimed.is_some_and(|claimed| claimed < header_len) {
        return Err(Undecodable::Malformed);
    }
    let extent = Extent::new(bytes, claimed, wire_len);
    let header = Ipv4HeaderSlice::from_slice(extent.captured).map_err(|_| Undecodable::Truncated)?;
    let fragment = match (header.fragments_offset().value(), header.more_fragments()) {
        (0, false) => Fragment::Whole,
        (0, true) => Fragment::First,
        _ => Fragment::Later,
    };
    let chain = Chain {
        next: header.protocol().0,
        id: Some(u32::from(header.identification())),
        fragment,
        rest: behind(extent.captured, header_len as usize),
        rest_len: extent.len.saturating_sub(header_len),
    };
    // The one header of IPv6's that IPv4 has too.
    let chain =
        if chain.next == AUTHENTICATION { extensions(chain, |next| next == AUTHENTICATION)? } else { chain };
    Ok(Datagram {
        source: header.source_addr().into(),
        destination: header.destination_addr().into(),
        protocol: IpProtocol(chain.next),
        ip_len: extent.len,
        ip_id: chain.id,
        ttl: header.ttl(),
        fragment: chain.fragment,
        payload: chain.rest,
        payload_len: chain.rest_len,
        truncated: extent.truncated,
    })
}

fn ipv6(bytes: &[u8], wire_len: Option<u32>) -> Result<Datagram<'_>, Undecodable> {
    let header = Ipv6HeaderSlice::from_slice(bytes).map_err(|_| Undecodable::Truncated)?;
    let next = header.next_header().0;
    let claimed = match header.payload_length() {
        0 if next == NO_NEXT_HEADER => Some(40),
        0 => jumbo(next, behind(bytes, 40)),
        len => Some(40 + u32::from(len)),
    };
    let extent = Extent::new(bytes, claimed, wire_len);
    let chain = Chain {
        next,
        id: None,
        fragment: Fragment::Whole,
        rest: behind(extent.captured, 40),
        rest_len: extent.len.saturating_sub(40),
    };
    let chain = if is_extension(next) { extensions(chain, is_extension)? } else { chain };
    Ok(Datagram {
        source: header.source_addr().into(),
        destination: header.destination_addr().into(),
        protocol: IpProtocol(chain.next),
        ip_len: extent.len,
        ip_id: chain.id,
        ttl: header.hop_limit(),
        fragment: chain.fragment,
        payload: chain.rest,
        payload_len: chain.rest_len,
        truncated: extent.truncated,
    })
}

/// The whole length by the jumbo option, which the kernel puts first in its hop-by-hop header.
fn jumbo(next: u8, hop_by_hop: &[u8]) -> Option<u32> {
    let option = (u8_at(hop_by_hop, 2)?, u8_at(hop_by_hop, 3)?);
    if next != HOP_BY_HOP || option != (JUMBO, 4) {
        return None;
    }
    u32_at(hop_by_hop, 4)?.checked_add(40)
}

/// What the extension headers say, and what is behind them.
#[derive(Clone, Copy)]
struct Chain<'a> {
    next: u8,
    id: Option<u32>,
    fragment: Fragment,
    rest: &'a [u8],
    rest_len: u32,
}

/// Follows extension headers up to the transport, or to a later fragment's data.
fn extensions(mut chain: Chain<'_>, is_extension: fn(u8) -> bool) -> Result<Chain<'_>, Undecodable> {
    for _ in 0..MAX_EXTENSIONS {
        if chain.fragment == Fragment::Later || !is_extension(chain.next) {
            return Ok(chain);
        }
        chain = step(&chain)?;
    }
    if is_extension(chain.next) { Err(Undecodable::Malformed) } else { Ok(chain) }
}

/// Hop-by-hop, routing, fragment, authentication, destination options, mobility, HIP and Shim6 (IANA "IPv6 Extension
/// Header Types"). What ESP wraps cannot be read: it counts as a transport.
fn is_extension(next: u8) -> bool {
    matches!(next, HOP_BY_HOP | ROUTING | FRAGMENT | AUTHENTICATION | 60 | 135 | 139 | 140)
}

fn step<'a>(chain: &Chain<'a>) -> Result<Chain<'a>, Undecodable> {
    let lacks = |needed| missing(chain.rest, chain.rest_len, needed);
    let next = u8_at(chain.rest, 0).ok_or_else(|| lacks(8))?;
    let units = u32::from(u8_at(chain.rest, 1).ok_or_else(|| lacks(8))?);
    let len = match chain.next {
        FRAGMENT => 8,
        AUTHENTICATION => (units + 2) * 4,
        _ => (units + 1) * 8,
    };
    if len_of(chain.rest) < len {
        return Err(lacks(len));
    }
    let (mut id, mut fragment) = (chain.id, chain.fragment);
    if chain.next == FRAGMENT {
        // RFC 8200 section 4.5: offset in the upper 13 bits, "more" in the lowest; both 0 is an atomic fragment.
        fragment = match u16_at(chain.rest, 2).unwrap_or_default() {
            field if field & 0xfff8 != 0 => Fragment::Later,
            field if field & 1 != 0 => Fragment::First,
            _ => Fragment::Whole,
        };
        id = u32_at(chain.rest, 4);
    }
    let rest = behind(chain.rest, len as usize);
    Ok(Chain { next, id, fragment, rest, rest_len: chain.rest_len.saturating_sub(len) })
}
