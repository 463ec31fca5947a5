//! The programs that are compared, each with the arguments by which it only reads the file and builds what it builds.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

/// The kernel's high-water mark of memory only grows, so the last one read is the peak but for this time before the end.
const STEP: Duration = Duration::from_millis(2);
/// Unit of the times in `/proc/PID/stat` (`USER_HZ`).
const TICK: Duration = Duration::from_millis(10);

/// A program to be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tool {
    Weir,
    Softflowd,
    Nfpcapd,
    Tshark,
    Tcpdump,
}

/// What one run took.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    pub wall: Duration,
    /// User and system time.
    pub cpu: Duration,
    pub peak_kib: u32,
}

impl Tool {
    pub const ALL: [Self; 5] = [Self::Weir, Self::Softflowd, Self::Nfpcapd, Self::Tshark, Self::Tcpdump];

    /// Its name in the results.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Weir => "weir",
            Self::Softflowd => "softflowd",
            Self::Nfpcapd => "nfpcapd",
            Self::Tshark => "tshark",
            Self::Tcpdump => "tcpdump",
        }
    }

    /// What it does with the capture, for a reader of the results.
    pub const fn does(self) -> &'static str {
        match self {
            Self::Weir => "`weir-daemon replay --output summary`, every flow enriched",
            Self::Softflowd => "`softflowd -r`, nothing sent",
            Self::Nfpcapd => "`nfpcapd -r`",
            Self::Tshark => "`tshark -q -z conv,tcp`",
            Self::Tcpdump => "`tcpdump -w /dev/null`, which builds no flows",
        }
    }

    /// The command that reads `capture`. What it writes goes into `scratch`.
    pub fn command(self, capture: &Path, scratch: &Path) -> Command {
        let program = if self == Self::Weir { env!("CARGO_BIN_EXE_weir-daemon") } else { self.name() };
        let mut command = Command::new(program);
        match self {
            Self::Weir => {
                command.arg("replay").arg(capture).args(["--output", "summary"]);
                command.arg("--max-connections").arg("2000000");
                command.arg("--cluster").arg(capture.with_extension("yaml"));
            }
            Self::Softflowd => {
                // Without a control socket: in some folders it waits for that for ever.
                command.arg("-r").arg(capture).args(["-d", "-6", "-m", "2000000", "-c", "none"]);
                command.arg("-p").arg(scratch.join("softflowd.pid"));
            }
            Self::Nfpcapd => {
                command.arg("-r").arg(capture).arg("-w").arg(scratch);
            }
            Self::Tshark => {
                command.args(["-q", "-n", "-z", "conv,tcp", "-r"]).arg(capture);
            }
            Self::Tcpdump => {
                command.args(["-n", "-w", "/dev/null", "-r"]).arg(capture);
            }
        }
        command
    }
}

/// Runs a command to its end, on one processor as the kernel likes it.
pub fn run(mut command: Command) -> Result<Run> {
    let name = format!("{command:?}");
    let before = children_time()?;
    let begun = Instant::now();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .with_context(|| format!("cannot start {name}"))?;
    let mut peak_kib = 0;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        peak_kib = peak_kib.max(high_water_kib(child.id()).unwrap_or(0));
        std::thread::park_timeout(STEP);
    };
    let wall = begun.elapsed();
    ensure!(status.success(), "{name} ended with {status}");
    Ok(Run { wall, cpu: children_time()?.saturating_sub(before), peak_kib })
}

fn high_water_kib(process: u32) -> Option<u32> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}

/// User and system time of all children that were waited for: fields 16 and 17 of proc(5), the 14th and 15th behind the name.
fn children_time() -> Result<Duration> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let (_, behind_name) = stat.rsplit_once(") ").context("/proc/self/stat names no program")?;
    let ticks = behind_name.split(' ').skip(13).take(2).map(str::parse::<u32>).sum::<Result<u32, _>>()?;
    Ok(TICK * ticks)
}
