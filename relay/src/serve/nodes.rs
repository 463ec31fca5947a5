//! What the relay says of itself and of its nodes: sums over what each daemon answers now.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio::time::timeout;
use tonic::Status;
use tonic::transport::Channel;
use weir_proto::observer::observer_client::ObserverClient;
use weir_proto::observer::{
    GetNamespacesRequest, GetNamespacesResponse, GetNodesResponse, Namespace, Node, ServerStatusRequest,
    ServerStatusResponse, Tls,
};
use weir_proto::relay::NodeState;
use weir_proto::weir::v1::{PeerStatus, PolicyStatus, ServerStatus};

use crate::pipeline::Outputs;
use crate::status::{Registry, Snapshot, State};

/// A daemon that takes longer counts as unavailable in this answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
/// Names of unavailable nodes told at most, as Hubble's relay does.
const NAMES_TOLD: usize = 10;

/// Who the relay is.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Its name in answers.
    pub name: String,
    /// Start, Unix milliseconds.
    pub run: u64,
    /// Start, for the uptime.
    pub started: Instant,
}

/// Asks every connected daemon; `None` for those that are away or do not answer.
async fn ask_all<A, F>(
    registry: &Registry,
    ask: impl Fn(ObserverClient<Channel>) -> F,
) -> Vec<(Snapshot, Option<A>)>
where
    A: Send + 'static,
    F: Future<Output = Result<A, Status>> + Send + 'static,
{
    let mut answers: Vec<(Snapshot, Option<A>)> =
        registry.snapshot().into_iter().map(|peer| (peer, None)).collect();
    let mut asking = JoinSet::new();
    for (index, (peer, _)) in answers.iter().enumerate() {
        if let State::Connected { channel, .. } = &peer.state {
            let answer = timeout(ANSWER_TIMEOUT, ask(ObserverClient::new(channel.clone())));
            asking.spawn(async move { (index, answer.await.ok().and_then(Result::ok)) });
        }
    }
    while let Some(answered) = asking.join_next().await {
        if let Ok((index, answer)) = answered
            && let Some(slot) = answers.get_mut(index)
        {
            slot.1 = answer;
        }
    }
    answers
}

async fn statuses(registry: &Registry) -> Vec<(Snapshot, Option<ServerStatusResponse>)> {
    let ask = |mut client: ObserverClient<Channel>| async move {
        client.server_status(ServerStatusRequest {}).await.map(tonic::Response::into_inner)
    };
    ask_all(registry, ask).await
}

/// Sums over the daemons, and the state of each peer.
pub async fn server_status(identity: &Identity, outputs: &Outputs) -> ServerStatusResponse {
    let answers = statuses(&outputs.registry).await;
    let is_away = |(peer, told): &&(Snapshot, Option<_>)| told.is_none() && !peer.is_duplicate();
    let away: Vec<String> = answers.iter().filter(is_away).map(|(peer, _)| peer.name.clone()).collect();
    let here = answers.iter().filter(|(_, told)| told.is_some()).count();
    let mut sum = ServerStatusResponse {
        num_connected_nodes: u32::try_from(here).ok(),
        num_unavailable_nodes: u32::try_from(away.len()).ok(),
        version: concat!("weir-relay v", env!("CARGO_PKG_VERSION")).to_owned(),
        ..ServerStatusResponse::default()
    };
    for told in answers.iter().filter_map(|(_, told)| told.as_ref()) {
        sum.num_flows += told.num_flows;
        sum.max_flows += told.max_flows;
        sum.seen_flows += told.seen_flows;
        sum.flows_rate += told.flows_rate;
        sum.uptime_ns = sum.uptime_ns.max(told.uptime_ns);
    }
    sum.unavailable_nodes = away.into_iter().take(NAMES_TOLD).collect();
    sum.weir = Some(own_status(identity, outputs, &answers));
    sum
}

fn own_status(
    identity: &Identity,
    outputs: &Outputs,
    answers: &[(Snapshot, Option<ServerStatusResponse>)],
) -> ServerStatus {
    let table = outputs.connections.table();
    let mut status = ServerStatus {
        node: identity.name.clone(),
        run: identity.run,
        seq: outputs.history.end().position,
        connections: u64::try_from(table.len()).unwrap_or(u64::MAX),
        connections_evicted: table.forgotten(),
        peers: answers.iter().map(|(peer, told)| peer_status(peer, told.as_ref())).collect(),
        ..ServerStatus::default()
    };
    let unattached = table.unattached();
    drop(table);
    status.notices = own_notices(outputs.registry.early.load(Ordering::Relaxed), unattached, answers);
    for told in answers.iter().filter_map(|(_, told)| told.as_ref()?.weir.as_ref()) {
        status.frames += told.frames;
        status.frames_dropped_kernel += told.frames_dropped_kernel;
        status.frames_dropped_queue += told.frames_dropped_queue;
        status.conntrack_overruns += told.conntrack_overruns;
        status.undecodable += told.undecodable;
        if let Some(policy) = &told.policy {
            add(status.policy.get_or_insert_default(), policy);
        }
        status.notices.extend(told.notices.iter().map(|notice| format!("{}: {notice}", told.node)));
    }
    status
}

