//! Field masks: which parts of a flow a client wants to be sent.
//!
//! A mask is compiled once a request and then applied to encoded flows by walking their bytes; no flow is decoded for it.
//! A path keeps a field and everything below it; what no path names is left out, fields that this program does not know
//! included. Applied to several occurrences of a message field, which protobuf merges, it gives the mask of the merged.
//! (Only of a oneof whose member changes from one occurrence to the next may the overwritten one come through.)

use std::collections::BTreeMap;

use bytes::{BufMut as _, BytesMut};
use prost::Name as _;
use prost::encoding::{encode_varint, encoded_len_varint};
use prost_reflect::{Kind, MessageDescriptor};
use prost_types::FieldMask;

use crate::flow::Flow;
use crate::json::POOL;
use crate::observer::GetFlowsRequest;
use crate::wire::{Field, Fields, Value, number};

/// Why a field mask was refused: which path, which part of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("field_mask.paths[{index}]: {path:?}: {reason}")]
pub struct MaskError {
    /// Which path of the mask, from 0.
    pub index: usize,
    /// The path as it was sent.
    pub path: String,
    /// What is wrong with it.
    pub reason: PathError,
}

/// What can be wrong with one path. Positions count bytes from 0.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// A name that the message does not have.
    #[error("{message} has no field {name:?}, at position {position}")]
    UnknownField {
        /// Full name of the message.
        message: String,
        /// The name in the path.
        name: String,
        /// Where it stands in the path.
        position: usize,
    },
    /// A path that goes on below a field that is no single message.
    #[error("{field} is not a single message, so that nothing can follow it, at position {position}")]
    NothingBelow {
        /// Full name of the field.
        field: String,
        /// Where the rest stands in the path.
        position: usize,
    },
}

/// A compiled field mask over `flow.Flow`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mask(Keep);

/// What is kept of a field.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Keep {
    Whole,
    /// Of a message, these fields.
    Parts(BTreeMap<u32, Keep>),
}

/// The mask that a request asks for: of `field_mask`, or, if that is not set, where clients of Hubble 1.14 to 1.17 put
/// it.
#[must_use]
pub fn requested(request: &GetFlowsRequest) -> Option<&FieldMask> {
    #[expect(deprecated, reason = "old clients still send it")]
    let old = || request.experimental.as_ref()?.field_mask.as_ref();
    request.field_mask.as_ref().or_else(old)
}

impl Mask {
    /// Compiles a mask; one without paths keeps everything.
    ///
    /// # Errors
    /// The first path that `flow.Flow` does not have.
    pub fn compile(mask: &FieldMask) -> Result<Self, MaskError> {
        if mask.paths.is_empty() {
            return Ok(Self(Keep::Whole));
        }
        let mut root = BTreeMap::new();
        for (index, path) in mask.paths.iter().enumerate() {
            let numbers = resolve(path).map_err(|reason| MaskError { index, path: path.clone(), reason })?;
            insert(&mut root, &numbers);
        }
        Ok(Self(Keep::Parts(root)))
    }

    /// True if every flow stays as it is.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        self.0 == Keep::Whole
    }

    /// Appends what the mask keeps of an encoded `flow.Flow`. From a malformed byte on, nothing more is appended of the
    /// message that it is in.
    pub fn apply(&self, encoded_flow: &[u8], out: &mut BytesMut) {
        match &self.0 {
            Keep::Whole => out.put_slice(encoded_flow),
            Keep::Parts(parts) => write(parts, encoded_flow, out),
        }
    }

    /// Appends an encoded `observer.GetFlowsResponse` with the mask applied to the flow in it, if it carries one, and
    /// all else as it was.
    pub fn apply_to_response(&self, encoded_response: &[u8], out: &mut BytesMut) {
        for field in Fields::of(encoded_response).map_while(Result::ok) {
            match &self.0 {
                Keep::Parts(parts) if field.number == number::FLOW => {
                    write_parts(parts, &field, out);
                }
                _ => out.put_slice(&encoded_response[field.range]),
            }
        }
    }
}

/// The numbers of the fields along a path.
fn resolve(path: &str) -> Result<Vec<u32>, PathError> {
    let mut at = Some(flow_descriptor(path)?);
    let mut numbers = Vec::new();
    let mut position = 0;
    let mut last = String::new();
    for name in path.split('.') {
        let Some(message) = at else { return Err(PathError::NothingBelow { field: last, position }) };
        let Some(field) = message.get_field_by_name(name) else {
            let message = message.full_name().to_owned();
            return Err(PathError::UnknownField { message, name: name.to_owned(), position });
        };
        numbers.push(field.number());
        last = field.full_name().to_owned();
        at = match field.kind() {
            Kind::Message(below) if !field.is_list() => Some(below),
            _ => None,
        };
        position += name.len() + 1;
    }
    Ok(numbers)
}

fn flow_descriptor(path: &str) -> Result<MessageDescriptor, PathError> {
    let unknown =
        || PathError::UnknownField { message: Flow::full_name(), name: path.to_owned(), position: 0 };
    POOL.get_message_by_name(&Flow::full_name()).ok_or_else(unknown)
}

/// Adds a path; a longer one of the same beginning is swallowed.
fn insert(parts: &mut BTreeMap<u32, Keep>, path: &[u32]) {
    let Some((number, below)) = path.split_first() else { return };
    if below.is_empty() {
        parts.insert(*number, Keep::Whole);
    } else if let Keep::Parts(parts) = parts.entry(*number).or_insert_with(|| Keep::Parts(BTreeMap::new())) {
        insert(parts, below);
    }
}

fn write(parts: &BTreeMap<u32, Keep>, message: &[u8], out: &mut BytesMut) {
    for field in Fields::of(message).map_while(Result::ok) {
        match parts.get(&field.number) {
            None => {}
            Some(Keep::Whole) => out.put_slice(&message[field.range]),
            Some(Keep::Parts(below)) => write_parts(below, &field, out),
        }
    }
}

/// A message field with what is kept of it; one that holds no message is left out.
fn write_parts(parts: &BTreeMap<u32, Keep>, field: &Field<'_>, out: &mut BytesMut) {
    let Value::Length(message) = field.value else { return };
    encode_varint(u64::from(field.number) << 3 | 2, out);
    encode_varint(length(parts, message) as u64, out);
    write(parts, message, out);
}

/// How many bytes [`write`] will append.
fn length(parts: &BTreeMap<u32, Keep>, message: &[u8]) -> usize {
    let fields = Fields::of(message).map_while(Result::ok);
    let lengths = fields.map(|field| match (parts.get(&field.number), field.value) {
        (None, _) => 0,
        (Some(Keep::Whole), _) => field.range.len(),
        (Some(Keep::Parts(below)), Value::Length(message)) => {
            let inside = length(below, message);
            encoded_len_varint(u64::from(field.number) << 3 | 2) + encoded_len_varint(inside as u64) + inside
        }
        (Some(Keep::Parts(_)), _) => 0,
    });
    lengths.sum()
}

#[cfg(test)]
mod tests;
