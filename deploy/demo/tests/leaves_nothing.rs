//! Whatever ends a demo, nothing of it stays on the machine: no namespace, no process, no file.
//!
//! Real worlds, made by the real program, so it needs root and the commands that `deploy/demo.sh` installs.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test: what it cannot do, it fails by; what it skips, it says"
)]

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, geteuid, kill_process};

const PROGRAM: &str = env!("CARGO_BIN_EXE_weir-demo");
const LIMIT: Duration = Duration::from_secs(60);

/// A demo whose world stands.
struct Demo {
    child: Child,
    id: String,
}

impl Demo {
    /// Starts one and reads what it says until it says how to end it.
    fn up() -> Self {
        let mut child = Command::new(PROGRAM).args(["up", "--bare"]).stderr(Stdio::piped()).spawn().unwrap();
        let (send, lines) = sync_channel(1000);
        let stderr = child.stderr.take().unwrap();
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if send.send(line).is_err() {
                    return;
                }
            }
        });
        let mut id = None;
        let deadline = Instant::now() + LIMIT;
        loop {
            match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) if line.starts_with("demo ") => {
                    id = line.split_whitespace().nth(1).map(str::to_owned);
                }
                Ok(line) if line.starts_with("end ") => break,
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    let _ = child.kill();
                    panic!("the demo did not come up");
                }
            }
        }
        let demo = Self { child, id: id.expect("the demo names itself first") };
        assert!(!namespaces(&demo.id).is_empty(), "a standing world has namespaces");
        assert!(directory(&demo.id).exists(), "a standing world has files");
        demo
    }

    fn signal(&mut self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
        self.child.wait().unwrap();
    }
}

fn directory(id: &str) -> std::path::PathBuf {
    Path::new("/run").join(format!("weir-demo-{id}"))
}

fn namespaces(id: &str) -> BTreeSet<String> {
    let list = Command::new("ip").args(["netns", "list"]).output().unwrap().stdout;
    let list = String::from_utf8(list).unwrap();
    let prefix = format!("weir-demo-{id}-");
    list.lines().filter(|line| line.starts_with(&prefix)).map(str::to_owned).collect()
}

/// Processes whose command line speaks of the demo.
fn processes(id: &str) -> Vec<String> {
    let name = format!("weir-demo-{id}");
    let numbers = std::fs::read_dir("/proc").unwrap().flatten();
    let lines = numbers.filter_map(|entry| std::fs::read_to_string(entry.path().join("cmdline")).ok());
    lines.filter(|line| line.contains(&name)).collect()
}

/// Processes die a moment after they are killed; all else must be gone when the demo is.
fn assert_nothing_stays(id: &str) {
    assert_eq!(namespaces(id), BTreeSet::new());
    assert!(!directory(id).exists());
    let deadline = Instant::now() + Duration::from_secs(5);
    while !processes(id).is_empty() {
        assert!(Instant::now() < deadline, "{:?}", processes(id));
        std::thread::yield_now();
    }
}

fn is_root(test: &str) -> bool {
    let root = geteuid().is_root();
    if !root {
        println!("skipped: {test}: needs root");
    }
    root
}

#[test]
fn a_demo_that_is_ended_removes_itself() {
    if !is_root("a_demo_that_is_ended_removes_itself") {
        return;
    }
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        let mut demo = Demo::up();
        demo.signal(signal);
        assert_nothing_stays(&demo.id);
    }
}

#[test]
fn down_removes_what_a_killed_demo_left() {
    if !is_root("down_removes_what_a_killed_demo_left") {
        return;
    }
    let mut demo = Demo::up();
    demo.signal(Signal::KILL);
    assert!(!namespaces(&demo.id).is_empty(), "a killed demo cannot clean up");
    let done = Command::new(PROGRAM).args(["down", &demo.id]).status().unwrap();
    assert!(done.success());
    assert_nothing_stays(&demo.id);
}

#[test]
fn a_seed_that_is_no_number_is_refused() {
    let output = Command::new(PROGRAM).args(["--seed", "twelve"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("--seed"));
}
