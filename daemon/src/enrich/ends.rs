//! The two ends of a connection after NAT: their addresses, their owners in the cluster, and which of them is here.
//!
//! Source is the client before SNAT; destination is the backend after DNAT, or the called address while no backend is known.
//! Owners are those of the time of the connection's first packet. An end is local only by evidence: its packets entered by a
//! pod's veth here, or the cluster's state says that it lives on this node.

use std::net::SocketAddr;
use std::sync::Arc;

use weir_cluster::{Cluster, Endpoint};

use super::Settings;
use crate::capture::{Direction, Role};
use crate::track::connection::{Connection, PathPoint};
use crate::tuple::{IpProtocol, Tuple};

/// Both ends of one connection.
#[derive(Debug)]
pub(super) struct Ends {
    pub(super) protocol: IpProtocol,
    /// The client as it sent.
    pub(super) client: SocketAddr,
    /// Who answers, as far as known.
    pub(super) server: SocketAddr,
    /// The client's owner.
    pub(super) source: Arc<Endpoint>,
    /// The server's owner.
    pub(super) destination: Arc<Endpoint>,
    /// What the client called, where that is not the server.
    pub(super) vip: Option<SocketAddr>,
    /// What the server sees as its client, where that is not the client.
    pub(super) masquerade: Option<SocketAddr>,
    /// The client lives on this node.
    pub(super) client_is_local: bool,
    /// The client's packets come from outside the cluster and enter it at this node.
    pub(super) enters_here: bool,
}

pub(super) fn of(connection: &Connection, settings: &Settings, cluster: &Cluster) -> Ends {
    let (original, backend) = (connection.original_tuple(), connection.backend_tuple());
    let at = connection.first_packet;
    let source = cluster.endpoint(original.source.ip(), at);
    let destination = cluster.endpoint(backend.destination.ip(), at);
    let client_is_local = is_local(connection, &source, &settings.node_name);
    Ends {
        protocol: original.protocol,
        client: original.source,
        server: backend.destination,
        vip: (original.destination != backend.destination).then_some(original.destination),
        masquerade: (original.source != backend.source).then_some(backend.source),
        enters_here: !client_is_local && source.node.is_empty() && enters_by_underlay(connection),
        client_is_local,
        source,
        destination,
    }
}

/// The state of the cluster outweighs the devices only where it knows the client's node.
fn is_local(connection: &Connection, source: &Endpoint, node_name: &str) -> bool {
    let from_pod = connection.path.iter().any(|point| {
        point.role == Role::PodVeth && carries_forward(point) && point.forward_direction == Direction::Inbound
    });
    from_pod || !source.node.is_empty() && *source.node == *node_name
}

/// Bare, not in a tunnel: the other end of a tunnel is where it entered the cluster.
fn enters_by_underlay(connection: &Connection) -> bool {
    connection.path.iter().any(|point| {
        point.role == Role::Underlay
            && point.tunnels.is_empty()
            && point.form == connection.original
            && point.forward_direction == Direction::Inbound
    })
}

pub(super) const fn carries_forward(point: &PathPoint) -> bool {
    point.counters.forward.packets > 0
}

impl Ends {
    /// True where the counters of this node should be summed: the client's node, or where outside traffic enters.
    pub(super) const fn counts(&self) -> bool {
        self.client_is_local || self.enters_here
    }

    /// From the client to the server, past all NAT.
    pub(super) const fn true_tuple(&self) -> Tuple {
        Tuple { protocol: self.protocol, source: self.client, destination: self.server }
    }
}
