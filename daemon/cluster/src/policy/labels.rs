//! A label set that is fast to ask, and selectors that ask it.
//!
//! Keys are looked for by their hash and then compared as text, so a collision costs time and nothing else.

use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64;

use crate::object::{Labels, Operator, Requirement, Selector};

/// Labels, by the hash of their key.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct LabelSet(Box<[Label]>);

#[derive(Debug, PartialEq, Eq)]
struct Label {
    hash: u64,
    key: Box<str>,
    value: Box<str>,
}

impl LabelSet {
    pub(crate) fn of(labels: &Labels) -> Self {
        let label = |(key, value): (&String, &String)| Label {
            hash: xxh3_64(key.as_bytes()),
            key: key.as_str().into(),
            value: value.as_str().into(),
        };
        Self(labels.iter().map(label).collect())
    }

    fn get(&self, hash: u64, key: &str) -> Option<&str> {
        self.0.iter().find(|label| label.hash == hash && *label.key == *key).map(|label| &*label.value)
    }

    /// The label that tells best what the pod is, if it has one that is meant for it.
    pub(crate) fn telling(&self) -> Option<(&str, &str)> {
        let meant = ["app", "app.kubernetes.io/name", "k8s-app", "name"];
        let named = meant.into_iter().find_map(|key| self.0.iter().find(|label| *label.key == *key));
        named.or_else(|| self.0.first()).map(|label| (&*label.key, &*label.value))
    }

    /// Value of a label.
    pub(crate) fn value(&self, key: &str) -> Option<&str> {
        self.get(xxh3_64(key.as_bytes()), key)
    }
}

/// A selector with the hashes of its keys.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Matcher(Box<[Condition]>);

#[derive(Debug, PartialEq, Eq)]
struct Condition {
    hash: u64,
    key: Arc<str>,
    operator: Operator,
}

impl Matcher {
    pub(crate) fn of(selector: &Selector) -> Self {
        let condition = |Requirement { key, operator }: &Requirement| Condition {
            hash: xxh3_64(key.as_bytes()),
            key: Arc::clone(key),
            operator: operator.clone(),
        };
        Self(selector.requirements.iter().map(condition).collect())
    }

    /// Whether all of it holds for these labels.
    pub(crate) fn matches(&self, labels: &LabelSet) -> bool {
        self.0.iter().all(|condition| condition.holds(labels))
    }

    /// Whether what it asks of this one label holds.
    pub(crate) fn matches_in(&self, key: &str, labels: &LabelSet) -> bool {
        self.0.iter().all(|condition| *condition.key != *key || condition.holds(labels))
    }

    /// Whether it asks for no label but this one.
    pub(crate) fn asks_only(&self, key: &str) -> bool {
        self.0.iter().all(|condition| *condition.key == *key)
    }
}

impl Condition {
    fn holds(&self, labels: &LabelSet) -> bool {
        holds(&self.operator, labels.get(self.hash, &self.key))
    }
}

/// Whether the condition holds for a label's value (`k8s.io/apimachinery/pkg/apis/meta/v1`, LabelSelectorRequirement): `NotIn`
/// holds where the label is not there.
pub(crate) fn holds(operator: &Operator, value: Option<&str>) -> bool {
    let listed = |values: &[Arc<str>]| value.is_some_and(|value| values.iter().any(|it| **it == *value));
    match operator {
        Operator::In(values) => listed(values),
        Operator::NotIn(values) => !listed(values),
        Operator::Exists => value.is_some(),
        Operator::DoesNotExist => value.is_none(),
    }
}
