//! SYNs by the hundred thousand, from senders that do not exist.

use std::net::{Ipv4Addr, SocketAddrV4};

use anyhow::Result;
use rustix::net::{AddressFamily, SendFlags, SocketType, ipproto};
use weir_tests::netns::Netns;

/// Addresses that send, and ports of each.
pub const SENDERS: u8 = 100;
pub const PORTS: u16 = 1000;
const FIRST_SENDER: u8 = 100;
const FIRST_PORT: u16 = 20_000;

/// One of those who send. Odd ones number all their SYNs alike, as a careless attacker does.
pub const fn sender(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 87, 1, FIRST_SENDER + number)
}

/// Sends one SYN from each port of each sender, and says how many left.
pub fn send(at: &Netns, to: SocketAddrV4) -> Result<u64> {
    at.enter(|| {
        let socket = rustix::net::socket(AddressFamily::INET, SocketType::RAW, Some(ipproto::RAW))?;
        let mut sent = 0;
        for port in FIRST_PORT..FIRST_PORT + PORTS {
            for number in 0..SENDERS {
                let from = SocketAddrV4::new(sender(number), port);
                let unlike = u32::from(port) * 65_537 + u32::from(number) * 257;
                let sequence = if number % 2 == 0 { unlike } else { 7 };
                let packet = syn(from, to, sequence);
                sent += u64::from(
                    rustix::net::sendto(&socket, &packet, SendFlags::empty(), &to)? == packet.len(),
                );
            }
        }
        Ok(sent)
    })
}

/// IPv4 and TCP headers without options (RFC 791 section 3.1, RFC 9293 section 3.1). The kernel fills in the IP checksum.
fn syn(from: SocketAddrV4, to: SocketAddrV4, sequence: u32) -> [u8; 40] {
    let mut packet = [0; 40];
    packet[0] = 0x45;
    packet[2..4].copy_from_slice(&40_u16.to_be_bytes());
    packet[8] = 64;
    packet[9] = 6;
    packet[12..16].copy_from_slice(&from.ip().octets());
    packet[16..20].copy_from_slice(&to.ip().octets());
    packet[20..22].copy_from_slice(&from.port().to_be_bytes());
    packet[22..24].copy_from_slice(&to.port().to_be_bytes());
    packet[24..28].copy_from_slice(&sequence.to_be_bytes());
    packet[32] = 5 << 4;
    packet[33] = 2;
    packet[34..36].copy_from_slice(&512_u16.to_be_bytes());
    // The pseudo header adds protocol and length to the addresses.
    let sum =
        packet[12..].chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum::<u32>()
            + 6
            + 20;
    let folded = (sum & 0xffff) + (sum >> 16);
    let checksum = !u16::try_from((folded & 0xffff) + (folded >> 16)).unwrap();
    packet[36..38].copy_from_slice(&checksum.to_be_bytes());
    packet
}
