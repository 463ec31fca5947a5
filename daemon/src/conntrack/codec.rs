//! ctnetlink messages to conntrack entries and back (linux/netfilter/nfnetlink_conntrack.h).
//!
//! Read by hand, attribute by attribute: what is not needed is skipped, so that an attribute of a newer kernel costs
//! nothing, and a busy node's events are read without an allocation. Written by the crate's types.

use std::net::IpAddr;

use netlink_packet_core::{
    DefaultNla, NetlinkHeader, NetlinkMessage, NlasIterator, parse_ip, parse_u8, parse_u16_be,
};
use netlink_packet_netfilter::conntrack::{
    ConntrackAttribute, ConntrackMessage, IPTuple, ProtoInfo, ProtoInfoTCP, ProtoTuple, Protocol,
    Tuple as TupleAttribute,
};
use netlink_packet_netfilter::{NetfilterHeader, NetfilterMessage, NetfilterProtoFamily};
use weir_cluster::UnixNanos;

use crate::testimony::{ConntrackEntry, Phase, Testimony};
use crate::tuple::{IpProtocol, Tuple};

/// `struct nlmsghdr`: length, type, flags, sequence, port; in the byte order of the machine.
const NLMSG_HEADER: usize = 16;
/// `struct nfgenmsg`: family, version, resource id.
const NFGEN_HEADER: usize = 4;

/// `NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_NEW`: a new entry, a change of one, or one of a dump.
const CT_NEW: u16 = 0x0100;
/// `NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_DELETE`.
const CT_DELETE: u16 = 0x0102;

// enum ctattr_type
const CTA_TUPLE_ORIG: u16 = 1;
const CTA_TUPLE_REPLY: u16 = 2;
const CTA_PROTOINFO: u16 = 4;
const CTA_ZONE: u16 = 18;
// enum ctattr_tuple
const CTA_TUPLE_IP: u16 = 1;
const CTA_TUPLE_PROTO: u16 = 2;
const CTA_TUPLE_ZONE: u16 = 3;
// enum ctattr_ip
const CTA_IP_V4_SRC: u16 = 1;
const CTA_IP_V4_DST: u16 = 2;
const CTA_IP_V6_SRC: u16 = 3;
const CTA_IP_V6_DST: u16 = 4;
// enum ctattr_protoinfo, ctattr_protoinfo_tcp
const CTA_PROTOINFO_TCP: u16 = 1;
const CTA_PROTOINFO_TCP_STATE: u16 = 1;
// enum tcp_conntrack (linux/netfilter/nf_conntrack_tcp.h)
const TCP_CONNTRACK_SYN_SENT: u8 = 1;
const TCP_CONNTRACK_TIME_WAIT: u8 = 7;
const TCP_CONNTRACK_CLOSE: u8 = 8;
// enum ctattr_l4proto
const CTA_PROTO_NUM: u16 = 1;
const CTA_PROTO_SRC_PORT: u16 = 2;
const CTA_PROTO_DST_PORT: u16 = 3;
const CTA_PROTO_ICMP_ID: u16 = 4;
const CTA_PROTO_ICMP_TYPE: u16 = 5;
const CTA_PROTO_ICMP_CODE: u16 = 6;
const CTA_PROTO_ICMPV6_ID: u16 = 7;
const CTA_PROTO_ICMPV6_TYPE: u16 = 8;
const CTA_PROTO_ICMPV6_CODE: u16 = 9;

/// One whole netlink message, header included, to what it testifies. None if it is no conntrack entry, is cut short, or
/// lacks a tuple.
#[must_use]
pub fn parse_message(nlmsg: &[u8], at: UnixNanos) -> Option<Testimony> {
    let kind = u16::from_ne_bytes(nlmsg.get(4..6)?.try_into().ok()?);
    if kind != CT_NEW && kind != CT_DELETE {
        return None;
    }
    let length = u32::from_ne_bytes(nlmsg.get(..4)?.try_into().ok()?);
    let body = nlmsg.get(NLMSG_HEADER + NFGEN_HEADER..usize::try_from(length).ok()?)?;
    let entry = parse_entry(body, at)?;
    Some(if kind == CT_NEW { Testimony::Tracked(entry) } else { Testimony::Untracked(entry) })
}

