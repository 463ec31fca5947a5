//! The latest flows, kept encoded and within a bound; rows are made of them only where they are looked at.
//!
//! When there is no room the oldest is forgotten, and counted. While the screen is frozen, what was on it stays, and what
//! comes waits in a room of its own of the same size. Two of these are kept: of all flows, and of DNS messages, which would
//! otherwise be washed away by the rest within seconds.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use prost::Message as _;
use weir_proto::flow::Flow;
use weir_proto::wire::{Fields, Value};

use super::connections::glyph;
use super::filter::Filter;
use super::row::{Cell, Column, MARK, Row, Show, Subject, Tone};
use crate::print::{Output, flow_cells};

/// Flows in memory.
pub const MOST: usize = 10_000;
/// DNS messages in memory.
pub const MOST_NAMES: usize = 10_000;

/// The columns of the flows.
pub const COLUMNS: &[Column] = &[
    MARK,
    Column::text("TIME", (12, 12), 0, "end of what it tells, local time"),
    Column::text("NODE", (10, 24), 4, "node that saw it"),
    Column::text("SOURCE", (16, 44), 0, "where the packets came from").shown(Show::Port),
    Column::text("DESTINATION", (16, 44), 0, "where they went").shown(Show::Port),
    Column::text("TYPE", (12, 24), 3, "kind of record, or place on the node"),
    Column::text("VERDICT", (9, 9), 5, "what became of it, by evidence"),
    Column::text("SUMMARY", (14, 70), 2, "flags, question, answer"),
];

/// Field numbers of `flow.Flow`, `flow.Layer7` and `weir.v1.FlowDetail`.
const L7: u32 = 15;
const L7_DNS: u32 = 100;
const WEIR: u32 = 200_000;
const WEIR_JOIN_KEY: u32 = 2;

/// True if the encoded flow is a message of DNS.
#[must_use]
pub fn is_dns(flow: &[u8]) -> bool {
    let inner = Fields::of(flow).filter_map(Result::ok).filter(|field| field.number == L7);
    inner.into_iter().any(|field| match field.value {
        Value::Length(bytes) => Fields::of(bytes).filter_map(Result::ok).any(|field| field.number == L7_DNS),
        _ => false,
    })
}

/// The key of an encoded flow's connection.
#[must_use]
pub fn join_key(flow: &[u8]) -> Option<u64> {
    let details = Fields::of(flow).filter_map(Result::ok).filter(|field| field.number == WEIR);
    let keys = details.flat_map(|field| match field.value {
        Value::Length(bytes) => Fields::of(bytes),
        _ => Fields::of(&[]),
    });
    keys.filter_map(Result::ok).filter(|field| field.number == WEIR_JOIN_KEY).find_map(|field| {
        match field.value {
            Value::Fixed64(key) => Some(key),
            _ => None,
        }
    })
}

#[derive(Debug)]
struct Entry<T> {
    number: u64,
    encoded: Bytes,
    made: Option<T>,
    passes: bool,
    judged: u32,
}

/// The latest flows, with what is made of each once it is looked at.
#[derive(Debug)]
pub struct Latest<T> {
    entries: VecDeque<Entry<T>>,
    /// What came while held.
    waiting: VecDeque<Bytes>,
    most: usize,
    next: u64,
    /// What is there stays, and what comes waits.
    pub held: bool,
    /// Forgotten for lack of room.
    pub forgotten: u64,
    /// Generation of the filter by which all were judged, and made.
    done: Option<u32>,
}

impl<T> Latest<T> {
    /// None yet.
    #[must_use]
    pub const fn new(most: usize) -> Self {
        Self {
            entries: VecDeque::new(),
            waiting: VecDeque::new(),
            most,
            next: 0,
            held: false,
            forgotten: 0,
            done: None,
        }
    }

    /// Takes one.
    pub fn apply(&mut self, encoded: &[u8]) {
        let encoded = Bytes::copy_from_slice(encoded);
        if self.held {
            self.waiting.push_back(encoded);
            if self.waiting.len() > self.most {
                self.waiting.pop_front();
                self.forgotten += 1;
            }
        } else {
            self.push(encoded);
        }
    }

    fn push(&mut self, encoded: Bytes) {
        self.next += 1;
        self.entries.push_back(Entry { number: self.next, encoded, made: None, passes: false, judged: 0 });
        self.done = None;
        if self.entries.len() > self.most {
            self.entries.pop_front();
            self.forgotten += 1;
        }
    }

    /// Lets in what waited.
    pub fn release(&mut self) {
        self.held = false;
        for encoded in std::mem::take(&mut self.waiting) {
            self.push(encoded);
        }
    }

    /// A server was reached; it sends its newest anew. What is held stays.
    pub fn clear(&mut self) {
        self.waiting.clear();
        if !self.held {
            self.entries.clear();
        }
    }

    /// Makes and judges what was not yet, the newest first, about so many. True if something is left.
    pub fn work(&mut self, filter: &Filter, most: usize, make: impl Fn(&Flow, u64, &Bytes) -> T) -> bool {
        if self.done == Some(filter.generation) {
            return false;
        }
        let mut left = most;
        for entry in self.entries.iter_mut().rev() {
            if entry.made.is_some() && entry.judged == filter.generation {
                continue;
            }
            if left == 0 {
                return true;
            }
            left -= 1;
            entry.judged = filter.generation;
            let flow = Flow::decode(&entry.encoded[..]).unwrap_or_default();
            entry.passes = filter.passes(&flow);
            if entry.made.is_none() {
                entry.made = Some(make(&flow, entry.number, &entry.encoded));
            }
        }
        self.done = Some(filter.generation);
        false
    }

    /// What was made of those that pass, oldest first.
    pub fn passing(&self) -> impl Iterator<Item = &T> {
        self.entries.iter().filter(|entry| entry.passes).filter_map(|entry| entry.made.as_ref())
    }

    /// All of them encoded, the newest first.
    pub fn encoded(&self) -> impl Iterator<Item = &Bytes> {
        self.entries.iter().rev().map(|entry| &entry.encoded)
    }

    /// How many.
    #[must_use]
    pub fn count(&self) -> usize {
        self.entries.len()
    }
}

/// The row of a flow.
#[must_use]
pub fn row(flow: &Flow, number: u64, encoded: &Bytes, output: &Output) -> Arc<Row> {
    let time = flow.time.as_ref().map_or(0, weir_proto::time::unix_nanos);
    let (mark, tone) = glyph(flow);
    let texts = flow_cells(flow, output).into_iter().enumerate();
    let cells = texts.map(|(at, text)| match at {
        0 => Cell::ranked(text, time, Tone::Quiet),
        2 | 3 => Cell::text(text, Tone::Host),
        5 => Cell::text(text, tone),
        _ => Cell::text(text, Tone::Plain),
    });
    let cells = std::iter::once(Cell::text(mark, tone)).chain(cells).collect();
    // Equal times stay in the order in which they came.
    let id = format!("{number:012}").into();
    Arc::new(Row { id, cells, subject: Subject::Flow(encoded.clone()) })
}
