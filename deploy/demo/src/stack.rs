//! weir itself in the world: a daemon in each node's namespace and a relay over both, joined by unix sockets.
//!
//! Network namespaces share the file system, so a socket in the demo's directory reaches across them while no packet of
//! weir's own is in the traffic that it observes.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::Signal;

use crate::client::Client;
use crate::command::bound_to_us;
use crate::instance::Instance;
use crate::plan::{NFLOG_GROUP, Place, Plan};
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

/// What the daemon on that node records.
pub fn recording_file(instance: &Instance, plan: &Plan, place: Place) -> PathBuf {
    instance.file(&format!("{}.pcapng", plan.node(place).name))
}

impl Stack {
    /// Starts all, the daemons recording what they capture if so told, and returns when the relay has both nodes.
    pub async fn start(instance: &Instance, plan: &Plan, world: &World, record: bool) -> Result<Self> {
        let near = start_daemon(instance, plan, world, Place::Near, record).await?;
        let far = start_daemon(instance, plan, world, Place::Far, record).await?;
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
        Ok(Self { relay, near: Some(near), far: Some(far), relay_address, relay_socket })
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
        place: Place,
    ) -> Result<()> {
        let daemon = start_daemon(instance, plan, world, place, false).await?;
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
    record: bool,
) -> Result<Process> {
    let node = plan.node(place);
    let socket = daemon_socket(instance, plan, place);
    let mut command = world.node(place).command(program("weir-daemon")?);
    command.args(["run", "--node", &node.name, "--cluster-file"]).arg(cluster_file(instance));
    command.args(["--listen", &format!("127.0.0.1:{DAEMON_PORT}"), "--unix"]).arg(&socket);
    command.args(["--nflog-group", &NFLOG_GROUP.to_string(), "--state-dir"]);
    command.arg(instance.file(&format!("{}.state", node.name)));
    if record {
        command.arg("--record").arg(recording_file(instance, plan, place));
    }
    let name = format!("weir-daemon {}", node.name);
    let mut process =
        Process::start(name, command, instance.file(&format!("weir-daemon-{}.log", node.name)))?;
    let client = Client::new(&socket);
    process.until("its first answer", START_LIMIT, async || Ok(client.status().await.ok().map(drop))).await?;
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
