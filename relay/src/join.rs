//! Pairs the views that several nodes have of one connection, and keeps one row a connection.
//!
//! Views belong together by an equal join key, or where one's entry key is another's join key (each node that translates
//! makes a form of its own), by overlapping lifetimes and TCP sequence numbers that do not contradict ([`pairing`]);
//! [`keys`] finds them, [`compose`] makes the row of them. The table is bounded: the row that changed longest ago is forgotten
//! and counted. Readers go through the rows in the order of their last change, so a slow one skips revisions, never rows.
//! Pure: time is an argument, the relay's monotonic clock.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use crate::node::NodeName;
use crate::peer::{About, Record};

pub mod compose;
mod keys;
mod pairing;
mod row;

use keys::Keys;
pub use row::{Changes, Row, Sighting};

/// Limits of the table.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Most rows.
    pub capacity: usize,
    /// How far the clocks of two nodes may be apart where lifetimes decide.
    pub skew_allowance: Duration,
    /// A connection is over when one node ended it and the others said nothing for so long.
    pub silence: Duration,
    /// How long an ended connection waits for a node that should have seen it and has not spoken.
    pub grace: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            capacity: 32_768,
            skew_allowance: Duration::from_secs(5),
            silence: Duration::from_secs(15),
            grace: Duration::from_secs(2),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct RowId(u64);

/// A connection as one node numbers it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct ViewId {
    node: NodeName,
    run: u64,
    connection: u64,
}

impl ViewId {
    fn of(record: &Record) -> Self {
        Self { node: record.node.clone(), run: record.place.run, connection: record.view.connection }
    }
}

/// The table.
#[derive(Debug)]
pub struct Join {
    settings: Settings,
    rows: HashMap<RowId, Row>,
    views: HashMap<ViewId, RowId>,
    by_key: Keys,
    by_change: BTreeMap<u64, RowId>,
    due: BTreeSet<(Duration, RowId)>,
    runs: HashMap<NodeName, u64>,
    changes: u64,
    made: u64,
    forgotten: u64,
    last_forgotten: u64,
    unattached: u64,
}

