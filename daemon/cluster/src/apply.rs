//! Changes to the cluster: one object at a time, or a whole new snapshot.
//!
//! An object is stored, what depends on it is marked, and then everything marked is settled at once for the time of the
//! change; so a snapshot of 100,000 pods costs each pod once. Time never goes back: a change said to be earlier than the
//! one before it counts as simultaneous with it.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use crate::address::{holder_of, is_contested, node_claims, pod_claims, service_claims};
use crate::endpoint::{Endpoint, EndpointKind};
use crate::label::Identified;
use crate::object::{Controller, Labels, Object, ObjectKey, ObjectKind, ObjectName, Pod, Service};
use crate::policy::Subject;
use crate::workload::{middle_kind, workload_of};
use crate::{Cluster, ServicePort, UnixNanos, Workload};

/// What a source of cluster state can tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The object is so, whether it is new or changed.
    Apply(Object),
    /// The object is no more.
    Delete(ObjectKey),
    /// Of this kind there are only these objects: all others are no more. Says nothing of how these are.
    Only(ObjectKind, HashSet<ObjectKey>),
}

impl Cluster {
    /// All these changes hold from `at` on, and at no time only some of them.
    pub fn change(&mut self, changes: impl IntoIterator<Item = Change>, at: UnixNanos) {
        let at = self.advance(at);
        for change in changes {
            match change {
                Change::Apply(object) => self.put(&object.key(), object, at),
                Change::Delete(key) => self.remove(&key, at),
                Change::Only(kind, keys) => self.keep_only(kind, &keys, at),
            }
        }
        self.settle(at);
    }

    fn keep_only(&mut self, kind: ObjectKind, keys: &HashSet<ObjectKey>, at: UnixNanos) {
        let of_kind = self.objects.keys().filter(|key| key.kind == kind);
        let gone: Vec<_> = of_kind.filter(|key| !keys.contains(*key)).cloned().collect();
        for key in &gone {
            self.remove(key, at);
        }
    }

    /// The object is so from `at` on, whether it is new or changed.
    pub fn apply(&mut self, object: Object, at: UnixNanos) {
        let at = self.advance(at);
        self.put(&object.key(), object, at);
        self.settle(at);
    }

    /// The object is no more from `at` on. Deleting what is not there changes nothing.
    pub fn delete(&mut self, key: &ObjectKey, at: UnixNanos) {
        let at = self.advance(at);
        self.remove(key, at);
        self.settle(at);
    }

    /// From `at` on these objects are all there is: what is no longer among them is deleted. Of two with one key the later
    /// in the list counts. The first snapshot of an empty cluster holds since ever, for packets older than it.
    pub fn replace(&mut self, objects: Vec<Object>, at: UnixNanos) {
        let first = self.objects.is_empty() && self.latest == UnixNanos::ZERO;
        let at = if first { UnixNanos::ZERO } else { self.advance(at) };
        // In the order of `ObjectKind` pods come last: until then nothing has to look for the pods that depend on it.
        let now: Objects = objects.into_iter().map(|object| (object.key(), object)).collect();
        let stale: Vec<_> = self.objects.keys().filter(|key| !now.contains_key(key)).cloned().collect();
        for key in &stale {
            self.remove(key, at);
        }
        for (key, object) in now {
            self.put(&key, object, at);
        }
        self.settle(at);
    }

    fn advance(&mut self, at: UnixNanos) -> UnixNanos {
        self.latest = self.latest.max(at);
        self.latest
    }

    fn put(&mut self, key: &ObjectKey, object: Object, at: UnixNanos) {
        if self.objects.get(key) == Some(&object) {
            return;
        }
        let before = self.objects.insert(key.clone(), object);
        if before.is_none() {
            self.count_namespace(key, 1, at);
        }
        self.changed(key, before.as_ref(), at);
    }

    fn remove(&mut self, key: &ObjectKey, at: UnixNanos) {
        if let Some(before) = self.objects.remove(key) {
            self.count_namespace(key, -1, at);
            self.changed(key, Some(&before), at);
        }
    }

    /// A namespace exists while its object does or anything is in it.
    fn count_namespace(&mut self, key: &ObjectKey, change: isize, at: UnixNanos) {
        let name = match key.kind {
            ObjectKind::Namespace => &key.name.name,
            ObjectKind::Node | ObjectKind::ServiceCidr => return,
            _ => &key.name.namespace,
        };
        let count = self.namespace_objects.entry(Arc::clone(name)).or_default();
        *count = count.saturating_add_signed(change);
        let exists = *count > 0;
        if !exists {
            self.namespace_objects.remove(name);
        }
        self.namespaces.set(name, exists.then_some(()), at);
    }

