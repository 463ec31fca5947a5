//! What policies say -> lines for people: of a connection that was seen, and of a question about two ends.
//!
//! Each line stands by itself: it names the direction, the pod or the policy that it is about, and says in words what its
//! colour says. What a daemon did not say is not said here.

use std::fmt::Write as _;

use weir_proto::flow::{Endpoint, Flow};
use weir_proto::weir::v1::{
    FlowDetail, PolicyDirection, PolicyJudgement, PolicyOpinion, PolicyOutcome, PolicyRuling,
};

use super::style::{Tone, escape};

pub mod explain;

/// Policies that a cell names; the rest is counted.
const NAMED: usize = 3;

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyLine {
    /// How far it belongs to the line above it.
    pub depth: usize,
    /// The words.
    pub text: String,
    /// What it says, as a colour.
    pub tone: Tone,
}

impl PolicyLine {
    fn new(depth: usize, text: impl Into<String>, tone: Tone) -> Self {
        Self { depth, text: text.into(), tone }
    }
}

/// All that the policies said of a connection, and what the packets said to that.
#[must_use]
pub fn policy_lines(flow: &Flow) -> Vec<PolicyLine> {
    let Some(detail) = &flow.weir else { return Vec::new() };
    let pod = |judgement: &PolicyJudgement| match judgement.direction() {
        PolicyDirection::Ingress => pod_name(flow.destination.as_ref()),
        _ => pod_name(flow.source.as_ref()),
    };
    let judged = detail.policies.iter().flat_map(|one| judgement(one, &pod(one)));
    let contradicted = detail.disagreements.iter();
    let contradicted =
        contradicted.map(|one| PolicyLine::new(0, format!("≠ {}", escape(&one.sentence)), Tone::Bad));
    judged.chain(contradicted).collect()
}

fn pod_name(end: Option<&Endpoint>) -> String {
    match end {
        Some(end) if !end.pod_name.is_empty() => {
            format!("{}/{}", escape(&end.namespace), escape(&end.pod_name))
        }
        _ => String::new(),
    }
}

/// One direction: what is said of it, and by which policies.
#[must_use]
pub fn judgement(judgement: &PolicyJudgement, pod: &str) -> Vec<PolicyLine> {
    let (said, tone) = ruling(judgement.ruling());
    let of = if pod.is_empty() { String::new() } else { format!(" of {pod}") };
    let mut head = format!("{}{of}: {said}", direction(judgement.direction()));
    if !judgement.why.is_empty() {
        let separator = if judgement.ruling() == PolicyRuling::Denied { "; " } else { ": " };
        // Writing into a text cannot fail.
        let _ = write!(head, "{separator}{}", escape(&judgement.why));
    }
    let opinions = judgement.opinions.iter().map(|one| opinion(one, judgement.direction()));
    let remedy = Some(&judgement.remedy).filter(|remedy| !remedy.is_empty());
    let remedy = remedy.map(|remedy| PolicyLine::new(1, advice(remedy), Tone::Host));
    std::iter::once(PolicyLine::new(0, head, tone)).chain(opinions).chain(remedy).collect()
}

/// What would help.
#[must_use]
pub fn advice(sentence: &str) -> String {
    format!("advice: {}", escape(sentence))
}

/// The name of a direction.
#[must_use]
pub const fn direction(direction: PolicyDirection) -> &'static str {
    match direction {
        PolicyDirection::Egress => "egress",
        PolicyDirection::Ingress => "ingress",
        PolicyDirection::Unspecified => "a direction that this version does not know",
    }
}

const fn ruling(ruling: PolicyRuling) -> (&'static str, Tone) {
    match ruling {
        PolicyRuling::Open => ("open, no policy selects the pod", Tone::Good),
        PolicyRuling::Allowed => ("allowed", Tone::Good),
        PolicyRuling::Always => ("always allowed", Tone::Good),
        PolicyRuling::Denied => ("denied, policies select the pod and none lets this pass", Tone::Bad),
        PolicyRuling::Undecidable => ("undecidable", Tone::Unsure),
        PolicyRuling::Unspecified => ("a ruling that this version does not know", Tone::Unsure),
    }
}

