//! One row for each connection of the cluster: who called whom, by which Service, which backend answered, over which
//! tunnel, seen by which nodes, and how it ended.
//!
//! A row is printed when the connection is over or its fate is known, and for one that stays open once it has lasted; a
//! connection that was printed open gets one more row at its end. What was printed is remembered within a bound.

use std::collections::{HashMap, VecDeque};
use std::io::{self, Write};

use weir_proto::flow::layer4::Protocol;
use weir_proto::flow::{Flow, Verdict};
use weir_proto::weir::v1::connections_response::Response;
use weir_proto::weir::v1::{
    Connection, ConnectionState, ConnectionsResponse, Counters, FlowDetail, Nat, NatSource, Observation,
    ServiceRef,
};

use super::style::{Paint, Tone, escape};
use super::{Output, columns, event, host};

/// Connections whose rows are remembered.
const REMEMBERED: usize = 65_536;
/// An open connection is shown once it has lasted so long.
const SHOWN_OPEN_AFTER_S: i64 = 5;

/// A column: its name, the width it is given, and what stands in it.
struct Column {
    name: &'static str,
    width: usize,
    cell: fn(&Row<'_>) -> String,
}

/// The columns in their order. A cell that is wider pushes the rest of its line.
const COLUMNS: &[Column] = &[
    Column {
        name: "TIME",
        width: 19,
        cell: |row| row.output.time.print(row.detail.first_packet.or(row.flow.time)),
    },
    Column {
        name: "CLIENT",
        width: 34,
        cell: |row| host::ends(row.flow).0.with_port(row.output.numeric, &PLAIN),
    },
    Column { name: "SERVICE", width: 34, cell: service },
    Column { name: "BACKEND", width: 34, cell: backend },
    Column { name: "PROTO", width: 5, cell: protocol },
    Column { name: "VERDICT", width: 9, cell: |row| row.flow.verdict().as_str_name().to_owned() },
    Column { name: "STATE", width: 11, cell: |row| state(row.detail.state()).to_owned() },
    Column { name: "RTT", width: 7, cell: |row| rtt(row.detail) },
    Column {
        name: "SENT",
        width: 7,
        cell: |row| bytes(row.detail.total.as_ref(), |count| count.ip_bytes_forward),
    },
    Column {
        name: "ANSWERED",
        width: 8,
        cell: |row| bytes(row.detail.total.as_ref(), |count| count.ip_bytes_reverse),
    },
    Column { name: "WAY", width: 30, cell: way },
    Column { name: "SEEN BY", width: 12, cell: seen_by },
    Column { name: "WHY", width: 0, cell: why },
];

const PLAIN: Paint = Paint::new(false);

/// What a row is made of.
struct Row<'a> {
    output: &'a Output,
    flow: &'a Flow,
    detail: &'a FlowDetail,
    connection: &'a Connection,
}

/// Prints the answer of one request for connections.
#[derive(Debug)]
pub struct ConnectionPrinter {
    output: Output,
    paint: Paint,
    follow: bool,
    headed: bool,
    printed: HashMap<String, Shown>,
    order: VecDeque<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shown {
    Open,
    Over,
}

impl ConnectionPrinter {
    /// A printer; `terminal` tells whether colours make sense where it prints to.
    #[must_use]
    pub fn new(output: Output, terminal: bool, follow: bool) -> Self {
        let paint = Paint::new(output.colour.unwrap_or(terminal));
        Self { output, paint, follow, headed: false, printed: HashMap::new(), order: VecDeque::new() }
    }

    /// Prints one item: rows to `out`, what the stream says of itself to `notes`.
    ///
    /// # Errors
    /// When writing fails.
    pub fn print(
        &mut self,
        response: &ConnectionsResponse,
        out: &mut dyn Write,
        notes: &mut dyn Write,
    ) -> io::Result<()> {
        if self.output.is_json() {
            return writeln!(out, "{}", weir_proto::json::print(response));
        }
        match &response.response {
            Some(Response::Connection(connection)) if self.is_due(connection) => self.row(connection, out),
            Some(Response::Notice(notice)) => {
                let time = self.output.time.print(notice.time);
                let lost =
                    if notice.lost > 0 { format!(" ({} records lost)", notice.lost) } else { String::new() };
                writeln!(notes, "{time} [{}]: {}{lost}", escape(&notice.node), escape(&notice.message))
            }
            Some(Response::Connection(_)) | None => Ok(()),
        }
    }

