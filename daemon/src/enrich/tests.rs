//! Whole flows of whole conversations: packets go through the tracker, with the cluster's state as a manifest would give it.

mod policy;
mod world;

use prost::Message;
use weir_proto::flow::{DropReason, Flow, TrafficDirection, Verdict};
use weir_proto::observer::{GetFlowsResponse, get_flows_response::ResponseTypes};
use weir_proto::place::Place;
use weir_proto::weir::v1::{ConnectionState, FlowDetail, Observation, Reason, RuleAction, ServiceRef};
use world::{ACK, CLIENT, FIN_ACK, Hop, LOCAL_CALL, RST_ACK, Route, SYN, SYN_ACK, World};

fn weir(flow: &Flow) -> &FlowDetail {
    flow.weir.as_ref().unwrap()
}

fn json(flow: &Flow) -> String {
    let response = GetFlowsResponse {
        response_types: Some(ResponseTypes::Flow(flow.clone())),
        ..GetFlowsResponse::default()
    };
    let line: serde_json::Value = serde_json::from_str(&weir_proto::json::to_json(&response)).unwrap();
    serde_json::to_string_pretty(&line["flow"]).unwrap()
}

fn exact(namespace: &str, name: &str) -> Vec<ServiceRef> {
    let [namespace, name] = [namespace, name].map(str::to_owned);
    vec![ServiceRef { name, namespace, port_name: "http".to_owned(), exact: true }]
}

fn inferred(namespace: &str, name: &str) -> Vec<ServiceRef> {
    exact(namespace, name).into_iter().map(|service| ServiceRef { exact: false, ..service }).collect()
}

/// SYN to FIN over a route.
fn converse(world: &mut World, route: &Route) {
    world.forward(route, SYN, 100);
    world.reverse(route, SYN_ACK, 900);
    world.forward(route, ACK, 101);
    world.forward(route, FIN_ACK, 101);
    world.reverse(route, FIN_ACK, 901);
    world.wait_ms(1000);
}

#[test]
fn a_call_to_a_service_on_another_node_as_the_clients_node_tells_it() {
    let mut world = World::on("worker-1");
    converse(&mut world, &world::TO_REMOTE);
    insta::assert_snapshot!(json(&world.flows[0]));
    let end = world.last();
    assert_eq!((weir(end).reason(), weir(end).state()), (Reason::End, ConnectionState::Closed));
    assert_eq!(weir(end).services, exact("shop", "api"));
    assert!(weir(end).counts);
}

#[test]
fn the_servers_node_infers_the_service_and_has_the_same_key() {
    let mut client = World::on("worker-1");
    converse(&mut client, &world::TO_REMOTE);
    let mut server = World::on("worker-2");
    converse(&mut server, &world::FROM_REMOTE);
    insta::assert_snapshot!(json(&server.flows[0]));
    let (here, there) = (server.last(), client.last());
    assert_eq!(weir(here).join_key, weir(there).join_key);
    assert_eq!(weir(here).community_id, weir(there).community_id);
    assert_eq!((&here.source, &here.destination), (&there.source, &there.destination));
    assert_eq!(weir(here).services, inferred("shop", "api"));
    assert_eq!(here.destination_service, None);
    assert!(!weir(here).counts);
    assert_eq!(here.traffic_direction(), TrafficDirection::Ingress);
    assert_eq!(there.traffic_direction(), TrafficDirection::Egress);
}

#[test]
fn a_direct_call_to_a_pod_has_no_service_where_the_client_is() {
    let mut client = World::on("worker-1");
    converse(&mut client, &world::DIRECT);
    assert!(client.flows.iter().all(|flow| weir(flow).services.is_empty()));
    assert!(client.flows.iter().all(|flow| flow.destination_service.is_none() && weir(flow).nat.is_none()));
    assert_eq!(client.last().destination.as_ref().unwrap().pod_name, "api-2");
}

