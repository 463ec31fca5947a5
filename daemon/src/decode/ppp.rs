//! PPP frames: on a serial line, in PPPoE, in GRE.
//!
//! What is negotiated away may be missing: address and control (RFC 1662 section 3.1), the protocol's first byte (RFC 1661
//! section 6.5). Control protocols are no IP.

use super::Undecodable;
use super::ethertype::Next;
use super::link::{Linked, missing};
use super::wire::{u8_at, u16_at};

/// Protocol numbers (IANA "PPP DLL Protocol Numbers").
const IPV4: u16 = 0x0021;
const IPV6: u16 = 0x0057;
const MPLS: [u16; 2] = [0x0281, 0x0283];
/// All stations, unnumbered information.
const ADDRESS_AND_CONTROL: u16 = 0xff03;
/// First bytes of Cisco HDLC, unicast and broadcast, which some captures of PPP hold.
const CISCO_HDLC: [u8; 2] = [0x0f, 0x8f];

type Step<'a> = Result<(Next, Linked<'a>), Undecodable>;

/// A frame that begins with its address, or without one with its protocol.
pub(super) fn frame(frame: Linked<'_>) -> Step<'_> {
    let first = u8_at(frame.rest, 0).ok_or_else(|| missing(frame.rest, frame.wire_len, 1))?;
    if CISCO_HDLC.contains(&first) {
        return Ok((Next::CiscoHdlc, frame));
    }
    let frame = if u16_at(frame.rest, 0) == Some(ADDRESS_AND_CONTROL) { frame.skip(2) } else { frame };
    let first = u8_at(frame.rest, 0).ok_or_else(|| missing(frame.rest, frame.wire_len, 1))?;
    // Only the last byte of a protocol number is odd.
    let (protocol, len) = if first & 1 == 1 {
        (u16::from(first), 1)
    } else {
        (u16_at(frame.rest, 0).ok_or_else(|| missing(frame.rest, frame.wire_len, 2))?, 2)
    };
    let next = match protocol {
        IPV4 | IPV6 => Next::Ip,
        protocol if MPLS.contains(&protocol) => Next::Mpls,
        _ => return Err(Undecodable::NotIp),
    };
    Ok((next, frame.skip(len)))
}

/// RFC 2516 section 4: version and type, code, session, length; six bytes. Code 0 is a session's data.
pub(super) fn over_ethernet(frame: Linked<'_>) -> Step<'_> {
    let code = u8_at(frame.rest, 1).ok_or_else(|| missing(frame.rest, frame.wire_len, 6))?;
    let len = u16_at(frame.rest, 4).ok_or_else(|| missing(frame.rest, frame.wire_len, 6))?;
    if code != 0 {
        return Err(Undecodable::NotIp);
    }
    Ok((Next::Ppp, frame.skip(6).first(u32::from(len))))
}
