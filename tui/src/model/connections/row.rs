//! A connection -> its row, and whether it did what its client wanted.

use std::sync::Arc;

use bytes::Bytes;
use weir_proto::flow::{Flow, Verdict};
use weir_proto::weir::v1::{Connection, ConnectionState, FlowDetail, Observation, PolicyRuling};

use crate::model::filter::quoted;
use crate::model::row::{Call, Cell, Column, MARK, Row, Show, Subject, Through, Tone};
use crate::print::{Output, connection_cells, denying_rules, escape};

const TIME: Column = Column::text("TIME", (8, 8), 3, "first packet, local time");
const CLIENT: Column = Column::text("CLIENT", (15, 40), 0, "who called");
const SERVICE: Column =
    Column::text("SERVICE", (12, 36), 1, "the Service called; ? where inferred").shown(Show::Port);
const BACKEND: Column =
    Column::text("BACKEND", (15, 40), 0, "who answered, behind all NAT").shown(Show::Port);
const PROTO: Column = Column::text("PROTO", (5, 5), 6, "transport protocol");
const VERDICT: Column = Column::text("VERDICT", (9, 9), 5, "what became of it, by evidence");
const STATE: Column = Column::text("STATE", (10, 11), 2, "how far the conversation is");
const RTT: Column = Column::text("RTT", (7, 7), 4, "TCP handshake, both ways").shown(Show::Number);
const SENT: Column = Column::text("SENT", (7, 7), 8, "IP bytes, client to server").shown(Show::Number);
const ANSWERED: Column =
    Column::text("ANSWERED", (8, 8), 8, "IP bytes, server to client").shown(Show::Number);
const WAY: Column = Column::text("WAY", (16, 44), 11, "masquerade and tunnel between the ends");
const SEEN_BY: Column = Column::text("SEEN BY", (12, 30), 9, "nodes that saw it");
const WHY: Column = Column::text("WHY", (16, 60), 10, "what stopped it, what was asked, what is a guess");
const STOPPED_BY: Column = Column::text(
    "STOPPED BY",
    (36, 90),
    0,
    "policy, rule, kernel's reason, ICMP or reset that stopped it; ≠ where policies and packets contradict each other",
);
const RULE: Column =
    Column::text("RULE", (14, 60), 12, "rule named by the kernel's log, or policy and its nearest rule");
const LAST_SEEN: Column =
    Column::text("LAST SEEN", (12, 24), 8, "the last place where its packets were seen");
const LAST: Column = Column::text("LAST", (4, 4), 7, "time since its last packet").shown(Show::Age);

/// The columns of the table.
pub const COLUMNS: &[Column] = &[
    MARK, TIME, CLIENT, SERVICE, BACKEND, PROTO, VERDICT, STATE, RTT, SENT, ANSWERED, WAY, SEEN_BY, WHY, LAST,
];

const fn of(column: &Column, least: u16, most: u16, priority: u8) -> Column {
    Column { least, most, priority, ..*column }
}

/// The same cells where they tell of what was stopped: why comes before how long.
pub const DROPS_COLUMNS: &[Column] = &[
    MARK,
    of(&TIME, 8, 8, 1),
    of(&CLIENT, 15, 40, 0),
    of(&SERVICE, 12, 36, 4),
    of(&BACKEND, 14, 40, 0),
    of(&PROTO, 5, 5, 6),
    of(&VERDICT, 9, 9, 5),
    of(&STATE, 10, 11, 3),
    of(&RTT, 7, 7, 12),
    of(&SENT, 7, 7, 9),
    of(&ANSWERED, 8, 8, 10),
    of(&WAY, 16, 44, 11),
    of(&SEEN_BY, 12, 30, 8),
    STOPPED_BY,
    of(&LAST, 4, 4, 7),
    of(&RULE, 40, 60, 7),
    LAST_SEEN,
];

/// A mark for what became of a connection, that needs no colour.
#[must_use]
pub fn glyph(flow: &Flow) -> (&'static str, Tone) {
    let state = flow.weir.as_ref().map(FlowDetail::state);
    match (flow.verdict(), state) {
        (Verdict::Audit, _) => ("≠", Tone::Bad),
        (Verdict::Dropped | Verdict::Error, _) | (_, Some(ConnectionState::Rejected)) => ("✗", Tone::Bad),
        (_, Some(ConnectionState::Unanswered)) => ("⧗", Tone::Bad),
        (Verdict::Forwarded | Verdict::Redirected, _) => ("✓", Tone::Good),
        (_, Some(ConnectionState::Opening)) => ("…", Tone::Unsure),
        _ => ("?", Tone::Unsure),
    }
}

/// True if it did not do what its client wanted.
#[must_use]
pub fn failed(flow: &Flow) -> bool {
    let detail = flow.weir.as_ref();
    let refused = detail.is_some_and(|detail| {
        detail.evidence.iter().any(|evidence| {
            matches!(
                evidence.observation(),
                Observation::ResetByEndpoint | Observation::ResetByNetwork | Observation::IcmpUnreachable
            )
        })
    });
    refused || glyph(flow).1 == Tone::Bad
}

