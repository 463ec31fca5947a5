//! What policies ask of a pod: its namespace, its labels and its namespace's, and the names of its ports.
//!
//! Equal ones share one allocation: 100,000 pods are some thousands of subjects. `class` is the part that decides which policies
//! select a pod.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use xxhash_rust::xxh3::xxh3_128;

use super::labels::LabelSet;
use crate::Protocol;
use crate::object::{Labels, NamedPort, Pod};

/// The label that the API server gives every namespace (`k8s.io/api/core/v1`, LabelMetadataName).
pub(super) const NAMESPACE_NAME: &str = "kubernetes.io/metadata.name";

/// Hash of what decides which policies select a pod: namespace, labels, and the namespace's labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Class(u128);

/// What policies ask of a pod. Made by the cluster alone.
#[derive(Debug, PartialEq, Eq)]
pub struct Subject {
    pub(super) class: Class,
    pub(super) namespace: Arc<str>,
    pub(super) labels: LabelSet,
    pub(super) namespace_labels: LabelSet,
    /// Whether `namespace_labels` are all; otherwise only the name is known.
    pub(super) namespace_is_known: bool,
    pub(super) ports: Box<[NamedPort]>,
}

impl Subject {
    /// The number of a port that a container of the pod names so.
    pub(super) fn port(&self, protocol: Protocol, name: &str) -> Option<u16> {
        let named = |port: &&NamedPort| port.protocol == protocol && *port.name == *name;
        self.ports.iter().find(named).map(|port| port.port)
    }
}

/// The subjects in use.
#[derive(Debug, Default)]
pub(crate) struct Subjects {
    shared: HashMap<u128, Weak<Subject>>,
    sweep_at: usize,
}

impl Subjects {
    /// The pod's; `namespace_labels` where its Namespace is known.
    pub(crate) fn of(&mut self, pod: &Pod, namespace_labels: Option<&Labels>) -> Arc<Subject> {
        let mut text = Vec::with_capacity(256);
        let namespace = &pod.name.namespace;
        write(&mut text, &[namespace]);
        write_labels(&mut text, &pod.labels);
        text.push(u8::from(namespace_labels.is_some()));
        if let Some(labels) = namespace_labels {
            write_labels(&mut text, labels);
        }
        let class = Class(xxh3_128(&text));
        for port in &pod.named_ports {
            write(&mut text, &[&port.name, &format!("{:?} {}", port.protocol, port.port)]);
        }
        let key = xxh3_128(&text);
        if let Some(subject) = self.shared.get(&key).and_then(Weak::upgrade) {
            return subject;
        }
        let subject = Arc::new(Subject {
            class,
            namespace: Arc::clone(namespace),
            labels: LabelSet::of(&pod.labels),
            namespace_labels: namespace_label_set(namespace, namespace_labels),
            namespace_is_known: namespace_labels.is_some(),
            ports: pod.named_ports.clone().into(),
        });
        self.keep(key, &subject);
        subject
    }

    fn keep(&mut self, key: u128, subject: &Arc<Subject>) {
        if self.shared.len() >= self.sweep_at {
            self.shared.retain(|_, shared| shared.strong_count() > 0);
            self.sweep_at = self.shared.len().saturating_mul(2).max(1024);
        }
        self.shared.insert(key, Arc::downgrade(subject));
    }
}

/// The name is a label of every namespace, whatever else is known of it.
fn namespace_label_set(name: &str, known: Option<&Labels>) -> LabelSet {
    let mut labels = known.cloned().unwrap_or_default();
    labels.entry(NAMESPACE_NAME.to_owned()).or_insert_with(|| name.to_owned());
    LabelSet::of(&labels)
}

/// No name, key or value holds a zero byte, so the text is as distinct as what it stands for.
fn write(text: &mut Vec<u8>, words: &[&str]) {
    for word in words {
        text.extend_from_slice(word.as_bytes());
        text.push(0);
    }
}

fn write_labels(text: &mut Vec<u8>, labels: &Labels) {
    for (key, value) in labels {
        write(text, &[key, value]);
    }
    text.push(0);
}
