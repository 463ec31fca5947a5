//! Who owns an address, and under which identity: one test for each trap.

use super::*;
use crate::{EndpointKind, Identity, Workload};

fn workload(kind: &str, name: &str) -> Option<Workload> {
    Some(Workload { kind: kind.into(), name: name.into() })
}

fn kind_at(cluster: &Cluster, address: &str) -> EndpointKind {
    cluster.endpoint(ip(address), NOW).kind
}

#[test]
fn a_pod_is_shown_with_hubbles_labels_in_order() {
    let mut web = pod("shop", "web-1", "10.244.1.5");
    web.service_account = "seller".into();
    web.labels = labels(&[("app", "web"), ("pod-template-hash", "abc")]);
    let cluster = cluster_of(vec![
        web.into(),
        Object::Namespace(namespace("shop", &[("kubernetes.io/metadata.name", "shop"), ("team", "blue")])),
    ]);
    let endpoint = cluster.endpoint(ip("10.244.1.5"), NOW);
    assert_eq!(endpoint.kind, EndpointKind::Pod);
    assert_eq!((&*endpoint.namespace, &*endpoint.pod_name, &*endpoint.node), ("shop", "web-1", "node-a"));
    assert_eq!(
        *endpoint.labels,
        [
            "k8s:app=web",
            "k8s:io.cilium.k8s.namespace.labels.kubernetes.io/metadata.name=shop",
            "k8s:io.cilium.k8s.namespace.labels.team=blue",
            "k8s:io.cilium.k8s.policy.cluster=default",
            "k8s:io.cilium.k8s.policy.serviceaccount=seller",
            "k8s:io.kubernetes.pod.namespace=shop",
            "k8s:pod-template-hash=abc",
        ]
    );
}

#[test]
fn the_namespaces_labels_may_come_later() {
    let mut cluster = cluster_of(vec![pod("shop", "web-1", "10.244.1.5").into()]);
    cluster.apply(Object::Namespace(namespace("shop", &[("team", "blue")])), at(2_000));
    let has_team = |time| {
        cluster
            .endpoint(ip("10.244.1.5"), time)
            .labels
            .iter()
            .any(|label| label.ends_with("labels.team=blue"))
    };
    assert!(!has_team(at(1_999)));
    assert!(has_team(at(2_000)));
}

#[test]
fn a_rollout_keeps_the_identity_and_another_label_does_not() {
    let with = |name: &str, address: &str, pairs: &[(&str, &str)]| {
        let mut pod = pod("shop", name, address);
        pod.labels = labels(pairs);
        pod.into()
    };
    let cluster = cluster_of(vec![
        with("a", "10.244.1.5", &[("app", "web"), ("pod-template-hash", "abc")]),
        with("b", "10.244.1.6", &[("app", "web"), ("pod-template-hash", "def"), ("job-name", "j")]),
        with("c", "10.244.1.7", &[("app", "api")]),
    ]);
    let identity = |address| cluster.endpoint(ip(address), NOW).identity;
    assert_eq!(identity("10.244.1.5"), identity("10.244.1.6"));
    assert_ne!(identity("10.244.1.5"), identity("10.244.1.7"));
    // Equal in every run and on every node: part of the interface.
    let Identity(number) = identity("10.244.1.7");
    let again = cluster_of(vec![with("x", "10.244.9.7", &[("app", "api")])]);
    assert_eq!(again.endpoint(ip("10.244.9.7"), NOW).identity, Identity(number));
}

#[test]
fn a_pod_that_is_over_no_longer_owns_its_address() {
    for phase in [PodPhase::Succeeded, PodPhase::Failed] {
        let mut done = pod("shop", "job-1", "10.244.1.5");
        done.phase = phase;
        done.created = at(900);
        let mut cluster = cluster_of(vec![done.into(), pod("shop", "web-1", "10.244.1.5").into()]);
        assert_eq!(pod_name(&cluster.endpoint(ip("10.244.1.5"), NOW)), "web-1");
        assert_eq!(cluster.stats().address_conflicts, 0);
        cluster.delete(&key_of(pod("shop", "web-1", "10.244.1.5")), at(2_000));
        assert_eq!(cluster.endpoint(ip("10.244.1.5"), at(2_000)).kind, EndpointKind::Unmanaged);
    }
}

