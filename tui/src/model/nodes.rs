//! The server's status -> one row a node: what it sends, what was lost, how late and how skewed it is.
//!
//! Rates are differences between two statuses, so the first status has none.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use weir_proto::observer::ServerStatusResponse;
use weir_proto::weir::v1::PeerStatus;

use super::filter::{Facts, Field};
use super::row::{Cell, Column, Row, Subject, Tone};
use crate::print::{escape, milliseconds};

/// The columns of the nodes.
pub const COLUMNS: &[Column] = &[
    Column { title: "", least: 1, most: 1, priority: 0 },
    Column { title: "NODE", least: 16, most: 40, priority: 0 },
    Column { title: "STATE", least: 11, most: 11, priority: 1 },
    Column { title: "FLOWS/S", least: 7, most: 8, priority: 1 },
    Column { title: "LOST", least: 6, most: 8, priority: 1 },
    Column { title: "LAG", least: 7, most: 7, priority: 2 },
    Column { title: "SKEW", least: 7, most: 9, priority: 2 },
    Column { title: "LATE", least: 5, most: 8, priority: 4 },
    Column { title: "RECEIVED", least: 9, most: 12, priority: 5 },
    Column { title: "RECONNECTS", least: 10, most: 10, priority: 6 },
    Column { title: "ADDRESS", least: 16, most: 40, priority: 7 },
    Column { title: "MESSAGE", least: 16, most: 60, priority: 3 },
];

/// What the server last said of itself and its nodes.
#[derive(Debug, Default)]
pub struct Nodes {
    status: Option<(Timestamp, ServerStatusResponse)>,
    rates: HashMap<String, u64>,
    /// Time from a flow's end to its arrival here, of the newest flow of each node, nanoseconds.
    lag: HashMap<String, u64>,
}

/// Nodes whose lag is remembered.
const MOST: usize = 5_000;

impl Nodes {
    /// Takes a status.
    pub fn apply(&mut self, status: ServerStatusResponse, now: Timestamp) {
        if let Some((then, before)) = &self.status {
            let elapsed_ms = u64::try_from(now.as_millisecond() - then.as_millisecond()).unwrap_or_default();
            let before: HashMap<&str, u64> =
                peers(before).iter().map(|peer| (peer.name.as_str(), peer.received)).collect();
            self.rates = peers(&status)
                .iter()
                .filter_map(|peer| {
                    let more = peer.received.checked_sub(*before.get(peer.name.as_str())?)?;
                    Some((peer.name.clone(), (more * 1000).checked_div(elapsed_ms)?))
                })
                .collect();
        }
        self.status = Some((now, status));
    }

    /// Notes how long a flow of that node took to come here.
    pub fn arrived(&mut self, node: &str, lag_ns: u64) {
        if let Some(lag) = self.lag.get_mut(node) {
            *lag = lag_ns;
        } else if self.lag.len() < MOST {
            self.lag.insert(node.to_owned(), lag_ns);
        }
    }

    /// Nodes connected and known. A daemon is its own one node.
    #[must_use]
    pub fn connected(&self) -> Option<(u32, u32)> {
        let (_, status) = self.status.as_ref()?;
        let connected = status.num_connected_nodes.unwrap_or(1);
        Some((connected, connected + status.num_unavailable_nodes.unwrap_or_default()))
    }

    /// Records that the server's nodes are known to have lost.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.status.as_ref().map_or(0, |(_, status)| peers(status).iter().map(|peer| peer.lost).sum())
    }

    /// One row a node.
    #[must_use]
    pub fn rows(&self) -> Vec<Arc<Row>> {
        let Some((_, status)) = &self.status else {
            return Vec::new();
        };
        peers(status).iter().map(|peer| Arc::new(self.row(peer))).collect()
    }

    fn row(&self, peer: &PeerStatus) -> Row {
        let (mark, state, tone) =
            if peer.connected { ("✓", "connected", Tone::Good) } else { ("✗", "unavailable", Tone::Bad) };
        let rate = self.rates.get(&peer.name);
        let lag = self.lag.get(&peer.name);
        let skew_us = peer.clock_skew_ns / 1000;
        let bad = |count: u64| Cell::count(count, if count > 0 { Tone::Bad } else { Tone::Quiet });
        let mut facts = Facts::default();
        facts.add(Field::Node, &peer.name);
        facts.add(Field::Address, &peer.address);
        facts.add(Field::State, state);
        facts.add(Field::Text, &peer.message);
        let known = |value: Option<&u64>, shown: fn(u64) -> String| {
            Cell::ranked(
                value.map_or_else(|| "-".to_owned(), |value| shown(*value)),
                value.map_or(0, |v| *v),
                Tone::Plain,
            )
        };
        let cells = vec![
            Cell::text(mark, tone),
            Cell::text(escape(&peer.name), Tone::Host),
            Cell::text(state, tone),
            known(rate, |rate| rate.to_string()),
            bad(peer.lost),
            known(lag, milliseconds),
            Cell::ranked(
                format!(
                    "{}{}.{}ms",
                    if skew_us < 0 { '-' } else { '+' },
                    skew_us.abs() / 1000,
                    skew_us.abs() % 1000 / 100
                ),
                skew_us.unsigned_abs(),
                Tone::Plain,
            ),
            bad(peer.late),
            Cell::count(peer.received, Tone::Plain),
            bad(peer.reconnects),
            Cell::text(escape(&peer.address), Tone::Quiet),
            Cell::text(escape(&peer.message), Tone::Bad),
        ];
        let id = peer.name.as_str().into();
        Row { id, cells, facts, subject: Subject::Group(format!("node={}", peer.name)) }
    }
}

fn peers(status: &ServerStatusResponse) -> &[PeerStatus] {
    status.weir.as_ref().map_or(&[], |weir| &weir.peers)
}
