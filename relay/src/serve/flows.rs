//! The answer to `GetFlows`: a client's own walk through the history, pulled by the client.
//!
//! HTTP/2 lets a stream be polled only while its client takes messages. So a slow client needs no queue and delays nobody:
//! the history overtakes it, and it is told how many flows it missed.

use std::collections::{HashMap, HashSet, VecDeque};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint};
use tokio_stream::Stream;
use tokio_stream::wrappers::WatchStream;
use tonic::Status as GrpcStatus;
use weir_proto::flow::{LostEvent, LostEventSource};
use weir_proto::observer::GetFlowsResponse;
use weir_proto::observer::get_flows_response::ResponseTypes;
use weir_proto::relay::{NodeState, NodeStatusEvent};

use super::request::{Question, Start};
use crate::history::{Cursor, Entry, History, Lost, Status};
use crate::moment::UnixNanos;
use crate::node::{NodeName, Place};
use crate::peer::Record;
use crate::stop::Stop;

/// Entries looked at before others get their turn.
const CHUNK: usize = 256;

/// Told to who goes on after a flow that the relay no longer has, or never had.
const FORGOTTEN: &str = "the flow to go on after is not remembered: the answer begins with the oldest that is, and what \
                         other nodes told in between is lost or comes again";

/// Where a walk begins.
#[derive(Debug, Default)]
struct Beginning {
    /// First entry of each node that is told; all of them where it is not listed.
    from: HashMap<NodeName, u64>,
    /// What is said before the first of them.
    said: Vec<GetFlowsResponse>,
}

/// Messages for one client.
#[derive(Debug)]
pub struct FlowStream {
    question: Question,
    relay: String,
    history: Arc<History>,
    cursor: Cursor,
    beginning: Beginning,
    /// End of the history when the client asked.
    asked_at: u64,
    told: HashMap<NodeName, u64>,
    ready: VecDeque<Bytes>,
    done: bool,
    wake: WatchStream<u64>,
    stop: WatchStream<bool>,
}

impl FlowStream {
    /// A walk for `question`, which begins with `greeting`.
    pub async fn open(
        question: Question,
        relay: &str,
        greeting: Vec<GetFlowsResponse>,
        history: Arc<History>,
        stop: Stop,
    ) -> Self {
        let wake = WatchStream::from_changes(history.wake());
        let end = history.end();
        let (cursor, beginning) = begin(&question, relay, &history, end).await;
        Self {
            question,
            relay: relay.to_owned(),
            history,
            cursor,
            asked_at: end.position,
            told: HashMap::new(),
            ready: greeting.iter().chain(&beginning.said).map(encode).collect(),
            beginning,
            done: false,
            wake,
            stop: WatchStream::new(stop.into_receiver()),
        }
    }

    /// Looks at the next entries. False: there are none now.
    fn pull(&mut self) -> bool {
        let chunk = self.history.read(self.cursor, CHUNK);
        self.cursor = chunk.next;
        if chunk.missed > 0 {
            self.ready.push_back(encode(&missed(&self.relay, chunk.missed)));
        }
        let nothing = chunk.entries.is_empty();
        for (position, entry) in (chunk.start..).zip(chunk.entries) {
            if self.done || (!self.question.follow && position >= self.asked_at) {
                self.done = true;
                break;
            }
            self.look_at(position, &entry);
        }
        if nothing && !self.question.follow {
            self.done = true;
        }
        !nothing
    }

    fn look_at(&mut self, position: u64, entry: &Entry) {
        match entry {
            Entry::Flow(record) => self.look_at_flow(position, record),
            Entry::Lost(lost) => {
                if lost.event.num_events_lost > 0 {
                    self.ready.push_back(encode(&lost_event(lost)));
                }
                if lost.and_more {
                    self.ready.push_back(encode(&unknown_loss(lost)));
                }
            }
            Entry::Status(status) if position >= self.asked_at => {
                self.ready.push_back(encode(&status_event(status)));
            }
            Entry::Status(_) => {}
        }
    }

