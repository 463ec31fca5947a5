//! The cells of a connection's row: the fixed ones first, then who called whom, then what explains it.
//!
//! Names by default; with `--numeric` addresses: the Service's, the backend's, and the tunnel's outer ones.

use weir_proto::flow::layer4::Protocol;
use weir_proto::flow::{Dns, Flow, layer7};
use weir_proto::weir::v1::{
    Connection, ConnectionState, Counters, Encapsulation, FlowDetail, Nat, NatSource, Observation, PathPoint,
    ServiceRef,
};

use super::super::policy::policy_clauses;
use super::super::style::{Paint, Tone, escape};
use super::super::{Output, event, host, kernel_drop};

/// A column.
pub struct Column {
    pub name: &'static str,
    /// Its width, which grows with wider cells up to `most`; a cell wider than that pushes the rest of its line.
    pub width: usize,
    pub most: usize,
    /// Numbers stand to the right.
    pub right: bool,
    pub cell: fn(&Row<'_>) -> String,
    pub tone: fn(&Row<'_>) -> Option<Tone>,
}

const fn column(name: &'static str, width: usize, cell: fn(&Row<'_>) -> String) -> Column {
    Column { name, width, most: width, right: false, cell, tone: |_| None }
}

const fn number(name: &'static str, width: usize, cell: fn(&Row<'_>) -> String) -> Column {
    Column { right: true, ..column(name, width, cell) }
}

/// The columns in their order.
pub const COLUMNS: &[Column] = &[
    Column {
        most: 36,
        ..column("TIME", 19, |row| row.output.time.print(row.detail.first_packet.or(row.flow.time)))
    },
    Column {
        tone: |row| Some(event::tone(row.flow.verdict())),
        ..column("VERDICT", 9, |row| row.flow.verdict().as_str_name().to_owned())
    },
    column("STATE", 10, |row| state(row.detail.state()).to_owned()),
    column("PROTO", 5, protocol),
    Column { most: 100, tone: |_| Some(Tone::Host), ..column("CLIENT -> SERVICE -> BACKEND", 60, ends) },
    number("RTT", 7, |row| rtt(row.detail)),
    number("SENT", 7, |row| bytes(row.detail.total.as_ref(), |count| count.ip_bytes_forward)),
    number("RECEIVED", 8, |row| bytes(row.detail.total.as_ref(), |count| count.ip_bytes_reverse)),
    Column { most: 32, tone: |_| Some(Tone::Quiet), ..column("SEEN BY", 7, seen_by) },
    column("DETAILS", 0, details),
];

const PLAIN: Paint = Paint::new(false);

/// What a row is made of.
pub struct Row<'a> {
    pub output: &'a Output,
    pub flow: &'a Flow,
    pub detail: &'a FlowDetail,
    pub connection: &'a Connection,
}

impl<'a> Row<'a> {
    /// None for a connection without a flow: a relay takes it back.
    pub fn of(connection: &'a Connection, output: &'a Output) -> Option<Self> {
        let flow = connection.flow.as_ref()?;
        Some(Self { output, flow, detail: flow.weir.as_ref()?, connection })
    }

    pub fn is_tcp(&self) -> bool {
        matches!(l4(self.flow), Some(Protocol::Tcp(_)))
    }
}

/// Who called whom: client, Service if there is one, backend if one is known.
pub fn ends(row: &Row<'_>) -> String {
    let client = host::ends(row.flow).0.with_port(row.output.numeric, &PLAIN);
    [Some(client), service(row), Some(backend(row))].into_iter().flatten().collect::<Vec<_>>().join(" -> ")
}

fn l4(flow: &Flow) -> Option<&Protocol> {
    flow.l4.as_ref()?.protocol.as_ref()
}

/// The Service by its name, or by its address; with a question mark where it is inferred from its backends.
fn service(row: &Row<'_>) -> Option<String> {
    let nat = row.detail.nat.as_ref().filter(|nat| !nat.vip.is_empty());
    let called = nat.map_or_else(|| destination(row.flow), |nat| (nat.vip.as_str(), nat.vip_port));
    match row.detail.services.as_slice() {
        [] => nat.map(|_| address(called)),
        [service] if service.exact && row.output.numeric => Some(address(called)),
        [service] if service.exact => Some(with_port(&name(service), called.1)),
        _ if row.output.numeric => None,
        candidates => Some(format!("{}?", candidates.iter().map(name).collect::<Vec<_>>().join("|"))),
    }
}

fn name(service: &ServiceRef) -> String {
    format!("{}/{}", escape(&service.namespace), escape(&service.name))
}

/// The true destination; while only the Service's address is known, no backend was seen.
fn backend(row: &Row<'_>) -> String {
    let is_vip = row.detail.nat.as_ref().is_none_or(|nat| nat.vip.is_empty())
        && row.detail.services.iter().any(|service| service.exact);
    if is_vip {
        "no backend seen".to_owned()
    } else {
        host::ends(row.flow).1.with_port(row.output.numeric, &PLAIN)
    }
}

