//! Who watches the node while a load runs.

use std::path::Path;
use std::process::Command;

use anyhow::Result;
use weir_tests::node::{Watched, number};
use weir_tests::pods::{DEVICES, Pods};
use weir_tests::{DEADLINE, Running, wait_for};

use crate::least::{Least, Program};

/// The kinds of watchers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Nothing,
    Least,
    Ebpf,
    Pcap,
    Tcpdump,
}

impl Kind {
    pub const ALL: [Self; 5] = [Self::Nothing, Self::Least, Self::Ebpf, Self::Pcap, Self::Tcpdump];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Least => "least",
            Self::Ebpf => "ebpf",
            Self::Pcap => "pcap",
            Self::Tcpdump => "tcpdump",
        }
    }

    pub const fn what(self) -> &'static str {
        match self {
            Self::Nothing => "nobody watching",
            Self::Least => "an eBPF program on the same devices that does nothing",
            Self::Ebpf => "weir watching by eBPF",
            Self::Pcap => "weir watching by libpcap",
            Self::Tcpdump => "`tcpdump -i any -w /dev/null` watching",
        }
    }
}

/// A running one.
pub enum Watcher<'a> {
    Nothing,
    Least { _program: Least<'a> },
    Weir { _watched: Watched },
    Tcpdump { _process: Running },
}

impl<'a> Watcher<'a> {
    /// Starts it and waits until it sees both pods' devices.
    pub fn start(kind: Kind, pods: &'a Pods, folder: &Path) -> Result<Self> {
        match kind {
            Kind::Nothing => Ok(Self::Nothing),
            Kind::Least => Ok(Self::Least { _program: Least::hang(Program::Nothing, pods)? }),
            Kind::Ebpf | Kind::Pcap => {
                let watched = Watched::start(&pods.node, folder, "node", &["--source", kind.name()])?;
                watching(&watched)?;
                Ok(Self::Weir { _watched: watched })
            }
            Kind::Tcpdump => tcpdump(pods, folder),
        }
    }
}

/// Waits until a daemon has attached both pods' devices.
pub fn watching(watched: &Watched) -> Result<()> {
    wait_for("both devices to be captured", DEADLINE, || {
        let devices = number(&watched.status().ok()?["weir"]["source"]["devices"]);
        (devices >= DEVICES.len() as u64).then_some(())
    })
}

fn tcpdump<'a>(pods: &Pods, folder: &Path) -> Result<Watcher<'a>> {
    let log = folder.join("tcpdump.log");
    let mut command: Command = pods.node.command("tcpdump");
    command.args(["-i", "any", "-w", "/dev/null"]);
    let process = Running::logging(&mut command, &log)?;
    wait_for("tcpdump to listen", DEADLINE, || {
        std::fs::read_to_string(&log).ok()?.contains("listening on").then_some(())
    })?;
    Ok(Watcher::Tcpdump { _process: process })
}