impl Join {
    /// An empty table.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            rows: HashMap::new(),
            views: HashMap::new(),
            by_key: Keys::default(),
            by_change: BTreeMap::new(),
            due: BTreeSet::new(),
            runs: HashMap::new(),
            changes: 0,
            made: 0,
            forgotten: 0,
            last_forgotten: 0,
            unattached: 0,
        }
    }

    /// A node's record came at `now`.
    pub fn apply(&mut self, record: &Arc<Record>, now: Duration) {
        if record.view.connection == 0 {
            return;
        }
        self.note_run(record, now);
        let view = ViewId::of(record);
        let row = self.views.get(&view).copied();
        match (row, record.view.about) {
            (Some(row), _) if record.view.merged_into != 0 => self.detach(row, &view, now),
            (None, _) if record.view.merged_into != 0 => {}
            (Some(row), About::Message) => self.attach(row, record, now),
            (None, About::Message) => self.unattached += 1,
            // The record of the state that it follows says the same, and counts.
            (_, About::Policy) => {}
            (Some(row), About::State) if self.same_key(row, record) => self.update(row, record, now),
            (Some(row), About::State) => {
                self.detach(row, &view, now);
                self.place(view, record, now);
            }
            (None, About::State) => self.place(view, record, now),
        }
        self.bound();
    }

    /// Ends what nobody will tell more of.
    pub fn tick(&mut self, now: Duration) {
        while let Some(&(due, id)) = self.due.first().filter(|(due, _)| *due <= now) {
            self.due.remove(&(due, id));
            let Some(row) = self.rows.get_mut(&id) else {
                continue;
            };
            row.due = None;
            row.ended = true;
            self.changed(id);
        }
    }

    /// When `tick` is to be called next.
    #[must_use]
    pub fn next_due(&self) -> Option<Duration> {
        self.due.first().map(|(due, _)| *due)
    }

    /// Number of the latest change.
    #[must_use]
    pub const fn newest(&self) -> u64 {
        self.changes
    }

    /// Rows in the table.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Nothing in the table.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Rows forgotten for lack of room.
    #[must_use]
    pub const fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// Messages of connections that no record had told of.
    #[must_use]
    pub const fn unattached(&self) -> u64 {
        self.unattached
    }

    /// At most `limit` rows that changed after `cursor`; `forgotten_then` is [`Self::forgotten`] as the reader last saw it.
    #[must_use]
    pub fn changes_after(&self, cursor: u64, forgotten_then: u64, limit: usize) -> Changes {
        let after = self.by_change.range(cursor.saturating_add(1)..).take(limit);
        let rows: Vec<Row> = after.filter_map(|(_, id)| self.rows.get(id)).cloned().collect();
        let missed = if self.last_forgotten > cursor { self.forgotten - forgotten_then } else { 0 };
        let cursor = rows.last().map_or(self.changes, |row| row.change);
        Changes { rows, cursor, missed }
    }

    /// All rows, the one that changed longest ago first.
    #[must_use]
    pub fn all(&self) -> Vec<Row> {
        self.by_change.values().filter_map(|id| self.rows.get(id)).cloned().collect()
    }

    /// A new run of a node's daemon: what the old one had open, it will tell no more of.
    fn note_run(&mut self, record: &Record, now: Duration) {
        let run = record.place.run;
        let Some(old) = self.runs.insert(record.node.clone(), run).filter(|old| *old != run) else {
            return;
        };
        let of_old = |view: &ViewId| view.node == record.node && view.run == old;
        let orphans: Vec<_> = self.views.iter().filter(|(view, _)| of_old(view)).map(|(_, id)| *id).collect();
        for id in orphans {
            if let Some(row) = self.rows.get_mut(&id) {
                let stale = |s: &&mut Sighting| s.record.node == record.node && s.record.place.run == old;
                row.sightings.iter_mut().filter(stale).for_each(|s| s.ended = true);
                // It may go on as a connection of the new run: that is waited for.
                self.reschedule(id, Some(now.saturating_add(self.settings.silence)));
            }
        }
    }

    fn same_key(&self, row: RowId, record: &Record) -> bool {
        let sighting = self.rows.get(&row).and_then(|row| row.sighting_of(record));
        let keys = |record: &Record| (record.view.join_key, record.view.entry_key);
        sighting.is_some_and(|s| keys(&s.record) == keys(record))
    }

    fn attach(&mut self, id: RowId, record: &Arc<Record>, now: Duration) {
        let Some(sighting) = self.rows.get_mut(&id).and_then(|row| row.sighting_mut(record)) else {
            return;
        };
        sighting.message = Some(Arc::clone(record));
        sighting.heard = now;
        self.conclude(id, now);
    }

    fn update(&mut self, id: RowId, record: &Arc<Record>, now: Duration) {
        let Some(sighting) = self.rows.get_mut(&id).and_then(|row| row.sighting_mut(record)) else {
            return;
        };
        sighting.ended = record.view.ended;
        sighting.record = Arc::clone(record);
        sighting.heard = now;
        self.conclude(id, now);
    }

    /// Puts a view in the row it belongs to, or in a new one. Rows that turn out to be one by it become one.
    fn place(&mut self, view: ViewId, record: &Arc<Record>, now: Duration) {
        let mut fitting = self.rows_for(record).into_iter();
        let id = fitting.next().unwrap_or_else(|| self.new_row(record));
        let sighting =
            Sighting { record: Arc::clone(record), message: None, ended: record.view.ended, heard: now };
        if let Some(row) = self.rows.get_mut(&id) {
            // The same connection as an earlier run of this node's daemon saw it is told anew.
            if let Some(old) = row.sightings.iter().position(|s| is_told_anew(&s.record, record)) {
                let old = row.sightings.remove(old);
                self.views.remove(&ViewId::of(&old.record));
            }
            row.sightings.push(sighting);
        }
        self.by_key.add(&record.view, id);
        self.views.insert(view, id);
        for other in fitting {
            self.absorb(id, other, now);
        }
        self.conclude(id, now);
    }

    /// Rows that the record fits, the best first: at most one by its own key, and those that a translation links to it.
    fn rows_for(&self, record: &Record) -> Vec<RowId> {
        let fit = |(linked, id): (bool, RowId)| {
            let fit = pairing::fit(self.rows.get(&id)?, record, self.settings.skew_allowance)?;
            Some((linked, fit, id))
        };
        let mut found: Vec<_> = self.by_key.of(&record.view).into_iter().filter_map(fit).collect();
        found.sort_unstable();
        let mut own = 0;
        found.retain(|(linked, ..)| {
            own += usize::from(!linked);
            *linked || own == 1
        });
        let mut ids = Vec::with_capacity(found.len());
        for (_, _, id) in found {
            if !ids.contains(&id) {
                ids.push(id);
            }
        }
        ids
    }

    /// The other row is part of this one: it is told without sightings.
    fn absorb(&mut self, id: RowId, other: RowId, now: Duration) {
        let fits = |join: &Self, sighting: &Sighting| {
            let row = join.rows.get(&id)?;
            pairing::fit(row, &sighting.record, join.settings.skew_allowance)
        };
        let Some(part) = self.rows.get(&other) else { return };
        if part.sightings.iter().any(|sighting| fits(self, sighting).is_none()) {
            return;
        }
        let Some(part) = self.rows.get_mut(&other) else { return };
        let sightings = std::mem::take(&mut part.sightings);
        for sighting in &sightings {
            self.by_key.remove(&sighting.record.view, other);
            self.by_key.add(&sighting.record.view, id);
            self.views.insert(ViewId::of(&sighting.record), id);
        }
        if let Some(row) = self.rows.get_mut(&id) {
            row.sightings.extend(sightings);
        }
        self.conclude(other, now);
    }

    fn new_row(&mut self, record: &Record) -> RowId {
        self.made += 1;
        let id = RowId(self.made);
        let row = Row {
            id: compose::row_id(record),
            revision: 0,
            ended: false,
            sightings: Vec::with_capacity(2),
            change: 0,
            due: None,
        };
        self.rows.insert(id, row);
        id
    }

    /// Takes a view out of its row, because its keys turned out to be others (a NAT learnt late), or because the node has found
    /// it to be part of another connection.
    fn detach(&mut self, id: RowId, view: &ViewId, now: Duration) {
        self.views.remove(view);
        let Some(row) = self.rows.get_mut(&id) else {
            return;
        };
        let of_view = |s: &Sighting| ViewId::of(&s.record) == *view;
        let Some(sighting) = row.sightings.iter().position(of_view) else {
            return;
        };
        let sighting = row.sightings.remove(sighting);
        self.by_key.remove(&sighting.record.view, id);
        // What others in the row share with it stays.
        for left in &row.sightings {
            self.by_key.add(&left.record.view, id);
        }
        self.conclude(id, now);
    }

    /// Looks at whether the row is over, and marks it as changed.
    fn conclude(&mut self, id: RowId, now: Duration) {
        let Some(row) = self.rows.get_mut(&id) else {
            return;
        };
        let open = row.sightings.iter().filter(|s| !s.ended).map(|s| s.heard).max();
        let any_ended = row.sightings.iter().any(|s| s.ended);
        let due = match open {
            Some(heard) => any_ended.then(|| heard.saturating_add(self.settings.silence)),
            None if row.is_complete() => Some(now),
            None => Some(now.saturating_add(self.settings.grace)),
        };
        row.ended = due.is_some_and(|due| due <= now);
        let due = due.filter(|_| !row.ended);
        self.reschedule(id, due);
        self.changed(id);
    }

    fn reschedule(&mut self, id: RowId, due: Option<Duration>) {
        let Some(row) = self.rows.get_mut(&id) else {
            return;
        };
        if let Some(old) = row.due.take() {
            self.due.remove(&(old, id));
        }
        row.due = due;
        if let Some(due) = due {
            self.due.insert((due, id));
        }
    }

    fn changed(&mut self, id: RowId) {
        let Some(row) = self.rows.get_mut(&id) else {
            return;
        };
        self.changes += 1;
        self.by_change.remove(&row.change);
        self.by_change.insert(self.changes, id);
        row.change = self.changes;
        row.revision += 1;
    }

    fn bound(&mut self) {
        while self.rows.len() > self.settings.capacity {
            let Some((change, id)) = self.by_change.pop_first() else {
                return;
            };
            self.reschedule(id, None);
            self.forgotten += 1;
            self.last_forgotten = change;
            let Some(row) = self.rows.remove(&id) else {
                continue;
            };
            for sighting in &row.sightings {
                self.views.remove(&ViewId::of(&sighting.record));
                self.by_key.remove(&sighting.record.view, id);
            }
        }
    }
}

/// The record is of the connection of an older run's record, as the new run of the node's daemon sees it.
fn is_told_anew(old: &Record, record: &Record) -> bool {
    let same = old.node == record.node && old.view.join_key == record.view.join_key;
    same && old.place.run != record.place.run
}

#[cfg(test)]
mod tests;
