//! Reads from an encoded `observer.GetFlowsResponse` what a stage needs that forwards it: when, from where, what it
//! carries, and its place. The flow itself stays encoded.
//!
//! This is what lets the relay merge, count and resume without decoding, and without losing fields that it does not
//! know. It agrees with a full decoder on every message, and refuses what is none, without panic.

use std::ops::Range;

use prost_types::Timestamp;

use crate::weir;

mod fields;

pub use fields::{Field, Fields, Malformed, Value};

/// Field numbers of `observer.GetFlowsResponse`.
pub(crate) mod number {
    pub(crate) const FLOW: u32 = 1;
    pub(super) const NODE_STATUS: u32 = 2;
    pub(super) const LOST_EVENTS: u32 = 3;
    pub(super) const NODE_NAME: u32 = 1000;
    pub(super) const TIME: u32 = 1001;
    pub(super) const WEIR: u32 = 200_000;
}

/// Which member of `response_types` is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Carries {
    /// None that this program knows.
    #[default]
    Nothing,
    /// A flow.
    Flow,
    /// `relay.NodeStatusEvent`.
    NodeStatus,
    /// `flow.LostEvent`.
    LostEvents,
}

/// The outside of an encoded `observer.GetFlowsResponse`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Envelope<'a> {
    /// `time`; nothing if it is not set.
    pub time: Option<Timestamp>,
    /// `node_name`; empty if it is not set.
    pub node_name: &'a str,
    /// What is inside.
    pub carries: Carries,
    /// Where the first occurrence of the flow stands in the bytes, without its key and length. Further occurrences, as
    /// what a relay has added, follow it: see [`flows`]. Nothing unless it carries a flow.
    pub flow: Option<Range<usize>>,
    /// `weir`, sent to who asked for it.
    pub place: Option<PlaceRef<'a>>,
}

/// A borrowed `weir.v1.Place`, its fields as there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PlaceRef<'a> {
    /// Name of the node whose daemon numbered the flow.
    pub node: &'a str,
    /// Start of that run of the daemon, Unix milliseconds.
    pub run: u64,
    /// Number of the flow in that run.
    pub seq: u64,
    /// The run before this one; 0 where unknown.
    pub previous_run: u64,
    /// The last number that run gave out.
    pub previous_seq: u64,
}

impl PlaceRef<'_> {
    /// As a message of its own.
    #[must_use]
    pub fn to_owned(self) -> weir::v1::Place {
        let Self { node, run, seq, previous_run, previous_seq } = self;
        weir::v1::Place { node: node.to_owned(), run, seq, previous_run, previous_seq }
    }
}

impl<'a> Envelope<'a> {
    /// Reads the outside of an encoded answer.
    ///
    /// # Errors
    /// If the bytes are not a `GetFlowsResponse`. What is inside the flow is not looked at.
    pub fn read(encoded: &'a [u8]) -> Result<Self, Malformed> {
        let mut envelope = Self::default();
        for field in Fields::of(encoded) {
            let field = field?;
            envelope.take(&field).ok_or(Malformed { offset: field.range.start })?;
        }
        Ok(envelope)
    }

    /// Takes in one field; nothing if it does not hold what its number says.
    fn take(&mut self, field: &Field<'a>) -> Option<()> {
        match field.number {
            number::FLOW => {
                let range = inside(field)?;
                if self.carries != Carries::Flow {
                    self.flow = Some(range);
                }
                self.carries = Carries::Flow;
            }
            number::NODE_STATUS => self.carry_other(field, Carries::NodeStatus)?,
            number::LOST_EVENTS => self.carry_other(field, Carries::LostEvents)?,
            number::NODE_NAME => self.node_name = text(field.value)?,
            number::TIME => read_time(self.time.get_or_insert_default(), bytes(field.value)?)?,
            number::WEIR => read_place(self.place.get_or_insert_default(), bytes(field.value)?)?,
            _ => {}
        }
        Some(())
    }

    /// The last member of a oneof counts.
    fn carry_other(&mut self, field: &Field<'a>, carries: Carries) -> Option<()> {
        bytes(field.value)?;
        self.carries = carries;
        self.flow = None;
        Some(())
    }
}

/// Where each occurrence of the flow stands in an encoded answer, without key and length. The flow is what they are when
/// merged, which their bytes one after another are an encoding of.
pub fn flows(encoded: &[u8]) -> impl Iterator<Item = Range<usize>> + '_ {
    let flows = Fields::of(encoded).map_while(Result::ok).filter(|field| field.number == number::FLOW);
    flows.filter_map(|field| inside(&field))
}

/// The range of a length-delimited field's value.
fn inside(field: &Field<'_>) -> Option<Range<usize>> {
    let length = bytes(field.value)?.len();
    Some(field.range.end - length..field.range.end)
}

fn bytes(value: Value<'_>) -> Option<&[u8]> {
    match value {
        Value::Length(bytes) => Some(bytes),
        _ => None,
    }
}

fn text(value: Value<'_>) -> Option<&str> {
    std::str::from_utf8(bytes(value)?).ok()
}

fn varint(value: Value<'_>) -> Option<u64> {
    match value {
        Value::Varint(number) => Some(number),
        _ => None,
    }
}

#[expect(
    clippy::cast_possible_wrap,
    clippy::cast_possible_truncation,
    reason = "how int64 and int32 are encoded"
)]
fn read_time(time: &mut Timestamp, encoded: &[u8]) -> Option<()> {
    for field in Fields::of(encoded) {
        let field = field.ok()?;
        match field.number {
            1 => time.seconds = varint(field.value)? as i64,
            2 => time.nanos = varint(field.value)? as i32,
            _ => {}
        }
    }
    Some(())
}

fn read_place<'a>(place: &mut PlaceRef<'a>, encoded: &'a [u8]) -> Option<()> {
    for field in Fields::of(encoded) {
        let field = field.ok()?;
        match field.number {
            1 => place.node = text(field.value)?,
            2 => place.run = varint(field.value)?,
            3 => place.seq = varint(field.value)?,
            4 => place.previous_run = varint(field.value)?,
            5 => place.previous_seq = varint(field.value)?,
            _ => {}
        }
    }
    Some(())
}

#[cfg(test)]
mod tests;
