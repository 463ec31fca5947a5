//! One row of weir's answer, read field by field as text that can be compared. What weir did not say reads as "-".

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use weir_proto::flow::layer4::Protocol;
use weir_proto::flow::{Endpoint, Flow, Verdict};
use weir_proto::weir::v1::{
    Connection, ConnectionState, Counters, Encapsulation, FlowDetail, Nat, Observation, PathPoint,
    PolicyRuling, Role,
};

/// What stands for something that weir did not say.
pub const NOTHING: &str = "-";

/// A connection with its joined flow.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    pub connection: &'a Connection,
    pub flow: &'a Flow,
    pub detail: &'a FlowDetail,
}

fn joined(parts: impl Iterator<Item = String>) -> String {
    let parts: Vec<String> = parts.collect();
    if parts.is_empty() { NOTHING.to_owned() } else { parts.join(",") }
}

/// Client's port, 0 where there is none.
pub fn source_port(connection: &Connection) -> u16 {
    connection.flow.as_ref().map_or(0, |flow| ports(flow).0)
}

/// Source and destination port of a flow.
pub fn ports(flow: &Flow) -> (u16, u16) {
    let (source, destination) = match flow.l4.as_ref().and_then(|l4| l4.protocol.as_ref()) {
        Some(Protocol::Tcp(tcp)) => (tcp.source_port, tcp.destination_port),
        Some(Protocol::Udp(udp)) => (udp.source_port, udp.destination_port),
        _ => (0, 0),
    };
    (u16::try_from(source).unwrap_or(0), u16::try_from(destination).unwrap_or(0))
}

impl<'a> Row<'a> {
    pub fn of(connection: &'a Connection) -> Result<Self> {
        let flow = connection.flow.as_ref().context("a connection of the answer has no flow")?;
        let detail = flow.weir.as_ref().context("a flow of the answer has no weir part")?;
        Ok(Self { connection, flow, detail })
    }

    /// The row of the client's port.
    pub fn find(rows: &'a [Connection], port: u16) -> Result<Self> {
        let row = rows.iter().find(|row| source_port(row) == port);
        Self::of(row.with_context(|| format!("weir has no row for the call from port {port}"))?)
    }

    /// Address and port of the true client.
    pub fn client(&self) -> String {
        end(self.flow.ip.as_ref().map(|ip| ip.source.as_str()), ports(self.flow).0)
    }

    /// Address and port of the true server, or of what was called while no backend is known.
    pub fn server(&self) -> String {
        end(self.flow.ip.as_ref().map(|ip| ip.destination.as_str()), ports(self.flow).1)
    }

    pub fn client_pod(&self) -> String {
        pod(self.flow.source.as_ref())
    }

    pub fn server_pod(&self) -> String {
        pod(self.flow.destination.as_ref())
    }

    /// The Service called.
    pub fn service(&self) -> String {
        let service = self.flow.destination_service.as_ref().filter(|service| !service.name.is_empty());
        service.map_or(NOTHING.to_owned(), |service| format!("{}/{}", service.namespace, service.name))
    }

    /// Every Service that the row names, exact or inferred.
    pub fn services(&self) -> String {
        let named: Vec<String> =
            self.detail.services.iter().map(|one| format!("{}/{}", one.namespace, one.name)).collect();
        if named.is_empty() { self.service() } else { named.join(",") }
    }

    fn nat(&self) -> Option<&Nat> {
        self.detail.nat.as_ref()
    }

    /// The address and port called, where a DNAT replaced them.
    pub fn vip(&self) -> String {
        let nat = self.nat().filter(|nat| !nat.vip.is_empty());
        end(nat.map(|nat| nat.vip.as_str()), nat.map_or(0, |nat| nat.vip_port))
    }

    /// The address and port that the backend saw, where a SNAT replaced the client's.
    pub fn masquerade(&self) -> String {
        let nat = self.nat().filter(|nat| !nat.masquerade.is_empty());
        end(nat.map(|nat| nat.masquerade.as_str()), nat.map_or(0, |nat| nat.masquerade_port))
    }

