//! What a process used, and what its eBPF programs cost, as the kernel counts it.

use std::time::Duration;

use anyhow::{Context as _, Result};

/// Clock ticks of /proc a second (USER_HZ), on every architecture that the kernel has had since 2.6.
const TICKS: u64 = 100;

/// Processor time of all its threads.
pub fn cpu(pid: u32) -> Result<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name may hold blanks and parentheses; what follows it is numbers (proc_pid_stat(5): utime is the 14th).
    let (_, fields) = stat.rsplit_once(')').context("no name in /proc/PID/stat")?;
    let numbers: Vec<u64> = fields.split_whitespace().skip(11).take(2).flat_map(str::parse).collect();
    anyhow::ensure!(numbers.len() == 2, "no times in /proc/PID/stat");
    Ok(Duration::from_millis(numbers.iter().sum::<u64>() * 1000 / TICKS))
}

/// Resident memory, bytes.
pub fn resident(pid: u32) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kib: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kib * 1024)
}

/// Bytes that the kernel charges the process's eBPF maps with.
pub fn maps(pid: u32) -> Result<u64> {
    sum(pid, "memlock:", "map_id:")
}

/// Nanoseconds in the process's eBPF programs, and how often they ran, since the kernel counts it.
pub fn programs(pid: u32) -> Result<(u64, u64)> {
    Ok((sum(pid, "run_time_ns:", "prog_id:")?, sum(pid, "run_cnt:", "prog_id:")?))
}

/// The sum of a number over the process's descriptors, each object once.
fn sum(pid: u32, key: &str, id: &str) -> Result<u64> {
    let mut seen = std::collections::BTreeMap::new();
    for entry in std::fs::read_dir(format!("/proc/{pid}/fdinfo"))? {
        // A descriptor may be closed while we look.
        let Ok(info) = std::fs::read_to_string(entry?.path()) else { continue };
        let of = |key: &str| -> Option<u64> {
            info.lines().find_map(|line| line.strip_prefix(key)?.trim().parse().ok())
        };
        // Links name their program too, and have no numbers of it.
        if let (Some(id), Some(value)) = (of(id), of(key)) {
            seen.insert(id, value);
        }
    }
    Ok(seen.values().sum())
}

/// The kernel counts the time in eBPF programs while this lives.
pub struct Counting;

const SWITCH: &str = "/proc/sys/kernel/bpf_stats_enabled";

impl Counting {
    pub fn begin() -> Result<Self> {
        std::fs::write(SWITCH, "1").context("cannot have the kernel count eBPF programs")?;
        Ok(Self)
    }
}

impl Drop for Counting {
    fn drop(&mut self) {
        // It was off before: it costs every program time.
        let _ = std::fs::write(SWITCH, "0");
    }
}
