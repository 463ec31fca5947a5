//! Tunnels that nobody can read: WireGuard and ESP, known by their outside.
//!
//! Their packet stays the packet, between the two nodes; that it is a tunnel is all that is told. WireGuard's handshake is
//! known by its exact lengths on any port, its data by their shape on the ports that are WireGuard's.

use super::ip::Datagram;
use super::wire::u32_at;
use super::{Fragment, Opaque, Settings, Transport};
use crate::tuple::IpProtocol;

/// IPsec behind NAT (RFC 3948 section 2): IKE has four zero bytes where ESP has its index, which is never 0.
const NAT_TRAVERSAL: u16 = 4500;

/// What the packet wraps unreadably, if it does.
pub(super) fn of(
    datagram: &Datagram<'_>,
    ports: (u16, u16),
    transport: &Transport<'_>,
    settings: &Settings,
) -> Option<Opaque> {
    match *transport {
        Transport::Udp { payload: [kind @ 1..=4, 0, 0, 0, ..], payload_len } => {
            let known =
                settings.wireguard_ports.contains(&ports.0) || settings.wireguard_ports.contains(&ports.1);
            is_wireguard(*kind, payload_len, known).then_some(Opaque::WireGuard)
        }
        Transport::Udp { payload, payload_len } if ports.0 == NAT_TRAVERSAL || ports.1 == NAT_TRAVERSAL => {
            let index = u32_at(payload, 0)?;
            (index != 0 && payload_len > 8).then_some(Opaque::Esp)
        }
        Transport::Other { .. } if datagram.protocol == IpProtocol::ESP => {
            (datagram.fragment != Fragment::Later).then_some(Opaque::Esp)
        }
        _ => None,
    }
}

/// Lengths of the four messages (WireGuard whitepaper, section 5.4): initiation, response, cookie, and data that is filled
/// up to 16 bytes.
const fn is_wireguard(kind: u8, len: u32, known_port: bool) -> bool {
    match kind {
        1 => len == 148,
        2 => len == 92,
        3 => len == 64,
        _ => known_port && len >= 32 && len.is_multiple_of(16),
    }
}
