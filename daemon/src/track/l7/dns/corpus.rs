//! Real messages against what tshark found in them; see `capture::file::corpus`.

use std::net::IpAddr;

use serde_json::Value;

use super::{Message, parse, types};
use crate::capture::Batch;
use crate::capture::file::corpus::{Capture, captures};
use crate::decode::{Fragment, Settings, Transport, decode};

/// What the two readers are compared by; tshark names addresses of all sections, so ours must be among them.
#[derive(Debug, PartialEq)]
struct Told {
    head: String,
    answers: usize,
    cnames: Vec<String>,
    ips: Vec<IpAddr>,
}

/// Every message of one question and one packet that tshark reads; updates are no queries (RFC 2136).
#[test]
fn messages_are_what_tshark_reads() {
    let Some(captures) = captures("messages_are_what_tshark_reads") else { return };
    let (mut compared, mut differ) = (0, Vec::new());
    for capture in captures.iter().filter(|capture| is_simple(capture)) {
        let ours = messages(capture);
        for theirs in capture.list("dns").iter().filter_map(theirs) {
            compared += 1;
            let same = |ours: &Told| {
                let ips = ours.ips.iter().all(|ip| theirs.ips.contains(ip));
                ips && Told {
                    ips: theirs.ips.clone(),
                    head: ours.head.clone(),
                    cnames: ours.cnames.clone(),
                    ..*ours
                } == theirs
            };
            if !ours.iter().any(same) {
                differ.push(format!("{:?} {theirs:?}", capture.path.file_name()));
            }
        }
    }
    assert!(differ.is_empty(), "{} of {compared}:\n{}", differ.len(), differ.join("\n"));
    assert!(compared > 400);
}

/// Nothing malformed or cut, and no tunnel that is not opened.
fn is_simple(capture: &Capture) -> bool {
    let stacks = capture.truth["protocol_stacks"].as_object().unwrap();
    let plain = |stack: &String| {
        stack.starts_with("eth:") && !["gre", "geneve", "null"].iter().any(|tunnel| stack.contains(tunnel))
    };
    let updates = capture.path.to_string_lossy().contains("dynamic-update");
    let whole = ["n_malformed", "snaplen_truncated_packets"].iter().all(|key| capture.count(key) == 0);
    stacks.keys().all(plain) && whole && !updates
}

fn messages(capture: &Capture) -> Vec<Told> {
    let mut told = Vec::new();
    for frame in capture.batches().iter().flat_map(Batch::frames) {
        let Ok(packet) = decode(&frame, &Settings::default()) else { continue };
        let cut = packet.truncated || packet.fragment == Fragment::First;
        if let Transport::Udp { payload, .. } = packet.transport {
            told.extend(parse(payload, cut).map(ours));
        }
    }
    told
}

fn ours(message: Message) -> Told {
    let Message { id, response, rcode, name, qtype, ips, cnames, rrtypes, .. } = message;
    Told { head: format!("{id:#06x} {response} {rcode} {name} {qtype}"), answers: rrtypes.len(), cnames, ips }
}

/// None if it is no message over UDP with one question.
fn theirs(dns: &Value) -> Option<Told> {
    let texts = |key: &str| -> Vec<String> {
        let values = dns[key].as_array().into_iter().flatten();
        values.filter_map(|value| Some(value.as_str()?.to_owned())).collect()
    };
    let ([name], [qtype]) = (&texts("qname")[..], &texts("qtype")[..]) else { return None };
    if dns["proto"] != "udp" {
        return None;
    }
    let dotted = |name: &String| match name.as_str() {
        "<Root>" => ".".to_owned(),
        name => format!("{}.", name.to_ascii_lowercase()),
    };
    let (id, response) = (dns["id"].as_str()?, dns["response"].as_bool()?);
    let rcode = dns["rcode"].as_str().unwrap_or("0");
    let (name, qtype) = (dotted(name), types::word(qtype.parse().ok()?));
    Some(Told {
        head: format!("{id} {response} {rcode} {name} {qtype}"),
        answers: dns["answers"].as_str()?.parse().ok()?,
        cnames: texts("cname").iter().map(dotted).collect(),
        ips: [texts("a"), texts("aaaa")].concat().iter().filter_map(|ip| ip.parse().ok()).collect(),
    })
}
