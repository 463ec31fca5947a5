//! Link types and what lies between them and IP, byte by byte as their standards draw them.

use super::*;

fn query() -> Vec<u8> {
    ipv4(IpProtocol::UDP, &udp(1000, 53, b"abc"))
}

fn reads(link: LinkType, parts: &[&[u8]]) -> Packet<'static> {
    let bytes: &'static [u8] = Vec::leak(bytes(parts));
    let packet = read(link, bytes).unwrap();
    assert_eq!(packet.tuple, tuple(IpProtocol::UDP, 1000, 53));
    assert_eq!((packet.ip_len, packet.truncated), (31, false));
    packet
}

#[test]
fn vlan_identifiers_are_kept_from_the_outside_in() {
    let tags = [0x88a8_u16, 0x2064, 0x8100, 0xa0c8, 0x9100, 3, 0x8100, 4, 0x8100, 5, 0x0800];
    let tags: Vec<u8> = tags[1..].iter().flat_map(|word| word.to_be_bytes()).collect();
    let packet = reads(LinkType::ETHERNET, &[&ethernet(0x88a8, &tags), &query()]);
    assert_eq!(packet.vlans.ids(), [0x64, 0xc8, 3, 4]);
    let priority = reads(LinkType::ETHERNET, &[&ethernet(0x8100, &[0xe0, 0, 8, 0]), &query()]);
    assert_eq!(priority.vlans.ids(), [0], "a tag with a priority alone");
    assert!(reads(LinkType::ETHERNET, &[&ethernet(IPV4, &query())]).vlans.ids().is_empty());
}

#[test]
fn logical_links_carry_ip_by_a_type_or_by_its_access_point() {
    let len = u16::try_from(3 + query().len()).unwrap();
    reads(LinkType::ETHERNET, &[&ethernet(len, &[6, 6, 3]), &query(), &[0; 30]]);
    let spanning_tree = ethernet(38, &[&[0x42, 0x42, 3][..], &[0; 40]].concat());
    assert_eq!(read(LinkType::ETHERNET, &spanning_tree).unwrap_err(), Undecodable::NotIp);
}

#[test]
fn tags_of_bridges_are_passed() {
    let extender = ethernet(0x893f, &[0, 0x10, 0, 0x20, 0, 0, 8, 0]);
    reads(LinkType::ETHERNET, &[&extender, &query()]);
    let backbone = ethernet(0x88e7, &[0, 0, 0, 7]);
    reads(LinkType::ETHERNET, &[&backbone, &ethernet(IPV4, &query())]);
}

#[test]
fn labels_end_with_ip_or_an_ethernet_frame() {
    let label = |number: u32, bottom: bool| (number << 12 | u32::from(bottom) << 8 | 64).to_be_bytes();
    let stack = bytes(&[&label(16, false), &label(17, false), &label(18, true)]);
    reads(LinkType::ETHERNET, &[&ethernet(0x8847, &stack), &query()]);
    let bridged = ethernet(IPV4, &query());
    reads(LinkType::ETHERNET, &[&ethernet(0x8848, &label(16, true)), &bridged]);
    let control_word = [0, 0, 0, 9];
    reads(LinkType::ETHERNET, &[&ethernet(0x8847, &label(16, true)), &control_word, &bridged]);
    reads(LinkType::MPLS, &[&label(16, true), &query()]);
    let channel = ethernet(0x8847, &bytes(&[&label(16, true), &[0x10, 0, 0, 0x21], &query()]));
    assert_eq!(read(LinkType::ETHERNET, &channel).unwrap_err(), Undecodable::NotIp);
    let endless = ethernet(0x8847, &label(16, false).repeat(50));
    assert_eq!(read(LinkType::ETHERNET, &endless).unwrap_err(), Undecodable::NotIp);
}

#[test]
fn pppoe_and_ppp() {
    let session = |len: u16| bytes(&[&[0x11, 0, 0, 1], &len.to_be_bytes(), &[0, 0x21]]);
    reads(LinkType::ETHERNET, &[&ethernet(0x8864, &session(33)), &query(), &[0xee; 20]]);
    reads(LinkType::PPP_ETHER, &[&session(33), &query()]);
    for (header, link) in [
        (&[0xff, 3, 0, 0x21][..], LinkType::PPP),
        (&[0, 0x21], LinkType::PPP),
        (&[0x21], LinkType::PPP),
        (&[0xff, 3, 0x21], LinkType::PPP_HDLC),
        (&[0xff, 3, 2, 0x81, 0, 1, 1, 64], LinkType::PPP),
        (&[0x0f, 0, 8, 0], LinkType::PPP_HDLC),
        (&[0x8f, 0, 8, 0], LinkType::CISCO_HDLC),
        (&[0x0f, 0, 8, 0], LinkType::NULL),
    ] {
        reads(link, &[header, &query()]);
    }
    let directions = [(0, Direction::Inbound), (1, Direction::Outbound)];
    for (first, direction) in directions {
        let packet = reads(LinkType::PPP_WITH_DIRECTION, &[&[first, 0xff, 3, 0, 0x21], &query()]);
        assert_eq!(packet.direction, direction);
    }
    let negotiation = [0xff, 3, 0xc0, 0x21, 1, 1, 0, 4];
    assert_eq!(read(LinkType::PPP, &negotiation).unwrap_err(), Undecodable::NotIp);
    let discovery = ethernet(0x8863, &[0x11, 9, 0, 0, 0, 0]);
    assert_eq!(read(LinkType::ETHERNET, &discovery).unwrap_err(), Undecodable::NotIp);
    let ending = ethernet(0x8864, &[0x11, 0xa7, 0, 1, 0, 0]);
    assert_eq!(read(LinkType::ETHERNET, &ending).unwrap_err(), Undecodable::NotIp);
}

#[test]
fn a_packet_in_an_nflog_message_in_either_byte_order() {
    let attribute = |big: bool, kind: u16, value: &[u8]| {
        let order = |number: u16| if big { number.to_be_bytes() } else { number.to_le_bytes() };
        let mut padded = value.to_vec();
        padded.resize(value.len().next_multiple_of(4), 0);
        bytes(&[&order(u16::try_from(value.len() + 4).unwrap()), &order(kind), &padded])
    };
    for big in [false, true] {
        let message = [&[2, 0, 0, 5][..], &attribute(big, 10, b"rule\0"), &attribute(big, 9, &query())];
        reads(LinkType::NFLOG, &message);
    }
    let without = bytes(&[&[2, 0, 0, 5], &attribute(false, 10, b"rule\0")]);
    assert_eq!(read(LinkType::NFLOG, &without).unwrap_err(), Undecodable::Malformed);
}
