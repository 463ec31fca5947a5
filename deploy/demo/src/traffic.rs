//! What goes on in the world all the time: servers that answer, and callers that call, each in its own way.
//!
//! The callers are a table: one row a kind of call, with how it must end. A call that ends otherwise is counted and shown,
//! for then the world itself is broken and nothing that weir says of it means much.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use crate::curl::{Call, Outcome};
use crate::instance::Instance;
use crate::netns::Netns;
use crate::plan::{Family, Plan, Role};
use crate::process::Process;
use crate::world::World;
use crate::{dns, wait};

const START_LIMIT: Duration = Duration::from_secs(10);
/// Longer than the first SYN's retransmission after 1 s, so that a denied call is more than one packet.
const DENIED_PATIENCE: Duration = Duration::from_millis(1500);

/// The servers of the world.
#[derive(Debug)]
pub struct Servers {
    /// Held, not used: they end with the demo.
    _running: Vec<Process>,
}

impl Servers {
    /// Starts a backend in each pod that has one, a server outside, and the DNS; returns when all of them answer.
    pub async fn start(instance: &Instance, plan: &Plan, world: &World) -> Result<Self> {
        let mut running = Vec::new();
        let every = |role, target| {
            plan.families().iter().map(move |family| plan.pod(role).at(*family, target)).collect::<Vec<_>>()
        };
        for (role, service) in [
            (Role::ApiNear, &plan.api),
            (Role::ApiFar, &plan.api),
            (Role::Store, &plan.store),
            (Role::First, &plan.headless),
            (Role::Second, &plan.headless),
            (Role::HostServer, &plan.agent),
        ] {
            let at = every(role, service.target());
            running.push(start_backend(instance, world.pod(role)?, &plan.pod(role).name, &at).await?);
        }
        let outside: Vec<_> =
            plan.families().iter().map(|family| plan.outside.port(*family, plan.outside_port)).collect();
        running.push(start_backend(instance, &world.outside, "outside", &outside).await?);
        let mut dns = dns::start(instance, plan, world.pod(Role::Dns)?)?;
        let log = dns.log().to_owned();
        dns.until("its first line", START_LIMIT, async || {
            Ok(std::fs::read_to_string(&log)?.contains("started").then_some(()))
        })
        .await?;
        running.push(dns);
        Ok(Self { _running: running })
    }
}

/// Name of the log of a backend.
pub fn server_log(server: &str) -> String {
    format!("{server}.served.jsonl")
}

async fn start_backend(instance: &Instance, netns: &Netns, name: &str, at: &[SocketAddr]) -> Result<Process> {
    let own = std::env::current_exe().context("cannot find the demo's own program")?;
    let log = instance.file(&server_log(name));
    let mut command = netns.command(own);
    command.arg("serve");
    for address in at {
        command.args(["--listen", &address.to_string()]);
    }
    command.arg("--log").arg(&log);
    let mut process =
        Process::start(format!("server {name}"), command, instance.file(&format!("{name}.log")))?;
    // The log is made once the socket listens.
    process.until("its socket", START_LIMIT, async || Ok(log.exists().then_some(()))).await?;
    Ok(process)
}

/// How a kind of call must end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Answered,
    Silence,
    Refused,
}

impl Fate {
    fn of(outcome: &Outcome) -> Option<Self> {
        match outcome.exit {
            0 if outcome.is_success() => Some(Self::Answered),
            28 => Some(Self::Silence),
            7 => Some(Self::Refused),
            _ => None,
        }
    }
}

/// A kind of call, made again and again.
#[derive(Debug)]
struct Caller {
    what: &'static str,
    from: Netns,
    call: Call,
    every: Duration,
    fate: Fate,
}

/// How many calls of a kind ended as they must, and how many did not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub as_meant: u64,
    pub otherwise: u64,
}

type Tallies = Arc<Mutex<BTreeMap<&'static str, Tally>>>;

/// The callers of the world; they end when this is dropped.
#[derive(Debug)]
pub struct Traffic {
    _callers: JoinSet<()>,
    tallies: Tallies,
}

impl Traffic {
    pub fn start(plan: &Plan, world: &World) -> Result<Self> {
        let tallies = Tallies::default();
        let mut callers = JoinSet::new();
        for family in plan.families() {
            for caller in callers_of(plan, world, *family)? {
                callers.spawn(call_forever(caller, Arc::clone(&tallies)));
            }
        }
        Ok(Self { _callers: callers, tallies })
    }

    /// How the calls went so far, by kind.
    pub fn tallies(&self) -> BTreeMap<&'static str, Tally> {
        self.tallies.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until each kind of call was made.
    pub async fn all_have_called(&self, plan_kinds: usize, limit: Duration) -> Result<()> {
        wait::until("one call of each kind", limit, async || {
            Ok((self.tallies().len() >= plan_kinds).then_some(()))
        })
        .await
    }
}

/// Number of kinds of calls.
pub const KINDS: usize = 8;

fn callers_of(plan: &Plan, world: &World, family: Family) -> Result<[Caller; KINDS]> {
    let api = format!("{}.{}", plan.api.name, plan.api.namespace);
    let api_port = plan.api.port();
    let far_pod = plan.pod(Role::ApiFar).at(family, plan.api.target());
    let node_port = plan.store.node_port().context("no NodePort is planned")?;
    let caller = |what, from: &Netns, call, millis, fate| Caller {
        what,
        from: from.clone(),
        call,
        every: Duration::from_millis(millis),
        fate,
    };
    let client = world.pod(Role::Client)?;
    let denied = |call: Call| call.patience(DENIED_PATIENCE);
    let outside_url = format!("http://{}:{}/bytes/3000", plan.external_name(), plan.outside_port);
    let at_node = |address| Call::bytes(SocketAddr::new(address, node_port), 8000);
    Ok([
        caller(
            "Service by name",
            client,
            Call::get(format!("http://{api}:{api_port}/bytes/20000")),
            400,
            Fate::Answered,
        ),
        caller("external name", client, Call::get(outside_url), 2000, Fate::Answered),
        caller("pod address", client, Call::bytes(far_pod, 500), 1500, Fate::Answered),
        caller("no endpoints", client, Call::bytes(plan.empty.frontend(family), 1), 1700, Fate::Refused),
        caller(
            "denied at the callee",
            world.pod(Role::Denied)?,
            denied(Call::bytes(plan.api.frontend(family), 1)),
            2500,
            Fate::Silence,
        ),
        caller(
            "denied at the caller",
            world.pod(Role::Restricted)?,
            denied(Call::bytes(plan.store.frontend(family), 1)),
            3000,
            Fate::Silence,
        ),
        caller(
            "NodePort, far backend",
            &world.outside,
            at_node(plan.near.address(family)),
            1100,
            Fate::Answered,
        ),
        caller(
            "NodePort, own backend",
            &world.outside,
            at_node(plan.far.address(family)),
            1300,
            Fate::Answered,
        ),
    ])
}

async fn call_forever(caller: Caller, tallies: Tallies) {
    let mut clock = interval(caller.every);
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        clock.tick().await;
        let fate = caller.call.run(&caller.from).await.ok().as_ref().and_then(Fate::of);
        let mut tallies = tallies.lock().unwrap_or_else(PoisonError::into_inner);
        let tally = tallies.entry(caller.what).or_default();
        if fate == Some(caller.fate) {
            tally.as_meant += 1;
        } else {
            tally.otherwise += 1;
        }
    }
}
