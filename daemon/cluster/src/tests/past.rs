//! Time: snapshots, what is before the first, and what is forgotten.

use super::*;
use crate::HistoryLimits;

fn named(cluster: &Cluster, address: &str, time: u64) -> String {
    cluster.endpoint(ip(address), at(time)).pod_name.to_string()
}

#[test]
fn the_first_snapshot_holds_since_ever_and_the_next_from_its_time() {
    let mut cluster = Cluster::default();
    cluster.replace(vec![pod("shop", "a", "10.244.1.5").into(), pod("shop", "b", "10.244.1.6").into()], NOW);
    cluster.replace(
        vec![pod("shop", "b", "10.244.1.6").into(), pod("shop", "c", "10.244.1.7").into()],
        at(2_000),
    );
    assert_eq!(named(&cluster, "10.244.1.5", 0), "a");
    assert_eq!(named(&cluster, "10.244.1.5", 1_999), "a");
    assert_eq!(named(&cluster, "10.244.1.5", 2_000), "");
    assert_eq!(named(&cluster, "10.244.1.6", 0), "b");
    assert_eq!(named(&cluster, "10.244.1.6", u64::MAX), "b");
    assert_eq!(named(&cluster, "10.244.1.7", 1_999), "");
    assert_eq!(named(&cluster, "10.244.1.7", 2_000), "c");
}

#[test]
fn a_change_out_of_order_counts_as_simultaneous_with_the_last() {
    let mut cluster = cluster_of(Vec::new());
    cluster.apply(pod("shop", "a", "10.244.1.5").into(), at(5_000));
    cluster.apply(pod("shop", "b", "10.244.1.6").into(), at(4_000));
    assert_eq!(named(&cluster, "10.244.1.6", 4_999), "");
    assert_eq!(named(&cluster, "10.244.1.6", 5_000), "b");
}

#[test]
fn a_pod_that_moves_leaves_its_old_address() {
    let mut cluster = cluster_of(vec![pod("shop", "a", "10.244.1.5").into()]);
    cluster.apply(pod("shop", "a", "10.244.1.9").into(), at(2_000));
    assert_eq!(named(&cluster, "10.244.1.5", 2_000), "");
    assert_eq!(named(&cluster, "10.244.1.9", 2_000), "a");
}

#[test]
fn the_past_of_one_address_is_bounded_and_what_is_left_answers_for_before() {
    let mut cluster = Cluster::new(HistoryLimits { entries: 1_000, per_key: 3 });
    for n in 1..=10_u64 {
        let mut pod = pod("shop", &format!("pod-{n}"), "10.244.1.5");
        pod.created = at(n);
        cluster.apply(pod.clone().into(), at(n * 100));
        if n > 1 {
            let old = super::pod("shop", &format!("pod-{}", n - 1), "10.244.1.5");
            cluster.delete(&key_of(old), at(n * 100));
        }
    }
    let stats = cluster.stats();
    assert_eq!(stats.forgotten, 6);
    assert_eq!(stats.exact_since, at(700));
    assert_eq!(named(&cluster, "10.244.1.5", 700), "pod-7");
    assert_eq!(named(&cluster, "10.244.1.5", 0), "pod-7");
    assert_eq!(named(&cluster, "10.244.1.5", 1_000), "pod-10");
}

#[test]
fn the_past_as_a_whole_is_bounded_and_the_oldest_goes_first() {
    let mut cluster = Cluster::new(HistoryLimits { entries: 10, per_key: 64 });
    for n in 0..100_u64 {
        let pod = pod("shop", &format!("pod-{n}"), &format!("10.244.1.{n}"));
        cluster.apply(pod.clone().into(), at(n * 10 + 1));
        cluster.delete(&key_of(pod), at(n * 10 + 2));
    }
    let stats = cluster.stats();
    assert!(stats.addresses <= 10, "{} addresses kept", stats.addresses);
    assert!(stats.forgotten >= 90);
    assert_eq!(named(&cluster, "10.244.1.99", 991), "pod-99");
    assert_eq!(named(&cluster, "10.244.1.5", 51), "");
}

#[test]
fn forgotten_backends_leave_nothing_behind() {
    let mut cluster = Cluster::new(HistoryLimits { entries: 4, per_key: 2 });
    for n in 1..50_u64 {
        let address = format!("10.244.1.{n}");
        let slice = slice("web-1", "web", &[(address.as_str(), Condition::READY)]);
        cluster.apply(slice.into(), at(n));
    }
    assert_eq!(cluster.backends(&http_of("web"), at(49)).len(), 1);
    assert!(cluster.services.links() <= 5, "{} links kept", cluster.services.links());
}

#[test]
fn nodes_and_namespaces_are_listed_as_they_were() {
    let mut cluster = cluster_of(vec![
        node("node-b", "192.168.0.2", "10.244.2.0/24").into(),
        node("node-a", "192.168.0.1", "10.244.1.0/24").into(),
        Object::Namespace(namespace("empty", &[])),
        pod("shop", "a", "10.244.1.5").into(),
        pod("shop", "b", "10.244.1.6").into(),
    ]);
    cluster.delete(&key_of(node("node-a", "192.168.0.1", "10.244.1.0/24")), at(2_000));
    cluster.delete(&key_of(pod("shop", "a", "10.244.1.5")), at(2_000));
    cluster.delete(&key_of(pod("shop", "b", "10.244.1.6")), at(3_000));
    let nodes = |time| cluster.nodes(at(time)).iter().map(|node| node.name.to_string()).collect::<Vec<_>>();
    assert_eq!(nodes(1_999), ["node-a", "node-b"]);
    assert_eq!(nodes(2_000), ["node-b"]);
    let namespaces = |time| cluster.namespaces(at(time)).iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(namespaces(2_999), ["empty", "shop"]);
    assert_eq!(namespaces(3_000), ["empty"]);
    assert!(cluster.node_by_address(ip("192.168.0.1"), at(1_999)).is_some());
    assert!(cluster.node_by_address(ip("192.168.0.1"), at(2_000)).is_none());
}
