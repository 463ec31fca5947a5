//! What policies say of whole conversations, and what became of it.

use weir_cluster::object::{
    NetworkPolicy, Object, ObjectName, Operator, Peer, PolicyPort, PortMatch, Requirement, Rule, Selector,
};
use weir_cluster::{Protocol, UnixNanos};
use weir_proto::flow::{Flow, Policy, TrafficDirection, Verdict};
use weir_proto::weir::v1::{
    PolicyConflict, PolicyDirection, PolicyJudgement, PolicyOutcome, PolicyRuling, Reason,
};

use super::world::{self, ACK, FIN_ACK, RST_ACK, SYN, SYN_ACK, World};
use super::{converse, weir};

const POLICY_VERDICT: i32 = 5;

fn app(name: &str) -> Selector {
    let operator = Operator::In(vec![name.into()]);
    Selector { requirements: vec![Requirement { key: "app".into(), operator }] }
}

/// Lets pods of `from` in on a port of TCP.
fn ingress(name: &str, to: &str, from: &str, port: u16) -> NetworkPolicy {
    let peers = vec![Peer::Pods { namespaces: None, pods: Some(app(from)) }];
    let ports = vec![PolicyPort { protocol: Protocol::Tcp, port: PortMatch::Numbers(port..=port) }];
    NetworkPolicy {
        name: ObjectName::new("shop", name),
        generation: 3,
        resource_version: "4711".into(),
        selects: app(to),
        ingress: Some(vec![Rule { peers, ports }]),
        egress: None,
        unknown_field: None,
    }
}

fn no_egress(name: &str, of: &str) -> NetworkPolicy {
    NetworkPolicy { ingress: None, egress: Some(Vec::new()), ..ingress(name, of, "nobody", 1) }
}

fn on(node: &str, policies: &[NetworkPolicy]) -> World {
    let mut world = World::on(node);
    world.knows(policies.iter().cloned().map(Object::NetworkPolicy), UnixNanos::ZERO);
    world
}

