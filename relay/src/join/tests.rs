//! What belongs together, what does not, and what the row of it says.

use std::time::Duration;

use weir_proto::flow::{Endpoint, Flow, FlowType, Ip, Layer7, Service, Verdict};
use weir_proto::weir::v1::{
    Connection, ConnectionState, Counters, Evidence, FlowDetail, KernelDrop, Nat, NatSource, Observation,
    Reason, ServiceRef, Tcp,
};

use super::*;

mod policy;
mod translated;

use crate::moment::UnixNanos;
use crate::node::Place;

const KEY: u64 = 0xfeed;
const SECOND: i64 = 1_000_000_000;

fn at(seconds: f64) -> Option<prost_types::Timestamp> {
    Some(UnixNanos(1_000 * SECOND + crate::moment::nanos(Duration::from_secs_f64(seconds))).to_timestamp())
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A flow of a TCP connection from a pod on n1 to a pod on n2 that began at `first` s and was last seen a second later.
fn seen_by(node: &str, isn: u32, first: f64) -> Flow {
    Flow {
        time: at(first + 1.0),
        node_name: node.into(),
        verdict: Verdict::Forwarded.into(),
        ip: Some(Ip { source: "10.244.0.5".into(), destination: "10.244.1.7".into(), ..Ip::default() }),
        weir: Some(FlowDetail {
            join_key: KEY,
            reason: Reason::Settled.into(),
            state: ConnectionState::Established.into(),
            first_packet: at(first),
            last_packet: at(first + 1.0),
            counts: node == "n1",
            source_node: "n1".into(),
            destination_node: "n2".into(),
            tcp: (isn > 0).then(|| Tcp {
                client_isn: isn,
                server_isn: isn + 1,
                isn_known: true,
                ..Tcp::default()
            }),
            ..FlowDetail::default()
        }),
        ..Flow::default()
    }
}

fn with(mut flow: Flow, change: impl FnOnce(&mut FlowDetail)) -> Flow {
    change(flow.weir.as_mut().unwrap());
    flow
}

#[derive(Default)]
struct Nodes {
    join: Option<Join>,
    seq: u64,
}

impl Nodes {
    fn join(&mut self) -> &mut Join {
        self.join.get_or_insert_with(|| Join::new(Settings::default()))
    }

    /// `node` tells of its connection number `connection`, in `run`.
    fn tell_in(&mut self, node: &str, run: u64, connection: u64, flow: Flow, now: Duration) {
        self.seq += 1;
        let flow = with(flow, |detail| detail.connection_id = connection);
        let record = Record::of_flow(node, Place { run, seq: self.seq }, &flow);
        self.join().apply(&record, now);
    }

    fn tell(&mut self, node: &str, connection: u64, flow: Flow) {
        self.tell_in(node, 1, connection, flow, Duration::ZERO);
    }

    fn rows(&mut self) -> Vec<Connection> {
        self.join().all().iter().map(compose::connection).collect()
    }

    fn only(&mut self) -> Connection {
        let mut rows = self.rows();
        assert_eq!(rows.len(), 1, "{rows:#?}");
        rows.remove(0)
    }
}

fn service(exact: bool) -> Vec<ServiceRef> {
    vec![ServiceRef { name: "api".into(), namespace: "shop".into(), port_name: String::new(), exact }]
}

#[test]
fn a_call_to_a_cluster_ip_with_a_remote_backend_is_one_row() {
    let mut nodes = Nodes::default();
    let client = with(seen_by("n1", 100, 0.0), |detail| {
        detail.services = service(true);
        detail.nat = Some(Nat { vip: "10.96.0.9".into(), vip_port: 80, source: 1, ..Nat::default() });
        detail.total = Some(Counters { packets_forward: 6, ..Counters::default() });
    });
    let server = with(seen_by("n2", 100, 0.001), |detail| {
        detail.services = service(false);
        detail.total = Some(Counters { packets_forward: 5, ..Counters::default() });
    });
    let pod = |name: &str| Some(Endpoint { pod_name: name.into(), ..Endpoint::default() });
    nodes.tell("n2", 9, Flow { destination: pod("api-1"), ..server });
    nodes.tell("n1", 3, Flow { source: pod("web-1"), ..client });
    let row = nodes.only();
    let names: Vec<_> = row.sightings.iter().map(|flow| flow.node_name.as_str()).collect();
    assert_eq!(names, ["n1", "n2"], "client's side first");
    let flow = row.flow.unwrap();
    assert_eq!((flow.source, flow.destination), (pod("web-1"), pod("api-1")));
    assert_eq!(flow.destination_service, Some(Service { name: "api".into(), namespace: "shop".into() }));
    let detail = flow.weir.unwrap();
    assert_eq!(detail.services, service(true), "confirmed");
    assert_eq!(detail.total.unwrap().packets_forward, 6, "of the node that counts");
    let nat = detail.nat.unwrap();
    assert_eq!(
        (nat.vip.as_str(), nat.source()),
        ("10.96.0.9", NatSource::Conntrack),
        "the base knew it itself"
    );
}

#[test]
fn a_direct_call_has_no_service_whatever_the_backend_infers() {
    let mut nodes = Nodes::default();
    let inferred = Some(Service { name: "api".into(), namespace: "shop".into() });
    let server = with(seen_by("n2", 100, 0.0), |detail| detail.services = service(false));
    nodes.tell("n2", 9, Flow { destination_service: inferred.clone(), ..server });
    assert_eq!(
        nodes.only().flow.unwrap().destination_service,
        inferred,
        "as long as the client is not heard"
    );
    nodes.tell("n1", 3, seen_by("n1", 100, 0.0));
    let flow = nodes.only().flow.unwrap();
    assert_eq!(flow.destination_service, None);
    assert_eq!(flow.weir.unwrap().services, []);
}

#[test]
fn a_node_port_call_with_masquerade_keeps_the_outside_client() {
    let mut nodes = Nodes::default();
    let masquerade = Nat {
        vip: "192.0.2.1".into(),
        vip_port: 30_080,
        masquerade: "10.244.0.0".into(),
        masquerade_port: 40_000,
        source: 1,
        ..Nat::default()
    };
    let entry = with(seen_by("n1", 5, 0.0), |detail| {
        detail.nat = Some(masquerade.clone());
        detail.services = service(true);
        detail.source_node = String::new();
    });
    let outside = Ip { source: "198.51.100.7".into(), destination: "10.244.1.7".into(), ..Ip::default() };
    let server = with(seen_by("n2", 5, 0.0), |detail| detail.services = service(false));
    let as_seen = Ip { source: "10.244.0.0".into(), destination: "10.244.1.7".into(), ..Ip::default() };
    nodes.tell("n2", 1, Flow { ip: Some(as_seen), ..server });
    nodes.tell("n1", 1, Flow { ip: Some(outside), ..entry });
    let flow = nodes.only().flow.unwrap();
    let ip = flow.ip.unwrap();
    assert_eq!((ip.source.as_str(), ip.source_xlated.as_str()), ("198.51.100.7", "10.244.0.0"));
    assert_eq!(flow.weir.unwrap().nat, Some(masquerade));
}

#[test]
fn a_nat_that_only_another_node_knows_was_learnt_by_the_join() {
    let mut nodes = Nodes::default();
    nodes.tell("n1", 1, seen_by("n1", 5, 0.0));
    let nat = Nat { vip: "10.96.0.9".into(), vip_port: 80, source: 1, ..Nat::default() };
    nodes.tell("n2", 1, with(seen_by("n2", 5, 0.0), |detail| detail.nat = Some(nat)));
    let nat = nodes.only().flow.unwrap().weir.unwrap().nat.unwrap();
    assert_eq!((nat.vip.as_str(), nat.source()), ("10.96.0.9", NatSource::Join));
}

#[test]
fn a_tuple_used_again_within_seconds_is_another_connection() {
    let mut nodes = Nodes::default();
    for (connection, isn, first) in [(1, 100, 0.0), (2, 200, 1.5)] {
        nodes.tell("n1", connection, seen_by("n1", isn, first));
    }
    // The other node tells later, and in the other order.
    nodes.tell("n2", 8, seen_by("n2", 200, 1.5));
    nodes.tell("n2", 7, seen_by("n2", 100, 0.0));
    let rows = nodes.rows();
    assert_eq!(rows.len(), 2);
    for row in rows {
        let isns: Vec<_> =
            row.sightings.iter().map(|f| f.weir.as_ref().unwrap().tcp.as_ref().unwrap().client_isn).collect();
        assert_eq!(isns.len(), 2);
        assert_eq!(isns[0], isns[1]);
    }
}

#[test]
fn without_sequence_numbers_lifetimes_decide_with_two_seconds_of_skew() {
    let mut nodes = Nodes::default();
    nodes.tell("n1", 1, seen_by("n1", 0, 10.0));
    nodes.tell("n2", 1, seen_by("n2", 0, 12.0));
    assert_eq!(nodes.only().sightings.len(), 2);
    nodes.tell("n2", 2, seen_by("n2", 0, 60.0));
    assert_eq!(nodes.rows().len(), 2, "a minute later it is another");
}

#[test]
fn ten_requests_on_three_nodes_are_ten_connections() {
    let mut nodes = Nodes::default();
    for connection in 1..=10_u32 {
        for node in ["n3", "n1", "n2"] {
            let flow = seen_by(node, 100 * connection, f64::from(connection) * 0.01);
            nodes.tell(
                node,
                connection.into(),
                with(flow, |detail| detail.join_key = KEY + u64::from(connection)),
            );
        }
    }
    let rows = nodes.rows();
    assert_eq!(rows.len(), 10);
    for row in rows {
        let names: Vec<_> = row.sightings.iter().map(|flow| flow.node_name.as_str()).collect();
        assert_eq!(names, ["n1", "n3", "n2"], "client, between, server");
    }
}

#[test]
fn the_verdict_is_that_of_the_strongest_evidence() {
    let evidence = |observation: Observation| {
        vec![Evidence { observation: observation.into(), time: at(0.0), detail: String::new(), icmp: None }]
    };
    let mut nodes = Nodes::default();
    let unanswered = with(seen_by("n1", 5, 0.0), |detail| {
        detail.evidence = evidence(Observation::Unanswered);
        detail.state = ConnectionState::Unanswered.into();
    });
    let logged = with(seen_by("n2", 5, 0.0), |detail| {
        detail.evidence = evidence(Observation::Logged);
        detail.rule_names = vec!["deny:shop/api".into()];
    });
    nodes.tell("n1", 1, Flow { verdict: Verdict::Traced.into(), ..unanswered });
    nodes.tell("n2", 1, Flow { verdict: Verdict::Dropped.into(), ..logged });
    let flow = nodes.only().flow.unwrap();
    assert_eq!(flow.verdict(), Verdict::Dropped);
    let detail = flow.weir.unwrap();
    let kinds: Vec<_> = detail.evidence.iter().map(Evidence::observation).collect();
    assert_eq!(kinds, [Observation::Logged, Observation::Unanswered]);
    assert_eq!(detail.rule_names, ["deny:shop/api"]);
}

#[test]
fn an_answer_that_the_clients_node_dropped_did_not_arrive() {
    let evidence = |observation: Observation| Evidence {
        observation: observation.into(),
        time: at(0.0),
        detail: String::new(),
        icmp: None,
    };
    let mut nodes = Nodes::default();
    let drop =
        KernelDrop { reason: "NETFILTER_DROP".into(), reply: true, loss: true, ..KernelDrop::default() };
    let here = with(seen_by("n1", 5, 0.0), |detail| {
        detail.evidence = vec![evidence(Observation::Answered), evidence(Observation::KernelDrop)];
        detail.kernel_drops = vec![drop.clone()];
    });
    let there = with(seen_by("n2", 5, 0.0), |detail| {
        detail.evidence = vec![evidence(Observation::Delivered), evidence(Observation::Answered)];
    });
    nodes.tell("n1", 1, Flow { verdict: Verdict::Dropped.into(), ..here.clone() });
    nodes.tell("n2", 1, there);
    let flow = nodes.only().flow.unwrap();
    assert_eq!(flow.verdict(), Verdict::Dropped);
    assert_eq!(flow.weir.unwrap().kernel_drops, [drop]);
    // It came again, and its node says so.
    nodes.tell("n1", 1, Flow { verdict: Verdict::Forwarded.into(), ..here });
    assert_eq!(nodes.only().flow.unwrap().verdict(), Verdict::Forwarded);
}

#[test]
fn a_message_belongs_to_its_connection_and_makes_none() {
    let mut nodes = Nodes::default();
    let message = Flow {
        l7: Some(Layer7 { latency_ns: 7, ..Layer7::default() }),
        r#type: FlowType::L7.into(),
        ..seen_by("n1", 0, 0.0)
    };
    nodes.tell("n1", 4, message.clone());
    assert_eq!((nodes.rows().len(), nodes.join().unattached()), (0, 1));
    nodes.tell("n1", 4, seen_by("n1", 0, 0.0));
    nodes.tell("n1", 4, message);
    let row = nodes.only();
    assert_eq!((row.revision, row.sightings.len()), (2, 1));
    assert_eq!(row.flow.unwrap().l7.unwrap().latency_ns, 7);
}

#[test]
fn it_is_over_when_no_node_will_tell_more() {
    let end = |node: &str| with(seen_by(node, 5, 0.0), |detail| detail.reason = Reason::End.into());
    let mut nodes = Nodes::default();
    nodes.tell("n1", 1, seen_by("n1", 5, 0.0));
    nodes.tell("n2", 1, seen_by("n2", 5, 0.0));
    nodes.tell("n1", 1, end("n1"));
    assert!(!nodes.only().ended, "n2 has not ended it");
    assert_eq!(nodes.join().next_due(), Some(Settings::default().silence));
    nodes.join().tick(ms(14_999));
    assert!(!nodes.only().ended);
    nodes.join().tick(ms(15_000));
    assert!(nodes.only().ended, "n2 said nothing for so long");
    let mut both = Nodes::default();
    both.tell("n1", 1, end("n1"));
    assert!(!both.only().ended, "n2 should have seen it too");
    both.tell("n2", 1, end("n2"));
    assert!(both.only().ended);
}

#[test]
fn a_restarted_daemon_goes_on_with_the_connection_it_finds() {
    let mut nodes = Nodes::default();
    nodes.tell("n1", 1, seen_by("n1", 5, 0.0));
    nodes.tell("n2", 1, seen_by("n2", 5, 0.0));
    nodes.tell_in("n1", 2, 1, seen_by("n1", 0, 0.5), ms(500));
    let row = nodes.only();
    assert_eq!((row.sightings.len(), row.ended), (2, false));
}

#[test]
fn what_a_killed_daemon_had_open_is_over_after_a_while() {
    let mut nodes = Nodes::default();
    nodes.tell("n1", 1, with(seen_by("n1", 5, 0.0), |detail| detail.destination_node = String::new()));
    nodes.tell_in("n1", 2, 1, with(seen_by("n1", 9, 60.0), |detail| detail.join_key = 1), ms(500));
    nodes.join().tick(ms(15_500));
    let ended: Vec<_> = nodes.rows().iter().map(|row| row.ended).collect();
    assert_eq!(ended, [false, true]);
}

#[test]
fn a_join_key_learnt_late_brings_the_views_together() {
    let mut nodes = Nodes::default();
    nodes.tell("n1", 1, with(seen_by("n1", 5, 0.0), |detail| detail.join_key = 1));
    nodes.tell("n2", 1, seen_by("n2", 5, 0.0));
    assert_eq!(nodes.rows().len(), 2);
    nodes.tell("n1", 1, seen_by("n1", 5, 0.0));
    let rows = nodes.rows();
    let sightings: Vec<_> = rows.iter().map(|row| (row.sightings.len(), row.ended)).collect();
    assert_eq!(sightings, [(0, true), (2, false)], "the first row's id is taken back");
}

#[test]
fn the_table_is_bounded_and_readers_skip_revisions_not_rows() {
    let mut nodes = Nodes { join: Some(Join::new(Settings { capacity: 3, ..Settings::default() })), seq: 0 };
    let tell = |nodes: &mut Nodes, n: u64| {
        nodes.tell("n1", n, with(seen_by("n1", 5, 0.0), |detail| detail.join_key = n));
    };
    for n in 1..=3 {
        tell(&mut nodes, n);
    }
    let first = nodes.join().changes_after(0, 0, 2);
    assert_eq!((first.rows.len(), first.missed), (2, 0));
    tell(&mut nodes, 1);
    tell(&mut nodes, 1);
    let rest = nodes.join().changes_after(first.cursor, 0, 10);
    let revisions: Vec<_> = rest.rows.iter().map(|row| row.revision).collect();
    assert_eq!(revisions, [1, 3]);
    tell(&mut nodes, 4);
    assert_eq!((nodes.join().len(), nodes.join().forgotten()), (3, 1));
    assert_eq!(nodes.join().changes_after(rest.cursor, 0, 10).missed, 0, "the forgotten row had been read");
    assert_eq!(nodes.join().changes_after(0, 0, 10).missed, 1);
}
