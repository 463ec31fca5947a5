//! `X.truth.json`, which tshark's output was made into -> [`Told`], and what of it cannot be compared.
//!
//! The rules here speak of protocol names and kinds of records alone, never of files.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use serde_json::Value;

use crate::told::{Conversation, Dns, Pair, Sum, Told, Translation, Wrapped};

/// What tshark found in a capture.
pub struct Truth {
    pub told: Told,
    /// The protocol for which the capture is left out.
    pub foreign: Option<String>,
    /// Frames with a piece of a datagram, outermost or not.
    pub fragments: u64,
    /// Outer UDP conversations of tunnels: to weir the inner packet is the packet.
    pub carriers: Vec<Pair>,
    pub packets: u64,
}

/// The encapsulations that are compared, by tshark's names.
const ENCAPSULATIONS: &[&str] = &[
    "eth",
    "ethertype",
    "vlan",
    "ieee8021ad",
    "sll",
    "null",
    "loop",
    "raw",
    "mpls",
    "pwethheuristic",
    "pwethcw",
    "pppoes",
    "ppp",
    "ip",
    "ipv6",
    "ipv6.hopopts",
    "ipv6.routing",
    "ipv6.dstopts",
    "ipv6.fraghdr",
    "ipv6.ipv4",
    "ah",
    "gre",
    "erspan",
    "udp",
    "vxlan",
    "geneve",
    "mipv6",
    "hip",
    "shim6",
];

/// UDP ports of VXLAN (IANA's, Linux', Weave's), VXLAN-GPE and Geneve.
const TUNNEL_PORTS: [u16; 5] = [4789, 8472, 6784, 4790, 6081];

/// The protocol around an IP packet that is none of [`ENCAPSULATIONS`]. What an ICMP error quotes is no packet.
fn foreign(stack: &str) -> Option<&str> {
    let layers: Vec<&str> = stack.split(':').collect();
    let quoted = layers.iter().position(|layer| matches!(*layer, "icmp" | "icmpv6")).unwrap_or(layers.len());
    let inner = layers[..quoted].iter().rposition(|layer| matches!(*layer, "ip" | "ipv6"))?;
    layers[..inner].iter().find(|layer| !ENCAPSULATIONS.contains(layer)).copied()
}

/// Reads the truth beside a capture.
pub fn read(capture: &Path) -> Truth {
    let file = std::fs::File::open(format!("{}.truth.json", capture.display())).unwrap();
    let truth: Value = serde_json::from_reader(std::io::BufReader::new(file)).unwrap();
    let stacks = truth["protocol_stacks"].as_object().unwrap();
    let mut told = Told::default();
    for protocol in ["tcp", "udp", "sctp"] {
        for conversation in list(&truth, &format!("{protocol}_conversations")) {
            let (pair, conversation) = conversation_of(protocol, conversation);
            told.conversations.entry(pair).or_default().push(conversation);
        }
    }
    let carriers = list(&truth, "tunnels").flat_map(|tunnel| carriers(tunnel, &told)).collect();
    for tunnel in list(&truth, "tunnels") {
        if let Some((wrapped, sum)) = wrapped(tunnel) {
            told.tunnelled.entry(wrapped).or_default().add(sum);
        }
    }
    told.dns = list(&truth, "dns").filter_map(dns).collect();
    leave_out_llmnr(&mut told.dns);
    let fragments = ["ipv4_fragments", "ipv6_fragments"];
    Truth {
        told,
        foreign: stacks.keys().find_map(|stack| foreign(stack)).map(str::to_owned),
        fragments: fragments.iter().map(|name| number(&truth["counts"][*name])).sum(),
        carriers,
        packets: number(&truth["packets"]),
    }
}

fn list<'a>(truth: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    truth[name].as_array().map_or(&[][..], Vec::as_slice).iter()
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or(0)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("")
}

/// `1456042921.641303000`, `0.059801000`
fn nanoseconds(seconds: &str) -> Option<u64> {
    let (whole, fraction) = seconds.split_once('.')?;
    Some(whole.parse::<u64>().ok()? * 1_000_000_000 + format!("{fraction:0<9}").parse::<u64>().ok()?)
}

fn conversation_of(protocol: &str, told: &Value) -> (Pair, Conversation) {
    let end = |address: &str, port: &str| {
        let port = u16::try_from(number(&told[port])).unwrap();
        SocketAddr::new(text(&told[address]).parse().unwrap(), port)
    };
    let way = |way: &str| Sum {
        packets: number(&told[format!("pkts_{way}")]),
        bytes: number(&told[format!("bytes_{way}")]),
        payload: number(&told[format!("payload_{way}")]),
    };
    let (pair, turned) = Pair::of(protocol, end("a", "ap"), end("b", "bp"));
    let mut ways = [way("ab"), way("ba")];
    if turned {
        ways.swap(0, 1);
    }
    // Of a fast or spurious retransmission tshark says both.
    let again = ["retransmission", "out_of_order"];
    let conversation = Conversation {
        first_ns: nanoseconds(text(&told["first"])).unwrap_or(0),
        frame: number(&told["first_frame"]),
        ways,
        handshake_ns: nanoseconds(text(&told["irtt"])),
        openings: ["syn_ab", "syn_ba"].map(|flag| number(&told["flags"][flag])),
        again: again.iter().map(|name| number(&told["an"][*name])).sum(),
        client: Some(end("a", "ap")),
        ..Conversation::default()
    };
    (pair, conversation)
}

