//! The services as clients see them: a real server on loopback and on a unix socket.

mod answers;
mod listening;
mod world;

use std::time::Duration;

use prost_types::FieldMask;
use tonic::Code;
use weir_proto::flow::{Endpoint, Flow, FlowFilter, LostEvent, LostEventSource, Verdict};
use weir_proto::observer::get_flows_response::ResponseTypes;
use weir_proto::observer::observer_client::ObserverClient;
use weir_proto::observer::{
    GetAgentEventsRequest, GetFlowsRequest, GetFlowsResponse, GetNamespacesRequest, GetNodesRequest,
    ServerStatusRequest,
};
use weir_proto::weir::v1::{GetFlowsOptions, Place};

use super::{PeerNode, PreviousRun, Stopped};
use crate::ring::{Seq, timestamp_of};
use world::{RUN, World, flow, second, told};

/// Numbers of the flows and, negative, of the losses in a whole answer.
async fn ask(world: &World, request: GetFlowsRequest) -> Vec<i64> {
    let mut stream = world.observer().get_flows(request).await.unwrap().into_inner();
    let mut answer = Vec::new();
    while let Some(message) = stream.message().await.unwrap() {
        answer.push(told(&message));
    }
    answer
}

async fn next(stream: &mut tonic::Streaming<GetFlowsResponse>) -> GetFlowsResponse {
    tokio::time::timeout(Duration::from_secs(20), stream.message()).await.unwrap().unwrap().unwrap()
}

fn follow() -> GetFlowsRequest {
    GetFlowsRequest { follow: true, ..Default::default() }
}

fn resume_after(run: u64, seq: u64) -> GetFlowsRequest {
    let place = Place { run, seq, ..Default::default() };
    GetFlowsRequest {
        weir: Some(GetFlowsOptions { places: true, resume_after: Some(place) }),
        ..Default::default()
    }
}

