//! Equal packets that are one and equal packets that are two, entries that wait, and the bounds of both.

use super::*;
use crate::testimony::Phase;

fn tuple(source: &str, destination: &str) -> Tuple {
    Tuple {
        protocol: IpProtocol::TCP,
        source: source.parse().unwrap(),
        destination: destination.parse().unwrap(),
    }
}

const PRINT: Fingerprint = Fingerprint { hash: 7, source: NatSource::Sequence, weak: false };
const IN: Passage = Passage {
    interface: InterfaceId(1),
    role: Role::PodVeth,
    direction: Direction::Inbound,
    ttl: 64,
    ip_id: None,
};
const OUT: Passage = Passage {
    interface: InterfaceId(2),
    role: Role::Overlay,
    direction: Direction::Outbound,
    ttl: 63,
    ip_id: None,
};

fn at(nanos: u64) -> UnixNanos {
    UnixNanos::from_nanos(nanos)
}

#[test]
fn the_same_number_without_a_shared_end_is_a_coincidence() {
    let mut twins = Twins::new(8);
    twins.note(PRINT, ConnectionId(1), tuple("10.0.0.1:1000", "10.96.0.1:80"), IN, at(0));
    let dnat = tuple("10.0.0.1:1000", "10.0.1.1:8080");
    assert_eq!(twins.find(PRINT, None, dnat, OUT, at(1)), Some((ConnectionId(1), NatSource::Sequence)));
    assert_eq!(twins.find(PRINT, None, tuple("10.0.0.2:1000", "10.0.1.1:8080"), OUT, at(1)), None);
    assert_eq!(twins.find(PRINT, None, tuple("10.0.0.1:1001", "10.0.1.1:8080"), OUT, at(1)), None);
    assert_eq!(twins.find(PRINT, None, dnat, OUT, at(TWIN_WINDOW_NS + 1)), None);
    let weak = Fingerprint { weak: true, ..PRINT };
    twins.note(weak, ConnectionId(1), tuple("10.0.0.1:1000", "10.96.0.1:80"), IN, at(0));
    assert_eq!(twins.find(weak, None, dnat, OUT, at(WEAK_WINDOW_NS + 1)), None);
}

#[test]
fn two_candidates_are_none() {
    let mut twins = Twins::new(8);
    twins.note(PRINT, ConnectionId(1), tuple("10.0.0.1:1000", "10.96.0.1:80"), IN, at(0));
    twins.note(PRINT, ConnectionId(2), tuple("10.0.0.1:1000", "10.96.0.2:80"), IN, at(0));
    assert_eq!(twins.find(PRINT, None, tuple("10.0.0.1:1000", "10.0.1.1:8080"), OUT, at(1)), None);
}

#[test]
fn two_callers_with_one_number_are_not_joined_by_where_only_one_was_seen_yet() {
    // Both entered by pods' devices; of the second nothing more was seen when the first one leaves.
    let mut twins = Twins::new(8);
    let (first, second) = (tuple("10.0.0.1:1000", "10.0.1.1:80"), tuple("10.0.0.2:1000", "10.0.1.1:80"));
    twins.note(PRINT, ConnectionId(1), first, IN, at(0));
    twins.note(PRINT, ConnectionId(2), second, IN, at(1));
    assert_eq!(twins.find(PRINT, Some(ConnectionId(1)), first, OUT, at(2)), None);
}

#[test]
fn one_question_to_two_servers_is_two_packets() {
    let mut twins = Twins::new(8);
    twins.note(PRINT, ConnectionId(1), tuple("10.0.0.1:1000", "10.96.0.1:53"), IN, at(0));
    twins.note(PRINT, ConnectionId(1), tuple("10.0.0.1:1000", "10.0.1.1:53"), OUT, at(1));
    assert_eq!(twins.find(PRINT, None, tuple("10.0.0.1:1000", "10.96.0.2:53"), IN, at(2)), None);
    let other_pod = Passage { interface: InterfaceId(9), ..IN };
    assert_eq!(twins.find(PRINT, None, tuple("10.0.0.7:1000", "10.96.0.1:53"), other_pod, at(2)), None);
}

#[test]
fn on_one_device_of_unknown_direction_what_lost_no_hop_was_not_translated() {
    let mut twins = Twins::new(8);
    let here = Passage { role: Role::Unknown, direction: Direction::Unknown, ..IN };
    let (one, other) = (tuple("10.0.0.1:1000", "10.0.1.1:53"), tuple("10.0.0.2:1000", "10.0.1.1:53"));
    twins.note(PRINT, ConnectionId(1), one, here, at(0));
    assert_eq!(twins.find(PRINT, None, other, here, at(1)), None);
    let scanned = Passage { ttl: 51, ..here };
    assert_eq!(twins.find(PRINT, None, other, scanned, at(1)), None);
    let by_chance = Passage { ttl: 63, ip_id: Some(7), ..here };
    assert_eq!(twins.find(PRINT, None, other, by_chance, at(1)), None);
    let routed = Passage { ttl: 63, ..here };
    assert_eq!(twins.find(PRINT, None, other, routed, at(1)), Some((ConnectionId(1), NatSource::Sequence)));
}

#[test]
fn an_entry_whose_end_was_lost_names_no_later_connection() {
    let original = tuple("10.0.0.1:1000", "10.96.0.1:80");
    let entry = |seconds| ConntrackEntry {
        at: UnixNanos::from_parts(seconds, 0),
        original,
        reply: tuple("10.0.1.1:8080", "10.0.0.1:1000"),
        zone: 0,
        phase: Phase::Open,
    };
    let mut testified = Testified::new(8);
    testified.put(&entry(10));
    assert_eq!(testified.take(original.form(), UnixNanos::from_parts(131, 0)), None);
    testified.put(&entry(10));
    testified.put(&entry(40));
    assert_eq!(testified.take(original.form(), UnixNanos::from_parts(131, 0)), Some(entry(40)));
}

#[test]
fn what_is_remembered_is_bounded() {
    let mut twins = Twins::new(4);
    for number in 0..100 {
        let print = Fingerprint { hash: number / 2, ..PRINT };
        twins.note(print, ConnectionId(number), tuple("10.0.0.1:1", "10.0.0.2:2"), IN, at(number));
    }
    assert_eq!((twins.ring.len(), twins.latest.len()), (4, 2));
    let mut testified = Testified::new(4);
    for port in 1..100 {
        let original = tuple(&format!("10.0.0.1:{port}"), "10.96.0.1:80");
        let reply = tuple("10.0.1.1:8080", &format!("10.0.0.1:{port}"));
        testified.put(&ConntrackEntry { at: at(0), original, reply, zone: 0, phase: Phase::Open });
    }
    assert!(testified.entries.len() <= 4);
    assert!(testified.forgotten > 0);
}
