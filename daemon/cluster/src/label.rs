//! Labels of pods and Services as on Hubble's wire, and the numeric identity of a label set.
//!
//! All labels of a pod are shown; those that change at each rollout are left out of the set the number is made from, so
//! that a Deployment keeps its number. Equal sets share one allocation. The set is the key, the number is for display:
//! where two sets hash to one number, that is counted.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

use crate::endpoint::Identity;
use crate::object::{Labels, Pod, Service};

/// Labels that controllers give each pod or each rollout a value of its own.
const ROLLOUT_LABELS: &[&str] = &[
    "apps.kubernetes.io/pod-index",
    "batch.kubernetes.io/controller-uid",
    "batch.kubernetes.io/job-completion-index",
    "batch.kubernetes.io/job-name",
    "controller-revision-hash",
    "controller-uid",
    "job-name",
    "pod-template-generation",
    "pod-template-hash",
    "statefulset.kubernetes.io/pod-name",
];

/// Labels Hubble UI takes a card's caption from.
const CAPTION_LABELS: &[&str] = &["app", "name", "k8s-app", "app.kubernetes.io/name"];

/// The label the API server gives every namespace.
const NAMESPACE_NAME_LABEL: &str = "kubernetes.io/metadata.name";

/// weir knows one cluster; Hubble calls it so where no name is configured.
const CLUSTER_LABEL: &str = "k8s:io.cilium.k8s.policy.cluster=default";

/// So many numbers are remembered to notice that two sets share one; then all are forgotten.
const MAX_NUMBERS: usize = 65_536;

/// Label sets in use, and the numbers given to them.
#[derive(Debug, Default)]
pub(crate) struct LabelSets {
    shared: HashMap<u128, Weak<[String]>>,
    sweep_at: usize,
    numbers: HashMap<u32, u128>,
    collisions: u64,
}

/// A label set and its number.
pub(crate) struct Identified {
    pub(crate) labels: Arc<[String]>,
    pub(crate) identity: Identity,
}

impl LabelSets {
    /// A pod's labels with what Hubble adds: namespace, its labels, cluster and service account.
    pub(crate) fn of_pod(&mut self, pod: &Pod, namespace_labels: Option<&Labels>) -> Identified {
        let mut labels = vec![
            CLUSTER_LABEL.to_owned(),
            format!("k8s:io.cilium.k8s.policy.serviceaccount={}", pod.service_account),
            namespace_label(&pod.name.namespace),
            format!("k8s:io.cilium.k8s.namespace.labels.{NAMESPACE_NAME_LABEL}={}", pod.name.namespace),
        ];
        for (key, value) in namespace_labels.into_iter().flatten() {
            if key != NAMESPACE_NAME_LABEL {
                labels.push(format!("k8s:io.cilium.k8s.namespace.labels.{key}={value}"));
            }
        }
        let (changing, lasting): (Vec<_>, Vec<_>) =
            pod.labels.iter().partition(|(key, _)| ROLLOUT_LABELS.contains(&key.as_str()));
        labels.extend(lasting.into_iter().map(wire));
        labels.sort_unstable();
        let identity = self.number(&labels);
        labels.extend(changing.into_iter().map(wire));
        labels.sort_unstable();
        Identified { labels: self.share(labels), identity }
    }

    /// The labels of a Service's own addresses. Hubble has none for them and would say `world`, for which its UI drops
    /// the flow. So they get the Service's labels, a number of their own (one card each) and, where no label would give
    /// the card a caption, the name as one.
    pub(crate) fn of_service(&mut self, service: &Service) -> Identified {
        let mut labels = vec![
            CLUSTER_LABEL.to_owned(),
            namespace_label(&service.name.namespace),
            format!("weir:service={}", service.name.name),
        ];
        labels.extend(service.labels.iter().map(wire));
        if !CAPTION_LABELS.iter().any(|label| service.labels.contains_key(*label)) {
            labels.push(format!("k8s:name={}", service.name.name));
        }
        labels.sort_unstable();
        let identity = self.number(&labels);
        Identified { labels: self.share(labels), identity }
    }

    /// How often two label sets got one number.
    pub(crate) fn collisions(&self) -> u64 {
        self.collisions
    }

    fn number(&mut self, labels: &[String]) -> Identity {
        let set = joined(labels);
        let number = number_of(xxh3_64(&set));
        if self.numbers.len() >= MAX_NUMBERS {
            self.numbers.clear();
        }
        let key = xxh3_128(&set);
        if self.numbers.insert(number, key).is_some_and(|other| other != key) {
            self.collisions += 1;
        }
        Identity(number)
    }

    fn share(&mut self, labels: Vec<String>) -> Arc<[String]> {
        let key = xxh3_128(&joined(&labels));
        if let Some(shared) = self.shared.get(&key).and_then(Weak::upgrade) {
            return shared;
        }
        if self.shared.len() >= self.sweep_at {
            self.shared.retain(|_, shared| shared.strong_count() > 0);
            self.sweep_at = self.shared.len().saturating_mul(2).max(1024);
        }
        let labels: Arc<[String]> = labels.into();
        self.shared.insert(key, Arc::downgrade(&labels));
        labels
    }
}

fn wire((key, value): (&String, &String)) -> String {
    format!("k8s:{key}={value}")
}

fn namespace_label(namespace: &str) -> String {
    format!("k8s:io.kubernetes.pod.namespace={namespace}")
}

/// No label holds a zero byte, so this is as distinct as the set.
fn joined(labels: &[String]) -> Vec<u8> {
    labels.join("\0").into_bytes()
}

/// Above 65535, and not of the scopes 0x01 (CIDR) and 0x02 (remote node) that Hubble keeps in the top byte.
fn number_of(hash: u64) -> u32 {
    let number = (hash >> 32) as u32;
    if number <= 0xffff || matches!(number >> 24, 1 | 2) { number | 0x8000_0000 } else { number }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn numbers_keep_clear_of_hubbles_own(hash: u64) {
            let number = number_of(hash);
            prop_assert!(number > 0xffff);
            prop_assert!(!matches!(number >> 24, 1 | 2));
        }
    }

    #[test]
    fn numbers_at_the_edges_keep_clear_too() {
        for top in [0, 1, 0xffff, 0x0100_0000, 0x01ff_ffff, 0x0200_0000, 0x02ff_ffff_u64] {
            let number = number_of(top << 32);
            assert!(number > 0xffff && !matches!(number >> 24, 1 | 2), "{top:#x} became {number:#x}");
        }
    }

    #[test]
    fn two_sets_with_one_number_are_counted_once_each_time_they_meet() {
        let mut sets = LabelSets::default();
        let labels = ["k8s:app=web".to_owned()];
        let Identity(number) = sets.number(&labels);
        assert_eq!(sets.number(&labels), Identity(number));
        assert_eq!(sets.collisions(), 0);
        sets.numbers.insert(number, 1);
        sets.number(&labels);
        assert_eq!(sets.collisions(), 1);
    }

    #[test]
    fn equal_sets_share_one_allocation_and_unused_ones_go() {
        let mut sets = LabelSets::default();
        let first = sets.share(vec!["k8s:app=web".to_owned()]);
        assert!(Arc::ptr_eq(&first, &sets.share(vec!["k8s:app=web".to_owned()])));
        for n in 0..5000 {
            sets.share(vec![format!("k8s:app={n}")]);
        }
        assert!(sets.shared.len() <= 1025, "{} sets kept", sets.shared.len());
        assert!(Arc::ptr_eq(&first, &sets.share(vec!["k8s:app=web".to_owned()])));
    }
}