fn destination(flow: &Flow) -> (&str, u32) {
    let port = match l4(flow) {
        Some(Protocol::Tcp(tcp)) => tcp.destination_port,
        Some(Protocol::Udp(udp)) => udp.destination_port,
        Some(Protocol::Sctp(sctp)) => sctp.destination_port,
        _ => 0,
    };
    (flow.ip.as_ref().map_or("", |ip| &ip.destination), port)
}

/// Address and port as one writes them, safe for a terminal; port 0 is left out.
pub fn address((ip, port): (&str, u32)) -> String {
    let ip = escape(ip);
    if port > 0 && ip.contains(':') { format!("[{ip}]:{port}") } else { with_port(&ip, port) }
}

fn with_port(name: &str, port: u32) -> String {
    if port == 0 { name.to_owned() } else { format!("{name}:{port}") }
}

fn protocol(row: &Row<'_>) -> String {
    match l4(row.flow) {
        Some(Protocol::Tcp(_)) => "tcp",
        Some(Protocol::Udp(_)) => "udp",
        Some(Protocol::Sctp(_)) => "sctp",
        Some(Protocol::IcmPv4(_) | Protocol::IcmPv6(_)) => "icmp",
        Some(Protocol::Vrrp(_)) => "vrrp",
        Some(Protocol::Igmp(_)) => "igmp",
        None => "-",
    }
    .to_owned()
}

/// A state in a word.
pub const fn state(state: ConnectionState) -> &'static str {
    match state {
        ConnectionState::Unspecified => "-",
        ConnectionState::Opening => "opening",
        ConnectionState::Established => "open",
        ConnectionState::Closing => "closing",
        ConnectionState::Closed => "closed",
        ConnectionState::Reset => "reset",
        ConnectionState::Idle => "idle",
        ConnectionState::Unanswered => "unanswered",
        ConnectionState::Rejected => "rejected",
        ConnectionState::Evicted => "evicted",
    }
}

fn rtt(detail: &FlowDetail) -> String {
    let nanos = detail.tcp.as_ref().map_or(0, |tcp| tcp.handshake_server_ns + tcp.handshake_client_ns);
    match nanos {
        0 => "-".to_owned(),
        nanos => milliseconds(nanos),
    }
}

/// A duration in four characters or so.
pub fn milliseconds(nanos: u64) -> String {
    let micros = nanos / 1000;
    match micros {
        0..=9_999 => format!("{}.{:02}ms", micros / 1000, micros % 1000 / 10),
        10_000..=9_999_999 => format!("{}ms", micros / 1000),
        _ => format!("{}s", micros / 1_000_000),
    }
}

/// A count of bytes in four characters or so.
pub fn bytes(total: Option<&Counters>, which: fn(&Counters) -> u64) -> String {
    const UNITS: &[&str] = &["B", "kB", "MB", "GB", "TB", "PB", "EB"];
    let count = total.map_or(0, which);
    let (mut whole, mut tenths, mut unit) = (count, 0, 0);
    while whole >= 1000 && unit + 1 < UNITS.len() {
        tenths = whole % 1000 / 100;
        whole /= 1000;
        unit += 1;
    }
    let unit = UNITS[unit];
    if unit == "B" || whole >= 100 { format!("{whole}{unit}") } else { format!("{whole}.{tenths}{unit}") }
}

fn seen_by(row: &Row<'_>) -> String {
    let mut nodes: Vec<&str> = row.connection.sightings.iter().map(|flow| flow.node_name.as_str()).collect();
    nodes.dedup();
    escape(&nodes.join(",")).into_owned()
}

/// What explains the row, the most telling first: what stopped it, what was asked, what lay between, what is a guess.
fn details(row: &Row<'_>) -> String {
    let parts =
        [fate(row), dns(row.flow).into_iter().collect(), way(row, row.output.numeric), guesses(row.detail)];
    parts.concat().join("; ")
}

/// What stopped or refused it, or where it was last seen.
fn fate(row: &Row<'_>) -> Vec<String> {
    let mut fate = policy_clauses(row.detail);
    fate.extend(row.detail.kernel_drops.iter().map(kernel_drop));
    for evidence in &row.detail.evidence {
        let said = match evidence.observation() {
            Observation::Logged => "logged by",
            Observation::IcmpUnreachable => "refused by",
            Observation::ResetByNetwork => "reset on the way, at",
            Observation::ResetByEndpoint => "reset by its port, at",
            Observation::PacketTooBig => "too big for",
            Observation::HopsExceeded => "out of hops at",
            _ => continue,
        };
        let sentence = format!("{said} {}", escape(&evidence.detail));
        // Two nodes may have seen the same.
        if !fate.contains(&sentence) {
            fate.push(sentence);
        }
    }
    if !row.detail.last_seen_at.is_empty() {
        fate.push(format!("last seen at {}", escape(&row.detail.last_seen_at)));
    }
    fate
}

