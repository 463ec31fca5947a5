//! What is written is read back; a real message is read; random bytes never panic.

use std::net::SocketAddr;

use proptest::prelude::*;

use super::*;

fn protocol() -> impl Strategy<Value = IpProtocol> {
    prop_oneof![
        Just(IpProtocol::TCP),
        Just(IpProtocol::UDP),
        Just(IpProtocol::SCTP),
        Just(IpProtocol::ICMP),
        Just(IpProtocol::ICMPV6),
        any::<u8>().prop_map(IpProtocol),
    ]
}

fn address(v6: bool) -> BoxedStrategy<IpAddr> {
    if v6 {
        any::<[u8; 16]>().prop_map(IpAddr::from).boxed()
    } else {
        any::<[u8; 4]>().prop_map(IpAddr::from).boxed()
    }
}

/// A tuple as `tuple.rs` allows it: ports only where the protocol has them.
fn tuple(protocol: IpProtocol, v6: bool) -> impl Strategy<Value = Tuple> {
    (address(v6), address(v6), any::<u16>(), any::<u16>()).prop_map(move |(source, destination, one, two)| {
        let (one, two) = match protocol {
            IpProtocol::TCP | IpProtocol::UDP | IpProtocol::SCTP => (one, two),
            IpProtocol::ICMP | IpProtocol::ICMPV6 => (one, one),
            _ => (0, 0),
        };
        Tuple::new(protocol, (source, one), (destination, two))
    })
}

fn phase() -> impl Strategy<Value = Phase> {
    prop_oneof![Just(Phase::Opening), Just(Phase::Open), Just(Phase::Over)]
}

fn entry() -> impl Strategy<Value = ConntrackEntry> {
    (protocol(), any::<bool>())
        .prop_flat_map(|(protocol, v6)| {
            (tuple(protocol, v6), tuple(protocol, v6), any::<u16>(), any::<u64>(), phase())
        })
        .prop_map(|(original, reply, zone, at, phase)| ConntrackEntry {
            at: UnixNanos::from_nanos(at),
            original,
            reply,
            zone,
            phase,
        })
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(entry in entry(), gone: bool) {
        let bytes = emit_message(&entry, gone);
        let at = entry.at;
        let expected = if gone { Testimony::Untracked(entry) } else { Testimony::Tracked(entry) };
        prop_assert_eq!(parse_message(&bytes, at), Some(expected));
    }

    #[test]
    fn random_bytes_never_panic(bytes: Vec<u8>) {
        let _ = parse_message(&bytes, UnixNanos::ZERO);
        let length = u32::try_from(bytes.len() + 16).unwrap();
        let header = [&length.to_ne_bytes()[..], &CT_NEW.to_ne_bytes(), &[0; 10]].concat();
        let _ = parse_message(&[header, bytes].concat(), UnixNanos::ZERO);
    }

    #[test]
    fn a_damaged_message_never_panics(
        entry in entry(), cut in 0_usize..200, place in 0_usize..200, value: u8,
    ) {
        let mut bytes = emit_message(&entry, false);
        let place = place % bytes.len();
        bytes[place] = value;
        let _ = parse_message(&bytes, UnixNanos::ZERO);
        bytes.truncate(cut);
        let _ = parse_message(&bytes, UnixNanos::ZERO);
    }
}

/// As Linux 6.18 told of a call to 10.96.45.100:80, answered by 10.244.2.11:8080, in a state of TCP: nested flags set, with
/// status, timeout and id, which are skipped.
fn kernel_message(state: u8) -> Vec<u8> {
    let mut body = vec![2, 0, 0, 0];
    body.extend(kernel_tuple(0x8001, [10, 244, 1, 10], [10, 96, 45, 100], 40_000, 80));
    body.extend(kernel_tuple(0x8002, [10, 244, 2, 11], [10, 244, 1, 10], 8080, 40_000));
    body.extend(attribute(3, &0x0000_01a8_u32.to_be_bytes()));
    body.extend(attribute(7, &120_u32.to_be_bytes()));
    body.extend(attribute(0x8004, &attribute(0x8001, &attribute(1, &[state]))));
    body.extend(attribute(12, &[1, 2, 3, 4]));
    body.extend(attribute(18, &5_u16.to_be_bytes()));
    let length = u32::try_from(16 + body.len()).unwrap();
    let mut bytes = length.to_ne_bytes().to_vec();
    bytes.extend(0x0100_u16.to_ne_bytes());
    bytes.extend([0; 10]);
    bytes.extend(body);
    bytes
}

#[test]
fn what_is_kept_for_stragglers_is_over_and_what_was_not_answered_is_opening() {
    let phase = |state| match parse_message(&kernel_message(state), UnixNanos::ZERO) {
        Some(Testimony::Tracked(entry)) => entry.phase,
        other => panic!("{other:?}"),
    };
    let all = |wanted| (0..10).filter(|state| phase(*state) == wanted).collect::<Vec<u8>>();
    assert_eq!((all(Phase::Opening), all(Phase::Over)), (vec![1], vec![7, 8]));
}

#[test]
fn a_message_as_the_kernel_writes_it() {
    let mut bytes = kernel_message(2);
    let Some(Testimony::Tracked(entry)) = parse_message(&bytes, UnixNanos::from_nanos(7)) else {
        panic!("not an entry");
    };
    let ends = |tuple: Tuple| (tuple.source, tuple.destination);
    let end = |text: &str| text.parse::<SocketAddr>().unwrap();
    assert_eq!(ends(entry.original), (end("10.244.1.10:40000"), end("10.96.45.100:80")));
    assert_eq!(ends(entry.as_backend_sees()), (end("10.244.1.10:40000"), end("10.244.2.11:8080")));
    assert_eq!((entry.zone, entry.at.as_nanos()), (5, 7));

    for kind in [0x0101_u16, 0x0103, 0x0200, 2, 3] {
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        assert_eq!(parse_message(&bytes, UnixNanos::ZERO), None, "type {kind:#x}");
    }
}

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut bytes = u16::try_from(4 + value.len()).unwrap().to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

fn kernel_tuple(kind: u16, source: [u8; 4], destination: [u8; 4], from: u16, to: u16) -> Vec<u8> {
    let addresses = [attribute(1, &source), attribute(2, &destination)].concat();
    let protocol =
        [attribute(1, &[6]), attribute(2, &from.to_be_bytes()), attribute(3, &to.to_be_bytes())].concat();
    attribute(kind, &[attribute(0x8001, &addresses), attribute(0x8002, &protocol)].concat())
}
