//! The latest flows, kept within a bound, and the DNS view that is counted from them.
//!
//! When there is no room the oldest is forgotten. Both nodes of a connection tell of a DNS message; only the flows of the
//! node that counts are counted.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use jiff::Timestamp;
use weir_proto::flow::layer7::Record;
use weir_proto::flow::{Dns, Flow, L7FlowType};

use super::connections::glyph;
use super::facts;
use super::filter::{Facts, Field};
use super::row::{Cell, Column, Row, Subject, Tone};
use crate::print::{Output, escape, flow_cells, milliseconds};

/// Flows in memory.
pub const MOST: usize = 10_000;
/// A query without an answer counts as unanswered after so long.
const ANSWERED_WITHIN_S: i64 = 5;
/// Endings that resolvers append to a name by a pod's search path.
const SEARCH_ENDINGS: &[&str] = &[".svc.cluster.local.", ".cluster.local."];

/// Types of query that are named for one name.
const MOST_TYPES: usize = 4;

/// The columns of the flows.
pub const COLUMNS: &[Column] = &[
    Column { title: "", least: 1, most: 1, priority: 0 },
    Column { title: "TIME", least: 12, most: 12, priority: 0 },
    Column { title: "NODE", least: 10, most: 24, priority: 4 },
    Column { title: "SOURCE", least: 16, most: 44, priority: 0 },
    Column { title: "DESTINATION", least: 16, most: 44, priority: 0 },
    Column { title: "TYPE", least: 12, most: 24, priority: 3 },
    Column { title: "VERDICT", least: 9, most: 9, priority: 5 },
    Column { title: "SUMMARY", least: 14, most: 70, priority: 2 },
];

/// The columns of DNS.
pub const DNS_COLUMNS: &[Column] = &[
    Column { title: "", least: 1, most: 1, priority: 0 },
    Column { title: "NAME", least: 26, most: 70, priority: 0 },
    Column { title: "TYPES", least: 6, most: 12, priority: 6 },
    Column { title: "QUERIES", least: 7, most: 7, priority: 1 },
    Column { title: "ANSWERS", least: 7, most: 7, priority: 5 },
    Column { title: "RCODE", least: 8, most: 24, priority: 2 },
    Column { title: "UNANSWERED", least: 10, most: 10, priority: 2 },
    Column { title: "MEAN", least: 7, most: 7, priority: 3 },
    Column { title: "SLOWEST", least: 7, most: 7, priority: 4 },
    Column { title: "WASTE", least: 5, most: 5, priority: 2 },
];

/// The latest flows.
#[derive(Debug)]
pub struct Flows {
    output: Output,
    latest: VecDeque<Arc<Row>>,
    most: usize,
    next: u64,
    /// Forgotten for lack of room.
    pub forgotten: u64,
}

impl Flows {
    /// None yet.
    #[must_use]
    pub fn new(output: Output, most: usize) -> Self {
        Self { output, latest: VecDeque::new(), most, next: 0, forgotten: 0 }
    }

    /// Takes one.
    pub fn apply(&mut self, flow: Flow) {
        self.next += 1;
        let time = flow.time.as_ref().map_or(0, weir_proto::time::unix_nanos);
        let (mark, tone) = glyph(&flow);
        let mut cells = vec![Cell::text(mark, tone)];
        for (at, text) in flow_cells(&flow, &self.output).into_iter().enumerate() {
            cells.push(match at {
                // Equal times stay in the order in which they came.
                0 => Cell::ranked(text, time, Tone::Quiet),
                2 | 3 => Cell::text(text, Tone::Host),
                5 => Cell::text(text, tone),
                _ => Cell::text(text, Tone::Plain),
            });
        }
        let facts = facts::of_flow(&flow);
        let id = format!("{:012}", self.next).into();
        self.latest.push_back(Arc::new(Row { id, cells, facts, subject: Subject::Flow(Arc::new(flow)) }));
        if self.latest.len() > self.most {
            self.latest.pop_front();
            self.forgotten += 1;
        }
    }

    /// A server was reached; it sends its newest anew.
    pub fn clear(&mut self) {
        self.latest.clear();
    }

    /// Their rows, oldest first.
    pub fn rows(&self) -> impl Iterator<Item = &Arc<Row>> {
        self.latest.iter()
    }

    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        self.latest.len()
    }
}

