//! NFLOG messages to logged packets and back (linux/netfilter/nfnetlink_log.h).
//!
//! The bytes are those behind the netlink header: `nfgenmsg` and attributes, which is also what LINKTYPE_NFLOG holds.
//! Attributes' lengths and kinds are in the byte order of the machine, their values in network order.

use netlink_packet_core::{DefaultNla, Emitable, NlasIterator, parse_u32_be};
use netlink_packet_netfilter::{NetfilterHeader, NetfilterProtoFamily};
use weir_cluster::UnixNanos;

use crate::testimony::LoggedPacket;

/// `struct nfgenmsg`: family, version, and the group as resource id.
const NFGEN_HEADER: usize = 4;
/// An attribute's length is 16 bits and counts its 4 bytes of header.
const LONGEST_VALUE: usize = u16::MAX as usize - 4;

// enum nfulnl_attr_type
const NFULA_TIMESTAMP: u16 = 3;
const NFULA_IFINDEX_INDEV: u16 = 4;
const NFULA_IFINDEX_OUTDEV: u16 = 5;
const NFULA_IFINDEX_PHYSINDEV: u16 = 6;
const NFULA_IFINDEX_PHYSOUTDEV: u16 = 7;
const NFULA_PAYLOAD: u16 = 9;
const NFULA_PREFIX: u16 = 10;
const NFULA_SEQ: u16 = 12;

/// One message to the packet it tells of. `at` is its time unless the kernel gave one. None if the message is cut short or
/// carries no packet.
#[must_use]
pub fn parse_packet(message: &[u8], at: UnixNanos) -> Option<LoggedPacket> {
    parse_numbered(message, at).map(|(packet, _)| packet)
}

/// As [`parse_packet`], with the number that the kernel gave the message within its group, where it was asked to.
pub(super) fn parse_numbered(message: &[u8], at: UnixNanos) -> Option<(LoggedPacket, Option<u32>)> {
    let header = NetfilterHeader::parse(message).ok()?;
    let mut packet = LoggedPacket {
        at,
        prefix: "".into(),
        group: header.res_id,
        in_ifindex: 0,
        out_ifindex: 0,
        in_port_ifindex: 0,
        out_port_ifindex: 0,
        packet: Vec::new(),
    };
    let (mut has_payload, mut sequence) = (false, None);
    for attribute in NlasIterator::new(message.get(NFGEN_HEADER..)?) {
        let attribute = attribute.ok()?;
        let value = attribute.value();
        match attribute.kind() {
            NFULA_TIMESTAMP => packet.at = parse_timestamp(value)?,
            NFULA_IFINDEX_INDEV => packet.in_ifindex = parse_u32_be(value).ok()?,
            NFULA_IFINDEX_OUTDEV => packet.out_ifindex = parse_u32_be(value).ok()?,
            NFULA_IFINDEX_PHYSINDEV => packet.in_port_ifindex = parse_u32_be(value).ok()?,
            NFULA_IFINDEX_PHYSOUTDEV => packet.out_port_ifindex = parse_u32_be(value).ok()?,
            NFULA_PREFIX => packet.prefix = until_nul(value).into(),
            NFULA_SEQ => sequence = Some(parse_u32_be(value).ok()?),
            NFULA_PAYLOAD => {
                packet.packet = value.to_vec();
                has_payload = true;
            }
            _ => {}
        }
    }
    has_payload.then_some((packet, sequence))
}

/// `struct nfulnl_msg_packet_timestamp`: seconds and microseconds, 64 bits each.
fn parse_timestamp(value: &[u8]) -> Option<UnixNanos> {
    let seconds = u64::from_be_bytes(value.get(..8)?.try_into().ok()?);
    let micros = u64::from_be_bytes(value.get(8..16)?.try_into().ok()?);
    let nanos = u32::try_from(micros.checked_mul(1000)?).ok()?;
    Some(UnixNanos::from_parts(seconds, nanos))
}

/// The kernel ends the prefix with a NUL. It need not be UTF-8.
fn until_nul(value: &[u8]) -> std::borrow::Cow<'_, str> {
    let end = value.iter().position(|byte| *byte == 0).unwrap_or(value.len());
    String::from_utf8_lossy(&value[..end])
}

