//! A daemon as the relay meets it: a real gRPC server with a script for flows, on a runtime of its own, so that it can be
//! killed and frozen as a process can.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex, mpsc};

use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio_stream::wrappers::{TcpListenerStream, UnixListenerStream, WatchStream};
use tokio_stream::{Empty, Stream, StreamExt};
use tonic::transport::Server;
use tonic::{Request, Response, Status, async_trait};
use weir_proto::flow::Flow;
use weir_proto::observer::get_flows_response::ResponseTypes;
use weir_proto::observer::observer_server::{Observer, ObserverServer};
use weir_proto::observer::*;
use weir_proto::weir::v1::weir_server::{Weir, WeirServer};
use weir_proto::weir::v1::{
    ConnectionsRequest, ConnectionsResponse, ExplainPolicyRequest, ExplainPolicyResponse, Place,
    PolicyStatus, ServerStatus,
};

use crate::moment::UnixNanos;

/// What a daemon would keep on disk and in its ring.
#[derive(Clone, Debug)]
pub struct Memory {
    pub node: String,
    pub run: u64,
    /// Last run and its last number.
    pub previous: (u64, u64),
    /// All flows of this run; the ring holds those from `oldest` on.
    pub flows: Vec<Flow>,
    pub oldest: u64,
    /// What it says of policies.
    pub policy: Result<ExplainPolicyResponse, Status>,
}

impl Memory {
    pub fn new(node: &str, run: u64) -> Self {
        let policy = Err(Status::unimplemented("not scripted"));
        Self { node: node.into(), run, previous: (0, 0), flows: Vec::new(), oldest: 1, policy }
    }

    fn message(&self, seq: u64, first: bool) -> Option<GetFlowsResponse> {
        let flow = self.flows.get(usize::try_from(seq - 1).ok()?)?.clone();
        let (previous_run, previous_seq) = if first { self.previous } else { (0, 0) };
        let place = Place { node: self.node.clone(), run: self.run, seq, previous_run, previous_seq };
        Some(GetFlowsResponse {
            node_name: self.node.clone(),
            time: flow.time,
            weir: Some(place),
            response_types: Some(ResponseTypes::Flow(flow)),
        })
    }
}

