//! What kind of event a flow tells of, and its verdict, in Hubble's words.

use weir_proto::flow::layer7::Record;
use weir_proto::flow::{Flow, L7FlowType, Policy, SocketTranslationPoint, TrafficDirection, Verdict};

use super::style::{Tone, escape};
use crate::observe::names;

/// The TYPE column.
#[must_use]
pub fn kind(flow: &Flow) -> String {
    let Some(event) = &flow.event_type else {
        return "UNKNOWN".to_owned();
    };
    match event.r#type {
        names::L7 => message(flow),
        names::TRACE => {
            names::trace_point_name(event.sub_type).map_or_else(|| event.sub_type.to_string(), str::to_owned)
        }
        names::DROP => dropped(flow, event.sub_type),
        names::POLICY_VERDICT => {
            let direction = flow.traffic_direction().as_str_name();
            format!("policy-verdict:{} {direction}", names::policy_match(flow.policy_match_type))
        }
        names::TRACE_SOCK => translation(flow.sock_xlate_point()).to_owned(),
        3 => flow.debug_capture_point().as_str_name().to_owned(),
        other => other.to_string(),
    }
}

/// Cilium's words, else the kernel's own name for the reason.
fn dropped(flow: &Flow, code: i32) -> String {
    if let Some(words) = names::drop_reason(code) {
        return words.to_owned();
    }
    let drops = flow.weir.as_ref().map_or(&[][..], |detail| &detail.kernel_drops);
    let lost = drops.iter().find(|drop| drop.loss);
    lost.map_or_else(|| code.to_string(), |drop| escape(&drop.reason).into_owned())
}

fn message(flow: &Flow) -> String {
    let Some(l7) = &flow.l7 else {
        return "l7".to_owned();
    };
    #[expect(deprecated, reason = "old nodes still send it")]
    let protocol = match &l7.record {
        Some(Record::Dns(_)) => "dns",
        Some(Record::Http(_)) => "http",
        Some(Record::Kafka(_)) => "kafka",
        None => "unknown",
    };
    let which = match l7.r#type() {
        L7FlowType::Request => "request",
        L7FlowType::Response => "response",
        L7FlowType::Sample => "sample",
        L7FlowType::UnknownL7Type => "unknown",
    };
    match &l7.record {
        Some(Record::Dns(dns)) if !dns.observation_source.is_empty() => {
            format!("{protocol}-{which} {}", escape(&dns.observation_source))
        }
        _ => format!("{protocol}-{which}"),
    }
}

const fn translation(point: SocketTranslationPoint) -> &'static str {
    match point {
        SocketTranslationPoint::SockXlatePointPreDirectionFwd => "pre-xlate-fwd",
        SocketTranslationPoint::SockXlatePointPostDirectionFwd => "post-xlate-fwd",
        SocketTranslationPoint::SockXlatePointPreDirectionRev => "pre-xlate-rev",
        SocketTranslationPoint::SockXlatePointPostDirectionRev => "post-xlate-rev",
        SocketTranslationPoint::SockXlatePointUnknown => "unknown",
    }
}

/// An audited flow was let pass by nobody's rule; Hubble names none either.
const NOBODY: &[Policy] = &[];

/// The VERDICT column and its tone.
#[must_use]
pub fn verdict(flow: &Flow, policy_names: bool) -> (String, Tone) {
    let verdict = flow.verdict();
    let tone = tone(verdict);
    let is_policy = flow.event_type.as_ref().is_some_and(|event| event.r#type == names::POLICY_VERDICT);
    if !is_policy {
        return (verdict.as_str_name().to_owned(), tone);
    }
    let (word, policies) = match verdict {
        Verdict::Forwarded | Verdict::Redirected => ("ALLOWED", allowed_by(flow)),
        Verdict::Dropped | Verdict::Error => ("DENIED", denied_by(flow)),
        Verdict::Audit => ("AUDITED", NOBODY),
        other => (other.as_str_name(), NOBODY),
    };
    if !policy_names || policies.is_empty() {
        return (word.to_owned(), tone);
    }
    let names: Vec<String> = policies.iter().map(policy).collect();
    (format!("{word} BY {}", names.join(", ")), tone)
}

/// The tone of a verdict.
#[must_use]
pub const fn tone(verdict: Verdict) -> Tone {
    match verdict {
        Verdict::Forwarded | Verdict::Redirected => Tone::Good,
        Verdict::Dropped | Verdict::Error => Tone::Bad,
        Verdict::Unknown | Verdict::Audit | Verdict::Traced | Verdict::Translated => Tone::Unsure,
    }
}

fn allowed_by(flow: &Flow) -> &[Policy] {
    match flow.traffic_direction() {
        TrafficDirection::Egress => &flow.egress_allowed_by,
        TrafficDirection::Ingress => &flow.ingress_allowed_by,
        TrafficDirection::Unknown => &[],
    }
}

fn denied_by(flow: &Flow) -> &[Policy] {
    match flow.traffic_direction() {
        TrafficDirection::Egress => &flow.egress_denied_by,
        TrafficDirection::Ingress => &flow.ingress_denied_by,
        TrafficDirection::Unknown => &[],
    }
}

fn policy(policy: &Policy) -> String {
    if policy.kind.is_empty() {
        escape(&policy.name).into_owned()
    } else {
        format!("{} ({})", escape(&policy.name), escape(&policy.kind))
    }
}

/// The SUMMARY column.
#[must_use]
pub fn summary(flow: &Flow) -> String {
    #[expect(deprecated, reason = "the one field that every Hubble printer shows")]
    let summary = escape(&flow.summary);
    let trace = flow.ip_trace_id.as_ref().filter(|id| id.trace_id > 0);
    let before = trace.map_or_else(String::new, |id| format!("IP Trace ID: {}; ", id.trace_id));
    let auth = flow.auth_type();
    let after = if auth as i32 == 0 { String::new() } else { format!("; Auth: {}", auth.as_str_name()) };
    format!("{before}{summary}{after}")
}
