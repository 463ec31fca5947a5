//! The Observer service. Flows pass as the bytes they came in, so `GetFlows` goes by a codec of its own; the rest is
//! the generated service.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use prost::Message;
use tokio_stream::{Empty, Stream, StreamExt};
use tonic::body::Body;
use tonic::codegen::{BoxFuture, Service, http};
use tonic::server::{Grpc, NamedService, ServerStreamingService};
use tonic::{Request, Response, Status, async_trait};
use weir_proto::observer::observer_server::{Observer, ObserverServer};
use weir_proto::observer::{
    GetAgentEventsRequest, GetAgentEventsResponse, GetDebugEventsRequest, GetDebugEventsResponse,
    GetFlowsRequest, GetFlowsResponse, GetNamespacesRequest, GetNamespacesResponse, GetNodesRequest,
    GetNodesResponse, ServerStatusRequest, ServerStatusResponse,
};
use weir_proto::relay::NodeState;

use super::flows::{FlowStream, nodes_event};
use super::nodes::{self, Identity};
use super::request::Question;
use crate::moment::UnixNanos;
use crate::peer::EncodedCodec;
use crate::pipeline::Outputs;
use crate::stop::Stop;

const GET_FLOWS: &str = "/observer.Observer/GetFlows";

/// What the answers are taken from.
#[derive(Clone, Debug)]
pub struct Answers {
    identity: Arc<Identity>,
    outputs: Outputs,
    stop: Stop,
}

impl Answers {
    /// Over what the earlier stages made.
    #[must_use]
    pub const fn new(identity: Arc<Identity>, outputs: Outputs, stop: Stop) -> Self {
        Self { identity, outputs, stop }
    }

    async fn flows(&self, request: &GetFlowsRequest) -> Result<FlowStream, Status> {
        let question = Question::compile(request)?;
        let history = Arc::clone(&self.outputs.history);
        let greeting = self.greeting();
        Ok(FlowStream::open(question, &self.identity.name, greeting, history, self.stop.clone()).await)
    }

    /// The first messages of every stream: who is connected, and who is not.
    fn greeting(&self) -> Vec<GetFlowsResponse> {
        let mut peers = self.outputs.registry.snapshot();
        peers.retain(|peer| !peer.is_duplicate());
        let (here, away): (Vec<_>, Vec<_>) = peers.iter().partition(|peer| peer.status.connected);
        let event = |state, peers: Vec<&crate::status::Snapshot>, message| {
            let names = peers.iter().map(|peer| peer.name.clone()).collect();
            nodes_event(&self.identity.name, UnixNanos::now(), state, names, message)
        };
        let why = match away.as_slice() {
            [only] => only.status.message.clone(),
            _ => String::new(),
        };
        let mut greeting = Vec::new();
        if !here.is_empty() {
            greeting.push(event(NodeState::NodeConnected, here, String::new()));
        }
        if !away.is_empty() {
            greeting.push(event(NodeState::NodeUnavailable, away, why));
        }
        greeting
    }
}

#[async_trait]
impl Observer for Answers {
    type GetFlowsStream = Pin<Box<dyn Stream<Item = Result<GetFlowsResponse, Status>> + Send>>;
    type GetAgentEventsStream = Empty<Result<GetAgentEventsResponse, Status>>;
    type GetDebugEventsStream = Empty<Result<GetDebugEventsResponse, Status>>;

    async fn get_flows(
        &self,
        request: Request<GetFlowsRequest>,
    ) -> Result<Response<Self::GetFlowsStream>, Status> {
        let decode = |bytes: Result<Bytes, Status>| {
            GetFlowsResponse::decode(bytes?).map_err(|error| Status::internal(error.to_string()))
        };
        let flows = self.flows(request.get_ref()).await?;
        Ok(Response::new(Box::pin(flows.map(decode))))
    }

    async fn get_agent_events(
        &self,
        _: Request<GetAgentEventsRequest>,
    ) -> Result<Response<Self::GetAgentEventsStream>, Status> {
        Err(Status::unimplemented("a relay has no agent events"))
    }

    async fn get_debug_events(
        &self,
        _: Request<GetDebugEventsRequest>,
    ) -> Result<Response<Self::GetDebugEventsStream>, Status> {
        Err(Status::unimplemented("a relay has no debug events"))
    }

    async fn get_nodes(&self, _: Request<GetNodesRequest>) -> Result<Response<GetNodesResponse>, Status> {
        Ok(Response::new(nodes::nodes(&self.outputs).await))
    }

    async fn get_namespaces(
        &self,
        _: Request<GetNamespacesRequest>,
    ) -> Result<Response<GetNamespacesResponse>, Status> {
        Ok(Response::new(nodes::namespaces(&self.outputs).await))
    }

    async fn server_status(
        &self,
        _: Request<ServerStatusRequest>,
    ) -> Result<Response<ServerStatusResponse>, Status> {
        Ok(Response::new(nodes::server_status(&self.identity, &self.outputs).await))
    }
}

/// The Observer service with flows as encoded bytes.
#[derive(Clone, Debug)]
pub struct EncodedObserver {
    answers: Arc<Answers>,
    rest: ObserverServer<Answers>,
}

impl EncodedObserver {
    /// Around the answers.
    #[must_use]
    pub fn new(answers: Answers) -> Self {
        let answers = Arc::new(answers);
        Self { rest: ObserverServer::from_arc(Arc::clone(&answers)), answers }
    }
}

impl NamedService for EncodedObserver {
    const NAME: &'static str = "observer.Observer";
}

impl Service<http::Request<Body>> for EncodedObserver {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        if request.uri().path() != GET_FLOWS {
            return self.rest.call(request);
        }
        let method = GetFlows(Arc::clone(&self.answers));
        Box::pin(async move { Ok(Grpc::new(EncodedCodec).server_streaming(method, request).await) })
    }
}

struct GetFlows(Arc<Answers>);

impl ServerStreamingService<Bytes> for GetFlows {
    type Response = Bytes;
    type ResponseStream = FlowStream;
    type Future = BoxFuture<Response<FlowStream>, Status>;

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        let answers = Arc::clone(&self.0);
        Box::pin(async move {
            let request = GetFlowsRequest::decode(request.into_inner())
                .map_err(|error| Status::invalid_argument(format!("decoding the request: {error}")))?;
            Ok(Response::new(answers.flows(&request).await?))
        })
    }
}