/// The message by which the kernel would tell of this packet. [`parse_packet`] of it at `packet.at` gives it back, if the
/// prefix holds no NUL and the packet is no longer than an attribute can be (64 KiB).
#[must_use]
pub fn emit_packet(packet: &LoggedPacket) -> Vec<u8> {
    let mut attributes = Vec::with_capacity(7);
    let mut push = |kind, value: &[u8]| attributes.push(DefaultNla::new(kind, value.to_vec()));
    let (seconds, nanos) = packet.at.parts();
    // A time that the kernel gave is in whole microseconds; any other is the time of reading, which the record keeps.
    if nanos.is_multiple_of(1000) {
        let micros = u64::from(nanos / 1000);
        push(NFULA_TIMESTAMP, &[seconds.to_be_bytes(), micros.to_be_bytes()].concat());
    }
    let devices = [
        (NFULA_IFINDEX_INDEV, packet.in_ifindex),
        (NFULA_IFINDEX_OUTDEV, packet.out_ifindex),
        (NFULA_IFINDEX_PHYSINDEV, packet.in_port_ifindex),
        (NFULA_IFINDEX_PHYSOUTDEV, packet.out_port_ifindex),
    ];
    for (kind, ifindex) in devices.into_iter().filter(|(_, ifindex)| *ifindex != 0) {
        push(kind, &ifindex.to_be_bytes());
    }
    let mut prefix: Vec<u8> = packet.prefix.bytes().take(LONGEST_VALUE - 1).collect();
    prefix.push(0);
    push(NFULA_PREFIX, &prefix);
    push(NFULA_PAYLOAD, &packet.packet[..packet.packet.len().min(LONGEST_VALUE)]);

    let header = NetfilterHeader::new(family(&packet.packet), 0, packet.group);
    let mut bytes = vec![0; NFGEN_HEADER + attributes.as_slice().buffer_len()];
    header.emit(&mut bytes);
    attributes.as_slice().emit(&mut bytes[NFGEN_HEADER..]);
    bytes
}

fn family(packet: &[u8]) -> NetfilterProtoFamily {
    match packet.first().map(|byte| byte >> 4) {
        Some(4) => NetfilterProtoFamily::IPv4,
        Some(6) => NetfilterProtoFamily::IPv6,
        _ => NetfilterProtoFamily::Unspec,
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn packet() -> impl Strategy<Value = LoggedPacket> {
        let numbers = (any::<u64>(), any::<u16>(), any::<[u32; 4]>());
        (numbers, "[^\0]{0,128}", vec(any::<u8>(), 0..300)).prop_map(|(numbers, prefix, packet)| {
            let (at, group, [in_ifindex, out_ifindex, in_port_ifindex, out_port_ifindex]) = numbers;
            LoggedPacket {
                at: UnixNanos::from_nanos(at),
                prefix: prefix.into(),
                group,
                in_ifindex,
                out_ifindex,
                in_port_ifindex,
                out_port_ifindex,
                packet,
            }
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(packet in packet(), whole_micros: bool) {
            let mut packet = packet;
            if whole_micros {
                packet.at = UnixNanos::from_nanos(packet.at.as_nanos() / 1000 * 1000);
            }
            let read_at = if whole_micros { UnixNanos::ZERO } else { packet.at };
            let bytes = emit_packet(&packet);
            prop_assert_eq!(parse_packet(&bytes, read_at), Some(packet));
        }

        #[test]
        fn random_bytes_never_panic(bytes: Vec<u8>) {
            let _ = parse_packet(&bytes, UnixNanos::ZERO);
        }

        #[test]
        fn a_damaged_message_never_panics(
            packet in packet(), cut in 0_usize..400, place in 0_usize..400, value: u8,
        ) {
            let mut bytes = emit_packet(&packet);
            let place = place % bytes.len();
            bytes[place] = value;
            let _ = parse_packet(&bytes, UnixNanos::ZERO);
            bytes.truncate(cut);
            let _ = parse_packet(&bytes, UnixNanos::ZERO);
        }
    }

    #[test]
    fn a_prefix_is_kept_raw_and_ends_at_its_nul() {
        assert_eq!(until_nul(b"deny:\x1b[31m\n\0junk"), "deny:\x1b[31m\n");
        assert_eq!(until_nul(b"\xff no utf-8"), "\u{fffd} no utf-8");
    }

    #[test]
    fn a_packet_too_long_for_an_attribute_is_cut() {
        let long = LoggedPacket {
            at: UnixNanos::from_nanos(1),
            prefix: "x".into(),
            group: 5,
            in_ifindex: 1,
            out_ifindex: 2,
            in_port_ifindex: 3,
            out_port_ifindex: 4,
            packet: vec![0x45; 70_000],
        };
        let read = parse_packet(&emit_packet(&long), long.at).unwrap();
        assert_eq!(read.packet.len(), LONGEST_VALUE);
    }
}
