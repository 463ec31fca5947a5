//! One connection -> the lines that tell all of it: ends, path with every hop, verdict with its evidence, measures.
//!
//! A hop where an address differs from the hop before is where it was translated, and says so.

use jiff::tz::TimeZone;
use prost_types::Timestamp;
use weir_proto::flow::Flow;
use weir_proto::weir::v1::{
    ClosedBy, Connection, Counters, FlowDetail, Incomplete, NatSource, Observation, PathPoint, Role, Tcp,
};

use super::connections::glyph;
use super::row::Tone;
use crate::print::{Output, address, bytes, connection_cells, escape, milliseconds};

/// A line: a title in the margin, the text, what its colour is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// In the margin; empty: goes on.
    pub title: &'static str,
    /// The text.
    pub text: String,
    /// For the colour.
    pub tone: Tone,
}

fn line(title: &'static str, text: impl Into<String>, tone: Tone) -> Line {
    Line { title, text: text.into(), tone }
}

/// All lines.
#[must_use]
pub fn lines(connection: &Connection, output: &Output, zone: &TimeZone) -> Vec<Line> {
    let Some((flow, detail)) = connection.flow.as_ref().and_then(|flow| Some((flow, flow.weir.as_ref()?)))
    else {
        return vec![line("", "nothing is known of it yet", Tone::Quiet)];
    };
    let mut lines = ends(connection, flow, detail, output);
    lines.extend(way(connection));
    lines.extend(hops(connection, zone));
    lines.extend(verdict(flow, detail, zone));
    lines.extend(measures(detail));
    lines.extend(missing(detail));
    lines
}

fn ends(connection: &Connection, flow: &Flow, detail: &FlowDetail, output: &Output) -> Vec<Line> {
    let cells = connection_cells(connection, output);
    let cell = |wanted: &str| {
        cells.iter().find(|(name, _)| *name == wanted).map_or_else(String::new, |(_, text)| text.clone())
    };
    let ip = flow.ip.clone().unwrap_or_default();
    let on = |node: &str| if node.is_empty() { String::new() } else { format!(" on {}", escape(node)) };
    let mut lines = vec![
        line(
            "client",
            format!("{}  {}{}", cell("CLIENT"), escape(&ip.source), on(&detail.source_node)),
            Tone::Host,
        ),
        line("service", cell("SERVICE"), Tone::Host),
        line(
            "backend",
            format!("{}  {}{}", cell("BACKEND"), escape(&ip.destination), on(&detail.destination_node)),
            Tone::Host,
        ),
    ];
    if let Some(nat) = &detail.nat {
        let how = match nat.source() {
            NatSource::Conntrack => "named by the kernel's connection tracking",
            NatSource::Sequence => "inferred from equal TCP sequence numbers",
            NatSource::Payload => "inferred from equal payload",
            NatSource::Join => "told by the other node",
            NatSource::Unspecified => "not known how",
        };
        let mut said = Vec::new();
        if !nat.vip.is_empty() {
            said.push(format!(
                "destination {} became {}",
                address((&nat.vip, nat.vip_port)),
                cell("BACKEND")
            ));
        }
        if !nat.masquerade.is_empty() {
            said.push(format!("source became {}", address((&nat.masquerade, nat.masquerade_port))));
        }
        lines.push(line("nat", format!("{}, {how}", said.join(", ")), Tone::Plain));
    }
    let names: Vec<_> = flow.destination_names.iter().map(|name| escape(name)).collect();
    if !names.is_empty() {
        lines.push(line("dns names", names.join(" "), Tone::Plain));
    }
    #[expect(deprecated, reason = "the one field that tells a message in a line")]
    let summary = escape(&flow.summary);
    let kind = cell("PROTO");
    lines.push(line("last event", format!("{kind} {summary}"), Tone::Plain));
    lines
}

/// The whole way in one line: devices of each node, `=` for a tunnel.
fn way(connection: &Connection) -> Vec<Line> {
    let mut way = String::from("client");
    for sighting in &connection.sightings {
        let Some(detail) = &sighting.weir else { continue };
        way.push_str(&format!(" > [{}]", escape(&sighting.node_name)));
        for point in &detail.path {
            let joint = if point.tunnel.is_some() { "=" } else { ">" };
            way.push_str(&format!(" {joint} {}", escape(&point.device)));
        }
    }
    vec![line("", "", Tone::Plain), line("path", way + " > server", Tone::Heading)]
}

fn hops(connection: &Connection, zone: &TimeZone) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut before: Option<&PathPoint> = None;
    for sighting in &connection.sightings {
        let Some(detail) = &sighting.weir else { continue };
        let head = format!(
            "{}, first packet {}",
            escape(&sighting.node_name),
            clock(detail.first_packet.as_ref(), zone)
        );
        lines.push(line("node", head, Tone::Heading));
        for point in &detail.path {
            lines.extend(hop(point, before, detail.first_packet.as_ref()));
            before = Some(point);
        }
    }
    lines
}

