//! What `weir-daemon replay` prints -> [`Told`]. Of each connection the last record counts: its totals are the connection's.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use serde_json::Value;

use crate::told::{Conversation, Dns, Pair, Sum, Told, Wrapped};

/// What the program said of a capture, and how it ended.
pub struct Replayed {
    pub told: Told,
    /// Packets of fragmented datagrams are counted one by one here, whole datagrams there.
    pub code: Option<i32>,
    pub said: String,
}

/// Replays a capture with the real program.
pub fn replay(capture: &Path) -> Replayed {
    let ended = weir_tests::weir("weir-daemon", &["replay", capture.to_str().unwrap()]).unwrap();
    let mut told = Told::default();
    let mut connections: BTreeMap<u64, Value> = BTreeMap::new();
    for line in ended.out.lines() {
        let mut response: Value = serde_json::from_str(line).unwrap();
        let flow = response["flow"].take();
        if flow["l7"].is_null() {
            connections.insert(number(&flow["weir"]["connection_id"]), flow);
        } else {
            told.dns.extend(dns(&flow));
        }
    }
    // What was found to be part of another connection is counted there.
    for flow in connections.values().filter(|flow| number(&flow["weir"]["merged_into"]) == 0) {
        connection(flow, &mut told);
    }
    Replayed { told, code: ended.code, said: ended.err }
}

pub fn number(value: &Value) -> u64 {
    match value {
        Value::String(text) => text.parse().unwrap_or(0),
        other => other.as_u64().unwrap_or(0),
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("")
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().map_or(&[][..], Vec::as_slice).iter()
}

fn protocol(flow: &Value) -> Option<&'static str> {
    let l4 = flow["l4"].as_object()?;
    let names = [("TCP", "tcp"), ("UDP", "udp"), ("SCTP", "sctp"), ("ICMPv4", "icmp"), ("ICMPv6", "icmp")];
    names.into_iter().find(|(name, _)| l4.contains_key(*name)).map(|(_, name)| name)
}

/// An address with its port, where it has one: `10.0.0.1:80`, `[::1]:80`, `10.0.0.1`.
fn end(text: &str) -> SocketAddr {
    text.parse().unwrap_or_else(|_| SocketAddr::new(text.parse().unwrap(), 0))
}

fn sum(counters: &Value, way: &str) -> Sum {
    let count = |what: &str| number(&counters[format!("{what}_{way}")]);
    Sum { packets: count("packets"), bytes: count("frame_bytes"), payload: count("payload_bytes") }
}

fn connection(flow: &Value, told: &mut Told) {
    let protocol = protocol(flow).unwrap_or("other");
    let path = flow["weir"]["path"].as_array().cloned().unwrap_or_default();
    let mut forms: BTreeMap<(SocketAddr, SocketAddr), Conversation> = BTreeMap::new();
    for point in &path {
        let (source, destination) = (end(text(&point["source"])), end(text(&point["destination"])));
        let ways = ["forward", "reverse"].map(|way| sum(&point["counters"], way));
        tunnelled(protocol, point, (source, destination), &ways, told);
        let form = forms.entry((source, destination)).or_default();
        let first_ns = nanoseconds(text(&point["first"]));
        form.first_ns = if form.points == 0 { first_ns } else { form.first_ns.min(first_ns) };
        form.points += 1;
        for (sum, more) in form.ways.iter_mut().zip(ways) {
            sum.add(more);
        }
    }
    translations(flow, protocol, &forms, told);
    if !matches!(protocol, "tcp" | "udp" | "sctp") {
        return;
    }
    let tcp = &flow["weir"]["tcp"];
    let absent = |name: &str| list(&tcp["absent"]).any(|absent| text(absent) == name);
    let measure = |field: &str, name: &str| (!absent(name)).then(|| number(&tcp[field]));
    let handshake = [
        measure("handshake_server_ns", "TCP_MEASURE_HANDSHAKE_SERVER"),
        measure("handshake_client_ns", "TCP_MEASURE_HANDSHAKE_CLIENT"),
    ];
    for ((source, destination), mut form) in forms {
        let (pair, turned) = Pair::of(protocol, source, destination);
        if turned {
            form.ways.swap(0, 1);
        }
        if protocol != "tcp" {
            form.ways.iter_mut().for_each(|way| way.payload = 0);
        }
        form.client = Some(source);
        form.over = matches!(
            text(&flow["weir"]["state"]),
            "CONNECTION_STATE_IDLE"
                | "CONNECTION_STATE_CLOSED"
                | "CONNECTION_STATE_RESET"
                | "CONNECTION_STATE_UNANSWERED"
        );
        form.answered_ns = handshake[0].unwrap_or(0);
        form.handshake_ns = handshake[0].zip(handshake[1]).map(|(server, client)| server + client);
        let again = [
            "retransmissions_forward",
            "retransmissions_reverse",
            "out_of_order_forward",
            "out_of_order_reverse",
        ];
        form.again = again.iter().map(|name| number(&tcp[*name])).sum();
        form.points = path.len();
        told.conversations.entry(pair).or_default().push(form);
    }
}

