//! A gRPC codec that leaves messages as the bytes they came in, so that fields this program does not know survive it.

use bytes::{Buf, BufMut, Bytes};
use tonic::Status;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};

/// Encoded messages in both directions.
#[derive(Clone, Copy, Debug, Default)]
pub struct EncodedCodec;

impl Codec for EncodedCodec {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for EncodedCodec {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        out.put(item);
        Ok(())
    }
}

impl Decoder for EncodedCodec {
    type Item = Bytes;
    type Error = Status;

    /// Copied out of the connection's buffer: kept as a slice, one small flow would keep the whole buffer alive.
    fn decode(&mut self, source: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        let mut message = Vec::with_capacity(source.remaining());
        while source.has_remaining() {
            let chunk = source.chunk();
            message.extend_from_slice(chunk);
            let length = chunk.len();
            source.advance(length);
        }
        Ok(Some(Bytes::from(message)))
    }
}