#[test]
fn a_node_port_call_from_outside_is_one_connection_with_all_its_addresses() {
    let mut entry = World::on("worker-1");
    entry.conntrack(&world::NODE_PORT);
    converse(&mut entry, &world::NODE_PORT);
    insta::assert_snapshot!(json(&entry.flows[0]));
    let mut server = World::on("worker-2");
    converse(&mut server, &world::FROM_MASQUERADE);
    assert_eq!(weir(entry.last()).join_key, weir(server.last()).join_key);
    assert!(weir(entry.last()).counts && !weir(server.last()).counts);
    assert_eq!(weir(entry.last()).services, exact("shop", "api"));
    assert_eq!(weir(server.last()).source_node, "worker-1");
}

#[test]
fn a_denied_call_is_dropped_and_names_the_rule() {
    let mut world = World::on("worker-1");
    world.forward(&world::TO_REMOTE[..1], SYN, 100);
    world.log("deny:shop/api-ingress", &world::TO_REMOTE[1], 100);
    world.wait_ms(60);
    insta::assert_snapshot!(json(&world.flows[0]));
    assert_eq!(world.flows[0].verdict(), Verdict::Dropped);
}

#[test]
fn a_rule_that_lets_pass_is_named_and_no_more() {
    let mut world = World::on("worker-1");
    world.forward(&world::TO_REMOTE[..1], SYN, 100);
    world.log("allow:shop/api", &world::TO_REMOTE[1], 100);
    world.wait_ms(60);
    let flow = &world.flows[0];
    assert_eq!((flow.verdict(), flow.drop_reason_desc()), (Verdict::Traced, DropReason::Unknown));
    assert_eq!(
        (weir(flow).reason(), weir(flow).rule_names.as_slice()),
        (Reason::Settled, &["allow:shop/api".to_owned()][..])
    );
    let [rule] = weir(flow).logged_rules.as_slice() else { panic!("{flow:?}") };
    assert_eq!((rule.writer.as_str(), rule.action()), ("hand", RuleAction::Allow));
    assert_eq!((rule.namespace.as_str(), rule.name.as_str()), ("shop", "api"));
    assert!(weir(flow).evidence.iter().all(|evidence| evidence.observation() != Observation::Logged));
}

#[test]
fn a_call_that_the_kernel_drops_says_why_in_the_kernels_words() {
    let mut world = World::on("worker-1");
    world.forward(&world::TO_REMOTE[..1], SYN, 100);
    world.kernel_drops("NETFILTER_DROP", &world::TO_REMOTE[1], 100);
    world.wait_ms(60);
    insta::assert_snapshot!(json(&world.flows[0]));
}

#[test]
fn a_drop_has_hubbles_word_where_one_fits() {
    let told = |reason: &str, rule: Option<&str>| {
        let mut world = World::on("worker-1");
        world.forward(&world::TO_REMOTE[..1], SYN, 100);
        if let Some(rule) = rule {
            world.log(rule, &world::TO_REMOTE[1], 100);
        }
        world.kernel_drops(reason, &world::TO_REMOTE[1], 100);
        world.wait_ms(60);
        let flow = world.last();
        assert_eq!(flow.verdict(), Verdict::Dropped, "{reason}");
        (flow.drop_reason_desc(), flow.event_type.unwrap().sub_type)
    };
    assert_eq!(told("NETFILTER_DROP", Some("deny:shop/api")), (DropReason::PolicyDenied, 133));
    assert_eq!(told("NETFILTER_DROP", None), (DropReason::Unknown, 1), "a rule that may be no policy");
    assert_eq!(told("NETFILTER_DROP", Some("allow:shop/api")), (DropReason::Unknown, 1), "not by that rule");
    assert_eq!(told("NEIGH_FAILED", Some("log:all")), (DropReason::StaleOrUnroutableIp, 151));
    assert_eq!(told("IP_RPFILTER", None), (DropReason::InvalidSourceIp, 132));
}

