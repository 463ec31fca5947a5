//! [`Event`] -> [`Flow`]: who the ends are, which Service was called, what can be said of the fate, and the flow's place.
//!
//! One concern a file: `ends` and `service` name the two ends, `verdict`, `drops` and `point` say what became of the packets, `policy`
//! says what the policies would have had become of them, `layers` and `summary` fill what Hubble shows of the protocols, `detail`
//! fills `Flow.weir`. Pure: the time is the event's, the cluster's state is handed in and asked for the time of the connection's
//! first packet. Nothing is guessed: what is inferred is marked as inferred, and what is unknown stays empty.

mod community_id;
mod detail;
mod drops;
mod ends;
mod join_key;
mod layers;
mod names;
mod owners;
mod path;
mod point;
pub(crate) mod policy;
mod rules;
mod service;
mod summary;
mod tcp;
mod text;
mod verdict;

use std::collections::VecDeque;

use hashbrown::HashMap;
use weir_cluster::{Cluster, UnixNanos};
use weir_proto::flow::{Emitter, Flow, TraceReason, TrafficDirection};
use weir_proto::place::{MAX_SEQ, NodeHash, Place, PlaceError};
use weir_proto::weir::v1::PolicyStatus;

use crate::capture::{Interface, InterfaceId};
use crate::track::connection::{Connection, ConnectionId, Way};
use crate::track::event::{Event, Reason};
use ends::Ends;
use names::Names;
pub use names::Stats as NameStats;
use owners::Owners;
use policy::{Judges, Told};

/// Letters of a uuid with its hyphens (RFC 9562 section 4).
const UUID_LEN: usize = 36;

/// What the flows of one daemon have in common.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Name of the node, as Kubernetes knows it.
    pub node_name: String,
    /// Name of the cluster. Empty and `default` mean the same.
    pub cluster_name: String,
    /// The cluster's DNS domain without dots at its ends: names below it never name an end.
    pub cluster_domain: String,
    /// Start of this run, Unix milliseconds; 1 for a replay.
    pub run: u64,
    /// (pod, address) pairs whose DNS names are remembered.
    pub max_names: usize,
    /// Connections whose policies are remembered; those beyond are judged anew with each of their flows.
    pub max_judged: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            node_name: String::new(),
            cluster_name: "default".to_owned(),
            cluster_domain: "cluster.local".to_owned(),
            run: 1,
            max_names: 65_536,
            max_judged: 131_072,
        }
    }
}

/// Devices by their number, as the source announced them.
pub type Interfaces = HashMap<InterfaceId, Interface>;

/// Turns events into flows, in order. Numbers them, and remembers the DNS answers that name addresses outside.
#[derive(Debug)]
pub struct Enricher {
    settings: Settings,
    place: Place,
    newest: UnixNanos,
    names: Names,
    owners: Owners,
    judges: Judges,
    /// Policy verdicts that follow the latest flow.
    verdicts: VecDeque<Told>,
    /// The latest flow: the next one is written over it. What all have in common stays.
    flow: Flow,
}

/// What every file of this stage is handed: one event and what is known around it.
struct Scene<'a> {
    event: &'a Event<'a>,
    ends: &'a Ends,
    interfaces: &'a Interfaces,
}

impl Enricher {
    /// Begins with flow 1.
    ///
    /// # Errors
    /// If the start of the run has no room in a uuid: the clock is far ahead.
    pub fn new(mut settings: Settings) -> Result<Self, PlaceError> {
        let place = Place::new(NodeHash::of(&settings.node_name), settings.run, 0)?;
        if settings.cluster_name.is_empty() {
            "default".clone_into(&mut settings.cluster_name);
        }
        let full_name = if settings.cluster_name == "default" {
            settings.node_name.clone()
        } else {
            format!("{}/{}", settings.cluster_name, settings.node_name)
        };
        let names = Names::new(settings.max_names, &settings.cluster_domain);
        let owners = Owners::new(&settings.cluster_name);
        let emitter = Emitter { name: "weir".to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() };
        let flow = Flow { node_name: full_name, emitter: Some(emitter), ..Flow::default() };
        let judges = Judges::new(settings.max_judged);
        let verdicts = VecDeque::new();
        Ok(Self { settings, place, newest: UnixNanos::ZERO, names, owners, judges, verdicts, flow })
    }

    /// The place of the newest flow; its number is 0 before the first.
    #[must_use]
    pub const fn place(&self) -> Place {
        self.place
    }

    /// The next number. The last one (2^40 flows of one run) is given out again and again rather than none.
    fn advance(&mut self, at: UnixNanos) {
        let next = self.place.seq().saturating_add(1).min(MAX_SEQ);
        self.place = Place::new(self.place.node(), self.place.run(), next).unwrap_or(self.place);
        self.newest = self.newest.max(at);
    }

    /// What was remembered and forgotten of DNS names.
    #[must_use]
    pub const fn name_stats(&self) -> NameStats {
        self.names.stats()
    }

