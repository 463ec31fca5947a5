//! What decoding yields: a packet's ends, lengths and transport header, in types of their own.
//!
//! Borrowed from the frame and small: it is copied, never allocated. Lengths are those that headers tell of the wire, while
//! slices hold what was captured.

use weir_cluster::UnixNanos;

use super::wrapping::{DatagramId, Opaque, Tunnel, Vlans, Wrappings};
use crate::capture::{Direction, InterfaceId};
use crate::tuple::{IpProtocol, Tuple};

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
    /// VLAN identifiers, of the frame and of frames in its tunnels.
    pub vlans: Vlans,
    /// What the packet was wrapped in, innermost wrapping.
    pub tunnel: Option<Tunnel>,
    /// All that it was wrapped in.
    pub wrappings: Wrappings<'a>,
    /// What it wraps itself, where nobody can read that.
    pub opaque: Option<Opaque>,
    /// The capture cut the packet short.
    pub truncated: bool,
}

impl Packet<'_> {
    /// The datagram that this packet, the first piece or a later one, is a piece of; None where it has no identification.
    #[must_use]
    pub fn datagram(&self) -> Option<DatagramId> {
        let Tuple { protocol, source, destination } = self.tuple;
        Some(DatagramId::of(protocol, source.ip(), destination.ip(), self.ip_id?))
    }

    /// What is to IP what ARP is. It never leaves its link, and every device is full of it; None for everything else.
    #[must_use]
    pub const fn about_the_link(&self) -> Option<LinkMatter> {
        match self.transport {
            Transport::Icmp(Icmp { kind, .. }) if self.tuple.protocol.0 == IpProtocol::ICMPV6.0 => match kind
            {
                133..=137 => Some(LinkMatter::Neighbours),
                130..=132 | 143 => Some(LinkMatter::Memberships),
                _ => None,
            },
            _ if self.tuple.protocol.0 == IpProtocol::IGMP.0 => Some(LinkMatter::Memberships),
            _ => None,
        }
    }

    /// True if it is such a matter.
    #[must_use]
    pub const fn is_about_the_link(&self) -> bool {
        self.about_the_link().is_some()
    }
}

/// What packets of IP say of their link alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkMatter {
    /// Neighbour and router discovery (RFC 4861: ICMPv6 types 133 to 137).
    Neighbours,
    /// Who listens to which multicast group (RFC 3810: ICMPv6 types 130 to 132 and 143; IGMP).
    Memberships,
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
    /// SCTP, by its chunks (RFC 9260 section 3.2).
    Sctp {
        /// Type of the first chunk, where captured.
        first_chunk: Option<u8>,
        /// Types of all chunks that were captured.
        chunks: Chunks,
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

/// Types of chunks in one SCTP packet, of those that RFC 9260 names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Chunks(u16);

impl Chunks {
    /// DATA.
    pub const DATA: u8 = 0;
    /// INIT.
    pub const INIT: u8 = 1;
    /// INIT ACK.
    pub const INIT_ACK: u8 = 2;
    /// ABORT.
    pub const ABORT: u8 = 6;
    /// SHUTDOWN.
    pub const SHUTDOWN: u8 = 7;
    /// SHUTDOWN ACK.
    pub const SHUTDOWN_ACK: u8 = 8;
    /// COOKIE ECHO.
    pub const COOKIE_ECHO: u8 = 10;
    /// COOKIE ACK.
    pub const COOKIE_ACK: u8 = 11;
    /// SHUTDOWN COMPLETE.
    pub const SHUTDOWN_COMPLETE: u8 = 14;

    /// True if a chunk of this type is among them.
    #[must_use]
    pub const fn has(self, kind: u8) -> bool {
        kind < 16 && self.0 & (1 << kind) != 0
    }

    /// These and one more; types that no state depends on are left out.
    #[must_use]
    pub const fn with(self, kind: u8) -> Self {
        if kind < 16 { Self(self.0 | 1 << kind) } else { self }
    }
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
    /// Sequence number and checksum of a message that has an identifier.
    pub echo: Option<(u16, u16)>,
}

/// The packet that an ICMP error quotes; of a quoted tunnel, the packet in it, as far as the quote reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quoted {
    /// Its addresses and ports.
    pub tuple: Tuple,
    /// Its TCP sequence number.
    pub tcp_sequence: Option<u32>,
}
