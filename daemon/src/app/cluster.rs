//! Where the cluster's state comes from while the daemon runs: manifest files, or the Kubernetes watch.
//!
//! [`Feed`] stays with the pipeline, which owns the cluster and takes what has come whenever it has a moment; [`Source`] is
//! what runs beside it, with its notices and its end.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;
use std::time::Duration;

use tokio::runtime::Runtime;
use weir_cluster::manifest::{ManifestFiles, Snapshot};
use weir_cluster::watch::{Changes, Server, Settings, Watch};
use weir_cluster::{Cluster, UnixNanos};

use crate::config::{KubernetesArgs, RunArgs};
use crate::serve::Status;
use crate::worker::{StopError, Worker};

use super::{AppError, clock, manifests};

/// The first lists are waited for so long; then flows are told with what is known.
const FIRST_LISTS: Duration = Duration::from_secs(60);
/// Batches of up to 500 changes taken at once: some milliseconds in which no packet is looked at.
const BATCHES: usize = 4;
const TOPIC: &str = "kubernetes";

/// What runs beside the pipeline.
#[derive(Debug)]
pub enum Source {
    /// The thread that looks at the files.
    Files(Worker),
    /// The watch's tasks.
    Kubernetes {
        /// The watch.
        watch: Watch,
        /// Whether the cluster has its first lists.
        ready: Arc<AtomicBool>,
    },
}

/// What the pipeline takes from.
#[derive(Debug)]
pub enum Feed {
    /// A new snapshot now and then.
    Files(Receiver<Snapshot>),
    /// Changes all the time.
    Kubernetes {
        /// The changes.
        changes: Box<Changes>,
        /// The first lists are waited for until then.
        until: UnixNanos,
        /// Told to [`Source::Kubernetes`].
        ready: Arc<AtomicBool>,
        /// Notices for people.
        status: Arc<Status>,
    },
}

/// The API server that the flags or the pod's surroundings name.
///
/// # Errors
/// If there is none, or a kubeconfig cannot be used.
pub fn server(runtime: &Runtime, args: &KubernetesArgs) -> Result<Server, AppError> {
    let of_environment = || std::env::var_os("KUBECONFIG").filter(|it| !it.is_empty()).map(PathBuf::from);
    Ok(match args.kubeconfig.clone().or_else(of_environment) {
        Some(file) => runtime.block_on(Server::from_kubeconfig(&file))?,
        None => Server::in_cluster()?,
    })
}

/// Starts whichever the flags ask for.
///
/// # Errors
/// If the API server cannot be found, or there is no thread left.
pub fn start(
    args: &RunArgs,
    files: ManifestFiles,
    runtime: &Runtime,
    status: &Arc<Status>,
) -> Result<(Source, Feed), AppError> {
    if args.kubernetes.kubernetes && !args.cluster.cluster_files.is_empty() {
        return Err(AppError::TwoSources);
    }
    if !args.kubernetes.kubernetes {
        let (worker, snapshots) = manifests::watch(files, Arc::clone(status))?;
        return Ok((Source::Files(worker), Feed::Files(snapshots)));
    }
    let server = server(runtime, &args.kubernetes)?;
    tracing::info!(server = server.address(), "watching the cluster");
    let _in_runtime = runtime.enter();
    let (watch, changes) = Watch::start(server, Settings::new(clock::now))?;
    let ready = Arc::new(AtomicBool::new(false));
    let feed = Feed::Kubernetes {
        changes: Box::new(changes),
        until: clock::now().saturating_add(FIRST_LISTS),
        ready: Arc::clone(&ready),
        status: Arc::clone(status),
    };
    Ok((Source::Kubernetes { watch, ready }, feed))
}

impl Feed {
    /// Brings the cluster up to date with what has come. True if anything may be different.
    pub fn apply_to(&mut self, cluster: &mut Cluster, now: UnixNanos) -> bool {
        match self {
            Self::Files(snapshots) => {
                let Ok(snapshot) = snapshots.try_recv() else { return false };
                cluster.replace(snapshot.objects, now);
                true
            }
            Self::Kubernetes { changes, until, ready, status } => {
                let waited = !changes.is_ready();
                let mut changed = changes.apply_to(cluster, BATCHES).changed;
                if !changes.is_ready() && now >= *until {
                    let missing = changes.missing().join(", ");
                    status.notice(
                        "kubernetes-first",
                        &format!("no complete list of {missing} within {FIRST_LISTS:?}: names are told without them"),
                    );
                    changes.begin(cluster, now);
                    changed = true;
                }
                if waited && changes.is_ready() {
                    ready.store(true, Ordering::Release);
                    tracing::info!(objects = cluster.stats().objects, "the cluster is known");
                }
                changed
            }
        }
    }
}

impl Source {
    /// Whether flows are told with what is known of the cluster.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        match self {
            Self::Files(_) => true,
            Self::Kubernetes { ready, .. } => ready.load(Ordering::Acquire),
        }
    }

    /// Says what is wrong now, and takes back what is not any more.
    pub fn look(&mut self, status: &Status) {
        let Self::Kubernetes { watch, .. } = self else { return };
        let troubles = watch.troubles();
        if troubles.is_empty() {
            status.settle(TOPIC);
        } else {
            let failures = watch.stats().failures;
            status.notice(TOPIC, &format!("{} ({failures} failures so far)", troubles.join("; ")));
        }
    }

    /// Ends it.
    ///
    /// # Errors
    /// If a thread did not end in time.
    pub async fn stop(self, deadline: Duration) -> Result<(), StopError> {
        match self {
            Self::Files(worker) => worker.stop(deadline),
            Self::Kubernetes { watch, .. } => {
                watch.stop().await;
                Ok(())
            }
        }
    }
}
