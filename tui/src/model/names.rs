//! DNS messages -> one row for each name that was asked for: answers, codes, latency, what stayed unanswered, and what a
//! search path made of a name in vain.
//!
//! Both nodes of a connection tell of a message; only those of the node that counts are counted.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use weir_proto::flow::layer7::Record;
use weir_proto::flow::{Flow, L7FlowType};

use super::filter::quoted;
use super::row::{Cell, Column, MARK, Row, Show, Subject, Tone};
use crate::print::{escape, milliseconds};

/// A query without an answer counts as unanswered after so long.
const ANSWERED_WITHIN_S: i64 = 5;
/// What a cluster's resolver configuration appends to a name, behind a pod's namespace or alone.
const SEARCH_ENDINGS: &[&str] = &[".svc.cluster.local.", ".cluster.local."];
/// Types of query that are named for one name.
const MOST_TYPES: usize = 4;
/// Clients that are told apart for one name.
const MOST_CLIENTS: usize = 1000;
/// NXDOMAIN, RFC 1035 section 4.1.1.
const NO_SUCH_NAME: u32 = 3;

/// The columns of DNS.
pub const COLUMNS: &[Column] = &[
    MARK,
    Column::text("NAME", (24, 70), 0, "name asked for"),
    Column::text("TYPES", (6, 12), 6, "record types asked for"),
    Column::text("QUERIES", (8, 8), 1, "questions seen").shown(Show::Number),
    Column::text("ANSWERS", (8, 8), 6, "answers seen").shown(Show::Number),
    Column::text("RCODE", (12, 30), 2, "response codes and how often"),
    Column::text("UNANSW", (7, 7), 2, "questions without an answer for 5 s").shown(Show::Number),
    Column::text("MEAN", (7, 7), 5, "mean time from question to answer").shown(Show::Number),
    Column::text("SLOWEST", (8, 8), 3, "longest time from question to answer").shown(Show::Number),
    Column::text("WASTE", (6, 6), 2, "answers that a search path asked for in vain").shown(Show::Number),
    Column::text("CLIENTS", (8, 8), 7, "different askers").shown(Show::Number),
    Column::text("MEANT", (14, 50), 8, "the name that a search path was tried for"),
];

/// What counts of one message.
#[derive(Clone, Debug)]
pub struct Message {
    name: Box<str>,
    types: Vec<String>,
    client: Box<str>,
    time_s: i64,
    is_answer: bool,
    rcode: u32,
    latency_ns: u64,
    counts: bool,
}

/// Reads what counts.
#[must_use]
pub fn message(flow: &Flow) -> Option<Message> {
    let l7 = flow.l7.as_ref()?;
    let Some(Record::Dns(dns)) = &l7.record else { return None };
    let is_answer = l7.r#type() == L7FlowType::Response;
    let asker = if is_answer { &flow.destination } else { &flow.source };
    let client = asker.as_ref().map_or_else(String::new, |end| format!("{}/{}", end.namespace, end.pod_name));
    Some(Message {
        name: dns.query.as_str().into(),
        types: dns.qtypes.iter().take(MOST_TYPES).cloned().collect(),
        client: client.into(),
        time_s: flow.time.map_or(0, |time| time.seconds),
        is_answer,
        rcode: dns.rcode,
        latency_ns: flow.weir.as_ref().map_or(0, |detail| detail.dns_latency_ns),
        counts: flow.weir.as_ref().is_none_or(|detail| detail.counts),
    })
}

/// One row for each name of these messages.
#[must_use]
pub fn rows<'a>(messages: impl Iterator<Item = &'a Option<Message>>, now: Timestamp) -> Vec<Arc<Row>> {
    let mut names: BTreeMap<&str, Name<'_>> = BTreeMap::new();
    for message in messages.flatten().filter(|message| message.counts) {
        names.entry(&message.name).or_default().take(message, now);
    }
    names.into_iter().map(|(name, counted)| Arc::new(counted.row(name))).collect()
}

/// What is counted of one name.
#[derive(Debug, Default)]
struct Name<'a> {
    types: Vec<&'a str>,
    clients: BTreeSet<&'a str>,
    queries: u64,
    young: u64,
    answers: u64,
    codes: BTreeMap<u32, u64>,
    latency_sum_ns: u64,
    latency_max_ns: u64,
    latencies: u64,
}

