//! GRE (RFC 2784, RFC 2890), its version 1 that carries PPP (RFC 2637 section 4.1), and mirrored frames in it: ERSPAN I, II
//! and III (draft-foschiano-erspan sections 4.1 to 4.3).
//!
//! Source routes of RFC 1701 are refused, as by Linux.

use super::{Linked, Next, Opened, TunnelProtocol, u8_at};
use crate::decode::wire::{u16_at, u32_at};

const CHECKSUM: u16 = 0x8000;
const ROUTING: u16 = 0x4000;
const KEY: u16 = 0x2000;
const SEQUENCE: u16 = 0x1000;
/// Version 1 alone.
const ACKNOWLEDGEMENT: u16 = 0x0080;
const VERSION: u16 = 0x0007;

/// Ethernet types that GRE alone carries.
const ERSPAN: u16 = 0x88be;
const ERSPAN_III: u16 = 0x22eb;
const WCCP: u16 = 0x883e;

/// What GRE's own header says.
struct Header<'a> {
    flags: u16,
    kind: u16,
    key: u32,
    rest: Linked<'a>,
}

pub(super) fn open(payload: Linked<'_>) -> Option<Opened<'_>> {
    let header = header(payload)?;
    match header.kind {
        ERSPAN => erspan(&header),
        ERSPAN_III => erspan3(&header),
        WCCP => wccp(&header),
        kind => Opened::typed(TunnelProtocol::Gre, header.key, kind, header.rest),
    }
}

fn header(payload: Linked<'_>) -> Option<Header<'_>> {
    let flags = u16_at(payload.rest, 0)?;
    let kind = u16_at(payload.rest, 2)?;
    let (version, has) = (flags & VERSION, |flag: u16| flags & flag != 0);
    if version > 1 || has(ROUTING) {
        return None;
    }
    let mut rest = payload.skip(4);
    if has(CHECKSUM) {
        rest = rest.skip(4);
    }
    let mut key = 0;
    if has(KEY) {
        key = u32_at(rest.rest, 0)?;
        rest = rest.skip(4);
    }
    if has(SEQUENCE) {
        rest = rest.skip(4);
    }
    if version == 1 {
        // The key's place holds length and call there, which are no network's.
        key = 0;
        rest = if has(ACKNOWLEDGEMENT) { rest.skip(4) } else { rest };
    }
    Some(Header { flags, kind, key, rest })
}

/// Type I has no header; type II is marked by a sequence number in GRE.
fn erspan<'a>(header: &Header<'a>) -> Option<Opened<'a>> {
    if header.flags & SEQUENCE == 0 {
        return Some(mirrored(0, Next::Ethernet, header.rest));
    }
    let word = u32_at(header.rest.rest, 0)?;
    (word >> 28 == 1).then(|| mirrored(session(word), Next::Ethernet, header.rest.skip(8)))
}

/// Twelve bytes, and eight more where their last bit says so; five bits before tell Ethernet (0) from IP (2).
fn erspan3<'a>(header: &Header<'a>) -> Option<Opened<'a>> {
    let word = u32_at(header.rest.rest, 0)?;
    let last = u16_at(header.rest.rest, 10)?;
    let next = match last >> 10 & 0x1f {
        0 => Next::Ethernet,
        2 => Next::Ip,
        _ => return None,
    };
    let len = if last & 1 == 0 { 12 } else { 20 };
    (word >> 28 == 2).then(|| mirrored(session(word), next, header.rest.skip(len)))
}

const fn session(word: u32) -> u32 {
    word & 0x3ff
}

fn mirrored(vni: u32, next: Next, rest: Linked<'_>) -> Opened<'_> {
    Opened { protocol: TunnelProtocol::Erspan, vni, next, rest }
}

/// A redirected packet, from version 2 on behind four bytes; those do not begin as IPv4 does.
fn wccp<'a>(header: &Header<'a>) -> Option<Opened<'a>> {
    let is_bare = u8_at(header.rest.rest, 0)? >> 4 == 4;
    let rest = if is_bare { header.rest } else { header.rest.skip(4) };
    Some(Opened { protocol: TunnelProtocol::Gre, vni: header.key, next: Next::Ip, rest })
}
