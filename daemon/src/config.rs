//! What is typed (or set in the environment) -> a checked configuration, one type a command.
//!
//! Everything that can be wrong with a flag is said here, before a device is opened.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// The node's daemon.
#[derive(Debug, Parser)]
#[command(name = "weir-daemon", version, about, long_about = None)]
pub struct Cli {
    /// What to log: a level, or directives as `weir_daemon=debug`.
    #[arg(long, env = "WEIR_LOG", default_value = "info", global = true)]
    pub log: String,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What the daemon can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Captures this node's traffic and serves flows.
    Run(RunArgs),
    /// Captures this node's traffic and the kernel's testimony into a pcapng file.
    Record(RecordArgs),
    /// Reads capture files: the same flows as live, printed as JSON lines or served.
    Replay(ReplayArgs),
    /// Says what would work on this node, what would not, and why; changes nothing.
    Check(CheckArgs),
}

/// Where flows are served.
#[derive(Clone, Debug, Args)]
pub struct ServeArgs {
    /// TCP address to serve on. Other addresses than loopback need --insecure.
    #[arg(long, env = "WEIR_LISTEN", value_name = "ADDRESS:PORT")]
    pub listen: Option<SocketAddr>,
    /// Unix socket to serve on.
    #[arg(long, env = "WEIR_UNIX", value_name = "PATH")]
    pub unix: Option<PathBuf>,
    /// Serve in clear on an address that others can reach.
    #[arg(long, env = "WEIR_INSECURE")]
    pub insecure: bool,
    /// Flows kept for readers.
    #[arg(long, env = "WEIR_RING_FLOWS", default_value_t = 65_536, value_name = "N")]
    pub ring_flows: usize,
    /// Bytes of flows kept for readers, MiB.
    #[arg(long, env = "WEIR_RING_MIB", default_value_t = 128, value_name = "MIB")]
    pub ring_mib: usize,
}

/// What the cluster is, and who this node is in it.
#[derive(Clone, Debug, Args)]
pub struct ClusterArgs {
    /// Name of this node, as Kubernetes calls it.
    #[arg(long, env = "WEIR_NODE", value_name = "NAME")]
    pub node: Option<String>,
    /// Manifest file (`kubectl get ... -o yaml`, multi-document, or JSON), read again when it changes; repeatable.
    #[arg(
        long = "cluster-file",
        visible_alias = "cluster",
        env = "WEIR_CLUSTER_FILE",
        value_name = "FILE",
        value_delimiter = ','
    )]
    pub cluster_files: Vec<PathBuf>,
    /// Name of the cluster.
    #[arg(long, env = "WEIR_CLUSTER_NAME", default_value = "default", value_name = "NAME")]
    pub cluster_name: String,
}

/// The Kubernetes watch, instead of manifest files.
#[derive(Clone, Debug, Args)]
pub struct KubernetesArgs {
    /// Watch the API server: as the pod's service account, or with --kubeconfig.
    #[arg(long, env = "WEIR_KUBERNETES", conflicts_with = "cluster_files")]
    pub kubernetes: bool,
    /// A kubeconfig whose current context is used; without it, the pod's service account.
    #[arg(long, env = "KUBECONFIG", value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
}

/// What is captured.
#[derive(Clone, Debug, Args)]
pub struct CaptureArgs {
    /// Capture the loopback device too.
    #[arg(long, env = "WEIR_LOOPBACK")]
    pub loopback: bool,
    /// Bytes kept of each frame.
    #[arg(long, env = "WEIR_SNAPLEN", default_value_t = 768, value_name = "BYTES",
          value_parser = clap::value_parser!(u32).range(96..=65_535))]
    pub snaplen: u32,
    /// Kernel buffers of all devices together, MiB.
    #[arg(long, env = "WEIR_BUFFER_MIB", default_value_t = 160, value_name = "MIB",
          value_parser = clap::value_parser!(u32).range(1..=16_384))]
    pub buffer_mib: u32,
    /// A pcap filter expression that the kernel applies.
    #[arg(long, env = "WEIR_CAPTURE_FILTER", value_name = "EXPRESSION")]
    pub capture_filter: Option<String>,
    /// NFLOG groups to read, as the CNI's rules or your own write to; repeatable.
    #[arg(long = "nflog-group", env = "WEIR_NFLOG_GROUPS", value_name = "GROUP", value_delimiter = ',')]
    pub nflog_groups: Vec<u16>,
    /// UDP ports of VXLAN; repeatable.
    #[arg(long = "vxlan-port", env = "WEIR_VXLAN_PORTS", value_name = "PORT", value_delimiter = ',',
          default_values_t = [8472, 4789, 6784])]
    pub vxlan_ports: Vec<u16>,
    /// Do without the kernel's connection tracking.
    #[arg(long, env = "WEIR_NO_CONNTRACK")]
    pub no_conntrack: bool,
}

