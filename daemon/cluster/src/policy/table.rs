//! Which policies select which pods, now and before.
//!
//! Pods are taken by their class (namespace and labels), of which there are far fewer than pods. A changed policy is compared
//! with the classes of its namespace, a new class with the policies of its namespace; a pod of a known class costs nothing.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::Direction;
use super::compiled::{Compiled, CompiledForeign};
use super::subject::{Class, Subject};
use crate::history::{History, HistorySize};
use crate::object::{ForeignKind, ForeignPolicy, NetworkPolicy, ObjectKey, ObjectName};
use crate::{HistoryLimits, UnixNanos};

/// The policies that select a pod, in the order of their names. Never without any.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Selecting {
    policies: Vec<Arc<Compiled>>,
    foreign: BTreeSet<(ForeignKind, ObjectName)>,
}

impl Selecting {
    /// Those that say something about a direction.
    pub(super) fn about(&self, direction: Direction) -> impl Iterator<Item = &Arc<Compiled>> {
        self.policies.iter().filter(move |policy| policy.rules(direction).is_some())
    }

    /// One of a kind that is not judged by, if there is any.
    pub(super) fn foreign(&self) -> Option<&(ForeignKind, ObjectName)> {
        self.foreign.first()
    }

    fn is_empty(&self) -> bool {
        self.policies.is_empty() && self.foreign.is_empty()
    }

    /// The policy of that name is so, or does not select. True if that is news.
    fn set(&mut self, name: &ObjectName, policy: Option<&Arc<Compiled>>) -> bool {
        let place = self.policies.binary_search_by(|other| other.policy.name.cmp(name));
        match (place, policy) {
            (Ok(place), Some(policy)) => self.policies[place] = Arc::clone(policy),
            (Ok(place), None) => drop(self.policies.remove(place)),
            (Err(place), Some(policy)) => self.policies.insert(place, Arc::clone(policy)),
            (Err(_), None) => return false,
        }
        true
    }
}

/// Pods that are alike for policies.
#[derive(Debug)]
struct Alike {
    /// One of them.
    subject: Arc<Subject>,
    pods: usize,
}

/// All policies, and whom they select.
#[derive(Debug)]
pub(crate) struct Policies {
    policies: BTreeMap<ObjectName, Arc<Compiled>>,
    foreign: BTreeMap<(ForeignKind, ObjectName), Arc<CompiledForeign>>,
    classes: HashMap<Class, Alike>,
    by_namespace: HashMap<Arc<str>, BTreeSet<Class>>,
    of_pod: HashMap<ObjectKey, Class>,
    selecting: History<Class, Arc<Selecting>>,
}

impl Policies {
    pub(crate) fn new(limits: HistoryLimits) -> Self {
        Self {
            policies: BTreeMap::new(),
            foreign: BTreeMap::new(),
            classes: HashMap::new(),
            by_namespace: HashMap::new(),
            of_pod: HashMap::new(),
            selecting: History::new(limits),
        }
    }

    /// The policies that selected such a pod at that time; none where it was open in both directions.
    pub(super) fn selecting(&self, pod: &Subject, at: UnixNanos) -> Option<&Arc<Selecting>> {
        self.selecting.at(&pod.class, at).held()
    }

    /// Whether other policies selected such a pod, or they were different, at two moments of that time.
    pub(super) fn changed_within(&self, pod: &Subject, from: UnixNanos, until: UnixNanos) -> bool {
        self.selecting.changed_within(&pod.class, from, until)
    }

    /// The policies there are now.
    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<Compiled>> {
        self.policies.values()
    }

    /// Whether a pod that is there now is selected by it.
    pub(super) fn selects_any(&self, policy: &Compiled) -> bool {
        let classes = self.by_namespace.get(&policy.policy.name.namespace);
        let mut pods = classes.into_iter().flatten().filter_map(|class| self.classes.get(class));
        pods.any(|alike| policy.selects(&alike.subject))
    }

    /// How many policies there are now, those of other kinds included.
    pub(crate) fn len(&self) -> usize {
        self.policies.len() + self.foreign.len()
    }

    pub(crate) fn history(&self) -> HistorySize {
        self.selecting.size()
    }