/// One row for each name that these flows ask for.
#[must_use]
pub fn names<'a>(flows: impl Iterator<Item = &'a Arc<Row>>, now: Timestamp) -> Vec<Arc<Row>> {
    let mut names: BTreeMap<&str, Name> = BTreeMap::new();
    for row in flows {
        let Subject::Flow(flow) = &row.subject else { continue };
        if let Some(Record::Dns(dns)) = flow.l7.as_ref().and_then(|l7| l7.record.as_ref())
            && flow.weir.as_ref().is_none_or(|detail| detail.counts)
        {
            names.entry(dns.query.as_str()).or_default().take(flow, dns, now);
        }
    }
    names.into_iter().map(|(name, counted)| Arc::new(counted.row(name))).collect()
}

/// What is counted of one name.
#[derive(Debug, Default)]
struct Name {
    types: Vec<String>,
    queries: u64,
    young: u64,
    answers: u64,
    codes: BTreeMap<u32, u64>,
    latency_sum_ns: u64,
    latency_max_ns: u64,
    latencies: u64,
    facts: Facts,
}

impl Name {
    fn take(&mut self, flow: &Flow, dns: &Dns, now: Timestamp) {
        let is_answer = flow.l7.as_ref().is_some_and(|l7| l7.r#type() == L7FlowType::Response);
        for kind in &dns.qtypes {
            if self.types.len() < MOST_TYPES && !self.types.contains(kind) {
                self.types.push(kind.clone());
            }
        }
        if !is_answer {
            self.queries += 1;
            let young = flow.time.is_some_and(|time| now.as_second() - time.seconds < ANSWERED_WITHIN_S);
            self.young += u64::from(young);
            return;
        }
        self.answers += 1;
        *self.codes.entry(dns.rcode).or_default() += 1;
        let latency = flow.weir.as_ref().map_or(0, |detail| detail.dns_latency_ns);
        if latency > 0 {
            self.latencies += 1;
            self.latency_sum_ns += latency;
            self.latency_max_ns = self.latency_max_ns.max(latency);
        }
    }

    fn row(mut self, name: &str) -> Row {
        let unanswered = self.queries.saturating_sub(self.answers).saturating_sub(self.young);
        let missing = self.codes.get(&3).copied().unwrap_or_default();
        let waste = if is_searched(name) { missing } else { 0 };
        let failing = unanswered > 0 || self.codes.keys().any(|code| *code != 0);
        let (mark, tone) = match (failing, self.answers) {
            (true, _) if unanswered > 0 => ("⧗", Tone::Bad),
            (true, _) => ("✗", Tone::Bad),
            (false, 0) => ("…", Tone::Unsure),
            (false, _) => ("✓", Tone::Good),
        };
        let codes: Vec<String> =
            self.codes.iter().map(|(code, count)| format!("{}:{count}", rcode(*code))).collect();
        let mean = self.latency_sum_ns.checked_div(self.latencies).unwrap_or_default();
        let latency = |nanos| {
            Cell::ranked(if nanos == 0 { "-".to_owned() } else { milliseconds(nanos) }, nanos, Tone::Plain)
        };
        let worst = |count: u64| Cell::count(count, if count > 0 { Tone::Bad } else { Tone::Quiet });
        self.facts.add(Field::Dns, name);
        self.facts.add(Field::Text, &codes.join(" "));
        let cells = vec![
            Cell::text(mark, tone),
            Cell::text(escape(name), Tone::Host),
            Cell::text(escape(&self.types.join(",")), Tone::Plain),
            Cell::count(self.queries, Tone::Plain),
            Cell::count(self.answers, Tone::Plain),
            Cell::text(codes.join(" "), tone),
            worst(unanswered),
            latency(mean),
            latency(self.latency_max_ns),
            worst(waste),
        ];
        let pivot = format!("dns={}", name.replace(' ', ""));
        Row { id: name.into(), cells, facts: self.facts, subject: Subject::Group(pivot) }
    }
}

/// A name under the cluster's own ending. That nobody has it means, nearly always, that a pod's search path made it.
fn is_searched(name: &str) -> bool {
    let name = name.to_lowercase();
    SEARCH_ENDINGS.iter().any(|ending| name.ends_with(ending))
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