#[test]
fn a_pod_that_ends_gives_its_address_up_at_that_time() {
    let mut job = pod("shop", "job-1", "10.244.1.5");
    let mut cluster = cluster_of(vec![job.clone().into()]);
    job.phase = PodPhase::Succeeded;
    cluster.apply(job.into(), at(5_000));
    cluster.apply(pod("shop", "web-1", "10.244.1.5").into(), at(6_000));
    let name = |time| cluster.endpoint(ip("10.244.1.5"), at(time)).pod_name.to_string();
    assert_eq!([name(4_999), name(5_500), name(6_000)], ["job-1", "", "web-1"]);
}

#[test]
fn host_network_pods_are_their_node() {
    let mut proxy = pod("kube-system", "kube-proxy-1", "192.168.0.1");
    proxy.host_network = true;
    let mut other = pod("kube-system", "flannel-1", "192.168.0.1");
    other.host_network = true;
    let cluster = cluster_of(vec![proxy.into(), other.into()]);
    let endpoint = cluster.endpoint(ip("192.168.0.1"), NOW);
    assert_eq!((endpoint.kind, &*endpoint.node), (EndpointKind::Node, "node-a"));
    assert_eq!((&*endpoint.pod_name, &*endpoint.namespace), ("", ""));
    assert_eq!(cluster.stats().address_conflicts, 0);
}

#[test]
fn a_node_is_host_to_itself_and_remote_to_others() {
    let mut cluster = cluster_of(vec![
        node("node-a", "192.168.0.1", "10.244.1.0/24").into(),
        node("node-b", "192.168.0.2", "10.244.2.0/24").into(),
    ]);
    let seen = |cluster: &Cluster, address| {
        let endpoint = cluster.endpoint(ip(address), NOW);
        (endpoint.identity, endpoint.labels.join(","), endpoint.node.to_string())
    };
    let remote = |name: &str| (Identity(6), "reserved:remote-node".to_owned(), name.to_owned());
    assert_eq!(seen(&cluster, "192.168.0.1"), remote("node-a"));
    cluster.set_local_node("node-a");
    assert_eq!(seen(&cluster, "192.168.0.1"), (Identity(1), "reserved:host".into(), "node-a".into()));
    assert_eq!(seen(&cluster, "192.168.0.2"), remote("node-b"));
    assert_eq!(seen(&cluster, "127.0.0.53"), (Identity(1), "reserved:host".into(), "node-a".into()));
    assert_eq!(seen(&cluster, "::1").0, Identity(1));
}

#[test]
fn tunnel_and_gateway_addresses_are_the_nodes() {
    let cluster = cluster_of(vec![
        node("node-a", "192.168.0.1", "10.244.1.0/24").into(),
        node("node-b", "fd00::b", "fd00:2::/64").into(),
    ]);
    for (address, name) in
        [("10.244.1.0", "node-a"), ("10.244.1.1", "node-a"), ("fd00:2::", "node-b"), ("fd00:2::1", "node-b")]
    {
        let endpoint = cluster.endpoint(ip(address), NOW);
        assert_eq!((endpoint.kind, &*endpoint.node), (EndpointKind::Node, name), "{address}");
        assert_eq!(cluster.node_by_address(ip(address), NOW).unwrap().zone(), "zone-1");
    }
    assert_eq!(kind_at(&cluster, "10.244.1.2"), EndpointKind::Unmanaged);
}

#[test]
fn a_pod_may_have_the_first_address_of_a_range_that_has_no_gateway() {
    let cluster = cluster_of(vec![
        node("node-a", "192.168.0.1", "10.244.1.0/24").into(),
        pod("shop", "web-1", "10.244.1.1").into(),
    ]);
    assert_eq!(pod_name(&cluster.endpoint(ip("10.244.1.1"), NOW)), "web-1");
}

