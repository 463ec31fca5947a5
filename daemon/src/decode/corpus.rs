//! Real captures against what tshark found in them; see `capture::file::corpus`.

use std::collections::BTreeMap;

use serde_json::Value;

use super::*;
use crate::capture::Batch;
use crate::capture::file::corpus::{Capture, captures};

/// Packets and payload bytes of a direction, by protocol and ends.
type Ways = BTreeMap<Tuple, (u64, u64)>;

#[test]
fn conversations_are_what_tshark_counts() {
    let Some(captures) = captures("conversations_are_what_tshark_counts") else { return };
    let (mut compared, mut differ) = (0, Vec::new());
    for capture in captures.iter().filter(|capture| is_simple(capture)) {
        compared += 1;
        let (ways, refused) = decoded(capture);
        let truth = truth(capture);
        if ways != truth || !refused.is_empty() {
            let only = |a: &Ways, b: &Ways| -> Vec<_> {
                a.iter()
                    .filter(|(tuple, way)| b.get(tuple) != Some(way))
                    .map(|x| format!("{x:?}"))
                    .take(3)
                    .collect()
            };
            differ.push(format!(
                "{:?} {refused:?} ours {:?} theirs {:?}",
                capture.path.file_name(),
                only(&ways, &truth),
                only(&truth, &ways)
            ));
        }
    }
    assert!(differ.is_empty(), "{} of {compared}:\n{}", differ.len(), differ.join("\n"));
    assert!(compared > 300);
}

/// Captures where tshark reads otherwise, and why; those of the folder `malformed` were made to be misread.
const OTHERWISE: [(&str, &str); 5] = [
    ("/malformed/", "headers that contradict themselves are refused here, and half read there"),
    ("bigtcp", "tshark does not read packets longer than their length field"),
    ("loose_source_route", "tshark names the last hop of the route as destination"),
    ("tcp-malformed", "a TCP header shorter than a TCP header is refused here"),
    ("udp-len-invalid", "a UDP length shorter than its header is refused here"),
];

/// All of Ethernet, IP once, and TCP or UDP whole; nothing that tshark finds malformed.
fn is_simple(capture: &Capture) -> bool {
    let stacks = capture.truth.get("protocol_stacks").and_then(Value::as_object).unwrap();
    let simple = |stack: &String| {
        let layers: Vec<&str> = stack.split(':').collect();
        matches!(layers.get(..4), Some(["eth", "ethertype", "ip" | "ipv6", "tcp" | "udp"]))
            && !layers[4..].iter().any(|layer| matches!(*layer, "ip" | "ipv6" | "vxlan" | "eth"))
    };
    let path = capture.path.to_string_lossy();
    if OTHERWISE.iter().any(|(part, _)| path.contains(part)) {
        return false;
    }
    !stacks.is_empty() && stacks.keys().all(simple) && capture.count("n_malformed") == 0
}

fn decoded(capture: &Capture) -> (Ways, BTreeMap<Undecodable, u64>) {
    let (mut ways, mut refused) = (Ways::new(), BTreeMap::new());
    for frame in capture.batches().iter().flat_map(Batch::frames) {
        match decode(&frame, &Settings::default()) {
            Err(reason) => *refused.entry(reason).or_default() += 1,
            Ok(packet) => {
                let payload = match packet.transport {
                    Transport::Tcp(tcp) => tcp.payload_len,
                    _ => 0,
                };
                let way = ways.entry(packet.tuple).or_default();
                *way = (way.0 + 1, way.1 + u64::from(payload));
            }
        }
    }
    (ways, refused)
}

/// tshark tells the payload of TCP alone.
fn truth(capture: &Capture) -> Ways {
    let mut ways = Ways::new();
    for (protocol, list) in [(IpProtocol::TCP, "tcp_conversations"), (IpProtocol::UDP, "udp_conversations")] {
        for conversation in capture.list(list) {
            let number = |key: &str| conversation[key].as_u64().unwrap_or_default();
            let end = |address: &str, port: &str| {
                let address: IpAddr = conversation[address].as_str().unwrap().parse().unwrap();
                (address, u16::try_from(number(port)).unwrap())
            };
            let tuple = Tuple::new(protocol, end("a", "ap"), end("b", "bp"));
            for (tuple, packets, payload) in
                [(tuple, "pkts_ab", "payload_ab"), (tuple.reversed(), "pkts_ba", "payload_ba")]
            {
                if number(packets) > 0 {
                    let way = ways.entry(tuple).or_default();
                    *way = (way.0 + number(packets), way.1 + number(payload));
                }
            }
        }
    }
    ways
}

/// Every capture of every link type, tunnel and damage: read or refused, with lengths that agree.
#[test]
fn every_frame_is_read_or_refused() {
    let Some(captures) = captures("every_frame_is_read_or_refused") else { return };
    let mut packets = 0_u64;
    for capture in &captures {
        for frame in capture.batches().iter().flat_map(Batch::frames) {
            if let Ok(packet) = decode(&frame, &Settings::default()) {
                super::tests::consistent(&packet);
                packets += 1;
            }
        }
    }
    assert!(packets > 10_000);
}