    /// Brings the tables in line with an object that is stored or removed already.
    fn changed(&mut self, key: &ObjectKey, before: Option<&Object>, at: UnixNanos) {
        match key.kind {
            ObjectKind::Pod => {
                self.unsettled_pods.insert(key.clone());
            }
            ObjectKind::Namespace => self.mark_pods(&key.name.name, |_| true),
            ObjectKind::ReplicaSet | ObjectKind::Job => {
                let owned = |pod: &Pod| is_owned_by(pod, key);
                self.mark_pods(&key.name.namespace, owned);
            }
            ObjectKind::Node => self.node_changed(key, at),
            ObjectKind::ServiceCidr => self.service_cidr_changed(key),
            ObjectKind::Service => self.service_changed(key),
            ObjectKind::EndpointSlice => self.slice_changed(key, before),
            ObjectKind::Endpoints => self.endpoints_changed(&key.name),
            ObjectKind::NetworkPolicy | ObjectKind::ForeignPolicy(_) => self.policy_changed(key, at),
        }
    }

    fn mark_pods(&mut self, namespace: &Arc<str>, depends: impl Fn(&Pod) -> bool) {
        let name = ObjectName { namespace: Arc::clone(namespace), name: "".into() };
        let first = ObjectKey { kind: ObjectKind::Pod, name };
        let pods = self
            .objects
            .range(first..)
            .take_while(|(key, _)| key.kind == ObjectKind::Pod && key.name.namespace == *namespace);
        for (key, object) in pods {
            if matches!(object, Object::Pod(pod) if depends(pod)) {
                self.unsettled_pods.insert(key.clone());
            }
        }
    }

    fn node_changed(&mut self, key: &ObjectKey, at: UnixNanos) {
        let Some(Object::Node(node)) = self.objects.get(key) else {
            self.address_claims.claim(key, Vec::new());
            self.nodes.set(&key.name.name, None, at);
            return;
        };
        for range in &node.pod_cidrs {
            self.ranges.add(*range);
        }
        self.address_claims.claim(key, node_claims(node, key));
        self.nodes.set(&node.name, Some(Arc::new(node.clone())), at);
    }

    fn policy_changed(&mut self, key: &ObjectKey, at: UnixNanos) {
        match (key.kind, self.objects.get(key)) {
            (_, Some(Object::NetworkPolicy(policy))) => self.policies.set_policy(&key.name, Some(policy), at),
            (_, Some(Object::ForeignPolicy(policy))) => {
                self.policies.set_foreign(policy.kind, &key.name, Some(policy), at);
            }
            (ObjectKind::ForeignPolicy(kind), _) => self.policies.set_foreign(kind, &key.name, None, at),
            _ => self.policies.set_policy(&key.name, None, at),
        }
    }

    fn service_cidr_changed(&mut self, key: &ObjectKey) {
        if let Some(Object::ServiceCidr(service_cidr)) = self.objects.get(key) {
            for range in &service_cidr.cidrs {
                self.ranges.add(*range);
            }
        }
    }

    fn service_changed(&mut self, key: &ObjectKey) {
        let Some(Object::Service(service)) = self.objects.get(key) else {
            self.services.set_service(&key.name, None);
            self.address_claims.claim(key, Vec::new());
            return;
        };
        self.services.set_service(&key.name, Some(service));
        let identified = self.label_sets.of_service(service);
        let endpoint = service_endpoint(service, identified);
        let addresses = service.cluster_addresses.iter().chain(&service.external_addresses).copied();
        self.address_claims.claim(key, service_claims(addresses, key, &endpoint));
    }

    fn slice_changed(&mut self, key: &ObjectKey, before: Option<&Object>) {
        if let Some(Object::EndpointSlice(slice)) = before {
            self.link_slice(key, &slice.service, false);
        }
        let Some(Object::EndpointSlice(slice)) = self.objects.get(key) else {
            self.services.set_slice(key, None);
            return;
        };
        self.services.set_slice(key, Some(slice));
        let service = Arc::clone(&slice.service);
        self.link_slice(key, &service, true);
    }

    fn link_slice(&mut self, slice: &ObjectKey, service: &Arc<str>, exists: bool) {
        let namespace = Arc::clone(&slice.name.namespace);
        let service = ObjectName { namespace, name: Arc::clone(service) };
        self.services.link_slice(&service, slice, exists);
        self.endpoints_changed(&service);
    }

    fn endpoints_changed(&mut self, service: &ObjectName) {
        let key = ObjectKey { kind: ObjectKind::Endpoints, name: service.clone() };
        let endpoints = match self.objects.get(&key) {
            Some(Object::Endpoints(endpoints)) => Some(endpoints),
            _ => None,
        };
        self.services.set_endpoints(&key, endpoints);
        self.apiservers_unsettled |= &*service.namespace == "default" && &*service.name == "kubernetes";
    }

