//! Link header -> where IP begins. Ethernet with its VLAN tags and SNAP, Linux cooked 1 and 2, raw IP, BSD loopback.
//!
//! A new link type is one line in [`read`]. What is no IP is told apart only as far as its counter needs.

use super::wire::{behind, len_of, mac_at, u8_at, u16_at, u32_at, up_to};
use super::{Direction, Undecodable};
use crate::capture::LinkType;

/// Ethernet types (IANA "IEEE 802 Numbers").
const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_ARP: u16 = 0x0806;
const ETHERTYPE_IPV6: u16 = 0x86dd;
/// 802.1Q, 802.1ad, and the tag that came before 802.1ad.
const ETHERTYPE_TAGS: [u16; 3] = [0x8100, 0x88a8, 0x9100];
/// A number below is a length (IEEE 802.3 clause 3.2.6).
const ETHERTYPE_LEAST: u16 = 0x0600;
/// Linux' pseudo ethertype of a frame that begins with an LLC header (linux/if_ether.h).
const ETH_P_802_2: u16 = 0x0004;
/// Stacked tags that are skipped; more is not a network.
const MAX_TAGS: usize = 8;
/// Address families of IPv6 on the BSDs and Linux; IPv4 is 2 everywhere.
const FAMILIES_IPV6: [u32; 4] = [24, 28, 30, 10];

/// A frame behind its link header: `rest` begins with an IP header.
#[derive(Clone, Copy, Debug)]
pub(super) struct Linked<'a> {
    /// Source and destination MAC.
    pub(super) ethernet: Option<([u8; 6], [u8; 6])>,
    /// What the header tells of the direction.
    pub(super) direction: Direction,
    /// Captured bytes from the IP header on.
    pub(super) rest: &'a [u8],
    /// The same on the wire, padding included.
    pub(super) wire_len: u32,
}

impl<'a> Linked<'a> {
    const fn new(rest: &'a [u8], wire_len: u32) -> Self {
        Self { ethernet: None, direction: Direction::Unknown, rest, wire_len }
    }

    fn skip(self, len: u32) -> Self {
        let rest = behind(self.rest, len as usize);
        Self { rest, wire_len: self.wire_len.saturating_sub(len), ..self }
    }
}

/// Finds the IP header of a frame of `wire_len` bytes.
pub(super) fn read(link: LinkType, bytes: &[u8], wire_len: u32) -> Result<Linked<'_>, Undecodable> {
    let linked = Linked::new(bytes, wire_len);
    match link {
        LinkType::ETHERNET => ethernet(linked),
        LinkType::LINUX_SLL => cooked(linked),
        LinkType::LINUX_SLL2 => cooked2(linked),
        LinkType::NULL | LinkType::LOOP => loopback(linked),
        LinkType::RAW | LinkType::DLT_RAW | LinkType::IPV4 | LinkType::IPV6 => Ok(linked),
        _ => Err(Undecodable::LinkType),
    }
}

/// An Ethernet frame: MAC addresses, then tags and type.
pub(super) fn ethernet(frame: Linked<'_>) -> Result<Linked<'_>, Undecodable> {
    let destination = mac_at(frame.rest, 0).ok_or(Undecodable::Truncated)?;
    let source = mac_at(frame.rest, 6).ok_or(Undecodable::Truncated)?;
    let kind = u16_at(frame.rest, 12).ok_or(Undecodable::Truncated)?;
    network(kind, Linked { ethernet: Some((source, destination)), ..frame.skip(14) })
}

/// LINKTYPE_LINUX_SLL: packet type, ARPHRD, address and its length, protocol; 16 bytes.
fn cooked(frame: Linked<'_>) -> Result<Linked<'_>, Undecodable> {
    let kind = u16_at(frame.rest, 0).ok_or(Undecodable::Truncated)?;
    let protocol = u16_at(frame.rest, 14).ok_or(Undecodable::Truncated)?;
    network(protocol, Linked { direction: direction(kind), ..frame.skip(16) })
}

/// LINKTYPE_LINUX_SLL2: protocol, ifindex, ARPHRD, packet type, address; 20 bytes.
fn cooked2(frame: Linked<'_>) -> Result<Linked<'_>, Undecodable> {
    let protocol = u16_at(frame.rest, 0).ok_or(Undecodable::Truncated)?;
    let kind = u8_at(frame.rest, 10).ok_or(Undecodable::Truncated)?;
    if frame.rest.len() < 20 {
        return Err(Undecodable::Truncated);
    }
    network(protocol, Linked { direction: direction(u16::from(kind)), ..frame.skip(20) })
}

/// The packet types of linux/if_packet.h: to us, broadcast, multicast, to another host; 4 is sent by us.
const fn direction(packet_type: u16) -> Direction {
    match packet_type {
        0..=3 => Direction::Inbound,
        4 => Direction::Outbound,
        _ => Direction::Unknown,
    }
}

/// LINKTYPE_NULL and LINKTYPE_LOOP: an address family, in the byte order of whoever captured it.
fn loopback(frame: Linked<'_>) -> Result<Linked<'_>, Undecodable> {
    let family = u32_at(frame.rest, 0).ok_or(Undecodable::Truncated)?;
    let family = family.min(family.swap_bytes());
    if family == 2 || FAMILIES_IPV6.contains(&family) { Ok(frame.skip(4)) } else { Err(Undecodable::NotIp) }
}

/// Skips tags and SNAP until the type names IP.
fn network(mut kind: u16, mut frame: Linked<'_>) -> Result<Linked<'_>, Undecodable> {
    for _ in 0..=MAX_TAGS {
        match kind {
            ETHERTYPE_IPV4 | ETHERTYPE_IPV6 => return Ok(frame),
            ETHERTYPE_ARP => return Err(Undecodable::Arp),
            _ if ETHERTYPE_TAGS.contains(&kind) => {
                kind = u16_at(frame.rest, 2).ok_or(Undecodable::Truncated)?;
                frame = frame.skip(4);
            }
            ETH_P_802_2 => (kind, frame) = snap(frame)?,
            _ if kind < ETHERTYPE_LEAST => {
                let len = u32::from(kind).min(frame.wire_len);
                (kind, frame) = snap(Linked { rest: up_to(frame.rest, len), wire_len: len, ..frame })?;
            }
            _ => return Err(Undecodable::NotIp),
        }
    }
    Err(Undecodable::NotIp)
}

/// LLC with SNAP and organisation 0 carries an Ethernet type (RFC 1042).
fn snap(frame: Linked<'_>) -> Result<(u16, Linked<'_>), Undecodable> {
    let llc: &[u8; 8] = frame.rest.first_chunk().ok_or_else(|| missing(frame.rest, frame.wire_len, 8))?;
    match *llc {
        [0xaa, 0xaa, 3, 0, 0, 0, high, low] => Ok((u16::from_be_bytes([high, low]), frame.skip(8))),
        _ => Err(Undecodable::NotIp),
    }
}

/// Why a header of `needed` bytes is not there: the capture cut it off, or it never was.
pub(super) fn missing(captured: &[u8], on_wire: u32, needed: u32) -> Undecodable {
    if len_of(captured) < needed && on_wire >= needed {
        Undecodable::Truncated
    } else {
        Undecodable::Malformed
    }
}