    /// Without `follow` every connection comes once and is shown as it is.
    fn is_due(&mut self, connection: &Connection) -> bool {
        let shown = if connection.ended { Shown::Over } else { Shown::Open };
        if self.follow && !connection.ended && !is_decided(connection) {
            return false;
        }
        match self.printed.insert(connection.id.clone(), shown) {
            Some(before) => before == Shown::Open && shown == Shown::Over && !refused(connection),
            None => {
                self.remember(&connection.id);
                true
            }
        }
    }

    fn remember(&mut self, id: &str) {
        self.order.push_back(id.to_owned());
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.printed.remove(&oldest);
        }
    }

    fn row(&mut self, connection: &Connection, out: &mut dyn Write) -> io::Result<()> {
        let Some((flow, detail)) =
            connection.flow.as_ref().and_then(|flow| Some((flow, flow.weir.as_ref()?)))
        else {
            return Ok(());
        };
        let widths: Vec<usize> = COLUMNS.iter().map(|column| column.width).collect();
        if !self.headed {
            self.headed = true;
            let names: Vec<String> = COLUMNS.iter().map(|column| column.name.to_owned()).collect();
            writeln!(out, "{}", self.paint.paint(Tone::Quiet, columns::line(&names, &widths)))?;
        }
        let row = Row { output: &self.output, flow, detail, connection };
        let cells: Vec<String> = COLUMNS.iter().map(|column| self.coloured(column, &row)).collect();
        writeln!(out, "{}", columns::line(&cells, &widths))
    }

    /// The cell in its colour, padded first: colours have no width.
    fn coloured(&self, column: &Column, row: &Row<'_>) -> String {
        let cell = (column.cell)(row);
        let tone = match column.name {
            "CLIENT" | "SERVICE" | "BACKEND" => Tone::Host,
            "VERDICT" => event::tone(row.flow.verdict()),
            "WAY" | "SEEN BY" => Tone::Quiet,
            _ => return cell,
        };
        let padded = format!("{cell:<width$}", width = column.width);
        self.paint.paint(tone, padded).into_owned()
    }
}

/// Its fate is known though it is not over, or it has lasted.
fn is_decided(connection: &Connection) -> bool {
    refused(connection) || lasted(connection)
}

fn refused(connection: &Connection) -> bool {
    let Some(flow) = &connection.flow else {
        return false;
    };
    let state = flow.weir.as_ref().map(FlowDetail::state);
    flow.verdict() == Verdict::Dropped
        || matches!(state, Some(ConnectionState::Rejected | ConnectionState::Unanswered))
}

fn lasted(connection: &Connection) -> bool {
    let detail = connection.flow.as_ref().and_then(|flow| flow.weir.as_ref());
    let seconds = |time: Option<prost_types::Timestamp>| time.map(|time| time.seconds);
    detail
        .and_then(|detail| Some(seconds(detail.last_packet)? - seconds(detail.first_packet)?))
        .is_some_and(|lasted| lasted >= SHOWN_OPEN_AFTER_S)
}

fn service(row: &Row<'_>) -> String {
    let name = |service: &ServiceRef| format!("{}/{}", escape(&service.namespace), escape(&service.name));
    let vip = match &row.detail.nat {
        Some(nat) if !nat.vip.is_empty() => address(&nat.vip, nat.vip_port),
        _ => String::new(),
    };
    match row.detail.services.as_slice() {
        [] if vip.is_empty() => "-".to_owned(),
        [] => vip,
        [service] if service.exact => {
            let vip = if vip.is_empty() { destination_address(row.flow) } else { vip };
            format!("{} {vip}", name(service))
        }
        candidates => {
            let names: Vec<String> = candidates.iter().map(name).collect();
            format!("{}?", names.join("|"))
        }
    }
}