fn opinion(opinion: &PolicyOpinion, direction: PolicyDirection) -> PolicyLine {
    let name = policy_name(opinion);
    let version = match opinion.generation {
        0 => String::new(),
        generation => format!(" (generation {generation})"),
    };
    let why = |else_said: &'static str| match opinion.why.as_str() {
        "" => else_said.into(),
        why => escape(why),
    };
    let (text, tone) = match opinion.outcome() {
        PolicyOutcome::Allows => {
            (format!("allowed by {name}{version}: {}", place(opinion, direction)), Tone::Good)
        }
        PolicyOutcome::Misses => {
            (format!("selected by {name}{version}: {}", why("no rule of it fits")), Tone::Bad)
        }
        PolicyOutcome::Maybe => {
            (format!("perhaps allowed by {name}{version}: {}", why("it cannot be told")), Tone::Unsure)
        }
        PolicyOutcome::Unspecified => {
            (format!("{name}{version} says what this version does not know"), Tone::Unsure)
        }
    };
    PolicyLine::new(1, text, tone)
}

/// `shop/web`, with its kind where it is no NetworkPolicy.
fn policy_name(opinion: &PolicyOpinion) -> String {
    let kind = match opinion.kind.as_str() {
        "" | "NetworkPolicy" => String::new(),
        kind => format!("{} ", escape(kind)),
    };
    let namespace = match opinion.namespace.as_str() {
        "" => String::new(),
        namespace => format!("{}/", escape(namespace)),
    };
    format!("{kind}{namespace}{}", escape(&opinion.name))
}

/// The rule that lets it pass, and its items, counted as in the policy's text.
fn place(opinion: &PolicyOpinion, direction: PolicyDirection) -> String {
    let Some(rule) = opinion.rule else { return "by a rule that was not told".to_owned() };
    let way = if direction == PolicyDirection::Ingress { "from" } else { "to" };
    let peer = opinion.peer.map_or_else(|| "anybody".to_owned(), |peer| peer.to_string());
    let port = opinion.port.map_or_else(|| "every port".to_owned(), |port| format!("port {port}"));
    format!("rule {rule}, {way} {peer}, {port}")
}

/// What policies have to do with how it went, in clauses for a cell: who denies it, and where that and the packets
/// contradict each other.
#[must_use]
pub fn policy_clauses(detail: &FlowDetail) -> Vec<String> {
    let is_contradicted = |one: &&PolicyJudgement| {
        detail.disagreements.iter().any(|disagreement| disagreement.direction == one.direction)
    };
    let denials = denials(detail).filter(|one| !is_contradicted(one));
    let denials =
        denials.map(|one| format!("{} denied: {}", direction(one.direction()), names(&one.opinions)));
    let contradicted = detail.disagreements.iter().map(|one| format!("≠ {}", escape(&one.sentence)));
    denials.chain(contradicted).collect()
}

fn denials(detail: &FlowDetail) -> impl Iterator<Item = &PolicyJudgement> {
    detail.policies.iter().filter(|one| one.ruling() == PolicyRuling::Denied)
}

fn names(opinions: &[PolicyOpinion]) -> String {
    let mut named: Vec<String> = opinions.iter().take(NAMED).map(policy_name).collect();
    let more = opinions.len().saturating_sub(NAMED);
    if more > 0 {
        named.push(format!("{more} more"));
    }
    named.join(", ")
}

/// The policies that deny it, each with its nearest rule if it has one.
#[must_use]
pub fn denying_rules(detail: &FlowDetail) -> Vec<String> {
    let with_rule = |opinion: &PolicyOpinion| {
        let rule = opinion.rule.map_or_else(String::new, |rule| format!(" rule {rule}"));
        format!("{}{rule}", policy_name(opinion))
    };
    denials(detail).flat_map(|one| &one.opinions).map(with_rule).collect()
}

#[cfg(test)]
mod tests;