fn parse_entry(attributes: &[u8], at: UnixNanos) -> Option<ConntrackEntry> {
    let (mut original, mut reply, mut zone, mut phase) = (None, None, None, Phase::default());
    for attribute in NlasIterator::new(attributes) {
        let attribute = attribute.ok()?;
        match attribute.kind() {
            CTA_TUPLE_ORIG => original = Some(parse_tuple(attribute.value())?),
            CTA_TUPLE_REPLY => reply = Some(parse_tuple(attribute.value())?),
            CTA_ZONE => zone = Some(parse_u16_be(attribute.value()).ok()?),
            CTA_PROTOINFO => phase = tcp_state(attribute.value()).map_or(phase, phase_of),
            _ => {}
        }
    }
    let ((original, original_zone), (reply, _)) = (original?, reply?);
    // A zone of one direction alone stands in that direction's tuple; the first packet is looked up by the original's.
    let zone = zone.or(original_zone).unwrap_or(0);
    Some(ConntrackEntry { at, original, reply, zone, phase })
}

const fn phase_of(tcp_state: u8) -> Phase {
    match tcp_state {
        TCP_CONNTRACK_SYN_SENT => Phase::Opening,
        TCP_CONNTRACK_TIME_WAIT | TCP_CONNTRACK_CLOSE => Phase::Over,
        _ => Phase::Open,
    }
}

/// The state of TCP's conversation; other protocols have none.
fn tcp_state(attributes: &[u8]) -> Option<u8> {
    let within = |attributes, kind| {
        let mut all = NlasIterator::new(attributes).map_while(Result::ok);
        all.find(|attribute| attribute.kind() == kind)
    };
    let tcp = within(attributes, CTA_PROTOINFO_TCP)?;
    let state = NlasIterator::new(tcp.value()).map_while(Result::ok);
    let mut state = state.filter(|attribute| attribute.kind() == CTA_PROTOINFO_TCP_STATE);
    parse_u8(state.next()?.value()).ok()
}

/// A tuple, and its own zone where it has one.
fn parse_tuple(attributes: &[u8]) -> Option<(Tuple, Option<u16>)> {
    let (mut ends, mut protocol, mut zone) = (None, None, None);
    for attribute in NlasIterator::new(attributes) {
        let attribute = attribute.ok()?;
        match attribute.kind() {
            CTA_TUPLE_IP => ends = Some(parse_addresses(attribute.value())?),
            CTA_TUPLE_PROTO => protocol = Some(parse_protocol(attribute.value())?),
            CTA_TUPLE_ZONE => zone = Some(parse_u16_be(attribute.value()).ok()?),
            _ => {}
        }
    }
    let ((source, destination), (protocol, source_port, destination_port)) = (ends?, protocol?);
    Some((Tuple::new(protocol, (source, source_port), (destination, destination_port)), zone))
}

/// Source and destination, of one family.
fn parse_addresses(attributes: &[u8]) -> Option<(IpAddr, IpAddr)> {
    let (mut source, mut destination) = (None, None);
    for attribute in NlasIterator::new(attributes) {
        let attribute = attribute.ok()?;
        match attribute.kind() {
            CTA_IP_V4_SRC | CTA_IP_V6_SRC => source = Some(parse_ip(attribute.value()).ok()?),
            CTA_IP_V4_DST | CTA_IP_V6_DST => destination = Some(parse_ip(attribute.value()).ok()?),
            _ => {}
        }
    }
    let (source, destination): (IpAddr, IpAddr) = (source?, destination?);
    (source.is_ipv4() == destination.is_ipv4()).then_some((source, destination))
}

/// Protocol, source port and destination port, as [`Tuple`] has them: 0 where there is none, twice the identifier for ICMP.
fn parse_protocol(attributes: &[u8]) -> Option<(IpProtocol, u16, u16)> {
    let (mut number, mut source, mut destination, mut id) = (None, 0, 0, 0);
    for attribute in NlasIterator::new(attributes) {
        let attribute = attribute.ok()?;
        let value = attribute.value();
        match attribute.kind() {
            CTA_PROTO_NUM => number = Some(IpProtocol(parse_u8(value).ok()?)),
            CTA_PROTO_SRC_PORT => source = parse_u16_be(value).ok()?,
            CTA_PROTO_DST_PORT => destination = parse_u16_be(value).ok()?,
            CTA_PROTO_ICMP_ID | CTA_PROTO_ICMPV6_ID => id = parse_u16_be(value).ok()?,
            _ => {}
        }
    }
    let protocol = number?;
    Some(match protocol {
        IpProtocol::TCP | IpProtocol::UDP | IpProtocol::SCTP => (protocol, source, destination),
        IpProtocol::ICMP | IpProtocol::ICMPV6 => (protocol, id, id),
        // GRE has its key where ports would be; packets are keyed without.
        _ => (protocol, 0, 0),
    })
}