    /// How the translation was learnt.
    pub fn learnt(&self) -> &'static str {
        self.nat().map_or(NOTHING, |nat| nat.source().as_str_name())
    }

    /// The devices that a node saw the client's packets on, in the order of time: pods' by their role, others by name.
    pub fn path(&self, node: &str) -> String {
        let sighting = self.connection.sightings.iter().find(|flow| flow.node_name == node);
        let path = sighting.and_then(|flow| flow.weir.as_ref()).map(|detail| detail.path.as_slice());
        let mut points: Vec<&PathPoint> = path.unwrap_or_default().iter().filter(|at| carries(at)).collect();
        points.sort_by_key(|point| point.first.map(|at| (at.seconds, at.nanos)));
        let told: Vec<String> = points.into_iter().map(step).collect();
        told.join(" > ")
    }

    /// The policies that deny it, by weir's evaluation.
    pub fn denied_by(&self) -> String {
        let denied = self.detail.policies.iter().filter(|it| it.ruling() == PolicyRuling::Denied);
        let names = denied.flat_map(|it| &it.opinions).map(|it| format!("{}/{}", it.namespace, it.name));
        joined(names)
    }

    /// What would let it pass.
    pub fn remedy(&self) -> String {
        joined(self.detail.policies.iter().map(|it| it.remedy.clone()).filter(|it| !it.is_empty()))
    }

    /// Where policies and packets contradict each other.
    pub fn disagreements(&self) -> String {
        joined(self.detail.disagreements.iter().map(|it| it.conflict().as_str_name().to_owned()))
    }

    /// The kernel's reasons for what it dropped of it, each once: it may have done so at several places.
    pub fn kernel_reasons(&self) -> String {
        let reasons: BTreeSet<_> = self.detail.kernel_drops.iter().map(|it| it.reason.clone()).collect();
        joined(reasons.into_iter())
    }

    pub fn total(&self) -> Counters {
        self.detail.total.unwrap_or_default()
    }

    pub fn verdict(&self) -> &'static str {
        Verdict::try_from(self.flow.verdict).map_or(NOTHING, |verdict| verdict.as_str_name())
    }

    pub fn state(&self) -> &'static str {
        ConnectionState::try_from(self.detail.state).map_or(NOTHING, |state| state.as_str_name())
    }

    /// Handshake as the client's node measured it, there and back.
    pub fn round_trip_ns(&self) -> u64 {
        self.detail.tcp.as_ref().map_or(0, |tcp| tcp.handshake_server_ns)
    }

    /// Nodes that saw it, in the order of the answer.
    pub fn nodes(&self) -> String {
        self.connection.sightings.iter().map(|flow| flow.node_name.as_str()).collect::<Vec<_>>().join(",")
    }

    /// The tunnel that a node saw around it.
    pub fn tunnel(&self, node: &str) -> Option<&'a Encapsulation> {
        let sighting = self.connection.sightings.iter().find(|flow| flow.node_name == node)?;
        let path: &[PathPoint] = &sighting.weir.as_ref()?.path;
        path.iter().find_map(|point| point.tunnel.as_ref())
    }

    /// Whether any sighting rests on such an observation.
    pub fn has_evidence(&self, wanted: Observation) -> bool {
        let flows = self.connection.sightings.iter().chain([self.flow]);
        let details = flows.filter_map(|flow| flow.weir.as_ref());
        details.flat_map(|detail| &detail.evidence).any(|evidence| evidence.observation() == wanted)
    }
}

fn carries(point: &PathPoint) -> bool {
    point.counters.is_some_and(|counters| counters.packets_forward > 0)
}

fn step(point: &PathPoint) -> String {
    let device = if point.role() == Role::PodVeth { "pod" } else { &point.device };
    let way = if point.inbound { "in" } else { "out" };
    let tunnel = if point.tunnel.is_some() { " tunnelled" } else { "" };
    format!("{device} {way}{tunnel}")
}

/// An address with its port, as everybody else writes it too.
fn end(address: Option<&str>, port: impl Into<u32>) -> String {
    let Some(address) = address else { return NOTHING.to_owned() };
    let port = port.into();
    if address.contains(':') { format!("[{address}]:{port}") } else { format!("{address}:{port}") }
}

fn pod(endpoint: Option<&Endpoint>) -> String {
    match endpoint.filter(|endpoint| !endpoint.pod_name.is_empty()) {
        Some(endpoint) => format!("{}/{}", endpoint.namespace, endpoint.pod_name),
        None => NOTHING.to_owned(),
    }
}
