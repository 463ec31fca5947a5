//! The connections that are known: told by the relay, updated in place, kept within a bound.
//!
//! When there is no room the one that came first is forgotten, and counted. After a reconnection the relay tells all it
//! knows anew: what it does not tell again within a few seconds was forgotten by it and is forgotten here.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use jiff::Timestamp;
use weir_proto::flow::{Flow, Verdict};
use weir_proto::weir::v1::{Connection, ConnectionState, FlowDetail, Observation};

use super::facts;
use super::row::{Cell, Column, Row, Subject, Tone};
use crate::print::{Output, connection_cells};

/// Connections in memory.
pub const MOST: usize = 20_000;
/// A reconnected relay has so long to tell again what it knows.
const TOLD_AGAIN_WITHIN_S: i64 = 5;

/// The columns of the table.
pub const COLUMNS: &[Column] = &[
    Column { title: "", least: 1, most: 1, priority: 0 },
    Column { title: "TIME", least: 8, most: 8, priority: 3 },
    Column { title: "CLIENT", least: 15, most: 40, priority: 0 },
    Column { title: "SERVICE", least: 12, most: 36, priority: 1 },
    Column { title: "BACKEND", least: 15, most: 40, priority: 0 },
    Column { title: "PROTO", least: 5, most: 5, priority: 6 },
    Column { title: "VERDICT", least: 9, most: 9, priority: 5 },
    Column { title: "STATE", least: 10, most: 11, priority: 2 },
    Column { title: "RTT", least: 7, most: 7, priority: 4 },
    Column { title: "SENT", least: 7, most: 7, priority: 7 },
    Column { title: "ANSWERED", least: 8, most: 8, priority: 7 },
    Column { title: "WAY", least: 16, most: 44, priority: 10 },
    Column { title: "SEEN BY", least: 12, most: 30, priority: 8 },
    Column { title: "WHY", least: 16, most: 60, priority: 9 },
];

/// The same cells where they tell of what was stopped: why comes before how long.
pub const DROPS_COLUMNS: &[Column] = &[
    Column { title: "", least: 1, most: 1, priority: 0 },
    Column { title: "TIME", least: 8, most: 8, priority: 3 },
    Column { title: "CLIENT", least: 16, most: 40, priority: 0 },
    Column { title: "SERVICE", least: 12, most: 36, priority: 4 },
    Column { title: "BACKEND", least: 14, most: 40, priority: 2 },
    Column { title: "PROTO", least: 5, most: 5, priority: 6 },
    Column { title: "VERDICT", least: 9, most: 9, priority: 5 },
    Column { title: "STATE", least: 10, most: 11, priority: 1 },
    Column { title: "RTT", least: 7, most: 7, priority: 10 },
    Column { title: "SENT", least: 7, most: 7, priority: 7 },
    Column { title: "ANSWERED", least: 8, most: 8, priority: 8 },
    Column { title: "WAY", least: 16, most: 44, priority: 9 },
    Column { title: "SEEN BY", least: 12, most: 30, priority: 8 },
    Column { title: "WHY", least: 24, most: 70, priority: 0 },
];

/// A mark for what became of a connection, that needs no colour.
#[must_use]
pub fn glyph(flow: &Flow) -> (&'static str, Tone) {
    let state = flow.weir.as_ref().map(FlowDetail::state);
    match (flow.verdict(), state) {
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
pub fn row(connection: &Arc<Connection>, output: &Output) -> Option<Row> {
    let flow = connection.flow.as_ref()?;
    let detail = flow.weir.as_ref()?;
    let total = detail.total.unwrap_or_default();
    let (mark, tone) = glyph(flow);
    let rank = |name: &str| match name {
        "TIME" => detail.first_packet.as_ref().map_or(0, weir_proto::time::unix_nanos),
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
    let mut cells = vec![Cell::text(mark, tone)];
    cells.extend(
        connection_cells(connection, output)
            .into_iter()
            .map(|(name, text)| Cell::ranked(text, rank(name), text_tone(name))),
    );
    let facts = facts::of_connection(connection);
    Some(Row {
        id: connection.id.as_str().into(),
        cells,
        facts,
        subject: Subject::Connection(connection.clone()),
    })
}

#[derive(Debug)]
struct Entry {
    row: Arc<Row>,
    connection: Arc<Connection>,
    session: u32,
}

/// All of them.
#[derive(Debug)]
pub struct Connections {
    output: Output,
    known: HashMap<Arc<str>, Entry>,
    order: VecDeque<Arc<str>>,
    most: usize,
    session: u32,
    swept: u32,
    session_since: Timestamp,
    /// Forgotten for lack of room.
    pub forgotten: u64,
}

impl Connections {
    /// None yet.
    #[must_use]
    pub fn new(output: Output, most: usize) -> Self {
        Self {
            output,
            known: HashMap::new(),
            order: VecDeque::new(),
            most,
            session: 0,
            swept: 0,
            session_since: Timestamp::UNIX_EPOCH,
            forgotten: 0,
        }
    }

    /// A server was reached; it will tell all it knows.
    pub fn reconnected(&mut self, now: Timestamp) {
        self.session += 1;
        self.session_since = now;
    }

    /// Takes the latest of one connection; its row, if it has one.
    pub fn apply(&mut self, connection: Connection) -> Option<Arc<Row>> {
        let connection = Arc::new(connection);
        let row = Arc::new(row(&connection, &self.output)?);
        let entry = Entry { row: row.clone(), connection, session: self.session };
        if self.known.insert(row.id.clone(), entry).is_none() {
            self.order.push_back(row.id.clone());
            if self.known.len() > self.most
                && let Some(oldest) = self.order.pop_front()
            {
                self.known.remove(&oldest);
                self.forgotten += 1;
            }
        }
        Some(row)
    }

    /// Forgets what a reconnected relay did not tell again. True if anything went.
    pub fn sweep(&mut self, now: Timestamp) -> bool {
        let due = now.as_second() - self.session_since.as_second() >= TOLD_AGAIN_WITHIN_S;
        if self.swept == self.session || !due {
            return false;
        }
        self.swept = self.session;
        let before = self.known.len();
        let session = self.session;
        self.known.retain(|_, entry| entry.session == session);
        self.order.retain(|id| self.known.contains_key(id));
        self.known.len() < before
    }

    /// One of them.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<&Arc<Connection>> {
        self.known.get(id).map(|entry| &entry.connection)
    }

    /// The one with a flow of that key, seen by that node under that number if there are several.
    #[must_use]
    pub fn of_flow(&self, flow: &Flow) -> Option<&Arc<Connection>> {
        let detail = flow.weir.as_ref()?;
        let same = |seen: &Flow| {
            seen.node_name == flow.node_name
                && seen.weir.as_ref().is_some_and(|seen| {
                    seen.connection_id == detail.connection_id && seen.join_key == detail.join_key
                })
        };
        self.all().find(|connection| connection.sightings.iter().any(same))
    }

    /// All, in no order.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Connection>> {
        self.known.values().map(|entry| &entry.connection)
    }

    /// The rows of all, in no order.
    pub fn rows(&self) -> impl Iterator<Item = &Arc<Row>> {
        self.known.values().map(|entry| &entry.row)
    }

    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        self.known.len()
    }
}
