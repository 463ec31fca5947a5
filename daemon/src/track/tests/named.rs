//! Packets as the kernel names them: from the IP header on.

use std::net::IpAddr;

use etherparse::PacketBuilder;

use super::*;

/// A TCP segment.
pub(super) fn bytes(tuple: Tuple, flags: u16, numbers: (u32, u32)) -> Vec<u8> {
    let (IpAddr::V4(source), IpAddr::V4(destination)) = (tuple.source.ip(), tuple.destination.ip()) else {
        panic!("this test speaks IPv4");
    };
    let mut builder = PacketBuilder::ipv4(source.octets(), destination.octets(), 63).tcp(
        tuple.source.port(),
        tuple.destination.port(),
        numbers.0,
        1000,
    );
    let has = |flag| flags & flag != 0;
    if has(SYN) {
        builder = builder.syn();
    }
    if has(ACK) {
        builder = builder.ack(numbers.1);
    }
    if has(FIN_ACK & !ACK) {
        builder = builder.fin();
    }
    if has(RST_ACK & !ACK) {
        builder = builder.rst();
    }
    let mut packet = Vec::new();
    builder.write(&mut packet, &[]).unwrap();
    packet
}

/// A UDP datagram.
pub(super) fn udp(tuple: Tuple, payload: &[u8]) -> Vec<u8> {
    let (IpAddr::V4(source), IpAddr::V4(destination)) = (tuple.source.ip(), tuple.destination.ip()) else {
        panic!("this test speaks IPv4");
    };
    let mut packet = Vec::new();
    PacketBuilder::ipv4(source.octets(), destination.octets(), 63)
        .udp(tuple.source.port(), tuple.destination.port())
        .write(&mut packet, payload)
        .unwrap();
    packet
}
