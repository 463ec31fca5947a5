//! What the relay says of itself and of its nodes: sums over what each daemon answers now.

use std::collections::BTreeSet;
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
use weir_proto::weir::v1::ServerStatus;

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
    let away: Vec<String> =
        answers.iter().filter(|(_, told)| told.is_none()).map(|(peer, _)| peer.name.clone()).collect();
    let mut sum = ServerStatusResponse {
        num_connected_nodes: u32::try_from(answers.len() - away.len()).ok(),
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
        peers: answers.iter().map(|(peer, _)| peer.status.clone()).collect(),
        ..ServerStatus::default()
    };
    drop(table);
    for told in answers.iter().filter_map(|(_, told)| told.as_ref()?.weir.as_ref()) {
        status.frames += told.frames;
        status.frames_dropped_kernel += told.frames_dropped_kernel;
        status.frames_dropped_queue += told.frames_dropped_queue;
        status.conntrack_overruns += told.conntrack_overruns;
        status.undecodable += told.undecodable;
        status.notices.extend(told.notices.iter().map(|notice| format!("{}: {notice}", told.node)));
    }
    status
}

/// Every peer as a node.
pub async fn nodes(outputs: &Outputs) -> GetNodesResponse {
    let node = |(peer, told): (Snapshot, Option<ServerStatusResponse>)| {
        let state = match (&peer.state, &told) {
            (State::Connected { .. }, Some(_)) => NodeState::NodeConnected,
            (State::Connected { .. }, None) => NodeState::NodeError,
            (State::Unavailable { .. }, _) => NodeState::NodeUnavailable,
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
    GetNodesResponse { nodes: statuses(&outputs.registry).await.into_iter().map(node).collect() }
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
