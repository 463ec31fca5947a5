//! One connection to one daemon, from opening it to its break.
//!
//! A break shows within 5 s: opening has a deadline, and an open connection is pinged (HTTP/2 PING) each second and given
//! up when a ping is not answered for two.

use std::error::Error;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use prost::Message;
use tokio::sync::mpsc::Permit;
use tokio::time::timeout;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status, Streaming};
use weir_proto::flow::LostEventSource;
use weir_proto::observer::observer_client::ObserverClient;
use weir_proto::observer::{GetFlowsRequest, ServerStatusRequest};
use weir_proto::weir::v1::{GetFlowsOptions, Place as WirePlace};

use super::codec::EncodedCodec;
use super::record::{self, Answer, Record, RecordError};
use super::skew::Skew;
use super::{Context, PeerEvent};
use crate::moment::UnixNanos;
use crate::node::{NodeName, Place, Step};
use crate::peers::Address;
use crate::status::{Claim, Peer, State};

const OPEN_DEADLINE: Duration = Duration::from_secs(4);
const PING_INTERVAL: Duration = Duration::from_secs(1);
const PING_TIMEOUT: Duration = Duration::from_secs(2);
const GET_FLOWS: &str = "/observer.Observer/GetFlows";

/// Why a session ended. Every session ends so.
#[derive(Debug, thiserror::Error)]
pub enum SessionEnd {
    /// No connection.
    #[error("connecting: {0} (is the daemon running, and does it listen there?)")]
    Connect(String),
    /// Connected, but nothing came.
    #[error("no answer within 4 s (it accepts connections but does not speak)")]
    Silent,
    /// A call failed.
    #[error("calling {call}: {cause}")]
    Call {
        /// Which.
        call: &'static str,
        /// Why.
        cause: String,
    },
    /// Not one of ours.
    #[error("it answers, but does not name its node (is it a weir-daemon?)")]
    NoDaemon,
    /// The node is read already.
    #[error("node {node} is read through {other} already (two addresses of one daemon?)")]
    Taken {
        /// The node.
        node: NodeName,
        /// Through whom.
        other: Address,
    },
    /// The stream broke.
    #[error("stream broken: {0}")]
    Broken(String),
    /// The daemon ended it.
    #[error("the daemon ended the stream")]
    Ended,
    /// A message that no weir-daemon sends.
    #[error("unusable answer: {0}")]
    Unusable(RecordError),
    /// The relay itself.
    #[error("the relay is stopping")]
    Stopping,
}

struct Opened {
    channel: Channel,
    /// The newest flow when it was opened: what is newer is live.
    newest: Place,
    stream: Streaming<Bytes>,
}

/// Opens and reads. `claim` holds the right to read the node from when it is told of as connected.
pub async fn run(peer: &Peer, context: &Context, claim: &mut Option<Claim>) -> SessionEnd {
    let mut held = None;
    let opened = match timeout(OPEN_DEADLINE, open(peer, context, &mut held)).await {
        Ok(Ok(opened)) => opened,
        Ok(Err(end)) => return end,
        Err(_) => return SessionEnd::Silent,
    };
    let Some(taken) = held else {
        return SessionEnd::NoDaemon;
    };
    let node = taken.node.clone();
    if context.events.send(PeerEvent::Connected(node.clone())).await.is_err() {
        return SessionEnd::Stopping;
    }
    *claim = Some(taken);
    super::called(peer, context).await;
    tracing::info!("peer {node} at {}: connected", peer.target().address);
    if peer.opened() > 0 {
        peer.counters.reconnects.fetch_add(1, Ordering::Relaxed);
    }
    context.registry.set(peer, State::Connected { node, channel: opened.channel.clone() });
    match claim {
        Some(claim) => read(peer, context, claim, opened).await,
        None => SessionEnd::NoDaemon,
    }
}

async fn open(peer: &Peer, context: &Context, held: &mut Option<Claim>) -> Result<Opened, SessionEnd> {
    let channel = connect(&peer.target().address).await?;
    let status = ObserverClient::new(channel.clone()).server_status(ServerStatusRequest {}).await;
    let status = status.map_err(|status| call("ServerStatus", &status))?.into_inner();
    let status = status.weir.filter(|weir| !weir.node.is_empty()).ok_or(SessionEnd::NoDaemon)?;
    let node = NodeName::from(status.node.as_str());
    let claim = context
        .registry
        .claim(&node, peer.target())
        .map_err(|other| SessionEnd::Taken { node, other: other.address })?;
    let last = claim.progress.lock().unwrap_or_else(PoisonError::into_inner).last();
    *held = Some(claim);
    let stream = get_flows(channel.clone(), last).await?;
    Ok(Opened { channel, newest: Place { run: status.run, seq: status.seq }, stream })
}

