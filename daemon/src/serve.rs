//! gRPC over the ring: Hubble's Observer and Peer, weir's own questions, health and reflection.
//!
//! Flows come from the ring and nowhere else; what the pipeline counts comes from [`Status`]. A client costs the node one
//! reader and no queue. Everything that listens or streams ends when [`Server::stop`] says so.

mod answer;
mod flows;
mod listen;
mod losses;
mod observer;
mod peers;
mod policies;
mod preload;
mod request;
mod status;
mod stop;
mod stream;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::service::Routes;
use tonic::transport::server::TcpIncoming;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;
use tonic_reflection::server::Builder as Reflection;
use weir_proto::peer::peer_server::PeerServer;
use weir_proto::weir::v1::weir_server::WeirServer;

pub use listen::{Listen, ListenError};
pub use peers::PeerNode;
pub use policies::{Asker, Question, questions};
pub use preload::{Preload, PreloadError, preload};
pub use status::Status;

use crate::ring::{Ring, Seq};
use listen::{Bound, SocketFile};
use observer::{Observer, ObserverService};
use peers::Peers;
use policies::Policies;
use stop::Stop;

/// Largest request: some thousand filters.
const MAX_REQUEST_BYTES: usize = 1 << 20;
/// Streams of one client at the same time; more wait.
const MAX_STREAMS: u32 = 128;
/// A client that does not answer a ping within the timeout is gone.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(20);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// The service name that Hubble's clients ask the health of; "" is the server as a whole.
const HEALTH_NAMES: [&str; 4] = ["", "hubble.server.Observer", READY, LIVE];
/// The service name that a readiness probe asks the health of: serving once what is told is complete, until the end begins.
pub const READY: &str = "ready";
/// The service name that a liveness probe asks the health of: serving while the pipeline turns.
pub const LIVE: &str = "live";
/// What reflection lists.
const SERVICES: [&str; 4] = ["observer.Observer", "peer.Peer", "weir.v1.Weir", "grpc.health.v1.Health"];

/// One run of the daemon: flows are numbered anew in each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// Its start, Unix milliseconds; 1 for a recording.
    pub id: u64,
    /// The run before it, where the state directory kept it.
    pub previous: Option<PreviousRun>,
}

/// What is known of the run before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PreviousRun {
    /// As [`Run::id`].
    pub id: u64,
    /// The last number that it gave out.
    pub last: Seq,
}

/// What "now" is, for rates and for what was seen lately.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// The system's clock: live.
    System,
    /// The time of the newest flow: a recording.
    NewestFlow,
}

/// What is served: one node.
#[derive(Clone, Debug)]
pub struct Node {
    /// Its name, as in `Flow.node_name`.
    pub name: Arc<str>,
    /// The cluster's name; "default" where it has none.
    pub cluster: Arc<str>,
    /// This run of its daemon.
    pub run: Run,
    /// What "now" is.
    pub clock: Clock,
    /// Its flows.
    pub ring: Arc<Ring>,
    /// What its pipeline counts.
    pub status: Arc<Status>,
    /// The cluster's daemons, kept current by the sender's owner.
    pub peers: watch::Receiver<Vec<PeerNode>>,
    /// Where questions about policies go: to who has the cluster's state.
    pub asker: Asker,
}

/// Why the daemon cannot serve.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// An address.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// Descriptors that reflection does not take.
    #[error("cannot offer reflection: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
    /// A listener that ended.
    #[error("serving on {listener}: {source}")]
    Listener {
        /// Its address.
        listener: String,
        /// What went wrong.
        source: tonic::transport::Error,
    },
    /// A listener's task that was aborted or panicked.
    #[error("a listener's task ended: {0}")]
    Task(#[from] tokio::task::JoinError),
}

/// How a server ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// All clients have got their last message.
    Drained,
    /// Some clients did not take theirs in time and are cut off.
    DeadlineOver,
}

/// A serving daemon: the owner of its listeners.
#[derive(Debug)]
pub struct Server {
    addresses: Vec<SocketAddr>,
    ask: watch::Sender<()>,
    health: HealthReporter,
    listeners: JoinSet<Result<(), ServeError>>,
    _socket: Option<SocketFile>,
}