    /// The policy of that name is so from `at` on, or is no more.
    pub(crate) fn set_policy(&mut self, name: &ObjectName, policy: Option<&NetworkPolicy>, at: UnixNanos) {
        let policy = policy.map(|policy| Arc::new(Compiled::of(policy)));
        match &policy {
            Some(policy) => self.policies.insert(name.clone(), Arc::clone(policy)),
            None => self.policies.remove(name),
        };
        for class in self.by_namespace.get(&name.namespace).into_iter().flatten() {
            let Some(alike) = self.classes.get(class) else { continue };
            let selects = policy.as_ref().filter(|policy| policy.selects(&alike.subject));
            update(&mut self.selecting, *class, at, |selecting| selecting.set(name, selects));
        }
    }

    /// The same of a policy of another kind.
    pub(crate) fn set_foreign(
        &mut self,
        kind: ForeignKind,
        name: &ObjectName,
        policy: Option<&ForeignPolicy>,
        at: UnixNanos,
    ) {
        let key = (kind, name.clone());
        let policy = policy.map(|policy| Arc::new(CompiledForeign::of(policy)));
        match &policy {
            Some(policy) => self.foreign.insert(key.clone(), Arc::clone(policy)),
            None => self.foreign.remove(&key),
        };
        for (class, alike) in &self.classes {
            let selects = policy.as_ref().is_some_and(|policy| policy.selects(&alike.subject));
            update(&mut self.selecting, *class, at, |selecting| {
                if selects { selecting.foreign.insert(key.clone()) } else { selecting.foreign.remove(&key) }
            });
        }
    }

    /// The pod is such from `at` on, or policies are not about it (any more).
    pub(crate) fn set_pod(&mut self, pod: &ObjectKey, subject: Option<&Arc<Subject>>, at: UnixNanos) {
        let now = subject.map(|subject| subject.class);
        let before = match now {
            Some(class) => self.of_pod.insert(pod.clone(), class),
            None => self.of_pod.remove(pod),
        };
        if now == before {
            return;
        }
        if let Some(subject) = subject {
            self.enter(subject, at);
        }
        if let Some(class) = before {
            self.leave(class, at);
        }
    }

    fn enter(&mut self, subject: &Arc<Subject>, at: UnixNanos) {
        let class = subject.class;
        let alike =
            self.classes.entry(class).or_insert_with(|| Alike { subject: Arc::clone(subject), pods: 0 });
        alike.pods += 1;
        if alike.pods > 1 {
            return;
        }
        self.by_namespace.entry(Arc::clone(&subject.namespace)).or_default().insert(class);
        let selecting = self.select(subject);
        self.selecting.set(&class, (!selecting.is_empty()).then(|| Arc::new(selecting)), at);
    }

    fn leave(&mut self, class: Class, at: UnixNanos) {
        let Some(alike) = self.classes.get_mut(&class) else { return };
        alike.pods -= 1;
        if alike.pods > 0 {
            return;
        }
        let namespace = Arc::clone(&alike.subject.namespace);
        self.classes.remove(&class);
        if let Some(classes) = self.by_namespace.get_mut(&namespace) {
            classes.remove(&class);
            if classes.is_empty() {
                self.by_namespace.remove(&namespace);
            }
        }
        self.selecting.set(&class, None, at);
    }

    fn select(&self, subject: &Subject) -> Selecting {
        let first = ObjectName { namespace: Arc::clone(&subject.namespace), name: "".into() };
        let of_namespace =
            self.policies.range(first..).take_while(|(name, _)| name.namespace == subject.namespace);
        let selects = of_namespace.map(|(_, policy)| policy).filter(|policy| policy.selects(subject));
        let foreign = self.foreign.values().filter(|policy| policy.selects(subject));
        Selecting {
            policies: selects.cloned().collect(),
            foreign: foreign.map(|policy| (policy.kind, policy.name.clone())).collect(),
        }
    }
}

/// Changes what selects a class, if the change says that it does change anything.
fn update(
    history: &mut History<Class, Arc<Selecting>>,
    class: Class,
    at: UnixNanos,
    change: impl FnOnce(&mut Selecting) -> bool,
) {
    let before = history.at(&class, UnixNanos::MAX).held();
    let mut now = before.map_or_else(Selecting::default, |before| Selecting::clone(before));
    if change(&mut now) {
        history.set(&class, (!now.is_empty()).then(|| Arc::new(now)), at);
    }
}
