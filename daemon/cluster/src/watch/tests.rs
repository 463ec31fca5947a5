//! The watch against an API server over real connections, that fails in every way an API server fails.
//!
//! What is compared is the whole of the cluster's objects with the whole of the server's. No test waits for a time: each
//! waits for that equality, with a deadline.

mod faults;
mod load;
mod policies;
mod random;
mod server;

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use tokio::time::timeout;

use super::follow::BATCH;
use super::kind::{KINDS, with_substitutes};
use super::{Changes, Pace, QUEUE, Server as ApiServer, Settings, Watch};
use crate::Cluster;
use crate::manifest::convert::{TypeName, object_of};
use crate::object::{Object, ObjectKey, ObjectKind};
use server::{Fault, Server};

/// Longer than anything here takes on a loaded machine.
const DEADLINE: Duration = Duration::from_secs(60);

fn settings() -> Settings {
    Settings {
        page_size: 3,
        silence: DEADLINE,
        pace: Pace {
            first: Duration::from_millis(4),
            longest: Duration::from_millis(20),
            calm: Duration::from_secs(60),
        },
        ..Settings::new(|| SystemTime::now().into())
    }
}

/// A watch of a server, and the cluster it keeps.
struct Watching {
    server: Server,
    watch: Watch,
    changes: Changes,
    cluster: Cluster,
}

impl Watching {
    async fn start(server: Server) -> Self {
        Self::start_with(server, settings()).await
    }

    async fn start_with(server: Server, settings: Settings) -> Self {
        let (watch, changes) = Watch::start(ApiServer::at(server.address).unwrap(), settings).unwrap();
        Self { server, watch, changes, cluster: Cluster::default() }
    }

    /// Takes changes until the cluster is as the server.
    async fn until_equal(&mut self) {
        self.until("the cluster is as the server", |this| {
            this.changes.is_ready() && this.cluster.objects == this.expected()
        })
        .await;
        assert_eq!(self.server.violations(), [""; 0]);
    }

    async fn until(&mut self, what: &str, met: impl Fn(&Self) -> bool) {
        let waited = timeout(DEADLINE, async {
            while !met(self) {
                assert!(self.changes.apply_next(&mut self.cluster).await, "the watch ended");
            }
        });
        if waited.await.is_err() {
            panic!(
                "never: {what}; differs: {:?}, troubles: {:?}, counted: {:?}",
                self.difference(),
                self.watch.counters.troubles(),
                self.watch.stats()
            );
        }
    }

    /// Waits for something that no change announces.
    async fn until_told(&self, what: &str, met: impl Fn(&Self) -> bool) {
        let waited = timeout(DEADLINE, async {
            while !met(self) {
                tokio::task::yield_now().await;
            }
        });
        assert!(waited.await.is_ok(), "never: {what}; troubles: {:?}", self.watch.counters.troubles());
    }

    /// What the server holds, as a cluster would.
    fn expected(&self) -> BTreeMap<ObjectKey, Object> {
        let objects = with_substitutes().flat_map(|kind| {
            let name = TypeName::new(&kind.api_version(), kind.kind);
            let of_kind = self.server.objects(server::name(kind));
            of_kind.into_iter().filter_map(move |value| object_of(&name, value).ok().flatten())
        });
        objects.map(|object| (object.key(), object)).collect()
    }

    /// Keys of what is not the same on both sides.
    fn difference(&self) -> Vec<ObjectKey> {
        let expected = self.expected();
        let keys = expected.keys().chain(self.cluster.objects.keys()).cloned();
        let mut keys: Vec<_> =
            keys.filter(|key| expected.get(key) != self.cluster.objects.get(key)).collect();
        keys.dedup();
        keys
    }

    fn pods(&self) -> usize {
        self.cluster.objects.keys().filter(|key| key.kind == ObjectKind::Pod).count()
    }
}

fn pod(name: &str, address: &str) -> Value {
    json!({
        "metadata": {
            "name": name, "namespace": "shop", "uid": name, "labels": { "app": "web" },
            "managedFields": [{ "manager": "kubelet" }],
            "ownerReferences": [{ "kind": "ReplicaSet", "name": "web-1", "controller": true }],
        },
        "spec": { "nodeName": "node-a", "containers": [{ "name": "web", "image": "web" }] },
        "status": { "phase": "Running", "podIPs": [{ "ip": address }] },
    })
}

