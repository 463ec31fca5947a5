//! Answers clients: the Observer service as Hubble's relay gives it, and weir's own, over what the earlier stages made.
//!
//! Clients only read what is shared; none of them can delay a daemon's stream or another client. Holds no task beyond
//! the servers themselves: an answer lives in its stream, which the client pulls.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_stream::wrappers::UnixListenerStream;
use tonic::codegen::http::{HeaderValue, Response};
use tonic::service::Routes;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic_health::ServingStatus;
use tonic_health::server::{HealthReporter, health_reporter};
use tower::util::MapResponseLayer;
use weir_proto::weir::v1::weir_server::WeirServer;

use crate::pipeline::Outputs;
use crate::status::Registry;
use crate::stop::Stop;

mod connections;
mod flows;
mod listen;
mod nodes;
mod observer;
mod policy;
mod request;

pub use listen::{BindError, Listener, UnixSocket, tcp, unix};
pub use nodes::Identity;

/// The version of Hubble's interface that is spoken; its command line warns when its own is older.
const INTERFACE_VERSION: HeaderValue = HeaderValue::from_static("1.19.0");
const VERSION_HEADER: &str = "hubble-relay-version";
/// Service name that `hubble status` asks the health service for.
const HEALTH_NAME: &str = "hubble.server.Observer";
/// The service name that a readiness probe asks the health of: serving from the first connected daemon on.
pub const READY: &str = "ready";
/// The service name that a liveness probe asks the health of: serving while the pipeline turns.
pub const LIVE: &str = "live";
/// A pipeline that has not turned for so long is stuck; idle, it turns every few seconds.
const STUCK: Duration = Duration::from_secs(30);
/// So often it is looked at.
const LOOK: Duration = Duration::from_secs(2);
/// Without any daemon the relay is ready after so long: it can say itself what is wrong.
const FIRST_PEER: Duration = Duration::from_secs(60);
/// Streams of one client at the same time; more wait.
const MAX_STREAMS: u32 = 128;
const CLIENT_PING: Duration = Duration::from_secs(20);

/// Told where a daemon's earlier run left no count behind.
const UNKNOWN_LOSS: &str =
    "an unknown number of flows is lost: the daemon's earlier run left no record of how many it had made";

/// The reflection service could not be made.
#[derive(Debug, thiserror::Error)]
#[error("making the reflection service of the built-in descriptors: {0}")]
pub struct ReflectionError(#[from] tonic_reflection::server::Error);

/// All services, and what keeps the health service true.
///
/// # Errors
/// If the built-in descriptors are not what the reflection service takes.
pub fn services(
    identity: Identity,
    outputs: &Outputs,
    stop: &Stop,
) -> Result<(Routes, HealthReporter), ReflectionError> {
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(weir_proto::DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let (reporter, health) = health_reporter();
    let answers = observer::Answers::new(Arc::new(identity), outputs.clone(), stop.clone());
    let connections = connections::Service::new(outputs.clone(), stop.clone());
    let routes = Routes::new(observer::EncodedObserver::new(answers))
        .add_service(WeirServer::new(connections))
        .add_service(health)
        .add_service(reflection().build_v1()?)
        .add_service(reflection().build_v1alpha()?);
    Ok((routes, reporter))
}

/// Serves on one listener until told to stop and until the answers under way are over.
///
/// # Errors
/// What the listener failed of.
pub async fn run(listener: Listener, routes: Routes, mut stop: Stop) -> Result<(), tonic::transport::Error> {
    let with_version = MapResponseLayer::new(|mut response: Response<_>| {
        response.headers_mut().insert(VERSION_HEADER, INTERFACE_VERSION);
        response
    });
    let server = Server::builder()
        .max_concurrent_streams(MAX_STREAMS)
        .http2_keepalive_interval(Some(CLIENT_PING))
        .http2_keepalive_timeout(Some(CLIENT_PING))
        .layer(with_version)
        .add_routes(routes);
    let stopped = async move { stop.requested().await };
    match listener {
        Listener::Tcp(listener) => {
            // A flow is sent when it is there, not when the one before was acknowledged.
            let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
            server.serve_with_incoming_shutdown(incoming, stopped).await
        }
        Listener::Unix(socket) => {
            let UnixSocket { listener, remove } = socket;
            let result =
                server.serve_with_incoming_shutdown(UnixListenerStream::new(listener), stopped).await;
            drop(remove);
            result
        }
    }
}

/// Keeps the health service true: serving as Hubble's relay is while at least one peer is connected; ready, live.
pub async fn keep_health(reporter: HealthReporter, registry: Arc<Registry>, mut stop: Stop) {
    let mut changes = registry.changes();
    let mut look = tokio::time::interval(LOOK);
    let begun = Instant::now();
    let mut ready = false;
    loop {
        changes.mark_unchanged();
        let available = registry.snapshot().iter().any(|peer| peer.status.connected);
        if !ready && !available && begun.elapsed() >= FIRST_PEER {
            tracing::warn!(
                "no daemon answered within {FIRST_PEER:?}; ready all the same, `weir status` says why"
            );
        }
        ready |= available || begun.elapsed() >= FIRST_PEER;
        let alive = registry.idle() < STUCK;
        for (name, serving) in [("", available), (HEALTH_NAME, available), (READY, ready), (LIVE, alive)] {
            set(&reporter, name, serving).await;
        }
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { return },
            _ = look.tick() => {}
            () = stop.requested() => break,
        }
    }
    for name in ["", HEALTH_NAME, READY] {
        set(&reporter, name, false).await;
    }
}

async fn set(reporter: &HealthReporter, name: &str, serving: bool) {
    let status = if serving { ServingStatus::Serving } else { ServingStatus::NotServing };
    reporter.set_service_status(name, status).await;
}
