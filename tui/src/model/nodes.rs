//! The server's status -> one row a node: what it sends, what was lost, how late and how skewed it is.
//!
//! Rates are differences between two statuses, so the first status has none.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use weir_proto::flow::Flow;
use weir_proto::observer::ServerStatusResponse;
use weir_proto::weir::v1::{Cost, Detail, FlowDetail, PeerStatus};

use super::filter::{Filter, quoted};
use super::row::{Cell, Column, MARK, Row, Show, Subject, Tone};
use crate::print::{detail_name, escape, milliseconds, source_name};

/// The columns of the nodes.
pub const COLUMNS: &[Column] = &[
    MARK,
    Column::text("NODE", (16, 40), 0, "name"),
    Column::text("STATE", (11, 11), 1, "whether the relay reads its daemon"),
    Column::text("FLOWS/S", (8, 8), 1, "flows the relay received").shown(Show::Number),
    Column::text("LOST", (6, 8), 1, "flows known to be lost").shown(Show::Number),
    Column::text("LAG", (7, 7), 2, "from the end of a flow to its arrival here").shown(Show::Number),
    Column::text("SKEW", (8, 9), 2, "its clock minus the relay's, the way included").shown(Show::Number),
    Column::text("CPU", (6, 6), 3, "its daemon's share of one core").shown(Show::Number),
    Column::text("MEMORY", (7, 8), 3, "its daemon's resident memory").shown(Show::Number),
    Column::text("SOURCE", (6, 6), 4, "where its frames come from: ebpf or pcap"),
    Column::text("LEFT OUT", (10, 13), 3, "what it leaves out to stay within its budget"),
    Column::text("DISAGREE", (8, 8), 5, "connections where policies say one thing and packets did another")
        .shown(Show::Number),
    Column::text("LATE", (6, 8), 4, "flows too late for their order").shown(Show::Number),
    Column::text("RECEIVED", (9, 12), 5, "flows since the relay began").shown(Show::Number),
    Column::text("RECONNECTS", (10, 10), 6, "times its stream broke").shown(Show::Number),
    Column::text("ADDRESS", (16, 40), 7, "where its daemon answers"),
    Column::text("MESSAGE", (16, 60), 3, "what is wrong with it"),
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

    /// Records that the server received from its nodes.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.status.as_ref().map_or(0, |(_, status)| peers(status).iter().map(|peer| peer.received).sum())
    }

    /// How many are known.
    #[must_use]
    pub fn count(&self) -> usize {
        self.status.as_ref().map_or(0, |(_, status)| peers(status).len())
    }

    /// Sentences of the server and of the nodes that are away, about what does not work.
    pub fn complaints(&self) -> impl Iterator<Item = String> {
        let status = self.status.as_ref().map(|(_, status)| status);
        let own = status.and_then(|status| status.weir.as_ref()).map_or(&[][..], |weir| &weir.notices);
        let away = status.map_or(&[][..], peers).iter().filter(|peer| !peer.connected);
        let away = away.map(|peer| format!("{}: {}", escape(&peer.name), escape(&peer.message)));
        own.iter().map(|notice| escape(notice).into_owned()).chain(away)
    }

    /// One row for each node that passes, as the observer of flows.
    #[must_use]
    pub fn rows(&self, filter: &Filter) -> Vec<Arc<Row>> {
        let Some((_, status)) = &self.status else {
            return Vec::new();
        };
        let passing = peers(status).iter().filter(|peer| filter.passes(&observed_by(&peer.name)));
        passing.map(|peer| Arc::new(self.row(peer))).collect()
    }

    fn row(&self, peer: &PeerStatus) -> Row {
        let (mark, state, tone) =
            if peer.connected { ("✓", "connected", Tone::Good) } else { ("✗", "unavailable", Tone::Bad) };
        let rate = self.rates.get(&peer.name);
        let lag = self.lag.get(&peer.name);
        let skew_us = peer.clock_skew_ns / 1000;
        let known = |value: Option<&u64>, shown: fn(u64) -> String| {
            Cell::ranked(
                value.map_or_else(|| "-".to_owned(), |value| shown(*value)),
                value.map_or(0, |v| *v),
                Tone::Plain,
            )
        };
        let cells = [
            Cell::text(mark, tone),
            Cell::text(escape(&peer.name), Tone::Host),
            Cell::text(state, tone),
            known(rate, |rate| rate.to_string()),
            Cell::bad(peer.lost),
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
            cpu(peer.cost.as_ref()),
            memory(peer.cost.as_ref()),
            Cell::text(peer.source.as_ref().map_or("-", |source| source_name(source.kind())), Tone::Plain),
            left_out(peer.cost.as_ref()),
            peer.policy
                .map_or_else(|| Cell::text("-", Tone::Plain), |policy| Cell::bad(policy.disagreements)),
            Cell::bad(peer.late),
            Cell::count(peer.received, Tone::Plain),
            Cell::bad(peer.reconnects),
            Cell::text(escape(&peer.address), Tone::Quiet),
            Cell::text(escape(&peer.message), Tone::Bad),
        ];
        let name = quoted(&peer.name);
        let pivot = format!("node={name} or observer={name}");
        Row {
            id: peer.name.as_str().into(),
            cells: cells.into_iter().collect(),
            subject: Subject::Group(pivot),
        }
    }
}

fn cpu(cost: Option<&Cost>) -> Cell {
    let Some(cost) = cost else { return Cell::text("-", Tone::Plain) };
    let shown = format!("{}.{}%", cost.cpu_thousandths / 10, cost.cpu_thousandths % 10);
    Cell::ranked(shown, cost.cpu_thousandths.into(), Tone::Plain)
}

fn memory(cost: Option<&Cost>) -> Cell {
    let Some(cost) = cost else { return Cell::text("-", Tone::Plain) };
    Cell::ranked(format!("{}MiB", cost.resident_bytes >> 20), cost.resident_bytes, Tone::Plain)
}

/// Nothing, or the level in a word.
fn left_out(cost: Option<&Cost>) -> Cell {
    match cost.map(Cost::detail) {
        None => Cell::text("-", Tone::Plain),
        Some(Detail::Full) => Cell::text("nothing", Tone::Plain),
        Some(detail) => Cell::text(detail_name(detail), Tone::Bad),
    }
}

/// A flow of which no more is known than who saw it, between ends of that node.
fn observed_by(node: &str) -> Flow {
    let detail =
        FlowDetail { source_node: node.to_owned(), destination_node: node.to_owned(), ..Default::default() };
    Flow { node_name: node.to_owned(), weir: Some(detail), ..Default::default() }
}

fn peers(status: &ServerStatusResponse) -> &[PeerStatus] {
    status.weir.as_ref().map_or(&[], |weir| &weir.peers)
}
