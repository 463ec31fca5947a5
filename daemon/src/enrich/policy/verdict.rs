//! Policy verdicts as Hubble knows them: flows of their own with event type 5, one for each direction in which policies decide.
//!
//! Allowed is `FORWARDED`; denied and seen dropped `DROPPED`; denied and delivered all the same `AUDIT`; denied and nothing
//! observed is no verdict, with the policies named. Where that changes, it is told again. What is open, always allowed or
//! undecidable has none.

use weir_cluster::object::{NetworkPolicy, PolicyPort, PortMatch};
use weir_cluster::policy::{Allowance, Direction, Judgement, Ruling};
use weir_proto::flow::{
    CiliumEventType, DropReason, Flow, FlowType, Policy, TraceObservationPoint, TraceReason,
    TrafficDirection, Verdict,
};
use weir_proto::weir::v1::{Counters, PolicyStatus, Reason};

use super::Judged;
use crate::track::connection::{self, Connection};

/// Cilium's monitor message type of policy verdicts.
const POLICY_VERDICT: i32 = 5;

/// What became of what policies say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Allowed,
    DeniedAndDropped,
    DeniedAndDelivered,
    Denied,
}

/// A policy verdict, to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::enrich) struct Told {
    direction: Direction,
    fate: Fate,
    /// Namespace and name.
    policies: Vec<(String, String)>,
    match_type: u32,
    is_correction: bool,
}

impl Judged {
    /// What is to be told that was not told yet.
    pub(super) fn tell(
        &mut self,
        connection: &Connection,
        stats: &mut PolicyStatus,
    ) -> smallvec::SmallVec<[Told; 2]> {
        let mut all = smallvec::SmallVec::new();
        if connection.gaps.midstream {
            return all;
        }
        for (judgement, known) in self.judgements.iter().zip(&mut self.told) {
            let Some(fate) = fate(judgement, connection) else { continue };
            if known.as_ref().is_some_and(|known| known.fate == fate) {
                continue;
            }
            count(known.as_ref().map(|known| known.fate), fate, stats);
            let told = Told {
                direction: judgement.direction,
                fate,
                policies: named(judgement),
                match_type: match_type(judgement),
                is_correction: known.is_some(),
            };
            *known = Some(told.clone());
            all.push(told);
        }
        all
    }
}

impl Judged {
    /// It was judged by ends that turned out to be others.
    pub(super) fn take_back(&self, stats: &mut PolicyStatus) {
        for told in self.told.iter().flatten() {
            count(Some(told.fate), Fate::Denied, stats);
        }
    }
}

fn fate(judgement: &Judgement, connection: &Connection) -> Option<Fate> {
    match (&judgement.ruling, connection.verdict()) {
        (Ruling::Allowed, _) => Some(Fate::Allowed),
        (Ruling::Denied, connection::Verdict::Dropped) => Some(Fate::DeniedAndDropped),
        (Ruling::Denied, connection::Verdict::Forwarded) => Some(Fate::DeniedAndDelivered),
        (Ruling::Denied, connection::Verdict::Traced) => Some(Fate::Denied),
        (Ruling::Open | Ruling::Always(_) | Ruling::Undecidable(_), _) => None,
    }
}

/// What was observed later takes the place of what was.
const fn count(before: Option<Fate>, now: Fate, stats: &mut PolicyStatus) {
    match before {
        Some(Fate::DeniedAndDropped) => stats.denied_dropped -= 1,
        Some(Fate::DeniedAndDelivered) => stats.denied_delivered -= 1,
        Some(Fate::Allowed | Fate::Denied) | None => {}
    }
    match now {
        Fate::DeniedAndDropped => stats.denied_dropped += 1,
        Fate::DeniedAndDelivered => stats.denied_delivered += 1,
        Fate::Allowed | Fate::Denied => {}
    }
}

/// Those that allow it, or all that select the pod.
fn named(judgement: &Judgement) -> Vec<(String, String)> {
    let name = |policy: &NetworkPolicy| (policy.name.namespace.to_string(), policy.name.name.to_string());
    if judgement.ruling == Ruling::Allowed {
        judgement.allowing().map(|(policy, _)| name(policy)).collect()
    } else {
        judgement.opinions.iter().map(|opinion| name(&opinion.policy)).collect()
    }
}

/// Which part of the first rule that allows it matched, as Hubble numbers it.
fn match_type(judgement: &Judgement) -> u32 {
    let Some((policy, allowance)) = judgement.allowing().next() else { return 0 };
    match (allowance.peer, matched_port(policy, judgement.direction, allowance)) {
        (Some(_), None) => 1,
        (Some(_), Some(PortMatch::Every)) => 5,
        (Some(_), Some(_)) => 2,
        (None, Some(PortMatch::Every)) => 6,
        (None, Some(_)) => 3,
        (None, None) => 4,
    }
}

fn matched_port(policy: &NetworkPolicy, direction: Direction, allowance: Allowance) -> Option<&PortMatch> {
    let rules = match direction {
        Direction::Ingress => policy.ingress.as_ref(),
        Direction::Egress => policy.egress.as_ref(),
    };
    let ports: &[PolicyPort] = &rules?.get(allowance.rule)?.ports;
    ports.get(allowance.port?).map(|port| &port.port)
}

impl Told {
    /// Makes of a connection's flow the one that tells of this.
    pub(in crate::enrich) fn write(self, flow: &mut Flow) {
        let verdict = match self.fate {
            Fate::Allowed => Verdict::Forwarded,
            Fate::DeniedAndDropped => Verdict::Dropped,
            Fate::DeniedAndDelivered => Verdict::Audit,
            Fate::Denied => Verdict::Unknown,
        };
        let dropped = self.fate == Fate::DeniedAndDropped;
        let reason = if dropped { DropReason::PolicyDenied } else { DropReason::Unknown };
        flow.verdict = verdict.into();
        flow.drop_reason_desc = reason.into();
        #[expect(deprecated, reason = "old Hubble clients read this field")]
        {
            flow.drop_reason = reason as u32;
        }
        flow.event_type = Some(CiliumEventType { r#type: POLICY_VERDICT, sub_type: 0 });
        flow.r#type = FlowType::L3L4.into();
        flow.trace_observation_point = TraceObservationPoint::UnknownPoint.into();
        flow.trace_reason = TraceReason::Unknown.into();
        flow.policy_match_type = self.match_type;
        let policies = self.policies.into_iter().map(|(namespace, name)| Policy {
            name,
            namespace,
            kind: "NetworkPolicy".to_owned(),
            ..Policy::default()
        });
        let room = match (self.direction, self.fate == Fate::Allowed) {
            (Direction::Egress, true) => &mut flow.egress_allowed_by,
            (Direction::Egress, false) => &mut flow.egress_denied_by,
            (Direction::Ingress, true) => &mut flow.ingress_allowed_by,
            (Direction::Ingress, false) => &mut flow.ingress_denied_by,
        };
        *room = policies.collect();
        let direction = match self.direction {
            Direction::Egress => TrafficDirection::Egress,
            Direction::Ingress => TrafficDirection::Ingress,
        };
        flow.traffic_direction = direction.into();
        if let Some(detail) = &mut flow.weir {
            detail.reason = Reason::Policy.into();
            detail.delta = Some(Counters::default());
            detail.correction = self.is_correction;
        }
    }
}
