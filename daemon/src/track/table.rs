//! The connections, those that rest kept as few bytes.
//!
//! Of a million connections most say nothing for a long time. One that has nothing to tell and waits for its idle time alone is
//! packed (see [`super::pack`]) into a fifth of its room, and is unpacked again by whoever asks for it: nobody else knows. Only a
//! big table does so, as a small one has room enough. Bounded by who inserts.

use std::borrow::Cow;
use std::cell::OnceCell;

use slab::Slab;
use smallvec::SmallVec;
use weir_cluster::UnixNanos;

use super::connection::{Connection, ConnectionId};
use super::pack::{Packed, Packer, Unpacker, packed};
use crate::tuple::Tuple;

/// Connections that are gone whose room is kept for new ones: an allocator takes its time with so big a piece.
const MAX_ROOMS: usize = 1024;

/// What is asked of many connections at once, and wakes none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Glance {
    pub(super) id: ConnectionId,
    pub(super) due: UnixNanos,
    pub(super) last_packet: UnixNanos,
    pub(super) ended: bool,
}

packed!(struct Glance { id, due, last_packet, ended });

impl Glance {
    const fn of(connection: &Connection) -> Self {
        let Connection { id, last_packet, ref emission, .. } = *connection;
        Self { id, due: emission.due, last_packet, ended: emission.ended }
    }
}

/// At least one of both is there; a resting one that was looked at is both.
#[derive(Debug, Default)]
struct Slot {
    awake: OnceCell<Box<Connection>>,
    /// A [`Glance`], and the connection.
    resting: Option<Box<[u8]>>,
}

impl Slot {
    fn get(&self) -> Option<&Connection> {
        if let Some(awake) = self.awake.get() {
            return Some(awake);
        }
        let resting = self.resting.as_deref()?;
        Some(self.awake.get_or_init(|| <(Glance, Box<Connection>)>::unpack(&mut Unpacker::new(resting)).1))
    }

    fn get_mut(&mut self) -> Option<&mut Connection> {
        self.get()?;
        self.resting = None;
        self.awake.get_mut().map(|awake| &mut **awake)
    }

    fn glance(&self) -> Option<Glance> {
        match (self.awake.get(), &self.resting) {
            (Some(awake), _) => Some(Glance::of(awake)),
            (None, Some(resting)) => Some(Glance::unpack(&mut Unpacker::new(resting))),
            (None, None) => None,
        }
    }

    fn forms(&self) -> Option<Cow<'_, [Tuple]>> {
        match (self.awake.get(), &self.resting) {
            (Some(awake), _) => Some(Cow::Borrowed(&awake.forms)),
            (None, Some(resting)) => {
                // A connection begins with these.
                let (_, (_, forms)) =
                    <(Glance, (ConnectionId, SmallVec<[Tuple; 2]>))>::unpack(&mut Unpacker::new(resting));
                Some(Cow::Owned(forms.into_vec()))
            }
            (None, None) => None,
        }
    }
}

/// All connections, by slot.
#[derive(Debug)]
pub(super) struct Table {
    slots: Slab<Slot>,
    packer: Packer,
    rest_from: usize,
    /// Room of connections that are gone.
    #[expect(clippy::vec_box, reason = "the boxes themselves are kept, to be given out again")]
    rooms: Vec<Box<Connection>>,
}

impl Table {
    /// An empty table; some of `rest_from` connections or more begin to rest.
    pub(super) fn new(rest_from: usize) -> Self {
        Self { slots: Slab::new(), packer: Packer::default(), rest_from, rooms: Vec::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// One more than the greatest slot there may be.
    pub(super) fn capacity(&self) -> usize {
        self.slots.capacity()
    }

    pub(super) fn get(&self, slot: usize) -> Option<&Connection> {
        self.slots.get(slot)?.get()
    }

    pub(super) fn get_mut(&mut self, slot: usize) -> Option<&mut Connection> {
        self.slots.get_mut(slot)?.get_mut()
    }

    pub(super) fn glance(&self, slot: usize) -> Option<Glance> {
        self.slots.get(slot)?.glance()
    }

    /// True for one that rests, and was not looked at since.
    pub(super) fn rests(&self, slot: usize) -> bool {
        self.slots.get(slot).is_some_and(|kept| kept.awake.get().is_none())
    }

    /// The address forms of a connection, which wakes none.
    pub(super) fn forms(&self, slot: usize) -> Option<Cow<'_, [Tuple]>> {
        self.slots.get(slot)?.forms()
    }

    /// All of them, resting ones too.
    pub(super) fn glances(&self) -> impl Iterator<Item = (usize, Glance)> {
        self.slots.iter().filter_map(|(slot, kept)| Some((slot, kept.glance()?)))
    }

    /// All of them, to be changed; nobody rests after this.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (usize, &mut Connection)> {
        self.slots.iter_mut().filter_map(|(slot, kept)| Some((slot, kept.get_mut()?)))
    }

    /// Takes a connection in; its slot.
    pub(super) fn insert(&mut self, connection: Connection) -> usize {
        let room = match self.rooms.pop() {
            Some(mut room) => {
                *room = connection;
                room
            }
            None => Box::new(connection),
        };
        self.slots.insert(Slot { awake: room.into(), resting: None })
    }

    pub(super) fn remove(&mut self, slot: usize) {
        let gone = self.slots.try_remove(slot);
        self.keep_room(gone.and_then(|slot| slot.awake.into_inner()));
    }

    /// Takes a connection out, to be used otherwise.
    pub(super) fn take(&mut self, slot: usize) -> Option<Connection> {
        self.slots.get_mut(slot)?.get_mut()?;
        self.slots.try_remove(slot)?.awake.into_inner().map(|connection| *connection)
    }

    fn keep_room(&mut self, mut room: Option<Box<Connection>>) {
        if let Some(gone) = &mut room {
            // Others have a use for what it kept of messages.
            gone.dns = None;
        }
        if self.rooms.len() < MAX_ROOMS {
            self.rooms.extend(room);
        }
    }

    /// Packs a connection that waits, if the table is big enough for that to matter.
    pub(super) fn rest(&mut self, slot: usize) {
        if self.slots.len() < self.rest_from {
            return;
        }
        let Some(kept) = self.slots.get_mut(slot) else { return };
        let Some(connection) = kept.awake.get().filter(|connection| connection.is_plain()) else { return };
        self.packer.clear();
        Glance::of(connection).pack(&mut self.packer);
        connection.pack(&mut self.packer);
        kept.resting = Some(self.packer.bytes().into());
        let room = kept.awake.take();
        self.keep_room(room);
    }

    #[cfg(test)]
    pub(super) fn resting_bytes(&self) -> usize {
        self.slots.iter().filter_map(|(_, slot)| slot.resting.as_ref()).map(|bytes| bytes.len()).sum()
    }
}
