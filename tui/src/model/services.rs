//! Connections -> one row for each Service and backend: how the calls are shared, and which fail.
//!
//! The share is of the Service's connections that reached a backend or failed at one; a call that never got a backend has
//! a row of its own. Inferred Services are marked, as they may be wrong.

use std::collections::BTreeMap;
use std::sync::Arc;

use weir_proto::flow::Flow;
use weir_proto::weir::v1::{Connection, FlowDetail};

use super::connections::failed;
use super::facts;
use super::filter::{Facts, Field};
use super::row::{Cell, Column, Row, Subject, Tone};
use crate::print::{Output, bytes, connection_cells, escape, milliseconds};

/// The columns of the Services.
pub const COLUMNS: &[Column] = &[
    Column { title: "", least: 1, most: 1, priority: 0 },
    Column { title: "SERVICE", least: 16, most: 44, priority: 0 },
    Column { title: "VIP", least: 14, most: 24, priority: 3 },
    Column { title: "BACKEND", least: 18, most: 48, priority: 0 },
    Column { title: "CONNS", least: 6, most: 6, priority: 1 },
    Column { title: "SHARE", least: 5, most: 5, priority: 1 },
    Column { title: "FAILED", least: 6, most: 6, priority: 1 },
    Column { title: "RTT", least: 7, most: 7, priority: 4 },
    Column { title: "BYTES", least: 7, most: 7, priority: 5 },
];

#[derive(Debug, Default)]
struct Backend {
    connections: u64,
    failed: u64,
    bytes: u64,
    rtt_sum_ns: u64,
    rtts: u64,
    facts: Facts,
}

/// One row for each pair of Service and backend.
#[must_use]
pub fn rows<'a>(connections: impl Iterator<Item = &'a Arc<Row>>, output: &Output) -> Vec<Arc<Row>> {
    let mut pairs: BTreeMap<(String, String, String), Backend> = BTreeMap::new();
    let mut sums: BTreeMap<String, u64> = BTreeMap::new();
    for row in connections {
        let Subject::Connection(connection) = &row.subject else { continue };
        let Some((flow, detail)) = of_service(connection) else { continue };
        let (service, vip) = service(flow, detail);
        let backend = backend(connection, output);
        *sums.entry(service.clone()).or_default() += 1;
        pairs.entry((service, vip, backend)).or_default().take(flow, detail);
    }
    pairs
        .into_iter()
        .map(|((service, vip, backend), counted)| {
            let sum = sums.get(&service).copied().unwrap_or(1);
            Arc::new(counted.row(&service, &vip, &backend, sum))
        })
        .collect()
}

fn of_service(connection: &Connection) -> Option<(&Flow, &FlowDetail)> {
    let flow = connection.flow.as_ref()?;
    let detail = flow.weir.as_ref()?;
    (!detail.services.is_empty()).then_some((flow, detail))
}

fn service(flow: &Flow, detail: &FlowDetail) -> (String, String) {
    let names: Vec<String> =
        detail.services.iter().map(|service| format!("{}/{}", service.namespace, service.name)).collect();
    let exact = detail.services.iter().any(|service| service.exact);
    let vip = match &detail.nat {
        Some(nat) if !nat.vip.is_empty() => crate::print::address((&nat.vip, nat.vip_port)),
        _ if exact => flow.ip.as_ref().map_or_else(String::new, |ip| escape(&ip.destination).into_owned()),
        _ => String::new(),
    };
    (format!("{}{}", escape(&names.join("|")), if exact { "" } else { "?" }), vip)
}

fn backend(connection: &Connection, output: &Output) -> String {
    let mut cells = connection_cells(connection, output).into_iter();
    cells.find(|(name, _)| *name == "BACKEND").map_or_else(|| "-".to_owned(), |(_, text)| text)
}

impl Backend {
    fn take(&mut self, flow: &Flow, detail: &FlowDetail) {
        self.connections += 1;
        self.failed += u64::from(failed(flow));
        let total = detail.total.unwrap_or_default();
        self.bytes += total.ip_bytes_forward + total.ip_bytes_reverse;
        let rtt = detail.tcp.as_ref().map_or(0, |tcp| tcp.handshake_server_ns);
        self.rtt_sum_ns += rtt;
        self.rtts += u64::from(rtt > 0);
        if self.connections == 1 {
            self.facts = facts::of_flow(flow);
        }
    }

    fn row(mut self, service: &str, vip: &str, backend: &str, sum: u64) -> Row {
        let (mark, tone) = match self.failed {
            0 => ("✓", Tone::Good),
            failed if failed == self.connections => ("✗", Tone::Bad),
            _ => ("!", Tone::Unsure),
        };
        let share = self.connections * 100 / sum.max(1);
        let rtt = self.rtt_sum_ns.checked_div(self.rtts).unwrap_or_default();
        self.facts.add(Field::Text, backend);
        let total = weir_proto::weir::v1::Counters { ip_bytes_forward: self.bytes, ..Default::default() };
        let cells = vec![
            Cell::text(mark, tone),
            Cell::text(service, Tone::Host),
            Cell::text(vip, Tone::Plain),
            Cell::text(backend, Tone::Host),
            Cell::count(self.connections, Tone::Plain),
            Cell::ranked(format!("{share}%"), share, Tone::Plain),
            Cell::count(self.failed, if self.failed > 0 { Tone::Bad } else { Tone::Quiet }),
            Cell::ranked(if rtt == 0 { "-".to_owned() } else { milliseconds(rtt) }, rtt, Tone::Plain),
            Cell::ranked(bytes(Some(&total), |total| total.ip_bytes_forward), self.bytes, Tone::Plain),
        ];
        let first = service.trim_end_matches('?').split('|').next().unwrap_or_default();
        let pivot = format!("svc={first}");
        Row {
            id: format!("{service} {vip} {backend}").into(),
            cells,
            facts: self.facts,
            subject: Subject::Group(pivot),
        }
    }
}