#[test]
fn unknown_addresses_are_unmanaged_inside_and_world_outside() {
    let mut cluster = cluster_of(vec![node("node-a", "192.168.0.1", "10.244.1.0/24").into()]);
    assert_eq!(labels_at(&cluster, "10.244.1.77"), ["reserved:unmanaged"]);
    assert_eq!(cluster.endpoint(ip("10.244.1.77"), NOW).identity, Identity(3));
    assert_eq!(labels_at(&cluster, "8.8.8.8"), ["reserved:world"]);
    assert_eq!(cluster.endpoint(ip("8.8.8.8"), NOW).identity, Identity(2));
    assert_eq!(kind_at(&cluster, "::ffff:10.244.1.77"), EndpointKind::Unmanaged);
    // The range stays the cluster's when its node goes.
    cluster.delete(&key_of(node("node-a", "192.168.0.1", "10.244.1.0/24")), at(2_000));
    assert_eq!(cluster.endpoint(ip("10.244.1.77"), at(3_000)).kind, EndpointKind::Unmanaged);
    assert_eq!(cluster.endpoint(ip("192.168.0.1"), at(3_000)).kind, EndpointKind::World);
    // And a configured one is the cluster's without any object.
    assert_eq!(kind_at(&cluster, "10.96.0.77"), EndpointKind::World);
    cluster.add_range("10.96.0.0/12".parse().unwrap());
    assert_eq!(kind_at(&cluster, "10.96.0.77"), EndpointKind::Unmanaged);
}

#[test]
fn an_address_that_was_a_pods_is_unmanaged_without_any_range() {
    let mut cluster = cluster_of(vec![pod("shop", "web-1", "10.0.7.9").into()]);
    cluster.delete(&key_of(pod("shop", "web-1", "10.0.7.9")), at(2_000));
    assert_eq!(cluster.endpoint(ip("10.0.7.9"), at(2_500)).kind, EndpointKind::Unmanaged);
}

#[test]
fn multicast_broadcast_and_link_local_are_world_even_in_a_range() {
    let mut cluster = Cluster::default();
    cluster.add_range("0.0.0.0/0".parse().unwrap());
    cluster.add_range("::/0".parse().unwrap());
    for address in ["224.0.0.251", "255.255.255.255", "169.254.20.10", "0.0.0.0", "ff02::1", "fe80::1", "::"]
    {
        assert_eq!(kind_at(&cluster, address), EndpointKind::World, "{address}");
    }
    assert_eq!(kind_at(&cluster, "10.0.0.1"), EndpointKind::Unmanaged);
}

#[test]
fn of_two_pods_on_one_address_the_newer_holds_it_in_any_order() {
    let old = pod("shop", "zzz-old", "10.244.1.5");
    let mut new = pod("shop", "aaa-new", "10.244.1.5");
    new.created = at(500);
    for objects in [[old.clone(), new.clone()], [new.clone(), old.clone()]] {
        let mut cluster = Cluster::default();
        for object in objects {
            cluster.apply(object.into(), NOW);
        }
        assert_eq!(pod_name(&cluster.endpoint(ip("10.244.1.5"), NOW)), "aaa-new");
        assert_eq!(cluster.stats().address_conflicts, 1);
        cluster.delete(&key_of(new.clone()), at(2_000));
        assert_eq!(pod_name(&cluster.endpoint(ip("10.244.1.5"), at(2_000))), "zzz-old");
    }
}

#[test]
fn a_services_address_is_a_card_of_its_own_in_hubble_ui() {
    let mut labelled = service("shop", "api", "10.96.0.11");
    labelled.labels = labels(&[("app.kubernetes.io/name", "api")]);
    let cluster = cluster_of(vec![service("shop", "web", "10.96.0.10").into(), labelled.into()]);
    let web = cluster.endpoint(ip("10.96.0.10"), NOW);
    assert_eq!((web.kind, &*web.namespace, pod_name(&web)), (EndpointKind::Service, "shop", ""));
    assert_eq!(web.workload, workload("Service", "web"));
    assert_eq!(
        *web.labels,
        [
            "k8s:io.cilium.k8s.policy.cluster=default",
            "k8s:io.kubernetes.pod.namespace=shop",
            "k8s:name=web",
            "weir:service=web",
        ]
    );
    let api = cluster.endpoint(ip("10.96.0.11"), NOW);
    assert_ne!(web.identity, api.identity);
    assert!(web.identity.0 > 0xffff);
    assert!(!api.labels.iter().any(|label| label.starts_with("k8s:name=")));
}

#[test]
fn an_external_address_that_is_a_nodes_stays_the_nodes() {
    let mut web = service("shop", "web", "10.96.0.10");
    web.external_addresses = vec![ip("192.168.0.1")];
    let cluster = cluster_of(vec![web.into(), node("node-a", "192.168.0.1", "10.244.1.0/24").into()]);
    assert_eq!(kind_at(&cluster, "192.168.0.1"), EndpointKind::Node);
    assert_eq!(cluster.frontend(Protocol::Tcp, ip("192.168.0.1"), 80, NOW), Some(http_of("web")));
}

