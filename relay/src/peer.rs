//! One stream from each daemon, shared by all clients: opened, read, and opened again after a break.
//!
//! Turns the set of targets into [`PeerEvent`]s in one bounded channel. When it is full, reading waits: HTTP/2 then holds
//! the daemon back, whose ring skips, and the hole in its numbers is counted here. Each peer is one task; the set owns
//! them all and ends them when it is told to stop.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use weir_proto::flow::LostEvent;

use crate::node::{Missing, NodeName};
use crate::peers::{Target, Targets};
use crate::status::{Claim, Peer, Registry, State};
use crate::stop::{self, Stop, StopSender};

mod backoff;
mod codec;
mod record;
mod session;
mod skew;
mod wire;

pub use backoff::{Backoff, Schedule};
pub use codec::EncodedCodec;
pub use record::{About, Answer, Record, RecordError, View, read};
use session::SessionEnd;

/// What peers tell.
#[derive(Debug)]
pub enum PeerEvent {
    /// A new peer is being called for the first time.
    Calling,
    /// It answered, or it did not.
    Called,
    /// The stream of a node is open.
    Connected(NodeName),
    /// It is broken, and why.
    Disconnected(NodeName, String),
    /// A flow, and what is missing before it.
    Flow(Arc<Record>, Missing),
    /// The daemon lost something before it became a flow.
    Lost(NodeName, LostEvent),
}

/// What all peers share.
#[derive(Clone, Debug)]
pub struct Context {
    /// Where their state goes.
    pub registry: Arc<Registry>,
    /// Where their events go.
    pub events: mpsc::Sender<PeerEvent>,
    /// How they wait between tries.
    pub schedule: Schedule,
    /// What their jitter is drawn from.
    pub seed: u64,
}

/// Reads from all targets until told to stop.
pub async fn run(mut targets: watch::Receiver<Targets>, context: Context, mut stop: Stop) {
    let mut tasks = JoinSet::new();
    let mut stops: HashMap<Target, StopSender> = HashMap::new();
    loop {
        let wanted = targets.borrow_and_update().clone();
        stops.retain(|target, _| wanted.contains(target));
        for _new in wanted.iter().filter(|target| !stops.contains_key(*target)) {
            // An error means that the relay is stopping.
            let _stopping = context.events.send(PeerEvent::Calling).await;
        }
        for target in wanted {
            stops.entry(target).or_insert_with_key(|target| {
                let (sender, stop) = stop::channel();
                let seed = seed_of(context.seed, target);
                tasks.spawn(keep(context.registry.add(target), context.clone(), seed, stop));
                sender
            });
        }
        tokio::select! {
            changed = targets.changed() => if changed.is_err() { break },
            Some(_ended) = tasks.join_next() => {}
            () = stop.requested() => break,
        }
    }
    drop(stops);
    while tasks.join_next().await.is_some() {}
}

/// Keeps one peer's stream open.
async fn keep(peer: Arc<Peer>, context: Context, seed: u64, mut stop: Stop) {
    let mut backoff = Backoff::new(context.schedule, seed);
    let mut claim = None;
    loop {
        let started = Instant::now();
        let end = tokio::select! {
            end = session::run(&peer, &context, &mut claim) => end,
            () = stop.requested() => break,
        };
        let is_duplicate = matches!(end, SessionEnd::Taken { .. });
        disconnected(&peer, &context, claim.take(), end.to_string(), is_duplicate).await;
        if started.elapsed() >= context.schedule.cap {
            backoff.reset();
        }
        tokio::select! {
            () = tokio::time::sleep(backoff.next_wait()) => {}
            () = stop.requested() => break,
        }
    }
    disconnected(&peer, &context, claim.take(), "no longer a peer".to_owned(), false).await;
    context.registry.remove(peer.target());
}

/// Tells of a broken stream. The claim is given back last, so that no other peer is told of as connected before.
async fn disconnected(
    peer: &Peer,
    context: &Context,
    claim: Option<Claim>,
    message: String,
    is_duplicate: bool,
) {
    let known = claim.as_ref().map(|claim| claim.node.clone()).or_else(|| peer.node());
    // The same failure at each try is told once.
    if !peer.failed_with(&message) {
        tracing::warn!("peer {} at {}: {message}", peer.name(), peer.target().address);
    }
    called(peer, context).await;
    let state = if is_duplicate {
        State::Duplicate { message: message.clone() }
    } else {
        State::Unavailable { node: known, message: message.clone() }
    };
    context.registry.set(peer, state);
    if let Some(claim) = claim {
        // An error means that the relay is stopping.
        let _stopping = context.events.send(PeerEvent::Disconnected(claim.node.clone(), message)).await;
    }
}

/// Tells once that the first call is over.
async fn called(peer: &Peer, context: &Context) {
    if peer.is_first_call() {
        // An error means that the relay is stopping.
        let _stopping = context.events.send(PeerEvent::Called).await;
    }
}

/// The same seed and target give the same waits.
fn seed_of(seed: u64, target: &Target) -> u64 {
    let mut hasher = DefaultHasher::new();
    (seed, target).hash(&mut hasher);
    hasher.finish()
}