/// All daemons know the same policies, and each judges connections of its own.
fn add(sum: &mut PolicyStatus, told: &PolicyStatus) {
    sum.policies = sum.policies.max(told.policies);
    sum.allowed += told.allowed;
    sum.denied += told.denied;
    sum.undecidable += told.undecidable;
    sum.denied_dropped += told.denied_dropped;
    sum.denied_delivered += told.denied_delivered;
    sum.disagreements += told.disagreements;
    sum.not_remembered += told.not_remembered;
}

/// What the relay knows of a peer, and what that one says of itself.
fn peer_status(peer: &Snapshot, told: Option<&ServerStatusResponse>) -> PeerStatus {
    let own = told.and_then(|told| told.weir.as_ref());
    PeerStatus {
        cost: own.and_then(|own| own.cost),
        source: own.and_then(|own| own.source.clone()),
        policy: own.and_then(|own| own.policy),
        ..peer.status.clone()
    }
}

/// What went wrong in the relay itself, in sentences for people.
fn own_notices<A>(early: u64, unattached: u64, answers: &[(Snapshot, A)]) -> Vec<String> {
    let mut notices = Vec::new();
    if early > 0 {
        notices.push(format!(
            "relay: {early} flows went out before their turn, so the order between nodes may be wrong there: \
             more were waiting than --merge-buffer allows"
        ));
    }
    if unattached > 0 {
        notices.push(format!(
            "relay: {unattached} messages (DNS) are in no connection's row: the relay knows no record of their \
             connection, or has forgotten it (--connections)"
        ));
    }
    for (peer, _) in answers.iter().filter(|(peer, _)| peer.invalid > 0) {
        notices.push(format!(
            "relay: {} messages of {} were no valid answers and are left out: is it another version of weir-daemon?",
            peer.invalid, peer.name
        ));
    }
    notices
}

/// Every peer as a node.
pub async fn nodes(outputs: &Outputs) -> GetNodesResponse {
    let node = |(peer, told): (Snapshot, Option<ServerStatusResponse>)| {
        let state = match (&peer.state, &told) {
            (State::Connected { .. }, Some(_)) => NodeState::NodeConnected,
            (State::Connected { .. }, None) => NodeState::NodeError,
            (State::Unavailable { .. } | State::Duplicate { .. }, _) => NodeState::NodeUnavailable,
        };
        let told = told.unwrap_or_default();
        Node {
            name: peer.name,
            version: told.version,
            address: peer.address,
            state: state.into(),
            tls: Some(Tls { enabled: false, server_name: String::new() }),
            uptime_ns: told.uptime_ns,
            num_flows: told.num_flows,
            max_flows: told.max_flows,
            seen_flows: told.seen_flows,
        }
    };
    let answers = statuses(&outputs.registry).await.into_iter();
    GetNodesResponse { nodes: answers.filter(|(peer, _)| !peer.is_duplicate()).map(node).collect() }
}

/// The namespaces that any daemon names.
pub async fn namespaces(outputs: &Outputs) -> GetNamespacesResponse {
    let ask = |mut client: ObserverClient<Channel>| async move {
        client.get_namespaces(GetNamespacesRequest {}).await.map(tonic::Response::into_inner)
    };
    let answers = ask_all(&outputs.registry, ask).await;
    let told = answers.into_iter().filter_map(|(_, told)| told).flat_map(|told| told.namespaces);
    let all: BTreeSet<(String, String)> = told.map(|ns| (ns.cluster, ns.namespace)).collect();
    let namespaces = all.into_iter().map(|(cluster, namespace)| Namespace { cluster, namespace }).collect();
    GetNamespacesResponse { namespaces }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_counted_is_told_in_words() {
        let registry = Registry::default();
        let peer = registry.add(&"n1=unix:///run/n1.sock".parse().unwrap());
        let answers = || registry.snapshot().into_iter().map(|peer| (peer, ())).collect::<Vec<_>>();
        assert!(own_notices(0, 0, &answers()).is_empty());
        peer.counters.invalid.store(2, Ordering::Relaxed);
        let told = own_notices(3, 4, &answers());
        assert_eq!(told.len(), 3, "{told:?}");
        assert!(told[0].starts_with("relay: 3 flows went out before their turn"), "{told:?}");
        assert!(told[1].starts_with("relay: 4 messages"), "{told:?}");
        assert!(told[2].starts_with("relay: 2 messages of n1"), "{told:?}");
    }
}