impl<'a> Name<'a> {
    fn take(&mut self, message: &'a Message, now: Timestamp) {
        for kind in &message.types {
            if self.types.len() < MOST_TYPES && !self.types.contains(&kind.as_str()) {
                self.types.push(kind);
            }
        }
        if self.clients.len() < MOST_CLIENTS {
            self.clients.insert(&message.client);
        }
        if !message.is_answer {
            self.queries += 1;
            self.young += u64::from(now.as_second() - message.time_s < ANSWERED_WITHIN_S);
            return;
        }
        self.answers += 1;
        *self.codes.entry(message.rcode).or_default() += 1;
        if message.latency_ns > 0 {
            self.latencies += 1;
            self.latency_sum_ns += message.latency_ns;
            self.latency_max_ns = self.latency_max_ns.max(message.latency_ns);
        }
    }

    fn row(self, name: &str) -> Row {
        let unanswered = self.queries.saturating_sub(self.answers).saturating_sub(self.young);
        let meant = searched(name);
        let missing = self.codes.get(&NO_SUCH_NAME).copied().unwrap_or_default();
        let waste = if meant.is_some() { missing } else { 0 };
        let errors = self.codes.keys().any(|code| *code != 0);
        let (mark, tone) = match (errors, self.answers) {
            _ if unanswered > 0 => ("⧗", Tone::Bad),
            (true, _) => ("✗", Tone::Bad),
            (false, 0) => ("…", Tone::Unsure),
            (false, _) => ("✓", Tone::Good),
        };
        let codes: Vec<String> =
            self.codes.iter().map(|(code, count)| format!("{} {count}", rcode(*code))).collect();
        let mean = self.latency_sum_ns.checked_div(self.latencies).unwrap_or_default();
        let latency = |nanos| {
            Cell::ranked(if nanos == 0 { "-".to_owned() } else { milliseconds(nanos) }, nanos, Tone::Plain)
        };
        let cells = [
            Cell::text(mark, tone),
            Cell::text(escape(name), Tone::Host),
            Cell::text(escape(&self.types.join(",")), Tone::Plain),
            Cell::count(self.queries, Tone::Plain),
            Cell::count(self.answers, Tone::Plain),
            Cell::text(if codes.is_empty() { "-".to_owned() } else { codes.join(" ") }, tone),
            Cell::bad(unanswered),
            latency(mean),
            latency(self.latency_max_ns),
            Cell::bad(waste),
            Cell::count(self.clients.len() as u64, Tone::Plain),
            Cell::text(escape(meant.filter(|_| waste > 0).unwrap_or("-")), Tone::Quiet),
        ];
        Row { id: name.into(), cells: cells.into_iter().collect(), subject: Subject::Group(query(name)) }
    }
}

/// Connections that asked for a name or lead to it. A name that is none, as of a broken client, can only be looked for.
fn query(name: &str) -> String {
    let value = quoted(name.trim_end_matches('.'));
    let exact = format!("dns.query={value} or name={value}");
    if weir_proto::query::validate(&exact).is_ok() { exact } else { value }
}

/// The name before an ending that only a search path would give it. That nobody has such a name means, nearly always, that
/// a search path made it.
fn searched(name: &str) -> Option<&str> {
    let stem = SEARCH_ENDINGS.iter().find_map(|ending| name.strip_suffix(ending))?;
    let is_namespaced = name.ends_with(SEARCH_ENDINGS[0]);
    let without_namespace = stem.rsplit_once('.').filter(|_| is_namespaced).map(|(rest, _)| rest);
    Some(without_namespace.unwrap_or(stem)).filter(|stem| !stem.is_empty())
}

/// Names of RFC 1035 4.1.1 and RFC 2136 2.2.
fn rcode(code: u32) -> String {
    match code {
        0 => "NOERROR".to_owned(),
        1 => "FORMERR".to_owned(),
        2 => "SERVFAIL".to_owned(),
        3 => "NXDOMAIN".to_owned(),
        4 => "NOTIMP".to_owned(),
        5 => "REFUSED".to_owned(),
        other => format!("RCODE{other}"),
    }
}
