//! rtnetlink requests, and the few attributes of links, addresses and routes that matter (linux/if_link.h, if_addr.h,
//! rtnetlink.h). Read by hand, so that an attribute of a newer kernel costs nothing.

use netlink_packet_core::NlasIterator;

use super::Link;
use crate::netlink::{HEADER, Message};

const RTM_NEWLINK: u16 = 16;
const RTM_GETLINK: u16 = 18;
const RTM_NEWADDR: u16 = 20;
const RTM_GETADDR: u16 = 22;
const RTM_NEWROUTE: u16 = 24;
const RTM_GETROUTE: u16 = 26;

/// `struct ifinfomsg`: family, padding, type (u16), index (i32), flags (u32), change mask (u32).
const IFINFO: usize = 16;
/// `struct ifaddrmsg`: family, prefix length, flags, scope, index (u32).
const IFADDR: usize = 8;
/// `struct rtmsg`: family, destination length, source length, tos, table, protocol, scope, type, flags (u32).
const RTMSG: usize = 12;

const IFF_UP: u32 = 1;
const IFF_LOOPBACK: u32 = 8;
const IFLA_IFNAME: u16 = 3;
const IFLA_MASTER: u16 = 10;
const IFLA_LINKINFO: u16 = 18;
const IFLA_LINK_NETNSID: u16 = 37;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_SLAVE_KIND: u16 = 4;
const RT_SCOPE_LINK: u8 = 253;
const RTN_UNICAST: u8 = 1;
const RTA_OIF: u16 = 4;
const RTA_MULTIPATH: u16 = 9;
/// `struct rtnexthop`: length (u16), flags, hops, interface index (i32).
const RTNEXTHOP: usize = 8;

/// Asks for all links.
pub fn link_request() -> Vec<u8> {
    dump_request(RTM_GETLINK, IFINFO)
}

/// Asks for all addresses.
pub fn address_request() -> Vec<u8> {
    dump_request(RTM_GETADDR, IFADDR)
}

/// Asks for all routes.
pub fn route_request() -> Vec<u8> {
    dump_request(RTM_GETROUTE, RTMSG)
}

pub(super) fn dump_request(kind: u16, body: usize) -> Vec<u8> {
    let flags = netlink_packet_core::NLM_F_REQUEST | netlink_packet_core::NLM_F_DUMP;
    let length = u32::try_from(HEADER + body).unwrap_or(u32::MAX);
    let mut bytes = [&length.to_ne_bytes()[..], &kind.to_ne_bytes(), &flags.to_ne_bytes()].concat();
    // Sequence and port 0; family unspecified and every filter open.
    bytes.resize(HEADER + body, 0);
    bytes
}

pub(super) fn kind_of(whole: &[u8]) -> Option<u16> {
    Some(u16::from_ne_bytes(*whole.get(4..)?.first_chunk()?))
}

pub(super) fn number(value: &[u8]) -> Option<u32> {
    Some(u32::from_ne_bytes(*value.first_chunk()?))
}

pub(super) fn text(value: &[u8]) -> String {
    let end = value.iter().position(|byte| *byte == 0).unwrap_or(value.len());
    String::from_utf8_lossy(&value[..end]).into_owned()
}

/// A link of a dump. None if it is something else or cut short.
pub fn parse_link(whole: &[u8]) -> Option<Link> {
    if kind_of(whole)? != RTM_NEWLINK {
        return None;
    }
    let body = Message::body(whole);
    let flags = number(body.get(8..)?)?;
    let mut link = Link {
        index: number(body.get(4..)?)?,
        up: flags & IFF_UP != 0,
        loopback: flags & IFF_LOOPBACK != 0,
        hardware: u16::from_ne_bytes(*body.get(2..)?.first_chunk()?),
        ..Link::default()
    };
    for attribute in NlasIterator::new(body.get(IFINFO..)?) {
        let attribute = attribute.ok()?;
        match attribute.kind() {
            IFLA_IFNAME => link.name = text(attribute.value()),
            IFLA_MASTER => link.controller = number(attribute.value())?,
            IFLA_LINK_NETNSID => link.peer_elsewhere = true,
            IFLA_LINKINFO => (link.kind, link.port_of) = parse_kinds(attribute.value())?,
            _ => {}
        }
    }
    (!link.name.is_empty()).then_some(link)
}

