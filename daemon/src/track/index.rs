//! Where a connection is in the table: by one of its forms, or by its number.
//!
//! The index holds places alone and compares with the connection that is there: a million connections cost some ten bytes each,
//! and the look-up touches what the packet needs anyway. Bounded by the table that it is the index of.

use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};

use super::connection::ConnectionId;
use super::table::{Glance, Table};
use crate::tuple::Tuple;

/// A connection in the table, and one of its forms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) slot: usize,
    pub(super) form: usize,
}

/// A [`Place`] in half the room: a table has fewer slots than that. And half of its form's hash, so that hardly ever another
/// connection is looked at than the one that is sought, and none where the index grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    hash: u32,
    slot: u32,
    form: u32,
}

impl Entry {
    fn of(place: Place, hash: u32) -> Self {
        let [slot, form] = [place.slot, place.form].map(|number| u32::try_from(number).unwrap_or(u32::MAX));
        Self { hash, slot, form }
    }

    const fn place(self) -> Place {
        Place { slot: self.slot as usize, form: self.form as usize }
    }

    /// True if its connection has this form there.
    fn is_of(self, tuple: Tuple, hash: u32, connections: &Table) -> bool {
        if self.hash != hash {
            return false;
        }
        let forms = connections.forms(self.slot as usize);
        let form = forms.as_deref().and_then(|forms| forms.get(self.form as usize));
        form.is_some_and(|own| *own == tuple || *own == tuple.reversed())
    }
}

/// Half a hash, as the table wants it.
fn spread(half: u32) -> u64 {
    u64::from(half).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// Both ways to a connection.
#[derive(Debug, Default)]
pub(super) struct Index {
    forms: HashTable<Entry>,
    ids: HashTable<u32>,
    hasher: DefaultHashBuilder,
}

impl Index {
    fn hash(&self, tuple: Tuple) -> u32 {
        (self.hasher.hash_one(tuple.form()) >> 32) as u32
    }

    /// The connection that has this form now, and which of its forms it is.
    pub(super) fn place_of(&self, tuple: Tuple, connections: &Table) -> Option<Place> {
        let hash = self.hash(tuple);
        let found = self.forms.find(spread(hash), |entry| entry.is_of(tuple, hash, connections));
        found.map(|entry| entry.place())
    }

    /// The slot of the connection of that number.
    pub(super) fn slot_of(&self, id: ConnectionId, connections: &Table) -> Option<usize> {
        let is_it = |slot: &u32| connections.glance(*slot as usize).is_some_and(|glance| glance.id == id);
        self.ids.find(spread_id(id), is_it).map(|slot| *slot as usize)
    }

    /// Enters a new connection by its number; its forms are entered one by one.
    pub(super) fn enter(&mut self, id: ConnectionId, slot: usize, connections: &Table) {
        let hash_of =
            |slot: &u32| connections.glance(*slot as usize).map_or(0, |glance| spread_id(glance.id));
        let slot = u32::try_from(slot).unwrap_or(u32::MAX);
        self.ids.insert_unique(spread_id(id), slot, hash_of);
    }

    /// From now on the form at `place` leads there; another connection that has it too is found by it no more.
    pub(super) fn lead_to(&mut self, place: Place, connections: &Table) {
        let form = connections.get(place.slot).and_then(|connection| connection.forms.get(place.form));
        let Some(tuple) = form.copied() else { return };
        let hash = self.hash(tuple);
        let entry = Entry::of(place, hash);
        match self.forms.find_mut(spread(hash), |known| known.is_of(tuple, hash, connections)) {
            Some(known) => *known = entry,
            None => {
                self.forms.insert_unique(spread(hash), entry, |entry| spread(entry.hash));
            }
        }
    }

    /// Forgets a connection that is about to leave the table.
    pub(super) fn leave(&mut self, slot: usize, connections: &Table) {
        let Some(forms) = connections.forms(slot) else { return };
        for tuple in forms.iter() {
            let hash = self.hash(*tuple);
            let own = |entry: &Entry| entry.slot as usize == slot && entry.is_of(*tuple, hash, connections);
            if let Ok(entry) = self.forms.find_entry(spread(hash), own) {
                entry.remove();
            }
        }
        let Some(Glance { id, .. }) = connections.glance(slot) else { return };
        if let Ok(entry) = self.ids.find_entry(spread_id(id), |known| *known as usize == slot) {
            entry.remove();
        }
    }
}

/// Numbers are given out one by one.
const fn spread_id(id: ConnectionId) -> u64 {
    id.0.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}
