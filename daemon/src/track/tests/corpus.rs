//! Real captures against what tshark found in them: every packet counted once, and handshakes measured alike.

use std::collections::BTreeMap;
use std::path::Path;

use pcap_parser::{LegacyPcapReader, PcapBlockOwned, PcapError, traits::PcapReaderIterator};
use serde_json::Value;

use super::*;
use crate::capture::{Frame, LinkType};
use crate::decode;

/// Both ends, lesser first.
type Pair = (SocketAddr, SocketAddr);

#[derive(Debug, Default, PartialEq, Eq)]
struct Measured {
    packets: u64,
    payload: u64,
    /// SYN to the handshake's ACK, microseconds, of the only connection of a pair.
    handshake_us: Vec<u64>,
}

/// Where the handshake differs, and why.
const DIFFERENT_HANDSHAKES: &[(&str, &str)] = &[
    ("tcp-fastopen-07", "tshark takes the server's own data for the client's ACK"),
    ("linux-evasion", "tshark takes a forged FIN for the SYN-ACK"),
    (
        "out-of-window",
        "the ACK acknowledges the SYN with data far outside the window; tshark wants both right",
    ),
];

fn pair(one: SocketAddr, other: SocketAddr) -> Pair {
    if one <= other { (one, other) } else { (other, one) }
}

fn tracked(path: &Path) -> Option<BTreeMap<Pair, Measured>> {
    let mut reader = LegacyPcapReader::new(1 << 20, std::fs::File::open(path).ok()?).ok()?;
    let mut tracker = Tracker::new(Settings::default());
    let mut found: BTreeMap<Pair, Measured> = BTreeMap::new();
    let (mut link, mut nanos) = (1, false);
    let mut sink = |event: crate::track::event::Event<'_>| {
        let tuple = event.connection.original_tuple();
        if event.reason != Reason::End || tuple.protocol != IpProtocol::TCP {
            return;
        }
        let entry = found.entry(pair(tuple.source, tuple.destination)).or_default();
        let total = event.connection.total();
        entry.packets += total.forward.packets + total.reverse.packets;
        entry.payload += total.forward.payload_bytes + total.reverse.payload_bytes;
        let tcp = event.connection.tcp.unwrap();
        if let (Some(server), Some(client)) = (tcp.server_rtt_ns(), tcp.client_rtt_ns()) {
            entry.handshake_us.push((server + client) / 1000);
        }
    };
    loop {
        match reader.next() {
            Ok((offset, block)) => {
                match block {
                    PcapBlockOwned::LegacyHeader(header) => {
                        link = header.network.0;
                        nanos = header.is_nanosecond_precision();
                    }
                    PcapBlockOwned::Legacy(record) => {
                        let fraction = record.ts_usec * if nanos { 1 } else { 1000 };
                        let frame = Frame {
                            at: UnixNanos::from_parts(u64::from(record.ts_sec), fraction),
                            interface: InterfaceId(0),
                            direction: Direction::Unknown,
                            link: LinkType(u16::try_from(link).ok()?),
                            original_len: record.origlen,
                            bytes: record.data,
                        };
                        if let Ok(packet) = decode::decode(&frame, &decode::Settings::default()) {
                            tracker.packet(&packet, Role::Unknown, &mut sink);
                        }
                    }
                    PcapBlockOwned::NG(_) => return None,
                }
                reader.consume(offset);
            }
            Err(PcapError::Incomplete(_)) => reader.refill().ok()?,
            Err(_) => break,
        }
    }
    tracker.finish(&mut sink);
    Some(found)
}

fn truth(path: &Path) -> BTreeMap<Pair, Measured> {
    let text = std::fs::read_to_string(format!("{}.truth.json", path.display())).unwrap();
    let truth: Value = serde_json::from_str(&text).unwrap();
    if truth["protocols"].get("pppoes").is_some() {
        // PPPoE is no link of a cluster.
        return BTreeMap::new();
    }
    let mut found: BTreeMap<Pair, Measured> = BTreeMap::new();
    for conversation in truth["tcp_conversations"].as_array().unwrap() {
        let end = |address: &str, port: &str| {
            let port = u16::try_from(conversation[port].as_u64().unwrap()).unwrap();
            SocketAddr::new(conversation[address].as_str().unwrap().parse().unwrap(), port)
        };
        let number = |name: &str| conversation[name].as_u64().unwrap_or(0);
        let entry = found.entry(pair(end("a", "ap"), end("b", "bp"))).or_default();
        entry.packets += number("pkts_ab") + number("pkts_ba");
        entry.payload += number("payload_ab") + number("payload_ba");
        if let Some(seconds) = conversation["irtt"].as_str().and_then(|text| text.parse::<f64>().ok()) {
            entry.handshake_us.push((seconds * 1e6).round() as u64);
        }
    }
    found
}

#[test]
fn real_captures_are_counted_as_tshark_counts_them() {
    let Some(corpus) = std::env::var_os("WEIR_CORPUS") else {
        println!("skipped: real_captures_are_counted_as_tshark_counts_them: WEIR_CORPUS is not set");
        return;
    };
    let folder = Path::new(&corpus).join("real/tcp-pathologies");
    let mut differences = Vec::new();
    let mut compared = 0;
    let mut handshakes = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "pcap") {
            continue;
        }
        let Some(ours) = tracked(&path) else { continue };
        let excused = DIFFERENT_HANDSHAKES.iter().any(|(name, _)| path.to_string_lossy().contains(name));
        for (pair, theirs) in truth(&path) {
            let none = Measured::default();
            let mine = ours.get(&pair).unwrap_or(&none);
            compared += 1;
            if (mine.packets, mine.payload) != (theirs.packets, theirs.payload) {
                differences.push(format!("{} {pair:?}: {mine:?}, tshark {theirs:?}", path.display()));
            }
            for handshake in &mine.handshake_us {
                handshakes += 1;
                if !excused && !theirs.handshake_us.iter().any(|truth| truth.abs_diff(*handshake) <= 1) {
                    differences.push(format!("{} {pair:?}: {mine:?}, tshark {theirs:?}", path.display()));
                }
            }
        }
    }
    assert!(differences.is_empty(), "{} of {compared}:\n{}", differences.len(), differences.join("\n"));
    assert!(compared > 100 && handshakes > 50, "{compared} conversations, {handshakes} handshakes");
}
