//! A recording of one node under load, for benchmarks: a capture file with its conntrack events, and the cluster beside it.
//!
//! The world and its usual traffic, and in two pods a load that calls the API by its Service. Two backends, one on each node, so
//! that half of it crosses the overlay. It ends when the node's devices have carried as many frames as were asked for, or when
//! the time is over.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;

use crate::command::{output, typed};
use crate::instance::Instance;
use crate::load::SHORT_DONE;
use crate::netns::Netns;
use crate::plan::{Family, NFLOG_GROUPS, Place, Plan, Role};
use crate::process::Process;
use crate::stack::program;
use crate::traffic::{Servers, Traffic};
use crate::world::World;
use crate::{cluster, say, wait};

/// Short connections begun a second in each of the two pods.
const PER_SECOND: u64 = 450;
/// Connections that stay, in each of the two pods.
const KEPT: usize = 24;
/// Kernel buffers of the recorder, MiB: the machine is busy with the load too.
const BUFFER_MIB: u32 = 1024;
/// Bytes kept of a frame: the headers of both wrappings, and an HTTP head.
const SNAPLEN: u32 = 224;
/// A load may end in time, and the recorder writes what it has.
const END_LIMIT: Duration = Duration::from_secs(30);

/// How much is recorded, and where.
#[derive(Clone, Debug, clap::Args)]
pub struct RecordingArgs {
    /// File to write, pcapng; must not exist. The cluster's manifests come beside it, as FILE with `.yaml`.
    file: PathBuf,
    /// Short connections.
    #[arg(long, default_value_t = 100_000)]
    connections: u64,
    /// Frames, at least.
    #[arg(long, default_value_t = 5_200_000)]
    frames: u64,
    /// Stop after so many seconds, whatever was reached.
    #[arg(long, default_value_t = 600)]
    seconds: u64,
}

/// Makes the world, records its first node under load, and says what the recording holds.
pub async fn make(args: &RecordingArgs, instance: &Instance, plan: &Plan) -> Result<()> {
    ensure!(!args.file.exists(), "{} is there already", args.file.display());
    let world = World::build(instance, plan)?;
    let manifests = args.file.with_extension("yaml");
    std::fs::write(&manifests, cluster::manifest(plan, jiff::Timestamp::now()))
        .with_context(|| format!("cannot write {}", manifests.display()))?;
    let _servers = Servers::start(instance, plan, &world).await?;
    let mut recorder = start_recorder(args, instance, plan, &world).await?;
    let _traffic = Traffic::start(plan, &world)?;
    let before = frames_carried(&world.near)?;
    let mut loads = Vec::new();
    for role in [Role::Client, Role::Checker] {
        loads.push(start_load(args.connections.div_ceil(2), instance, plan, &world, role)?);
    }
    let reached = wait::within(Duration::from_secs(args.seconds), async || {
        let frames = frames_carried(&world.near)? - before;
        Ok((frames >= args.frames && loads.iter().all(short_done)).then_some(frames))
    })
    .await?;
    for load in loads {
        say(format_args!("{}", last_line(load.log())));
        load.kill().await?;
    }
    match reached {
        Some(frames) => say(format_args!("the node's devices carried {frames} frames")),
        None => say(format_args!("the time was over before everything was reached")),
    }
    recorder.signal(Signal::TERM)?;
    tokio::time::timeout(END_LIMIT, recorder.wait()).await.context("the recorder does not end")??;
    say(format_args!("recorder: {}", last_line(recorder.log())));
    say_what_it_holds(&args.file, &manifests)
}

async fn start_recorder(
    args: &RecordingArgs,
    instance: &Instance,
    plan: &Plan,
    world: &World,
) -> Result<Process> {
    let mut command = world.near.command(program("weir-daemon")?);
    command.arg("record").arg(&args.file).args(["--node", &plan.node(Place::Near).name]);
    command.args(["--snaplen", &SNAPLEN.to_string(), "--buffer-mib", &BUFFER_MIB.to_string()]);
    let [group, _] = NFLOG_GROUPS;
    command.args(["--source", "pcap", "--nflog-group", &group.to_string()]);
    let mut process = Process::start("the recorder", command, instance.file("recorder.log"))?;
    let log = process.log().to_owned();
    process
        .until("its first line", END_LIMIT, async || {
            Ok(std::fs::read_to_string(&log)?.contains("recording").then_some(()))
        })
        .await?;
    Ok(process)
}

fn start_load(
    connections: u64,
    instance: &Instance,
    plan: &Plan,
    world: &World,
    role: Role,
) -> Result<Process> {
    let netns = world.pod(role)?;
    // One address and port is called: each short connection holds a port of ours for a while.
    netns.sysctl("net/ipv4/ip_local_port_range", "2000 65000")?;
    let own = std::env::current_exe().context("cannot find the demo's own program")?;
    let mut command = netns.command(own);
    command.args(["load", "--to", &plan.api.frontend(Family::V4).to_string()]);
    command.args(["--connections", &connections.to_string(), "--per-second", &PER_SECOND.to_string()]);
    command.args(["--kept", &KEPT.to_string()]);
    let name = format!("load in {}", plan.pod(role).name);
    Process::start(name, command, instance.file(&format!("load-{}.log", plan.pod(role).name)))
}

fn short_done(load: &Process) -> bool {
    std::fs::read_to_string(load.log()).is_ok_and(|said| said.contains(SHORT_DONE))
}

/// Packets that the node's devices have received and sent, but for the loopback.
fn frames_carried(node: &Netns) -> Result<u64> {
    let table = node.cat("/proc/net/dev")?;
    let devices = table.lines().skip(2).filter(|line| !line.trim_start().starts_with("lo:"));
    Ok(devices.filter_map(received_and_sent).sum())
}

/// Of a line `name: bytes packets ...(6 more) bytes packets ...`.
fn received_and_sent(line: &str) -> Option<u64> {
    let (_, counts) = line.split_once(':')?;
    let counts: Vec<u64> = counts.split_whitespace().filter_map(|count| count.parse().ok()).collect();
    Some(counts.get(1)? + counts.get(9)?)
}

fn last_line(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    text.lines().last().unwrap_or_default().to_owned()
}

fn say_what_it_holds(file: &Path, manifests: &Path) -> Result<()> {
    let mut replay = std::process::Command::new(program("weir-daemon")?);
    replay.arg("replay").arg(file).arg("--cluster").arg(manifests).args(["--output", "summary"]);
    say(format_args!("{}", typed(&replay)));
    say(format_args!("{}", output(&mut replay)?.trim_end()));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_s_packets_are_read_of_both_ways() {
        let line = "flannel.1: 1000      17    0    0    0     0          0         0     2000      25    0    0    0     0       0          0";
        assert_eq!(received_and_sent(line), Some(42));
        assert_eq!(received_and_sent("no device"), None);
    }
}
