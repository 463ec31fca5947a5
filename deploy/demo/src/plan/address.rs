//! Addresses of both IP families: everything in the world has one of each, and the world's kind says which are used.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// An IP family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    V4,
    V6,
}

impl Family {
    /// As `ip` spells it: `-4`, `-6`.
    pub fn flag(self) -> &'static str {
        match self {
            Self::V4 => "-4",
            Self::V6 => "-6",
        }
    }

    /// How nft calls it, as a table and as a header.
    pub fn keyword(self) -> &'static str {
        match self {
            Self::V4 => "ip",
            Self::V6 => "ip6",
        }
    }

    /// As Kubernetes spells it; `conntrack` does in small letters.
    pub fn name(self) -> &'static str {
        match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        }
    }

    /// Length of one address.
    pub fn bits(self) -> u8 {
        match self {
            Self::V4 => 32,
            Self::V6 => 128,
        }
    }

    /// flannel's overlay device of this family.
    pub fn overlay_device(self) -> &'static str {
        match self {
            Self::V4 => "flannel.1",
            Self::V6 => "flannel-v6.1",
        }
    }
}

/// One address of each family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses {
    pub v4: Ipv4Addr,
    pub v6: Ipv6Addr,
}

impl Addresses {
    pub const NONE: Self = Self { v4: Ipv4Addr::UNSPECIFIED, v6: Ipv6Addr::UNSPECIFIED };

    pub fn of(self, family: Family) -> IpAddr {
        match family {
            Family::V4 => self.v4.into(),
            Family::V6 => self.v6.into(),
        }
    }

    /// With a port.
    pub fn port(self, family: Family, port: u16) -> SocketAddr {
        SocketAddr::new(self.of(family), port)
    }
}

/// A network of each family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    pub base: Addresses,
    pub v4_length: u8,
    pub v6_length: u8,
}

impl Network {
    /// The address at this number of the network's last byte.
    pub fn at(self, last: u8) -> Addresses {
        self.at_pair(self.base.v4.octets()[2], last)
    }

    /// The address at these numbers of the network's last two bytes.
    pub fn at_pair(self, third: u8, last: u8) -> Addresses {
        let [one, two, own, _] = self.base.v4.octets();
        let mut segments = self.base.v6.segments();
        // A network of 24 bits has its third byte already, and its v6 range in the segment that stands for it.
        let pair = if third == own { u16::from(last) } else { u16::from_be_bytes([third, last]) };
        segments[7] = pair;
        Addresses { v4: Ipv4Addr::new(one, two, third, last), v6: segments.into() }
    }

    pub fn length(self, family: Family) -> u8 {
        match family {
            Family::V4 => self.v4_length,
            Family::V6 => self.v6_length,
        }
    }

    /// As routes and rules spell it.
    pub fn cidr(self, family: Family) -> String {
        format!("{}/{}", self.base.of(family), self.length(family))
    }
}
