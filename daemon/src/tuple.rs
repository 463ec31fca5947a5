//! The address form of a conversation: protocol, addresses and ports, in one direction.
//!
//! Every stage speaks of connections in these terms: the decoder yields them, conntrack and NFLOG name them, the tracker
//! looks them up. A tuple says nothing about who is the client; [`FormKey`] is the same for both directions.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::{IpAddr, SocketAddr};

/// An IP protocol number (IANA "Assigned Internet Protocol Numbers").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IpProtocol(pub u8);

impl IpProtocol {
    /// ICMP for IPv4.
    pub const ICMP: Self = Self(1);
    /// IPv4 in another packet (RFC 2003).
    pub const IPV4: Self = Self(4);
    /// IGMP.
    pub const IGMP: Self = Self(2);
    /// TCP.
    pub const TCP: Self = Self(6);
    /// UDP.
    pub const UDP: Self = Self(17);
    /// IPv6 in another packet (RFC 2473, RFC 4213).
    pub const IPV6: Self = Self(41);
    /// Generic routing encapsulation.
    pub const GRE: Self = Self(47);
    /// IPsec, encrypted.
    pub const ESP: Self = Self(50);
    /// IPsec, authenticated only.
    pub const AH: Self = Self(51);
    /// ICMP for IPv6.
    pub const ICMPV6: Self = Self(58);
    /// MPLS in another packet (RFC 4023).
    pub const MPLS: Self = Self(137);
    /// SCTP.
    pub const SCTP: Self = Self(132);
}

impl fmt::Display for IpProtocol {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::ICMP => out.write_str("icmp"),
            Self::TCP => out.write_str("tcp"),
            Self::UDP => out.write_str("udp"),
            Self::ICMPV6 => out.write_str("icmpv6"),
            Self::SCTP => out.write_str("sctp"),
            Self(number) => write!(out, "ip-proto-{number}"),
        }
    }
}

/// Protocol, source and destination of a packet. Ports are 0 where the protocol has none; for ICMP echo both are the
/// identifier, so that request and reply are each other's reverse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tuple {
    /// IP protocol number.
    pub protocol: IpProtocol,
    /// Sender.
    pub source: SocketAddr,
    /// Receiver.
    pub destination: SocketAddr,
}

impl Tuple {
    /// A tuple of plain addresses; IPv6 scope and flow label play no part in it.
    #[must_use]
    pub fn new(protocol: IpProtocol, source: (IpAddr, u16), destination: (IpAddr, u16)) -> Self {
        Self { protocol, source: source.into(), destination: destination.into() }
    }

    /// The same conversation, seen from the other end.
    #[must_use]
    pub const fn reversed(self) -> Self {
        Self { protocol: self.protocol, source: self.destination, destination: self.source }
    }

    /// The key that both directions share.
    #[must_use]
    pub fn form(self) -> FormKey {
        let ends = [self.source, self.destination].map(|end| (bits(end.ip()), end.port()));
        let [low, high] = if ends[0] <= ends[1] { ends } else { [ends[1], ends[0]] };
        FormKey {
            addresses: [low.0, high.0],
            ports: [low.1, high.1],
            protocol: self.protocol,
            v6: self.source.is_ipv6(),
        }
    }
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u32::from(address).into(),
        IpAddr::V6(address) => address.into(),
    }
}

impl fmt::Display for Tuple {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {} -> {}", self.protocol, self.source, self.destination)
    }
}

/// One form of a connection's addresses, without direction. Every packet is looked up by one, so it is kept as numbers, the
/// lower end first, which are compared and hashed as whole words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FormKey {
    addresses: [u128; 2],
    ports: [u16; 2],
    protocol: IpProtocol,
    v6: bool,
}

impl Hash for FormKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let [low, high] = self.ports.map(u64::from);
        state.write_u64(low << 32 | high << 16 | u64::from(self.protocol.0) << 1 | u64::from(self.v6));
        for address in self.addresses {
            if self.v6 {
                state.write_u128(address);
            } else {
                // An IPv4 address is the lowest 32 bits.
                state.write_u64(address as u64);
            }
        }
    }
}
