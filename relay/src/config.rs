//! What the user asked for by flag, environment or file, checked once. What is wrong is said in one sentence with the remedy.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;

use crate::peer::Schedule;
use crate::peers::{DnsName, PeerError, Sources, Target};
use crate::{history, join, merge};

/// Where the unix socket is unless told otherwise.
pub const DEFAULT_SOCKET: &str = "/run/weir/relay.sock";
const NONE: &str = "none";

/// Reads the streams of all weir daemons of a cluster and serves them as one, on Hubble's gRPC interface.
#[derive(Clone, Debug, Parser)]
#[command(name = "weir-relay", version)]
pub struct Args {
    /// A daemon to read from: NAME=HOST:PORT, HOST:PORT or unix:///PATH. Repeat it, or separate by commas.
    #[arg(long = "peer", value_name = "PEER", value_delimiter = ',')]
    pub peers: Vec<String>,
    /// A DNS name with one address for each daemon (a headless Service), as HOST:PORT. The daemons follow the name.
    #[arg(long = "peer-dns", value_name = "HOST:PORT", value_delimiter = ',')]
    pub peer_dns: Vec<String>,
    /// Seconds between two look-ups of the names of --peer-dns.
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    pub peer_dns_interval: u64,
    /// Address to serve on, or "none". Other addresses than the loopback's need --insecure.
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:4245")]
    pub listen: String,
    /// Unix socket to serve on, or "none". By default /run/weir/relay.sock, where that can be made.
    #[arg(long, value_name = "PATH")]
    pub unix: Option<PathBuf>,
    /// Serve without encryption and without asking who calls on an address that other machines can reach.
    #[arg(long)]
    pub insecure: bool,
    /// Name of this relay in answers.
    #[arg(long, value_name = "NAME", default_value = "relay")]
    pub name: String,
    /// Most flows remembered.
    #[arg(long, value_name = "FLOWS", default_value_t = 100_000)]
    pub history_flows: usize,
    /// Most mebibytes of flows remembered.
    #[arg(long, value_name = "MIB", default_value_t = 128)]
    pub history_mib: usize,
    /// Most connections remembered.
    #[arg(long, value_name = "ROWS", default_value_t = 32_768)]
    pub connections: usize,
    /// Milliseconds that a flow waits for earlier ones of other nodes.
    #[arg(long, value_name = "MS", default_value_t = 250)]
    pub merge_window: u64,
    /// Most flows that wait so.
    #[arg(long, value_name = "FLOWS", default_value_t = 65_536)]
    pub merge_buffer: usize,
    /// Seconds that open answers get to end when the relay is stopped.
    #[arg(long, value_name = "SECONDS", default_value_t = 5)]
    pub stop_deadline: u64,
    /// What is logged: error, warn, info, debug, trace, or a list of target=level.
    #[arg(long, value_name = "FILTER", default_value = "info")]
    pub log: String,
}

/// Checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where daemons are to be found.
    pub sources: Sources,
    /// Address to serve on.
    pub listen: Option<SocketAddr>,
    /// Unix socket to serve on.
    pub unix: Unix,
    /// Name in answers.
    pub name: String,
    /// Limits of the stages.
    pub history: history::Settings,
    /// See `history`.
    pub join: join::Settings,
    /// See `history`.
    pub merge: merge::Settings,
    /// How peers wait between tries.
    pub schedule: Schedule,
    /// How long a stop may take.
    pub stop_deadline: Duration,
}

/// Whether to serve on a unix socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unix {
    /// Not.
    None,
    /// There, or not at all if that cannot be made.
    IfPossible(PathBuf),
    /// There.
    At(PathBuf),
}

/// What the user asked for cannot be.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Nobody to read from.
    #[error(
        "no daemon to read from: give --peer NAME=HOST:PORT for each, or --peer-dns HOST:PORT of a headless Service"
    )]
    NoPeers,
    /// A peer that is none.
    #[error(transparent)]
    Peer(#[from] PeerError),
    /// Two of one name.
    #[error("two peers are named {0:?}: give each its own name")]
    SameName(String),
    /// No address.
    #[error("--listen {given:?} is no address: write IP:PORT (IPv6 in brackets) or none")]
    Listen {
        /// As given.
        given: String,
    },
    /// Open to others.
    #[error(
        "--listen {0} can be reached from other machines, without encryption: listen on 127.0.0.1, or say --insecure"
    )]
    Insecure(SocketAddr),
    /// Nowhere to serve.
    #[error("--listen none and --unix none: there is nowhere to serve")]
    Nowhere,
    /// A bound of 0.
    #[error("{0} is 0: it must be at least 1")]
    Zero(&'static str),
}

