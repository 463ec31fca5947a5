//! A person's question about policies -> the answer, as the wire has it. Pure: the cluster is handed in.
//!
//! A name may stand for many pods, so every pair of ends is judged and those that are judged alike are told once. Bounded:
//! of many pairs the first are judged, and the answer says so.

use std::net::IpAddr;

use weir_cluster::policy::{Called, EndError, Explanation, Question, kind_of_end};
use weir_cluster::{Cluster, EndpointKind, Protocol, UnixNanos};
use weir_proto::weir::v1::{
    ExplainPolicyRequest, ExplainPolicyResponse, PolicyEnd, PolicyExplanation, PolicyJudgement,
};

use crate::enrich::policy::judgement;

/// Pairs that are judged for one question.
const MOST: usize = 1024;

/// Why a question cannot be answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExplainError {
    /// An end.
    #[error(transparent)]
    End(#[from] EndError),
    /// The protocol.
    #[error("{0:?} is no protocol that policies know: tcp, udp or sctp")]
    Protocol(String),
    /// The port.
    #[error("{0} is no port: they go from 1 to 65535")]
    Port(u32),
    /// The daemon has no state of a cluster.
    #[error("this daemon knows no cluster: it runs without --kubernetes and --cluster")]
    NoCluster,
}

/// Answers.
///
/// # Errors
/// If an end cannot be found, or the request says something that is not possible.
pub fn explain(
    request: &ExplainPolicyRequest,
    cluster: &Cluster,
    node: &str,
) -> Result<ExplainPolicyResponse, ExplainError> {
    if cluster.stats().objects == 0 {
        return Err(ExplainError::NoCluster);
    }
    let protocol = protocol(&request.protocol)?;
    let port = match request.port {
        0 => None,
        port => Some(u16::try_from(port).map_err(|_| ExplainError::Port(port))?),
    };
    let clients = cluster.clients(&request.source)?;
    let servers = cluster.servers(&request.destination, protocol, port)?;
    let mut explanations: Vec<PolicyExplanation> = Vec::new();
    let pairs = servers.iter().flat_map(|server| clients.iter().map(move |client| (*client, *server)));
    for (client, server) in pairs.take(MOST) {
        let explanation = one(cluster, protocol, client, server);
        match explanations.iter_mut().find(|known| are_alike(known, &explanation)) {
            Some(known) => known.alike += 1,
            None => explanations.push(explanation),
        }
    }
    let mut notes = Vec::new();
    if clients.len() * servers.len() > MOST {
        notes.push(format!("of {} pairs the first {MOST} were judged", clients.len() * servers.len()));
    }
    if cluster.stats().policies == 0 {
        notes.push("no NetworkPolicy is known here at all".to_owned());
    }
    Ok(ExplainPolicyResponse { explanations, node: node.to_owned(), notes })
}

fn protocol(text: &str) -> Result<Protocol, ExplainError> {
    match text.to_ascii_lowercase().as_str() {
        "" | "tcp" => Ok(Protocol::Tcp),
        "udp" => Ok(Protocol::Udp),
        "sctp" => Ok(Protocol::Sctp),
        _ => Err(ExplainError::Protocol(text.to_owned())),
    }
}

fn one(cluster: &Cluster, protocol: Protocol, client: IpAddr, server: Called) -> PolicyExplanation {
    let Called { called, server } = server;
    let question = Question { called, ..Question::direct(UnixNanos::MAX, protocol, client, server) };
    let explanation = cluster.explain(&question);
    let judgements = explanation.judgements.iter().map(|of_one| {
        let mut told = PolicyJudgement::default();
        judgement(of_one, &mut told);
        told
    });
    PolicyExplanation {
        source: Some(end(cluster, client)),
        destination: Some(end(cluster, server.ip())),
        port: u32::from(server.port()),
        protocol: protocol.to_string(),
        answer: answer(&explanation),
        passes: explanation.passes(),
        judgements: judgements.collect(),
        advice: explanation.advice.iter().map(ToString::to_string).collect(),
        alike: 0,
    }
}

fn answer(explanation: &Explanation) -> String {
    use weir_cluster::policy::Ruling;
    let with = |is: fn(&Ruling) -> bool| {
        let those = explanation.judgements.iter().filter(|judgement| is(&judgement.ruling));
        those
            .map(|it| format!("{} of {}/{}", it.direction, it.pod.namespace, it.pod.pod_name))
            .collect::<Vec<_>>()
    };
    let denied = with(|ruling| *ruling == Ruling::Denied);
    let allowed = with(|ruling| *ruling == Ruling::Allowed);
    match explanation.passes() {
        Some(false) => format!("denied: no policy allows the {}", denied.join(" nor the ")),
        None => format!(
            "undecidable: nobody can say for the {}",
            with(|it| matches!(it, Ruling::Undecidable(_))).join(" nor the ")
        ),
        Some(true) if explanation.judgements.is_empty() => {
            "no policy judges it: neither end is a pod with an address of its own".to_owned()
        }
        Some(true) if allowed.is_empty() => "passes: no policy stands in its way".to_owned(),
        Some(true) => format!("allowed: policies allow the {}", allowed.join(" and the ")),
    }
}

fn end(cluster: &Cluster, address: IpAddr) -> PolicyEnd {
    let owner = cluster.endpoint(address, UnixNanos::MAX);
    let name = match owner.kind {
        EndpointKind::Pod => owner.pod_name.to_string(),
        EndpointKind::Service => owner.workload.as_ref().map(|it| it.name.to_string()).unwrap_or_default(),
        EndpointKind::Node | EndpointKind::Unmanaged | EndpointKind::World => String::new(),
    };
    PolicyEnd {
        kind: kind_of_end(owner.kind).to_owned(),
        address: address.to_string(),
        namespace: owner.namespace.to_string(),
        name,
        node: owner.node.to_string(),
    }
}

/// Alike are pairs on one port with the same rulings by the same policies.
fn are_alike(known: &PolicyExplanation, other: &PolicyExplanation) -> bool {
    let is_pod = |end: &Option<PolicyEnd>| end.as_ref().map(|end| (end.kind.clone(), end.namespace.clone()));
    (known.port, known.passes, &known.judgements) == (other.port, other.passes, &other.judgements)
        && is_pod(&known.source) == is_pod(&other.source)
        && is_pod(&known.destination) == is_pod(&other.destination)
}

#[cfg(test)]
mod tests;
