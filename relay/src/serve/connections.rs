//! The answer to `Connections`: rows in the order of their last change, pulled by the client.
//!
//! A slow client gets each row in its latest revision and skips those between; only rows that the table forgot are lost
//! to it, and it is told so.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio_stream::Stream;
use tokio_stream::wrappers::WatchStream;
use tonic::{Request, Response, Status, async_trait};
use weir_proto::filter::Filter;
use weir_proto::weir::v1::connections_response::Response as Item;
use weir_proto::weir::v1::weir_server::Weir;
use weir_proto::weir::v1::{
    Connection, ConnectionsRequest, ConnectionsResponse, ExplainPolicyRequest, ExplainPolicyResponse, Notice,
};

use super::policy;
use crate::history::{Cursor, Entry};
use crate::join::{Row, compose};
use crate::moment::UnixNanos;
use crate::pipeline::Outputs;
use crate::stop::Stop;

/// Rows composed before others get their turn.
const CHUNK: usize = 64;

/// weir's own service.
#[derive(Clone, Debug)]
pub struct Service {
    outputs: Outputs,
    stop: Stop,
}

impl Service {
    /// Over what the earlier stages made.
    #[must_use]
    pub const fn new(outputs: Outputs, stop: Stop) -> Self {
        Self { outputs, stop }
    }
}

/// Which connections a client wants.
#[derive(Debug)]
struct Wanted {
    filter: Filter,
    since: Option<UnixNanos>,
    until: Option<UnixNanos>,
}

impl Wanted {
    fn has(&self, connection: &Connection) -> bool {
        let Some(flow) = &connection.flow else {
            return true;
        };
        let detail = flow.weir.as_ref();
        let first = detail.and_then(|detail| detail.first_packet.as_ref()).map(UnixNanos::from);
        let last = detail.and_then(|detail| detail.last_packet.as_ref()).map(UnixNanos::from);
        let too_old = self.since.zip(last).is_some_and(|(since, last)| last < since);
        let too_young = self.until.zip(first).is_some_and(|(until, first)| first > until);
        !too_old && !too_young && self.filter.matches(flow)
    }
}

#[async_trait]
impl Weir for Service {
    type ConnectionsStream = ConnectionStream;

    async fn connections(
        &self,
        request: Request<ConnectionsRequest>,
    ) -> Result<Response<ConnectionStream>, Status> {
        let request = request.into_inner();
        let filter = Filter::compile(&request.whitelist, &request.blacklist)
            .map_err(|error| Status::invalid_argument(error.to_string()))?;
        let wanted = Wanted {
            filter,
            since: request.since.as_ref().map(UnixNanos::from),
            until: request.until.as_ref().map(UnixNanos::from),
        };
        let stream = ConnectionStream::open(wanted, &request, &self.outputs, self.stop.clone()).await;
        Ok(Response::new(stream))
    }

    async fn explain_policy(
        &self,
        request: Request<ExplainPolicyRequest>,
    ) -> Result<Response<ExplainPolicyResponse>, Status> {
        policy::explain(&self.outputs.registry, &request.into_inner()).await.map(Response::new)
    }
}

/// Rows for one client.
#[derive(Debug)]
pub struct ConnectionStream {
    wanted: Wanted,
    outputs: Outputs,
    follow: bool,
    /// Rows as they were when the client asked.
    known: VecDeque<Row>,
    ready: VecDeque<Item>,
    change: u64,
    forgotten: u64,
    notices: Cursor,
    done: bool,
    wake_rows: WatchStream<u64>,
    wake_notices: WatchStream<u64>,
    stop: WatchStream<bool>,
}

impl ConnectionStream {
    async fn open(wanted: Wanted, request: &ConnectionsRequest, outputs: &Outputs, stop: Stop) -> Self {
        let wake_rows = WatchStream::from_changes(outputs.connections.wake());
        let wake_notices = WatchStream::from_changes(outputs.notices.wake());
        let notices = outputs.notices.end();
        let (known, change, forgotten) = {
            let table = outputs.connections.table();
            (table.all(), table.newest(), table.forgotten())
        };
        let known = newest(known, request.number, &wanted).await;
        Self {
            wanted,
            follow: request.follow,
            known: known.into(),
            ready: unavailable(outputs),
            change,
            forgotten,
            notices,
            done: false,
            wake_rows,
            wake_notices,
            stop: WatchStream::new(stop.into_receiver()),
            outputs: outputs.clone(),
        }
    }