impl Args {
    /// Checks everything.
    ///
    /// # Errors
    /// The first thing that cannot be.
    pub fn check(self) -> Result<Config, ConfigError> {
        let sources = self.sources()?;
        let listen = self.listen()?;
        let unix = match self.unix {
            None => Unix::IfPossible(PathBuf::from(DEFAULT_SOCKET)),
            Some(path) if path.as_os_str() == NONE => Unix::None,
            Some(path) => Unix::At(path),
        };
        if listen.is_none() && unix == Unix::None {
            return Err(ConfigError::Nowhere);
        }
        let bounds = [
            ("--history-flows", self.history_flows),
            ("--history-mib", self.history_mib),
            ("--connections", self.connections),
            ("--merge-buffer", self.merge_buffer),
        ];
        if let Some((flag, _)) = bounds.into_iter().find(|(_, bound)| *bound == 0) {
            return Err(ConfigError::Zero(flag));
        }
        Ok(Config {
            sources,
            listen,
            unix,
            name: self.name,
            history: history::Settings {
                entries: self.history_flows,
                bytes: self.history_mib.saturating_mul(1 << 20),
            },
            join: join::Settings { capacity: self.connections, ..join::Settings::default() },
            merge: merge::Settings {
                window: Duration::from_millis(self.merge_window),
                capacity: self.merge_buffer,
            },
            schedule: Schedule::default(),
            stop_deadline: Duration::from_secs(self.stop_deadline),
        })
    }

    fn sources(&self) -> Result<Sources, ConfigError> {
        let given =
            |list: &[String]| list.iter().filter(|text| !text.trim().is_empty()).cloned().collect::<Vec<_>>();
        let list = given(&self.peers).iter().map(|text| text.parse()).collect::<Result<Vec<Target>, _>>()?;
        let names =
            given(&self.peer_dns).iter().map(|text| text.parse()).collect::<Result<Vec<DnsName>, _>>()?;
        if list.is_empty() && names.is_empty() {
            return Err(ConfigError::NoPeers);
        }
        let mut labels: Vec<_> = list.iter().map(|target| target.label.as_str()).collect();
        labels.sort_unstable();
        if let Some([twice, _]) = labels.array_windows().find(|[a, b]| a == b) {
            return Err(ConfigError::SameName((*twice).to_owned()));
        }
        Ok(Sources { list, names, interval: Duration::from_secs(self.peer_dns_interval) })
    }

    fn listen(&self) -> Result<Option<SocketAddr>, ConfigError> {
        if self.listen == NONE {
            return Ok(None);
        }
        let address: SocketAddr =
            self.listen.parse().map_err(|_| ConfigError::Listen { given: self.listen.clone() })?;
        if !address.ip().is_loopback() && !self.insecure {
            return Err(ConfigError::Insecure(address));
        }
        Ok(Some(address))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(flags: &[&str]) -> Result<Config, String> {
        let all = ["weir-relay"].iter().chain(flags);
        Args::try_parse_from(all).map_err(|e| e.to_string())?.check().map_err(|e| e.to_string())
    }

    #[test]
    fn loopback_and_a_unix_socket_unless_told_otherwise() {
        let config = check(&["--peer", "n1=10.0.0.1", "--peer", "n2=10.0.0.2:99,n3=unix:///x"]).unwrap();
        assert_eq!(config.listen, Some(([127, 0, 0, 1], 4245).into()));
        assert_eq!(config.unix, Unix::IfPossible(DEFAULT_SOCKET.into()));
        assert_eq!(config.sources.list.len(), 3);
        assert_eq!(check(&["--peer", "h", "--unix", "none"]).unwrap().unix, Unix::None);
    }

    #[test]
    fn what_cannot_be_says_how_it_can() {
        let error = |flags: &[&str]| check(flags).unwrap_err();
        let errors = [
            error(&[]),
            error(&["--peer", "h", "--listen", "0.0.0.0:4245"]),
            error(&["--peer", "h", "--listen", "here"]),
            error(&["--peer", "a=h1", "--peer", "a=h2"]),
            error(&["--peer", "h", "--listen", "none", "--unix", "none"]),
            error(&["--peer-dns", "h", "--merge-buffer", "0"]),
        ];
        insta::assert_snapshot!(errors.join("\n"), @r#"
        no daemon to read from: give --peer NAME=HOST:PORT for each, or --peer-dns HOST:PORT of a headless Service
        --listen 0.0.0.0:4245 can be reached from other machines, without encryption: listen on 127.0.0.1, or say --insecure
        --listen "here" is no address: write IP:PORT (IPv6 in brackets) or none
        two peers are named "a": give each its own name
        --listen none and --unix none: there is nowhere to serve
        --merge-buffer is 0: it must be at least 1
        "#);
        assert!(check(&["--peer", "h", "--listen", "0.0.0.0:4245", "--insecure"]).is_ok());
    }
}
