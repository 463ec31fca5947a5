//! A relay made up: the two large streams of a cluster with ten thousand connections, over a unix socket.

use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use tokio::net::UnixListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::{ReceiverStream, UnixListenerStream};
use tonic::{Request, Response, Status, async_trait};
use weir_proto::flow::Flow;
use weir_proto::observer::get_flows_response::ResponseTypes;
use weir_proto::observer::observer_server::{Observer, ObserverServer};
use weir_proto::observer::{
    self, GetFlowsRequest, GetFlowsResponse, ServerStatusRequest, ServerStatusResponse,
};
use weir_proto::weir::v1::connections_response::Response as Item;
use weir_proto::weir::v1::weir_server::{Weir, WeirServer};
use weir_proto::weir::v1::{
    self, Connection, ConnectionsRequest, ConnectionsResponse, ExplainPolicyRequest, ExplainPolicyResponse,
    PeerStatus,
};

use crate::traffic;

/// Time between two bursts.
const BURST: Duration = Duration::from_millis(50);
const QUEUE: usize = 1024;

/// What is served.
#[derive(Clone)]
pub struct Relay {
    connections: Arc<Vec<Connection>>,
    per_second: u64,
    /// Nothing new comes while this is off.
    pub runs: Arc<AtomicBool>,
    /// Flows that were handed over.
    pub sent: Arc<AtomicU64>,
}

type Stream<T> = Pin<Box<dyn tokio_stream::Stream<Item = Result<T, Status>> + Send>>;

impl Relay {
    pub fn new(connections: u32, per_second: u64) -> Self {
        Self {
            connections: Arc::new((0..connections).map(traffic::connection).collect()),
            per_second,
            runs: Arc::new(AtomicBool::new(true)),
            sent: Arc::default(),
        }
    }

    pub fn serve(&self, socket: &Path) -> std::io::Result<()> {
        let listener = UnixListenerStream::new(UnixListener::bind(socket)?);
        let server = tonic::transport::Server::builder()
            .add_service(ObserverServer::new(self.clone()))
            .add_service(WeirServer::new(self.clone()));
        tokio::spawn(server.serve_with_incoming(listener));
        Ok(())
    }

    /// Hands a burst of connections to `tell` each time, one after the other, for as long as somebody listens.
    async fn go_on<T>(
        self,
        tell: mpsc::Sender<Result<T, Status>>,
        make: impl Fn(&Connection, prost_types::Timestamp) -> T,
    ) {
        let burst = self.per_second * u64::try_from(BURST.as_millis()).unwrap_or(1) / 1000;
        let mut bursts = tokio::time::interval(BURST);
        let mut all = self.connections.iter().cycle();
        loop {
            bursts.tick().await;
            if !self.runs.load(Ordering::Relaxed) {
                continue;
            }
            let now = prost_types::Timestamp::from(SystemTime::now());
            for connection in all.by_ref().take(usize::try_from(burst).unwrap_or(1)) {
                if tell.send(Ok(make(connection, now))).await.is_err() {
                    return;
                }
            }
        }
    }
}

fn latest(connection: &Connection, now: prost_types::Timestamp) -> Connection {
    let mut connection = connection.clone();
    for flow in connection.flow.iter_mut().chain(&mut connection.sightings) {
        touch(flow, now);
    }
    connection
}

fn touch(flow: &mut Flow, now: prost_types::Timestamp) {
    flow.time = Some(now);
    if let Some(detail) = &mut flow.weir {
        detail.last_packet = Some(now);
    }
}

#[async_trait]
impl Weir for Relay {
    type ConnectionsStream = Stream<ConnectionsResponse>;

    async fn connections(
        &self,
        _: Request<ConnectionsRequest>,
    ) -> Result<Response<Self::ConnectionsStream>, Status> {
        let (tell, told) = mpsc::channel(QUEUE);
        let relay = self.clone();
        let told_of = |connection| ConnectionsResponse { response: Some(Item::Connection(connection)) };
        tokio::spawn(async move {
            for connection in relay.connections.iter().cloned() {
                if tell.send(Ok(told_of(connection))).await.is_err() {
                    return;
                }
            }
            relay.go_on(tell, move |connection, now| told_of(latest(connection, now))).await;
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(told))))
    }

    async fn explain_policy(
        &self,
        _: Request<ExplainPolicyRequest>,
    ) -> Result<Response<ExplainPolicyResponse>, Status> {
        Err(Status::unimplemented("the screen does not ask it"))
    }
}

#[async_trait]
impl Observer for Relay {
    type GetFlowsStream = Stream<GetFlowsResponse>;
    type GetAgentEventsStream = Stream<observer::GetAgentEventsResponse>;
    type GetDebugEventsStream = Stream<observer::GetDebugEventsResponse>;

    async fn get_flows(&self, _: Request<GetFlowsRequest>) -> Result<Response<Self::GetFlowsStream>, Status> {
        let (tell, told) = mpsc::channel(QUEUE);
        let (relay, sent) = (self.clone(), self.sent.clone());
        tokio::spawn(relay.go_on(tell, move |connection, now| {
            sent.fetch_add(1, Ordering::Relaxed);
            let mut flow = connection.flow.clone().unwrap_or_default();
            touch(&mut flow, now);
            GetFlowsResponse {
                time: Some(now),
                node_name: flow.node_name.clone(),
                response_types: Some(ResponseTypes::Flow(flow)),
                ..Default::default()
            }
        }));
        Ok(Response::new(Box::pin(ReceiverStream::new(told))))
    }

    async fn server_status(
        &self,
        _: Request<ServerStatusRequest>,
    ) -> Result<Response<ServerStatusResponse>, Status> {
        let peer = |name: &str| PeerStatus {
            name: name.to_owned(),
            connected: true,
            received: self.sent.load(Ordering::Relaxed) / 2,
            ..Default::default()
        };
        let weir = v1::ServerStatus { peers: vec![peer("birch"), peer("elm")], ..Default::default() };
        Ok(Response::new(ServerStatusResponse {
            num_connected_nodes: Some(2),
            num_unavailable_nodes: Some(0),
            weir: Some(weir),
            ..Default::default()
        }))
    }

    async fn get_agent_events(
        &self,
        _: Request<observer::GetAgentEventsRequest>,
    ) -> Result<Response<Self::GetAgentEventsStream>, Status> {
        Err(Status::unimplemented("not measured"))
    }

    async fn get_debug_events(
        &self,
        _: Request<observer::GetDebugEventsRequest>,
    ) -> Result<Response<Self::GetDebugEventsStream>, Status> {
        Err(Status::unimplemented("not measured"))
    }

    async fn get_nodes(
        &self,
        _: Request<observer::GetNodesRequest>,
    ) -> Result<Response<observer::GetNodesResponse>, Status> {
        Err(Status::unimplemented("not measured"))
    }

    async fn get_namespaces(
        &self,
        _: Request<observer::GetNamespacesRequest>,
    ) -> Result<Response<observer::GetNamespacesResponse>, Status> {
        Err(Status::unimplemented("not measured"))
    }
}
