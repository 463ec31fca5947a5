//! `weir-demo`: two nodes in network namespaces, wired as a cluster would wire them, and weir looking at them.
//!
//! Makes a world from a seed, drives traffic through it, and shows or checks what weir says of it. Whatever ends it, nothing
//! of it stays on the machine.

mod check;
mod client;
mod cluster;
mod command;
mod conntrack;
mod curl;
mod dns;
mod draw;
mod instance;
mod kinds;
mod load;
mod netns;
mod plan;
mod policies;
mod process;
mod recording;
mod report;
mod serve;
mod services;
mod stack;
mod traffic;
mod wait;
mod world;

use std::io::{IsTerminal, Write};
use std::process::{ExitCode, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::{Parser, Subcommand};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use tokio::signal::unix::{SignalKind, signal};

use crate::instance::Instance;
use crate::kinds::{Kinds, Source};
use crate::plan::Plan;
use crate::report::Report;
use crate::stack::Stack;
use crate::traffic::{Servers, Traffic};
use crate::world::World;

/// Exit code of a program that SIGINT ended, by the shells' convention.
const INTERRUPTED: u8 = 130;
/// How long the first call of each kind may take.
const TRAFFIC_LIMIT: Duration = Duration::from_secs(30);
/// How long giving the terminal back may take.
const SCREEN_ENDS_WITHIN_S: i64 = 3;

/// Two nodes in network namespaces, real traffic, and weir looking at it.
#[derive(Debug, Parser)]
#[command(name = "demo.sh", args_conflicts_with_subcommands = true)]
struct Args {
    /// Draws names, addresses and ports; without it each run draws others.
    #[arg(long, global = true)]
    seed: Option<u64>,
    #[command(flatten)]
    kinds: Kinds,
    /// Where the daemons' frames come from. A check compares it with the other.
    #[arg(long, value_enum, default_value_t, global = true)]
    source: Source,
    /// Compares what weir says with curl, conntrack, ip, the rules' counters and the servers' logs; exit code 1 where they
    /// differ.
    #[arg(long)]
    check: bool,
    #[command(subcommand)]
    mode: Option<Mode>,
}

#[derive(Debug, Subcommand)]
enum Mode {
    /// Stays up until it is ended, and says how to look at it.
    Up {
        /// Only the world and its traffic, without weir.
        #[arg(long)]
        bare: bool,
    },
    /// Ends every running demo and removes what killed ones left behind.
    Down {
        /// Only the demo of this name, as it calls itself when it begins.
        name: Option<String>,
    },
    /// Records a node under load into a capture file, for benchmarks.
    Record(recording::RecordingArgs),
    /// Runs a backend's HTTP server.
    #[command(hide = true)]
    Serve(serve::ServeArgs),
    /// Calls a Service, often.
    #[command(hide = true)]
    Load(load::LoadArgs),
}

/// Prints a line for the person who started the demo. A closed terminal is no reason to leave a world behind.
fn say(line: std::fmt::Arguments<'_>) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

/// One thread: the kernel ends our programs with the thread that started them, so that must be the one that lives longest.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run(Args::parse()).await {
        Ok(code) => code,
        Err(error) => {
            say(format_args!("demo.sh: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

async fn run(args: Args) -> Result<ExitCode> {
    if let Some(Mode::Serve(serve)) = &args.mode {
        return serve::serve(serve).await.map(|()| ExitCode::SUCCESS);
    }
    if let Some(Mode::Load(load)) = &args.mode {
        return load::run(load).await.map(|()| ExitCode::SUCCESS);
    }
    if !rustix::process::geteuid().is_root() {
        bail!("needs root, for network namespaces and packet capture: try `sudo deploy/demo.sh`");
    }
    if let Some(Mode::Down { name }) = &args.mode {
        let removed = instance::down(name.as_deref())?;
        say(format_args!(
            "removed: {}",
            if removed.is_empty() { "nothing was up".into() } else { removed.join(" ") }
        ));
        return Ok(ExitCode::SUCCESS);
    }
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut hang_up = signal(SignalKind::hangup()).context("cannot listen for SIGHUP")?;
    // Whatever wins, the world is dropped with the future that holds it.
    tokio::select! {
        result = demonstrate(&args) => result,
        _ = interrupt.recv() => Ok(ended(&args)),
        _ = terminate.recv() => Ok(ended(&args)),
        _ = hang_up.recv() => Ok(ended(&args)),
    }
}

/// Ctrl-C is how one leaves the demo, but a check that was cut short has not passed.
fn ended(args: &Args) -> ExitCode {
    if args.check { ExitCode::from(INTERRUPTED) } else { ExitCode::SUCCESS }
}

async fn demonstrate(args: &Args) -> Result<ExitCode> {
    let plan = Plan::draw(args.seed.unwrap_or_else(draw::fresh_seed), args.kinds);
    // Declared first, dropped last.
    let instance = Instance::create()?;
    say(format_args!("demo {} with --seed {}: making the world", instance.id(), plan.seed));
    if let Some(Mode::Record(record)) = &args.mode {
        return recording::make(record, &instance, &plan).await.map(|()| ExitCode::SUCCESS);
    }
    let world = World::build(&instance, &plan)?;
    let manifest = cluster::manifest(&plan, jiff::Timestamp::now());
    std::fs::write(stack::cluster_file(&instance), manifest)
        .context("cannot write the cluster's manifests")?;
    let _servers = Servers::start(&instance, &plan, &world).await?;
    if matches!(args.mode, Some(Mode::Up { bare: true })) {
        let traffic = Traffic::start(&plan, &world)?;
        traffic.all_have_called(traffic::KINDS, TRAFFIC_LIMIT).await?;
        describe(&instance, &plan, None);
        tell_traffic(&traffic);
        return std::future::pending().await;
    }
    let mut stack = Stack::start(&instance, &plan, &world, args.source, args.check).await?;
    let traffic = Traffic::start(&plan, &world)?;
    if args.check {
        return check(args.source, &instance, &plan, &world, &mut stack, &traffic).await;
    }
    if args.mode.is_some() {
        traffic.all_have_called(traffic::KINDS, TRAFFIC_LIMIT).await?;
        describe(&instance, &plan, Some(&stack));
        tell_traffic(&traffic);
        stack.relay_ended().await?;
        return Ok(ExitCode::FAILURE);
    }
    watch(&stack).await
}

/// Makes every check and prints the table.
async fn check(
    source: Source,
    instance: &Instance,
    plan: &Plan,
    world: &World,
    stack: &mut Stack,
    traffic: &Traffic,
) -> Result<ExitCode> {
    traffic.all_have_called(traffic::KINDS, TRAFFIC_LIMIT).await?;
    let mut report = Report::default();
    let scene = check::Scene::new(instance, plan, world, source, stack.relay());
    check::all(&scene, stack, &mut report).await;
    for (what, tally) in traffic.tallies() {
        let mut about = report.about("background", what);
        about.holds("calls as meant", tally.as_meant, "curl", "all", tally.otherwise == 0);
    }
    report.print(&mut std::io::stdout().lock())?;
    let (all, different) = (report.comparisons(), report.differences());
    say(format_args!(
        "{all} comparisons, {different} differences; --seed {} draws this world again",
        plan.seed
    ));
    Ok(if different == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The screen until it is left; without a terminal, the connections as lines.
async fn watch(stack: &Stack) -> Result<ExitCode> {
    let is_terminal = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    let mut shown = if is_terminal {
        Shown(tokio::process::Command::from(stack::screen(stack)?).spawn().context("cannot run weir")?)
    } else {
        let mut command = stack::weir(stack, &["observe", "-f", "--connections"])?;
        command.stdin(Stdio::null());
        Shown(tokio::process::Command::from(command).spawn().context("cannot run weir")?)
    };
    let status = shown.0.wait().await.context("cannot wait for weir")?;
    if !status.success() {
        bail!("weir ended ({status})");
    }
    Ok(ExitCode::SUCCESS)
}

/// `weir` on our terminal. Dropped, it is asked to end and waited for: the terminal is itself again before the shell has it.
struct Shown(tokio::process::Child);

impl Drop for Shown {
    fn drop(&mut self) {
        let Some(pid) = self.0.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)) else {
            return;
        };
        let Ok(process) = pidfd_open(pid, PidfdFlags::empty()) else {
            return;
        };
        if kill_process(pid, Signal::TERM).is_ok() {
            let limit = Timespec { tv_sec: SCREEN_ENDS_WITHIN_S, tv_nsec: 0 };
            // One that does not end in time is asked once more by the kernel, when we die.
            let _ = poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&limit));
        }
    }
}

/// The same of each family.
fn each(plan: &Plan, of: impl Fn(plan::Family) -> String) -> String {
    plan.families().iter().map(|family| of(*family)).collect::<Vec<_>>().join(" ")
}

/// How to look at a demo that stays up.
fn describe(instance: &Instance, plan: &Plan, stack: Option<&Stack>) {
    say(format_args!("files       {}", instance.directory().display()));
    for node in plan.nodes() {
        let name = instance.netns_name(&node.name);
        say(format_args!(
            "node        {} {} pods {}: ip netns exec {name} ...",
            node.name,
            each(plan, |family| node.address(family).to_string()),
            each(plan, |family| node.pods.cidr(family))
        ));
    }
    for pod in &plan.pods {
        let name = instance.netns_name(&pod.name);
        say(format_args!(
            "pod         {} {} on {}: {name}",
            pod.path(),
            each(plan, |family| pod.address(family).to_string()),
            plan.node(pod.place).name
        ));
    }
    let outside = each(plan, |family| plan.outside.of(family).to_string());
    say(format_args!("outside     {outside}: {}", instance.netns_name("outside")));
    for service in plan.services().into_iter().filter(|service| service.has_address()) {
        let frontends = each(plan, |family| service.frontend(family).to_string());
        say(format_args!("service     {} {frontends}", service.path()));
    }
    if let Some(stack) = stack {
        say(format_args!("relay       {}", stack.relay_address));
        say(format_args!("look        weir observe -f --server unix://{}", stack.relay_socket.display()));
    }
    say(format_args!("end         Ctrl-C here, or deploy/demo.sh down {}", instance.id()));
}

/// What goes on, and whether it goes on as it must.
fn tell_traffic(traffic: &Traffic) {
    for (what, tally) in traffic.tallies() {
        say(format_args!("calls       {what}: {} as meant, {} otherwise", tally.as_meant, tally.otherwise));
    }
}
