//! Frame -> [`Packet`]: link, network, transport and tunnel headers, borrowed from the frame. Bytes end here.
//!
//! The innermost packet is the packet; what it was wrapped in is its [`Tunnel`]. Nothing is allocated, nothing panics on any
//! input: what cannot be read is an [`Undecodable`], counted by its reason. No state between packets.

use std::net::IpAddr;

use weir_cluster::UnixNanos;

use crate::capture::{Direction, Frame, InterfaceId};
use crate::tuple::{IpProtocol, Tuple};

mod ip;
mod link;
mod transport;
mod tunnel;
mod wire;

#[cfg(test)]
mod corpus;
#[cfg(test)]
mod tests;

/// A decoded packet.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    /// Capture time.
    pub at: UnixNanos,
    /// Device.
    pub interface: InterfaceId,
    /// Which way it passed the device.
    pub direction: Direction,
    /// Whole frame on the device, bytes, as the capture counts it.
    pub frame_len: u32,
    /// Source and destination MAC of the innermost Ethernet header, where there is one.
    pub ethernet: Option<([u8; 6], [u8; 6])>,
    /// Addresses and ports. Ports are 0 on later fragments and protocols without.
    pub tuple: Tuple,
    /// Bytes from the (inner) IP header on, by its own length field.
    pub ip_len: u32,
    /// IPv4 identification; of IPv6 only in a fragment header.
    pub ip_id: Option<u32>,
    /// Time to live, or hop limit.
    pub ttl: u8,
    /// Fragment state.
    pub fragment: Fragment,
    /// The layer above IP.
    pub transport: Transport<'a>,
    /// What the packet was wrapped in, innermost wrapping.
    pub tunnel: Option<Tunnel>,
    /// The capture cut the packet short.
    pub truncated: bool,
}

impl Packet<'_> {
    /// True for what is to IP what ARP is: neighbour and router discovery (RFC 4861: ICMPv6 types 133 to 137) and who listens to
    /// which multicast group (RFC 3810: 130 to 132 and 143; IGMP). It never leaves its link, and every device is full of it.
    #[must_use]
    pub const fn is_about_the_link(&self) -> bool {
        match self.transport {
            Transport::Icmp(Icmp { kind, .. }) => {
                self.tuple.protocol.0 == IpProtocol::ICMPV6.0 && matches!(kind, 130..=137 | 143)
            }
            _ => self.tuple.protocol.0 == IpProtocol::IGMP.0,
        }
    }
}

/// Whether a packet is a whole datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fragment {
    /// Not fragmented.
    Whole,
    /// The first piece: it has the ports.
    First,
    /// A later piece: no ports.
    Later,
}

/// The layer above IP.
#[derive(Clone, Copy, Debug)]
pub enum Transport<'a> {
    /// TCP.
    Tcp(Tcp<'a>),
    /// UDP and its payload as captured.
    Udp {
        /// Payload bytes captured.
        payload: &'a [u8],
        /// Payload bytes by the header's length.
        payload_len: u32,
    },
    /// SCTP, by its first chunk's type (RFC 9260 section 3.2).
    Sctp {
        /// Type of the first chunk, where captured.
        first_chunk: Option<u8>,
        /// Bytes behind the common header.
        payload_len: u32,
    },
    /// ICMP or ICMPv6, by the tuple's protocol.
    Icmp(Icmp),
    /// Another protocol, or a later fragment.
    Other {
        /// Bytes behind the IP header.
        payload_len: u32,
    },
}

/// A TCP segment.
#[derive(Clone, Copy, Debug)]
pub struct Tcp<'a> {
    /// Sequence number.
    pub sequence: u32,
    /// Acknowledgement number.
    pub acknowledgement: u32,
    /// Flags.
    pub flags: TcpFlags,
    /// Window as sent, unscaled.
    pub window: u16,
    /// Maximum segment size option, on a SYN.
    pub mss: Option<u16>,
    /// Timestamp option: value and echo (RFC 7323).
    pub timestamps: Option<(u32, u32)>,
    /// Payload bytes captured.
    pub payload: &'a [u8],
    /// Payload bytes by the headers' lengths.
    pub payload_len: u32,
}