/// What was wrapped at a point, each way for itself. Where `tunnel` says all, the answer's is the same turned round.
fn tunnelled(
    protocol: &str,
    point: &Value,
    inner: (SocketAddr, SocketAddr),
    ways: &[Sum; 2],
    told: &mut Told,
) {
    let turned = (inner.1, inner.0);
    let mut add = |stack: &[&Value], ends: (SocketAddr, SocketAddr), outer_turned: bool, sum: Sum| {
        if sum.packets > 0 {
            told.tunnelled.entry(wrapped(protocol, stack, ends, outer_turned)).or_default().add(sum);
        }
    };
    let [forward, reverse] = ways.map(|sum| Sum { payload: 0, ..sum });
    let stacked = list(&point["wrappings"]).flat_map(|wrapping| list(&wrapping["stack"]));
    told.carriers.extend(stacked.chain([&point["tunnel"]]).filter_map(carrier));
    let mut wrappings = list(&point["wrappings"]).peekable();
    if wrappings.peek().is_none() && !point["tunnel"].is_null() {
        add(&[&point["tunnel"]], inner, false, forward);
        add(&[&point["tunnel"]], turned, true, reverse);
    }
    for wrapping in wrappings {
        let stack: Vec<&Value> = list(&wrapping["stack"]).collect();
        let ends = if wrapping["reverse"] == true { turned } else { inner };
        let sum = Sum {
            packets: number(&wrapping["packets"]),
            bytes: number(&wrapping["frame_bytes"]),
            payload: 0,
        };
        add(&stack, ends, false, sum);
    }
}

/// The tunnel's own UDP conversation: both addresses, and the port that it is known by. The other one is another for each flow.
fn carrier(tunnel: &Value) -> Option<(IpAddr, IpAddr, u16)> {
    let address = |name: &str| text(&tunnel[name]).parse::<IpAddr>().ok();
    let port = u16::try_from(number(&tunnel["destination_port"])).ok().filter(|port| *port > 0)?;
    Some((address("source")?, address("destination")?, port))
}

/// tshark names a stack of tunnels by one of them, with the keys of those, the outermost addresses and the innermost.
fn wrapped(protocol: &str, stack: &[&Value], ends: (SocketAddr, SocketAddr), outer_turned: bool) -> Wrapped {
    const NAMES: [(&str, &str); 9] = [
        ("vxlan", "vxlan"),
        ("geneve", "geneve"),
        ("erspan", "erspan"),
        ("gre", "gre"),
        ("ipip", "ip-in-ip"),
        ("sit", "ip-in-ip"),
        ("ip6ip6", "ip-in-ip"),
        ("ipip6", "ip-in-ip"),
        // tshark 4.0 has no name for it, and sees IP behind UDP.
        ("vxlan-gpe", "ip-in-ip"),
    ];
    let protocol_of = |tunnel: &Value| text(&tunnel["protocol"]).to_owned();
    let named = |name: &str| stack.iter().any(|tunnel| protocol_of(tunnel) == name);
    let (name, kind) = NAMES.iter().find(|(name, _)| named(name)).copied().unwrap_or_default();
    let address = |name: &str| text(&stack[0][name]).parse::<IpAddr>().unwrap();
    let (source, destination) = (address("source"), address("destination"));
    Wrapped {
        kind: kind.to_owned(),
        keys: stack
            .iter()
            .filter(|tunnel| protocol_of(tunnel) == name && kind != "ip-in-ip")
            .map(|tunnel| u32::try_from(number(&tunnel["vni"])).unwrap())
            .filter(|key| *key > 0)
            .collect(),
        outer: if outer_turned { (destination, source) } else { (source, destination) },
        inner: (ends.0.ip(), ends.1.ip()),
        transport: (protocol.to_owned(), ends.0.port(), ends.1.port()),
    }
}

