//! A node with numbered flows, a server in front of it, and a client.

use std::num::NonZeroUsize;
use std::sync::Arc;

use tokio::sync::watch;
use tonic::transport::Channel;
use weir_cluster::UnixNanos;
use weir_proto::flow::{Endpoint, Flow, Verdict};
use weir_proto::observer::GetFlowsResponse;
use weir_proto::observer::get_flows_response::ResponseTypes;
use weir_proto::observer::observer_client::ObserverClient;

use crate::ring::{Limits, Ring, Seq, Writer, ring, timestamp_of};
use crate::serve::{Clock, Listen, Node, PeerNode, PreviousRun, Run, Server, Status};

pub(super) const RUN: u64 = 71;

pub(super) struct World {
    pub(super) writer: Writer,
    pub(super) status: Arc<Status>,
    pub(super) peers: watch::Sender<Vec<PeerNode>>,
    pub(super) server: Server,
    pub(super) channel: Channel,
    node: Node,
}

/// The flow of second `number`: the even ones dropped.
pub(super) fn flow(number: u64) -> Flow {
    let verdict = if number.is_multiple_of(2) { Verdict::Dropped } else { Verdict::Forwarded };
    let end = |namespace: &str| {
        Some(Endpoint { namespace: namespace.into(), pod_name: "p".into(), ..Default::default() })
    };
    Flow {
        time: Some(timestamp_of(second(number))),
        uuid: number.to_string(),
        node_name: "node-a".into(),
        verdict: verdict.into(),
        source: end("shop"),
        destination: end("batch"),
        ..Default::default()
    }
}

pub(super) fn second(number: u64) -> UnixNanos {
    UnixNanos::from_parts(number, 0)
}

/// The number of a flow; of a loss, its count, negative.
pub(super) fn told(message: &GetFlowsResponse) -> i64 {
    match message.response_types.as_ref().unwrap() {
        ResponseTypes::Flow(flow) => flow.uuid.parse().unwrap(),
        ResponseTypes::LostEvents(lost) => -(lost.num_events_lost as i64),
        ResponseTypes::NodeStatus(_) => panic!("a node has no node status"),
    }
}

pub(super) fn loopback() -> Listen {
    Listen { tcp: vec!["127.0.0.1:0".parse().unwrap()], unix: None, insecure: false }
}

pub(super) fn limits(entries: usize) -> Limits {
    Limits { entries: NonZeroUsize::new(entries).unwrap(), bytes: usize::MAX }
}

/// A node over `ring`, and the sender of its peers.
pub(super) fn node(ring: Arc<Ring>, clock: Clock) -> (Node, watch::Sender<Vec<PeerNode>>) {
    let (peers, list) = watch::channel(Vec::new());
    let node = Node {
        name: "node-a".into(),
        cluster: "default".into(),
        run: Run { id: RUN, previous: Some(PreviousRun { id: 70, last: Seq(700) }) },
        clock,
        ring,
        status: Arc::default(),
        peers: list,
        asker: crate::serve::questions().0,
    };
    (node, peers)
}

pub(super) async fn connect(server: &Server) -> Channel {
    Channel::from_shared(format!("http://{}", server.addresses()[0])).unwrap().connect().await.unwrap()
}

impl World {
    /// A live node with flows 1 to `flows` pushed into a ring of `entries`.
    pub(super) async fn with_flows(entries: usize, flows: u64) -> Self {
        Self::new(entries, flows, Clock::System).await
    }

    /// The same as a recording.
    pub(super) async fn recorded(entries: usize, flows: u64) -> Self {
        Self::new(entries, flows, Clock::NewestFlow).await
    }

    async fn new(entries: usize, flows: u64, clock: Clock) -> Self {
        let (mut writer, ring) = ring(limits(entries));
        (1..=flows).for_each(|number| assert_eq!(writer.push(flow(number)), Seq(number)));
        let (node, peers) = node(ring, clock);
        let server = Server::start(node.clone(), &loopback()).await.unwrap();
        let channel = connect(&server).await;
        Self { writer, status: Arc::clone(&node.status), peers, server, channel, node }
    }

    pub(super) fn observer(&self) -> ObserverClient<Channel> {
        ObserverClient::new(self.channel.clone())
    }

    pub(super) const fn run(&self) -> Run {
        self.node.run
    }
}
