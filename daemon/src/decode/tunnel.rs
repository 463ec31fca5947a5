//! Tunnel headers -> where the frame or packet inside begins. A new encapsulation is one line in [`open`] or [`by_port`].
//!
//! Only headers are read here; whether what is inside is a packet is for the caller, and if it is none, the outer packet is
//! the packet and nothing is lost.

use super::ethertype::{self, Next};
use super::ip::Datagram;
use super::link::Linked;
use super::transport::{self, Ports};
use super::wire::u8_at;
use super::{Fragment, Layer, Settings, Transport, TunnelProtocol, Undecodable};
use crate::tuple::IpProtocol;

mod geneve;
mod gre;
mod vxlan;

/// IANA's ports of VXLAN-GPE, and of MPLS.
const GPE_PORT: u16 = 4790;
const MPLS_PORT: u16 = 6635;

/// A tunnel's header, and what is behind it.
pub(super) struct Opened<'a> {
    pub(super) protocol: TunnelProtocol,
    /// As in [`super::Tunnel::vni`].
    pub(super) vni: u32,
    next: Next,
    rest: Linked<'a>,
}

impl<'a> Opened<'a> {
    /// Where the IP packet inside begins.
    pub(super) fn inside(&self) -> Result<Linked<'a>, Undecodable> {
        ethertype::resolve(self.next, self.rest)
    }

    /// With an Ethernet type that names what is behind the header; a number that is none is no tunnel's.
    fn typed(protocol: TunnelProtocol, vni: u32, kind: u16, rest: Linked<'a>) -> Option<Self> {
        let next = ethertype::tunnelled(kind)?;
        Some(Self { protocol, vni, next, rest })
    }
}

/// The tunnel that a packet is, if it is one.
pub(super) fn open<'a>(layer: &Layer<'a>, settings: &Settings) -> Option<Opened<'a>> {
    match layer.transport {
        Transport::Udp { payload, payload_len } => {
            by_port(layer.ports, Linked::new(payload, payload_len), settings)
        }
        Transport::Other { .. } => by_protocol(&layer.datagram),
        _ => None,
    }
}

/// Where the packet begins that is in a quoted one, as far as it was quoted.
pub(super) fn quoted<'a>(datagram: &Datagram<'a>, settings: &Settings) -> Option<&'a [u8]> {
    let opened = match datagram.protocol {
        IpProtocol::UDP if datagram.fragment != Fragment::Later => {
            by_port(transport::ports(datagram)?, Linked::bare(datagram.payload).skip(8), settings)
        }
        _ => by_protocol(datagram),
    };
    opened?.inside().ok().map(|linked| linked.rest)
}

fn by_protocol<'a>(datagram: &Datagram<'a>) -> Option<Opened<'a>> {
    if datagram.fragment == Fragment::Later {
        return None;
    }
    let payload = Linked::new(datagram.payload, datagram.payload_len);
    match datagram.protocol {
        IpProtocol::IPV4 => ip(datagram, payload, 4),
        IpProtocol::IPV6 => ip(datagram, payload, 6),
        IpProtocol::GRE => gre::open(payload),
        IpProtocol::MPLS => Some(labelled(payload)),
        _ => None,
    }
}

/// The destination's port names the tunnel; where it is none, the source's may, as in answers of user space programs.
fn by_port<'a>(ports: Ports, payload: Linked<'a>, settings: &Settings) -> Option<Opened<'a>> {
    let is = |known: &[u16]| known.contains(&ports.1) || known.contains(&ports.0);
    if is(&settings.vxlan_ports) {
        vxlan::open(payload)
    } else if is(&settings.geneve_ports) {
        geneve::open(payload)
    } else if is(&[GPE_PORT]) {
        vxlan::open_gpe(payload)
    } else if ports.1 == MPLS_PORT {
        Some(labelled(payload))
    } else {
        None
    }
}

/// IP in IP has no header of its own: the version inside must be the one that the protocol number names.
fn ip<'a>(datagram: &Datagram<'a>, rest: Linked<'a>, version: u8) -> Option<Opened<'a>> {
    if u8_at(rest.rest, 0)? >> 4 != version {
        return None;
    }
    let protocol = match (datagram.source.is_ipv4(), version) {
        (true, 4) => TunnelProtocol::IpIp,
        (true, _) => TunnelProtocol::Sit,
        (false, 4) => TunnelProtocol::IpIp6,
        (false, _) => TunnelProtocol::Ip6Ip6,
    };
    Some(Opened { protocol, vni: 0, next: Next::Ip, rest })
}

/// Labels have no header of their own either.
const fn labelled(rest: Linked<'_>) -> Opened<'_> {
    Opened { protocol: TunnelProtocol::Mpls, vni: 0, next: Next::Mpls, rest }
}