fn verdicts(world: &World) -> Vec<&Flow> {
    world.flows.iter().filter(|flow| flow.event_type.unwrap().r#type == POLICY_VERDICT).collect()
}

fn names(policies: &[Policy]) -> Vec<String> {
    policies.iter().map(|policy| format!("{}/{}", policy.namespace, policy.name)).collect()
}

fn only(judgements: &[PolicyJudgement]) -> &PolicyJudgement {
    let [judgement] = judgements else { panic!("{judgements:?}") };
    judgement
}

#[test]
fn an_allowed_call_names_the_policy_and_its_rule_on_every_flow_and_has_one_verdict() {
    let mut world = on("worker-2", &[ingress("api-in", "api", "web", 8080)]);
    converse(&mut world, &world::FROM_REMOTE);
    let [verdict] = verdicts(&world)[..] else { panic!("{:?}", world.flows) };
    assert_eq!(verdict.verdict(), Verdict::Forwarded);
    assert_eq!(verdict.traffic_direction(), TrafficDirection::Ingress);
    assert_eq!(names(&verdict.ingress_allowed_by), ["shop/api-in"]);
    assert_eq!((verdict.policy_match_type, weir(verdict).reason()), (2, Reason::Policy));
    assert_eq!(weir(verdict).delta, Some(weir_proto::weir::v1::Counters::default()));
    for flow in &world.flows {
        let judgement = only(&weir(flow).policies);
        assert_eq!(
            (judgement.direction(), judgement.ruling()),
            (PolicyDirection::Ingress, PolicyRuling::Allowed)
        );
        let opinion = &judgement.opinions[0];
        assert_eq!((opinion.generation, &*opinion.resource_version), (3, "4711"));
        assert_eq!((opinion.rule, opinion.peer, opinion.port), (Some(0), Some(0), Some(0)));
    }
    let numbers: Vec<_> = world.flows.iter().map(|flow| flow.uuid.clone()).collect();
    assert!(numbers.is_sorted(), "places have no hole: {numbers:?}");
}

#[test]
fn each_node_judges_its_own_pods_direction_alone() {
    let policies = [ingress("api-in", "api", "web", 8080), no_egress("web-out", "web")];
    let mut client = on("worker-1", &policies);
    converse(&mut client, &world::TO_REMOTE);
    let judgement = only(&weir(client.last()).policies);
    assert_eq!((judgement.direction(), judgement.ruling()), (PolicyDirection::Egress, PolicyRuling::Denied));
    assert_eq!(judgement.opinions[0].outcome(), PolicyOutcome::Misses);
    let mut server = on("worker-2", &policies);
    converse(&mut server, &world::FROM_REMOTE);
    let judgement = only(&weir(server.last()).policies);
    assert_eq!(
        (judgement.direction(), judgement.ruling()),
        (PolicyDirection::Ingress, PolicyRuling::Allowed)
    );
}

#[test]
fn both_directions_are_judged_where_both_pods_are_here() {
    let mut world = on("worker-1", &[ingress("api-in", "api", "web", 8080)]);
    converse(&mut world, &world::LOCAL_CALL);
    let rulings: Vec<_> =
        weir(world.last()).policies.iter().map(|it| (it.direction(), it.ruling())).collect();
    let expected =
        [(PolicyDirection::Egress, PolicyRuling::Open), (PolicyDirection::Ingress, PolicyRuling::Allowed)];
    assert_eq!(rulings, expected);
    assert_eq!(verdicts(&world).len(), 1, "what is open has no verdict");
}

#[test]
fn denied_and_delivered_is_audit_at_once_and_a_disagreement_after_five_seconds() {
    let mut world = on("worker-2", &[ingress("api-in", "api", "other", 8080)]);
    converse(&mut world, &world::FROM_REMOTE);
    let [verdict] = verdicts(&world)[..] else { panic!("{:?}", world.flows) };
    let denied = only(&weir(verdict).policies);
    assert_eq!(
        denied.remedy,
        "a policy that selects shop/api-2 with an ingress rule from pods with app=web in namespace shop on TCP 8080 would \
         allow it"
    );
    assert_eq!(
        denied.opinions[0].why,
        "rule 0 means others: its peer 0 asks for pods with app=other, and this one has app=web"
    );
    assert_eq!(
        (verdict.verdict(), names(&verdict.ingress_denied_by)),
        (Verdict::Audit, vec!["shop/api-in".to_owned()])
    );
    assert!(world.flows.iter().all(|flow| weir(flow).disagreements.is_empty()), "not within 5 s");
    world.wait_ms(5000);
    let last = weir(world.last());
    assert!(last.correction && last.reason() == Reason::End, "{last:?}");
    let [disagreement] = &last.disagreements[..] else { panic!("{last:?}") };
    assert_eq!(disagreement.conflict(), PolicyConflict::DeniedButDelivered);
    assert_eq!(
        disagreement.sentence,
        "ingress of shop/api-2 is denied by default, which shop/api-in brought about, and yet it was delivered: nothing on its way \
         enforces that"
    );
}

#[test]
fn nothing_is_a_disagreement_near_a_change_of_what_it_rests_on() {
    for at_ms in [-4000_i64, 4000] {
        let mut world = on("worker-2", &[]);
        let policy = Object::NetworkPolicy(ingress("api-in", "api", "other", 8080));
        let again = NetworkPolicy { generation: 4, ..ingress("api-in", "api", "other", 8080) };
        if at_ms < 0 {
            let before = world.now - 4_000_000_000;
            world.knows([policy], UnixNanos::from_nanos(before));
            converse(&mut world, &world::FROM_REMOTE);
        } else {
            world.knows([policy], UnixNanos::ZERO);
            converse(&mut world, &world::FROM_REMOTE);
            world.wait_ms(3000);
            let now = UnixNanos::from_nanos(world.now);
            world.knows([Object::NetworkPolicy(again)], now);
        }
        world.wait_ms(20_000);
        assert_eq!(verdicts(&world)[0].verdict(), Verdict::Audit);
        assert!(world.flows.iter().all(|flow| weir(flow).disagreements.is_empty()), "change at {at_ms} ms");
    }
}

#[test]
fn denied_and_nothing_observed_is_no_verdict_with_the_policies_named() {
    let mut world = on("worker-2", &[ingress("api-in", "api", "other", 8080)]);
    world.forward(&world::FROM_REMOTE[..2], SYN, 100);
    world.wait_ms(8000);
    let [verdict] = verdicts(&world)[..] else { panic!("{:?}", world.flows) };
    assert_eq!(verdict.verdict(), Verdict::Unknown);
    assert_eq!(names(&verdict.ingress_denied_by), ["shop/api-in"]);
    assert!(world.flows.iter().all(|flow| weir(flow).disagreements.is_empty()));
}

#[test]
fn a_connection_joined_mid_stream_is_judged_and_never_contradicts() {
    let mut world = on("worker-2", &[ingress("api-in", "api", "other", 8080)]);
    world.forward(&world::FROM_REMOTE, ACK, 101);
    world.reverse(&world::FROM_REMOTE, ACK, 901);
    world.forward(&world::FROM_REMOTE, FIN_ACK, 101);
    world.reverse(&world::FROM_REMOTE, FIN_ACK, 901);
    world.wait_ms(9000);
    assert_eq!(verdicts(&world).len(), 0);
    let last = weir(world.last());
    assert_eq!(only(&last.policies).ruling(), PolicyRuling::Denied);
    assert!(last.disagreements.is_empty());
}

#[test]
fn what_held_at_the_first_packet_stays_whatever_changes_later() {
    let mut world = on("worker-2", &[ingress("api-in", "api", "web", 8080)]);
    world.forward(&world::FROM_REMOTE, SYN, 100);
    world.reverse(&world::FROM_REMOTE, SYN_ACK, 900);
    world.forward(&world::FROM_REMOTE, ACK, 101);
    world.wait_ms(200);
    let now = UnixNanos::from_nanos(world.now);
    world.knows([Object::NetworkPolicy(ingress("api-in", "api", "other", 8080))], now);
    world.reverse(&world::FROM_REMOTE, RST_ACK, 901);
    world.wait_ms(1000);
    assert_eq!(only(&weir(world.last()).policies).ruling(), PolicyRuling::Allowed);
}

#[test]
fn what_there_is_no_room_to_remember_is_judged_anew_and_never_called_open() {
    let mut world = on("worker-2", &[ingress("api-in", "api", "other", 8080)]);
    world.remembers(0);
    converse(&mut world, &world::FROM_REMOTE);
    world.wait_ms(9000);
    assert_eq!(verdicts(&world).len(), 1);
    for flow in &world.flows {
        assert_eq!(only(&weir(flow).policies).ruling(), PolicyRuling::Denied);
        assert!(weir(flow).disagreements.is_empty());
    }
}

#[test]
fn what_there_was_no_room_for_is_not_called_open_once_there_is_room_again() {
    let mut world = on("worker-2", &[ingress("api-in", "api", "other", 8080)]);
    world.remembers(1);
    converse(&mut world, &world::FROM_REMOTE);
    // Another client port: a second connection, begun while the first is still remembered.
    let second = world::FROM_REMOTE.map(|hop| hop.of("10.244.1.5:40001"));
    world.forward(&second, SYN, 500);
    world.reverse(&second, SYN_ACK, 700);
    world.forward(&second, ACK, 501);
    world.wait_ms(30_000);
    world.forward(&second, FIN_ACK, 501);
    world.reverse(&second, FIN_ACK, 701);
    world.wait_ms(1000);
    let connection = weir(world.last()).connection_id;
    let of_second: Vec<_> =
        world.flows.iter().map(weir).filter(|it| it.connection_id == connection).collect();
    assert!(of_second.len() > 2 && connection == 2, "{of_second:?}");
    for flow in of_second {
        assert_eq!(only(&flow.policies).ruling(), PolicyRuling::Denied, "{:?}", flow.reason());
    }
}