/// Where it listens.
#[derive(Clone, Debug)]
pub enum Site {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// A running daemon.
pub struct Daemon {
    pub memory: Arc<Mutex<Memory>>,
    pub address: Site,
    grown: watch::Sender<u64>,
    runtime: Option<Runtime>,
}

#[derive(Clone)]
struct Script {
    memory: Arc<Mutex<Memory>>,
    grown: watch::Receiver<u64>,
}

/// Holds a frozen daemon; it goes on when this is dropped.
pub struct Frozen(#[expect(dead_code, reason = "dropping it is its use")] mpsc::SyncSender<()>);

impl Daemon {
    pub fn start(node: &str, run: u64) -> Self {
        Self::with(Memory::new(node, run), Site::Tcp(([127, 0, 0, 1], 0).into()))
    }

    /// A daemon that remembers, at an address.
    pub fn with(memory: Memory, address: Site) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let memory = Arc::new(Mutex::new(memory));
        let (grown, watching) = watch::channel(0);
        let script = Script { memory: Arc::clone(&memory), grown: watching };
        let server = Server::builder()
            .add_service(ObserverServer::new(script.clone()))
            .add_service(WeirServer::new(script));
        let _inside = runtime.enter();
        let address = match address {
            Site::Tcp(address) => {
                let listener = std::net::TcpListener::bind(address).unwrap();
                listener.set_nonblocking(true).unwrap();
                let address = listener.local_addr().unwrap();
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                runtime.spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
                Site::Tcp(address)
            }
            Site::Unix(path) => {
                let _stale = std::fs::remove_file(&path);
                let listener = tokio::net::UnixListener::bind(&path).unwrap();
                runtime.spawn(server.serve_with_incoming(UnixListenerStream::new(listener)));
                Site::Unix(path)
            }
        };
        Self { memory, address, grown, runtime: Some(runtime) }
    }

    /// As `--peer` takes it.
    pub fn peer(&self) -> String {
        match &self.address {
            Site::Tcp(address) => address.to_string(),
            Site::Unix(path) => format!("unix://{}", path.display()),
        }
    }

    /// From now on it says this of policies.
    pub fn says_of_policies(&self, policy: Result<ExplainPolicyResponse, Status>) {
        self.memory.lock().unwrap().policy = policy;
    }

    /// A new flow.
    pub fn tell(&self, flow: Flow) {
        self.memory.lock().unwrap().flows.push(flow);
        self.grown.send_modify(|n| *n += 1);
    }

    /// New flows with nothing but a time, each a millisecond later.
    pub fn tell_many(&self, first_ms: i64, count: i64) {
        let time = |ms: i64| Some(UnixNanos(ms * 1_000_000).to_timestamp());
        let flows = (first_ms..first_ms + count).map(|ms| Flow {
            time: time(ms),
            uuid: ms.to_string(),
            ..Flow::default()
        });
        self.memory.lock().unwrap().flows.extend(flows);
        self.grown.send_modify(|n| *n += 1);
    }

    /// Ends at once, with all its connections. What it remembers is left.
    pub fn kill(mut self) -> (Memory, Site) {
        self.runtime.take().unwrap().shutdown_background();
        (self.memory.lock().unwrap().clone(), self.address.clone())
    }

    /// Stops doing anything, as a process does that got SIGSTOP: its connections stay open and nobody answers.
    pub fn freeze(&self) -> Frozen {
        let (holder, held) = mpsc::sync_channel::<()>(0);
        self.runtime.as_ref().unwrap().spawn(async move { held.recv().is_err() });
        Frozen(holder)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

type Answers = Pin<Box<dyn Stream<Item = Result<GetFlowsResponse, Status>> + Send>>;

#[async_trait]
impl Observer for Script {
    type GetFlowsStream = Answers;
    type GetAgentEventsStream = Empty<Result<GetAgentEventsResponse, Status>>;
    type GetDebugEventsStream = Empty<Result<GetDebugEventsResponse, Status>>;

    async fn get_flows(&self, request: Request<GetFlowsRequest>) -> Result<Response<Answers>, Status> {
        let request = request.into_inner();
        let options = request.weir.ok_or_else(|| Status::invalid_argument("no options"))?;
        assert!(request.follow && options.places && request.field_mask.is_none());
        let memory = Arc::clone(&self.memory);
        let mut next = {
            let memory = memory.lock().unwrap();
            let after = options.resume_after.filter(|place| place.run == memory.run);
            after.map_or(1, |place| place.seq + 1).max(memory.oldest)
        };
        let mut first = true;
        let flows = WatchStream::new(self.grown.clone()).map(move |_| {
            let memory = memory.lock().unwrap();
            let mut batch = Vec::new();
            while let Some(message) = memory.message(next, first) {
                (next, first) = (next + 1, false);
                batch.push(Ok(message));
            }
            tokio_stream::iter(batch)
        });
        Ok(Response::new(Box::pin(Flat { outer: Box::pin(flows), inner: None })))
    }

    async fn get_agent_events(
        &self,
        _: Request<GetAgentEventsRequest>,
    ) -> Result<Response<Self::GetAgentEventsStream>, Status> {
        Err(Status::unimplemented("not scripted"))
    }

    async fn get_debug_events(
        &self,
        _: Request<GetDebugEventsRequest>,
    ) -> Result<Response<Self::GetDebugEventsStream>, Status> {
        Err(Status::unimplemented("not scripted"))
    }

    async fn get_nodes(&self, _: Request<GetNodesRequest>) -> Result<Response<GetNodesResponse>, Status> {
        Err(Status::unimplemented("not scripted"))
    }

    async fn get_namespaces(
        &self,
        _: Request<GetNamespacesRequest>,
    ) -> Result<Response<GetNamespacesResponse>, Status> {
        let own = Namespace { cluster: String::new(), namespace: self.memory.lock().unwrap().node.clone() };
        let all = Namespace { cluster: String::new(), namespace: "shop".into() };
        Ok(Response::new(GetNamespacesResponse { namespaces: vec![own, all] }))
    }

    async fn server_status(
        &self,
        _: Request<ServerStatusRequest>,
    ) -> Result<Response<ServerStatusResponse>, Status> {
        let memory = self.memory.lock().unwrap();
        let seq = u64::try_from(memory.flows.len()).unwrap();
        let policy = PolicyStatus { policies: 3, denied: memory.run, ..PolicyStatus::default() };
        let weir = ServerStatus {
            node: memory.node.clone(),
            run: memory.run,
            seq,
            policy: Some(policy),
            ..ServerStatus::default()
        };
        Ok(Response::new(ServerStatusResponse {
            num_flows: seq,
            max_flows: 1000,
            seen_flows: seq,
            uptime_ns: memory.run,
            version: "scripted".into(),
            weir: Some(weir),
            ..ServerStatusResponse::default()
        }))
    }
}

#[async_trait]
impl Weir for Script {
    type ConnectionsStream = Empty<Result<ConnectionsResponse, Status>>;

    async fn connections(
        &self,
        _: Request<ConnectionsRequest>,
    ) -> Result<Response<Self::ConnectionsStream>, Status> {
        Err(Status::unimplemented("not scripted"))
    }

    async fn explain_policy(
        &self,
        _: Request<ExplainPolicyRequest>,
    ) -> Result<Response<ExplainPolicyResponse>, Status> {
        self.memory.lock().unwrap().policy.clone().map(Response::new)
    }
}

/// A stream of streams as one.
struct Flat<S, I> {
    outer: Pin<Box<S>>,
    inner: Option<I>,
}

impl<S, I> Stream for Flat<S, I>
where
    S: Stream<Item = I>,
    I: Stream + Unpin,
{
    type Item = I::Item;

    fn poll_next(
        mut self: Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<I::Item>> {
        use std::task::Poll;
        loop {
            if let Some(inner) = &mut self.inner {
                match Pin::new(inner).poll_next(cx) {
                    Poll::Ready(None) => self.inner = None,
                    other => return other,
                }
            }
            match self.outer.as_mut().poll_next(cx) {
                Poll::Ready(Some(next)) => self.inner = Some(next),
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}
