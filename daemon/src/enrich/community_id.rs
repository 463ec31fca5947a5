//! Community ID version 1, seed 0: the hash by which other tools name the same connection
//! (<https://github.com/corelight/community-id-spec>).
//!
//! SHA-1 over seed, both addresses, protocol, a zero byte and both ports, the lesser end first; base64 behind `1:`. ICMP's
//! type takes the place of the source port and the answering type that of the destination port; a type without an answer is
//! never turned round, and its code is the destination port.

use std::net::IpAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};
use smallvec::SmallVec;

use super::text;
use crate::tuple::{IpProtocol, Tuple};

/// Writes the ID of a tuple; `icmp` is type and code of a message from source to destination.
pub(super) fn write(room: &mut String, tuple: Tuple, icmp: Option<(u8, u8)>) {
    let (source_port, destination_port, one_way) = ports(tuple, icmp);
    let one = (tuple.source.ip(), source_port);
    let other = (tuple.destination.ip(), destination_port);
    let (first, second) = if one_way || one <= other { (one, other) } else { (other, one) };
    let mut hashed = Hashed::new();
    hashed.extend_from_slice(&[0, 0]);
    add_address(&mut hashed, first.0);
    add_address(&mut hashed, second.0);
    hashed.extend_from_slice(&[tuple.protocol.0, 0]);
    if has_ports(tuple.protocol) {
        hashed.extend_from_slice(&first.1.to_be_bytes());
        hashed.extend_from_slice(&second.1.to_be_bytes());
    }
    // 20 bytes are 28 letters.
    let mut letters = [0; 28];
    let written = STANDARD.encode_slice(Sha1::digest(&hashed), &mut letters).unwrap_or(0);
    text::set(room, "1:");
    room.push_str(
        letters.get(..written).and_then(|letters| str::from_utf8(letters).ok()).unwrap_or_default(),
    );
}

const fn has_ports(protocol: IpProtocol) -> bool {
    matches!(
        protocol,
        IpProtocol::TCP | IpProtocol::UDP | IpProtocol::SCTP | IpProtocol::ICMP | IpProtocol::ICMPV6
    )
}

/// What is hashed, put together first: the hash takes one piece faster than six. With two addresses of IPv6 it has
/// 40 bytes.
type Hashed = SmallVec<[u8; 64]>;

fn add_address(hashed: &mut Hashed, address: IpAddr) {
    match address {
        IpAddr::V4(address) => hashed.extend_from_slice(&address.octets()),
        IpAddr::V6(address) => hashed.extend_from_slice(&address.octets()),
    }
}

fn ports(tuple: Tuple, icmp: Option<(u8, u8)>) -> (u16, u16, bool) {
    let (kind, code) = match icmp {
        Some(icmp) if tuple.protocol.is_icmp() => icmp,
        _ => return (tuple.source.port(), tuple.destination.port(), false),
    };
    let answer = if tuple.protocol == IpProtocol::ICMP { answer_v4(kind) } else { answer_v6(kind) };
    (u16::from(kind), u16::from(answer.unwrap_or(code)), answer.is_none())
}

/// Echo, timestamp, information, router and mask, each with its answer.
const fn answer_v4(kind: u8) -> Option<u8> {
    Some(match kind {
        0 => 8,
        8 => 0,
        9 => 10,
        10 => 9,
        13 => 14,
        14 => 13,
        15 => 16,
        16 => 15,
        17 => 18,
        18 => 17,
        _ => return None,
    })
}

/// Echo, listener, router, neighbour, node information and home agent, each with its answer.
const fn answer_v6(kind: u8) -> Option<u8> {
    Some(match kind {
        128 => 129,
        129 => 128,
        130 => 131,
        131 => 130,
        133 => 134,
        134 => 133,
        135 => 136,
        136 => 135,
        139 => 140,
        140 => 139,
        144 => 145,
        145 => 144,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Published examples of the specification, computed again with another implementation of SHA-1.
    #[test]
    fn known_tuples_have_their_known_ids() {
        type Case = (IpProtocol, (&'static str, u16), (&'static str, u16), Option<(u8, u8)>, &'static str);
        let cases: [Case; 5] = [
            (
                IpProtocol::TCP,
                ("128.232.110.120", 34855),
                ("66.35.250.204", 80),
                None,
                "1:LQU9qZlK+B5F3KDmev6m5PMibrg=",
            ),
            (
                IpProtocol::UDP,
                ("192.168.1.52", 54585),
                ("8.8.8.8", 53),
                None,
                "1:d/FP5EW3wiY1vCndhwleRRKHowQ=",
            ),
            (
                IpProtocol::ICMP,
                ("192.168.0.89", 7),
                ("192.168.0.1", 7),
                Some((8, 0)),
                "1:X0snYXpgwiv9TZtqg64sgzUn6Dk=",
            ),
            (
                IpProtocol::ICMPV6,
                ("fe80::200:86ff:fe05:80da", 0),
                ("fe80::260:97ff:fe07:69ea", 0),
                Some((135, 0)),
                "1:dGHyGvjMfljg6Bppwm3bg0LO8TY=",
            ),
            (
                IpProtocol::ICMP,
                ("192.168.0.1", 0),
                ("192.168.0.89", 0),
                Some((3, 3)),
                "1:ZouhgnVac3AK62b9tKlLG4N+dVQ=",
            ),
        ];
        for (protocol, source, destination, icmp, id) in cases {
            let end = |(address, port): (&str, u16)| (address.parse().unwrap(), port);
            let tuple = Tuple::new(protocol, end(source), end(destination));
            let mut written = "before".to_owned();
            write(&mut written, tuple, icmp);
            assert_eq!(written, id);
            if icmp.is_none() {
                write(&mut written, tuple.reversed(), None);
                assert_eq!(written, id);
            }
        }
    }
}
