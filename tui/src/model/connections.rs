//! The connections that are known: told by the relay, updated in place, kept encoded and within a bound.
//!
//! What comes is only put aside; rows are made of it a few hundred at a time ([`Connections::work`]), once for all changes
//! that came meanwhile, and not at all while the screen is frozen. When there is no room, the one that is silent for
//! longest is forgotten, and counted. After a reconnection the relay tells all it knows anew: what it does not tell again
//! stays, marked as of an earlier session, until room is needed or the relay tells the same call under another name.

mod row;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use prost::Message as _;
use slab::Slab;
use weir_proto::flow::Flow;
use weir_proto::weir::v1::{Connection, FlowDetail};

pub use row::{COLUMNS, DROPS_COLUMNS, connection_row, failed, glyph};

use super::filter::Filter;
use super::row::{Call, Row};
use crate::print::Output;

/// Connections in memory.
pub const MOST: usize = 20_000;
/// Two calls with one key whose first packets are at most so far apart are the same one, told by two sessions.
const SAME_CALL_WITHIN_NS: u64 = 2_000_000_000;

/// A connection as the screen keeps it.
#[derive(Debug)]
struct Entry {
    id: Arc<str>,
    /// What was shown last.
    row: Option<Arc<Row>>,
    /// What came since.
    waiting: Option<Bytes>,
    session: u32,
    passes: bool,
    /// Generation of the filter that it was judged by.
    judged: u32,
    /// Told since it was last looked at for being forgotten.
    is_fresh: bool,
    is_queued: bool,
    /// Tells it from others that had its slot.
    serial: u64,
}

/// An entry, unless its slot was given to another one.
type Slot = (usize, u64);

/// A part of `weir.v1.Connection`: sightings stay encoded.
#[derive(Clone, PartialEq, prost::Message)]
struct Joined {
    #[prost(string, tag = "1")]
    id: String,
    #[prost(message, optional, tag = "3")]
    flow: Option<Flow>,
    #[prost(bytes = "bytes", repeated, tag = "4")]
    sightings: Vec<Bytes>,
    #[prost(bool, tag = "5")]
    ended: bool,
}

/// Only who saw it.
#[derive(Clone, PartialEq, prost::Message)]
struct Seen {
    #[prost(string, tag = "11")]
    node_name: String,
}

/// Only what it is called.
#[derive(Clone, PartialEq, prost::Message)]
struct Named {
    #[prost(string, tag = "1")]
    id: String,
    #[prost(bytes = "bytes", optional, tag = "3")]
    flow: Option<Bytes>,
    #[prost(bytes = "bytes", repeated, tag = "4")]
    sightings: Vec<Bytes>,
}

/// All of them.
#[derive(Debug)]
pub struct Connections {
    output: Output,
    slots: HashMap<Arc<str>, usize>,
    entries: Slab<Entry>,
    /// For being forgotten: the front is looked at first.
    order: VecDeque<Slot>,
    /// With something that waits.
    queue: VecDeque<Slot>,
    /// Entries below this one are judged by the filter of that generation.
    judged: (usize, u32),
    /// Of an earlier session, by key.
    earlier: HashMap<u64, Slot>,
    most: usize,
    session: u32,
    serial: u64,
    /// Rows stay as they are; what comes waits, and where there is no room for it, is not taken.
    pub held: bool,
    /// Forgotten for lack of room.
    pub forgotten: u64,
    /// Messages that could not be read.
    pub unreadable: u64,
}

impl Connections {
    /// None yet.
    #[must_use]
    pub fn new(output: Output, most: usize) -> Self {
        Self {
            output,
            slots: HashMap::new(),
            entries: Slab::new(),
            order: VecDeque::new(),
            queue: VecDeque::new(),
            judged: (0, 0),
            earlier: HashMap::new(),
            most,
            session: 0,
            serial: 0,
            held: false,
            forgotten: 0,
            unreadable: 0,
        }
    }

    /// A server was reached; it will tell all it knows.
    pub fn reconnected(&mut self) {
        self.session += 1;
        let key = |(slot, entry): (usize, &Entry)| {
            Some((entry.row.as_ref()?.call()?.join_key, (slot, entry.serial)))
        };
        self.earlier = self.entries.iter().filter_map(key).filter(|(key, _)| *key != 0).collect();
    }

    /// The session with a server that is going on, from 1.
    #[must_use]
    pub const fn session(&self) -> u32 {
        self.session
    }