#[test]
fn a_closed_port_is_named_by_the_kernel_and_not_called_dropped() {
    let mut world = World::on("worker-1");
    world.forward(&world::TO_REMOTE[..1], SYN, 100);
    world.kernel_drops("NO_SOCKET", &world::TO_REMOTE[0], 100);
    world.wait_ms(60);
    let flow = world.last();
    assert_eq!((flow.verdict(), flow.drop_reason_desc()), (Verdict::Traced, DropReason::Unknown));
    let drop = &weir(flow).kernel_drops[0];
    assert_eq!((drop.reason.as_str(), drop.loss), ("NO_SOCKET", false));
    assert_eq!(weir(flow).evidence[0].detail, "NO_SOCKET at vethcli");
}

#[test]
fn a_service_without_endpoints_is_rejected_and_nothing_is_called_dropped() {
    let mut world = World::on("worker-1");
    world.forward(&world::TO_EMPTY, SYN, 100);
    world.unreachable(&world::TO_EMPTY[0], "10.244.1.1");
    world.wait_ms(1000);
    let end = world.last();
    assert_eq!((end.verdict(), weir(end).state()), (Verdict::Traced, ConnectionState::Rejected));
    assert_eq!(weir(end).services, exact("shop", "empty"));
    let evidence = &weir(end).evidence[0];
    assert_eq!(evidence.observation(), Observation::IcmpUnreachable);
    assert_eq!(evidence.detail, "10.244.1.1 icmp 3/3");

    let mut by_reset = World::on("worker-1");
    by_reset.forward(&world::TO_EMPTY, SYN, 100);
    by_reset.reverse(&world::TO_EMPTY, RST_ACK, 0);
    by_reset.wait_ms(1000);
    let end = by_reset.last();
    assert_eq!((end.verdict(), weir(end).state()), (Verdict::Traced, ConnectionState::Rejected));
    assert_eq!(weir(end).evidence[0].observation(), Observation::ResetByNetwork);
}

#[test]
fn an_unanswered_call_is_traced_and_says_where_it_was_last() {
    let mut world = World::on("worker-1");
    world.forward(&world::TO_REMOTE, SYN, 100);
    world.wait_ms(60);
    world.wait_ms(3000);
    let flow = world.last();
    assert_eq!((flow.verdict(), weir(flow).state()), (Verdict::Traced, ConnectionState::Unanswered));
    assert_eq!(weir(flow).last_seen_at, "eth0 out");
    assert!(weir(flow).incomplete.is_empty());
}

#[test]
fn a_local_backend_is_delivered_and_the_farthest_point_is_its_veth() {
    let mut world = World::on("worker-1");
    converse(&mut world, &LOCAL_CALL);
    let first = &world.flows[0];
    assert_eq!(first.trace_observation_point().as_str_name(), "TO_ENDPOINT");
    assert_eq!(first.event_type.unwrap().sub_type, 0);
    assert_eq!(weir(first).evidence[0].detail, "vethweb out");
    assert_eq!(
        (weir(first).source_node.as_str(), weir(first).destination_node.as_str()),
        ("worker-1", "worker-1")
    );
}

#[test]
fn questions_and_answers_are_flows_of_their_own() {
    let mut world = World::on("worker-1");
    world.dns(7, "example.org", None);
    world.dns(7, "example.org", Some((0, "192.0.2.80")));
    world.dns(8, "example.org.shop.svc.cluster.local", None);
    world.dns(8, "example.org.shop.svc.cluster.local", Some((3, "")));
    world.wait_ms(60);
    let messages: Vec<&Flow> = world.flows.iter().filter(|flow| flow.l7.is_some()).collect();
    insta::assert_snapshot!(json(messages[1]));
    let arrows: Vec<_> = messages.iter().map(|flow| flow.is_reply).collect();
    assert_eq!(arrows, [Some(false), Some(true), Some(false), Some(true)]);
    assert_eq!(summary(messages[0]), "DNS Query example.org. A");
    assert_eq!(summary(messages[1]), "DNS Answer \"192.0.2.80\" TTL: 30 (Query example.org. A)");
    let name = "example.org.shop.svc.cluster.local.";
    assert_eq!(
        summary(messages[3]),
        format!("DNS Answer RCode: Non-Existent Domain TTL: 0 (Query {name} A)")
    );
    assert_eq!(weir(messages[1]).dns_latency_ns, 10_000);
    // What was learnt names the address outside, for the pod that asked.
    converse(&mut world, &world::TO_OUTSIDE);
    assert_eq!(world.last().destination_names, ["example.org"]);
    assert_eq!(world.last().ip.as_ref().unwrap().source_xlated, "192.168.0.1");
}

