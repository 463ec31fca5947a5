//! Link header -> where IP begins: Ethernet, Linux cooked 1 and 2, PPP and Cisco HDLC, raw IP, BSD loopback, NFLOG.
//!
//! A new link type is one line in [`read`]. What lies between a link header and IP (tags, labels, PPPoE) is `ethertype`'s.
//! What is no IP is told apart only as far as its counter needs.

use super::ethertype::{self, Next};
use super::wire::{behind, len_of, u8_at, u16_at, u32_at, up_to};
use super::{Direction, Undecodable, Vlans};
use crate::capture::LinkType;

/// Address families of IPv6 on the BSDs and Linux; IPv4 is 2 everywhere.
const FAMILIES_IPV6: [u32; 4] = [24, 28, 30, 10];
/// `NFULA_PAYLOAD` (linux/netfilter/nfnetlink_log.h).
const NFLOG_PAYLOAD: u16 = 9;
/// Attributes of an NFLOG message; the kernel knows some twenty.
const MAX_NFLOG_ATTRIBUTES: usize = 64;

/// A frame behind its link header: `rest` begins with an IP header.
#[derive(Clone, Copy, Debug)]
pub(super) struct Linked<'a> {
    /// Source and destination MAC.
    pub(super) ethernet: Option<([u8; 6], [u8; 6])>,
    /// Tags that were passed.
    pub(super) vlans: Vlans,
    /// What the header tells of the direction.
    pub(super) direction: Direction,
    /// Captured bytes from the IP header on.
    pub(super) rest: &'a [u8],
    /// The same on the wire, padding included.
    pub(super) wire_len: u32,
}

impl<'a> Linked<'a> {
    /// Bytes behind a header that tells nothing.
    pub(super) fn new(rest: &'a [u8], wire_len: u32) -> Self {
        Self { ethernet: None, vlans: Vlans::default(), direction: Direction::Unknown, rest, wire_len }
    }

    /// A packet whose length on the wire nobody tells.
    pub(super) fn bare(rest: &'a [u8]) -> Self {
        Self::new(rest, len_of(rest))
    }

    /// Behind the next `len` bytes.
    pub(super) fn skip(self, len: u32) -> Self {
        let rest = behind(self.rest, len as usize);
        Self { rest, wire_len: self.wire_len.saturating_sub(len), ..self }
    }

    /// No more than the next `len` bytes: what follows is padding.
    pub(super) fn first(self, len: u32) -> Self {
        let len = len.min(self.wire_len);
        Self { rest: up_to(self.rest, len), wire_len: len, ..self }
    }
}

/// Finds the IP header of a frame of `wire_len` bytes.
pub(super) fn read(link: LinkType, bytes: &[u8], wire_len: u32) -> Result<Linked<'_>, Undecodable> {
    let linked = Linked::new(bytes, wire_len);
    match link {
        LinkType::ETHERNET => ethertype::resolve(Next::Ethernet, linked),
        LinkType::LINUX_SLL => cooked(linked),
        LinkType::LINUX_SLL2 => cooked2(linked),
        LinkType::NULL | LinkType::LOOP => loopback(linked),
        LinkType::RAW | LinkType::DLT_RAW | LinkType::DLT_RAW_OPENBSD | LinkType::IPV4 | LinkType::IPV6 => {
            Ok(linked)
        }
        LinkType::PPP | LinkType::PPP_HDLC => ethertype::resolve(Next::Ppp, linked),
        LinkType::PPP_ETHER => ethertype::resolve(Next::PppoeSession, linked),
        LinkType::PPP_WITH_DIRECTION => with_direction(linked),
        LinkType::CISCO_HDLC => ethertype::resolve(Next::CiscoHdlc, linked),
        LinkType::MPLS => ethertype::resolve(Next::Mpls, linked),
        LinkType::NFLOG => logged(linked),
        _ => Err(Undecodable::LinkType),
    }
}

