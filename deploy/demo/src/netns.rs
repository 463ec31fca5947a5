//! A named network namespace: made, configured, and used to run things in.
//!
//! Everything goes through `ip`, so that each step can be typed again by hand. Deleting a namespace deletes its links, so
//! nothing of the world ever lies in the machine's own namespace.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::command::{bound_to_us, feed, output, run};
use crate::plan::Family;

/// A namespace of this instance.
#[derive(Clone, Debug)]
pub struct Netns {
    name: String,
    /// What programs in it find as `/etc/resolv.conf`; none: the machine's.
    resolver: Option<PathBuf>,
}

impl Netns {
    /// Makes a namespace with its loopback up. Without IPv6 its own chatter is kept out; with it, addresses serve at once.
    pub fn create(name: String, families: &[Family]) -> Result<Self> {
        run(Command::new("ip").args(["netns", "add", &name]))?;
        let netns = Self { name, resolver: None };
        netns.ip("link set lo up")?;
        if !Path::new("/proc/sys/net/ipv6/conf/all/disable_ipv6").exists() {
            return Ok(netns);
        }
        let settings: &[(&str, &str)] = if families.contains(&Family::V6) {
            &[("disable_ipv6", "0"), ("accept_dad", "0"), ("accept_ra", "0"), ("router_solicitations", "0")]
        } else {
            &[("disable_ipv6", "1")]
        };
        for (name, value) in settings {
            netns.sysctl(&format!("net/ipv6/conf/all/{name}"), value)?;
            netns.sysctl(&format!("net/ipv6/conf/default/{name}"), value)?;
        }
        Ok(netns)
    }

    /// Programs in it resolve names by this file.
    pub fn resolve_by(&mut self, file: PathBuf) {
        self.resolver = Some(file);
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs `ip` with these words in the namespace.
    pub fn ip(&self, words: &str) -> Result<()> {
        self.ip_output(words).map(drop)
    }

    /// Runs `ip` with these words in the namespace and gives what it printed.
    pub fn ip_output(&self, words: &str) -> Result<String> {
        output(Command::new("ip").args(["-n", &self.name]).args(words.split_whitespace()))
    }

    /// Runs `bridge` with these words in the namespace.
    pub fn bridge(&self, words: &str) -> Result<()> {
        run(Command::new("bridge").args(["-n", &self.name]).args(words.split_whitespace()))
    }

    /// Sets a kernel parameter of the namespace, named as its file under `/proc/sys`.
    pub fn sysctl(&self, name: &str, value: &str) -> Result<()> {
        let write = "printf %s \"$1\" > \"/proc/sys/$0\"";
        run(self.plain("sh").args(["-c", write, name, value]))
    }

    /// Reads a file as programs in the namespace see it.
    pub fn cat(&self, file: &str) -> Result<String> {
        output(self.plain("cat").arg(file))
    }

    /// Loads rules with `iptables-restore` or its like for IPv6.
    pub fn restore_rules(&self, family: Family, rules: &str) -> Result<()> {
        let program = match family {
            Family::V4 => "iptables-restore",
            Family::V6 => "ip6tables-restore",
        };
        feed(&mut self.plain(program), rules)
    }

    /// Loads rules with `nft`.
    pub fn load_nft(&self, rules: &str) -> Result<()> {
        let mut command = self.plain("nft");
        command.args(["-f", "-"]);
        feed(&mut command, rules)
    }

    fn plain(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name, program]);
        command
    }

    /// A command that will run in the namespace, with its resolver, and never outlive this process.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = bound_to_us("ip");
        command.args(["netns", "exec", &self.name]);
        if let Some(file) = &self.resolver {
            // `ip netns exec` gives each program a mount namespace of its own, so nobody else sees this mount.
            let mount = "mount --bind \"$0\" /etc/resolv.conf && exec \"$@\"";
            command.args(["sh", "-c", mount]).arg(file);
        }
        command.arg(program);
        command
    }
}
