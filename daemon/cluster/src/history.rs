//! Who held a key at a time: values with [from, until), as many as a bound allows.
//!
//! `History` is the past of one table: it takes changes in the order of their time and answers for any time. `Claims`
//! stands before it where several objects may want the same key: it holds who wants it now and tells which keys changed.
//! What is over is forgotten oldest first, when there is too much of it altogether or for one key; it is counted, and
//! earlier times are then answered with the oldest state still known.

use std::borrow::Borrow;
use std::collections::{BTreeSet, VecDeque};
use std::hash::Hash;

use hashbrown::HashMap;
use smallvec::{SmallVec, smallvec};

use crate::UnixNanos;

/// How much of the past is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HistoryLimits {
    /// Ended states in each table (addresses, frontends, backends, nodes, namespaces, policies).
    pub entries: usize,
    /// Ended states of one address, frontend and so on.
    pub per_key: usize,
}

impl Default for HistoryLimits {
    /// An hour of a busy cluster: 262,144 ended states a table (about 30 MB), 64 a key.
    fn default() -> Self {
        Self { entries: 262_144, per_key: 64 }
    }
}

/// What was at a key at a time.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum State<'a, V> {
    /// This.
    Held(&'a V),
    /// Nothing, but at another time this.
    Vacant(&'a V),
    /// Nothing, and nothing is known of another time.
    Never,
}

impl<'a, V> State<'a, V> {
    pub(crate) fn held(self) -> Option<&'a V> {
        match self {
            State::Held(value) => Some(value),
            State::Vacant(_) | State::Never => None,
        }
    }
}

#[derive(Debug)]
struct Entry<V> {
    from: UnixNanos,
    value: Option<V>,
}

/// The last entry is the present one; the others are over. Most keys have one, and it is found without another look elsewhere.
#[derive(Debug)]
struct Timeline<V> {
    entries: SmallVec<[Entry<V>; 1]>,
    /// So many of its ended entries are gone while `History::ended` still lists them.
    gone_early: u32,
}

impl<V> Timeline<V> {
    fn at(&self, at: UnixNanos) -> State<'_, V> {
        let after = self.entries.partition_point(|entry| entry.from <= at);
        let entry = after.checked_sub(1).and_then(|index| self.entries.get(index));
        match entry.and_then(|entry| entry.value.as_ref()) {
            Some(value) => State::Held(value),
            None => self
                .entries
                .iter()
                .rev()
                .find_map(|entry| entry.value.as_ref())
                .map_or(State::Never, State::Vacant),
        }
    }
}

/// The past of one table.
#[derive(Debug)]
pub(crate) struct History<K, V> {
    timelines: HashMap<K, Timeline<V>>,
    /// One key for each ended entry, in the order in which they ended.
    ended: VecDeque<K>,
    limits: HistoryLimits,
    forgotten: u64,
    exact_since: UnixNanos,
}

impl<K: Clone + Eq + Hash, V: PartialEq> History<K, V> {
    pub(crate) fn new(limits: HistoryLimits) -> Self {
        Self {
            timelines: HashMap::new(),
            ended: VecDeque::new(),
            limits,
            forgotten: 0,
            exact_since: UnixNanos::ZERO,
        }
    }

