//! A whole relay against daemons that speak real gRPC over loopback and unix sockets.

use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Parser;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tonic::transport::Channel;
use tonic::{Code, Streaming};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use weir_proto::flow::Flow;
use weir_proto::observer::get_flows_response::ResponseTypes;
use weir_proto::observer::observer_client::ObserverClient;
use weir_proto::observer::*;
use weir_proto::relay::NodeState;
use weir_proto::weir::v1::connections_response::Response as Item;
use weir_proto::weir::v1::weir_client::WeirClient;
use weir_proto::weir::v1::{ConnectionsRequest, FlowDetail, GetFlowsOptions, Reason};

use self::daemon::{Daemon, Memory, Site};
use self::relay::Relay;
use super::App;
use crate::config::Args;
use crate::moment::UnixNanos;
use crate::peer::{self, PeerEvent};
use crate::status::Registry;
use crate::stop;

mod daemon;
mod policy;
mod relay;

const DEADLINE: Duration = Duration::from_secs(20);

async fn soon<T>(what: impl Future<Output = T>) -> T {
    timeout(DEADLINE, what).await.expect("in time")
}

fn uuids(messages: &[GetFlowsResponse]) -> Vec<String> {
    let uuid = |message: &GetFlowsResponse| match &message.response_types {
        Some(ResponseTypes::Flow(flow)) => Some(flow.uuid.clone()),
        _ => None,
    };
    messages.iter().filter_map(uuid).collect()
}

fn follow() -> GetFlowsRequest {
    GetFlowsRequest { follow: true, number: u64::MAX, ..GetFlowsRequest::default() }
}