    fn settle(&mut self, at: UnixNanos) {
        for key in std::mem::take(&mut self.unsettled_pods) {
            self.settle_pod(&key, at);
        }
        self.services.settle(at);
        if std::mem::take(&mut self.apiservers_unsettled) {
            self.settle_apiservers(at);
        }
        for address in self.address_claims.take_changed() {
            let claims = self.address_claims.of(&address);
            if !is_contested(claims) {
                self.contested.remove(&address);
            } else if self.contested.insert(address) {
                self.conflicts += 1;
            }
            let holder = holder_of(claims, self.apiservers.contains(&address));
            self.addresses.set(&address, holder, at);
        }
    }

    /// The API servers are the backends of the Service default/kubernetes.
    fn settle_apiservers(&mut self, at: UnixNanos) {
        let ports = ["https", ""].map(|name| ServicePort {
            namespace: "default".into(),
            name: "kubernetes".into(),
            port_name: name.into(),
        });
        let addresses = ports.iter().flat_map(|port| self.services.backends(port, at));
        let now: HashSet<_> = addresses.map(|(address, _)| address.ip()).collect();
        for address in now.symmetric_difference(&self.apiservers) {
            self.address_claims.touch(*address);
        }
        self.apiservers = now;
    }

    fn settle_pod(&mut self, key: &ObjectKey, at: UnixNanos) {
        let Some(Object::Pod(pod)) = self.objects.get(key) else {
            self.address_claims.claim(key, Vec::new());
            self.policies.set_pod(key, None, at);
            return;
        };
        let namespace = &pod.name.namespace;
        let labels = labels_of_namespace(&self.objects, namespace);
        let workload = workload_of(pod, |kind, name| controller(&self.objects, kind, namespace, name));
        let is_judged = pod.phase.owns_address() && !pod.host_network;
        let subject = is_judged.then(|| self.subjects.of(pod, labels));
        self.policies.set_pod(key, subject.as_ref(), at);
        let label_sets = &mut self.label_sets;
        let endpoint = || pod_endpoint(pod, label_sets.of_pod(pod, labels), workload, subject);
        let claims = pod_claims(pod, key, endpoint);
        self.address_claims.claim(key, claims);
    }
}

/// What the API server and its watchers hold: the objects as they are now.
pub(crate) type Objects = BTreeMap<ObjectKey, Object>;

fn controller<'a>(
    objects: &'a Objects,
    kind: ObjectKind,
    namespace: &Arc<str>,
    name: &Arc<str>,
) -> Option<&'a Controller> {
    let name = ObjectName { namespace: Arc::clone(namespace), name: Arc::clone(name) };
    match objects.get(&ObjectKey { kind, name }) {
        Some(Object::ReplicaSet(controller) | Object::Job(controller)) => Some(controller),
        _ => None,
    }
}

fn labels_of_namespace<'a>(objects: &'a Objects, name: &Arc<str>) -> Option<&'a Labels> {
    let name = ObjectName { namespace: "".into(), name: Arc::clone(name) };
    match objects.get(&ObjectKey { kind: ObjectKind::Namespace, name }) {
        Some(Object::Namespace(namespace)) => Some(&namespace.labels),
        _ => None,
    }
}

fn is_owned_by(pod: &Pod, controller: &ObjectKey) -> bool {
    pod.owner.as_ref().is_some_and(|owner| {
        middle_kind(&owner.kind) == Some(controller.kind) && owner.name == controller.name.name
    })
}

fn pod_endpoint(
    pod: &Pod,
    identified: Identified,
    workload: Option<Workload>,
    subject: Option<Arc<Subject>>,
) -> Arc<Endpoint> {
    Arc::new(Endpoint {
        kind: EndpointKind::Pod,
        identity: identified.identity,
        namespace: Arc::clone(&pod.name.namespace),
        pod_name: Arc::clone(&pod.name.name),
        labels: identified.labels,
        workload,
        node: Arc::clone(&pod.node),
        subject,
    })
}

fn service_endpoint(service: &Service, identified: crate::label::Identified) -> Arc<Endpoint> {
    Arc::new(Endpoint {
        kind: EndpointKind::Service,
        identity: identified.identity,
        namespace: Arc::clone(&service.name.namespace),
        pod_name: "".into(),
        labels: identified.labels,
        workload: Some(Workload { kind: "Service".into(), name: Arc::clone(&service.name.name) }),
        node: "".into(),
        subject: None,
    })
}