#[test]
fn the_api_server_is_known_by_the_endpoints_of_its_service() {
    let mut apiserver = slice("kubernetes", "kubernetes", &[]);
    apiserver.name = ObjectName::new("default", "kubernetes");
    apiserver.set.ports[0].name = "https".into();
    for address in ["192.168.0.1", "203.0.113.7"] {
        apiserver.set.addresses.push((ip(address), Condition::READY));
    }
    let mut cluster = cluster_of(vec![
        apiserver.clone().into(),
        node("node-a", "192.168.0.1", "10.244.1.0/24").into(),
        node("node-b", "192.168.0.2", "10.244.2.0/24").into(),
    ]);
    assert_eq!(labels_at(&cluster, "192.168.0.1"), ["reserved:kube-apiserver", "reserved:remote-node"]);
    assert_eq!(cluster.endpoint(ip("192.168.0.1"), NOW).identity, Identity(7));
    assert_eq!(labels_at(&cluster, "203.0.113.7"), ["reserved:kube-apiserver", "reserved:world"]);
    assert_eq!(labels_at(&cluster, "192.168.0.2"), ["reserved:remote-node"]);
    cluster.set_local_node("node-a");
    assert_eq!(labels_at(&cluster, "192.168.0.1"), ["reserved:host", "reserved:kube-apiserver"]);
    assert_eq!(cluster.endpoint(ip("192.168.0.1"), NOW).identity, Identity(1));
    cluster.delete(&key_of(apiserver), at(2_000));
    assert_eq!(*cluster.endpoint(ip("192.168.0.1"), at(2_000)).labels, ["reserved:host"]);
    assert_eq!(*cluster.endpoint(ip("203.0.113.7"), at(2_000)).labels, ["reserved:world"]);
}

#[test]
fn workloads_are_found_through_their_controllers() {
    let owned = |name: &str, address: &str, by: Option<Owner>| {
        let mut pod = pod("shop", name, address);
        pod.owner = by;
        pod
    };
    let mut hashed = owned("d", "10.244.1.4", owner("ReplicaSet", "cart-5d9f"));
    hashed.labels = labels(&[("pod-template-hash", "5d9f")]);
    let mut unproven = owned("e", "10.244.1.5", owner("ReplicaSet", "cart-5d9f"));
    unproven.labels = labels(&[("pod-template-hash", "9f")]);
    let cluster = cluster_of(vec![
        owned("a", "10.244.1.1", owner("ReplicaSet", "web-1")).into(),
        owned("b", "10.244.1.2", owner("Job", "backup-29")).into(),
        owned("c", "10.244.1.3", owner("StatefulSet", "db")).into(),
        hashed.into(),
        unproven.into(),
        owned("f", "10.244.1.6", owner("Job", "once")).into(),
        owned("g", "10.244.1.7", owner("ReplicaSet", "alone")).into(),
        owned("h", "10.244.1.8", None).into(),
        Object::ReplicaSet(controller("web-1", owner("Deployment", "web"))),
        Object::ReplicaSet(controller("alone", None)),
        Object::Job(controller("backup-29", owner("CronJob", "backup"))),
    ]);
    let found = |address| cluster.endpoint(ip(address), NOW).workload.clone();
    for (address, expected) in [
        ("10.244.1.1", workload("Deployment", "web")),
        ("10.244.1.2", workload("CronJob", "backup")),
        ("10.244.1.3", workload("StatefulSet", "db")),
        ("10.244.1.4", workload("Deployment", "cart")),
        ("10.244.1.5", workload("ReplicaSet", "cart-5d9f")),
        ("10.244.1.6", workload("Job", "once")),
        ("10.244.1.7", workload("ReplicaSet", "alone")),
        ("10.244.1.8", None),
    ] {
        assert_eq!(found(address), expected, "{address}");
    }
}

#[test]
fn a_controller_that_comes_later_names_the_workload_from_then_on() {
    let mut web = pod("shop", "web-1-x", "10.244.1.5");
    web.owner = owner("ReplicaSet", "web-1");
    let mut cluster = cluster_of(vec![web.into()]);
    cluster.apply(Object::ReplicaSet(controller("web-1", owner("Deployment", "web"))), at(2_000));
    let found = |time| cluster.endpoint(ip("10.244.1.5"), at(time)).workload.clone();
    assert_eq!(found(1_999), workload("ReplicaSet", "web-1"));
    assert_eq!(found(2_000), workload("Deployment", "web"));
}
