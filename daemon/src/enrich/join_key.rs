//! The key by which two nodes' views of one connection find each other: protocol and tuple as the backend sees it.
//!
//! Both nodes see that tuple: the backend's in its packets, the client's in its conntrack (the reply reversed) or in the packets
//! that leave it. A node that translates what another has sent it tells the key of the tuple before that too. The ends are ordered by value, not by who called: a node that joined mid-stream may have them the other way.

use crate::tuple::Tuple;

/// XXH3 (64 bits) of one byte of protocol, then each end's address (16 bytes, IPv4 mapped) and port (big endian), lesser first.
/// Never 0, which means "none" on the wire.
pub(super) fn of(backend: Tuple) -> u64 {
    let (mut first, mut second) = (backend.source, backend.destination);
    if first > second {
        std::mem::swap(&mut first, &mut second);
    }
    let mut bytes = [0_u8; 37];
    bytes[0] = backend.protocol.0;
    for (end, room) in [first, second].into_iter().zip(bytes[1..].chunks_exact_mut(18)) {
        let address = match end.ip() {
            std::net::IpAddr::V4(address) => address.to_ipv6_mapped(),
            std::net::IpAddr::V6(address) => address,
        };
        room[..16].copy_from_slice(&address.octets());
        room[16..].copy_from_slice(&end.port().to_be_bytes());
    }
    xxhash_rust::xxh3::xxh3_64(&bytes).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tuple::IpProtocol;

    #[test]
    fn both_directions_have_one_key_and_others_another() {
        let tuple = Tuple {
            protocol: IpProtocol::TCP,
            source: "10.244.1.5:40000".parse().unwrap(),
            destination: "10.244.2.7:8080".parse().unwrap(),
        };
        assert_eq!(of(tuple), of(tuple.reversed()));
        assert_ne!(of(tuple), of(Tuple { protocol: IpProtocol::UDP, ..tuple }));
        let swapped = Tuple {
            source: "10.244.1.5:8080".parse().unwrap(),
            destination: "10.244.2.7:40000".parse().unwrap(),
            ..tuple
        };
        assert_ne!(of(tuple), of(swapped));
    }

    #[test]
    fn the_key_is_the_same_in_every_version() {
        let tuple = Tuple {
            protocol: IpProtocol::UDP,
            source: "[fd00::1]:53".parse().unwrap(),
            destination: "[fd00::2]:5353".parse().unwrap(),
        };
        insta::assert_snapshot!(format!("{:016x}", of(tuple)));
    }
}
