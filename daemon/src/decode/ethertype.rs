//! What lies between a link header and IP, one header after the other: VLAN and other tags, SNAP, MPLS, PPPoE and PPP.
//!
//! Each header names the next; a new one is one line in [`Next`], one in [`step`], and one in [`by_type`] if it has an
//! Ethernet type. The number of headers is bounded, so that no frame is worth more than a look.

use super::Undecodable;
use super::link::{Linked, missing};
use super::ppp;
use super::wire::{mac_at, u8_at, u16_at, u32_at};

/// Ethernet types (IANA "IEEE 802 Numbers").
const IPV4: u16 = 0x0800;
const ARP: u16 = 0x0806;
const IPV6: u16 = 0x86dd;
/// A whole Ethernet frame.
const BRIDGED: u16 = 0x6558;
/// A number below is a length (IEEE 802.3 clause 3.2.6).
const LEAST: u16 = 0x0600;
/// Linux' pseudo ethertype of a frame that begins with an LLC header (linux/if_ether.h).
const ETH_P_802_2: u16 = 0x0004;
/// Headers that are passed; more is not a network.
const MAX_HEADERS: usize = 32;

/// What the next bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// An IP header: the end of the search.
    Ip,
    /// An Ethernet header.
    Ethernet,
    /// What this Ethernet type names.
    EtherType(u16),
    /// An LLC header.
    Llc,
    /// A VLAN tag (IEEE 802.1Q clause 9), its Ethernet type passed.
    Vlan,
    /// A port extender's tag (IEEE 802.1BR).
    PortExtender,
    /// A backbone's service tag, then a whole Ethernet frame (IEEE 802.1ah).
    Backbone,
    /// A stack of MPLS labels (RFC 3032).
    Mpls,
    /// A PPPoE header (RFC 2516).
    PppoeSession,
    /// A PPP frame (RFC 1661, 1662).
    Ppp,
    /// A Cisco HDLC frame.
    CiscoHdlc,
}

/// Passes headers until IP begins.
pub(super) fn resolve(first: Next, frame: Linked<'_>) -> Result<Linked<'_>, Undecodable> {
    // Nearly every frame is this.
    if first == Next::Ethernet
        && let Some(IPV4 | IPV6) = u16_at(frame.rest, 12)
    {
        return ethernet(frame).map(|(_, frame)| frame);
    }
    let (mut next, mut frame) = (first, frame);
    for _ in 0..MAX_HEADERS {
        if next == Next::Ip {
            return Ok(frame);
        }
        (next, frame) = step(next, frame)?;
    }
    if next == Next::Ip { Ok(frame) } else { Err(Undecodable::NotIp) }
}

type Step<'a> = Result<(Next, Linked<'a>), Undecodable>;