    fn look_at_flow(&mut self, position: u64, record: &Record) {
        let question = &self.question;
        if question.until.is_some_and(|until| record.time > until) {
            // In a stream that goes on, everything after this is later still.
            self.done = question.follow && position >= self.asked_at;
            return;
        }
        let too_early = question.since.is_some_and(|since| record.time < since)
            || self.beginning.from.get(&record.node).is_some_and(|from| position < *from);
        let told = self.told.get(&record.node).copied().unwrap_or(0);
        if too_early || question.limit.is_some_and(|limit| told >= limit) {
            return;
        }
        if !matches(question, record) {
            return;
        }
        if question.limit.is_some() {
            self.told.insert(record.node.clone(), told + 1);
        }
        self.ready.push_back(message(question, record));
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

impl Stream for FlowStream {
    type Item = Result<Bytes, GrpcStatus>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            if let Some(message) = this.ready.pop_front() {
                return Poll::Ready(Some(Ok(message)));
            }
            if this.done {
                return Poll::Ready(None);
            }
            if this.is_stopping(cx) {
                this.done = true;
                return Poll::Ready(Some(Err(GrpcStatus::unavailable("the relay is stopping"))));
            }
            if this.pull() {
                if this.ready.is_empty() && !this.done {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                continue;
            }
            if this.done || !this.ready.is_empty() {
                continue;
            }
            match Pin::new(&mut this.wake).poll_next(cx) {
                Poll::Ready(Some(_)) => {}
                Poll::Ready(None) => this.done = true,
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

fn matches(question: &Question, record: &Record) -> bool {
    question.filter.is_everything() || question.filter.matches(&record.decode_flow())
}

async fn begin(question: &Question, relay: &str, history: &History, end: Cursor) -> (Cursor, Beginning) {
    match &question.start {
        Start::Newest => (end, Beginning::default()),
        Start::Oldest => (history.oldest(), Beginning::default()),
        Start::Last(number) => rewind(question, history, end, *number).await,
        Start::After(node, place) => match behind(history, end, node, *place).await {
            Some(cursor) => (cursor, Beginning::default()),
            None => {
                let said = forgotten(relay, history, node, *place);
                (history.oldest(), Beginning { said, ..Beginning::default() })
            }
        },
    }
}

/// Behind the flow of this place, if it is remembered.
async fn behind(history: &History, end: Cursor, node: &NodeName, place: Place) -> Option<Cursor> {
    let is_it =
        |entry: &Entry| matches!(entry, Entry::Flow(record) if record.node == *node && record.place == place);
    let mut before = end;
    loop {
        let back = history.read_back(before, CHUNK);
        let (last, _) = back.last()?;
        if let Some(index) = back.iter().position(|(_, entry)| is_it(entry)) {
            let after = index.checked_sub(1).and_then(|index| back.get(index));
            return Some(after.map_or(before, |(cursor, _)| *cursor));
        }
        before = *last;
        tokio::task::yield_now().await;
    }
}

/// What is lost to who goes on after a place that is not remembered: of its node to the unit, of others in words.
fn forgotten(relay: &str, history: &History, node: &NodeName, place: Place) -> Vec<GetFlowsResponse> {
    let now = UnixNanos::now();
    let oldest = history.oldest_of(node).filter(|oldest| oldest.run == place.run);
    let lost = oldest.map_or(0, |oldest| oldest.seq.saturating_sub(place.seq.saturating_add(1)));
    let event = LostEvent {
        source: LostEventSource::HubbleRingBuffer.into(),
        num_events_lost: lost,
        ..LostEvent::default()
    };
    let counted = (lost > 0).then(|| response(node.as_str(), now, ResponseTypes::LostEvents(event)));
    let names = vec![node.to_string()];
    let rest = nodes_event(relay, now, NodeState::NodeError, names, FORGOTTEN.to_owned());
    counted.into_iter().chain([rest]).collect()
}

/// Back to where each node has `number` flows that match.
async fn rewind(question: &Question, history: &History, end: Cursor, number: u64) -> (Cursor, Beginning) {
    let oldest = history.oldest();
    if number >= end.position - oldest.position {
        return (oldest, Beginning::default());
    }
    let nodes = history.nodes();
    let mut counts: HashMap<NodeName, u64> = HashMap::new();
    let mut full: HashSet<NodeName> = HashSet::new();
    let mut beginning = Beginning::default();
    let mut before = end;
    while full.len() < nodes {
        let back = history.read_back(before, CHUNK);
        let Some((last, _)) = back.last() else { break };
        before = *last;
        for (cursor, entry) in back {
            let Entry::Flow(record) = entry else { continue };
            if full.contains(&record.node) || !matches(question, &record) {
                continue;
            }
            let count = counts.entry(record.node.clone()).or_default();
            *count += 1;
            if *count == number {
                beginning.from.insert(record.node.clone(), cursor.position);
                full.insert(record.node.clone());
            }
        }
        tokio::task::yield_now().await;
    }
    (before, beginning)
}

fn encode(message: &GetFlowsResponse) -> Bytes {
    Bytes::from(message.encode_to_vec())
}

/// A flow as this client wants it: the daemon's own bytes where nothing is to be left out.
fn message(question: &Question, record: &Record) -> Bytes {
    if question.mask.is_none() && !question.places {
        return record.message().clone();
    }
    let mut out = BytesMut::with_capacity(record.message().len() + 64);
    match &question.mask {
        None => out.put_slice(record.message()),
        Some(mask) => {
            let mut flow = BytesMut::with_capacity(record.encoded_flow().len());
            mask.apply(record.encoded_flow(), &mut flow);
            let (before, after) = record.around_flow();
            out.put_slice(before);
            encode_key(1, WireType::LengthDelimited, &mut out);
            encode_varint(u64::try_from(flow.len()).unwrap_or(u64::MAX), &mut out);
            out.put_slice(&flow);
            out.put_slice(after);
        }
    }
    if question.places {
        let place = GetFlowsResponse { weir: Some(record.wire_place()), ..GetFlowsResponse::default() };
        out.put_slice(&place.encode_to_vec());
    }
    out.freeze()
}

fn response(node: &str, at: UnixNanos, content: ResponseTypes) -> GetFlowsResponse {
    GetFlowsResponse {
        node_name: node.to_owned(),
        time: Some(at.to_timestamp()),
        weir: None,
        response_types: Some(content),
    }
}

fn missed(relay: &str, flows: u64) -> GetFlowsResponse {
    let event = LostEvent {
        source: LostEventSource::HubbleRingBuffer.into(),
        num_events_lost: flows,
        ..LostEvent::default()
    };
    response(relay, UnixNanos::now(), ResponseTypes::LostEvents(event))
}

fn lost_event(lost: &Lost) -> GetFlowsResponse {
    response(lost.node.as_str(), lost.at, ResponseTypes::LostEvents(lost.event))
}

fn unknown_loss(lost: &Lost) -> GetFlowsResponse {
    let message = super::UNKNOWN_LOSS.to_owned();
    nodes_event(lost.node.as_str(), lost.at, NodeState::NodeError, vec![lost.node.to_string()], message)
}

fn status_event(status: &Status) -> GetFlowsResponse {
    let names = vec![status.node.to_string()];
    nodes_event(status.node.as_str(), status.at, status.state, names, status.message.clone())
}

/// What a stream says of nodes.
#[must_use]
pub fn nodes_event(
    from: &str,
    at: UnixNanos,
    state: NodeState,
    node_names: Vec<String>,
    message: String,
) -> GetFlowsResponse {
    let event = NodeStatusEvent { state_change: state.into(), node_names, message };
    response(from, at, ResponseTypes::NodeStatus(event))
}

#[cfg(test)]
mod tests;
