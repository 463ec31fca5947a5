//! Connections -> one row for each Service and backend: how the calls are shared, and which fail.
//!
//! The share is of the Service's connections that reached a backend or failed at one; a call that never got a backend has
//! a row of its own. Inferred Services are marked, as they may be wrong.

use std::collections::BTreeMap;
use std::sync::Arc;

use weir_proto::weir::v1::Counters;

use super::connections;
use super::row::{Call, Cell, Column, MARK, Row, Show, Subject, Through, Tone};
use crate::print::{bytes, milliseconds};

/// The columns of the Services.
pub const COLUMNS: &[Column] = &[
    MARK,
    Column::text("SERVICE", (16, 44), 0, "name; ? where inferred from its backends"),
    Column::text("VIP", (14, 24), 3, "address and port that were called").shown(Show::Port),
    Column::text("BACKEND", (18, 48), 0, "who answered").shown(Show::Port),
    Column::text("CONNS", (6, 6), 1, "connections in memory").shown(Show::Number),
    Column::text("SHARE", (6, 6), 1, "of the Service's connections").shown(Show::Number),
    Column::text("FAILED", (6, 6), 1, "dropped, refused, reset or unanswered").shown(Show::Number),
    Column::text("RTT", (7, 7), 4, "mean TCP handshake to the server").shown(Show::Number),
    Column::text("BYTES", (7, 7), 5, "IP bytes, both ways").shown(Show::Number),
    Column::text("LAST", (4, 4), 6, "time since the last packet").shown(Show::Age),
    Column::text("LAST FAILURE", (20, 60), 7, "why the latest failed one failed"),
];

#[derive(Debug, Default)]
struct Backend<'a> {
    connections: u64,
    failed: u64,
    bytes: u64,
    rtt_sum_ns: u64,
    rtts: u64,
    last_ns: u64,
    query: &'a str,
    failure: (u64, &'a str),
}

/// One row for each Service, address and backend.
#[must_use]
pub fn rows<'a>(connections: impl Iterator<Item = &'a Arc<Row>>) -> Vec<Arc<Row>> {
    let place = |title| connections::COLUMNS.iter().position(|column| column.title == title).unwrap_or(0);
    let (backend, why) = (place("BACKEND"), place("WHY"));
    let mut pairs: BTreeMap<(&str, &str, &str), Backend<'_>> = BTreeMap::new();
    let mut sums: BTreeMap<&str, u64> = BTreeMap::new();
    for row in connections {
        let Some(call) = row.call() else { continue };
        let Some(service) = &call.service else { continue };
        *sums.entry(&service.name).or_default() += 1;
        let key = (&*service.name, &*service.vip, row.cells.text(backend));
        pairs.entry(key).or_default().take(call, service, row.cells.text(why));
    }
    pairs
        .into_iter()
        .map(|(key, counted)| Arc::new(counted.row(key, sums.get(key.0).copied().unwrap_or(1))))
        .collect()
}

impl<'a> Backend<'a> {
    fn take(&mut self, call: &Call, service: &'a Through, why: &'a str) {
        self.connections += 1;
        self.failed += u64::from(call.failed);
        self.bytes += service.bytes;
        self.rtt_sum_ns += service.rtt_ns;
        self.rtts += u64::from(service.rtt_ns > 0);
        self.last_ns = self.last_ns.max(call.last_ns);
        self.query = &service.query;
        if call.failed && call.last_ns >= self.failure.0 {
            self.failure = (call.last_ns, if why.is_empty() { "no answer" } else { why });
        }
    }

    fn row(self, (service, vip, backend): (&str, &str, &str), sum: u64) -> Row {
        let (mark, tone) = match self.failed {
            0 => ("✓", Tone::Good),
            failed if failed == self.connections => ("✗", Tone::Bad),
            _ => ("!", Tone::Unsure),
        };
        let share = self.connections * 100 / sum.max(1);
        let rtt = self.rtt_sum_ns.checked_div(self.rtts).unwrap_or_default();
        let total = Counters { ip_bytes_forward: self.bytes, ..Default::default() };
        let or_dash = |text: &str| if text.is_empty() { "-".to_owned() } else { text.to_owned() };
        let cells = [
            Cell::text(mark, tone),
            Cell::text(service, Tone::Host),
            Cell::text(or_dash(vip), Tone::Plain),
            Cell::text(backend, Tone::Host),
            Cell::count(self.connections, Tone::Plain),
            Cell::ranked(format!("{share}%"), share, Tone::Plain),
            Cell::bad(self.failed),
            Cell::ranked(if rtt == 0 { "-".to_owned() } else { milliseconds(rtt) }, rtt, Tone::Plain),
            Cell::ranked(bytes(Some(&total), |total| total.ip_bytes_forward), self.bytes, Tone::Plain),
            Cell::ranked("", self.last_ns, Tone::Quiet),
            Cell::text(or_dash(self.failure.1), tone),
        ];
        Row {
            id: format!("{service} {vip} {backend}").into(),
            cells: cells.into_iter().collect(),
            subject: Subject::Group(self.query.to_owned()),
        }
    }
}