/// The row of a connection; nothing where it has no flow of weir's.
#[must_use]
pub fn connection_row(
    connection: &Connection,
    encoded: Bytes,
    id: Arc<str>,
    session: u32,
    output: &Output,
) -> Option<Row> {
    let flow = connection.flow.as_ref()?;
    let detail = flow.weir.as_ref()?;
    let nanos = |time: &Option<_>| time.as_ref().map_or(0, weir_proto::time::unix_nanos);
    let (first_ns, last_ns) = (nanos(&detail.first_packet), nanos(&detail.last_packet));
    let (mark, tone) = mark(flow);
    let total = detail.total.unwrap_or_default();
    let rank = |name: &str| match name {
        "TIME" => first_ns,
        "RTT" => detail.tcp.as_ref().map_or(0, |tcp| tcp.handshake_server_ns + tcp.handshake_client_ns),
        "SENT" => total.ip_bytes_forward,
        "ANSWERED" => total.ip_bytes_reverse,
        _ => 0,
    };
    let text_tone = |name: &str| match name {
        "CLIENT" | "SERVICE" | "BACKEND" => Tone::Host,
        "VERDICT" | "STATE" => tone,
        "WAY" | "SEEN BY" | "TIME" => Tone::Quiet,
        _ => Tone::Plain,
    };
    let texts = connection_cells(connection, output);
    let service = through(flow, detail);
    let middle = texts.into_iter().map(|(name, text)| Cell::ranked(text, rank(name), text_tone(name)));
    let cells = std::iter::once(Cell::text(mark, tone))
        .chain(middle)
        .chain([
            Cell::ranked("", last_ns, Tone::Quiet),
            Cell::text(rule(flow, detail), Tone::Plain),
            Cell::text(last_seen(detail), Tone::Plain),
        ])
        .collect();
    let call = Call {
        encoded,
        join_key: detail.join_key,
        first_ns,
        last_ns,
        ended: connection.ended,
        failed: failed(flow),
        denied: detail.policies.iter().any(|one| one.ruling() == PolicyRuling::Denied),
        disagrees: !detail.disagreements.is_empty(),
        session,
        service,
    };
    Some(Row { id, cells, subject: Subject::Connection(Box::new(call)) })
}

/// As [`glyph`], but a delivered call that a closed port reset did not go through for its client.
fn mark(flow: &Flow) -> (&'static str, Tone) {
    match glyph(flow) {
        (_, Tone::Good) if failed(flow) => ("✗", Tone::Bad),
        other => other,
    }
}

/// What the kernel's log named, and the policies that deny it; else the kernel's reason for dropping it.
fn rule(flow: &Flow, detail: &FlowDetail) -> String {
    let policies = flow.egress_denied_by.iter().chain(&flow.ingress_denied_by);
    let policies = policies.map(|policy| format!("{}/{}", policy.namespace, policy.name));
    let judged = denying_rules(detail);
    let policies = policies.filter(|_| judged.is_empty());
    let mut names: Vec<String> = detail.rule_names.iter().cloned().chain(policies).collect();
    // Some writers' rules have no name of their own.
    let nameless =
        detail.logged_rules.iter().filter(|rule| rule.name.is_empty() && detail.rule_names.is_empty());
    names.extend(nameless.map(|rule| rule.writer.clone()));
    names.extend_from_slice(&judged);
    if names.is_empty() {
        let losses = detail.kernel_drops.iter().filter(|drop| drop.loss);
        names.extend(losses.map(|drop| drop.reason.clone()));
    }
    if names.is_empty() { "-".to_owned() } else { escape(&names.join(", ")).into_owned() }
}

fn last_seen(detail: &FlowDetail) -> String {
    if detail.last_seen_at.is_empty() { "-".to_owned() } else { escape(&detail.last_seen_at).into_owned() }
}

fn through(flow: &Flow, detail: &FlowDetail) -> Option<Through> {
    let first = detail.services.first()?;
    let names: Vec<String> =
        detail.services.iter().map(|service| format!("{}/{}", service.namespace, service.name)).collect();
    let exact = detail.services.iter().any(|service| service.exact);
    let ip = flow.ip.as_ref().map_or("", |ip| ip.destination.as_str());
    let nat = detail.nat.as_ref().filter(|nat| !nat.vip.is_empty());
    let vip = match nat {
        Some(nat) => crate::print::address((&nat.vip, nat.vip_port)),
        None if exact => escape(ip).into_owned(),
        None => String::new(),
    };
    let service = format!("^{}/{}$", first.namespace, first.name);
    let how = if nat.is_none() && exact { " not nat" } else { "" };
    let query = format!("dst.svc~{} dst.ip={}{how}", quoted(&service), quoted(ip));
    let total = detail.total.unwrap_or_default();
    Some(Through {
        name: format!("{}{}", escape(&names.join("|")), if exact { "" } else { "?" }).into(),
        vip: vip.into(),
        query: query.into(),
        bytes: total.ip_bytes_forward + total.ip_bytes_reverse,
        rtt_ns: detail.tcp.as_ref().map_or(0, |tcp| tcp.handshake_server_ns),
    })
}
