//! Messages written by another implementation, cut and damaged; names that loop.

use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;
use simple_dns::rdata::{A, AAAA, CNAME, RData, TXT};
use simple_dns::{CLASS, Name, Packet, PacketFlag, QCLASS, QTYPE, Question, RCODE, ResourceRecord, TYPE};

use super::*;

fn question(name: &str, kind: TYPE) -> Question<'_> {
    Question::new(Name::new_unchecked(name), QTYPE::TYPE(kind), QCLASS::CLASS(CLASS::IN), false)
}

fn record<'a>(name: &'a str, ttl: u32, data: RData<'a>) -> ResourceRecord<'a> {
    ResourceRecord::new(Name::new_unchecked(name), CLASS::IN, ttl, data)
}

fn query() -> Vec<u8> {
    let mut packet = Packet::new_query(4660);
    packet.set_flags(PacketFlag::RECURSION_DESIRED);
    packet.questions.push(question("Web.Default.SVC.cluster.local", TYPE::AAAA));
    packet.build_bytes_vec().unwrap()
}

/// An alias and two addresses, its names compressed.
fn answer() -> Vec<u8> {
    let mut packet = Packet::new_reply(7);
    packet.questions.push(question("www.example.org", TYPE::A));
    let alias = CNAME(Name::new_unchecked("edge.example.org"));
    let address = Ipv4Addr::new(192, 0, 2, 1);
    packet.answers.push(record("www.example.org", 300, RData::CNAME(alias)));
    packet.answers.push(record("edge.example.org", 20, RData::A(A { address: address.into() })));
    let address = Ipv6Addr::LOCALHOST;
    packet.answers.push(record("edge.example.org", 60, RData::AAAA(AAAA { address: address.into() })));
    packet.build_bytes_vec_compressed().unwrap()
}

/// A header for one question and so many answers, and what follows it.
fn message(answers: u8, rest: &[u8]) -> Vec<u8> {
    [&[0, 1, 0x80, 0, 0, 1, 0, answers, 0, 0, 0, 0], rest].concat()
}

#[test]
fn a_query() {
    let message = parse(&query(), false).unwrap();
    assert_eq!((message.id, message.response, message.rcode), (4660, false, 0));
    assert_eq!(message.name, "web.default.svc.cluster.local.");
    assert_eq!((message.qtype.as_str(), message.ttl), ("AAAA", 0));
    assert!(message.rrtypes.is_empty());
}

#[test]
fn an_answer_with_an_alias() {
    let message = parse(&answer(), false).unwrap();
    assert_eq!((message.response, message.truncated), (true, false));
    assert_eq!(message.ips, ["192.0.2.1".parse::<IpAddr>().unwrap(), "::1".parse().unwrap()]);
    assert_eq!(message.cnames, ["edge.example.org."]);
    assert_eq!(message.rrtypes, ["CNAME", "A", "AAAA"]);
    assert_eq!(message.ttl, 20);
}

#[test]
fn a_name_that_does_not_exist() {
    let mut packet = Packet::new_reply(9);
    packet.questions.push(question("nowhere.example.org", TYPE::TXT));
    *packet.rcode_mut() = RCODE::NameError;
    let message = parse(&packet.build_bytes_vec().unwrap(), false).unwrap();
    assert_eq!((message.rcode, message.qtype.as_str()), (3, "TXT"));
}

#[test]
fn other_records_are_named_only() {
    let mut packet = Packet::new_reply(9);
    packet.questions.push(question("example.org", TYPE::TXT));
    let text = TXT::new().with_string("secret").unwrap();
    packet.answers.push(record("example.org", 5, RData::TXT(text)));
    let message = parse(&packet.build_bytes_vec().unwrap(), false).unwrap();
    assert_eq!((message.rrtypes, message.ips, message.ttl), (vec!["TXT".to_owned()], vec![], 5));
}

#[test]
fn types_in_words() {
    for (number, word) in
        [(1, "A"), (12, "PTR"), (28, "AAAA"), (33, "SRV"), (65, "HTTPS"), (255, "ANY"), (257, "CAA")]
    {
        assert_eq!(types::word(number), word);
    }
    assert_eq!(types::word(65_280), "TYPE65280");
}

#[test]
fn names_that_lead_nowhere_are_no_names() {
    let question = |name: &[u8]| message(0, &[name, &[0, 1, 0, 1]].concat());
    let to_itself = [0xc0, 12];
    let around = [1, b'a', 0xc0, 12];
    let forward = [0xc0, 14, 1, b'a', 0];
    let reserved = [0x40, 0];
    let long = [&[63; 64][..]; 4].concat();
    for name in [&to_itself[..], &around, &forward, &reserved, &long] {
        assert_eq!(parse(&question(name), true), None, "{name:02x?}");
    }
    assert_eq!(parse(&question(&[0]), false).unwrap().name, ".");
}

#[test]
fn bytes_that_do_not_print_are_escaped() {
    let raw = message(0, &[5, b'A', b'.', b'\\', 0x1b, 0xff, 0, 0, 1, 0, 1]);
    assert_eq!(parse(&raw, false).unwrap().name, "a\\.\\\\\\027\\255.");
}

#[test]
fn one_question_and_a_query_is_asked_for() {
    let mut two = query();
    two[5] = 2;
    assert_eq!(parse(&two, false), None);
    let mut update = query();
    update[2] |= 5 << 3;
    assert_eq!(parse(&update, false), None);
}

#[test]
fn an_address_of_the_wrong_size_is_malformed() {
    let record = [0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 9, 0, 3, 1, 2, 3];
    let raw = message(1, &[&[1, b'a', 0, 0, 1, 0, 1], &record[..]].concat());
    assert_eq!(parse(&raw, false), None);
}

/// From the end of the question on, a cut answer tells the question and the records before the cut.
#[test]
fn cut_at_every_byte() {
    let whole = answer();
    let full = parse(&whole, false).unwrap();
    let question_end = HEADER_LEN + "www.example.org".len() + 2 + 4;
    for len in 0..whole.len() {
        assert_eq!(parse(&whole[..len], false), None, "at {len}");
        let cut = parse(&whole[..len], true);
        assert_eq!(cut.is_some(), len >= question_end, "at {len}");
        if let Some(cut) = cut {
            assert_eq!((&cut.name, cut.id), (&full.name, full.id));
            assert!(full.rrtypes.starts_with(&cut.rrtypes) && full.ips.starts_with(&cut.ips));
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..600), cut: bool) {
        let _ = parse(&bytes, cut);
    }

    /// Names made of few different bytes: labels, ends and pointers hit each other.
    #[test]
    fn any_names_end(
        rest in prop::collection::vec(prop::sample::select(&[0_u8, 1, 2, 12, 13, 16, 0xc0][..]), 0..300),
        answers: u8,
    ) {
        if let Some(message) = parse(&message(answers, &rest), true) {
            prop_assert!(message.name.ends_with('.') && message.name.len() <= 4 * MAX_NAME);
            prop_assert!(message.rrtypes.len() <= usize::from(answers));
        }
    }

    #[test]
    fn any_damage_is_read_or_refused(at in any::<prop::sample::Index>(), value: u8, cut: bool) {
        let mut bytes = answer();
        let at = at.index(bytes.len());
        bytes[at] = value;
        let _ = parse(&bytes, cut);
    }
}