    /// Puts the latest of one connection aside. True if it is one that was not known.
    pub fn apply(&mut self, encoded: &[u8]) -> bool {
        let Ok(named) = Named::decode(encoded) else {
            self.unreadable += 1;
            return false;
        };
        let known = self.slots.get(named.id.as_str()).copied();
        if named.flow.is_none() {
            // Taken back: the row of another id tells of it.
            if let Some(slot) = known {
                self.forget(slot);
            }
            return false;
        }
        let Some(slot) = known.or_else(|| self.admit(named.id.as_str().into())) else { return false };
        let Some(entry) = self.entries.get_mut(slot) else { return false };
        // A copy of its own: what came may be a part of something larger.
        entry.waiting = Some(Bytes::copy_from_slice(encoded));
        entry.session = self.session;
        entry.is_fresh = known.is_some();
        if !std::mem::replace(&mut entry.is_queued, true) {
            self.queue.push_back((slot, entry.serial));
        }
        known.is_none()
    }

    fn admit(&mut self, id: Arc<str>) -> Option<usize> {
        while self.entries.len() >= self.most {
            if self.held {
                self.forgotten += 1;
                return None;
            }
            let (slot, serial) = self.order.pop_front()?;
            let entry = self.entries.get_mut(slot).filter(|entry| entry.serial == serial);
            match entry.map(|entry| std::mem::take(&mut entry.is_fresh)) {
                Some(true) => self.order.push_back((slot, serial)),
                Some(false) => {
                    self.forget(slot);
                    self.forgotten += 1;
                }
                None => {}
            }
        }
        self.serial += 1;
        let serial = self.serial;
        let slot = self.entries.insert(Entry {
            id: id.clone(),
            row: None,
            waiting: None,
            session: self.session,
            passes: false,
            judged: 0,
            is_fresh: false,
            is_queued: false,
            serial,
        });
        self.slots.insert(id, slot);
        self.order.push_back((slot, serial));
        if self.order.len() > 2 * self.most {
            let entries = &self.entries;
            self.order
                .retain(|(slot, serial)| entries.get(*slot).is_some_and(|entry| entry.serial == *serial));
        }
        Some(slot)
    }

    fn forget(&mut self, slot: usize) {
        if let Some(entry) = self.entries.try_remove(slot) {
            self.slots.remove(&entry.id);
        }
    }

    /// Judges rows by a changed filter and makes rows of what waits, about so many. True if something is left to judge.
    pub fn work(&mut self, filter: &Filter, most: usize) -> bool {
        let mut left = self.judge(filter, most);
        while left > 0
            && !self.held
            && let Some((slot, serial)) = self.queue.pop_front()
        {
            self.take_in(slot, serial, filter);
            left -= 1;
        }
        self.judged.0 < self.entries.capacity()
    }

    /// How many wait for their rows.
    #[must_use]
    pub fn waiting(&self) -> usize {
        if self.held { 0 } else { self.queue.len() }
    }

    fn take_in(&mut self, slot: usize, serial: u64, filter: &Filter) {
        let Some(entry) = self.entries.get_mut(slot).filter(|entry| entry.serial == serial) else { return };
        entry.is_queued = false;
        let Some(encoded) = entry.waiting.take() else { return };
        let Some((connection, flow_passes)) = read(&encoded, filter) else {
            self.unreadable += 1;
            return;
        };
        entry.passes = flow_passes;
        entry.judged = filter.generation;
        let Some(row) = connection_row(&connection, encoded, entry.id.clone(), entry.session, &self.output)
        else {
            return;
        };
        let (key, first_ns) = row.call().map_or((0, 0), |call| (call.join_key, call.first_ns));
        entry.row = Some(Arc::new(row));
        self.replaces_earlier(slot, key, first_ns);
    }

    /// The same call, told by an earlier session under another id, goes.
    fn replaces_earlier(&mut self, slot: usize, key: u64, first_ns: u64) {
        if self.earlier.is_empty() {
            return;
        }
        let Some(&(other, serial)) = self.earlier.get(&key) else { return };
        let session = self.session;
        let is_old = |entry: &Entry| {
            let first = entry.row.as_ref().and_then(|row| row.call()).map_or(0, |call| call.first_ns);
            entry.serial == serial
                && entry.session != session
                && first.abs_diff(first_ns) <= SAME_CALL_WITHIN_NS
        };
        if other == slot {
            self.earlier.remove(&key);
        } else if self.entries.get(other).is_some_and(is_old) {
            self.forget(other);
        }
    }