    /// What was at the key at that time.
    pub(crate) fn at(&self, key: &K, at: UnixNanos) -> State<'_, V> {
        self.timelines.get(key).map_or(State::Never, |timeline| timeline.at(at))
    }

    /// Whether something else came to be at the key after `from`, and not after `until`.
    pub(crate) fn changed_within(&self, key: &K, from: UnixNanos, until: UnixNanos) -> bool {
        self.timelines.get(key).is_some_and(|timeline| {
            timeline.entries.iter().any(|entry| from < entry.from && entry.from <= until)
        })
    }

    /// Whether anything is known of the key, at whatever time.
    pub(crate) fn knows<Q: Hash + Eq + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.timelines.contains_key(key)
    }

    /// All that was held at that time, in no order.
    pub(crate) fn all_at(&self, at: UnixNanos) -> impl Iterator<Item = (&K, &V)> {
        self.timelines
            .iter()
            .filter_map(move |(key, timeline)| timeline.at(at).held().map(|value| (key, value)))
    }

    /// Whether a value of the key, present or past, is such.
    pub(crate) fn any_time(&self, key: &K, is_such: impl Fn(&V) -> bool) -> bool {
        self.timelines
            .get(key)
            .is_some_and(|timeline| timeline.entries.iter().filter_map(|e| e.value.as_ref()).any(is_such))
    }

    /// From `at` on the key holds this. `at` must not be before that of an earlier call. Returns what was forgotten.
    pub(crate) fn set(&mut self, key: &K, value: Option<V>, at: UnixNanos) -> Vec<(K, V)> {
        let Some(timeline) = self.timelines.get_mut(key) else {
            if value.is_some() {
                let entries = smallvec![Entry { from: at, value }];
                self.timelines.insert(key.clone(), Timeline { entries, gone_early: 0 });
            }
            return Vec::new();
        };
        match timeline.entries.last_mut() {
            Some(last) if last.value == value => return Vec::new(),
            Some(last) if last.from == at => {
                last.value = value;
                self.drop_if_void(key);
                return Vec::new();
            }
            Some(_) | None => timeline.entries.push(Entry { from: at, value }),
        }
        self.ended.push_back(key.clone());
        self.keep_within_limits(key)
    }

    fn keep_within_limits(&mut self, key: &K) -> Vec<(K, V)> {
        let mut forgotten = Vec::new();
        if let Some(timeline) = self.timelines.get_mut(key)
            && timeline.entries.len() > self.limits.per_key.saturating_add(1)
        {
            timeline.gone_early = timeline.gone_early.saturating_add(1);
            forgotten.extend(self.forget_oldest(key));
        }
        while self.ended.len() > self.limits.entries {
            let Some(key) = self.ended.pop_front() else { break };
            match self.timelines.get_mut(&key) {
                Some(timeline) if timeline.gone_early > 0 => {
                    timeline.gone_early -= 1;
                    self.drop_if_void(&key);
                }
                Some(_) => forgotten.extend(self.forget_oldest(&key)),
                None => {}
            }
        }
        forgotten
    }

    fn forget_oldest(&mut self, key: &K) -> Option<(K, V)> {
        let timeline = self.timelines.get_mut(key)?;
        if timeline.entries.len() < 2 {
            return None;
        }
        let oldest = timeline.entries.remove(0);
        self.forgotten += 1;
        if let Some(next) = timeline.entries.first_mut() {
            self.exact_since = self.exact_since.max(next.from);
            next.from = UnixNanos::ZERO;
        }
        self.drop_if_void(key);
        oldest.value.map(|value| (key.clone(), value))
    }

    /// A key that holds nothing and has no past is no longer known.
    fn drop_if_void(&mut self, key: &K) {
        if let Some(timeline) = self.timelines.get(key)
            && timeline.gone_early == 0
            && let [only] = timeline.entries.as_slice()
            && only.value.is_none()
        {
            self.timelines.remove(key);
        }
    }

    /// Keys known, whether held now or not.
    pub(crate) fn len(&self) -> usize {
        self.timelines.len()
    }

    /// How much of the past there is.
    pub(crate) fn size(&self) -> HistorySize {
        HistorySize { ended: self.ended.len(), forgotten: self.forgotten, exact_since: self.exact_since }
    }
}

/// How much of a table's past there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HistorySize {
    /// Ended states kept.
    pub(crate) ended: usize,
    /// Ended states forgotten so far.
    pub(crate) forgotten: u64,
    /// From this time on nothing was forgotten.
    pub(crate) exact_since: UnixNanos,
}

/// Who wants which key now. `O` is the object that claims, `P` orders the claims to one key and is unique among them.
#[derive(Debug)]
pub(crate) struct Claims<O, K, P, V> {
    held: HashMap<O, Vec<(K, P)>>,
    current: HashMap<K, Vec<(P, V)>>,
    changed: BTreeSet<K>,
}

impl<O, K, P, V> Default for Claims<O, K, P, V> {
    fn default() -> Self {
        Self { held: HashMap::new(), current: HashMap::new(), changed: BTreeSet::new() }
    }
}

impl<O: Clone + Eq + Hash, K: Clone + Ord + Hash, P: Clone + Ord, V> Claims<O, K, P, V> {
    /// The object claims these keys from now on, and no others.
    pub(crate) fn claim(&mut self, claimant: &O, claims: Vec<(K, P, V)>) {
        for (key, priority) in self.held.remove(claimant).unwrap_or_default() {
            self.withdraw(&key, &priority);
        }
        let mut held = Vec::with_capacity(claims.len());
        for (key, priority, value) in claims {
            let current = self.current.entry(key.clone()).or_insert_with(|| Vec::with_capacity(1));
            match current.binary_search_by(|(other, _)| other.cmp(&priority)) {
                Ok(_) => continue,
                Err(place) => current.insert(place, (priority.clone(), value)),
            }
            self.changed.insert(key.clone());
            held.push((key, priority));
        }
        if !held.is_empty() {
            self.held.insert(claimant.clone(), held);
        }
    }

    fn withdraw(&mut self, key: &K, priority: &P) {
        if let Some(current) = self.current.get_mut(key) {
            current.retain(|(other, _)| other != priority);
            if current.is_empty() {
                self.current.remove(key);
            }
        }
        self.changed.insert(key.clone());
    }

    /// Something that the key's holder depends on has changed.
    pub(crate) fn touch(&mut self, key: K) {
        self.changed.insert(key);
    }

    /// The keys that changed since the last call, in their order: what follows must not depend on chance.
    pub(crate) fn take_changed(&mut self) -> BTreeSet<K> {
        std::mem::take(&mut self.changed)
    }

    /// The claims to a key, lowest first.
    pub(crate) fn of(&self, key: &K) -> &[(P, V)] {
        self.current.get(key).map_or(&[], Vec::as_slice)
    }
}

#[cfg(test)]
mod tests;
