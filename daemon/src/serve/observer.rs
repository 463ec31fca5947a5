//! `observer.Observer` of one node.
//!
//! `GetFlows` goes around the generated server, so that flows are sent as the bytes the ring already holds; the other
//! methods are the generated server's. Every answer names the level of Hubble's API that it keeps to.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use tokio::time::Instant;
use tokio_stream::{Empty, Stream, StreamExt};
use tonic::body::Body;
use tonic::codegen::{BoxFuture, Service, StdError, http};
use tonic::server::{Grpc, NamedService, ServerStreamingService};
use tonic::{Request, Response, Status};
use weir_cluster::UnixNanos;
use weir_proto::observer::observer_server::{self, ObserverServer};
use weir_proto::observer::{
    GetAgentEventsRequest, GetAgentEventsResponse, GetDebugEventsRequest, GetDebugEventsResponse,
    GetFlowsRequest, GetFlowsResponse, GetNamespacesRequest, GetNamespacesResponse, GetNodesRequest,
    GetNodesResponse, Namespace, ServerStatusRequest, ServerStatusResponse,
};
use weir_proto::weir;

use super::answer::{Answer, FlowsCodec};
use super::flows::{Origin, Reading, find_start};
use super::request::Selection;
use super::stop::Stop;
use super::stream::FlowStream;
use super::{Clock, MAX_REQUEST_BYTES, Node};
use crate::ring::REMEMBERED;

/// Clients warn when the server's minor version is above theirs, so this is the level kept to, not weir's own version.
const API_VERSION: http::HeaderValue = http::HeaderValue::from_static("1.19.0");
const API_VERSION_HEADER: http::HeaderName = http::HeaderName::from_static("hubble-server-version");
/// A follower with `until` waits so long for flows that were finished before and come late.
const UNTIL_GRACE: Duration = Duration::from_secs(1);

/// The node as the services see it.
#[derive(Debug)]
pub(super) struct Observer {
    pub(super) node: Node,
    pub(super) started: Instant,
    pub(super) stop: Stop,
}

impl Observer {
    /// The node's time: of the clock, or of the recording it stands for.
    fn now(&self) -> UnixNanos {
        match self.node.clock {
            Clock::System => SystemTime::now().into(),
            Clock::NewestFlow => self.node.ring.newest_time().unwrap_or(UnixNanos::ZERO),
        }
    }

    async fn flows(&self, request: GetFlowsRequest) -> Result<FlowStream, Status> {
        let ring = &self.node.ring;
        let selection = Selection::of(request, &self.node.name, &self.node.run)?;
        let reader = find_start(ring, &selection).await;
        let end = ring.head();
        let over_at = self.over_at(selection.until);
        let origin = Origin { node: Arc::clone(&self.node.name), run: self.node.run };
        Ok(FlowStream::new(Reading::new(reader, end, selection, origin, over_at), self.stop.clone()))
    }

    /// When no flow up to `until` can come any more. A recording is as old as it is: there, never.
    fn over_at(&self, until: UnixNanos) -> Option<Instant> {
        match self.node.clock {
            Clock::System => Instant::now().checked_add(until.since(self.now()) + UNTIL_GRACE),
            Clock::NewestFlow => None,
        }
        .filter(|_| until < UnixNanos::MAX)
    }
}

#[tonic::async_trait]
impl observer_server::Observer for Observer {
    type GetFlowsStream = Pin<Box<dyn Stream<Item = Result<GetFlowsResponse, Status>> + Send>>;
    type GetAgentEventsStream = Empty<Result<GetAgentEventsResponse, Status>>;
    type GetDebugEventsStream = Empty<Result<GetDebugEventsResponse, Status>>;

    /// Decoded, for callers in this process; clients are served by [`ObserverService`].
    async fn get_flows(
        &self,
        request: Request<GetFlowsRequest>,
    ) -> Result<Response<Self::GetFlowsStream>, Status> {
        let flows = self.flows(request.into_inner()).await?;
        Ok(Response::new(Box::pin(flows.map(|answer| answer.and_then(|answer| answer.decode())))))
    }