/// Masquerade and tunnel between the ends.
fn way(row: &Row<'_>, numeric: bool) -> Vec<String> {
    let nat = row.detail.nat.as_ref().filter(|nat| !nat.masquerade.is_empty());
    let snat = nat.map(|nat| format!("snat {}", address((&nat.masquerade, nat.masquerade_port))));
    let carries =
        (!row.detail.carries.is_empty()).then(|| format!("carries {}", escape(&row.detail.carries)));
    let tunnel = tunnelled(row).map(|point| encapsulation(point, numeric));
    snat.into_iter().chain(tunnel).chain(carries).collect()
}

fn guesses(detail: &FlowDetail) -> Vec<String> {
    let source = detail.nat.as_ref().map(Nat::source);
    let inferred = matches!(source, Some(NatSource::Sequence | NatSource::Payload));
    inferred.then(|| "NAT inferred from equal packets".to_owned()).into_iter().collect()
}

/// The same by parts, as the screen has columns for; nothing where the connection has no flow.
#[must_use]
pub fn cells(connection: &Connection, output: &Output) -> Vec<(&'static str, String)> {
    let Some(row) = Row::of(connection, output) else {
        return Vec::new();
    };
    let why = [fate(&row), dns(row.flow).into_iter().collect(), guesses(row.detail)].concat();
    let or_dash = |text: String| if text.is_empty() { "-".to_owned() } else { text };
    vec![
        ("TIME", output.time.print(row.detail.first_packet.or(row.flow.time))),
        ("CLIENT", host::ends(row.flow).0.with_port(output.numeric, &PLAIN)),
        ("SERVICE", or_dash(service(&row).unwrap_or_default())),
        ("BACKEND", backend(&row)),
        ("PROTO", protocol(&row)),
        ("VERDICT", row.flow.verdict().as_str_name().to_owned()),
        ("STATE", state(row.detail.state()).to_owned()),
        ("RTT", rtt(row.detail)),
        ("SENT", bytes(row.detail.total.as_ref(), |count| count.ip_bytes_forward)),
        ("ANSWERED", bytes(row.detail.total.as_ref(), |count| count.ip_bytes_reverse)),
        ("WAY", or_dash(way(&row, true).join(" "))),
        ("SEEN BY", seen_by(&row)),
        ("WHY", why.join("; ")),
    ]
}

fn tunnelled<'a>(row: &Row<'a>) -> Option<&'a PathPoint> {
    let sightings = row.connection.sightings.iter().filter_map(|sighting| sighting.weir.as_ref());
    sightings.chain([row.detail]).flat_map(|detail| &detail.path).find(|point| point.tunnel.is_some())
}

/// By name it is known from the nodes that saw the connection which ends it has.
fn encapsulation(point: &PathPoint, numeric: bool) -> String {
    let told = |tunnel: &Encapsulation| {
        let name = tunnel_name(tunnel);
        if numeric {
            format!("{name} {}>{}", escape(&tunnel.source), escape(&tunnel.destination))
        } else {
            name
        }
    };
    tunnels(point).into_iter().map(told).collect::<Vec<_>>().join(" in ")
}

/// The forward way's encapsulations at a point, innermost first.
#[must_use]
pub fn tunnels(point: &PathPoint) -> Vec<&Encapsulation> {
    let forward = point.wrappings.iter().find(|wrapping| !wrapping.reverse);
    match forward {
        Some(wrapping) => wrapping.stack.iter().rev().collect(),
        None => point.tunnel.iter().collect(),
    }
}

/// Kind, and number where it has one: of kinds that always have one, 0 is a number too.
#[must_use]
pub fn tunnel_name(tunnel: &Encapsulation) -> String {
    let numbered = ["vxlan", "vxlan-gpe", "geneve"].contains(&tunnel.protocol.as_str());
    let name = escape(&tunnel.protocol);
    if numbered || tunnel.vni != 0 { format!("{name} {}", tunnel.vni) } else { name.into_owned() }
}

/// The DNS message of a flow: the question, and what was answered.
pub fn dns(flow: &Flow) -> Option<String> {
    let l7 = flow.l7.as_ref()?;
    let Some(layer7::Record::Dns(dns)) = &l7.record else { return None };
    let question = format!("dns {} {}", escape(&dns.query), escape(&dns.qtypes.join(",")));
    let is_answer = l7.r#type() == weir_proto::flow::L7FlowType::Response;
    Some(if is_answer { format!("{question}: {}", answer(dns)) } else { question })
}

/// RFC 1035, section 4.1.1, names of the IANA registry.
fn answer(dns: &Dns) -> String {
    match dns.rcode {
        0 if !dns.ips.is_empty() => escape(&dns.ips.join(",")).into_owned(),
        0 if !dns.cnames.is_empty() => escape(&dns.cnames.join(",")).into_owned(),
        0 => "no such record".to_owned(),
        1 => "FORMERR".to_owned(),
        2 => "SERVFAIL".to_owned(),
        3 => "NXDOMAIN".to_owned(),
        4 => "NOTIMP".to_owned(),
        5 => "REFUSED".to_owned(),
        other => format!("rcode {other}"),
    }
}