async fn connect(address: &Address) -> Result<Channel, SessionEnd> {
    let uri = match address {
        Address::Unix(_) => address.to_string(),
        Address::Tcp(..) => format!("http://{address}"),
    };
    let endpoint = Endpoint::from_shared(uri).map_err(|e| SessionEnd::Connect(root_cause(&e)))?;
    endpoint
        .connect_timeout(OPEN_DEADLINE)
        .http2_keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT)
        .keep_alive_while_idle(true)
        .connect()
        .await
        .map_err(|e| SessionEnd::Connect(root_cause(&e)))
}

/// Asks for everything after `last`, or all that the daemon remembers.
async fn get_flows(channel: Channel, last: Option<Place>) -> Result<Streaming<Bytes>, SessionEnd> {
    let resume_after = last.map(|place| WirePlace { run: place.run, seq: place.seq, ..WirePlace::default() });
    let request = GetFlowsRequest {
        number: u64::MAX,
        follow: true,
        weir: Some(GetFlowsOptions { places: true, resume_after }),
        ..GetFlowsRequest::default()
    };
    let mut grpc = tonic::client::Grpc::new(channel);
    grpc.ready().await.map_err(|e| SessionEnd::Broken(root_cause(&e)))?;
    let request = Request::new(Bytes::from(request.encode_to_vec()));
    let answer = grpc.server_streaming(request, PathAndQuery::from_static(GET_FLOWS), EncodedCodec).await;
    Ok(answer.map_err(|status| call("GetFlows", &status))?.into_inner())
}

async fn read(peer: &Peer, context: &Context, claim: &Claim, mut opened: Opened) -> SessionEnd {
    let mut skew = Skew::default();
    loop {
        let message = match opened.stream.message().await {
            Ok(Some(message)) => message,
            Ok(None) => return SessionEnd::Ended,
            Err(status) => return SessionEnd::Broken(cause(&status)),
        };
        // Room in the channel is had before the place counts as read: a task that ends between loses nothing. It is not
        // held while the node is silent, or as many silent nodes as the channel has room for would stop all others.
        let Ok(room) = context.events.reserve().await else {
            return SessionEnd::Stopping;
        };
        match record::read(&claim.node, &message) {
            Ok(Answer::Flow(flow, previous)) => {
                if flow.place > opened.newest {
                    let skew_ns = skew.observe(flow.time, UnixNanos::now());
                    peer.counters.skew_ns.store(skew_ns, Ordering::Relaxed);
                }
                pass_on(peer, claim, *flow, previous, room);
            }
            // A hole in the numbers says the same of the daemon's ring, to the unit.
            Ok(Answer::Lost(lost)) if lost.source() == LostEventSource::HubbleRingBuffer => {}
            Ok(Answer::Lost(lost)) => room.send(PeerEvent::Lost(claim.node.clone(), lost)),
            Ok(Answer::Other) => {}
            Err(error @ RecordError::NoPlace) => return SessionEnd::Unusable(error),
            Err(_) => {
                peer.counters.invalid.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

fn pass_on(peer: &Peer, claim: &Claim, flow: Record, previous: Option<Place>, room: Permit<'_, PeerEvent>) {
    let mut progress = claim.progress.lock().unwrap_or_else(PoisonError::into_inner);
    let Step::New(missing) = progress.advance(flow.place, previous) else {
        return;
    };
    drop(progress);
    peer.counters.received.fetch_add(1, Ordering::Relaxed);
    peer.counters.lost.fetch_add(missing.flows, Ordering::Relaxed);
    room.send(PeerEvent::Flow(Arc::new(flow), missing));
}

fn call(call: &'static str, status: &Status) -> SessionEnd {
    SessionEnd::Call { call, cause: cause(status) }
}

/// What a status says, in the words of what caused it.
fn cause(status: &Status) -> String {
    status.source().map_or_else(|| status.message().to_owned(), root_cause)
}

fn root_cause(error: &(dyn Error + 'static)) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}