fn summary(flow: &Flow) -> &str {
    #[expect(deprecated, reason = "Hubble's printers show this field")]
    &flow.summary
}

#[test]
fn places_have_no_hole_and_times_never_go_back() {
    let mut world = World::on("worker-1");
    converse(&mut world, &world::TO_REMOTE);
    world.now -= 900_000_000_000;
    converse(&mut world, &LOCAL_CALL);
    assert!(world.flows.len() >= 4);
    let mut newest = 0;
    for (index, flow) in world.flows.iter().enumerate() {
        let place: Place = flow.uuid.parse().unwrap();
        assert_eq!((place.run(), place.seq()), (1, index as u64 + 1));
        let time = weir_proto::time::unix_nanos(flow.time.as_ref().unwrap());
        assert!(time >= newest);
        newest = time;
    }
}

#[test]
fn the_same_packets_give_the_same_bytes() {
    let bytes = || {
        let mut world = World::on("worker-1");
        converse(&mut world, &world::TO_REMOTE);
        world.conntrack(&world::NODE_PORT);
        converse(&mut world, &world::NODE_PORT);
        world.flows.iter().flat_map(Message::encode_to_vec).collect::<Vec<u8>>()
    };
    assert_eq!(bytes(), bytes());
}

#[test]
fn how_often_time_is_told_changes_nothing() {
    let bytes = |step: u64| {
        let mut world = World::on("worker-1");
        world.forward(&world::TO_REMOTE, SYN, 100);
        for _ in 0..12_000 / step {
            world.wait_ms(step);
        }
        world.reverse(&world::TO_REMOTE, SYN_ACK, 900);
        for _ in 0..12_000 / step {
            world.wait_ms(step);
        }
        world.flows.iter().flat_map(Message::encode_to_vec).collect::<Vec<u8>>()
    };
    let once = bytes(12_000);
    assert_eq!(once, bytes(1));
    assert_eq!(once, bytes(20));
}

#[test]
fn a_verdict_never_comes_without_evidence() {
    let routes: [&Route; 6] = [
        &world::TO_REMOTE,
        &world::FROM_REMOTE,
        &world::DIRECT,
        &LOCAL_CALL,
        &world::TO_OUTSIDE,
        &world::FROM_MASQUERADE,
    ];
    for route in routes {
        for steps in 1..=3 {
            let mut world = World::on("worker-1");
            world.forward(route, SYN, 100);
            if steps > 1 {
                world.reverse(route, if steps == 2 { SYN_ACK } else { RST_ACK }, 900);
            }
            world.wait_ms(60);
            world.finish();
            for flow in &world.flows {
                let claims = flow.verdict() != Verdict::Traced;
                assert!(!claims || !weir(flow).evidence.is_empty());
                assert_eq!(flow.is_reply, Some(false));
            }
        }
    }
}

#[test]
fn names_are_plain_in_the_default_cluster_only() {
    let mut world = World::in_cluster("blue", "worker-1");
    world.forward(&LOCAL_CALL, SYN, 1);
    world.wait_ms(60);
    assert_eq!(world.last().node_name, "blue/worker-1");
    assert_eq!(world.last().source.as_ref().unwrap().cluster_name, "blue");
    let hop: &Hop = &LOCAL_CALL[0];
    assert_eq!(weir(world.last()).path[0].source, hop.source);
    assert_eq!(CLIENT, hop.source);
}