fn two() -> (Daemon, Daemon, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let one = Daemon::start("n1", 5);
    let other = Daemon::with(Memory::new("n2", 6), Site::Unix(folder.path().join("n2.sock")));
    (one, other, folder)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_flows_of_all_nodes_are_one_ordered_stream() {
    let (n1, n2, _folder) = two();
    for ms in 0..50 {
        n1.tell_many(1000 + 2 * ms, 1);
        n2.tell_many(1001 + 2 * ms, 1);
    }
    let relay = Relay::with(&[&n1, &n2], &[]).await;
    relay.until_told(102).await;
    let all = relay.all(GetFlowsRequest::default()).await;
    let Some(ResponseTypes::NodeStatus(greeting)) = &all[0].response_types else { panic!("{:?}", all[0]) };
    assert_eq!(greeting.state_change(), NodeState::NodeConnected);
    assert_eq!(greeting.node_names, ["n1", "n2"]);
    let expected: Vec<_> = (1000..1100).map(|ms| ms.to_string()).collect();
    assert_eq!(uuids(&all), expected);
    assert!(all.iter().all(|message| message.weir.is_none()), "nobody asked for places");

    let places = GetFlowsRequest {
        weir: Some(GetFlowsOptions { places: true, resume_after: None }),
        ..GetFlowsRequest::default()
    };
    let last = relay.all(places).await.pop().unwrap().weir.unwrap();
    assert_eq!((last.node.as_str(), last.run, last.seq), ("n2", 6, 50));
    let resume = GetFlowsOptions {
        places: false,
        resume_after: Some(weir_proto::weir::v1::Place {
            node: "n1".into(),
            run: 5,
            seq: 49,
            ..Default::default()
        }),
    };
    let rest = relay.all(GetFlowsRequest { weir: Some(resume), ..GetFlowsRequest::default() }).await;
    assert_eq!(uuids(&rest), ["1097", "1098", "1099"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn number_counts_for_each_node_and_times_bound() {
    let (n1, n2, _folder) = two();
    n1.tell_many(1000, 10);
    n2.tell_many(2000, 10);
    let relay = Relay::with(&[&n1, &n2], &[]).await;
    relay.until_told(22).await;
    let ask = |request: GetFlowsRequest| async { uuids(&relay.all(request).await) };
    let at = |ms: i64| Some(UnixNanos(ms * 1_000_000).to_timestamp());
    let last = GetFlowsRequest { number: 2, ..Default::default() };
    assert_eq!(ask(last.clone()).await, ["1008", "1009", "2008", "2009"]);
    let first = GetFlowsRequest { first: true, number: 2, ..Default::default() };
    assert_eq!(ask(first.clone()).await, ["1000", "1001", "2000", "2001"]);
    let between = GetFlowsRequest { since: at(1008), until: at(2001), ..Default::default() };
    assert_eq!(ask(between).await, ["1008", "1009", "2000", "2001"]);
    let filter =
        weir_proto::flow::FlowFilter { uuid: vec!["1003".into(), "2004".into()], ..Default::default() };
    assert_eq!(
        ask(GetFlowsRequest { number: 1, whitelist: vec![filter], ..Default::default() }).await,
        ["1003", "2004"]
    );
    let error = relay.observer().get_flows(GetFlowsRequest { follow: true, ..first }).await.unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mask_leaves_time_and_node_of_the_message() {
    let n1 = Daemon::start("n1", 5);
    n1.tell(Flow { node_name: "n1".into(), ..flow(3, Reason::Settled) });
    let relay = Relay::with(&[&n1], &[]).await;
    relay.until_told(2).await;
    let mask = prost_types::FieldMask { paths: vec!["node_name".into()] };
    let all = relay.all(GetFlowsRequest { field_mask: Some(mask), ..Default::default() }).await;
    let message = all.last().unwrap();
    assert_eq!((message.node_name.as_str(), message.time.is_some()), ("n1", true));
    let only = Flow { node_name: "n1".into(), ..Flow::default() };
    assert_eq!(message.response_types, Some(ResponseTypes::Flow(only)));
    let wrong = prost_types::FieldMask { paths: vec!["no_such".into()] };
    let request = GetFlowsRequest { field_mask: Some(wrong), ..Default::default() };
    assert_eq!(relay.observer().get_flows(request).await.unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_break_no_flow_comes_twice_and_the_loss_is_exact() {
    let n1 = Daemon::start("n1", 5);
    n1.tell_many(1000, 10);
    let relay = Relay::with(&[&n1], &[]).await;
    let mut flows = relay.flows(follow()).await;
    for ms in 1000..1010 {
        assert_eq!(flows.next_flow().await, (ms.to_string(), 0));
    }
    // Only the connection breaks: the same run goes on, and the ring has forgotten two.
    let (mut memory, site) = n1.kill();
    let (state, names, message) = flows.next_status().await;
    assert_eq!((state, names), (NodeState::NodeUnavailable, vec!["n1".to_owned()]));
    assert!(!message.is_empty());
    memory.oldest = 13;
    let n1 = Daemon::with(memory, site);
    n1.tell_many(1010, 5);
    assert_eq!(flows.next_flow().await, ("1012".into(), 2));
    assert_eq!(flows.next_flow().await, ("1013".into(), 0));
    assert_eq!(flows.next_flow().await, ("1014".into(), 0));
    // Killed with three flows nobody read, and started anew.
    let (_, site) = n1.kill();
    assert_eq!(flows.next_status().await.0, NodeState::NodeUnavailable);
    let n1 = Daemon::with(Memory { previous: (5, 18), ..Memory::new("n1", 9) }, site);
    n1.tell_many(1020, 1);
    assert_eq!(flows.next_status().await.0, NodeState::NodeConnected);
    assert_eq!(flows.next_flow().await, ("1020".into(), 3));
    let status = relay.status().await;
    let peer = &status.weir.unwrap().peers[0];
    assert_eq!((peer.received, peer.lost, peer.reconnects), (14, 5, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_daemon_is_unavailable_within_five_seconds_and_comes_back() {
    let (n1, n2, _folder) = two();
    let relay = Relay::with(&[&n1, &n2], &[]).await;
    let mut flows = relay.flows(follow()).await;
    assert_eq!(flows.next_status().await.0, NodeState::NodeConnected);
    let started = Instant::now();
    let frozen = n1.freeze();
    loop {
        let (state, names, _) = flows.next_status().await;
        if state == NodeState::NodeUnavailable {
            assert_eq!(names, ["n1"]);
            break;
        }
    }
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    let status = relay.status().await;
    assert_eq!(
        (status.num_connected_nodes.unwrap_or(0), status.unavailable_nodes.as_slice()),
        (1, &["n1".to_owned()][..])
    );
    n2.tell_many(5000, 1);
    assert_eq!(flows.next_flow().await, ("5000".into(), 0), "the others go on");
    drop(frozen);
    n1.tell_many(6000, 1);
    assert_eq!(flows.next_flow().await, ("6000".into(), 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_accepts_and_never_speaks_is_unavailable_within_five_seconds() {
    let mute = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let started = Instant::now();
    let relay = Relay::start(&[format!("mute={}", mute.local_addr().unwrap())], &[]).await;
    let told =
        |status: &ServerStatusResponse| status.weir.as_ref().map(|weir| weir.peers[0].clone()).unwrap();
    let status = relay.until(|status| told(status).message != "not yet connected").await;
    assert!(started.elapsed() < Duration::from_secs(5));
    assert_eq!((told(&status).name.as_str(), told(&status).connected), ("mute", false));
}

/// One that says nothing must not hold the room in the channel that the others need, however few there is.
#[tokio::test(flavor = "multi_thread")]
async fn a_silent_daemon_holds_no_room_that_others_need() {
    let (n1, n2, _folder) = two();
    let (events, mut received) = mpsc::channel(1);
    let registry = Arc::new(Registry::default());
    let context = peer::Context { registry, events, schedule: peer::Schedule::default(), seed: 1 };
    let targets = [n1.peer(), n2.peer()].iter().map(|peer| peer.parse().unwrap()).collect();
    let (_targets, listening) = watch::channel(targets);
    let (_stop, stop) = stop::channel();
    let reading = tokio::spawn(peer::run(listening, context, stop));
    let mut connected = 0;
    while connected < 2 {
        connected += usize::from(matches!(soon(received.recv()).await.unwrap(), PeerEvent::Connected(_)));
    }
    n2.tell_many(1000, 3);
    let mut flows = 0;
    while flows < 3 {
        flows += usize::from(matches!(soon(received.recv()).await.unwrap(), PeerEvent::Flow(..)));
    }
    reading.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn two_addresses_of_one_daemon_give_no_flow_twice() {
    let n1 = Daemon::start("n1", 5);
    n1.tell_many(1000, 3);
    let Site::Tcp(address) = n1.address else { unreachable!() };
    let relay = Relay::start(&[format!("localhost:{}", address.port()), address.to_string()], &[]).await;
    relay
        .until(|s| s.weir.as_ref().is_some_and(|w| w.peers.iter().any(|p| p.message.contains("already"))))
        .await;
    relay.until_told(4).await;
    let status = relay.status().await;
    let counts = (status.num_connected_nodes, status.num_unavailable_nodes);
    assert_eq!(counts, (Some(1), Some(0)), "a node that is read is not missing under its other address");
    let nodes = relay.observer().get_nodes(GetNodesRequest {}).await.unwrap().into_inner().nodes;
    assert_eq!(nodes.len(), 1);
    assert_eq!(uuids(&relay.all(GetFlowsRequest::default()).await), ["1000", "1001", "1002"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn status_nodes_namespaces_and_health_tell_of_all_peers() {
    let (n1, n2, _folder) = two();
    n1.tell_many(1000, 3);
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let relay = Relay::start(&[n1.peer(), n2.peer(), format!("n3={gone}")], &[]).await;
    let status = relay.until(|status| status.num_connected_nodes.unwrap_or(0) == 2).await;
    assert_eq!((status.num_flows, status.max_flows, status.uptime_ns), (3, 2000, 6));
    assert_eq!(
        (status.num_unavailable_nodes.unwrap_or(0), status.unavailable_nodes.as_slice()),
        (1, &["n3".to_owned()][..])
    );
    let weir = status.weir.unwrap();
    let policy = weir.policy.unwrap();
    assert_eq!(
        (policy.policies, policy.denied),
        (3, 11),
        "the policies are the same, the judgements are not"
    );
    let peers = weir.peers;
    assert_eq!(peers[0].policy.unwrap().denied, 5);
    assert_eq!(peers.iter().map(|peer| peer.name.as_str()).collect::<Vec<_>>(), ["n1", "n2", "n3"]);

    let nodes = relay.observer().get_nodes(GetNodesRequest {}).await.unwrap();
    assert_eq!(nodes.metadata().get("hubble-relay-version").unwrap(), "1.19.0");
    let states: Vec<_> =
        nodes.into_inner().nodes.iter().map(|node| (node.name.clone(), node.state())).collect();
    let (up, down) = (NodeState::NodeConnected, NodeState::NodeUnavailable);
    assert_eq!(states, [("n1".into(), up), ("n2".into(), up), ("n3".into(), down)]);

    let spaces =
        relay.observer().get_namespaces(GetNamespacesRequest {}).await.unwrap().into_inner().namespaces;
    assert_eq!(spaces.iter().map(|ns| ns.namespace.as_str()).collect::<Vec<_>>(), ["n1", "n2", "shop"]);

    let agent = relay.observer().get_agent_events(GetAgentEventsRequest::default()).await.unwrap_err();
    assert_eq!(agent.code(), Code::Unimplemented);

    let mut health = HealthClient::new(relay.channel.clone());
    let request = HealthCheckRequest { service: "hubble.server.Observer".into() };
    let mut watching = health.watch(request).await.unwrap().into_inner();
    let mut expect =
        async |wanted| while soon(watching.message()).await.unwrap().unwrap().status() != wanted {};
    expect(ServingStatus::Serving).await;
    drop((n1, n2));
    expect(ServingStatus::NotServing).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_client_is_told_what_it_missed_and_delays_nobody() {
    const FLOWS: u64 = 10_000;
    let n1 = Daemon::start("n1", 5);
    let relay = Relay::with(&[&n1], &["--history-flows", "500"]).await;
    let mut slow = relay.flows(follow()).await;
    let mut quick = relay.flows(follow()).await;
    quick.next().await;
    // More than the windows of HTTP/2 hold.
    for ms in 0..i64::try_from(FLOWS).unwrap() {
        let time = Some(UnixNanos(ms * 1_000_000).to_timestamp());
        let policy_log = vec!["x".repeat(1000)];
        n1.tell(Flow { time, uuid: ms.to_string(), policy_log, ..Flow::default() });
    }
    relay.until_told(FLOWS).await;
    n1.tell_many(900_000, 1);
    let mut seen = 0;
    loop {
        let (uuid, lost) = quick.next_flow().await;
        seen += lost + 1;
        if uuid == "900000" {
            break;
        }
    }
    assert_eq!(seen, FLOWS + 1);
    let (mut told, mut missed) = (0, 0);
    loop {
        let (uuid, lost) = slow.next_flow().await;
        (told, missed) = (told + 1, missed + lost);
        if uuid == "900000" {
            break;
        }
    }
    assert!(missed > 0, "the client was meant to be too slow");
    assert_eq!(told + missed, FLOWS + 1);
}

/// A flow of connection `connection`, as seen by a node.
fn flow(connection: u64, reason: Reason) -> Flow {
    let time = Some(UnixNanos(7_000_000_000).to_timestamp());
    Flow {
        time,
        uuid: format!("c{connection}"),
        weir: Some(FlowDetail {
            connection_id: connection,
            join_key: 77,
            reason: reason.into(),
            first_packet: time,
            last_packet: time,
            source_node: "n1".into(),
            destination_node: "n2".into(),
            ..FlowDetail::default()
        }),
        ..Flow::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_views_are_one_connection_and_changes_follow() {
    let (n1, n2, _folder) = two();
    let relay = Relay::with(&[&n1, &n2], &[]).await;
    let mut rows = relay.connections(ConnectionsRequest { follow: true, ..Default::default() }).await;
    let mut next = async || loop {
        if let Some(Item::Connection(row)) = soon(rows.message()).await.unwrap().unwrap().response {
            return row;
        }
    };
    n1.tell(flow(1, Reason::Settled));
    let one = next().await;
    assert_eq!((one.revision, one.sightings.len(), one.ended), (1, 1, false));
    n2.tell(flow(9, Reason::Settled));
    let both = next().await;
    assert_eq!((both.id == one.id, both.revision, both.sightings.len()), (true, 2, 2));
    n2.tell(flow(9, Reason::End));
    n1.tell(flow(1, Reason::End));
    let mut row = next().await;
    while !row.ended {
        row = next().await;
    }
    assert_eq!(row.id, one.id);
    let mut all = relay.connections(ConnectionsRequest { number: 5, ..Default::default() }).await;
    let Some(Item::Connection(only)) = soon(all.message()).await.unwrap().unwrap().response else { panic!() };
    assert_eq!((only.id, only.revision), (row.id, row.revision));
    assert!(soon(all.message()).await.unwrap().is_none());
    let (_, _) = n2.kill();
    loop {
        match soon(rows.message()).await.unwrap().unwrap().response {
            Some(Item::Notice(notice)) if notice.message.starts_with("unavailable") => {
                assert_eq!(notice.node, "n2");
                break;
            }
            _ => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_ends_open_answers_within_the_deadline() {
    let n1 = Daemon::start("n1", 5);
    let relay = Relay::with(&[&n1], &[]).await;
    let mut flows = relay.flows(follow()).await;
    flows.next().await;
    let started = Instant::now();
    let cut_off = relay.app.stop(Duration::from_secs(10)).await;
    assert_eq!(cut_off, Vec::<&str>::new());
    assert!(started.elapsed() < Duration::from_secs(5));
    let end = loop {
        match soon(flows.0.message()).await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("an end without a reason"),
            Err(status) => break status,
        }
    };
    assert_eq!((end.code(), end.message()), (Code::Unavailable, "the relay is stopping"));
}