/// `weir-daemon run`.
#[derive(Clone, Debug, Args)]
pub struct RunArgs {
    /// The cluster and this node in it.
    #[command(flatten)]
    pub cluster: ClusterArgs,
    /// The cluster, watched.
    #[command(flatten)]
    pub kubernetes: KubernetesArgs,
    /// What is captured.
    #[command(flatten)]
    pub capture: CaptureArgs,
    /// Where flows are served.
    #[command(flatten)]
    pub serve: ServeArgs,
    /// Connections in the table.
    #[arg(long, env = "WEIR_MAX_CONNECTIONS", default_value_t = 262_144, value_name = "N")]
    pub max_connections: usize,
    /// A connection with traffic is told of this often, seconds.
    #[arg(long, env = "WEIR_INTERVAL", default_value_t = 5, value_name = "SECONDS",
          value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub interval_s: u64,
    /// Also write everything that is captured into this pcapng file: its replay gives the same flows.
    #[arg(long, env = "WEIR_RECORD", value_name = "FILE")]
    pub record: Option<PathBuf>,
    /// Folder that keeps the number of the last flow, so that a restart can say what was lost.
    #[arg(long, env = "WEIR_STATE_DIR", value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
}

/// `weir-daemon record`.
#[derive(Clone, Debug, Args)]
pub struct RecordArgs {
    /// File to write; must not exist.
    pub file: PathBuf,
    /// Name of this node, kept in the file.
    #[arg(long, env = "WEIR_NODE", value_name = "NAME")]
    pub node: Option<String>,
    /// What is captured.
    #[command(flatten)]
    pub capture: CaptureArgs,
    /// Stop after so many seconds; else at Ctrl-C.
    #[arg(long, value_name = "SECONDS")]
    pub seconds: Option<u64>,
}

/// `weir-daemon check`: the flags that `run` would be given.
#[derive(Clone, Debug, Args)]
pub struct CheckArgs {
    /// The cluster and this node in it.
    #[command(flatten)]
    pub cluster: ClusterArgs,
    /// The cluster, watched.
    #[command(flatten)]
    pub kubernetes: KubernetesArgs,
    /// What is captured.
    #[command(flatten)]
    pub capture: CaptureArgs,
}

/// `weir-daemon replay`.
#[derive(Clone, Debug, Args)]
pub struct ReplayArgs {
    /// Capture files (pcap, pcapng, `-` for standard input), taken together in time order.
    #[arg(required_unless_present = "flows", conflicts_with = "flows")]
    pub files: Vec<PathBuf>,
    /// Flows as JSON lines, to be served as this node's.
    #[arg(long, value_name = "FILE")]
    pub flows: Option<PathBuf>,
    /// The cluster and this node in it.
    #[command(flatten)]
    pub cluster: ClusterArgs,
    /// Where flows are served.
    #[command(flatten)]
    pub serve: ServeArgs,
    /// UDP ports of VXLAN; repeatable.
    #[arg(long = "vxlan-port", value_name = "PORT", value_delimiter = ',', default_values_t = [8472, 4789, 6784])]
    pub vxlan_ports: Vec<u16>,
    /// Where the flows go. Default: print, or serve where --listen or --unix is given.
    #[arg(long, value_enum)]
    pub output: Option<ReplayOutput>,
}

/// Where replayed flows go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ReplayOutput {
    /// JSON lines on standard output.
    Json,
    /// Counts only.
    Summary,
    /// Served until stopped.
    Serve,
}

impl ReplayArgs {
    /// Where the flows go.
    #[must_use]
    pub fn output(&self) -> ReplayOutput {
        let serves = self.serve.listen.is_some() || self.serve.unix.is_some() || self.flows.is_some();
        self.output.unwrap_or(if serves { ReplayOutput::Serve } else { ReplayOutput::Json })
    }
}

impl CaptureArgs {
    /// All kernel buffers together, bytes.
    #[must_use]
    pub const fn buffer_bytes(&self) -> u64 {
        (self.buffer_mib as u64) << 20
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
        let cli = Cli::try_parse_from(["weir-daemon", "replay", "a.pcap", "b.pcap", "--cluster", "c.yaml"])
            .unwrap();
        let Command::Replay(args) = cli.command else { panic!("not replay") };
        assert_eq!((args.files.len(), args.output()), (2, ReplayOutput::Json));
    }

    #[test]
    fn replay_needs_something_to_read() {
        assert!(Cli::try_parse_from(["weir-daemon", "replay"]).is_err());
        assert!(Cli::try_parse_from(["weir-daemon", "run", "--snaplen", "10"]).is_err());
    }

    #[test]
    fn the_cluster_comes_from_files_or_from_the_api_server() {
        let of = |flags: &[&str]| Cli::try_parse_from([&["weir-daemon", "run"], flags].concat());
        assert!(of(&["--kubernetes"]).is_ok());
        assert!(of(&["--kubernetes", "--cluster-file", "c.yaml"]).is_err());
    }
}
