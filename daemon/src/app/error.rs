//! Why a command of the daemon could not be done.

use std::io;
use std::path::PathBuf;

use weir_cluster::manifest::ManifestError;
use weir_cluster::watch::WatchError;
use weir_proto::place::PlaceError;

use crate::capture::file::FileError;
use crate::capture::live::LiveError;
use crate::capture::record::RecordError;
use crate::run_state::RunStateError;
use crate::serve::{PreloadError, ServeError};

/// The end of a command that failed.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// Log directives.
    #[error("--log {directives}: {reason}")]
    Log {
        /// As typed.
        directives: String,
        /// What is wrong with them.
        reason: String,
    },
    /// The cluster's manifests.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The Kubernetes watch.
    #[error(transparent)]
    Watch(#[from] WatchError),
    /// Two sources of one cluster.
    #[error("--kubernetes and --cluster-file cannot both say what the cluster is: give one of them")]
    TwoSources,
    /// What `check` found.
    #[error("{count} of what weir needs here {} missing; see above", if *count == 1 { "is" } else { "are" })]
    Check {
        /// How many checks failed.
        count: usize,
    },
    /// Capturing.
    #[error(transparent)]
    Live(#[from] LiveError),
    /// Capturing by eBPF, which alone was asked for.
    #[error("{0}; or capture by libpcap: --source pcap")]
    Ebpf(String),
    /// Reading a capture file.
    #[error(transparent)]
    File(#[from] FileError),
    /// Writing a recording.
    #[error("cannot write {file}: {cause}")]
    Create {
        /// The file.
        file: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// Writing on.
    #[error("cannot go on writing {file}: {cause}")]
    Record {
        /// The file.
        file: PathBuf,
        /// What went wrong.
        cause: RecordError,
    },
    /// Serving.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// Flows to be served from a file.
    #[error(transparent)]
    Preload(#[from] PreloadError),
    /// The number of the last flow.
    #[error(transparent)]
    RunState(#[from] RunStateError),
    /// The numbers of flows.
    #[error(transparent)]
    Place(#[from] PlaceError),
    /// Two nodes' recordings at once.
    #[error(
        "one file was recorded on node {one}, another on node {other}: replay each by itself, a flow is one node's view"
    )]
    TwoNodes {
        /// A node.
        one: String,
        /// Another.
        other: String,
    },
    /// A thread.
    #[error("cannot start {what}: {cause}")]
    Start {
        /// What was to be started.
        what: &'static str,
        /// What the system said.
        cause: io::Error,
    },
    /// A part that must not end did.
    #[error("{what} ended by itself; what it said is above")]
    Ended {
        /// The part.
        what: &'static str,
    },
    /// Printing flows.
    #[error("cannot print flows: {0}")]
    Print(io::Error),
}
