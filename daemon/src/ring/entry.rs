//! One entry of the ring: a flow with its encoding, or a loss of the capture; and what lies before it.
//!
//! The encoding is that of a whole `GetFlowsResponse`, in two parts: the flow's field, and the envelope after it. Fields of
//! a protobuf message may be concatenated, so a reader that masks the flow or adds its place copies nothing else.

use std::sync::OnceLock;

use bytes::{Bytes, BytesMut};
use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint};
use prost_types::Timestamp;
use weir_cluster::UnixNanos;
use weir_proto::flow::{Flow, LostEvent};
use weir_proto::observer::GetFlowsResponse;

use super::{Position, Seq};

/// Field number of `GetFlowsResponse.flow`.
const FLOW_FIELD: u32 = 1;
/// Sources of losses that have a number: `flow.LostEventSource`.
const LOSS_SOURCES: usize = 4;

/// What is known of everything before some position: the ring tells a reader with two of these what lay between.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Mark {
    /// Number of the latest flow.
    pub(super) seq: Seq,
    /// Latest time of a flow: its time, as times never fall on a live node. A file of flows may be less orderly.
    pub(super) time: Option<UnixNanos>,
    /// Events lost by the capture.
    pub(super) losses: LossTotals,
}

/// Sums of `LostEvent.num_events_lost` by source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct LossTotals(pub(super) [u64; LOSS_SOURCES]);

impl LossTotals {
    fn add(&mut self, lost: &LostEvent) {
        let known = usize::try_from(lost.source).ok().filter(|source| *source < LOSS_SOURCES);
        self.0[known.unwrap_or(0)] += lost.num_events_lost;
    }
}

/// An entry of the ring, shared by all readers.
#[derive(Debug)]
pub struct Entry {
    pub(super) position: Position,
    pub(super) before: Mark,
    /// What it is.
    pub content: Content,
}

/// A flow, or a loss between flows.
#[derive(Debug)]
pub enum Content {
    /// A flow of this node.
    Flow(Box<Recorded>),
    /// Events that the capture lost here.
    Loss(LostEvent),
}

/// A flow as all readers share it.
#[derive(Debug)]
pub struct Recorded {
    /// Decoded again by the first reader with a filter.
    decoded: OnceLock<Box<Flow>>,
    /// `Flow.time`; the epoch where it is absent.
    pub time: UnixNanos,
    /// The flow as field 1 of a `GetFlowsResponse`, key and length included.
    pub field: Bytes,
    /// The flow alone, as masks read it: the end of `field`.
    pub encoded: Bytes,
    /// Fields 1000 (`node_name`) and 1001 (`time`) of that response.
    pub envelope: Bytes,
}

impl Recorded {
    pub(super) fn new(flow: &Flow) -> Self {
        let length = flow.encoded_len();
        let mut response = BytesMut::with_capacity(length + 64);
        encode_key(FLOW_FIELD, WireType::LengthDelimited, &mut response);
        encode_varint(length as u64, &mut response);
        let header = response.len();
        flow.encode_raw(&mut response);
        let end = response.len();
        let envelope =
            GetFlowsResponse { node_name: flow.node_name.clone(), time: flow.time, ..Default::default() };
        envelope.encode_raw(&mut response);
        let response = response.freeze();
        Self {
            time: flow.time.as_ref().map_or(UnixNanos::ZERO, time_of),
            field: response.slice(..end),
            encoded: response.slice(header..end),
            envelope: response.slice(end..),
            decoded: OnceLock::new(),
        }
    }

    /// The flow decoded, for filters. Who pushed it needed no such form to be kept, and most readers take all flows.
    #[must_use]
    pub fn flow(&self) -> &Flow {
        // What was encoded here can be decoded.
        self.decoded.get_or_init(|| Box::new(Flow::decode(self.encoded.clone()).unwrap_or_default()))
    }
}

impl Entry {
    /// The number of this flow; for a loss, of the flow before it.
    #[must_use]
    pub fn seq(&self) -> Seq {
        match self.content {
            Content::Flow(_) => Seq(self.before.seq.0 + 1),
            Content::Loss(_) => self.before.seq,
        }
    }

    pub(super) fn after(&self) -> Mark {
        let mut mark = self.before.clone();
        match &self.content {
            Content::Flow(recorded) => {
                mark.seq = self.seq();
                mark.time = mark.time.max(Some(recorded.time));
            }
            Content::Loss(lost) => mark.losses.add(lost),
        }
        mark
    }

    /// Bytes in memory, estimated, as if it was decoded: the encoding, the decoded form's fixed part, and its strings and lists,
    /// which take about twice their encoding.
    pub(super) fn weight(&self) -> usize {
        let content = match &self.content {
            Content::Flow(recorded) => {
                let decoded = size_of::<Flow>() + 2 * recorded.field.len();
                size_of::<Recorded>() + decoded + recorded.field.len() + recorded.envelope.len()
            }
            Content::Loss(_) => 0,
        };
        size_of::<Self>() + content
    }
}

/// A wire time. What lies outside of 1970 to 2554 is moved to the nearest end.
#[must_use]
pub fn time_of(time: &Timestamp) -> UnixNanos {
    UnixNanos::from_nanos(weir_proto::time::unix_nanos(time))
}

/// The wire form of a time.
#[must_use]
pub fn timestamp_of(time: UnixNanos) -> Timestamp {
    weir_proto::time::timestamp(time.as_nanos())
}