    async fn get_agent_events(
        &self,
        _: Request<GetAgentEventsRequest>,
    ) -> Result<Response<Self::GetAgentEventsStream>, Status> {
        Err(Status::unimplemented("weir has no agent events: they tell of Cilium's agent, and there is none"))
    }

    async fn get_debug_events(
        &self,
        _: Request<GetDebugEventsRequest>,
    ) -> Result<Response<Self::GetDebugEventsStream>, Status> {
        Err(Status::unimplemented(
            "weir has no debug events: they tell of Cilium's datapath, and there is none",
        ))
    }

    async fn get_nodes(&self, _: Request<GetNodesRequest>) -> Result<Response<GetNodesResponse>, Status> {
        Err(Status::unimplemented("a node knows only itself: ask the relay for the nodes"))
    }

    async fn get_namespaces(
        &self,
        _: Request<GetNamespacesRequest>,
    ) -> Result<Response<GetNamespacesResponse>, Status> {
        let since = self.now().saturating_sub(REMEMBERED);
        let seen = self.node.ring.namespaces();
        let names: BTreeSet<_> =
            seen.iter().filter(|seen| seen.at >= since).map(|seen| &seen.namespace).collect();
        let namespaces = names
            .into_iter()
            .map(|name| Namespace { cluster: self.node.cluster.to_string(), namespace: name.to_string() })
            .collect();
        Ok(Response::new(GetNamespacesResponse { namespaces }))
    }

    async fn server_status(
        &self,
        _: Request<ServerStatusRequest>,
    ) -> Result<Response<ServerStatusResponse>, Status> {
        let stats = self.node.ring.stats();
        let detail = weir::v1::ServerStatus {
            node: self.node.name.to_string(),
            run: self.node.run.id,
            seq: stats.seen.0,
            ..self.node.status.snapshot()
        };
        Ok(Response::new(ServerStatusResponse {
            num_flows: stats.held,
            max_flows: stats.capacity,
            seen_flows: stats.seen.0,
            uptime_ns: u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX),
            num_connected_nodes: None,
            num_unavailable_nodes: None,
            unavailable_nodes: Vec::new(),
            version: concat!("weir-daemon v", env!("CARGO_PKG_VERSION")).to_owned(),
            flows_rate: self.node.ring.rate(self.now()),
            weir: Some(detail),
        }))
    }
}

/// The service as clients reach it.
#[derive(Clone, Debug)]
pub(super) struct ObserverService {
    observer: Arc<Observer>,
    generated: ObserverServer<Observer>,
}

impl ObserverService {
    pub(super) fn new(observer: Arc<Observer>) -> Self {
        let generated =
            ObserverServer::from_arc(Arc::clone(&observer)).max_decoding_message_size(MAX_REQUEST_BYTES);
        Self { observer, generated }
    }
}

impl NamedService for ObserverService {
    const NAME: &'static str = observer_server::SERVICE_NAME;
}

impl<B> Service<http::Request<B>> for ObserverService
where
    B: tonic::codegen::Body + Send + 'static,
    B::Error: Into<StdError> + Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let answered: Self::Future = if request.uri().path() == "/observer.Observer/GetFlows" {
            let flows = Flows(Arc::clone(&self.observer));
            let mut grpc = Grpc::new(FlowsCodec).max_decoding_message_size(MAX_REQUEST_BYTES);
            Box::pin(async move { Ok(grpc.server_streaming(flows, request).await) })
        } else {
            self.generated.call(request)
        };
        Box::pin(async move {
            let mut response = answered.await?;
            response.headers_mut().insert(API_VERSION_HEADER, API_VERSION);
            Ok(response)
        })
    }
}

/// `GetFlows` alone, answered in bytes.
struct Flows(Arc<Observer>);

impl ServerStreamingService<GetFlowsRequest> for Flows {
    type Response = Answer;
    type ResponseStream = FlowStream;
    type Future = BoxFuture<Response<FlowStream>, Status>;

    fn call(&mut self, request: Request<GetFlowsRequest>) -> Self::Future {
        let observer = Arc::clone(&self.0);
        Box::pin(async move { observer.flows(request.into_inner()).await.map(Response::new) })
    }
}
