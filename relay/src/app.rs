//! The one place that makes the stages and ties them together, owns every task, and ends them in order.
//!
//! A stop is told to all at once: peers close, the pipeline tells what it holds, open answers end with a status. What has
//! not ended by the deadline is named in the log and cut off.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant as Deadline, timeout_at};

use crate::config::{Config, Unix};
use crate::history::{self, History};
use crate::join::Join;
use crate::moment::UnixNanos;
use crate::pipeline::{self, Connections, Outputs};
use crate::serve::{self, BindError, Identity, Listener, ReflectionError};
use crate::status::Registry;
use crate::stop::{self, Stop, StopSender};
use crate::{peer, peers};

/// Events between the peers and the pipeline. When full, peers stop reading and HTTP/2 holds their daemons back.
const EVENTS: usize = 4096;
/// News remembered for readers of connections.
const NOTICES: history::Settings = history::Settings { entries: 4096, bytes: 4 << 20 };

/// A running relay.
#[derive(Debug)]
pub struct App {
    tasks: JoinSet<()>,
    names: Vec<(tokio::task::Id, &'static str)>,
    stop: StopSender,
    address: Option<SocketAddr>,
    socket: Option<PathBuf>,
}

/// The relay did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Nowhere to serve.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// Built wrong.
    #[error(transparent)]
    Reflection(#[from] ReflectionError),
}

impl App {
    /// Starts everything.
    ///
    /// # Errors
    /// If it cannot serve where it should.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let (stop_sender, stop) = stop::channel();
        let outputs = Outputs {
            history: Arc::new(History::new(config.history)),
            notices: Arc::new(History::new(NOTICES)),
            connections: Arc::new(Connections::new(Join::new(config.join))),
            registry: Arc::new(Registry::default()),
        };
        let mut app =
            Self { tasks: JoinSet::new(), names: Vec::new(), stop: stop_sender, address: None, socket: None };
        app.serve(&config, &outputs, &stop).await?;
        app.read(config, outputs, stop);
        Ok(app)
    }

    async fn serve(&mut self, config: &Config, outputs: &Outputs, stop: &Stop) -> Result<(), StartError> {
        let run = u64::try_from(UnixNanos::now().0 / 1_000_000).unwrap_or(0);
        let identity = Identity { name: config.name.clone(), run, started: Instant::now() };
        let (routes, health) = serve::services(identity, outputs, stop)?;
        if let Some(address) = config.listen {
            let listener = serve::tcp(address).await?;
            self.address = listener.local_addr().ok();
            tracing::info!("serving on {}", self.address.unwrap_or(address));
            self.spawn(
                "server on an address",
                run_server(Listener::Tcp(listener), routes.clone(), stop.clone()),
            );
        }
        if let Some(listener) = unix_listener(&config.unix, config.listen.is_some())? {
            if let Unix::At(path) | Unix::IfPossible(path) = &config.unix {
                tracing::info!("serving on unix://{}", path.display());
                self.socket = Some(path.clone());
            }
            self.spawn("server on a unix socket", run_server(listener, routes, stop.clone()));
        }
        let registry = Arc::clone(&outputs.registry);
        self.spawn("health", serve::keep_health(health, registry, stop.clone()));
        Ok(())
    }

    fn read(&mut self, config: Config, outputs: Outputs, stop: Stop) {
        let (events, received) = mpsc::channel(EVENTS);
        let context = peer::Context {
            registry: Arc::clone(&outputs.registry),
            events,
            schedule: config.schedule,
            seed: UnixNanos::now().0.unsigned_abs(),
        };
        let targets = peers::listed(&config.sources);
        let listening = targets.subscribe();
        self.spawn("pipeline", pipeline::run(received, config.merge, outputs));
        self.spawn("peers", peer::run(listening, context, stop));
        self.spawn("peer list", peers::follow(config.sources, targets));
    }

    fn spawn(&mut self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        self.names.push((self.tasks.spawn(task).id(), name));
    }

    /// The address it serves on.
    #[must_use]
    pub const fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// The unix socket it serves on.
    #[must_use]
    pub const fn socket(&self) -> Option<&PathBuf> {
        self.socket.as_ref()
    }

    /// Returns when a task ended that should not have, with its name.
    pub async fn failed(&mut self) -> &'static str {
        match self.tasks.join_next_with_id().await {
            Some(Ok((id, ()))) => self.name(id),
            Some(Err(error)) => self.name(error.id()),
            None => "everything",
        }
    }

    fn name(&self, id: tokio::task::Id) -> &'static str {
        self.names.iter().find(|(known, _)| *known == id).map_or("a task", |(_, name)| *name)
    }

    /// Stops everything. Returns the names of the tasks that had to be cut off.
    pub async fn stop(mut self, within: Duration) -> Vec<&'static str> {
        self.stop.stop();
        let deadline = Deadline::now() + within;
        while let Ok(Some(ended)) = timeout_at(deadline, self.tasks.join_next_with_id()).await {
            let id = match ended {
                Ok((id, ())) => id,
                Err(error) => error.id(),
            };
            self.names.retain(|(known, _)| *known != id);
        }
        self.tasks.shutdown().await;
        self.names.into_iter().map(|(_, name)| name).collect()
    }
}

fn unix_listener(unix: &Unix, has_address: bool) -> Result<Option<Listener>, BindError> {
    match unix {
        Unix::None => Ok(None),
        Unix::At(path) => serve::unix(path).map(|socket| Some(Listener::Unix(socket))),
        Unix::IfPossible(path) => match serve::unix(path) {
            Ok(socket) => Ok(Some(Listener::Unix(socket))),
            Err(error) if has_address => {
                tracing::warn!("{error}; going on without a unix socket");
                Ok(None)
            }
            Err(error) => Err(error),
        },
    }
}

async fn run_server(listener: Listener, routes: tonic::service::Routes, stop: Stop) {
    if let Err(error) = serve::run(listener, routes, stop).await {
        tracing::error!("server: {error}");
    }
}

#[cfg(test)]
mod tests;