fn bare(namespace: &str, name: &str) -> Value {
    json!({ "metadata": { "name": name, "namespace": namespace, "labels": { "team": "shop" } } })
}

fn network_policy(name: &str) -> Value {
    json!({ "metadata": { "name": name, "namespace": "shop", "generation": 1 },
            "spec": { "podSelector": {}, "policyTypes": ["Ingress"] } })
}

/// One of every kind that every server has, and enough pods for three pages.
async fn shop() -> Server {
    let server = Server::start().await;
    server.put("namespaces", json!({ "metadata": { "name": "shop", "labels": { "team": "shop" } } }));
    server.put(
        "nodes",
        json!({ "metadata": { "name": "node-a" }, "spec": { "podCIDR": "10.244.1.0/24" },
                "status": { "addresses": [{ "type": "InternalIP", "address": "192.0.2.1" }] } }),
    );
    server.put(
        "servicecidrs",
        json!({ "metadata": { "name": "kubernetes" }, "spec": { "cidrs": ["10.96.0.0/12"] } }),
    );
    server.put(
        "services",
        json!({ "metadata": { "name": "web", "namespace": "shop" },
                "spec": { "clusterIP": "10.96.0.7", "ports": [{ "port": 80 }] } }),
    );
    server.put(
        "endpointslices",
        json!({ "metadata": { "name": "web-x", "namespace": "shop",
                              "labels": { "kubernetes.io/service-name": "web" } },
                "addressType": "IPv4", "ports": [{ "port": 8080 }],
                "endpoints": [{ "addresses": ["10.244.1.1"] }] }),
    );
    let mut replica_set = bare("shop", "web-1");
    replica_set["metadata"]["ownerReferences"] =
        json!([{ "kind": "Deployment", "name": "web", "controller": true }]);
    server.put("replicasets", replica_set);
    server.put("jobs", bare("shop", "nightly"));
    server.put("networkpolicies", network_policy("deny"));
    for number in 1..=7 {
        server.put("pods", pod(&format!("web-{number}"), &format!("10.244.1.{number}")));
    }
    server
}

#[tokio::test]
async fn lists_become_one_snapshot_and_events_follow() {
    let mut watching = Watching::start(shop().await).await;
    watching.until_equal().await;
    let asked = watching.server.asked("pods");
    assert_eq!((asked.lists, asked.pages), (1, 2));
    let before_all = crate::UnixNanos::ZERO;
    let endpoint = watching.cluster.endpoint("10.244.1.3".parse().unwrap(), before_all);
    assert_eq!(endpoint.workload.as_ref().map(|workload| &*workload.name), Some("web"));

    watching.server.put("pods", pod("web-8", "10.244.1.8"));
    watching.server.put("pods", pod("web-3", "10.244.1.33"));
    watching.server.delete("pods", "shop", "web-1");
    watching.server.delete("services", "shop", "web");
    // Without the label it belongs to no Service.
    let mut slice = bare("shop", "web-x");
    slice["addressType"] = "IPv4".into();
    watching.server.put("endpointslices", slice);
    watching.until_equal().await;
    assert_eq!(watching.pods(), 7);
    assert_eq!(watching.watch.counters.troubles(), [""; 0]);
    assert_eq!(watching.watch.stats().failures, 0);
    watching.watch.stop().await;
    while watching.changes.apply_next(&mut watching.cluster).await {}
}

#[tokio::test]
async fn what_nobody_takes_is_not_asked_for() {
    let mut watching = Watching::start(shop().await).await;
    watching.until_equal().await;
    for number in 0..10_000 {
        watching.server.put(
            "pods",
            pod(&format!("web-{}", number % 10), &format!("10.244.{}.{}", number / 250, number % 250)),
        );
    }
    watching.until_told("the queue is full", |this| this.changes.waiting() == QUEUE).await;
    let events = watching.watch.stats().events;
    // In the queue, in the hand of each kind's task, and what was listed.
    let held = u64::try_from((QUEUE + 2) * BATCH).unwrap() + 15;
    assert!(events <= held, "{events} of 10000");
    watching.until_equal().await;
    assert_eq!(watching.watch.stats().events, 10_015);
}
