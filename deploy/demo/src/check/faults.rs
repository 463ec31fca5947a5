//! A daemon is killed under a running relay: how soon that is told, whether anything comes twice when it is back, and
//! whether the loss is stated to the unit.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Error, Result};
use tokio::task::JoinSet;
use tokio_stream::StreamExt;
use weir_proto::observer::GetFlowsResponse;
use weir_proto::observer::get_flows_response::ResponseTypes;

use super::Scene;
use crate::client::Client;
use crate::curl::Call;
use crate::plan::{Place, Role};
use crate::report::Report;
use crate::stack::{Stack, daemon_socket};
use crate::wait;

pub const NAME: &str = "killed daemon";

/// What the relay promises.
const TOLD_WITHIN: Duration = Duration::from_secs(5);
/// Longer, so that a late answer is told as late and not as missing.
const LIMIT: Duration = Duration::from_secs(20);
/// More flows than fit between daemon and relay: Linux buffers 208 KiB in a unix socket.
const AHEAD: u64 = 600;
const OUTRUN_LIMIT: Duration = Duration::from_secs(60);
const CALLS_AT_ONCE: usize = 8;

pub async fn check(scene: &Scene<'_>, stack: &mut Stack, report: &mut Report) -> Result<()> {
    let node = scene.plan.far.name.clone();
    let heard = Arc::new(Mutex::new(Heard::default()));
    let mut listener = JoinSet::new();
    listener.spawn(listen(scene.relay.clone(), Arc::clone(&heard)));
    wait::until("flows of both nodes", LIMIT, async || Ok((lock(&heard).seen.len() >= 2).then_some(())))
        .await?;
    let old_run = lock(&heard).run(&node).context("no flow of the node has come")?;

    // A relay that stands still reads nothing, so the daemon dies with flows that nobody has got: a loss to be stated.
    let daemon = Client::new(&daemon_socket(scene.instance, scene.plan, Place::Far));
    stack.pause_relay()?;
    let outran = outrun(scene, &daemon).await;
    stack.kill_daemon(Place::Far).await?;
    stack.resume_relay()?;
    outran?;
    let killed = Instant::now();
    wait::until("the killed daemon to be called unavailable", LIMIT, async || {
        let status = scene.relay.status().await?;
        Ok(status.unavailable_nodes.iter().any(|name| same_node(name, &node)).then_some(()))
    })
    .await?;
    let took = killed.elapsed();
    let mut about = report.about(NAME, &node);
    let (weir, said) = (format!("{} ms", took.as_millis()), format!("at most {} s", TOLD_WITHIN.as_secs()));
    about.holds("unavailable after", weir, "kill -9", said, took <= TOLD_WITHIN);

    stack.restart_daemon(scene.instance, scene.plan, scene.world, scene.source, Place::Far).await?;
    wait::until("the restarted daemon's flows at the relay", LIMIT, async || {
        let back = scene.relay.status().await?.unavailable_nodes.is_empty();
        let new_run = lock(&heard).run(&node).is_some_and(|run| run != old_run);
        Ok((back && new_run).then_some(()))
    })
    .await?;
    about.holds("back after", format!("{} ms", killed.elapsed().as_millis()), "restart", "yes", true);
    compare_loss(scene, &daemon, report, &lock_copy(&heard), old_run).await
}

/// Makes the far daemon number more flows than its way to the relay holds.
async fn outrun(scene: &Scene<'_>, daemon: &Client) -> Result<()> {
    let plan = scene.plan;
    let from = scene.world.pod(Role::Checker)?;
    let call = Call::bytes(plan.pod(Role::ApiFar).at(plan.family(), plan.api.target()), 1);
    let number = async || Ok::<u64, Error>(daemon.status().await?.weir.unwrap_or_default().seq);
    let start = number().await?;
    wait::until("the daemon to be ahead of the relay", OUTRUN_LIMIT, async || {
        let mut calls = JoinSet::new();
        for _ in 0..CALLS_AT_ONCE {
            let (from, call) = (from.clone(), call.clone());
            calls.spawn(async move { call.run(&from).await });
        }
        while let Some(done) = calls.join_next().await {
            done.context("a call was lost")??;
        }
        Ok((number().await? >= start + AHEAD).then_some(()))
    })
    .await
}

/// What the relay told as lost against what the daemon gave out and nobody got.
async fn compare_loss(
    scene: &Scene<'_>,
    daemon: &Client,
    report: &mut Report,
    heard: &Heard,
    old_run: u64,
) -> Result<()> {
    let node = scene.plan.far.name.as_str();
    let place = daemon.first_place().await?;
    let got = heard.seen.get(&(node.to_owned(), old_run)).context("no flow of the killed run")?;
    let first = got.first().copied().unwrap_or(0);
    let given_out = place.previous_seq.saturating_sub(first) + 1;
    let missing = given_out.saturating_sub(got.len() as u64);
    let status = scene.relay.status().await?.weir.unwrap_or_default();
    let peer = status.peers.iter().find(|peer| same_node(&peer.name, node));

    let mut about = report.about(NAME, node);
    about.equal("run that ended", place.previous_run, "GetFlows before", old_run);
    about.equal("flows that came twice", heard.twice, "uuid", 0);
    about.equal(
        "loss on the stream",
        heard.lost.get(node).copied().unwrap_or(0),
        "daemon's numbers",
        missing,
    );
    about.equal("loss in the status", peer.map_or(0, |peer| peer.lost), "daemon's numbers", missing);
    Ok(())
}

/// All that came on a stream.
#[derive(Clone, Debug, Default)]
struct Heard {
    uuids: BTreeSet<String>,
    /// Flows whose uuid had come before.
    twice: u64,
    /// Numbers by node and run.
    seen: BTreeMap<(String, u64), BTreeSet<u64>>,
    /// Flows told as lost, by node.
    lost: BTreeMap<String, u64>,
}

impl Heard {
    /// The node's newest run.
    fn run(&self, node: &str) -> Option<u64> {
        self.seen.keys().filter(|(name, _)| name == node).map(|(_, run)| *run).max()
    }

    fn note(&mut self, answer: GetFlowsResponse) {
        match answer.response_types {
            Some(ResponseTypes::Flow(flow)) => {
                self.twice += u64::from(!self.uuids.insert(flow.uuid));
                let place = answer.weir.unwrap_or_default();
                self.seen.entry((place.node, place.run)).or_default().insert(place.seq);
            }
            Some(ResponseTypes::LostEvents(lost)) => {
                *self.lost.entry(answer.node_name).or_default() += lost.num_events_lost;
            }
            _ => {}
        }
    }
}

/// Listens until the stream ends, which the check then notices by what is missing.
async fn listen(relay: Client, heard: Arc<Mutex<Heard>>) {
    let Ok(mut stream) = relay.follow().await else { return };
    while let Some(Ok(answer)) = stream.next().await {
        lock(&heard).note(answer);
    }
}

fn lock(heard: &Mutex<Heard>) -> MutexGuard<'_, Heard> {
    heard.lock().unwrap_or_else(PoisonError::into_inner)
}

fn lock_copy(heard: &Mutex<Heard>) -> Heard {
    lock(heard).clone()
}

/// Hubble's relay puts the cluster's name before the node's.
fn same_node(told: &str, node: &str) -> bool {
    told == node || told.rsplit('/').next() == Some(node)
}
