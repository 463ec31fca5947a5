//! weir itself in the world: a daemon in each node's namespace and a relay over both, joined by unix sockets.
//!
//! Network namespaces share the file system, so a socket in the demo's directory reaches across them while no packet of
//! weir's own is in the traffic that it observes.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::Signal;

use crate::client::Client;
use crate::command::bound_to_us;
use crate::instance::Instance;
use crate::kinds::Source;
use crate::plan::{NFLOG_GROUPS, Place, Plan};
use crate::process::Process;
use crate::world::World;

/// How long a server of weir may take until it answers.
const START_LIMIT: Duration = Duration::from_secs(15);
/// Port that a daemon listens on, on its node's loopback.
const DAEMON_PORT: u16 = 4244;

/// The running processes of weir.
#[derive(Debug)]
pub struct Stack {
    relay: Process,
    near: Option<Process>,
    far: Option<Process>,
    /// Daemons that look at the same nodes by the other source, for comparison.
    _seconds: Vec<Process>,
    /// Loopback address of the relay.
    pub relay_address: SocketAddr,
    pub relay_socket: PathBuf,
}

/// A program of weir, built beside this one.
pub fn program(name: &str) -> Result<PathBuf> {
    let own = std::env::current_exe().context("cannot find the demo's own program")?;
    let path = own.with_file_name(name);
    if !path.exists() {
        bail!("{} is missing: `deploy/demo.sh` builds it (cargo build -p {name})", path.display());
    }
    Ok(path)
}

/// The cluster's manifests.
pub fn cluster_file(instance: &Instance) -> PathBuf {
    instance.file("cluster.yaml")
}

/// Unix socket of the daemon on that node.
pub fn daemon_socket(instance: &Instance, plan: &Plan, place: Place) -> PathBuf {
    instance.file(&format!("{}.sock", plan.node(place).name))
}

/// Unix socket of the second daemon on that node.
pub fn second_socket(instance: &Instance, plan: &Plan, place: Place) -> PathBuf {
    instance.file(&format!("{}-second.sock", plan.node(place).name))
}

/// What the daemon on that node records.
pub fn recording_file(instance: &Instance, plan: &Plan, place: Place) -> PathBuf {
    instance.file(&format!("{}.pcapng", plan.node(place).name))
}

impl Stack {
    /// Starts all, and returns when the relay has both nodes. To be checked, the daemons record what they capture, and a second
    /// one on each node captures it by the other source.
    pub async fn start(
        instance: &Instance,
        plan: &Plan,
        world: &World,
        source: Source,
        checked: bool,
    ) -> Result<Self> {
        let near = start_daemon(instance, plan, world, Place::Near, source, checked).await?;
        let far = start_daemon(instance, plan, world, Place::Far, source, checked).await?;
        let mut seconds = Vec::new();
        if checked {
            for place in [Place::Near, Place::Far] {
                seconds.push(start_second(instance, plan, world, place, source.other()).await?);
            }
        }
        let relay_address = free_loopback_address()?;
        let relay_socket = instance.file("relay.sock");
        let mut command = bound_to_us(program("weir-relay")?);
        for node in plan.nodes() {
            let socket = daemon_socket(instance, plan, node.place);
            command.args(["--peer", &format!("{}=unix://{}", node.name, socket.display())]);
        }
        command.arg("--unix").arg(&relay_socket).args(["--listen", &relay_address.to_string()]);
        let mut relay = Process::start("weir-relay", command, instance.file("weir-relay.log"))?;
        let client = Client::new(&relay_socket);
        relay
            .until("both nodes", START_LIMIT, async || {
                let status = client.status().await.ok();
                Ok(status.filter(|status| status.num_connected_nodes == Some(2)).map(drop))
            })
            .await?;
        Ok(Self { relay, near: Some(near), far: Some(far), _seconds: seconds, relay_address, relay_socket })
    }

    pub fn relay(&self) -> Client {
        Client::new(&self.relay_socket)
    }

    /// Lets the relay stand still.
    pub fn pause_relay(&self) -> Result<()> {
        self.relay.signal(Signal::STOP)
    }