    /// Gives how many more may be done.
    fn judge(&mut self, filter: &Filter, most: usize) -> usize {
        if self.judged.1 != filter.generation {
            self.judged = (0, filter.generation);
        }
        let end = self.entries.capacity();
        let mut left = most;
        while self.judged.0 < end && left > 0 {
            if let Some(entry) = self.entries.get_mut(self.judged.0)
                && entry.judged != filter.generation
                && let Some(call) = entry.row.as_ref().and_then(|row| row.call())
            {
                entry.passes = filter.query.is_everything()
                    || Joined::decode(&call.encoded[..])
                        .is_ok_and(|joined| joined.flow.is_some_and(|flow| filter.passes(&flow)));
                entry.judged = filter.generation;
                left -= usize::from(!filter.query.is_everything());
            }
            self.judged.0 += 1;
        }
        left
    }

    /// The row of that id, if it is another one than this.
    #[must_use]
    pub fn newer(&self, row: &Row) -> Option<Arc<Row>> {
        let latest = self.get(&row.id)?;
        (!std::ptr::eq(Arc::as_ptr(latest), row)).then(|| latest.clone())
    }

    /// The row of one.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<&Arc<Row>> {
        self.entries.get(*self.slots.get(id)?)?.row.as_ref()
    }

    /// The one with a flow of that key, seen by that node under that number if there are several.
    #[must_use]
    pub fn of_flow(&self, flow: &Flow) -> Option<&Arc<Row>> {
        let detail = flow.weir.as_ref()?;
        let same = |row: &&Arc<Row>| {
            row.call().is_some_and(|call| {
                call.join_key == detail.join_key && saw(&call.encoded, &flow.node_name, detail)
            })
        };
        self.rows().find(same)
    }

    /// The rows of all, in no order.
    pub fn rows(&self) -> impl Iterator<Item = &Arc<Row>> {
        self.entries.iter().filter_map(|(_, entry)| entry.row.as_ref())
    }

    /// The rows that pass the filter, in no order.
    pub fn passing(&self) -> impl Iterator<Item = &Arc<Row>> {
        self.entries.iter().filter(|(_, entry)| entry.passes).filter_map(|(_, entry)| entry.row.as_ref())
    }

    /// Some flows, the latest first, for completion from what there is.
    pub fn some_flows(&self, most: usize) -> impl Iterator<Item = Flow> {
        let calls = self.rows().filter_map(|row| row.call()).take(most);
        calls.filter_map(|call| Joined::decode(&call.encoded[..]).ok()?.flow)
    }

    /// How many.
    #[must_use]
    pub fn count(&self) -> usize {
        self.entries.len()
    }
}

/// What a row is made of, and whether its flow passes.
fn read(encoded: &[u8], filter: &Filter) -> Option<(Connection, bool)> {
    let joined = Joined::decode(encoded).ok()?;
    let passes = joined.flow.as_ref().is_some_and(|flow| filter.passes(flow));
    let lacks_tunnel = joined.flow.as_ref().and_then(|flow| flow.weir.as_ref()).is_some_and(|detail| {
        joined.sightings.len() > 1 && detail.path.iter().all(|point| point.tunnel.is_none())
    });
    if lacks_tunnel {
        // Only another node's sighting knows what lay between.
        return Some((Connection::decode(encoded).ok()?, passes));
    }
    let seen = |sighting: &Bytes| {
        let node_name = Seen::decode(&sighting[..]).map_or_else(|_| String::new(), |seen| seen.node_name);
        Flow { node_name, ..Default::default() }
    };
    let sightings = joined.sightings.iter().map(seen).collect();
    Some((
        Connection { id: joined.id, flow: joined.flow, sightings, ended: joined.ended, revision: 0 },
        passes,
    ))
}

fn saw(encoded: &[u8], node: &str, detail: &FlowDetail) -> bool {
    let same = |seen: &Flow| {
        seen.node_name == node
            && seen.weir.as_ref().is_some_and(|seen| seen.connection_id == detail.connection_id)
    };
    Connection::decode(encoded).is_ok_and(|connection| connection.sightings.iter().any(same))
}

/// The whole connection.
#[must_use]
pub fn decode(call: &Call) -> Connection {
    Connection::decode(&call.encoded[..]).unwrap_or_default()
}
