//! What the tests that no single package can hold share: the built programs, the corpus, waiting for a condition.
//!
//! The tests themselves are in `tests/`. A test that cannot run says so in one line that `tests/run.sh` counts.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The root of the repository.
#[must_use]
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A program of the workspace, as the same build made it.
///
/// # Errors
/// If it is not there, with the command that builds it.
pub fn program(name: &str) -> anyhow::Result<PathBuf> {
    let test = std::env::current_exe()?;
    let folder = test.parent().and_then(Path::parent).unwrap_or(Path::new("."));
    let path = folder.join(name);
    anyhow::ensure!(path.exists(), "{} is not built: cargo build --workspace --bins", path.display());
    Ok(path)
}

/// The capture corpus, or the line that says why a test does not run.
#[must_use]
pub fn corpus(test: &str) -> Option<PathBuf> {
    skip_unless(test, std::env::var_os("WEIR_CORPUS").map(PathBuf::from), "WEIR_CORPUS is not set")
}

/// What a test needs, or the line that says why it does not run.
#[expect(clippy::print_stdout, reason = "the line is what the test command counts")]
pub fn skip_unless<T>(test: &str, needed: Option<T>, why: &str) -> Option<T> {
    if needed.is_none() {
        println!("skipped: {test}: {why}");
    }
    needed
}

/// True for root.
#[must_use]
pub fn is_root() -> bool {
    std::fs::read_to_string("/proc/self/status").is_ok_and(|status| {
        status.lines().any(|line| {
            line.strip_prefix("Uid:").is_some_and(|ids| ids.split_whitespace().nth(1) == Some("0"))
        })
    })
}

/// Waits until `condition` gives a value, at most `deadline`; looks again every few milliseconds.
///
/// # Errors
/// When the deadline passed, naming what was waited for.
pub fn wait_for<T>(
    what: &str,
    deadline: Duration,
    mut condition: impl FnMut() -> Option<T>,
) -> anyhow::Result<T> {
    let end = Instant::now() + deadline;
    loop {
        if let Some(value) = condition() {
            return Ok(value);
        }
        anyhow::ensure!(Instant::now() < end, "{what}: not within {deadline:?}");
        std::thread::park_timeout(Duration::from_millis(10));
    }
}

/// A program that is stopped when the test is over, however it ends.
#[derive(Debug)]
pub struct Running(Child);

impl Running {
    /// Starts it with its output thrown away.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn start(command: &mut Command) -> anyhow::Result<Self> {
        Ok(Self(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::inherit()).spawn()?))
    }

    /// Its process.
    pub const fn child(&mut self) -> &mut Child {
        &mut self.0
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Over already is as good as killed.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
