//! One running demo: its name, its directory under `/run`, and the promise that nothing of it stays.
//!
//! All that a demo makes is either a namespace whose name begins with the instance's, a process in one of them, or a file in
//! its directory. Dropping the instance removes them, after a failed set-up and after a panic too; `down` does the same for
//! demos that could not, because they were killed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};

use crate::command::{output, run};
use crate::draw::{Draw, fresh_seed};

const RUN: &str = "/run";
const PREFIX: &str = "weir-demo-";
const PID_FILE: &str = "pid";
/// How long a demo may take to remove itself when told to.
const PATIENCE: Duration = Duration::from_secs(20);

/// A demo that runs, and what it has to clean up.
#[derive(Debug)]
pub struct Instance {
    id: String,
    directory: PathBuf,
}

impl Instance {
    /// Takes a name that no other instance has.
    pub fn create() -> Result<Self> {
        let mut draw = Draw::new(fresh_seed() ^ u64::from(std::process::id()));
        for _ in 0..32 {
            let id = draw.hex(4);
            let directory = Path::new(RUN).join(format!("{PREFIX}{id}"));
            match fs::create_dir(&directory) {
                Ok(()) => {
                    let instance = Self { id, directory };
                    fs::write(instance.file(PID_FILE), std::process::id().to_string())
                        .context("cannot write the demo's pid file")?;
                    return Ok(instance);
                }
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => {
                    return Err(error)
                        .with_context(|| format!("cannot make the directory {}", directory.display()));
                }
            }
        }
        bail!("no free name for a demo in {RUN}: `deploy/demo.sh down` removes those that were killed")
    }

    pub fn id(&self) -> &str {
        &self.id
    }

    /// A file of this instance.
    pub fn file(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Name of one of its namespaces.
    pub fn netns_name(&self, what: &str) -> String {
        format!("{PREFIX}{}-{what}", self.id)
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        for complaint in remove(&self.id, &self.directory) {
            crate::say(format_args!("cleaning up: {complaint}"));
        }
    }
}

/// Stops every running demo, or the one of that name, and removes what killed ones left. Gives the removed ones' names.
pub fn down(only: Option<&str>) -> Result<Vec<String>> {
    let mut removed = Vec::new();
    for entry in fs::read_dir(RUN).context("cannot read /run")? {
        let entry = entry.context("cannot read /run")?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(id) = name.strip_prefix(PREFIX) else { continue };
        if only.is_some_and(|only| only != id) {
            continue;
        }
        stop_owner(&entry.path())?;
        let complaints = if entry.path().exists() { remove(id, &entry.path()) } else { Vec::new() };
        if let Some(complaint) = complaints.into_iter().next() {
            return Err(complaint.context(format!("demo {id} could not be removed")));
        }
        removed.push(id.to_owned());
    }
    Ok(removed)
}

fn stop_owner(directory: &Path) -> Result<()> {
    let Some(pid) = owner(directory) else { return Ok(()) };
    if kill_process(pid, Signal::TERM).is_err() {
        return Ok(());
    }
    let deadline = Instant::now() + PATIENCE;
    while directory.exists() && test_kill_process(pid).is_ok() {
        if Instant::now() > deadline {
            bail!(
                "the demo with process {} does not end; `kill -9 {0}`, then `down` again",
                pid.as_raw_nonzero()
            );
        }
        std::thread::park_timeout(Duration::from_millis(50));
    }
    Ok(())
}

/// The process that a directory belongs to, if it is alive and a demo: numbers of processes are used again.
fn owner(directory: &Path) -> Option<Pid> {
    let pid = fs::read_to_string(directory.join(PID_FILE)).ok()?.trim().parse().ok()?;
    let program = fs::read_link(format!("/proc/{pid}/exe")).ok()?;
    let name = program.file_name()?.to_string_lossy().into_owned();
    if name.starts_with("weir-demo") { Pid::from_raw(pid) } else { None }
}

/// Removes all that bears the instance's name, as far as it goes, and gives what did not.
fn remove(id: &str, directory: &Path) -> Vec<anyhow::Error> {
    let mut complaints = Vec::new();
    match namespaces(id) {
        Ok(names) => {
            for name in names {
                kill_inside(&name);
                complaints.extend(run(Command::new("ip").args(["netns", "del", &name])).err());
            }
        }
        Err(error) => complaints.push(error),
    }
    if let Err(error) = fs::remove_dir_all(directory) {
        complaints.push(anyhow::Error::new(error).context(format!("cannot remove {}", directory.display())));
    }
    complaints
}

fn namespaces(id: &str) -> Result<Vec<String>> {
    let prefix = format!("{PREFIX}{id}-");
    let list = output(Command::new("ip").args(["netns", "list"]))?;
    let names = list.lines().filter_map(|line| line.split_whitespace().next());
    Ok(names.filter(|name| name.starts_with(&prefix)).map(str::to_owned).collect())
}

/// Kills what still runs in a namespace of ours. A process that is already gone is what was wanted.
fn kill_inside(name: &str) {
    let Ok(pids) = output(Command::new("ip").args(["netns", "pids", name])) else { return };
    for pid in pids.lines().filter_map(|line| Pid::from_raw(line.trim().parse().ok()?)) {
        let _ = kill_process(pid, Signal::KILL);
    }
}
