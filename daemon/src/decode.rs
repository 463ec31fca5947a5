//! Frame -> [`Packet`]: link, network, transport and tunnel headers, borrowed from the frame. Bytes end here.
//!
//! The innermost packet is the packet; what it was wrapped in is its [`Tunnel`] and [`Wrappings`]. Nothing is allocated,
//! nothing panics on any input: what cannot be read is an [`Undecodable`], counted by its reason. No state between packets.

use weir_cluster::UnixNanos;

use crate::capture::{Direction, Frame, InterfaceId};
use crate::tuple::{IpProtocol, Tuple};

mod ethertype;
mod icmp;
mod ip;
mod link;
mod opaque;
mod packet;
mod ppp;
mod transport;
mod tunnel;
mod wire;
mod wrapping;

#[cfg(test)]
mod corpus;
#[cfg(test)]
mod tests;

pub use packet::{Chunks, Fragment, Icmp, LinkMatter, Packet, Quoted, Tcp, TcpFlags, Transport};
pub use wrapping::{DatagramId, Opaque, Tunnel, TunnelProtocol, Vlans, Wrappings};

use ip::Datagram;
use link::Linked;

/// Why a frame gave no packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Undecodable {
    /// The link type is not known.
    LinkType,
    /// ARP: no IP in it, counted apart.
    Arp,
    /// Another network protocol than IP.
    NotIp,
    /// Cut before the headers were complete.
    Truncated,
    /// A header contradicts itself.
    Malformed,
}

/// What the decoder is told: which UDP ports are tunnels.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Destination ports of VXLAN.
    pub vxlan_ports: Vec<u16>,
    /// Destination ports of Geneve.
    pub geneve_ports: Vec<u16>,
    /// Ports of WireGuard, of either end: its data messages have nothing else to be known by.
    pub wireguard_ports: Vec<u16>,
}

impl Default for Settings {
    /// VXLAN: Linux' and flannel's 8472, IANA's 4789, Weave's 6784. Geneve: IANA's 6081. WireGuard: Calico's and flannel's
    /// 51820 and 51821, Cilium's 51871.
    fn default() -> Self {
        Self {
            vxlan_ports: vec![8472, 4789, 6784],
            geneve_ports: vec![6081],
            wireguard_ports: vec![51_820, 51_821, 51_871],
        }
    }
}

impl IpProtocol {
    /// True for ICMP and ICMPv6.
    #[must_use]
    pub const fn is_icmp(self) -> bool {
        matches!(self, Self::ICMP | Self::ICMPV6)
    }
}

/// What is known of a packet from outside its bytes.
#[derive(Clone, Copy)]
struct Envelope {
    at: UnixNanos,
    interface: InterfaceId,
    direction: Direction,
    /// None: as long as the outermost IP packet.
    frame_len: Option<u32>,
}

/// Decodes a captured frame.
///
/// # Errors
/// The reason why there is no packet in it.
pub fn decode<'a>(frame: &Frame<'a>, settings: &Settings) -> Result<Packet<'a>, Undecodable> {
    // A file may claim that less was on the wire than it holds.
    let frame_len = frame.original_len.max(wire::len_of(frame.bytes));
    let linked = link::read(frame.link, frame.bytes, frame_len)?;
    let direction = match frame.direction {
        Direction::Unknown => linked.direction,
        known => known,
    };
    let envelope =
        Envelope { at: frame.at, interface: frame.interface, direction, frame_len: Some(frame_len) };
    let outermost = Layer::read(&linked, Some(linked.wire_len), settings)?;
    assemble(envelope, outermost, linked.rest, settings)
}

/// Decodes a packet from its IP header on, as NFLOG gives it. Its frame length is its IP length.
///
/// # Errors
/// The reason why there is no packet in it.
pub fn decode_ip<'a>(
    at: UnixNanos,
    interface: InterfaceId,
    direction: Direction,
    bytes: &'a [u8],
    settings: &Settings,
) -> Result<Packet<'a>, Undecodable> {
    let envelope = Envelope { at, interface, direction, frame_len: None };
    let outermost = Layer::read(&Linked::bare(bytes), None, settings)?;
    assemble(envelope, outermost, bytes, settings)
}

/// One packet of IP with its transport header, inside what it was wrapped in.
#[derive(Clone, Copy)]
struct Layer<'a> {
    ethernet: Option<([u8; 6], [u8; 6])>,
    vlans: Vlans,
    datagram: Datagram<'a>,
    ports: (u16, u16),
    transport: Transport<'a>,
}

impl<'a> Layer<'a> {
    /// Reads the packet at `linked`; `wire_len` is how much followed on the wire, where known.
    fn read(linked: &Linked<'a>, wire_len: Option<u32>, settings: &Settings) -> Result<Self, Undecodable> {
        let datagram = ip::read(linked.rest, wire_len)?;
        let (ports, transport) = transport::read(&datagram, settings)?;
        Ok(Self { ethernet: linked.ethernet, vlans: linked.vlans, datagram, ports, transport })
    }
}

/// Opens the tunnels and makes the innermost packet. What cannot be opened is no tunnel, and its packet the packet; ARP in a
/// tunnel is ARP.
fn assemble<'a>(
    envelope: Envelope,
    outermost: Layer<'a>,
    bytes: &'a [u8],
    settings: &Settings,
) -> Result<Packet<'a>, Undecodable> {
    let frame_len = envelope.frame_len.unwrap_or(outermost.datagram.ip_len);
    let (mut layer, mut header) = (outermost, bytes);
    let (mut tunnel, mut wrappings) = (None, Wrappings::around(bytes));
    while !wrappings.is_full() {
        let Some(opened) = tunnel::open(&layer, settings) else {
            break;
        };
        let linked = match opened.inside() {
            Err(Undecodable::Arp) => return Err(Undecodable::Arp),
            Err(_) => break,
            Ok(linked) => linked,
        };
        // A fragmented outer datagram holds the rest of the inner packet in its later pieces.
        let whole = layer.datagram.fragment == Fragment::Whole;
        let Ok(inner) = Layer::read(&linked, whole.then_some(linked.wire_len), settings) else {
            break;
        };
        let around = wrapping::tunnel(&layer.datagram, opened.protocol, opened.vni);
        wrappings.push(header, layer.datagram.fragment, &around);
        tunnel = Some(around);
        layer = inner.inside(&layer);
        header = linked.rest;
    }
    let Layer { ethernet, vlans, datagram, ports, transport } = layer;
    Ok(Packet {
        at: envelope.at,
        interface: envelope.interface,
        direction: envelope.direction,
        frame_len,
        ethernet,
        tuple: Tuple::new(datagram.protocol, (datagram.source, ports.0), (datagram.destination, ports.1)),
        ip_len: datagram.ip_len,
        ip_id: datagram.ip_id,
        ttl: datagram.ttl,
        fragment: datagram.fragment,
        opaque: opaque::of(&datagram, ports, &transport, settings),
        transport,
        vlans,
        tunnel,
        wrappings,
        truncated: datagram.truncated,
    })
}

impl Layer<'_> {
    /// What is true of the outer packet too: cut there is cut here, and a tunnel without MAC addresses lies in one with them.
    fn inside(self, outer: &Self) -> Self {
        let mut vlans = outer.vlans;
        vlans.extend(self.vlans);
        let truncated = self.datagram.truncated || outer.datagram.truncated;
        let datagram = Datagram { truncated, ..self.datagram };
        Self { ethernet: self.ethernet.or(outer.ethernet), vlans, datagram, ..self }
    }
}
