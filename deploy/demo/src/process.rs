//! A program that runs beside the demo: started with its output in a file, watched, stopped, and never left behind.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Child;

use crate::command::typed;
use crate::wait;

/// How much of a program's last output an error quotes.
const QUOTED_LINES: usize = 8;

/// A running program.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts it; what it prints goes to the log file, behind what is there.
    pub fn start(name: impl Into<String>, mut command: Command, log: PathBuf) -> Result<Self> {
        let name = name.into();
        let text = typed(&command);
        let file = File::options().create(true).append(true).open(&log);
        let file = file.with_context(|| format!("cannot open the log {}", log.display()))?;
        let errors = file.try_clone().context("cannot share a log between stdout and stderr")?;
        // A group of its own: Ctrl-C is for the demo, which then ends its programs in order.
        command.stdin(Stdio::null()).stdout(file).stderr(errors).process_group(0);
        let child = tokio::process::Command::from(command)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {name}: `{text}`"))?;
        Ok(Self { name, child, log })
    }

    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Waits until the look gives something; fails at once when the program ends before.
    pub async fn until<T, L>(&mut self, what: &str, limit: Duration, mut look: L) -> Result<T>
    where
        L: AsyncFnMut() -> Result<Option<T>>,
    {
        let (child, name, log) = (&mut self.child, &self.name, &self.log);
        let what = format!("{what} ({name}, log {})", log.display());
        let found = wait::until(&what, limit, async || {
            if let Some(status) = child.try_wait().context("cannot watch a program")? {
                bail!("{name} ended ({status}); it said:\n{}", last_lines(log));
            }
            look().await
        });
        found.await
    }

    /// Ends it at once, without a chance to tidy up.
    pub async fn kill(mut self) -> Result<()> {
        self.child.kill().await.with_context(|| format!("cannot kill {}", self.name))
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let pid = self.child.id().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
        let pid = pid.with_context(|| format!("{} has ended", self.name))?;
        kill_process(pid, signal).with_context(|| format!("cannot signal {}", self.name))
    }

    /// Waits for its own end.
    pub async fn wait(&mut self) -> Result<ExitStatus> {
        self.child.wait().await.with_context(|| format!("cannot wait for {}", self.name))
    }
}

fn last_lines(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines.get(lines.len().saturating_sub(QUOTED_LINES)..).unwrap_or_default().join("\n")
}
