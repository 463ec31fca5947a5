//! DNS questions of one connection and the time until their answers.
//!
//! Bounded: a resolver asks a handful at once; the oldest question makes room. What TCP has begun is kept in the tracker's budget.
//! A pure value of its connection: the packets' times come in as arguments.

use std::collections::VecDeque;

use weir_cluster::UnixNanos;

use super::connection::Way;
use super::l7::budget::Budget;
use super::l7::dns::Message;
use super::l7::dns::stream::{Found, Stream};
use crate::decode::Tcp;

/// Questions kept for one connection.
const OPEN_QUESTIONS: usize = 16;

/// Questions waiting for an answer.
#[derive(Debug, Default)]
pub struct Exchange {
    open: VecDeque<Question>,
    /// Of DNS over TCP: what is begun, from the client and from the server.
    streams: Option<[Stream; 2]>,
}

#[derive(Debug)]
struct Question {
    id: u16,
    name: String,
    kind: String,
    at: UnixNanos,
}

impl Exchange {
    /// A segment of DNS over TCP. What it begins is kept in the budget.
    pub fn segment(&mut self, way: Way, tcp: &Tcp<'_>, budget: &Budget) -> Found {
        let new = || [Stream::new(budget.clone()), Stream::new(budget.clone())];
        let [forward, reverse] = self.streams.get_or_insert_with(new);
        let stream = if way == Way::Forward { forward } else { reverse };
        stream.segment(tcp.sequence, tcp.payload, tcp.payload_len)
    }

    /// A query was sent.
    pub fn asked(&mut self, message: &Message, at: UnixNanos) {
        if self.open.len() >= OPEN_QUESTIONS {
            self.open.pop_front();
        }
        let (name, kind) = (message.name.clone(), message.qtype.clone());
        self.open.push_back(Question { id: message.id, name, kind, at });
    }

    /// An answer came: the time since its question, nanoseconds, if that was seen.
    pub fn answered(&mut self, message: &Message, at: UnixNanos) -> Option<u64> {
        let found = self.open.iter().position(|open| {
            open.id == message.id && open.name == message.name && open.kind == message.qtype
        })?;
        let question = self.open.remove(found)?;
        Some(at.nanos_since(question.at))
    }

    /// The other end is the client after all.
    pub fn flip(&mut self) {
        if let Some(streams) = &mut self.streams {
            streams.reverse();
        }
    }

    /// True if a question waits.
    #[must_use]
    pub fn waiting(&self) -> bool {
        !self.open.is_empty()
    }
}