/// The true destination; while only the Service's address is known, nobody answered for it.
fn backend(row: &Row<'_>) -> String {
    let destination = host::ends(row.flow).1;
    let is_vip = row.detail.nat.as_ref().is_none_or(|nat| nat.vip.is_empty())
        && row.detail.services.iter().any(|service| service.exact);
    if is_vip { "-".to_owned() } else { destination.with_port(row.output.numeric, &PLAIN) }
}

fn destination_address(flow: &Flow) -> String {
    let ip = flow.ip.as_ref().map_or("", |ip| &ip.destination);
    let port = match flow.l4.as_ref().and_then(|l4| l4.protocol.as_ref()) {
        Some(Protocol::Tcp(tcp)) => tcp.destination_port,
        Some(Protocol::Udp(udp)) => udp.destination_port,
        Some(Protocol::Sctp(sctp)) => sctp.destination_port,
        _ => 0,
    };
    address(ip, port)
}

fn address(ip: &str, port: u32) -> String {
    let ip = escape(ip);
    match port {
        0 => ip.into_owned(),
        port if ip.contains(':') => format!("[{ip}]:{port}"),
        port => format!("{ip}:{port}"),
    }
}

fn protocol(row: &Row<'_>) -> String {
    let protocol = row.flow.l4.as_ref().and_then(|l4| l4.protocol.as_ref());
    match protocol {
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
const fn state(state: ConnectionState) -> &'static str {
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

fn milliseconds(nanos: u64) -> String {
    let micros = nanos / 1000;
    match micros {
        0..=9_999 => format!("{}.{:02}ms", micros / 1000, micros % 1000 / 10),
        10_000..=9_999_999 => format!("{}ms", micros / 1000),
        _ => format!("{}s", micros / 1_000_000),
    }
}

fn bytes(total: Option<&Counters>, which: fn(&Counters) -> u64) -> String {
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

/// Masquerade and tunnel between the ends.
fn way(row: &Row<'_>) -> String {
    let mut way = Vec::new();
    if let Some(Nat { masquerade, masquerade_port, .. }) = row.detail.nat.as_ref()
        && !masquerade.is_empty()
    {
        way.push(format!("snat {}", address(masquerade, *masquerade_port)));
    }
    let sightings = row.connection.sightings.iter().filter_map(|sighting| sighting.weir.as_ref());
    let mut points = sightings.chain([row.detail]).flat_map(|detail| &detail.path);
    if let Some(tunnel) = points.find_map(|point| point.tunnel.as_ref()) {
        let (source, destination) = (escape(&tunnel.source), escape(&tunnel.destination));
        way.push(format!("{} {} {source}>{destination}", escape(&tunnel.protocol), tunnel.vni));
    }
    if way.is_empty() { "-".to_owned() } else { way.join(" ") }
}

fn seen_by(row: &Row<'_>) -> String {
    let mut nodes: Vec<&str> = row.connection.sightings.iter().map(|flow| flow.node_name.as_str()).collect();
    nodes.dedup();
    escape(&nodes.join(",")).into_owned()
}

/// The evidence worth a word: what stopped it, what refused it, where it was last seen, what is a guess.
fn why(row: &Row<'_>) -> String {
    let detail = row.detail;
    let mut why: Vec<String> = Vec::new();
    for evidence in &detail.evidence {
        let said = match evidence.observation() {
            Observation::Logged => "logged by",
            Observation::IcmpUnreachable => "refused by",
            Observation::ResetByNetwork => "reset on the way, at",
            Observation::ResetByEndpoint => "reset by its port, at",
            _ => continue,
        };
        why.push(format!("{said} {}", escape(&evidence.detail)));
    }
    if !detail.last_seen_at.is_empty() {
        why.push(format!("last seen at {}", escape(&detail.last_seen_at)));
    }
    let nat = detail.nat.as_ref().map(Nat::source);
    if matches!(nat, Some(NatSource::Sequence | NatSource::Payload)) {
        why.push("translation inferred from equal packets".to_owned());
    }
    if why.is_empty() { String::new() } else { why.join("; ") }
}
