//! An SCTP association by raw sockets (RFC 9260): set up, one message, shut down.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::OwnedFd;
use std::time::Duration;

use anyhow::{Result, ensure};
use rustix::net::{AddressFamily, Protocol, RecvFlags, SendFlags, SocketType, sockopt};
use weir_tests::netns::Netns;

/// Chunk types (RFC 9260 section 3.2).
const INIT: u8 = 1;
const INIT_ACK: u8 = 2;
const SHUTDOWN: u8 = 7;
const SHUTDOWN_ACK: u8 = 8;
const COOKIE_ECHO: u8 = 10;
const COOKIE_ACK: u8 = 11;
const SHUTDOWN_COMPLETE: u8 = 14;

const CLIENT_TAG: u32 = 0x1111_1111;
const SERVER_TAG: u32 = 0x2222_2222;

/// One end: its socket, its port, and where to it sends.
struct End {
    socket: OwnedFd,
    port: u16,
    peer: SocketAddrV4,
}

/// Four packets there and three back, in their order.
pub fn associate(
    client: &Netns,
    service: (Ipv4Addr, u16),
    port: u16,
    server: &Netns,
    server_port: u16,
) -> Result<()> {
    let client = End { socket: open(client)?, port, peer: SocketAddrV4::new(service.0, service.1) };
    // Known once the first packet has come.
    let peer = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port);
    let mut server = End { socket: open(server)?, port: server_port, peer };
    client.send(0, INIT, &begin(CLIENT_TAG))?;
    server.peer = SocketAddrV4::new(server.receive(INIT)?, port);
    server.send(CLIENT_TAG, INIT_ACK, &begin(SERVER_TAG))?;
    client.receive(INIT_ACK)?;
    client.send(SERVER_TAG, COOKIE_ECHO, b"cookie__")?;
    server.receive(COOKIE_ECHO)?;
    server.send(CLIENT_TAG, COOKIE_ACK, &[])?;
    client.receive(COOKIE_ACK)?;
    client.send(SERVER_TAG, SHUTDOWN, &[0, 0, 0, 1])?;
    server.receive(SHUTDOWN)?;
    server.send(CLIENT_TAG, SHUTDOWN_ACK, &[])?;
    client.receive(SHUTDOWN_ACK)?;
    client.send(SERVER_TAG, SHUTDOWN_COMPLETE, &[])?;
    server.receive(SHUTDOWN_COMPLETE).map(drop)
}

fn open(at: &Netns) -> Result<OwnedFd> {
    at.enter(|| {
        let sctp = Protocol::from_raw(132.try_into()?);
        let socket = rustix::net::socket(AddressFamily::INET, SocketType::RAW, Some(sctp))?;
        sockopt::set_socket_timeout(&socket, sockopt::Timeout::Recv, Some(Duration::from_secs(10)))?;
        Ok(socket)
    })
}

/// The body of INIT and INIT ACK (RFC 9260 section 3.3.2): tag, window, streams each way, first number.
fn begin(tag: u32) -> Vec<u8> {
    [&tag.to_be_bytes()[..], &[0, 1, 0, 0], &[0, 1, 0, 1], &[0, 0, 0, 1]].concat()
}

impl End {
    /// One packet of one chunk (RFC 9260 section 3).
    fn send(&self, tag: u32, kind: u8, body: &[u8]) -> Result<()> {
        let mut packet = Vec::new();
        packet.extend(self.port.to_be_bytes());
        packet.extend(self.peer.port().to_be_bytes());
        packet.extend(tag.to_be_bytes());
        packet.extend([0; 4]);
        packet.extend([kind, 0]);
        packet.extend(u16::try_from(4 + body.len())?.to_be_bytes());
        packet.extend(body);
        let checksum = crc32c(&packet).to_le_bytes();
        packet[8..12].copy_from_slice(&checksum);
        rustix::net::sendto(&self.socket, &packet, SendFlags::empty(), &self.peer)?;
        Ok(())
    }

    /// Waits for a packet with this chunk, and says who sent it.
    fn receive(&self, kind: u8) -> Result<Ipv4Addr> {
        let mut packet = [0; 2048];
        let (_, len) = rustix::net::recv(&self.socket, &mut packet[..], RecvFlags::empty())?;
        let header = usize::from(packet[0] & 0xf) * 4;
        ensure!(len > header + 12 && packet[header + 12] == kind, "chunk {} for {kind}", packet[header + 12]);
        Ok(Ipv4Addr::new(packet[12], packet[13], packet[14], packet[15]))
    }
}

/// RFC 9260 appendix A: the Castagnoli polynomial, bits reversed.
fn crc32c(bytes: &[u8]) -> u32 {
    let step = |crc: u32| if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 };
    let all = bytes.iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), |crc, _| step(crc)));
    !all
}
