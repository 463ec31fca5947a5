//! Judgements and contradictions as `Flow.weir` has them.

use weir_cluster::EndpointKind;
use weir_cluster::policy::{Direction, Judgement, Opinion, Outcome, Ruling};
use weir_proto::weir::v1::{
    PolicyConflict, PolicyDirection, PolicyDisagreement, PolicyJudgement, PolicyOpinion, PolicyOutcome,
    PolicyRuling,
};

use super::Judged;
use crate::enrich::ends::Ends;
use crate::enrich::text;
use crate::track::connection::Connection;

/// The kind of policy that is judged by.
const KIND: &str = "NetworkPolicy";

/// No policy selects a pod in any of these directions.
pub(super) fn open(room: &mut Vec<PolicyJudgement>, directions: &[Direction], ends: &Ends) {
    let is_pod = |direction: &&Direction| {
        let end = match direction {
            Direction::Egress => &ends.source,
            Direction::Ingress => &ends.destination,
        };
        end.kind == EndpointKind::Pod
    };
    text::list(room, directions.iter().filter(is_pod), |way, room| {
        let PolicyJudgement { direction: to, ruling, opinions, why, remedy } = room;
        (*to, *ruling) = (direction(*way).into(), PolicyRuling::Open.into());
        opinions.clear();
        why.clear();
        remedy.clear();
    });
}

pub(super) fn judgements(room: &mut Vec<PolicyJudgement>, judged: &Judged) {
    text::list(room, judged.judgements.iter().zip(&judged.remedies), |(one, remedy), room| {
        judgement(one, room);
        text::set(&mut room.remedy, remedy.as_deref().unwrap_or_default());
    });
}

/// One judgement, over another; the remedy is left as it was.
pub(crate) fn judgement(judgement: &Judgement, room: &mut PolicyJudgement) {
    let PolicyJudgement { direction: to, ruling, opinions, why, remedy: _ } = room;
    *to = direction(judgement.direction).into();
    *ruling = match judgement.ruling {
        Ruling::Open => PolicyRuling::Open,
        Ruling::Allowed => PolicyRuling::Allowed,
        Ruling::Always(_) => PolicyRuling::Always,
        Ruling::Denied => PolicyRuling::Denied,
        Ruling::Undecidable(_) => PolicyRuling::Undecidable,
    }
    .into();
    text::list(opinions, &judgement.opinions, opinion);
    match &judgement.ruling {
        Ruling::Always(always) => text::write(why, always),
        Ruling::Undecidable(undecidable) => text::write(why, undecidable),
        Ruling::Open | Ruling::Allowed | Ruling::Denied => why.clear(),
    }
}

fn opinion(opinion: &Opinion, room: &mut PolicyOpinion) {
    let PolicyOpinion { kind, namespace, name, generation, resource_version, outcome, rule, peer, port, why } =
        room;
    let policy = &opinion.policy;
    text::set(kind, KIND);
    text::set(namespace, &policy.name.namespace);
    text::set(name, &policy.name.name);
    *generation = policy.generation;
    text::set(resource_version, &policy.resource_version);
    let index = |index: usize| u32::try_from(index).ok();
    let (what, place) = match &opinion.outcome {
        Outcome::Allows(by) => {
            why.clear();
            (PolicyOutcome::Allows, [Some(by.rule), by.peer, by.port])
        }
        Outcome::Misses(miss) => {
            text::write(why, miss);
            (PolicyOutcome::Misses, [miss.rule(), miss.peer(), None])
        }
        Outcome::Maybe(undecidable) => {
            text::write(why, undecidable);
            (PolicyOutcome::Maybe, [None; 3])
        }
    };
    *outcome = what.into();
    [*rule, *peer, *port] = place.map(|place| place.and_then(index));
}

const fn direction(direction: Direction) -> PolicyDirection {
    match direction {
        Direction::Egress => PolicyDirection::Egress,
        Direction::Ingress => PolicyDirection::Ingress,
    }
}

pub(super) fn disagreements(room: &mut Vec<PolicyDisagreement>, judged: &Judged, connection: &Connection) {
    text::list(room, judged.conflicts.iter().copied(), |(only, conflict), room| {
        let PolicyDisagreement { direction: to, conflict: kind, sentence } = room;
        *to = only.map_or(PolicyDirection::Unspecified, direction).into();
        *kind = conflict.into();
        *sentence = match conflict {
            PolicyConflict::DeniedButDelivered => delivered(judged, only),
            PolicyConflict::AllowedButDropped => dropped(judged, connection),
            PolicyConflict::Unspecified => String::new(),
        };
    });
}

fn names(judgement: &Judgement) -> String {
    let names: Vec<String> =
        judgement.opinions.iter().map(|opinion| opinion.policy.name.to_string()).collect();
    names.join(", ")
}

/// Who denies it, and that it came through.
fn delivered(judged: &Judged, only: Option<Direction>) -> String {
    let Some(judgement) = judged.judgements.iter().find(|it| Some(it.direction) == only) else {
        return String::new();
    };
    let (namespace, pod) = (&judgement.pod.namespace, &judgement.pod.pod_name);
    let (way, names) = (judgement.direction, names(judgement));
    format!(
        "{way} of {namespace}/{pod} is denied by default, which {names} brought about, and yet it was delivered: nothing \
         on its way enforces that"
    )
}

/// Who allows it, and what stopped it.
fn dropped(judged: &Judged, connection: &Connection) -> String {
    let rule = connection.rules.iter().find(|rule| !rule.lets_pass() && !rule.prefix.is_empty());
    let by = match (rule, connection.stopped_by()) {
        (Some(rule), _) => format!("a rule that logs {:?}", rule.prefix),
        (None, Some(drop)) => format!("the kernel: {}", drop.cause),
        (None, None) => "a rule".to_owned(),
    };
    let each = judged.judgements.iter().map(|judgement| {
        let (namespace, pod) = (&judgement.pod.namespace, &judgement.pod.pod_name);
        let why = match judgement.ruling {
            Ruling::Allowed => format!("allowed by {}", names(judgement)),
            _ => "open".to_owned(),
        };
        format!("{} of {namespace}/{pod} is {why}", judgement.direction)
    });
    let each: Vec<_> = each.collect();
    format!("{}, and yet it was dropped by {by}", each.join(" and "))
}
