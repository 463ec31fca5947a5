//! What a node is like: read from /proc, /sys and netlink, and from the cluster's source. Nothing is judged here.

use std::fs;
use std::path::Path;
use std::time::Duration;

use weir_cluster::manifest::ManifestFiles;
use weir_cluster::watch::{Probe, probe};

use crate::app::{AppError, cluster, serving};
use crate::capture::links::{self, Link};
use crate::capture::{Input, Sink, sink};
use crate::config::CheckArgs;
use crate::{conntrack, nflog};

/// A reader that was opened only to see whether it can be has nothing to finish.
const STOP: Duration = Duration::from_secs(1);

/// All of it.
#[derive(Debug)]
pub(super) struct Facts {
    /// As `uname -r` says.
    pub(super) kernel: String,
    pub(super) has_btf: bool,
    /// Effective capabilities, a bit each.
    pub(super) capabilities: u64,
    /// None where it is not asked for.
    pub(super) conntrack: Option<Conntrack>,
    pub(super) nflog: Vec<NflogGroup>,
    pub(super) links: Result<Vec<Link>, String>,
    pub(super) with_loopback: bool,
    pub(super) cluster: ClusterFacts,
}

#[derive(Debug)]
pub(super) struct Conntrack {
    pub(super) opened: Result<(), String>,
    /// None where the kernel does not say.
    pub(super) accounting: Option<bool>,
    /// In use, and the most there may be.
    pub(super) entries: Option<(u64, u64)>,
}

#[derive(Debug)]
pub(super) struct NflogGroup {
    pub(super) number: u16,
    pub(super) opened: Result<(), String>,
}

#[derive(Debug)]
pub(super) enum ClusterFacts {
    NotAsked,
    /// Objects in the files.
    Files(Result<usize, String>),
    /// No API server is known, or no client can be made for it.
    Unreachable(String),
    Server {
        address: String,
        probes: Vec<Probe>,
    },
}

pub(super) fn gather(args: &CheckArgs) -> Result<Facts, AppError> {
    let capture = &args.capture;
    Ok(Facts {
        kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
        has_btf: Path::new("/sys/kernel/btf/vmlinux").exists(),
        capabilities: effective_capabilities(),
        conntrack: (!capture.no_conntrack).then(conntrack_facts),
        nflog: capture.nflog_groups.iter().map(|group| nflog_group(*group)).collect(),
        links: links::read_links().map_err(|error| error.to_string()),
        with_loopback: capture.loopback,
        cluster: cluster_facts(args)?,
    })
}

/// `CapEff` of proc(5); none where it cannot be read, and then nothing can be done either.
fn effective_capabilities() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    line.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok()).unwrap_or(0)
}

/// Where inputs go that nobody wants.
fn nowhere() -> Sink {
    let (queue, _) = std::sync::mpsc::sync_channel::<Input>(1);
    sink(queue)
}

fn conntrack_facts() -> Conntrack {
    let number = |name: &str| -> Option<u64> {
        fs::read_to_string(format!("/proc/sys/net/netfilter/{name}")).ok()?.trim().parse().ok()
    };
    let opened = conntrack::start(conntrack::Settings::default(), nowhere())
        .map_err(|error| error.to_string())
        .and_then(|reader| reader.stop(STOP).map_err(|error| error.to_string()));
    Conntrack {
        opened,
        accounting: number("nf_conntrack_acct").map(|on| on != 0),
        entries: number("nf_conntrack_count").zip(number("nf_conntrack_max")),
    }
}

fn nflog_group(number: u16) -> NflogGroup {
    let settings = nflog::Settings { groups: vec![number], ..nflog::Settings::default() };
    let opened = nflog::start(&settings, nowhere())
        .map_err(|error| error.to_string())
        .and_then(|reader| reader.stop(STOP).map_err(|error| error.to_string()));
    NflogGroup { number, opened }
}

fn cluster_facts(args: &CheckArgs) -> Result<ClusterFacts, AppError> {
    let files = &args.cluster.cluster_files;
    if !args.kubernetes.kubernetes {
        if files.is_empty() {
            return Ok(ClusterFacts::NotAsked);
        }
        let loaded = ManifestFiles::new(files.clone()).load();
        let objects = loaded.map(|snapshot| snapshot.objects.len()).map_err(|error| error.to_string());
        return Ok(ClusterFacts::Files(objects));
    }
    let runtime = serving::runtime()?;
    let server = match cluster::server(&runtime, &args.kubernetes) {
        Ok(server) => server,
        Err(error) => return Ok(ClusterFacts::Unreachable(error.to_string())),
    };
    let address = server.address();
    Ok(match runtime.block_on(probe(server)) {
        Ok(probes) => ClusterFacts::Server { address, probes },
        Err(error) => ClusterFacts::Unreachable(error.to_string()),
    })
}