    /// The flow of an event. Its time is the event's, or the previous flow's if that is later.
    pub fn enrich(&mut self, event: &Event<'_>, interfaces: &Interfaces, cluster: &Cluster) -> &Flow {
        self.advance(event.at);
        self.names.learn(event);
        let ends = ends::of(event.connection, &self.settings, cluster);
        let scene = Scene { event, ends: &ends, interfaces };
        self.basics(&scene);
        self.owners.lend(&mut self.flow, &ends.source, &ends.destination);
        let Self { names, flow, judges, verdicts, settings, .. } = self;
        verdict::fill(flow, event);
        point::fill(flow, &scene);
        layers::fill(flow, &scene);
        let detail = flow.weir.get_or_insert_default();
        service::candidates(&mut detail.services, event.connection, &ends, cluster);
        service::called(&mut flow.destination_service, &detail.services);
        flow.destination_names = names.of(ends.client.ip(), ends.server.ip(), &ends.destination, event.at);
        flow.source_names = names.of(ends.server.ip(), ends.client.ip(), &ends.source, event.at);
        detail::fill(detail, &scene);
        let directions = policy::directions(&ends, cluster, settings);
        verdicts.extend(judges.fill(detail, event, &ends, &directions, cluster));
        if tells_of_the_answer(event) {
            turn_round(flow);
        }
        let stopped_by = event.connection.stopped_by();
        #[expect(deprecated, reason = "Hubble's printers show this field")]
        summary::write(&mut flow.summary, flow.l4.as_ref(), flow.l7.as_ref(), stopped_by);
        flow
    }

    /// The next policy verdict that follows the latest flow: event type 5. To be called until there is none.
    pub fn verdict(&mut self) -> Option<Flow> {
        let told = self.verdicts.pop_front()?;
        self.advance(self.newest);
        let mut flow = self.flow.clone();
        text::set(&mut flow.uuid, self.place.uuid().as_hyphenated().encode_lower(&mut [0; UUID_LEN]));
        told.write(&mut flow);
        Some(flow)
    }

    /// When a connection that seems to contradict its policies is to be looked at next, if not after `now`.
    #[must_use]
    pub fn review_due(&self, now: UnixNanos) -> Option<UnixNanos> {
        self.judges.next_due(now)
    }

    /// The next one of them, once its time has come.
    pub fn to_review(&mut self, now: UnixNanos) -> Option<ConnectionId> {
        self.judges.due(now)
    }

    /// Whether a connection contradicts its policies, beyond what was told: it is to be told again.
    pub fn contradicts(&mut self, connection: &Connection, now: UnixNanos, cluster: &Cluster) -> bool {
        self.judges.contradicts(connection, now, cluster)
    }

    /// Nothing of the cluster will change any more, as behind a recording: what seems to contradict policies does.
    pub const fn settle_policies(&mut self) {
        self.judges.settle();
    }

    /// What policies said, and how that went.
    #[must_use]
    pub fn policy_stats(&self) -> PolicyStatus {
        self.judges.stats()
    }

    /// What the flow before was turned round for is taken back, and the flow stands in its place among the others.
    fn basics(&mut self, scene: &Scene<'_>) {
        let flow = &mut self.flow;
        let turned = flow.is_reply == Some(true);
        self.owners.take_back(flow, turned);
        if turned {
            (flow.source_service, flow.destination_service) = (None, flow.source_service.take());
        }
        let direction =
            if scene.ends.client_is_local { TrafficDirection::Egress } else { TrafficDirection::Ingress };
        flow.time = Some(timestamp(self.newest));
        text::set(&mut flow.uuid, self.place.uuid().as_hyphenated().encode_lower(&mut [0; UUID_LEN]));
        flow.is_reply = Some(false);
        #[expect(deprecated, reason = "old Hubble clients read this field")]
        {
            flow.reply = false;
        }
        flow.traffic_direction = direction.into();
        flow.trace_reason = trace_reason(scene.event).into();
    }
}

/// `NEW` is the first flow of a connection whose beginning was seen.
const fn trace_reason(event: &Event<'_>) -> TraceReason {
    match event.reason {
        Reason::Drop => TraceReason::Unknown,
        Reason::Settled if !event.connection.gaps.midstream => TraceReason::New,
        _ => TraceReason::Established,
    }
}

const fn tells_of_the_answer(event: &Event<'_>) -> bool {
    match event.message {
        Some(message) => matches!(message.way, Way::Reverse),
        None => false,
    }
}

/// A flow about the answer alone goes from the server to the client, as Hubble tells it; the arrow is turned by `is_reply`.
fn turn_round(flow: &mut Flow) {
    std::mem::swap(&mut flow.source, &mut flow.destination);
    std::mem::swap(&mut flow.source_service, &mut flow.destination_service);
    std::mem::swap(&mut flow.source_names, &mut flow.destination_names);
    layers::turn_round(flow);
    flow.is_reply = Some(true);
    #[expect(deprecated, reason = "old Hubble clients read this field")]
    {
        flow.reply = true;
    }
    flow.trace_reason = TraceReason::Reply.into();
}

fn timestamp(at: UnixNanos) -> prost_types::Timestamp {
    weir_proto::time::timestamp(at.as_nanos())
}

#[cfg(test)]
mod tests;