/// Every two forms of one connection; ICMP's have the identifier for a port.
fn translations(
    flow: &Value,
    protocol: &str,
    forms: &BTreeMap<(SocketAddr, SocketAddr), Conversation>,
    told: &mut Told,
) {
    let id = u16::try_from(number(&flow["weir"]["icmp_id"])).unwrap_or(0);
    let with_id = |mut end: SocketAddr| {
        if protocol == "icmp" {
            end.set_port(id);
        }
        end
    };
    for one in forms.keys() {
        for other in forms.keys().filter(|other| *other != one) {
            let form = |(a, b): &(SocketAddr, SocketAddr)| (protocol.to_owned(), with_id(*a), with_id(*b));
            let turned = |(a, b): &(SocketAddr, SocketAddr)| (protocol.to_owned(), with_id(*b), with_id(*a));
            told.translated.insert((form(one), form(other)));
            told.translated.insert((turned(one), turned(other)));
        }
    }
}

fn dns(flow: &Value) -> Option<Dns> {
    let message = &flow["l7"]["dns"];
    let ips = message["ips"].as_array().cloned().unwrap_or_default();
    Some(Dns {
        source: text(&flow["IP"]["source"]).parse().ok()?,
        destination: text(&flow["IP"]["destination"]).parse().ok()?,
        response: flow["l7"]["type"] == "RESPONSE",
        name: text(&message["query"]).trim_end_matches('.').to_owned(),
        kind: kind(text(&message["qtypes"][0])),
        rcode: u16::try_from(number(&message["rcode"])).unwrap(),
        addresses: ips.iter().map(|ip| text(ip).parse().unwrap()).collect(),
        frame: 0,
    })
}

/// Record types in words (IANA "Domain Name System (DNS) Parameters").
fn kind(word: &str) -> u16 {
    const WORDS: [(&str, u16); 46] = [
        ("A", 1),
        ("NS", 2),
        ("MD", 3),
        ("MF", 4),
        ("CNAME", 5),
        ("SOA", 6),
        ("MB", 7),
        ("MG", 8),
        ("MR", 9),
        ("NULL", 10),
        ("WKS", 11),
        ("PTR", 12),
        ("HINFO", 13),
        ("MINFO", 14),
        ("MX", 15),
        ("TXT", 16),
        ("RP", 17),
        ("AFSDB", 18),
        ("SIG", 24),
        ("KEY", 25),
        ("AAAA", 28),
        ("LOC", 29),
        ("SRV", 33),
        ("NAPTR", 35),
        ("CERT", 37),
        ("DNAME", 39),
        ("OPT", 41),
        ("DS", 43),
        ("SSHFP", 44),
        ("RRSIG", 46),
        ("NSEC", 47),
        ("DNSKEY", 48),
        ("NSEC3", 50),
        ("NSEC3PARAM", 51),
        ("TLSA", 52),
        ("SVCB", 64),
        ("HTTPS", 65),
        ("SPF", 99),
        ("TKEY", 249),
        ("TSIG", 250),
        ("IXFR", 251),
        ("AXFR", 252),
        ("MAILB", 253),
        ("ANY", 255),
        ("URI", 256),
        ("CAA", 257),
    ];
    let known = WORDS.iter().find(|(known, _)| *known == word).map(|(_, number)| *number);
    known.or_else(|| word.strip_prefix("TYPE")?.parse().ok()).unwrap_or(0)
}

/// `2026-11-25T10:00:00.123456789Z`
fn nanoseconds(time: &str) -> u64 {
    let time: jiff::Timestamp = time.parse().unwrap();
    u64::try_from(time.as_nanosecond()).unwrap()
}
