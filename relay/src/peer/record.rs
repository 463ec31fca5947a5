//! One answer of a daemon: its bytes kept as they came, and beside them the few values the relay itself needs.
//!
//! This is the edge: what is no valid answer is refused here, so that later stages and clients never meet it.

use std::ops::Range;

use bytes::{Bytes, BytesMut};
use prost::Message;
use weir_proto::flow::{Flow, FlowType, LostEvent};
use weir_proto::weir::v1::{FlowDetail, Place as WirePlace, Reason, Tcp};

use super::wire::{Fields, Value, WireError};
use crate::moment::UnixNanos;
use crate::node::{NodeName, Place};

const FLOW: u64 = 1;
const LOST: u64 = 3;
const TIME: u64 = 1001;
const PLACE: u64 = 200_000;

/// A flow as a daemon sent it.
#[derive(Clone, Debug)]
pub struct Record {
    /// Whose it is.
    pub node: NodeName,
    /// Its place on that node.
    pub place: Place,
    /// When the flow was finished, on that node's clock.
    pub time: UnixNanos,
    /// What it says of its connection.
    pub view: View,
    /// The encoded `GetFlowsResponse` without `weir`.
    message: Bytes,
    /// Where the encoded `Flow` lies in it, and where its field begins.
    flow: Range<usize>,
    field: usize,
}

/// What a record says of its connection, as far as views of several nodes are compared by it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// Number of the connection on the node; 0 where the flow tells of none.
    pub connection: u64,
    /// Equal on all nodes that see the connection; 0 where it has none.
    pub join_key: u64,
    /// The join key of the node that sent the connection here, where this node translated it; else 0.
    pub entry_key: u64,
    /// The node's connection that this one was found to be part of; 0 where it is one of its own.
    pub merged_into: u64,
    /// First and last packet, the node's clock.
    pub first: UnixNanos,
    /// See `first`.
    pub last: UnixNanos,
    /// TCP initial sequence numbers of client and server, where the handshake was seen.
    pub isn: Option<(u32, u32)>,
    /// What it tells of the connection.
    pub about: About,
    /// The node will say no more of it.
    pub ended: bool,
    /// Nodes of the two ends, empty where outside or unknown.
    pub source_node: Box<str>,
    /// See `source_node`.
    pub destination_node: Box<str>,
}

/// What a record tells of its connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum About {
    /// All of it, as it is now.
    #[default]
    State,
    /// A message of the application protocol that was said in it.
    Message,
    /// What the policies said of it, which the records of its state say too.
    Policy,
}

/// What a daemon's message holds.
#[derive(Debug)]
pub enum Answer {
    /// A flow, and the last place of the daemon's previous run where it told that.
    Flow(Box<Record>, Option<Place>),
    /// The daemon lost something.
    Lost(LostEvent),
    /// Something else, of no use to a relay.
    Other,
}

/// The message is no answer of a daemon.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// Not protobuf.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// A part of it does not decode.
    #[error("decoding its {part}: {cause}")]
    Decode {
        /// Which part.
        part: &'static str,
        /// Why.
        cause: prost::DecodeError,
    },
    /// A flow without a place.
    #[error("a flow without its place (is the peer a weir-daemon?)")]
    NoPlace,
    /// A flow without a time.
    #[error("a flow without its time")]
    NoTime,
}

impl Record {
    /// The encoded `GetFlowsResponse`, without `weir`.
    #[must_use]
    pub const fn message(&self) -> &Bytes {
        &self.message
    }

    /// The encoded `Flow`.
    #[must_use]
    pub fn encoded_flow(&self) -> &[u8] {
        self.message.get(self.flow.clone()).unwrap_or_default()
    }

    /// The message's fields before and after the flow.
    #[must_use]
    pub fn around_flow(&self) -> (&[u8], &[u8]) {
        let before = self.message.get(..self.field).unwrap_or_default();
        (before, self.message.get(self.flow.end..).unwrap_or_default())
    }

    /// The flow, decoded. It was decoded once when it came, so this does not fail on what did not then.
    #[must_use]
    pub fn decode_flow(&self) -> Flow {
        Flow::decode(self.encoded_flow()).unwrap_or_default()
    }

    /// The place as a client is told it.
    #[must_use]
    pub fn wire_place(&self) -> WirePlace {
        WirePlace {
            node: self.node.as_str().to_owned(),
            run: self.place.run,
            seq: self.place.seq,
            ..WirePlace::default()
        }
    }