/// The outer UDP conversations of a tunnel, by its ends and the port that it is known by.
fn carriers(tunnel: &Value, told: &Told) -> Vec<Pair> {
    let outer = ["outer_src", "outer_dst"].map(|name| text(&tunnel[name]).parse::<IpAddr>().ok());
    let of = |pair: &Pair| {
        let ends = [Some(pair.a.ip()), Some(pair.b.ip())];
        let known = TUNNEL_PORTS.contains(&pair.a.port()) || TUNNEL_PORTS.contains(&pair.b.port());
        pair.protocol == "udp" && known && (ends == outer || [ends[1], ends[0]] == outer)
    };
    told.conversations.keys().filter(|pair| of(pair)).cloned().collect()
}

/// None where no IP packet is inside.
fn wrapped(tunnel: &Value) -> Option<(Wrapped, Sum)> {
    let address = |name: &str| text(&tunnel[name]).parse::<IpAddr>().ok();
    let inner = (address("inner_src")?, address("inner_dst")?);
    let (protocol, ports) =
        text(&tunnel["inner_l4"]).split_once(' ').unwrap_or((text(&tunnel["inner_l4"]), ""));
    let (source, destination) = ports.split_once('>').unwrap_or_default();
    let port = |text: &str| text.parse().unwrap_or(0);
    let wrapped = Wrapped {
        kind: text(&tunnel["type"]).to_owned(),
        // None and 0 are the same to weir.
        keys: text(&tunnel["vni"]).split(',').filter_map(key).filter(|key| *key > 0).collect(),
        outer: (address("outer_src")?, address("outer_dst")?),
        inner,
        transport: (protocol.to_owned(), port(source), port(destination)),
    };
    let sum = Sum { packets: number(&tunnel["packets"]), bytes: number(&tunnel["bytes"]), payload: 0 };
    Some((wrapped, sum))
}

/// `4711`, or `0x11111111`; `-` where there is none.
fn key(text: &str) -> Option<u32> {
    match text.strip_prefix("0x") {
        Some(hex) => u32::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    }
}

/// A message with one question, carried by UDP or TCP; others are no look-ups (multicast DNS has several, or none).
fn dns(told: &Value) -> Option<Dns> {
    let one = |name: &str| match &told[name] {
        Value::Array(values) if values.len() == 1 => values[0].as_str().map(str::to_owned),
        Value::String(value) => Some(value.clone()),
        _ => None,
    };
    let addresses = ["a", "aaaa"].iter().flat_map(|name| list(told, name));
    if !matches!(text(&told["proto"]), "udp" | "tcp") {
        return None;
    }
    let name = one("qname")?;
    Some(Dns {
        source: text(&told["src"]).parse().ok()?,
        destination: text(&told["dst"]).parse().ok()?,
        response: told["response"].as_bool()?,
        name: if name == "<Root>" { String::new() } else { name.to_lowercase() },
        kind: one("qtype")?.parse().ok()?,
        rcode: text(&told["rcode"]).parse().unwrap_or(0),
        addresses: addresses.filter_map(|address| text(address).parse().ok()).collect(),
        frame: number(&told["frame"]),
    })
}

/// Link-local multicast name resolution (RFC 4795) looks like DNS, and is listed among it; it is asked of a group of its own.
fn leave_out_llmnr(messages: &mut Vec<Dns>) {
    let groups: [IpAddr; 2] = ["224.0.0.252", "ff02::1:3"].map(|group| group.parse().unwrap());
    let is_asked = |message: &Dns| groups.contains(&message.destination);
    let asked: BTreeSet<(IpAddr, String)> = messages
        .iter()
        .filter(|message| is_asked(message))
        .map(|message| (message.source, message.name.clone()))
        .collect();
    let is_answer = |message: &Dns| asked.contains(&(message.destination, message.name.clone()));
    messages.retain(|message| !is_asked(message) && !is_answer(message));
}

/// The pairs of `X.nat_pairs.tsv`: the same packet before and after its translation. Of ICMP, the first number is the
/// identifier.
pub fn translations(capture: &Path) -> Vec<Translation> {
    let Ok(table) = std::fs::read_to_string(format!("{}.nat_pairs.tsv", capture.display())) else {
        return Vec::new();
    };
    let pair = |line: &str| {
        let fields: Vec<&str> = line.split('\t').collect();
        let [frame, _, protocol, ends @ ..] = fields.as_slice() else { return None };
        let mut ends: Vec<SocketAddr> = ends.iter().filter_map(|end| end.parse().ok()).collect();
        let [a, b, c, d] = ends.as_mut_slice() else { return None };
        let name = match *protocol {
            "1" | "58" => {
                b.set_port(a.port());
                d.set_port(c.port());
                "icmp"
            }
            "6" => "tcp",
            "17" => "udp",
            _ => "sctp",
        };
        let form = |from: SocketAddr, to: SocketAddr| (name.to_owned(), from, to);
        Some(Translation { frame: frame.parse().ok()?, before: form(*a, *b), after: form(*c, *d) })
    };
    table.lines().skip(1).map(|line| pair(line).unwrap_or_else(|| panic!("{line}"))).collect()
}
