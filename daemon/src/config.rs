//! What is typed, set in the environment or written in a file -> a checked configuration, one type a command.
//!
//! Everything that can be wrong with a flag is said here, before a device is opened. The variables' names and the file follow
//! from the flags (`weir_proto::settings`).

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::decode;
use crate::governor::Budget;

/// The node's daemon.
#[derive(Debug, Parser)]
#[command(name = "weir-daemon", version, about, long_about = None)]
pub struct Cli {
    /// What is logged: error, warn, info, debug, trace, or a list of target=level.
    #[arg(long, default_value = "info", global = true, value_name = "FILTER")]
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
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub listen: Option<SocketAddr>,
    /// Unix socket to serve on.
    #[arg(long, value_name = "PATH")]
    pub unix: Option<PathBuf>,
    /// Serve in clear on an address that others can reach.
    #[arg(long)]
    pub insecure: bool,
    /// Flows kept for readers.
    #[arg(long, default_value_t = 65_536, value_name = "N")]
    pub ring_flows: usize,
    /// Bytes of flows kept for readers, MiB.
    #[arg(long, default_value_t = 128, value_name = "MIB")]
    pub ring_mib: usize,
    /// Readers, threads and tasks get so long to end when the daemon is stopped, seconds; less than the pod's grace period.
    #[arg(long = "stop-deadline", default_value_t = 10, value_name = "SECONDS",
          value_parser = clap::value_parser!(u64).range(1..=300))]
    pub stop_deadline_s: u64,
}

/// What the cluster is, and who this node is in it.
#[derive(Clone, Debug, Args)]
pub struct ClusterArgs {
    /// Name of this node, as Kubernetes calls it.
    #[arg(long, value_name = "NAME")]
    pub node: Option<String>,
    /// Manifest file (`kubectl get ... -o yaml`, multi-document, or JSON), read again when it changes; repeatable.
    #[arg(long = "cluster-file", visible_alias = "cluster", value_name = "FILE", value_delimiter = ',')]
    pub cluster_files: Vec<PathBuf>,
    /// Name of the cluster.
    #[arg(long, default_value = "default", value_name = "NAME")]
    pub cluster_name: String,
}

/// The Kubernetes watch, instead of manifest files.
#[derive(Clone, Debug, Args)]
pub struct KubernetesArgs {
    /// Watch the API server: as the pod's service account, or with --kubeconfig.
    #[arg(long)]
    pub kubernetes: bool,
    /// A kubeconfig whose current context is used; else that of KUBECONFIG, else the pod's service account.
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
}

/// Which UDP ports are tunnels.
#[derive(Clone, Debug, Args)]
pub struct TunnelArgs {
    /// UDP ports of VXLAN; repeatable.
    #[arg(long = "vxlan-port", value_name = "PORT", value_delimiter = ',',
          default_values_t = decode::Settings::default().vxlan_ports)]
    pub vxlan_ports: Vec<u16>,
    /// UDP ports of Geneve; repeatable.
    #[arg(long = "geneve-port", value_name = "PORT", value_delimiter = ',',
          default_values_t = decode::Settings::default().geneve_ports)]
    pub geneve_ports: Vec<u16>,
    /// UDP ports of WireGuard, by which its data is known; repeatable.
    #[arg(long = "wireguard-port", value_name = "PORT", value_delimiter = ',',
          default_values_t = decode::Settings::default().wireguard_ports)]
    pub wireguard_ports: Vec<u16>,
}

/// Where frames come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FrameSource {
    /// eBPF programs where the kernel takes them, else libpcap; which, and why, is in the status.
    Auto,
    /// eBPF programs: what carries news is handed up, the rest is counted in the kernel.
    Ebpf,
    /// libpcap: every frame is handed up.
    Pcap,
}

