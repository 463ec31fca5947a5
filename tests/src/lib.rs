//! What the tests that no single package can hold share: the built programs, the corpus, waiting for a condition.
//!
//! The tests themselves are in `tests/`. A test that cannot run says so in one line that `tests/run.sh` counts.

pub mod netns;
pub mod node;
pub mod pods;
pub mod results;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde_json::Value;

/// Nothing that a test waits for takes longer, not even on a machine with much else to do.
pub const DEADLINE: Duration = Duration::from_secs(30);

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

    /// Starts it with its standard error in a file.
    ///
    /// # Errors
    /// If it cannot be started, or the file not be made.
    pub fn logging(command: &mut Command, log: &Path) -> anyhow::Result<Self> {
        Ok(Self(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(log)?).spawn()?))
    }

    /// A process that was started elsewhere.
    #[must_use]
    pub const fn of(child: Child) -> Self {
        Self(child)
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

/// A program that has ended.
#[derive(Debug)]
pub struct Ended {
    /// Exit code; none where a signal ended it.
    pub code: Option<i32>,
    /// Its standard output.
    pub out: String,
    /// Its standard error.
    pub err: String,
}

impl Ended {
    /// The one line on standard error.
    #[must_use]
    pub fn sentence(&self) -> &str {
        self.err.strip_suffix('\n').filter(|line| !line.contains('\n')).unwrap_or("")
    }
}

/// Runs a command to its end; one that does not end by itself is killed and an error.
///
/// # Errors
/// If it cannot be started, or runs longer than [`DEADLINE`].
pub fn finish(command: &mut Command) -> anyhow::Result<Ended> {
    // Files, not pipes: nobody has to read while it runs.
    let (out, err) = (tempfile::NamedTempFile::new()?, tempfile::NamedTempFile::new()?);
    let streams = (out.reopen()?, err.reopen()?);
    let child = command.stdin(Stdio::null()).stdout(streams.0).stderr(streams.1).spawn();
    let mut running = Running(child.with_context(|| format!("{command:?}"))?);
    let what = format!("the end of {command:?}");
    let status = wait_for(&what, DEADLINE, || running.child().try_wait().transpose())??;
    let text = |file: &Path| std::fs::read(file).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    Ok(Ended { code: status.code(), out: text(out.path())?, err: text(err.path())? })
}

/// Runs a command to its end, which must be a good one: what it printed.
///
/// # Errors
/// As [`finish`]; or what it printed, if it failed.
pub fn succeed(command: &mut Command) -> anyhow::Result<String> {
    let ended = finish(command)?;
    anyhow::ensure!(ended.code == Some(0), "{command:?}: {}{}", ended.out, ended.err);
    Ok(ended.out)
}

/// Runs a program of the workspace to its end.
///
/// # Errors
/// As [`finish`], or if it is not built.
pub fn weir(name: &str, args: &[&str]) -> anyhow::Result<Ended> {
    finish(Command::new(program(name)?).args(args))
}

/// The JSON lines that `weir` prints when it asks the server at this socket.
///
/// # Errors
/// What it says instead.
pub fn ask(socket: &Path, args: &[&str]) -> anyhow::Result<Vec<Value>> {
    let server = format!("unix://{}", socket.display());
    let ended = finish(Command::new(program("weir")?).args(args).args(["--server", &server, "-o", "json"]))?;
    // A server that is there and does not serve has a status too, which `weir` tells and then fails.
    let told = ended.code == Some(0) || (args == ["status"] && !ended.out.is_empty());
    anyhow::ensure!(told, "weir {args:?}: {}", ended.err);
    ended.out.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
}

/// Waits until a server answers at this socket.
///
/// # Errors
/// When it does not.
pub fn answering(socket: &Path) -> anyhow::Result<()> {
    wait_for(&format!("a server at {}", socket.display()), DEADLINE, || {
        ask(socket, &["status"]).ok().map(drop)
    })
}