    /// Composes the next rows. False: there are none now.
    fn pull(&mut self) -> bool {
        if !self.known.is_empty() {
            let rows: Vec<Row> = self.known.drain(..CHUNK.min(self.known.len())).collect();
            self.compose(&rows, false);
            return true;
        }
        if !self.follow {
            self.done = true;
            return false;
        }
        let news = self.outputs.notices.read(self.notices, CHUNK);
        self.notices = news.next;
        self.ready.extend(news.entries.iter().filter_map(notice).map(Item::Notice));
        let (changes, forgotten) = {
            let table = self.outputs.connections.table();
            (table.changes_after(self.change, self.forgotten, CHUNK), table.forgotten())
        };
        self.change = changes.cursor;
        self.forgotten = forgotten;
        if changes.missed > 0 {
            self.ready.push_back(Item::Notice(forgotten_rows(changes.missed)));
        }
        self.compose(&changes.rows, true);
        !changes.rows.is_empty() || !news.entries.is_empty()
    }

    /// A row without sightings only takes back an id; it is of use to who may have seen that.
    fn compose(&mut self, rows: &[Row], with_empty: bool) {
        let rows = rows.iter().filter(|row| with_empty || !row.sightings.is_empty());
        let wanted = rows.map(compose::connection).filter(|connection| self.wanted.has(connection));
        self.ready.extend(wanted.map(Item::Connection));
    }

    /// True if something woke the stream.
    fn is_woken(&mut self, cx: &mut Context<'_>) -> bool {
        let rows = Pin::new(&mut self.wake_rows).poll_next(cx).is_ready();
        let notices = Pin::new(&mut self.wake_notices).poll_next(cx).is_ready();
        rows || notices
    }

    fn is_stopping(&mut self, cx: &mut Context<'_>) -> bool {
        while let Poll::Ready(stop) = Pin::new(&mut self.stop).poll_next(cx) {
            if stop.unwrap_or(true) {
                return true;
            }
        }
        false
    }
}

impl Stream for ConnectionStream {
    type Item = Result<ConnectionsResponse, Status>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            if let Some(item) = this.ready.pop_front() {
                return Poll::Ready(Some(Ok(ConnectionsResponse { response: Some(item) })));
            }
            if this.done {
                return Poll::Ready(None);
            }
            if this.is_stopping(cx) {
                this.done = true;
                return Poll::Ready(Some(Err(Status::unavailable("the relay is stopping"))));
            }
            if this.pull() {
                if this.ready.is_empty() {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
            } else if !this.done && !this.is_woken(cx) {
                return Poll::Pending;
            }
        }
    }
}

/// The newest `number` of the rows that are wanted, 0 for all; in the order of their change.
async fn newest(mut rows: Vec<Row>, number: u64, wanted: &Wanted) -> Vec<Row> {
    let Some(number) = usize::try_from(number).ok().filter(|number| *number > 0) else {
        return rows;
    };
    let mut kept = Vec::new();
    while kept.len() < number {
        let Some(row) = rows.pop() else { break };
        if !row.sightings.is_empty() && wanted.has(&compose::connection(&row)) {
            kept.push(row);
        }
        if rows.len().is_multiple_of(CHUNK) {
            tokio::task::yield_now().await;
        }
    }
    kept.reverse();
    kept
}

fn unavailable(outputs: &Outputs) -> VecDeque<Item> {
    let away =
        outputs.registry.snapshot().into_iter().filter(|peer| !peer.status.connected && !peer.is_duplicate());
    let notice = |peer: crate::status::Snapshot| Notice {
        time: Some(UnixNanos::now().to_timestamp()),
        node: peer.name,
        message: format!("unavailable: {}", peer.status.message),
        lost: 0,
    };
    away.map(notice).map(Item::Notice).collect()
}

fn notice(entry: &Entry) -> Option<Notice> {
    match entry {
        Entry::Flow(_) => None,
        Entry::Lost(lost) => Some(Notice {
            time: Some(lost.at.to_timestamp()),
            node: lost.node.to_string(),
            message: match lost.and_more {
                true => super::UNKNOWN_LOSS.to_owned(),
                false => "records lost".to_owned(),
            },
            lost: lost.event.num_events_lost,
        }),
        Entry::Status(status) => Some(Notice {
            time: Some(status.at.to_timestamp()),
            node: status.node.to_string(),
            message: match status.state {
                weir_proto::relay::NodeState::NodeConnected => status.message.clone(),
                _ => format!("unavailable: {}", status.message),
            },
            lost: 0,
        }),
    }
}

fn forgotten_rows(missed: u64) -> Notice {
    Notice {
        time: Some(UnixNanos::now().to_timestamp()),
        node: String::new(),
        message: "connections were forgotten before this client read their last change (at most so many)"
            .to_owned(),
        lost: missed,
    }
}
