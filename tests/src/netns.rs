//! Network namespaces that are gone when their test is: nodes and pods, wired by `ip`.
//!
//! Everything goes through `ip`, so that a failing step can be typed again by hand. Names carry the process's number, so
//! that tests that run side by side never meet.

use std::fs::File;
use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::{finish, succeed};

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// A network namespace.
#[derive(Debug)]
pub struct Netns(String);

impl Netns {
    /// Makes one with its loopback up and without IPv6, whose own chatter nobody asked for.
    ///
    /// # Errors
    /// What `ip` says.
    pub fn new() -> anyhow::Result<Self> {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("weir-tests-{}-{number}", std::process::id());
        succeed(Command::new("ip").args(["netns", "add", &name]))?;
        let netns = Self(name);
        netns.run("ip link set lo up")?;
        for scope in ["all", "default"] {
            netns.shell(&format!("echo 1 > /proc/sys/net/ipv6/conf/{scope}/disable_ipv6 || true"))?;
        }
        Ok(netns)
    }

    /// A command that runs inside.
    #[must_use]
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.0]).arg(program);
        command
    }

    /// Runs words inside; they must succeed. Gives what was printed.
    ///
    /// # Errors
    /// What the program says.
    pub fn run(&self, words: &str) -> anyhow::Result<String> {
        let mut words = words.split_whitespace();
        let program = words.next().unwrap_or("true");
        succeed(self.command(program).args(words))
    }

    /// The same through a shell.
    ///
    /// # Errors
    /// What it says.
    pub fn shell(&self, line: &str) -> anyhow::Result<String> {
        succeed(self.command("sh").args(["-ec", line]))
    }

    /// Runs a closure in a thread inside. What it opens stays inside.
    ///
    /// # Errors
    /// What the closure says, or that the namespace is gone.
    pub fn enter<T: Send>(&self, body: impl FnOnce() -> anyhow::Result<T> + Send) -> anyhow::Result<T> {
        let path = PathBuf::from("/run/netns").join(&self.0);
        std::thread::scope(|scope| {
            let inside = scope.spawn(move || {
                let file = File::open(path)?;
                move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))?;
                body()
            });
            inside.join().map_err(|_| anyhow::anyhow!("the thread in the namespace panicked"))?
        })
    }

    /// A veth of this name to `other`, where it is `eth0`.
    ///
    /// # Errors
    /// What `ip` says.
    pub fn plug(&self, device: &str, other: &Self) -> anyhow::Result<()> {
        self.cable(device, other, "eth0")
    }

    /// A veth of this name to `other`, where it has that name.
    ///
    /// # Errors
    /// What `ip` says.
    pub fn cable(&self, device: &str, other: &Self, there: &str) -> anyhow::Result<()> {
        self.run(&format!("ip link add {device} type veth peer name {there} netns {}", other.0))?;
        self.run(&format!("ip link set {device} up"))?;
        other.run(&format!("ip link set {there} up")).map(drop)
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        // What cannot be removed was removed by somebody else.
        let _ = finish(Command::new("ip").args(["netns", "del", &self.0]));
    }
}
