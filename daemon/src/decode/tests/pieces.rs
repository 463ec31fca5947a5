//! Datagrams in pieces.

use super::*;

#[test]
fn pieces_of_a_datagram_are_named_alike_whatever_headers_follow() {
    let piece = |offset: u16, next: u8, rest: &[u8]| {
        let fragment = [&[next, 0], offset.to_be_bytes().as_slice(), &[0, 0, 0, 9], rest].concat();
        ipv6(44, &fragment)
    };
    // Destination options stand behind the fragment header, and the transport behind them.
    let options = [17, 0, 1, 4, 0, 0, 0, 0];
    let first = piece(1, 60, &[&options, udp(1000, 53, b"the beginning").as_slice()].concat());
    let later = piece(3 << 3, 60, b"and the rest");
    let (first, later) = (read_ip(&first), read_ip(&later));
    assert_eq!((first.fragment, later.fragment), (Fragment::First, Fragment::Later));
    assert_eq!(first.tuple.protocol, IpProtocol::UDP);
    assert_eq!(first.datagram(), later.datagram());
}