/// The message by which the kernel would tell of this entry, header included: `NEW`, or `DELETE` if it is `gone`.
/// [`parse_message`] of it gives the entry back.
#[must_use]
pub fn emit_message(entry: &ConntrackEntry, gone: bool) -> Vec<u8> {
    let mut attributes = vec![
        ConntrackAttribute::CtaTupleOrig(tuple_attributes(entry.original, Way::Original)),
        ConntrackAttribute::CtaTupleReply(tuple_attributes(entry.reply, Way::Reply)),
    ];
    if entry.zone != 0 {
        let zone = DefaultNla::new(CTA_ZONE, entry.zone.to_be_bytes().to_vec());
        attributes.push(ConntrackAttribute::Other(zone));
    }
    let state = match entry.phase {
        Phase::Opening => Some(TCP_CONNTRACK_SYN_SENT),
        Phase::Open => None,
        Phase::Over => Some(TCP_CONNTRACK_TIME_WAIT),
    };
    if let Some(state) = state {
        let state = vec![ProtoInfoTCP::State(state)];
        attributes.push(ConntrackAttribute::CtaProtoInfo(vec![ProtoInfo::TCP(state)]));
    }
    let family = match entry.original.source.ip() {
        IpAddr::V4(_) => NetfilterProtoFamily::IPv4,
        IpAddr::V6(_) => NetfilterProtoFamily::IPv6,
    };
    let inner = if gone { ConntrackMessage::Delete(attributes) } else { ConntrackMessage::New(attributes) };
    let body = NetfilterMessage::new(NetfilterHeader::new(family, 0, 0), inner);
    let mut message = NetlinkMessage::new(NetlinkHeader::default(), body.into());
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    bytes
}

#[derive(Clone, Copy)]
enum Way {
    Original,
    Reply,
}

fn tuple_attributes(tuple: Tuple, way: Way) -> Vec<TupleAttribute> {
    let mut protocol = vec![ProtoTuple::Protocol(Protocol::from(tuple.protocol.0))];
    match tuple.protocol {
        IpProtocol::TCP | IpProtocol::UDP | IpProtocol::SCTP => protocol.extend([
            ProtoTuple::SourcePort(tuple.source.port()),
            ProtoTuple::DestinationPort(tuple.destination.port()),
        ]),
        IpProtocol::ICMP => protocol.extend(echo(
            [CTA_PROTO_ICMP_ID, CTA_PROTO_ICMP_TYPE, CTA_PROTO_ICMP_CODE],
            tuple.source.port(),
            match way {
                Way::Original => 8,
                Way::Reply => 0,
            },
        )),
        IpProtocol::ICMPV6 => protocol.extend(echo(
            [CTA_PROTO_ICMPV6_ID, CTA_PROTO_ICMPV6_TYPE, CTA_PROTO_ICMPV6_CODE],
            tuple.source.port(),
            match way {
                Way::Original => 128,
                Way::Reply => 129,
            },
        )),
        _ => {}
    }
    let addresses =
        vec![IPTuple::SourceAddress(tuple.source.ip()), IPTuple::DestinationAddress(tuple.destination.ip())];
    vec![TupleAttribute::Ip(addresses), TupleAttribute::Proto(protocol)]
}

/// Identifier, type and code 0 under the attribute numbers of the protocol.
fn echo(kinds: [u16; 3], id: u16, message_type: u8) -> [ProtoTuple; 3] {
    let values = [id.to_be_bytes().to_vec(), vec![message_type], vec![0]];
    let mut pairs = kinds.into_iter().zip(values);
    std::array::from_fn(|_| {
        let (kind, value) = pairs.next().unwrap_or_default();
        ProtoTuple::Other(DefaultNla::new(kind, value))
    })
}

#[cfg(test)]
mod tests;