impl Server {
    /// Binds all addresses and serves `node` on them.
    ///
    /// # Errors
    /// Which address cannot be had, and what to do about it. Then nothing is served.
    pub async fn start(node: Node, listen: &Listen) -> Result<Self, ServeError> {
        let Bound { tcp, unix } = listen.bind().await?;
        let (ask, stop) = Stop::new();
        let (health, routes) = routes(node, &stop).await?;
        let mut listeners = JoinSet::new();
        let mut addresses = Vec::new();
        for (address, listener) in tcp {
            addresses.push(address);
            let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
            let serving =
                transport().add_routes(routes.clone()).serve_with_incoming_shutdown(incoming, stop.asked());
            listeners.spawn(named(address.to_string(), serving));
        }
        let socket = unix.map(|(listener, file)| {
            let incoming = UnixListenerStream::new(listener);
            let serving =
                transport().add_routes(routes.clone()).serve_with_incoming_shutdown(incoming, stop.asked());
            listeners.spawn(named(file.name(), serving));
            file
        });
        Ok(Self { addresses, ask, health, listeners, _socket: socket })
    }

    /// TCP addresses it listens on, with the ports it got.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Says whether what is served is complete; it is, unless this says otherwise.
    pub async fn set_ready(&self, ready: bool) {
        self.set(READY, ready).await;
    }

    /// Says whether the daemon does its work; it does, unless this says otherwise.
    pub async fn set_live(&self, live: bool) {
        self.set(LIVE, live).await;
    }

    async fn set(&self, name: &str, serving: bool) {
        let status = if serving { ServingStatus::Serving } else { ServingStatus::NotServing };
        self.health.set_service_status(name, status).await;
    }

    /// Waits until a listener ends by itself, which none should. Pends for ever if there is none.
    ///
    /// # Errors
    /// Which listener, and why.
    pub async fn failed(&mut self) -> Result<(), ServeError> {
        match self.listeners.join_next().await {
            Some(ended) => ended?,
            None => std::future::pending().await,
        }
    }

    /// Ends all streams, tells clients so, and waits until they have heard it, no longer than `deadline`. Connections that
    /// are still open then end with the runtime.
    pub async fn stop(mut self, deadline: Duration) -> Stopped {
        // Who is ending in order is alive.
        for name in HEALTH_NAMES.into_iter().filter(|name| *name != LIVE) {
            self.set(name, false).await;
        }
        drop(self.ask);
        let drained = async { while self.listeners.join_next().await.is_some() {} };
        match tokio::time::timeout(deadline, drained).await {
            Ok(()) => Stopped::Drained,
            Err(_) => Stopped::DeadlineOver,
        }
    }
}

async fn named(
    listener: String,
    serving: impl Future<Output = Result<(), tonic::transport::Error>>,
) -> Result<(), ServeError> {
    serving.await.map_err(|source| ServeError::Listener { listener, source })
}

fn transport() -> tonic::transport::Server {
    tonic::transport::Server::builder()
        .max_concurrent_streams(MAX_STREAMS)
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
}

async fn routes(node: Node, stop: &Stop) -> Result<(HealthReporter, Routes), ServeError> {
    let (health, health_service) = tonic_health::server::health_reporter();
    for name in HEALTH_NAMES {
        health.set_service_status(name, ServingStatus::Serving).await;
    }
    let peers = Peers { list: node.peers.clone(), stop: stop.clone() };
    let policies = Policies { asker: node.asker.clone() };
    let observer = Arc::new(Observer { node, started: Instant::now(), stop: stop.clone() });
    let routes = Routes::new(ObserverService::new(observer))
        .add_service(PeerServer::new(peers).max_decoding_message_size(MAX_REQUEST_BYTES))
        .add_service(WeirServer::new(policies).max_decoding_message_size(MAX_REQUEST_BYTES))
        .add_service(health_service)
        .add_service(reflection().build_v1()?)
        .add_service(reflection().build_v1alpha()?);
    Ok((health, routes))
}

fn reflection() -> Reflection<'static> {
    let described = Reflection::configure()
        .register_encoded_file_descriptor_set(weir_proto::DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET);
    SERVICES.into_iter().fold(described, Reflection::with_service_name)
}

#[cfg(test)]
mod tests;
