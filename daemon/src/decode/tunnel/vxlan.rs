//! VXLAN (RFC 7348 section 5) and its extension by a next protocol (draft-ietf-nvo3-vxlan-gpe section 3).

use super::{Linked, Next, Opened, TunnelProtocol, u8_at};
use crate::decode::wire::u32_at;

/// The network identifier is valid.
const INSTANCE: u8 = 0x08;
/// The last byte of the first word names what is inside.
const NEXT_PROTOCOL: u8 = 0x04;
const HEADER: u32 = 8;

/// Of the flags only I is looked at and must be set, as receivers ignore the reserved ones; but with P and a known protocol,
/// it is the extension, which Linux speaks on the same ports.
pub(super) fn open(payload: Linked<'_>) -> Option<Opened<'_>> {
    let flags = u8_at(payload.rest, 0)?;
    if flags & INSTANCE == 0 {
        return None;
    }
    if flags & NEXT_PROTOCOL != 0 && next(&payload).is_some() {
        return open_gpe(payload);
    }
    let vni = u32_at(payload.rest, 4)? >> 8;
    Some(Opened { protocol: TunnelProtocol::Vxlan, vni, next: Next::Ethernet, rest: payload.skip(HEADER) })
}

/// Without P there should be no next protocol, and Ethernet is inside; without I, no network is named.
pub(super) fn open_gpe(payload: Linked<'_>) -> Option<Opened<'_>> {
    let flags = u8_at(payload.rest, 0)?;
    let next = match u8_at(payload.rest, 3)? {
        0 if flags & NEXT_PROTOCOL == 0 => Next::Ethernet,
        _ => next(&payload)?,
    };
    let number = u32_at(payload.rest, 4)? >> 8;
    let vni = if flags & INSTANCE == 0 { 0 } else { number };
    Some(Opened { protocol: TunnelProtocol::VxlanGpe, vni, next, rest: payload.skip(HEADER) })
}

fn next(payload: &Linked<'_>) -> Option<Next> {
    match u8_at(payload.rest, 3)? {
        1 | 2 => Some(Next::Ip),
        3 => Some(Next::Ethernet),
        5 => Some(Next::Mpls),
        _ => None,
    }
}
