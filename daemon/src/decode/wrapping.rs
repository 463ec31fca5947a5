//! What a packet was wrapped in: the innermost tunnel at hand, all of them as places in the frame.
//!
//! Hardly anybody asks for more than the innermost one, so the others are kept as where they begin, and read again when
//! asked for. That keeps a packet small. A new encapsulation is one line in [`TunnelProtocol`] and one in `tunnel::open`.

use std::net::IpAddr;

use super::Fragment;
use super::ip::{self, Datagram};
use super::wire::{behind, u16_at};
use crate::tuple::IpProtocol;

/// Tunnels in tunnels that are opened; Linux itself gives up after eight (`XMIT_RECURSION_LIMIT`).
pub(super) const MAX_DEPTH: usize = 4;

/// An encapsulation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tunnel {
    /// Kind.
    pub protocol: TunnelProtocol,
    /// Outer sender.
    pub source: IpAddr,
    /// Outer receiver.
    pub destination: IpAddr,
    /// Outer UDP ports, 0 without.
    pub source_port: u16,
    /// See `source_port`.
    pub destination_port: u16,
    /// Network identifier of VXLAN and Geneve, key of GRE, session of ERSPAN; 0 without.
    pub vni: u32,
}

impl Tunnel {
    /// True if one is the other turned round, but for the ports: those are a hash of what is inside.
    #[must_use]
    pub fn answers(&self, other: &Self) -> bool {
        self.protocol == other.protocol
            && self.vni == other.vni
            && self.source == other.destination
            && self.destination == other.source
    }
}

/// Kinds of encapsulation that are opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TunnelProtocol {
    /// VXLAN (RFC 7348), with or without group policy.
    Vxlan,
    /// VXLAN with a next protocol (draft-ietf-nvo3-vxlan-gpe).
    VxlanGpe,
    /// Geneve (RFC 8926).
    Geneve,
    /// GRE (RFC 2784 and 2890; version 1: RFC 2637).
    Gre,
    /// ERSPAN I, II and III, a mirrored frame in GRE (draft-foschiano-erspan).
    Erspan,
    /// MPLS in IP (RFC 4023) or in UDP (RFC 7510).
    Mpls,
    /// IPv4 in IPv4 (RFC 2003).
    IpIp,
    /// IPv6 in IPv4 (RFC 4213).
    Sit,
    /// IPv6 in IPv6 (RFC 2473).
    Ip6Ip6,
    /// IPv4 in IPv6 (RFC 2473).
    IpIp6,
}

impl TunnelProtocol {
    /// As `ip link` names the kind of device that makes it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Vxlan => "vxlan",
            Self::VxlanGpe => "vxlan-gpe",
            Self::Geneve => "geneve",
            Self::Gre => "gre",
            Self::Erspan => "erspan",
            Self::Mpls => "mpls",
            Self::IpIp => "ipip",
            Self::Sit => "sit",
            Self::Ip6Ip6 => "ip6ip6",
            Self::IpIp6 => "ipip6",
        }
    }
}

/// What a packet is to those who cannot read what is in it: encrypted between two ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Opaque {
    /// WireGuard (wireguard.com/protocol).
    WireGuard,
    /// IPsec ESP (RFC 4303), bare or in UDP (RFC 3948).
    Esp,
}

impl Opaque {
    /// Its usual name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::WireGuard => "wireguard",
            Self::Esp => "esp",
        }
    }
}

/// VLAN identifiers (IEEE 802.1Q clause 9.6), from the outside in, whatever tunnel lies between; 0 is a tag that only has a
/// priority. Of more than four the outermost are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Vlans {
    ids: [u16; 4],
    len: u8,
}

impl Vlans {
    /// The identifiers.
    #[must_use]
    pub fn ids(&self) -> &[u16] {
        self.ids.get(..usize::from(self.len)).unwrap_or_default()
    }

    /// Notes the identifier in a tag's control information: its lowest 12 bits.
    pub(crate) fn push(&mut self, tag: u16) {
        if let Some(id) = self.ids.get_mut(usize::from(self.len)) {
            *id = tag & 0x0fff;
            self.len += 1;
        }
    }

