//! One connection -> the lines that tell all of it: ends, verdict with its evidence, path with every hop, measures, and
//! what was said in it.
//!
//! What a person looks for first stands first: who, what became of it and why do we think so, then the way.

mod hops;
mod policy;

use jiff::tz::TimeZone;
use prost_types::Timestamp;
use weir_proto::flow::Flow;
use weir_proto::weir::v1::{Connection, Counters, FlowDetail, Incomplete, NatSource, Observation, Tcp};

use super::Opened;
use super::connections::glyph;
use super::row::Tone;
use crate::print::{
    Output, address, bytes, connection_cells, dns_message, escape, kernel_drop, milliseconds, tcp_sentences,
};

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

/// All lines: of the connection, of what the policies say, and of its DNS messages.
#[must_use]
pub fn lines(opened: &Opened, output: &Output, zone: &TimeZone) -> Vec<Line> {
    let connection = &opened.connection;
    let Some((flow, detail)) = connection.flow.as_ref().and_then(|flow| Some((flow, flow.weir.as_ref()?)))
    else {
        return vec![line("", "nothing is known of it yet", Tone::Quiet)];
    };
    let mut lines = ends(connection, flow, detail, output);
    lines.extend(verdict(flow, detail, zone));
    let then = policy::then(flow);
    let now = policy::now(&opened.asked, &then, is_masqueraded(detail));
    lines.extend(then.into_iter().chain(now));
    lines.push(line("", "", Tone::Plain));
    lines.extend(hops::way(connection));
    lines.extend(hops::of(connection, zone));
    lines.push(line("", "", Tone::Plain));
    lines.push(last_event(connection, flow, output));
    lines.extend(measures(detail, zone));
    lines.extend(missing(detail));
    lines.extend(dns_lines(&opened.messages, zone));
    lines.push(line("ids", ids(flow, detail), Tone::Quiet));
    lines
}

fn is_masqueraded(detail: &FlowDetail) -> bool {
    detail.nat.as_ref().is_some_and(|nat| !nat.masquerade.is_empty())
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
    lines
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
    let mut lines = vec![line("verdict", format!("{mark} {}, {state}", flow.verdict().as_str_name()), tone)];
    if detail.evidence.is_empty() {
        lines.push(line("evidence", "none yet", Tone::Unsure));
    }
    for evidence in &detail.evidence {
        let said = match evidence.observation() {
            Observation::Delivered => "seen delivered at",
            Observation::Answered => "answered",
            // Told below, all of them.
            Observation::KernelDrop => continue,
            Observation::Logged => "logged by rule",
            Observation::IcmpUnreachable => "ICMP unreachable from",
            Observation::ResetByNetwork => "RST that no pod sent, at",
            Observation::Unanswered => "no answer",
            Observation::ResetByEndpoint => "RST from the pod itself, at",
            Observation::PacketTooBig => "packet too big for",
            Observation::HopsExceeded => "out of hops at",
            Observation::Unspecified => "observed",
        };
        let at = clock(evidence.time.as_ref(), zone);
        lines.push(line("evidence", format!("{at} {said} {}", escape(&evidence.detail)), Tone::Plain));
    }
    for drop in &detail.kernel_drops {
        let (at, tone) = (clock(drop.first.as_ref(), zone), if drop.loss { Tone::Bad } else { Tone::Plain });
        lines.push(line("evidence", format!("{at} {}", kernel_drop(drop)), tone));
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

fn measures(detail: &FlowDetail, zone: &TimeZone) -> Vec<Line> {
    let mut lines = Vec::new();
    if let Some(total) = &detail.total {
        lines.push(line("traffic", passed(total), Tone::Plain));
    }
    let nanos = |time: &Option<Timestamp>| time.as_ref().map_or(0, weir_proto::time::unix_nanos);
    let lasted = nanos(&detail.last_packet).saturating_sub(nanos(&detail.first_packet));
    let (first, last) = (clock(detail.first_packet.as_ref(), zone), clock(detail.last_packet.as_ref(), zone));
    lines.push(line("time", format!("{first} to {last}, {}", milliseconds(lasted)), Tone::Plain));
    if let Some(tcp) = &detail.tcp {
        lines.extend(tcp_lines(tcp));
    }
    lines
}

fn last_event(connection: &Connection, flow: &Flow, output: &Output) -> Line {
    #[expect(deprecated, reason = "the one field that tells a message in a line")]
    let summary = escape(&flow.summary);
    let cells = connection_cells(connection, output);
    let protocol = cells.iter().find(|(name, _)| *name == "PROTO").map_or("", |(_, text)| text);
    line("last event", format!("{protocol} {summary}"), Tone::Plain)
}

fn ids(flow: &Flow, detail: &FlowDetail) -> String {
    format!("{} join={} flow {}", escape(&detail.community_id), detail.join_key, escape(&flow.uuid))
}

/// One line a message; the answer says how long it took.
fn dns_lines(messages: &[Flow], zone: &TimeZone) -> Vec<Line> {
    let mut lines = Vec::new();
    for flow in messages {
        let Some(said) = dns_message(flow) else { continue };
        let latency = flow.weir.as_ref().map_or(0, |detail| detail.dns_latency_ns);
        let took = if latency > 0 { format!(" in {}", milliseconds(latency)) } else { String::new() };
        let title = if lines.is_empty() { "dns" } else { "" };
        let at = clock(flow.time.as_ref(), zone);
        let text = format!("{at} {} at {}{took}", said, escape(&flow.node_name));
        lines.push(line(title, text, Tone::Plain));
    }
    lines
}

fn tcp_lines(tcp: &Tcp) -> impl Iterator<Item = Line> {
    let tone = |trouble| if trouble { Tone::Unsure } else { Tone::Plain };
    tcp_sentences(tcp).into_iter().map(move |one| line(one.title, one.text, tone(one.trouble)))
}

fn missing(detail: &FlowDetail) -> Vec<Line> {
    let said = |what| match what {
        Incomplete::Midstream => "joined mid-stream",
        Incomplete::OneSided => "one direction only was seen",
        Incomplete::Truncated => "packets were cut short by the capture",
        Incomplete::Evicted => "left the table early",
        Incomplete::NoHandshake => "its handshake was not measured",
        Incomplete::CaptureLoss => "the capture lost packets meanwhile",
        Incomplete::NoPayload => "messages were not read, to stay in the node's budget",
        Incomplete::NoTiming => {
            "retransmissions and windows were not looked at, to stay in the node's budget"
        }
        Incomplete::Sampled => {
            "one of 16 that began then, the others are not told, to stay in the node's budget"
        }
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
