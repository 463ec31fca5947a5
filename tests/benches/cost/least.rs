//! The least that watching by eBPF costs on this machine: programs that do nothing, or read the clock alone, where weir's hang.
//!
//! What weir's programs take beyond that is weir's. Needs clang, bpftool and tc; leaves nothing behind.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use serde_json::Value;
use tempfile::TempDir;
use weir_tests::pods::{DEVICES, Pods};
use weir_tests::succeed;

#[path = "../../../daemon/ebpf/compile.rs"]
mod compile;

/// What a program does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    Nothing,
    Clock,
}

impl Program {
    pub const ALL: [Self; 2] = [Self::Nothing, Self::Clock];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Clock => "clock",
        }
    }

    pub const fn what(self) -> &'static str {
        match self {
            Self::Nothing => "a program that does nothing, which is what the kernel's own counting takes",
            Self::Clock => "a program that reads the clock and does nothing else",
        }
    }
}

/// A program that hangs on both pods' devices, in and out.
pub struct Least<'a> {
    pods: &'a Pods,
    /// A file system of the kernel's for programs.
    mounted: TempDir,
    pinned: PathBuf,
}

impl<'a> Least<'a> {
    pub fn hang(program: Program, pods: &'a Pods) -> Result<Self> {
        let built = tempfile::tempdir()?;
        let object = built.path().join("least.bpf.o");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/cost/least.bpf.c");
        let clang = compile::find_clang().context("no clang")?;
        compile::compile(clang, &source, &object).map_err(anyhow::Error::msg)?;
        let mounted = tempfile::tempdir()?;
        succeed(Command::new("mount").args(["-t", "bpf", "bpf"]).arg(mounted.path()))?;
        let pinned = mounted.path().join("programs").join(program.name());
        let least = Self { pods, mounted, pinned };
        let load = ["prog", "loadall"];
        let folder = least.mounted.path().join("programs");
        succeed(Command::new("bpftool").args(load).arg(&object).arg(folder).args(["type", "classifier"]))?;
        for device in DEVICES {
            least.traffic_control(&format!("qdisc add dev {device} clsact"))?;
            for way in ["ingress", "egress"] {
                let pinned = least.pinned.display();
                least.traffic_control(&format!(
                    "filter add dev {device} {way} bpf direct-action pinned {pinned}"
                ))?;
            }
        }
        Ok(least)
    }

    /// Nanoseconds in it, and how often it ran, since the kernel counts it.
    pub fn told(&self) -> Result<(u64, u64)> {
        let told = succeed(Command::new("bpftool").args(["-j", "prog", "show", "pinned"]).arg(&self.pinned))?;
        let told: Value = serde_json::from_str(&told).context("bpftool's JSON")?;
        let number = |key: &str| told[key].as_u64().with_context(|| format!("bpftool tells no {key}"));
        Ok((number("run_time_ns")?, number("run_cnt")?))
    }

    /// In the node's network namespace, and outside of the file systems that `ip netns exec` would show.
    fn traffic_control(&self, words: &str) -> Result<String> {
        self.pods.node.enter(|| succeed(Command::new("tc").args(words.split(' '))))
    }
}

impl Drop for Least<'_> {
    fn drop(&mut self) {
        // What was never hung there is not missed.
        for device in DEVICES {
            let _ = self.traffic_control(&format!("qdisc del dev {device} clsact"));
        }
        let _ = succeed(Command::new("umount").arg(self.mounted.path()));
    }
}