/// What is captured.
#[derive(Clone, Debug, Args)]
pub struct CaptureArgs {
    /// Where frames come from.
    #[arg(long, value_enum, default_value = "auto", value_name = "SOURCE")]
    pub source: FrameSource,
    /// Connections in the kernel's table, each counted on each device that it passes; for ebpf. A full one costs time, not packets.
    #[arg(long, default_value_t = 131_072, value_name = "N",
          value_parser = clap::value_parser!(u32).range(16..=16_777_216))]
    pub kernel_connections: u32,
    /// Capture the loopback device too.
    #[arg(long)]
    pub loopback: bool,
    /// eBPF programs compiled elsewhere, instead of those that were built in.
    #[arg(long, hide = true, value_name = "FILE")]
    pub ebpf_object: Option<PathBuf>,
    /// Bytes kept of each frame.
    #[arg(long, default_value_t = 768, value_name = "BYTES",
          value_parser = clap::value_parser!(u32).range(96..=65_535))]
    pub snaplen: u32,
    /// Kernel buffers of all devices together, MiB; for pcap. The ring of ebpf is a tenth of it.
    #[arg(long, default_value_t = 160, value_name = "MIB",
          value_parser = clap::value_parser!(u32).range(1..=16_384))]
    pub buffer_mib: u32,
    /// A pcap filter expression that the kernel applies; for pcap.
    #[arg(long, value_name = "EXPRESSION")]
    pub capture_filter: Option<String>,
    /// NFLOG groups to read, as the CNI's rules or your own write to; repeatable.
    #[arg(long = "nflog-group", value_name = "GROUP", value_delimiter = ',')]
    pub nflog_groups: Vec<u16>,
    /// What is opened as a tunnel.
    #[command(flatten)]
    pub tunnels: TunnelArgs,
    /// Do without the kernel's connection tracking.
    #[arg(long)]
    pub no_conntrack: bool,
    /// Do without the packets that the kernel drops, and its reasons.
    #[arg(long)]
    pub no_kernel_drops: bool,
}

/// What the daemon may cost its node. When it costs more it leaves out, in this order: messages of application protocols,
/// retransmissions and windows of TCP, most new connections, all connections; it says so, and comes back.
#[derive(Clone, Copy, Debug, Args)]
pub struct BudgetArgs {
    /// Processor time, percent of one core; 0 for no bound.
    #[arg(long, default_value_t = 100, value_name = "PERCENT", value_parser = clap::value_parser!(u32).range(0..=100_000))]
    pub cpu_budget: u32,
    /// Resident memory, MiB; 0 for no bound.
    #[arg(long, default_value_t = 1024, value_name = "MIB")]
    pub memory_budget_mib: u32,
}

impl BudgetArgs {
    /// As the governor takes it.
    #[must_use]
    pub fn budget(&self) -> Budget {
        Budget {
            cpu_thousandths: (self.cpu_budget > 0).then(|| self.cpu_budget.saturating_mul(10)),
            resident_bytes: (self.memory_budget_mib > 0).then(|| u64::from(self.memory_budget_mib) << 20),
        }
    }
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
    #[arg(long, default_value_t = 262_144, value_name = "N")]
    pub max_connections: usize,
    /// A connection with traffic is told of this often, seconds.
    #[arg(long, default_value_t = 5, value_name = "SECONDS",
          value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub interval_s: u64,
    /// What it may cost.
    #[command(flatten)]
    pub budget: BudgetArgs,
    /// Also write everything that is captured into this pcapng file: its replay gives the same flows.
    #[arg(long, value_name = "FILE")]
    pub record: Option<PathBuf>,
    /// Folder that keeps the number of the last flow, so that a restart can say what was lost.
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
}

/// `weir-daemon record`.
#[derive(Clone, Debug, Args)]
pub struct RecordArgs {
    /// File to write; must not exist.
    pub file: PathBuf,
    /// Name of this node, kept in the file.
    #[arg(long, value_name = "NAME")]
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
    /// How to print.
    #[arg(long, short, value_enum, default_value = "text")]
    pub output: CheckOutput,
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

/// How findings are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum CheckOutput {
    /// A line each, for people.
    Text,
    /// A JSON object a line: level (works, note, fails), about, sentence.
    Json,
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
    /// What is opened as a tunnel.
    #[command(flatten)]
    pub tunnels: TunnelArgs,
    /// Connections in the table; of a file, all may be open to its end.
    #[arg(long, default_value_t = 2_097_152, value_name = "N")]
    pub max_connections: usize,
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

impl ServeArgs {
    /// How long an orderly end may take.
    #[must_use]
    pub const fn stop_deadline(&self) -> Duration {
        Duration::from_secs(self.stop_deadline_s)
    }
}

impl TunnelArgs {
    /// As the decoder takes them.
    #[must_use]
    pub fn settings(&self) -> decode::Settings {
        decode::Settings {
            vxlan_ports: self.vxlan_ports.clone(),
            geneve_ports: self.geneve_ports.clone(),
            wireguard_ports: self.wireguard_ports.clone(),
        }
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
}