/// The device's kind and the kind of what it is a port of.
fn parse_kinds(attributes: &[u8]) -> Option<(String, String)> {
    let (mut kind, mut port_of) = (String::new(), String::new());
    for attribute in NlasIterator::new(attributes) {
        let attribute = attribute.ok()?;
        match attribute.kind() {
            IFLA_INFO_KIND => kind = text(attribute.value()),
            IFLA_INFO_SLAVE_KIND => port_of = text(attribute.value()),
            _ => {}
        }
    }
    Some((kind, port_of))
}

/// Index of the device that has this address, if it is wider than link-local: those, every device has.
pub fn parse_address(whole: &[u8]) -> Option<u32> {
    let body = Message::body(whole);
    (kind_of(whole)? == RTM_NEWADDR && *body.get(3)? < RT_SCOPE_LINK).then(|| number(&body[4..]))?
}

/// Devices that a default route leads through; none for other messages.
pub fn parse_default_route(whole: &[u8]) -> Vec<u32> {
    default_route(whole).unwrap_or_default()
}

fn default_route(whole: &[u8]) -> Option<Vec<u32>> {
    let body = Message::body(whole);
    let (destination_len, kind) = (*body.get(1)?, *body.get(7)?);
    if kind_of(whole)? != RTM_NEWROUTE || destination_len != 0 || kind != RTN_UNICAST {
        return None;
    }
    let mut devices = Vec::new();
    for attribute in NlasIterator::new(body.get(RTMSG..)?) {
        let attribute = attribute.ok()?;
        match attribute.kind() {
            RTA_OIF => devices.push(number(attribute.value())?),
            RTA_MULTIPATH => devices.extend(next_hops(attribute.value())),
            _ => {}
        }
    }
    Some(devices)
}

fn next_hops(mut rest: &[u8]) -> Vec<u32> {
    let mut devices = Vec::new();
    while let (Some(length), Some(device)) = (rest.first_chunk(), rest.get(4..).and_then(number)) {
        devices.push(device);
        let length = usize::from(u16::from_ne_bytes(*length)).max(RTNEXTHOP).next_multiple_of(4);
        rest = rest.get(length..).unwrap_or_default();
    }
    devices
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn message(kind: u16, body: &[u8]) -> Vec<u8> {
        let mut bytes = u32::try_from(HEADER + body.len()).unwrap().to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend([0; 10]);
        bytes.extend(body);
        bytes
    }

    #[test]
    fn a_multipath_default_route_leads_through_all_its_devices() {
        let mut body = vec![2, 0, 0, 0, 254, 3, 0, RTN_UNICAST, 0, 0, 0, 0];
        body.extend(20_u16.to_ne_bytes());
        body.extend(RTA_MULTIPATH.to_ne_bytes());
        for device in [3_u32, 5] {
            body.extend(8_u16.to_ne_bytes());
            body.extend([0, 0]);
            body.extend(device.to_ne_bytes());
        }
        assert_eq!(parse_default_route(&message(RTM_NEWROUTE, &body)), [3, 5]);
        body[1] = 24;
        assert_eq!(parse_default_route(&message(RTM_NEWROUTE, &body)), [0_u32; 0]);
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(body: Vec<u8>, kind in 16_u16..28) {
            let whole = message(kind, &body);
            let _ = (parse_link(&whole), parse_address(&whole), parse_default_route(&whole));
            let _ = (parse_link(&body), parse_address(&body), parse_default_route(&body));
        }
    }
}
