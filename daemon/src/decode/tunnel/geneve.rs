//! Geneve (RFC 8926 section 3.4): version, length of the options, Ethernet type, network identifier, options.

use super::{Linked, Opened, TunnelProtocol, u8_at};
use crate::decode::wire::{u16_at, u32_at};

/// Another version is to be dropped by who receives it (section 3.4), so it is no tunnel. Options are passed over, as they
/// may be by transit nodes.
pub(super) fn open(payload: Linked<'_>) -> Option<Opened<'_>> {
    let first = u8_at(payload.rest, 0)?;
    if first >> 6 != 0 {
        return None;
    }
    let options = u32::from(first & 0x3f) * 4;
    let kind = u16_at(payload.rest, 2)?;
    let vni = u32_at(payload.rest, 4)? >> 8;
    Opened::typed(TunnelProtocol::Geneve, vni, kind, payload.skip(8 + options))
}
