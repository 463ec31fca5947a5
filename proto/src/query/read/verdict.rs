//! What became of a flow, and by what evidence.

use super::super::field::Sink;
use super::super::words::DENIED;
use super::detail;
use crate::flow::{DropReason, Flow, Policy, Verdict};
use crate::matching::End;
use crate::weir::v1::{
    ConnectionState, Observation, PolicyJudgement, PolicyOpinion, PolicyOutcome, PolicyRuling,
};

pub(in crate::query) fn verdict(flow: &Flow, _: End, sink: &mut Sink<'_>) {
    sink.word(flow.verdict);
    if flow.verdict() == Verdict::Dropped
        && matches!(flow.drop_reason_desc(), DropReason::PolicyDenied | DropReason::PolicyDeny)
    {
        sink.number(DENIED);
    }
}

/// Only dropped flows have one.
pub(in crate::query) fn drop_reason(flow: &Flow, _: End, sink: &mut Sink<'_>) {
    if flow.verdict() == Verdict::Dropped {
        sink.word(flow.drop_reason_desc);
    }
}

fn is_state(flow: &Flow, state: ConnectionState) -> bool {
    detail(flow).is_some_and(|detail| detail.state() == state)
}

fn is_observed(flow: &Flow, observations: &[Observation]) -> bool {
    let evidence = detail(flow).map_or(&[][..], |detail| &detail.evidence);
    evidence.iter().any(|evidence| observations.contains(&evidence.observation()))
}

pub(in crate::query) fn unanswered(flow: &Flow, _: End, sink: &mut Sink<'_>) {
    sink.flag(is_state(flow, ConnectionState::Unanswered) || is_observed(flow, &[Observation::Unanswered]));
}

pub(in crate::query) fn rejected(flow: &Flow, _: End, sink: &mut Sink<'_>) {
    let refusals = [Observation::IcmpUnreachable, Observation::ResetByNetwork];
    sink.flag(is_state(flow, ConnectionState::Rejected) || is_observed(flow, &refusals));
}

pub(in crate::query) fn evidence(flow: &Flow, _: End, sink: &mut Sink<'_>) {
    for evidence in detail(flow).map_or(&[][..], |detail| &detail.evidence) {
        sink.word(evidence.observation);
    }
}

pub(in crate::query) fn rule(flow: &Flow, _: End, sink: &mut Sink<'_>) {
    sink.texts(detail(flow).map_or(&[][..], |detail| &detail.rule_names));
}

pub(in crate::query) fn policy(flow: &Flow, _: End, sink: &mut Sink<'_>) {
    let lists: [&[Policy]; 4] =
        [&flow.egress_allowed_by, &flow.ingress_allowed_by, &flow.egress_denied_by, &flow.ingress_denied_by];
    for policy in lists.into_iter().flatten() {
        sink.name(&policy.namespace, &policy.name);
    }
    for rule in detail(flow).map_or(&[][..], |detail| &detail.logged_rules) {
        if !matches!(rule.kind.as_str(), "Tier" | "Profile") && !rule.name.is_empty() {
            sink.name(&rule.namespace, &rule.name);
        }
    }
    for judgement in judgements(flow) {
        for opinion in judgement.opinions.iter().filter(|opinion| decides(judgement.ruling(), opinion)) {
            sink.name(&opinion.namespace, &opinion.name);
        }
    }
}

fn judgements(flow: &Flow) -> &[PolicyJudgement] {
    detail(flow).map_or(&[], |detail| &detail.policies)
}

/// Who lets it pass allows it; where nobody does, who selects the pod denies it.
fn decides(ruling: PolicyRuling, opinion: &PolicyOpinion) -> bool {
    match opinion.outcome() {
        PolicyOutcome::Allows => true,
        PolicyOutcome::Misses => ruling == PolicyRuling::Denied,
        PolicyOutcome::Maybe | PolicyOutcome::Unspecified => false,
    }
}

pub(in crate::query) fn ruling(flow: &Flow, _: End, sink: &mut Sink<'_>) {
    for judgement in judgements(flow) {
        sink.word(judgement.ruling);
    }
}

pub(in crate::query) fn disagreement(flow: &Flow, _: End, sink: &mut Sink<'_>) {
    sink.flag(detail(flow).is_some_and(|detail| !detail.disagreements.is_empty()));
}
