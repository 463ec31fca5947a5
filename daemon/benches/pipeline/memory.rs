//! The most memory that a replay of the recording takes: the program itself, watched from outside.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use weir_tests::results::Figure;

/// The kernel's high-water mark only grows, so the last one read is the peak but for this time before the end.
const STEP: Duration = Duration::from_millis(5);

/// Peak resident memory of `weir-daemon replay`.
pub fn of_a_replay(recording: &Path) -> Result<Figure> {
    let mut replay = Command::new(env!("CARGO_BIN_EXE_weir-daemon"))
        .arg("replay")
        .arg(recording)
        .arg("--cluster")
        .arg(recording.with_extension("yaml"))
        .args(["--output", "summary"])
        .stdout(Stdio::null())
        .spawn()
        .context("cannot start weir-daemon")?;
    let mut peak_kib = 0;
    let status = loop {
        if let Some(status) = replay.try_wait()? {
            break status;
        }
        peak_kib = peak_kib.max(high_water_kib(&replay).unwrap_or(0));
        std::thread::park_timeout(STEP);
    };
    ensure!(status.success() && peak_kib > 0, "the replay ended with {status}");
    let what = "peak resident memory of `weir-daemon replay` over the same recording";
    Ok(Figure::new("replay_peak_mib", (f64::from(peak_kib) / 1024.0).round(), "MiB", what))
}

fn high_water_kib(child: &Child) -> Option<u32> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}
