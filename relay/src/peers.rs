//! Who the daemons are: from a list, and from DNS names that are resolved again and again.
//!
//! Turns what the user gave into one set of targets in a watch channel; the set follows DNS. A failed look-up keeps the
//! last answer (a broken DNS server must not end every stream) and is told in the log. Opens no connection to a daemon.

use std::collections::BTreeSet;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use tokio::sync::watch;

mod dns;

pub use dns::follow;

/// Port of a daemon where an address names none.
pub const DAEMON_PORT: u16 = 4244;

/// The daemons to read from.
pub type Targets = BTreeSet<Target>;

/// One daemon to read from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Target {
    /// What the user calls it until it has told its own name; the address where no name was given.
    pub label: String,
    /// Where it listens.
    pub address: Address,
}

/// Where a daemon listens.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Address {
    /// Host (name or address, IPv6 without brackets) and port.
    Tcp(String, u16),
    /// A unix socket.
    Unix(PathBuf),
}

/// A name in DNS with an address record for each daemon, as a headless Service has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsName {
    /// The name.
    pub host: String,
    /// The daemons' port.
    pub port: u16,
}

/// Where daemons are to be found.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// Named one by one.
    pub list: Vec<Target>,
    /// Found in DNS.
    pub names: Vec<DnsName>,
    /// How often names are resolved again.
    pub interval: Duration,
}

/// What the user gave is no peer.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PeerError {
    /// Nothing where an address should be.
    #[error("peer {0:?} has no address: write NAME=HOST:PORT, HOST:PORT or unix:///PATH")]
    NoAddress(String),
    /// The port is no number from 1 to 65535.
    #[error("peer {given:?} has the port {port:?}: a port is a number from 1 to 65535")]
    Port {
        /// As given.
        given: String,
        /// What stands for the port.
        port: String,
    },
    /// A host with characters no host has.
    #[error("peer {given:?} has the host {host:?}: a host is a DNS name or an IP address (IPv6 in brackets)")]
    Host {
        /// As given.
        given: String,
        /// What stands for the host.
        host: String,
    },
    /// A unix socket by a relative path.
    #[error("peer {0:?} names a unix socket by a relative path: write unix:///ABSOLUTE/PATH")]
    RelativePath(String),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(host, port) if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp(host, port) => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
        }
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self::Tcp(address.ip().to_string(), address.port())
    }
}

impl FromStr for Target {
    type Err = PeerError;

    fn from_str(given: &str) -> Result<Self, PeerError> {
        let (label, rest) = match given.split_once('=') {
            Some((label, rest)) => (label.trim(), rest.trim()),
            None => ("", given.trim()),
        };
        let address = address(given, rest)?;
        let label = if label.is_empty() { address.to_string() } else { label.to_owned() };
        Ok(Self { label, address })
    }
}

impl FromStr for DnsName {
    type Err = PeerError;

    fn from_str(given: &str) -> Result<Self, PeerError> {
        let (host, port) = host_and_port(given, given.trim())?;
        Ok(Self { host, port })
    }
}

fn address(given: &str, text: &str) -> Result<Address, PeerError> {
    let Some(path) = text.strip_prefix("unix:") else {
        return host_and_port(given, text).map(|(host, port)| Address::Tcp(host, port));
    };
    let path = PathBuf::from(path.strip_prefix("//").unwrap_or(path));
    if path.as_os_str().is_empty() {
        return Err(PeerError::NoAddress(given.to_owned()));
    }
    if path.is_relative() {
        return Err(PeerError::RelativePath(given.to_owned()));
    }
    Ok(Address::Unix(path))
}

fn host_and_port(given: &str, text: &str) -> Result<(String, u16), PeerError> {
    let (host, port) = split_port(text);
    if host.is_empty() {
        return Err(PeerError::NoAddress(given.to_owned()));
    }
    let known = |c: char| c.is_ascii_alphanumeric() || "-._:%".contains(c);
    if !host.chars().all(known) {
        return Err(PeerError::Host { given: given.to_owned(), host: host.to_owned() });
    }
    let port = match port {
        None => DAEMON_PORT,
        Some(port) => match port.parse::<u16>() {
            Ok(number) if number > 0 => number,
            _ => return Err(PeerError::Port { given: given.to_owned(), port: port.to_owned() }),
        },
    };
    Ok((host.to_owned(), port))
}

/// `HOST`, `HOST:PORT`, `[V6]`, `[V6]:PORT`, and a bare IPv6 address, whose colons are its own.
fn split_port(text: &str) -> (&str, Option<&str>) {
    if let Some(rest) = text.strip_prefix('[') {
        return match rest.split_once(']') {
            Some((host, port)) => (host, port.strip_prefix(':')),
            None => (text, None),
        };
    }
    match text.split_once(':') {
        Some((_, port)) if port.contains(':') => (text, None),
        Some((host, port)) => (host, Some(port)),
        None => (text, None),
    }
}

/// The set as it is without DNS, for the start.
#[must_use]
pub fn listed(sources: &Sources) -> watch::Sender<Targets> {
    watch::Sender::new(sources.list.iter().cloned().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(text: &str) -> Result<(String, String), PeerError> {
        text.parse::<Target>().map(|t| (t.label, t.address.to_string()))
    }

    #[test]
    fn a_peer_is_given_with_or_without_a_name() {
        let own = |a: &str, b: &str| Ok((a.to_owned(), b.to_owned()));
        assert_eq!(target("n1=10.0.0.1:4244"), own("n1", "10.0.0.1:4244"));
        assert_eq!(target("10.0.0.1"), own("10.0.0.1:4244", "10.0.0.1:4244"));
        assert_eq!(target("n1=[fd00::1]:99"), own("n1", "[fd00::1]:99"));
        assert_eq!(target("fd00::1"), own("[fd00::1]:4244", "[fd00::1]:4244"));
        assert_eq!(target("n2=unix:///run/w.sock"), own("n2", "unix:///run/w.sock"));
    }

    #[test]
    fn what_is_no_peer_says_what_is_wrong() {
        let message = |text: &str| target(text).unwrap_err().to_string();
        insta::assert_snapshot!(
            [message("n1="), message("n1=host:0"), message("host:70000"), message("a b:1"), message("unix:x.sock")].join("\n"),
            @r#"
        peer "n1=" has no address: write NAME=HOST:PORT, HOST:PORT or unix:///PATH
        peer "n1=host:0" has the port "0": a port is a number from 1 to 65535
        peer "host:70000" has the port "70000": a port is a number from 1 to 65535
        peer "a b:1" has the host "a b": a host is a DNS name or an IP address (IPv6 in brackets)
        peer "unix:x.sock" names a unix socket by a relative path: write unix:///ABSOLUTE/PATH
        "#
        );
    }
}