    /// The record that a daemon's message with this flow becomes.
    #[cfg(test)]
    pub fn of_flow(node: &str, place: Place, flow: &Flow) -> std::sync::Arc<Self> {
        use weir_proto::observer::{GetFlowsResponse, get_flows_response::ResponseTypes};
        let wire = WirePlace { run: place.run, seq: place.seq, ..WirePlace::default() };
        let message = GetFlowsResponse {
            node_name: node.into(),
            time: flow.time,
            weir: Some(wire),
            response_types: Some(ResponseTypes::Flow(flow.clone())),
        };
        match read(&node.into(), &Bytes::from(message.encode_to_vec())) {
            Ok(Answer::Flow(record, _)) => std::sync::Arc::new(*record),
            other => panic!("{other:?}"),
        }
    }

    /// Memory it takes, about.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.message.len() + size_of::<Self>()
    }
}

/// The parts of a message that matter here.
#[derive(Default)]
struct Parts {
    flows: Vec<Range<usize>>,
    /// Where the first flow's field begins.
    field: usize,
    lost: Option<Range<usize>>,
    time: Option<UnixNanos>,
    place: Option<WirePlace>,
    /// All fields but flow and place.
    rest: Vec<Range<usize>>,
    place_starts: usize,
    place_is_last: bool,
}

/// Reads one message of `node`.
///
/// # Errors
/// If it is no answer that a relay can use.
pub fn read(node: &NodeName, message: &Bytes) -> Result<Answer, RecordError> {
    let parts = parts(message)?;
    if let Some(lost) = parts.lost {
        let lost = decode(message.get(lost).unwrap_or_default(), "lost_events")?;
        return Ok(Answer::Lost(lost));
    }
    if parts.flows.is_empty() {
        return Ok(Answer::Other);
    }
    let (kept, field, range) = without_place(message, &parts);
    let flow: Flow = decode(kept.get(range.clone()).unwrap_or_default(), "flow")?;
    let place = parts.place.filter(|place| place.run > 0 && place.seq > 0).ok_or(RecordError::NoPlace)?;
    let time = flow.time.as_ref().map(UnixNanos::from).or(parts.time).ok_or(RecordError::NoTime)?;
    let previous =
        (place.previous_run > 0).then_some(Place { run: place.previous_run, seq: place.previous_seq });
    let record = Record {
        node: node.clone(),
        place: Place { run: place.run, seq: place.seq },
        time,
        view: view(&flow),
        message: kept,
        flow: range,
        field,
    };
    Ok(Answer::Flow(Box::new(record), previous))
}

fn parts(message: &[u8]) -> Result<Parts, RecordError> {
    let mut parts = Parts::default();
    for field in Fields::of(message) {
        let field = field?;
        parts.place_is_last = false;
        match (field.number, field.value) {
            (FLOW, Value::Bytes(bytes)) => {
                parts.flows.push(field.span.end - bytes.len()..field.span.end);
                parts.field = field.span.start;
            }
            (PLACE, Value::Bytes(bytes)) => {
                parts.place = Some(decode(bytes, "weir")?);
                parts.place_starts = field.span.start;
                parts.place_is_last = true;
            }
            (number, Value::Bytes(bytes)) => {
                match number {
                    LOST => parts.lost = Some(field.span.end - bytes.len()..field.span.end),
                    TIME => {
                        let time: prost_types::Timestamp = decode(bytes, "time")?;
                        parts.time = Some((&time).into());
                    }
                    _ => {}
                }
                parts.rest.push(field.span);
            }
            _ => parts.rest.push(field.span),
        }
    }
    Ok(parts)
}

/// The message without its place, and where the flow lies. In tag order the place is last and the flow one piece, and
/// nothing is copied; else it is put together anew, several occurrences of the flow as the one they mean.
fn without_place(message: &Bytes, parts: &Parts) -> (Bytes, usize, Range<usize>) {
    if let ([flow], true) = (parts.flows.as_slice(), parts.place_is_last) {
        return (message.slice(..parts.place_starts), parts.field, flow.clone());
    }
    let length: usize = parts.flows.iter().map(ExactSizeIterator::len).sum();
    let mut kept = BytesMut::with_capacity(message.len());
    prost::encoding::encode_key(1, prost::encoding::WireType::LengthDelimited, &mut kept);
    prost::encoding::encode_varint(u64::try_from(length).unwrap_or(u64::MAX), &mut kept);
    let start = kept.len();
    for range in parts.flows.iter().chain(&parts.rest) {
        kept.extend_from_slice(message.get(range.clone()).unwrap_or_default());
    }
    (kept.freeze(), 0, start..start + length)
}

