//! `peer.Peer`: who else is there. The full list first, then each change of it.
//!
//! The list is a value that its owner replaces; a reader that is slow sees fewer steps, never a wrong end. Nothing queues
//! but the difference between two lists.

use std::collections::{BTreeMap, VecDeque};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::sync::watch;
use tokio_stream::Stream;
use tokio_stream::wrappers::WatchStream;
use tonic::{Request, Response, Status};
use weir_proto::peer::peer_server::Peer;
use weir_proto::peer::{ChangeNotification, ChangeNotificationType, NotifyRequest, Tls};

use super::stop::{Asked, Stop};

/// Another node's daemon, or this one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerNode {
    /// `node`, or `cluster/node` outside of cluster "default".
    pub name: String,
    /// `address:port` of its gRPC.
    pub address: String,
    /// Name in its certificate; empty without TLS.
    pub tls_server_name: String,
}

impl PeerNode {
    fn told_as(&self, kind: ChangeNotificationType) -> ChangeNotification {
        let tls =
            (!self.tls_server_name.is_empty()).then(|| Tls { server_name: self.tls_server_name.clone() });
        ChangeNotification {
            name: self.name.clone(),
            address: self.address.clone(),
            r#type: kind.into(),
            tls,
        }
    }
}

/// The service over a list that its owner keeps current.
#[derive(Debug)]
pub(super) struct Peers {
    pub(super) list: watch::Receiver<Vec<PeerNode>>,
    pub(super) stop: Stop,
}

#[tonic::async_trait]
impl Peer for Peers {
    type NotifyStream = Changes;

    async fn notify(&self, _: Request<NotifyRequest>) -> Result<Response<Changes>, Status> {
        let lists = WatchStream::new(self.list.clone());
        let changes =
            Changes { lists, stop: self.stop.asked(), known: BTreeMap::new(), untold: VecDeque::new() };
        Ok(Response::new(changes))
    }
}

/// What one client has been told, and what is still to tell.
pub(super) struct Changes {
    lists: WatchStream<Vec<PeerNode>>,
    stop: Asked,
    known: BTreeMap<String, PeerNode>,
    untold: VecDeque<ChangeNotification>,
}

impl Changes {
    fn learn(&mut self, list: Vec<PeerNode>) {
        let list: BTreeMap<_, _> = list.into_iter().map(|peer| (peer.name.clone(), peer)).collect();
        let gone = self.known.values().filter(|peer| !list.contains_key(&peer.name));
        self.untold.extend(gone.map(|peer| peer.told_as(ChangeNotificationType::PeerDeleted)));
        for peer in list.values() {
            match self.known.get(&peer.name) {
                None => self.untold.push_back(peer.told_as(ChangeNotificationType::PeerAdded)),
                Some(known) if known != peer => {
                    self.untold.push_back(peer.told_as(ChangeNotificationType::PeerUpdated));
                }
                Some(_) => {}
            }
        }
        self.known = list;
    }
}

impl Stream for Changes {
    type Item = Result<ChangeNotification, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(change) = self.untold.pop_front() {
                return Poll::Ready(Some(Ok(change)));
            }
            if self.stop.as_mut().poll(cx).is_ready() {
                return Poll::Ready(None);
            }
            match Pin::new(&mut self.lists).poll_next(cx) {
                Poll::Ready(Some(list)) => self.learn(list),
                // Its owner is gone: the list stays as it is.
                Poll::Ready(None) | Poll::Pending => return Poll::Pending,
            }
        }
    }
}
