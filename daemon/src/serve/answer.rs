//! One message of a `GetFlows` answer, as bytes that are already encoded, and the codec that sends them.
//!
//! A flow is encoded once, in the ring, whoever reads it. Fields of a protobuf message may be concatenated, so an answer is
//! a list of pieces: the flow's field (shared, or masked), the envelope (shared), and the place for who asked for it.

use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint};
use tonic::Status;
use tonic::codec::{Codec, EncodeBuf, Encoder};
use tonic_prost::ProstCodec;
use weir_proto::mask::Mask;
use weir_proto::observer::{GetFlowsRequest, GetFlowsResponse};
use weir_proto::weir::v1::Place;

use crate::ring::Recorded;

/// Field number of `GetFlowsResponse.flow`.
const FLOW_FIELD: u32 = 1;

/// An encoded `GetFlowsResponse`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pieces: [Bytes; 3],
}

impl Answer {
    /// The flow whole, as every reader without a mask gets it.
    pub(super) fn whole(recorded: &Recorded) -> Self {
        Self { pieces: [recorded.field.clone(), recorded.envelope.clone(), Bytes::new()] }
    }

    /// The flow with only the fields of `mask`. The envelope stays: node and time are what a stream is ordered by.
    pub(super) fn masked(recorded: &Recorded, mask: &Mask) -> Self {
        let mut flow = BytesMut::with_capacity(recorded.encoded.len());
        mask.apply(&recorded.encoded, &mut flow);
        let mut field = BytesMut::with_capacity(flow.len() + 8);
        encode_key(FLOW_FIELD, WireType::LengthDelimited, &mut field);
        encode_varint(flow.len() as u64, &mut field);
        field.extend_from_slice(&flow);
        Self { pieces: [field.freeze(), recorded.envelope.clone(), Bytes::new()] }
    }

    /// The same with its place.
    pub(super) fn at(mut self, place: Place) -> Self {
        self.pieces[2] = GetFlowsResponse { weir: Some(place), ..Default::default() }.encode_to_vec().into();
        self
    }

    /// What is no flow.
    pub(super) fn of(response: &GetFlowsResponse) -> Self {
        Self { pieces: [response.encode_to_vec().into(), Bytes::new(), Bytes::new()] }
    }

    /// The message, for who reads it in this process.
    ///
    /// # Errors
    /// Internal, if the pieces are no message.
    pub fn decode(&self) -> Result<GetFlowsResponse, Status> {
        let mut response = GetFlowsResponse::default();
        for piece in &self.pieces {
            response
                .merge(piece.clone())
                .map_err(|error| Status::internal(format!("decoding an answer: {error}")))?;
        }
        Ok(response)
    }
}

/// Decodes `GetFlowsRequest`, sends [`Answer`].
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct FlowsCodec;

impl Codec for FlowsCodec {
    type Encode = Answer;
    type Decode = GetFlowsRequest;
    type Encoder = AnswerEncoder;
    type Decoder = <ProstCodec<GetFlowsResponse, GetFlowsRequest> as Codec>::Decoder;

    fn encoder(&mut self) -> Self::Encoder {
        AnswerEncoder
    }

    fn decoder(&mut self) -> Self::Decoder {
        ProstCodec::<GetFlowsResponse, GetFlowsRequest>::default().decoder()
    }
}

/// Puts the pieces one behind the other.
#[derive(Clone, Copy, Debug)]
pub(super) struct AnswerEncoder;

impl Encoder for AnswerEncoder {
    type Item = Answer;
    type Error = Status;

    fn encode(&mut self, answer: Answer, into: &mut EncodeBuf<'_>) -> Result<(), Status> {
        for piece in &answer.pieces {
            into.put_slice(piece);
        }
        Ok(())
    }
}
