//! Policies: Kubernetes' own, that every server has, and the other kinds, that most have not.

use super::*;
use crate::object::{ForeignKind, ObjectName};

fn cilium(name: &str) -> Value {
    json!({ "metadata": { "name": name, "namespace": "shop" },
            "spec": { "endpointSelector": { "matchLabels": { "any:app": "web" } } } })
}

fn cluster_policy(name: &str) -> Value {
    json!({ "metadata": { "name": name }, "spec": { "subject": { "namespaces": {} } } })
}

fn calico(namespace: &str, name: &str) -> Value {
    json!({ "metadata": { "name": name, "namespace": namespace }, "spec": { "selector": "all()" } })
}

fn foreign(watching: &Watching) -> Vec<(ForeignKind, &str)> {
    let of = |key: &'_ ObjectKey| match key.kind {
        ObjectKind::ForeignPolicy(kind) => Some(kind),
        _ => None,
    };
    let keys = watching.cluster.objects.keys();
    keys.filter_map(|key| Some((of(key)?, &*key.name.name))).collect()
}

#[tokio::test]
async fn a_server_without_the_other_kinds_is_asked_once_for_each() {
    let mut watching = Watching::start(shop().await).await;
    watching.until_equal().await;
    let absent = with_substitutes().filter(|kind| matches!(kind.object, ObjectKind::ForeignPolicy(_)));
    let absent: Vec<_> = absent.map(server::name).collect();
    assert_eq!(absent.len(), 10);
    for name in absent {
        assert_eq!(watching.server.asked(name).all(), 1, "{name}");
    }
    assert_eq!(watching.watch.counters.troubles(), [""; 0]);
    assert_eq!(watching.watch.stats().failures, 0);

    let mut changed = network_policy("deny");
    changed["spec"]["podSelector"] = json!({ "matchLabels": { "app": "web" } });
    watching.server.put("networkpolicies", changed);
    watching.server.put("networkpolicies", network_policy("more"));
    watching.until_equal().await;
    watching.server.delete("networkpolicies", "shop", "deny");
    watching.until_equal().await;
}

#[tokio::test]
async fn policies_of_one_name_and_different_groups_are_kept_apart() {
    let server = shop().await;
    server.put("networkpolicies.crd", calico("shop", "deny"));
    server.put("globalnetworkpolicies", cluster_policy("all"));
    server.put("ciliumnetworkpolicies", cilium("deny"));
    let mut watching = Watching::start(server).await;
    watching.until_equal().await;
    assert_eq!(
        foreign(&watching),
        [
            (ForeignKind::CiliumNetworkPolicy, "deny"),
            (ForeignKind::CalicoNetworkPolicy, "deny"),
            (ForeignKind::CalicoGlobalNetworkPolicy, "all"),
        ]
    );
    let own = ObjectKey { kind: ObjectKind::NetworkPolicy, name: ObjectName::new("shop", "deny") };
    assert!(watching.cluster.objects.contains_key(&own));
    // Nor is one's trouble the other's.
    watching.server.always("networkpolicies.crd", Some(Fault::Status(403, "Forbidden")));
    watching.server.fault("networkpolicies.crd", Fault::ErrorEvent(410, "Expired"));
    watching
        .until_told("the trouble is known", |this| {
            let troubles = this.watch.counters.troubles();
            troubles
                .iter()
                .any(|it| it.starts_with("cannot list networkpolicies.crd.projectcalico.org: forbidden"))
        })
        .await;
    watching.server.put("networkpolicies", network_policy("more"));
    watching.until("the other goes on", |this| this.cluster.objects == this.expected()).await;
    assert_eq!(watching.watch.counters.troubles().len(), 1);
}

#[tokio::test]
async fn of_several_versions_the_first_is_watched_that_there_is() {
    let server = shop().await;
    server.put("clusternetworkpolicies.v1alpha2", cluster_policy("older"));
    let absent_retry = Duration::from_millis(300);
    let mut watching = Watching::start_with(server, Settings { absent_retry, ..settings() }).await;
    watching.until_equal().await;
    assert_eq!(foreign(&watching), [(ForeignKind::ClusterNetworkPolicy, "older")]);
    watching.server.put("clusternetworkpolicies.v1alpha2", cluster_policy("more"));
    watching.until_equal().await;

    watching.server.delete("clusternetworkpolicies.v1alpha2", "", "older");
    watching.server.delete("clusternetworkpolicies.v1alpha2", "", "more");
    watching.server.put("clusternetworkpolicies", cluster_policy("newer"));
    watching.until_equal().await;
    assert_eq!(foreign(&watching), [(ForeignKind::ClusterNetworkPolicy, "newer")]);
    watching.server.put("clusternetworkpolicies", cluster_policy("newest"));
    watching.until_equal().await;
    assert!(watching.server.asked("clusternetworkpolicies").lists < 100);
    assert_eq!(watching.watch.counters.troubles(), [""; 0]);
}

#[tokio::test]
async fn another_kind_that_may_not_be_listed_holds_nothing_back() {
    let server = shop().await;
    server.put("ciliumnetworkpolicies", cilium("deny"));
    server.always("ciliumnetworkpolicies", Some(Fault::Status(403, "Forbidden")));
    let mut watching = Watching::start(server).await;
    watching.until("the rest is listed", |this| this.changes.is_ready() && this.pods() == 7).await;
    assert_eq!(foreign(&watching), []);
    let troubles = watching.watch.counters.troubles();
    assert!(
        matches!(&troubles[..], [it] if it.starts_with("cannot list ciliumnetworkpolicies.cilium.io: forbidden")),
        "{troubles:?}"
    );
    watching.server.always("ciliumnetworkpolicies", None);
    watching.until_equal().await;
    assert_eq!(foreign(&watching), [(ForeignKind::CiliumNetworkPolicy, "deny")]);
}