    pub fn resume_relay(&self) -> Result<()> {
        self.relay.signal(Signal::CONT)
    }

    /// Kills the daemon of that node, as the kernel's out-of-memory killer would.
    pub async fn kill_daemon(&mut self, place: Place) -> Result<()> {
        let daemon = match place {
            Place::Near => self.near.take(),
            Place::Far => self.far.take(),
        };
        daemon.context("the daemon to be killed does not run")?.kill().await
    }

    /// Starts the daemon of that node again.
    pub async fn restart_daemon(
        &mut self,
        instance: &Instance,
        plan: &Plan,
        world: &World,
        source: Source,
        place: Place,
    ) -> Result<()> {
        let daemon = start_daemon(instance, plan, world, place, source, false).await?;
        match place {
            Place::Near => self.near = Some(daemon),
            Place::Far => self.far = Some(daemon),
        }
        Ok(())
    }

    /// Waits until the relay ends, which it should not.
    pub async fn relay_ended(&mut self) -> Result<()> {
        let status = self.relay.wait().await?;
        bail!("weir-relay ended ({status}); its log is {}", self.relay.log().display())
    }
}

async fn start_daemon(
    instance: &Instance,
    plan: &Plan,
    world: &World,
    place: Place,
    source: Source,
    record: bool,
) -> Result<Process> {
    let node = plan.node(place);
    let [group, _] = NFLOG_GROUPS;
    let mut command = daemon(instance, plan, world, place, source, group)?;
    command.args(["--listen", &format!("127.0.0.1:{DAEMON_PORT}"), "--unix"]);
    command.arg(daemon_socket(instance, plan, place)).arg("--state-dir");
    command.arg(instance.file(&format!("{}.state", node.name)));
    if record {
        command.arg("--record").arg(recording_file(instance, plan, place));
    }
    let log = instance.file(&format!("weir-daemon-{}.log", node.name));
    answering(format!("weir-daemon {}", node.name), command, log, &daemon_socket(instance, plan, place)).await
}

async fn start_second(
    instance: &Instance,
    plan: &Plan,
    world: &World,
    place: Place,
    source: Source,
) -> Result<Process> {
    let node = plan.node(place);
    let [_, group] = NFLOG_GROUPS;
    let socket = second_socket(instance, plan, place);
    let mut command = daemon(instance, plan, world, place, source, group)?;
    command.arg("--unix").arg(&socket);
    let log = instance.file(&format!("weir-daemon-{}-second.log", node.name));
    answering(format!("weir-daemon {} by {source}", node.name), command, log, &socket).await
}

/// What all daemons are told.
fn daemon(
    instance: &Instance,
    plan: &Plan,
    world: &World,
    place: Place,
    source: Source,
    group: u16,
) -> Result<Command> {
    let mut command = world.node(place).command(program("weir-daemon")?);
    command.args(["run", "--node", &plan.node(place).name, "--cluster-file"]).arg(cluster_file(instance));
    command.args(["--source", &source.to_string(), "--nflog-group", &group.to_string()]);
    Ok(command)
}

async fn answering(name: String, command: Command, log: PathBuf, socket: &Path) -> Result<Process> {
    let mut process = Process::start(name, command, log)?;
    let client = Client::new(socket);
    process
        .until("its capture", START_LIMIT, async || {
            let status = client.status().await.ok();
            Ok(status.and_then(|status| status.weir?.source).map(drop))
        })
        .await?;
    Ok(process)
}

/// An address on the loopback that nobody listens on now.
fn free_loopback_address() -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free port on the loopback")?;
    listener.local_addr().context("cannot read a socket's address")
}

/// `weir` with the words, asking this relay.
pub fn weir(stack: &Stack, words: &[&str]) -> Result<Command> {
    let mut command = bound_to_us(program("weir")?);
    command.args(words).args(["--server", &format!("unix://{}", stack.relay_socket.display())]);
    Ok(command)
}

/// The screen. It is told to end when this process dies, not killed, so that it gives the terminal back.
pub fn screen(stack: &Stack) -> Result<Command> {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "TERM"]).arg(program("weir")?);
    command.args(["--server", &format!("unix://{}", stack.relay_socket.display())]);
    Ok(command)
}