/// LINKTYPE_LINUX_SLL: packet type, ARPHRD, address and its length, protocol; 16 bytes.
fn cooked(frame: Linked<'_>) -> Result<Linked<'_>, Undecodable> {
    let kind = u16_at(frame.rest, 0).ok_or(Undecodable::Truncated)?;
    let protocol = u16_at(frame.rest, 14).ok_or(Undecodable::Truncated)?;
    let frame = Linked { direction: direction(kind), ..frame.skip(16) };
    ethertype::resolve(Next::EtherType(protocol), frame)
}

/// LINKTYPE_LINUX_SLL2: protocol, ifindex, ARPHRD, packet type, address; 20 bytes.
fn cooked2(frame: Linked<'_>) -> Result<Linked<'_>, Undecodable> {
    let protocol = u16_at(frame.rest, 0).ok_or(Undecodable::Truncated)?;
    let kind = u8_at(frame.rest, 10).ok_or(Undecodable::Truncated)?;
    if frame.rest.len() < 20 {
        return Err(Undecodable::Truncated);
    }
    let frame = Linked { direction: direction(u16::from(kind)), ..frame.skip(20) };
    ethertype::resolve(Next::EtherType(protocol), frame)
}

/// The packet types of linux/if_packet.h: to us, broadcast, multicast, to another host; 4 is sent by us.
const fn direction(packet_type: u16) -> Direction {
    match packet_type {
        0..=3 => Direction::Inbound,
        4 => Direction::Outbound,
        _ => Direction::Unknown,
    }
}

/// LINKTYPE_PPP_WITH_DIR: a byte that is 0 for received, else sent; then PPP.
fn with_direction(frame: Linked<'_>) -> Result<Linked<'_>, Undecodable> {
    let direction = match u8_at(frame.rest, 0).ok_or(Undecodable::Truncated)? {
        0 => Direction::Inbound,
        _ => Direction::Outbound,
    };
    ethertype::resolve(Next::Ppp, Linked { direction, ..frame.skip(1) })
}

/// LINKTYPE_NULL and LINKTYPE_LOOP: an address family, in the byte order of whoever captured it.
fn loopback(frame: Linked<'_>) -> Result<Linked<'_>, Undecodable> {
    let family = u32_at(frame.rest, 0).ok_or(Undecodable::Truncated)?;
    let family = family.min(family.swap_bytes());
    match frame.rest {
        _ if family == 2 || FAMILIES_IPV6.contains(&family) => Ok(frame.skip(4)),
        // Some captures of other point-to-point devices have their own header in its place.
        [0x0f | 0x8f, 0, ..] => ethertype::resolve(Next::CiscoHdlc, frame),
        _ => Err(Undecodable::NotIp),
    }
}

/// LINKTYPE_NFLOG: family, version, group; then attributes, with lengths in the byte order of whoever captured it. The packet
/// is one of them.
fn logged(frame: Linked<'_>) -> Result<Linked<'_>, Undecodable> {
    let attributes = frame.skip(4);
    let read: [fn([u8; 2]) -> u16; 2] = [u16::from_le_bytes, u16::from_be_bytes];
    read.into_iter().find_map(|number| payload(attributes, number)).ok_or(Undecodable::Malformed)
}

fn payload<'a>(mut frame: Linked<'a>, number: fn([u8; 2]) -> u16) -> Option<Linked<'a>> {
    for _ in 0..MAX_NFLOG_ATTRIBUTES {
        let len = u32::from(number(*frame.rest.first_chunk()?));
        let kind = number(*frame.rest.get(2..)?.first_chunk()?);
        if len < 4 || len > frame.wire_len {
            return None;
        }
        if kind == NFLOG_PAYLOAD {
            return Some(frame.first(len).skip(4));
        }
        frame = frame.skip(len.next_multiple_of(4));
    }
    None
}

/// Why a header of `needed` bytes is not there: the capture cut it off, or it never was.
pub(super) fn missing(captured: &[u8], on_wire: u32, needed: u32) -> Undecodable {
    if len_of(captured) < needed && on_wire >= needed {
        Undecodable::Truncated
    } else {
        Undecodable::Malformed
    }
}
