//! What one daemon told of the checks' own calls, connection by connection, and its comparison with what another one told.
//!
//! Everything must be the same, field by field, except what a table of the comparison lists with its reason.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde_json::Value;
use weir_proto::flow::layer7::Record;
use weir_proto::flow::{Flow, L7FlowType};
use weir_proto::json;
use weir_proto::observer::GetFlowsResponse;
use weir_proto::observer::get_flows_response::ResponseTypes;
use weir_proto::weir::v1::Reason;

use super::row::ports;
use super::{FIRST_PORT, Scene};
use crate::plan::Role;
use crate::report::Report;

/// How a field may differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Differs {
    /// Both have it, or neither.
    InValue,
    /// One may have it alone.
    Entirely,
}

/// The flows of the checks' own calls, each connection's and each DNS message's in order.
pub type Stories = BTreeMap<String, Vec<Flow>>;

pub fn stories(scene: &Scene<'_>, flows: Vec<Flow>) -> Stories {
    let checker = scene.plan.pod(Role::Checker).address(scene.plan.family()).to_string();
    let mut stories = Stories::new();
    for flow in flows.into_iter().filter(|flow| !was_merged(flow)) {
        if let Some(key) = key(&flow, &checker, scene.next_port.get()) {
            stories.entry(key).or_default().push(flow);
        }
    }
    stories
}

/// The end of what turned out to be part of another connection: that one tells on, and which of both speaks last is chance.
fn was_merged(flow: &Flow) -> bool {
    flow.weir.as_ref().is_some_and(|detail| detail.merged_into != 0)
}

/// What a flow is about: a call by its port, or a DNS answer. Nothing for what is not the checks' own.
fn key(flow: &Flow, checker: &str, end: u16) -> Option<String> {
    let ip = flow.ip.as_ref()?;
    let (source, destination) = ports(flow);
    if let Some(l7) = &flow.l7 {
        let Some(Record::Dns(dns)) = &l7.record else { return None };
        let mine = ip.destination == checker && l7.r#type() == L7FlowType::Response;
        return mine.then(|| format!("dns {destination} {} {}", dns.qtypes.join(","), dns.query));
    }
    let port = [source, destination].into_iter().find(|port| (FIRST_PORT..end).contains(port))?;
    Some(format!("port {port}"))
}

/// Compares the last words of two tellers on each connection. `check` names the check and the node.
pub fn compare(
    report: &mut Report,
    check: (&'static str, &str),
    live: &Stories,
    (teller, told): (&'static str, &Stories),
    differs: &[(&str, Differs, &str)],
) -> Result<()> {
    let (check, node) = check;
    let names = |stories: &Stories| stories.keys().cloned().collect::<Vec<_>>();
    let (ours, theirs) = (names(live), names(told));
    let mut about = report.about(check, node);
    about.holds("connections", ours.len(), teller, theirs.len(), ours == theirs && !ours.is_empty());
    for (name, flows) in live {
        let Some(again) = told.get(name) else { continue };
        let mut about = report.about(check, format!("{node} {name}"));
        let (Some(last), Some(same)) = (last(flows, flows), last(again, flows)) else {
            about.holds("flows", flows.len(), teller, again.len(), false);
            continue;
        };
        let mut found = Vec::new();
        differences(differs, "", &value(last)?, &value(same)?, &mut found);
        about.equal("fields that differ", found.len(), teller, 0);
        for (path, one, other) in found {
            about.holds("field", format!("{path} {one}"), teller, other, false);
        }
    }
    Ok(())
}

/// The last word on a connection. The end of a recording ends every connection in a replay; where the live one is still
/// open that word does not count.
fn last<'a>(flows: &'a [Flow], live: &[Flow]) -> Option<&'a Flow> {
    let is_end = |flow: &Flow| flow.weir.as_ref().is_some_and(|detail| detail.reason() == Reason::End);
    // A port may have had several connections: a SYN that is refused and sent again begins another.
    let open = !live.last().is_some_and(is_end);
    flows.iter().rev().find(|flow| !(open && is_end(flow)))
}

fn value(flow: &Flow) -> Result<Value> {
    let answer = GetFlowsResponse {
        response_types: Some(ResponseTypes::Flow(flow.clone())),
        ..GetFlowsResponse::default()
    };
    let text = json::to_json(&answer);
    let mut value: Value = serde_json::from_str(&text).context("a flow's JSON is not JSON")?;
    Ok(value.get_mut("flow").map(Value::take).unwrap_or_default())
}

/// Every leaf where the two differ and may not, as path and both values.
fn differences(
    differs: &[(&str, Differs, &str)],
    path: &str,
    one: &Value,
    other: &Value,
    found: &mut Vec<(String, String, String)>,
) {
    let under = |allowed: &str| {
        path.strip_prefix(allowed).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    let allowed = differs.iter().find(|(allowed, ..)| under(allowed)).map(|(_, how, _)| how);
    let fine = match allowed {
        None => one == other,
        Some(Differs::InValue) => one.is_null() == other.is_null(),
        Some(Differs::Entirely) => true,
    };
    if fine {
        return;
    }
    match (one, other) {
        (Value::Object(ours), Value::Object(theirs)) => {
            let mut keys: Vec<&String> = ours.keys().chain(theirs.keys()).collect();
            keys.sort_unstable();
            keys.dedup();
            for key in keys {
                let inner = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                let side =
                    |fields: &serde_json::Map<String, Value>| fields.get(key).cloned().unwrap_or_default();
                differences(differs, &inner, &side(ours), &side(theirs), found);
            }
        }
        (Value::Array(ours), Value::Array(theirs)) if ours.len() == theirs.len() => {
            for (one, other) in ours.iter().zip(theirs) {
                differences(differs, path, one, other, found);
            }
        }
        _ => found.push((path.to_owned(), one.to_string(), other.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn differences_are_found_by_path_except_the_listed() {
        let differs = &[("uuid", Differs::InValue, "numbers"), ("gone", Differs::Entirely, "not measured")];
        let one = json!({"uuid": "a", "gone": 1, "IP": {"source": "x"}, "list": [{"a": 1}, {"a": 2}]});
        let other = json!({"uuid": "b", "IP": {"source": "y"}, "list": [{"a": 1}, {"a": 3}]});
        let mut found = Vec::new();
        differences(differs, "", &one, &other, &mut found);
        let paths: Vec<&str> = found.iter().map(|(path, ..)| path.as_str()).collect();
        assert_eq!(paths, ["IP.source", "list.a"]);
    }
}