    pub(super) fn extend(&mut self, inner: Self) {
        for id in inner.ids() {
            self.push(*id);
        }
    }
}

/// Where a wrapping begins.
#[derive(Clone, Copy, Debug)]
struct Layer {
    /// Of its IP header, bytes behind the outermost one's beginning.
    at: u16,
    protocol: TunnelProtocol,
    vni: u32,
}

/// All wrappings of a packet.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wrappings<'a> {
    /// From the outermost IP header on.
    bytes: &'a [u8],
    layers: [Option<Layer>; MAX_DEPTH],
    /// One of them is the first piece of a fragmented datagram.
    pieces: bool,
}

/// A datagram that came in pieces, as its later pieces name it (RFC 791 section 3.2, RFC 8200 section 4.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DatagramId {
    protocol: Option<IpProtocol>,
    pub(super) source: IpAddr,
    destination: IpAddr,
    id: u32,
}

impl DatagramId {
    /// By what all its pieces have. In IPv6 that is no protocol: behind the fragment header of a first piece further headers may
    /// come, and its transport's protocol is that of the last.
    pub(super) fn of(protocol: IpProtocol, source: IpAddr, destination: IpAddr, id: u32) -> Self {
        Self { protocol: source.is_ipv4().then_some(protocol), source, destination, id }
    }
}

impl<'a> Wrappings<'a> {
    /// None, of a packet whose IP header `bytes` begin with.
    pub(super) const fn around(bytes: &'a [u8]) -> Self {
        Self { bytes, layers: [None; MAX_DEPTH], pieces: false }
    }

    /// True if no more fit.
    pub(super) const fn is_full(&self) -> bool {
        self.layers[MAX_DEPTH - 1].is_some()
    }

    /// Adds one inside the others.
    pub(super) fn push(&mut self, header: &'a [u8], fragment: Fragment, tunnel: &Tunnel) {
        let place = header.as_ptr().addr().checked_sub(self.bytes.as_ptr().addr());
        let at = place.and_then(|place| u16::try_from(place).ok());
        let free = self.layers.iter_mut().find(|layer| layer.is_none());
        if let (Some(at), Some(free)) = (at, free) {
            *free = Some(Layer { at, protocol: tunnel.protocol, vni: tunnel.vni });
            self.pieces |= fragment == Fragment::First;
        }
    }

    /// The wrappings, outermost first.
    pub fn tunnels(&self) -> impl Iterator<Item = Tunnel> {
        self.read().map(|(layer, datagram)| tunnel(&datagram, layer.protocol, layer.vni))
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.layers.iter().flatten().count()
    }

    /// True of a packet that came bare.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.layers[0].is_none()
    }

    /// The outermost datagram that came in pieces, this being its first: the rest of the packet is in its later ones.
    #[must_use]
    pub fn in_pieces(&self) -> Option<DatagramId> {
        if !self.pieces {
            return None;
        }
        self.read().find_map(|(_, datagram)| {
            let Datagram { protocol, source, destination, .. } = datagram;
            let id = datagram.ip_id?;
            (datagram.fragment == Fragment::First).then(|| DatagramId::of(protocol, source, destination, id))
        })
    }

    fn read(&self) -> impl Iterator<Item = (Layer, Datagram<'a>)> {
        let bytes = self.bytes;
        self.layers.into_iter().flatten().filter_map(move |layer| {
            let datagram = ip::read(behind(bytes, usize::from(layer.at)), None).ok()?;
            Some((layer, datagram))
        })
    }
}

/// The tunnel whose header lies in `datagram`.
pub(super) fn tunnel(datagram: &Datagram<'_>, protocol: TunnelProtocol, vni: u32) -> Tunnel {
    let in_udp = datagram.protocol == IpProtocol::UDP;
    let port = |at| u16_at(datagram.payload, at).filter(|_| in_udp).unwrap_or_default();
    Tunnel {
        protocol,
        source: datagram.source,
        destination: datagram.destination,
        source_port: port(0),
        destination_port: port(2),
        vni,
    }
}