fn lost(count: u64) -> LostEvent {
    let source = LostEventSource::PerfEventRingBuffer.into();
    LostEvent { source, num_events_lost: count, ..Default::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn start_and_number_are_hubbles() {
    let world = World::with_flows(100, 10).await;
    let request = GetFlowsRequest::default;
    assert_eq!(ask(&world, request()).await, (1..=10).collect::<Vec<_>>());
    assert_eq!(ask(&world, GetFlowsRequest { number: u64::MAX, ..request() }).await.len(), 10);
    assert_eq!(ask(&world, GetFlowsRequest { number: 3, ..request() }).await, [8, 9, 10]);
    assert_eq!(ask(&world, GetFlowsRequest { number: 3, first: true, ..request() }).await, [1, 2, 3]);
    let since = Some(timestamp_of(second(4)));
    assert_eq!(ask(&world, GetFlowsRequest { since, ..request() }).await, [4, 5, 6, 7, 8, 9, 10]);
    assert_eq!(ask(&world, GetFlowsRequest { since, number: 2, ..request() }).await, [4, 5]);
    assert_eq!(ask(&world, GetFlowsRequest { since, number: 2, first: true, ..request() }).await, [4, 5]);
    let until = Some(timestamp_of(second(6)));
    assert_eq!(ask(&world, GetFlowsRequest { since, until, ..request() }).await, [4, 5, 6]);
    assert_eq!(ask(&world, GetFlowsRequest { number: 5, until, ..request() }).await, [6]);
    let even = FlowFilter { verdict: vec![Verdict::Dropped.into()], ..Default::default() };
    assert_eq!(ask(&world, GetFlowsRequest { number: 2, whitelist: vec![even], ..request() }).await, [8, 10]);
}

#[tokio::test(flavor = "multi_thread")]
async fn contradictions_and_nonsense_are_refused_by_name() {
    let world = World::with_flows(10, 1).await;
    let refused = async |request: GetFlowsRequest| world.observer().get_flows(request).await.unwrap_err();
    let both = refused(GetFlowsRequest { first: true, ..follow() }).await;
    assert_eq!((both.code(), both.message().contains("first and follow")), (Code::InvalidArgument, true));
    let since = Some(prost_types::Timestamp { seconds: 0, nanos: -1 });
    let time = refused(GetFlowsRequest { since, ..Default::default() }).await;
    assert_eq!(
        (time.code(), time.message().starts_with("since: not a valid time")),
        (Code::InvalidArgument, true)
    );
    let port = FlowFilter { source_port: vec!["web".into()], ..Default::default() };
    let filter = refused(GetFlowsRequest { whitelist: vec![port], ..Default::default() }).await;
    assert_eq!((filter.code(), filter.message().contains("source_port")), (Code::InvalidArgument, true));
    let field_mask = Some(FieldMask { paths: vec!["verdikt".into()] });
    let mask = refused(GetFlowsRequest { field_mask, ..Default::default() }).await;
    assert_eq!((mask.code(), mask.message().contains("verdikt")), (Code::InvalidArgument, true));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_starts_at_the_newest_and_gets_the_next_at_once() {
    let mut world = World::with_flows(100, 10).await;
    let mut stream = world.observer().get_flows(follow()).await.unwrap().into_inner();
    assert_eq!(told(&next(&mut stream).await), 10);
    for number in 11..=13 {
        world.writer.push(flow(number));
        assert_eq!(told(&next(&mut stream).await), number as i64);
    }
    let back = GetFlowsRequest { number: 2, ..follow() };
    let mut stream = world.observer().get_flows(back).await.unwrap().into_inner();
    world.writer.push(flow(14));
    for number in [12, 13, 14] {
        assert_eq!(told(&next(&mut stream).await), number);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_ends_when_until_is_over() {
    let mut world = World::with_flows(100, 5).await;
    let until = Some(timestamp_of(second(7)));
    let since = Some(timestamp_of(second(4)));
    let mut stream =
        world.observer().get_flows(GetFlowsRequest { since, until, ..follow() }).await.unwrap().into_inner();
    for number in 6..=8 {
        world.writer.push(flow(number));
    }
    for number in 4..=7 {
        assert_eq!(told(&next(&mut stream).await), number);
    }
    assert_eq!(stream.message().await.unwrap(), None);
    // Nothing later ever comes: the clock ends it.
    let until = Some(timestamp_of(second(8)));
    assert_eq!(ask(&world, GetFlowsRequest { until, ..follow() }).await, [8]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_is_told_its_loss_to_the_unit() {
    const FLOWS: u64 = 20_000;
    let mut world = World::with_flows(200, 1).await;
    let mut stream = world.observer().get_flows(follow()).await.unwrap().into_inner();
    assert_eq!(told(&next(&mut stream).await), 1);
    // More than HTTP/2 windows and buffers hold, while the client reads nothing.
    for number in 2..=FLOWS {
        world.writer.push(Flow { node_labels: vec!["x".repeat(500)], ..flow(number) });
    }
    let (mut read, mut missed, mut last) = (1, 0, 1);
    while last < FLOWS {
        let message = next(&mut stream).await;
        match message.response_types.as_ref().unwrap() {
            ResponseTypes::LostEvents(lost) => {
                assert_eq!(lost.source(), LostEventSource::HubbleRingBuffer);
                assert_eq!(message.time, lost.last);
                missed += lost.num_events_lost;
            }
            ResponseTypes::Flow(_) => {
                read += 1;
                last = told(&message) as u64;
            }
            ResponseTypes::NodeStatus(_) => panic!("a node has no node status"),
        }
    }
    assert!(missed > 0, "the reader was not slow");
    // A loss within a second of another is told when the second is over.
    while read + missed < FLOWS {
        let message = next(&mut stream).await;
        let Some(ResponseTypes::LostEvents(lost)) = message.response_types else { panic!("no flow is left") };
        missed += lost.num_events_lost;
    }
    assert_eq!(read + missed, FLOWS);
}

#[tokio::test(flavor = "multi_thread")]
async fn resuming_goes_on_after_a_place_and_counts_what_is_forgotten() {
    let world = World::with_flows(4, 10).await;
    assert_eq!(ask(&world, resume_after(RUN, 8)).await, [9, 10]);
    assert_eq!(ask(&world, resume_after(RUN, 10)).await, [0_i64; 0]);
    assert_eq!(ask(&world, resume_after(RUN, 6)).await, [7, 8, 9, 10]);
    assert_eq!(ask(&world, resume_after(RUN, 2)).await, [-4, 7, 8, 9, 10]);
    assert_eq!(
        ask(&world, resume_after(RUN - 1, 2)).await,
        [-6, 7, 8, 9, 10],
        "another run says nothing of this one"
    );
    assert_eq!(ask(&world, resume_after(RUN, 99)).await, [0_i64; 0], "those up to 99 are known");
}

#[tokio::test(flavor = "multi_thread")]
async fn places_are_sent_to_who_asks_and_the_first_tells_of_the_run_before() {
    let world = World::with_flows(10, 3).await;
    let mut stream = world.observer().get_flows(resume_after(RUN, 1)).await.unwrap().into_inner();
    let place = Place { node: "node-a".into(), run: RUN, seq: 2, previous_run: 70, previous_seq: 700 };
    assert_eq!(next(&mut stream).await.weir, Some(place.clone()));
    let place = Place { seq: 3, previous_run: 0, previous_seq: 0, ..place };
    assert_eq!(next(&mut stream).await.weir, Some(place));
    let mut plain = world.observer().get_flows(GetFlowsRequest::default()).await.unwrap().into_inner();
    assert_eq!(next(&mut plain).await.weir, None);
    assert_eq!(world.run().previous, Some(PreviousRun { id: 70, last: Seq(700) }));
}

#[tokio::test(flavor = "multi_thread")]
async fn losses_of_the_capture_pass_filters_and_time_ranges_once_a_second() {
    let mut world = World::with_flows(100, 2).await;
    for count in [5, 6, 7] {
        world.writer.push_lost(lost(count));
    }
    world.writer.push(flow(3));
    let nothing = FlowFilter { source_pod: vec!["nowhere/".into()], ..Default::default() };
    let request = GetFlowsRequest { whitelist: vec![nothing], ..Default::default() };
    assert_eq!(ask(&world, request).await, [-5, -13]);
    assert_eq!(ask(&world, GetFlowsRequest { number: 3, ..Default::default() }).await, [1, 2, -5, 3, -13]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mask_leaves_the_envelope() {
    let world = World::with_flows(10, 1).await;
    let field_mask = Some(FieldMask { paths: vec!["source.namespace".into(), "verdict".into()] });
    let request = GetFlowsRequest { field_mask, ..resume_after(RUN, 0) };
    let mut stream = world.observer().get_flows(request).await.unwrap().into_inner();
    let message = next(&mut stream).await;
    let source = Some(Endpoint { namespace: "shop".into(), ..Default::default() });
    let masked = Flow { source, verdict: Verdict::Forwarded.into(), ..Default::default() };
    assert_eq!(message.response_types, Some(ResponseTypes::Flow(masked)));
    assert_eq!((message.node_name.as_str(), message.time), ("node-a", Some(timestamp_of(second(1)))));
    assert_eq!(message.weir.map(|place| place.seq), Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn status_tells_ring_run_and_pipeline() {
    let world = World::with_flows(4, 10).await;
    world.status.frames.store(77, std::sync::atomic::Ordering::Relaxed);
    world.status.notice("nflog", "group 5 belongs to another program");
    world.status.notice("conntrack", "no permission");
    world.status.settle("conntrack");
    let response = world.observer().server_status(ServerStatusRequest {}).await.unwrap();
    assert_eq!(response.metadata().get("hubble-server-version").unwrap(), "1.19.0");
    let status = response.into_inner();
    assert_eq!((status.num_flows, status.max_flows, status.seen_flows), (4, 4, 10));
    assert_eq!((status.num_connected_nodes, status.num_unavailable_nodes), (None, None));
    assert!(status.uptime_ns > 0);
    let detail = status.weir.unwrap();
    assert_eq!((detail.node.as_str(), detail.run, detail.seq, detail.frames), ("node-a", RUN, 10, 77));
    assert_eq!(detail.notices, ["group 5 belongs to another program"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn namespaces_are_named_and_what_a_node_has_not_is_said_so() {
    let world = World::recorded(10, 3).await;
    let namespaces =
        world.observer().get_namespaces(GetNamespacesRequest {}).await.unwrap().into_inner().namespaces;
    let names: Vec<_> =
        namespaces.iter().map(|found| (found.cluster.as_str(), found.namespace.as_str())).collect();
    assert_eq!(names, [("default", "batch"), ("default", "shop")]);
    let live = World::with_flows(10, 3).await;
    let namespaces =
        live.observer().get_namespaces(GetNamespacesRequest {}).await.unwrap().into_inner().namespaces;
    assert!(namespaces.is_empty(), "flows of 1970 are no news");
    let nodes = live.observer().get_nodes(GetNodesRequest {}).await.unwrap_err();
    let events = live.observer().get_agent_events(GetAgentEventsRequest::default()).await.unwrap_err();
    assert_eq!((nodes.code(), events.code()), (Code::Unimplemented, Code::Unimplemented));
}

#[tokio::test(flavor = "multi_thread")]
async fn peers_are_listed_and_their_changes_follow() {
    use weir_proto::peer::peer_client::PeerClient;
    use weir_proto::peer::{ChangeNotificationType as Type, NotifyRequest};
    let peer = |name: &str, port: u16, tls: &str| PeerNode {
        name: name.into(),
        address: format!("10.0.0.1:{port}"),
        tls_server_name: tls.into(),
    };
    let world = World::with_flows(10, 0).await;
    world.peers.send_replace(vec![peer("a", 1, ""), peer("b", 1, "b.tls")]);
    let mut changes =
        PeerClient::new(world.channel.clone()).notify(NotifyRequest {}).await.unwrap().into_inner();
    let mut told = async || {
        let change = changes.message().await.unwrap().unwrap();
        (
            change.r#type(),
            change.name,
            change.address,
            change.tls.map_or(String::new(), |tls| tls.server_name),
        )
    };
    assert_eq!(told().await, (Type::PeerAdded, "a".into(), "10.0.0.1:1".into(), String::new()));
    assert_eq!(told().await, (Type::PeerAdded, "b".into(), "10.0.0.1:1".into(), "b.tls".into()));
    world.peers.send_replace(vec![peer("b", 2, "b.tls"), peer("c", 1, "")]);
    assert_eq!(told().await.0, Type::PeerDeleted);
    assert_eq!(told().await, (Type::PeerUpdated, "b".into(), "10.0.0.1:2".into(), "b.tls".into()));
    assert_eq!(told().await.1, "c");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_takes_nothing_does_not_hold_up_the_others_nor_the_end() {
    let mut world = World::with_flows(50_000, 1).await;
    let stuck = world.observer().get_flows(follow()).await.unwrap().into_inner();
    for number in 2..=20_000 {
        world.writer.push(Flow { node_labels: vec!["x".repeat(500)], ..flow(number) });
    }
    let other = world::connect(&world.server).await;
    let request = GetFlowsRequest { number: 1, ..Default::default() };
    let mut newest = ObserverClient::new(other).get_flows(request).await.unwrap().into_inner();
    assert_eq!(told(&next(&mut newest).await), 20_000);
    assert_eq!(world.server.stop(Duration::from_millis(200)).await, Stopped::DeadlineOver);
    drop(stuck);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_beyond_all_bounds_is_refused_and_the_next_one_answered() {
    let world = World::with_flows(10, 1).await;
    let filter = FlowFilter { uuid: vec!["x".repeat(2 << 20)], ..Default::default() };
    let request = GetFlowsRequest { whitelist: vec![filter], ..Default::default() };
    let refused = world.observer().get_flows(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::OutOfRange, "{refused}");
    assert_eq!(ask(&world, GetFlowsRequest::default()).await, [1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_ends_followers_and_drains() {
    let world = World::with_flows(10, 1).await;
    let mut stream = world.observer().get_flows(follow()).await.unwrap().into_inner();
    assert_eq!(told(&next(&mut stream).await), 1);
    let stopped = tokio::spawn(world.server.stop(Duration::from_secs(20)));
    let end = stream.message().await.unwrap_err();
    assert_eq!((end.code(), end.message()), (Code::Unavailable, "this node's daemon is stopping"));
    drop(stream);
    assert_eq!(stopped.await.unwrap(), Stopped::Drained);
}
