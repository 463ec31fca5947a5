//! A daemon that watches a network namespace, and what `weir observe -o json` tells of the calls there.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::netns::Netns;
use crate::{DEADLINE, Running, ask, program, wait_for};

/// A number as protobuf's JSON writes it: 64 bits as text, 0 not at all.
#[must_use]
pub fn number(value: &Value) -> u64 {
    value.as_u64().or_else(|| value.as_str()?.parse().ok()).unwrap_or(0)
}

/// The client's port of a flow.
#[must_use]
pub fn port_of(flow: &Value) -> Option<u16> {
    let l4 = flow["l4"].as_object()?.values().next()?;
    u16::try_from(number(&l4["source_port"])).ok()
}

/// Waits until the daemon at this socket has its source of frames.
///
/// # Errors
/// When it does not answer, or has none.
pub fn capturing(socket: &Path) -> anyhow::Result<()> {
    wait_for(&format!("a capture at {}", socket.display()), DEADLINE, || {
        let status = ask(socket, &["status"]).ok()?;
        status.first()?["weir"]["source"].is_object().then_some(())
    })
}

/// A running daemon and where it answers.
#[derive(Debug)]
pub struct Watched {
    /// Its socket.
    pub socket: PathBuf,
    /// Its process.
    pub daemon: Running,
}

impl Watched {
    /// Starts a daemon in a namespace, and waits until it answers. `folder` holds `cluster.yaml` and takes its socket, log and
    /// state under this name.
    ///
    /// # Errors
    /// If it does not start, or does not answer.
    pub fn start(node: &Netns, folder: &Path, name: &str, flags: &[&str]) -> anyhow::Result<Self> {
        let socket = folder.join(format!("{name}.sock"));
        let mut command = node.command(program("weir-daemon")?);
        // Programs built for tests are slow: what they tell is looked at, not what they cost.
        command.env("WEIR_DAEMON_CPU_BUDGET", "0");
        command.args(["run", "--node", "n1", "--nflog-group", "7", "--unix"]).arg(&socket);
        command.arg("--cluster-file").arg(folder.join("cluster.yaml"));
        command.arg("--state-dir").arg(folder.join(format!("{name}.state")));
        let daemon = Running::logging(command.args(flags), &folder.join(format!("{name}.log")))?;
        capturing(&socket)?;
        Ok(Self { socket, daemon })
    }

    /// The last record of each connection that this filter lets pass, by its number.
    ///
    /// # Errors
    /// What `weir observe` says instead.
    pub fn told(&self, filter: &[&str]) -> anyhow::Result<BTreeMap<u64, Value>> {
        let mut connections = BTreeMap::new();
        for mut answer in ask(&self.socket, &[&["observe", "--all"], filter].concat())? {
            let flow = answer["flow"].take();
            if flow.is_null() {
                // Flows that the ring no longer holds.
                continue;
            }
            connections.insert(number(&flow["weir"]["connection_id"]), flow);
        }
        Ok(connections)
    }

    /// The one connection of a client's port, as soon as its last record holds what is waited for.
    ///
    /// # Errors
    /// If it does not come, with what was told instead; or if there are several.
    pub fn call(&self, what: &str, port: u16, holds: impl Fn(&Value) -> bool) -> anyhow::Result<Value> {
        let mut last = BTreeMap::new();
        let found = wait_for(what, DEADLINE, || {
            last = self.told(&["--port", &port.to_string()]).ok()?;
            last.retain(|_, flow| port_of(flow) == Some(port));
            last.values().any(&holds).then_some(())
        });
        anyhow::ensure!(found.is_ok() && last.len() == 1, "{what}: {last:#?}");
        last.into_values().next().ok_or_else(|| anyhow::anyhow!("{what}: nothing told"))
    }

    /// What the daemon says of itself.
    ///
    /// # Errors
    /// What `weir status` says instead.
    pub fn status(&self) -> anyhow::Result<Value> {
        ask(&self.socket, &["status"])?.into_iter().next().ok_or_else(|| anyhow::anyhow!("no status"))
    }
}