fn step(next: Next, frame: Linked<'_>) -> Step<'_> {
    match next {
        Next::Ip => Ok((Next::Ip, frame)),
        Next::Ethernet => ethernet(frame),
        Next::EtherType(kind) => by_type(kind, frame),
        Next::Llc => llc(frame),
        Next::Vlan => vlan(frame),
        Next::PortExtender => typed(frame, 6, 8),
        Next::Backbone => Ok((Next::Ethernet, frame.skip(4))),
        Next::Mpls => mpls(frame),
        Next::PppoeSession => ppp::over_ethernet(frame),
        Next::Ppp => ppp::frame(frame),
        Next::CiscoHdlc => typed(frame, 2, 4),
    }
}

fn by_type(kind: u16, frame: Linked<'_>) -> Step<'_> {
    let next = match kind {
        IPV4 | IPV6 => Next::Ip,
        ARP => return Err(Undecodable::Arp),
        // 802.1Q, 802.1ad, and the tag that came before 802.1ad.
        0x8100 | 0x88a8 | 0x9100 => Next::Vlan,
        0x8847 | 0x8848 => Next::Mpls,
        0x8864 => Next::PppoeSession,
        0x880b => Next::Ppp,
        0x893f => Next::PortExtender,
        0x88e7 => Next::Backbone,
        BRIDGED => Next::Ethernet,
        ETH_P_802_2 => Next::Llc,
        _ if kind < LEAST => return Ok((Next::Llc, frame.first(u32::from(kind)))),
        _ => return Err(Undecodable::NotIp),
    };
    Ok((next, frame))
}

/// What a tunnel's protocol type names: an Ethernet type, never a length.
pub(super) const fn tunnelled(kind: u16) -> Option<Next> {
    match kind {
        BRIDGED => Some(Next::Ethernet),
        LEAST.. => Some(Next::EtherType(kind)),
        _ => None,
    }
}

/// A header with an Ethernet type at `at`, `len` bytes long.
fn typed(frame: Linked<'_>, at: usize, len: u32) -> Step<'_> {
    let kind = u16_at(frame.rest, at).ok_or_else(|| missing(frame.rest, frame.wire_len, len))?;
    Ok((Next::EtherType(kind), frame.skip(len)))
}

fn ethernet(frame: Linked<'_>) -> Step<'_> {
    let destination = mac_at(frame.rest, 0).ok_or(Undecodable::Truncated)?;
    let source = mac_at(frame.rest, 6).ok_or(Undecodable::Truncated)?;
    let kind = u16_at(frame.rest, 12).ok_or(Undecodable::Truncated)?;
    Ok((Next::EtherType(kind), Linked { ethernet: Some((source, destination)), ..frame.skip(14) }))
}

fn vlan(mut frame: Linked<'_>) -> Step<'_> {
    let tag = u16_at(frame.rest, 0).ok_or(Undecodable::Truncated)?;
    frame.vlans.push(tag);
    let kind = u16_at(frame.rest, 2).ok_or(Undecodable::Truncated)?;
    Ok((Next::EtherType(kind), frame.skip(4)))
}

/// With SNAP and organisation 0 it carries an Ethernet type (RFC 1042); IP has an access point of its own, too.
fn llc(frame: Linked<'_>) -> Step<'_> {
    if frame.rest.starts_with(&[6, 6, 3]) {
        return Ok((Next::Ip, frame.skip(3)));
    }
    let llc: &[u8; 8] = frame.rest.first_chunk().ok_or_else(|| missing(frame.rest, frame.wire_len, 8))?;
    match *llc {
        [0xaa, 0xaa, 3, 0, 0, 0, high, low] => {
            Ok((Next::EtherType(u16::from_be_bytes([high, low])), frame.skip(8)))
        }
        _ => Err(Undecodable::NotIp),
    }
}

/// One label; behind the last one, which its lowest bit of the third byte marks, the first nibble tells what is there
/// (RFC 4928 section 3): IP by its version, else the Ethernet frame of a pseudo-wire, with a control word or without.
fn mpls(frame: Linked<'_>) -> Step<'_> {
    let label = u32_at(frame.rest, 0).ok_or_else(|| missing(frame.rest, frame.wire_len, 4))?;
    let frame = frame.skip(4);
    if label & 0x100 == 0 {
        return Ok((Next::Mpls, frame));
    }
    match u8_at(frame.rest, 0).ok_or_else(|| missing(frame.rest, frame.wire_len, 1))? >> 4 {
        4 | 6 => Ok((Next::Ip, frame)),
        // What begins with a 1 is the pseudo-wire's own channel (RFC 4385 section 5).
        1 => Err(Undecodable::NotIp),
        0 if !is_ethernet(&frame) => Ok((Next::Ethernet, frame.skip(4))),
        _ => Ok((Next::Ethernet, frame)),
    }
}

/// A MAC address may begin with a nibble 0 as a control word does: then the type tells.
fn is_ethernet(frame: &Linked<'_>) -> bool {
    matches!(u16_at(frame.rest, 12), Some(IPV4 | IPV6 | ARP | 0x8100 | 0x88a8 | 0x8847 | 0x8864))
}
