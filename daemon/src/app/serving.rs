//! The ring that flags describe, the addresses to serve on, and waiting until somebody says stop.

use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::config::ServeArgs;
use crate::ring::Limits;
use crate::serve::Listen;

use super::{AppError, node};

/// Where readers on the node itself find the daemon.
const DEFAULT_SOCKET: &str = "/run/weir/daemon.sock";

/// The ring's bounds.
#[must_use]
pub fn limits(args: &ServeArgs) -> Limits {
    let entries = NonZeroUsize::new(args.ring_flows).unwrap_or(NonZeroUsize::MIN);
    Limits { entries, bytes: args.ring_mib << 20 }
}

/// Where to serve: as told, else loopback and the unix socket.
#[must_use]
pub fn listen(args: &ServeArgs) -> Listen {
    let told = args.listen.is_some() || args.unix.is_some();
    let default_tcp = SocketAddr::from((Ipv4Addr::LOCALHOST, node::DEFAULT_PORT));
    Listen {
        tcp: args.listen.or((!told).then_some(default_tcp)).into_iter().collect(),
        unix: args.unix.clone().or_else(|| (!told).then(|| PathBuf::from(DEFAULT_SOCKET))),
        insecure: args.insecure,
    }
}

/// The runtime of the gRPC server. Flows are made on a thread of their own.
///
/// # Errors
/// If there is no thread left.
pub fn runtime() -> Result<Runtime, AppError> {
    let started = Builder::new_multi_thread().worker_threads(2).thread_name("serve").enable_all().build();
    started.map_err(|cause| AppError::Start { what: "the server's threads", cause })
}

/// SIGTERM and Ctrl-C. The first asks for an orderly end, the second for an end at once; which it is, the caller knows.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Catches them from now on.
    ///
    /// # Errors
    /// If signals cannot be caught.
    pub fn catch() -> Result<Self, AppError> {
        let caught = |cause| AppError::Start { what: "catching signals", cause };
        Ok(Self {
            terminate: signal(SignalKind::terminate()).map_err(caught)?,
            interrupt: signal(SignalKind::interrupt()).map_err(caught)?,
        })
    }

    /// The next of them, by its name.
    pub async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "an interrupt",
        }
    }

    /// An orderly end, unless another signal cuts it short.
    pub async fn unless_again(&mut self, orderly: impl Future<Output = ()>) {
        tokio::select! {
            () = orderly => {}
            name = self.next() => tracing::warn!("{name} again: ending at once"),
        }
    }
}

/// What is still open after an orderly end, or one that was cut short, is not waited for.
pub fn end(runtime: Runtime) {
    runtime.shutdown_timeout(Duration::from_millis(100));
}