fn decode<M: Message + Default>(bytes: &[u8], part: &'static str) -> Result<M, RecordError> {
    M::decode(bytes).map_err(|cause| RecordError::Decode { part, cause })
}

fn view(flow: &Flow) -> View {
    let Some(detail) = &flow.weir else {
        return View::default();
    };
    let time = |wire: &Option<prost_types::Timestamp>| {
        let wire = wire.as_ref().or(flow.time.as_ref());
        wire.map(UnixNanos::from).unwrap_or_default()
    };
    View {
        connection: detail.connection_id,
        join_key: detail.join_key,
        entry_key: detail.entry_key,
        merged_into: detail.merged_into,
        first: time(&detail.first_packet),
        last: time(&detail.last_packet),
        isn: isn(detail),
        about: about(flow, detail),
        ended: detail.reason() == Reason::End,
        source_node: detail.source_node.as_str().into(),
        destination_node: detail.destination_node.as_str().into(),
    }
}

fn about(flow: &Flow, detail: &FlowDetail) -> About {
    match detail.reason() {
        Reason::Policy => About::Policy,
        Reason::L7 => About::Message,
        _ if flow.r#type() == FlowType::L7 => About::Message,
        _ => About::State,
    }
}

fn isn(detail: &FlowDetail) -> Option<(u32, u32)> {
    let tcp: &Tcp = detail.tcp.as_ref()?;
    tcp.isn_known.then_some((tcp.client_isn, tcp.server_isn))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use weir_proto::observer::GetFlowsResponse;
    use weir_proto::observer::get_flows_response::ResponseTypes;

    use super::*;

    fn response() -> GetFlowsResponse {
        let time = UnixNanos(1_764_000_000_000_000_005).to_timestamp();
        let flow = Flow { time: Some(time), uuid: "u".into(), ..Flow::default() };
        GetFlowsResponse {
            node_name: "n1".into(),
            time: Some(time),
            weir: Some(WirePlace { node: "n1".into(), run: 7, seq: 3, previous_run: 6, previous_seq: 9 }),
            response_types: Some(ResponseTypes::Flow(flow)),
        }
    }

    fn flow_of(message: Vec<u8>) -> (Record, Option<Place>) {
        match read(&"n1".into(), &Bytes::from(message)).unwrap() {
            Answer::Flow(record, previous) => (*record, previous),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_flow_keeps_its_bytes_and_loses_its_place() {
        let (record, previous) = flow_of(response().encode_to_vec());
        let without = GetFlowsResponse { weir: None, ..response() };
        assert_eq!(record.message().as_ref(), without.encode_to_vec());
        assert_eq!((record.place, record.time.0), (Place { run: 7, seq: 3 }, 1_764_000_000_000_000_005));
        assert_eq!(previous, Some(Place { run: 6, seq: 9 }));
        assert_eq!(record.decode_flow().uuid, "u");
    }

    #[test]
    fn fields_nobody_knows_survive_in_any_order() {
        // Field 5000, a string, inside the flow and around it; the place first.
        let unknown = [0xc2, 0xb8, 0x02, 0x01, b'x'];
        let mut flow = response();
        let Some(ResponseTypes::Flow(inner)) = flow.response_types.take() else { unreachable!() };
        let mut inner = inner.encode_to_vec();
        inner.extend(unknown);
        let mut message =
            GetFlowsResponse { weir: flow.weir.take(), ..GetFlowsResponse::default() }.encode_to_vec();
        message.extend(unknown);
        message.extend([0x0a, u8::try_from(inner.len()).unwrap()]);
        message.extend(&inner);
        let (record, _) = flow_of(message);
        assert_eq!(record.encoded_flow(), inner);
        assert_eq!(record.around_flow(), (&[][..], &unknown[..]));
        assert!(record.message().ends_with(&unknown));
    }

    #[test]
    fn a_flow_without_a_place_is_refused() {
        let message = GetFlowsResponse { weir: None, ..response() }.encode_to_vec();
        let error = read(&"n1".into(), &Bytes::from(message)).unwrap_err();
        assert!(matches!(error, RecordError::NoPlace));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(mut message in proptest::collection::vec(any::<u8>(), 0..300), at in any::<prop::sample::Index>(), bit in 0..8_u32) {
            let _random = read(&"n".into(), &Bytes::from(message.clone()));
            message = response().encode_to_vec();
            let at = at.index(message.len());
            message[at] ^= 1_u8 << bit;
            let _flipped = read(&"n".into(), &Bytes::from(message));
        }
    }
}