fn hop(point: &PathPoint, before: Option<&PathPoint>, start: Option<&Timestamp>) -> Vec<Line> {
    let nanos = weir_proto::time::unix_nanos;
    let after =
        point.first.as_ref().zip(start).map_or(0, |(first, start)| nanos(first).saturating_sub(nanos(start)));
    let counters = point.counters.unwrap_or_default();
    let role = match point.role() {
        Role::PodVeth => "pod veth",
        Role::Bridge => "bridge",
        Role::Overlay => "overlay",
        Role::Underlay => "underlay",
        Role::Loopback => "loopback",
        Role::Unspecified => "other",
    };
    let first = format!(
        "  {:<3} {} ({role}) +{}  {}{}",
        if point.inbound { "in" } else { "out" },
        escape(&point.device),
        milliseconds(after),
        passed_here(&counters),
        if point.measured { "  measured here" } else { "" },
    );
    let mut second = format!("      {} > {}", escape(&point.source), escape(&point.destination));
    if let Some(before) = before {
        if before.destination != point.destination {
            second.push_str(&format!("  DNAT from {}", escape(&before.destination)));
        }
        if before.source != point.source {
            second.push_str(&format!("  SNAT from {}", escape(&before.source)));
        }
    }
    let mut lines = vec![line("", first, Tone::Plain), line("", second, Tone::Host)];
    if let Some(tunnel) = &point.tunnel {
        let within = format!(
            "      in {} {} from {} to {}",
            escape(&tunnel.protocol),
            tunnel.vni,
            address((&tunnel.source, tunnel.source_port)),
            address((&tunnel.destination, tunnel.destination_port)),
        );
        lines.push(line("", within, Tone::Quiet));
    }
    lines
}

/// The same in fewer words: packets and, in brackets, bytes.
fn passed_here(counters: &Counters) -> String {
    format!(
        "sent {} ({}), back {} ({})",
        counters.packets_forward,
        bytes(Some(counters), |count| count.ip_bytes_forward),
        counters.packets_reverse,
        bytes(Some(counters), |count| count.ip_bytes_reverse),
    )
}

fn passed(counters: &Counters) -> String {
    format!(
        "{} packets {} sent, {} packets {} answered",
        counters.packets_forward,
        bytes(Some(counters), |count| count.ip_bytes_forward),
        counters.packets_reverse,
        bytes(Some(counters), |count| count.ip_bytes_reverse),
    )
}

fn verdict(flow: &Flow, detail: &FlowDetail, zone: &TimeZone) -> Vec<Line> {
    let (mark, tone) = glyph(flow);
    let state = crate::print::state(detail.state());
    let mut lines = vec![
        line("", "", Tone::Plain),
        line("verdict", format!("{mark} {}, {state}", flow.verdict().as_str_name()), tone),
    ];
    for evidence in &detail.evidence {
        let said = match evidence.observation() {
            Observation::Delivered => "seen delivered at",
            Observation::Answered => "answered",
            Observation::Logged => "logged by rule",
            Observation::IcmpUnreachable => "ICMP unreachable from",
            Observation::ResetByNetwork => "RST that no pod sent, at",
            Observation::Unanswered => "no answer",
            Observation::ResetByEndpoint => "RST from the pod itself, at",
            Observation::Unspecified => "observed",
        };
        let at = clock(evidence.time.as_ref(), zone);
        lines.push(line("evidence", format!("{at} {said} {}", escape(&evidence.detail)), Tone::Plain));
    }
    let rules: Vec<_> = detail.rule_names.iter().map(|rule| escape(rule)).collect();
    if !rules.is_empty() {
        lines.push(line("rules", rules.join(", "), Tone::Bad));
    }
    if !detail.last_seen_at.is_empty() {
        lines.push(line("last seen", escape(&detail.last_seen_at), Tone::Unsure));
    }
    lines
}

fn measures(detail: &FlowDetail) -> Vec<Line> {
    let mut lines = vec![line("", "", Tone::Plain)];
    if let Some(total) = &detail.total {
        lines.push(line("traffic", passed(total), Tone::Plain));
    }
    if let Some(tcp) = &detail.tcp {
        lines.extend(tcp_lines(tcp));
    }
    if detail.dns_latency_ns > 0 {
        lines.push(line("dns", format!("answered in {}", milliseconds(detail.dns_latency_ns)), Tone::Plain));
    }
    lines.push(line(
        "ids",
        format!("{} key {:016x}", escape(&detail.community_id), detail.join_key),
        Tone::Quiet,
    ));
    lines
}

fn tcp_lines(tcp: &Tcp) -> Vec<Line> {
    let measured = |nanos: u64| if nanos == 0 { "not measured".to_owned() } else { milliseconds(nanos) };
    let closed = match tcp.closed_by() {
        ClosedBy::Client => "closed by the client",
        ClosedBy::Server => "closed by the server",
        ClosedBy::Network => "closed by the network",
        ClosedBy::Unspecified => "not closed",
    };
    let again = tcp.retransmissions_forward + tcp.retransmissions_reverse;
    vec![
        line(
            "tcp",
            format!(
                "handshake to the server {}, to the client {}; {} SYN; {closed}",
                measured(tcp.handshake_server_ns),
                measured(tcp.handshake_client_ns),
                tcp.syns
            ),
            Tone::Plain,
        ),
        line(
            "sent again",
            format!(
                "{} by the client, {} by the server",
                tcp.retransmissions_forward, tcp.retransmissions_reverse
            ),
            if again > 0 { Tone::Unsure } else { Tone::Plain },
        ),
    ]
}

fn missing(detail: &FlowDetail) -> Vec<Line> {
    let said = |what| match what {
        Incomplete::Midstream => "joined mid-stream",
        Incomplete::OneSided => "one direction only was seen",
        Incomplete::Truncated => "packets were cut short by the capture",
        Incomplete::Evicted => "left the table early",
        Incomplete::NoHandshake => "its handshake was not measured",
        Incomplete::CaptureLoss => "the capture lost packets meanwhile",
        Incomplete::Unspecified => "something",
    };
    detail.incomplete().map(|what| line("incomplete", said(what), Tone::Unsure)).collect()
}

fn clock(time: Option<&Timestamp>, zone: &TimeZone) -> String {
    let moment = time.and_then(|time| jiff::Timestamp::new(time.seconds, time.nanos).ok());
    moment.map_or_else(
        || "-".to_owned(),
        |moment| moment.to_zoned_datetime(zone.clone()).strftime("%H:%M:%S.%6f").to_string(),
    )
}
