//! Services: frontends, node ports, backends and what counts as one.

use std::net::SocketAddr;

use super::*;
use crate::object::Endpoints;

const TERMINATING: Condition = Condition { ready: false, serving: true, terminating: true };

fn behind(cluster: &Cluster, address: &str, time: UnixNanos) -> Vec<ServicePort> {
    cluster.services_behind(Protocol::Tcp, ip(address), 8080, time)
}

fn sockets(texts: &[&str]) -> Vec<SocketAddr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

#[test]
fn frontends_are_found_by_protocol_address_and_port() {
    let mut web = service("shop", "web", "10.96.0.10");
    web.external_addresses = vec![ip("203.0.113.5"), ip("fd00:5::5")];
    let cluster = cluster_of(vec![web.into()]);
    let frontend = |protocol, address, port| cluster.frontend(protocol, ip(address), port, NOW);
    for address in ["10.96.0.10", "203.0.113.5", "fd00:5::5", "::ffff:10.96.0.10"] {
        assert_eq!(frontend(Protocol::Tcp, address, 80), Some(http_of("web")), "{address}");
    }
    assert_eq!(frontend(Protocol::Udp, "10.96.0.10", 80), None);
    assert_eq!(frontend(Protocol::Tcp, "10.96.0.10", 81), None);
    assert_eq!(frontend(Protocol::Tcp, "10.96.0.11", 80), None);
}

#[test]
fn a_node_port_is_a_frontend_at_every_address_of_a_node_and_nowhere_else() {
    let mut web = service("shop", "web", "10.96.0.10");
    web.service_type = ServiceType::NodePort;
    web.ports = vec![port_spec("http", 80, 30080)];
    let cluster = cluster_of(vec![
        web.into(),
        node("node-a", "192.168.0.1", "10.244.1.0/24").into(),
        pod("shop", "web-1", "10.244.1.5").into(),
    ]);
    let frontend = |address| cluster.frontend(Protocol::Tcp, ip(address), 30080, NOW);
    for address in ["192.168.0.1", "10.244.1.0", "10.244.1.1", "127.0.0.1"] {
        assert_eq!(frontend(address), Some(http_of("web")), "{address}");
    }
    for address in ["10.244.1.5", "8.8.8.8", "10.96.0.10"] {
        assert_eq!(frontend(address), None, "{address}");
    }
    assert_eq!(cluster.frontend(Protocol::Tcp, ip("192.168.0.1"), 0, NOW), None);
}

#[test]
fn backends_count_whether_ready_or_not() {
    let cluster = cluster_of(vec![
        slice(
            "web-1",
            "web",
            &[
                ("10.244.1.5", Condition::READY),
                ("10.244.1.6", TERMINATING),
                ("10.244.1.7", Condition::NOT_READY),
            ],
        )
        .into(),
        slice("canary-1", "canary", &[("10.244.1.5", Condition::NOT_READY)]).into(),
    ]);
    assert_eq!(behind(&cluster, "10.244.1.5", NOW), [http_of("canary"), http_of("web")]);
    assert_eq!(behind(&cluster, "10.244.1.6", NOW), [http_of("web")]);
    assert_eq!(cluster.services_behind(Protocol::Tcp, ip("10.244.1.5"), 80, NOW), []);
    assert_eq!(cluster.services_behind(Protocol::Udp, ip("10.244.1.5"), 8080, NOW), []);
    assert_eq!(
        cluster.backends(&http_of("web"), NOW),
        sockets(&["10.244.1.5:8080", "10.244.1.6:8080", "10.244.1.7:8080"])
    );
    assert_eq!(cluster.backend_conditions(&http_of("web"), NOW)[1].1, TERMINATING);
    assert!(cluster.has_ready_backend(&http_of("web"), NOW));
    assert!(!cluster.has_ready_backend(&http_of("canary"), NOW));
    assert!(!cluster.has_ready_backend(&http_of("nobody"), NOW));
}

#[test]
fn a_headless_service_has_backends_and_no_frontend() {
    let mut db = service("shop", "db", "10.96.0.10");
    db.cluster_addresses.clear();
    assert!(db.is_headless());
    let cluster =
        cluster_of(vec![db.into(), slice("db-1", "db", &[("10.244.1.5", Condition::READY)]).into()]);
    assert_eq!(behind(&cluster, "10.244.1.5", NOW), [http_of("db")]);
    assert_eq!(cluster.frontend(Protocol::Tcp, ip("10.244.1.5"), 8080, NOW), None);
}

#[test]
fn an_external_name_has_neither() {
    let mut alias = service("shop", "alias", "10.96.0.10");
    alias.service_type = ServiceType::ExternalName("example.org".into());
    alias.cluster_addresses.clear();
    assert!(!alias.is_headless());
    let cluster = cluster_of(vec![alias.into()]);
    assert_eq!(cluster.frontend(Protocol::Tcp, ip("10.96.0.10"), 80, NOW), None);
}

#[test]
fn endpoints_count_only_while_the_service_has_no_slice() {
    let old_form = Endpoints {
        name: ObjectName::new("shop", "web"),
        sets: vec![endpoint_set(&[("10.244.1.5", Condition::READY)])],
    };
    let new_form = slice("web-1", "web", &[("10.244.1.6", Condition::READY)]);
    let mut cluster = cluster_of(vec![Object::Endpoints(old_form)]);
    cluster.apply(new_form.clone().into(), at(2_000));
    cluster.delete(&key_of(new_form), at(3_000));
    let backends = |time| cluster.backends(&http_of("web"), at(time));
    assert_eq!(backends(1_000), sockets(&["10.244.1.5:8080"]));
    assert_eq!(backends(2_000), sockets(&["10.244.1.6:8080"]));
    assert_eq!(backends(3_000), sockets(&["10.244.1.5:8080"]));
}

#[test]
fn a_backend_in_two_slices_counts_once_with_the_better_condition() {
    let first = slice("web-1", "web", &[("10.244.1.5", Condition::NOT_READY)]);
    let mut cluster = cluster_of(vec![
        first.clone().into(),
        slice("web-2", "web", &[("10.244.1.5", Condition::READY)]).into(),
    ]);
    assert_eq!(behind(&cluster, "10.244.1.5", NOW), [http_of("web")]);
    assert!(cluster.has_ready_backend(&http_of("web"), NOW));
    cluster.delete(&key_of(first), at(2_000));
    assert_eq!(cluster.backends(&http_of("web"), at(2_000)), sockets(&["10.244.1.5:8080"]));
}

#[test]
fn a_slice_that_moves_to_another_service_leaves_the_first() {
    let mut moving = slice("x-1", "web", &[("10.244.1.5", Condition::READY)]);
    let mut cluster = cluster_of(vec![moving.clone().into()]);
    moving.service = "api".into();
    cluster.apply(moving.into(), at(2_000));
    assert_eq!(behind(&cluster, "10.244.1.5", at(1_999)), [http_of("web")]);
    assert_eq!(behind(&cluster, "10.244.1.5", at(2_000)), [http_of("api")]);
    assert_eq!(cluster.backends(&http_of("web"), at(2_000)), []);
}

#[test]
fn a_service_that_goes_takes_its_frontends_with_it() {
    let web = service("shop", "web", "10.96.0.10");
    let mut cluster = cluster_of(vec![web.clone().into()]);
    cluster.delete(&key_of(web), at(2_000));
    let frontend = |time| cluster.frontend(Protocol::Tcp, ip("10.96.0.10"), 80, at(time));
    assert_eq!((frontend(1_999), frontend(2_000)), (Some(http_of("web")), None));
}