/// TCP flags as on the wire: FIN 1, SYN 2, RST 4, PSH 8, ACK 16, URG 32, ECE 64, CWR 128, NS (AE) 256.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TcpFlags(pub u16);

impl TcpFlags {
    /// FIN.
    pub const FIN: Self = Self(1);
    /// SYN.
    pub const SYN: Self = Self(2);
    /// RST.
    pub const RST: Self = Self(4);
    /// PSH.
    pub const PSH: Self = Self(8);
    /// ACK.
    pub const ACK: Self = Self(16);
    /// URG.
    pub const URG: Self = Self(32);
    /// ECE.
    pub const ECE: Self = Self(64);
    /// CWR.
    pub const CWR: Self = Self(128);
    /// NS, now AE.
    pub const NS: Self = Self(256);

    /// True if all of `flags` are set.
    #[must_use]
    pub const fn has(self, flags: Self) -> bool {
        self.0 & flags.0 == flags.0
    }

    /// Both sets of flags.
    #[must_use]
    pub const fn with(self, flags: Self) -> Self {
        Self(self.0 | flags.0)
    }
}

/// An ICMP or ICMPv6 message.
#[derive(Clone, Copy, Debug)]
pub struct Icmp {
    /// Type.
    pub kind: u8,
    /// Code.
    pub code: u8,
    /// The packet it is about, where it quotes one: its tuple as far as quoted, and the TCP sequence number.
    pub quoted: Option<Quoted>,
    /// Next-hop MTU of "fragmentation needed" or "packet too big".
    pub mtu: Option<u32>,
}

/// The packet that an ICMP error quotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quoted {
    /// Its addresses and ports.
    pub tuple: Tuple,
    /// Its TCP sequence number.
    pub tcp_sequence: Option<u32>,
}

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
    /// VXLAN network identifier or key, 0 without.
    pub vni: u32,
}

/// Kinds of encapsulation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TunnelProtocol {
    /// VXLAN (RFC 7348).
    Vxlan,
}

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
}

impl Default for Settings {
    /// Linux' and flannel's 8472, IANA's 4789, Weave's 6784.
    fn default() -> Self {
        Self { vxlan_ports: vec![8472, 4789, 6784] }
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
    /// None: as long as the IP packet.
    frame_len: Option<u32>,
}

impl Envelope {
    const fn of(packet: &Packet<'_>) -> Self {
        Self {
            at: packet.at,
            interface: packet.interface,
            direction: packet.direction,
            frame_len: Some(packet.frame_len),
        }
    }
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
    let packet = assemble(envelope, linked.ethernet, linked.rest, Some(linked.wire_len))?;
    tunnel::innermost(packet, settings)
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
    let packet = assemble(envelope, None, bytes, None)?;
    tunnel::innermost(packet, settings)
}

/// Makes the packet whose IP header `bytes` begin with; `wire_len` is how much followed on the wire, where known.
fn assemble<'a>(
    envelope: Envelope,
    ethernet: Option<([u8; 6], [u8; 6])>,
    bytes: &'a [u8],
    wire_len: Option<u32>,
) -> Result<Packet<'a>, Undecodable> {
    let datagram = ip::read(bytes, wire_len)?;
    let (ports, transport) = transport::read(&datagram)?;
    Ok(Packet {
        at: envelope.at,
        interface: envelope.interface,
        direction: envelope.direction,
        frame_len: envelope.frame_len.unwrap_or(datagram.ip_len),
        ethernet,
        tuple: Tuple::new(datagram.protocol, (datagram.source, ports.0), (datagram.destination, ports.1)),
        ip_len: datagram.ip_len,
        ip_id: datagram.ip_id,
        ttl: datagram.ttl,
        fragment: datagram.fragment,
        transport,
        tunnel: None,
        truncated: datagram.truncated,
    })
}
