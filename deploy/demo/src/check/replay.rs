//! What the daemon recorded while the calls were made, replayed with the demo's manifests, is what it said live: field by
//! field, except what [`DIFFERS`] lists; and two replays are the same to the byte.

mod differs;

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde_json::Value;
use weir_proto::flow::layer7::Record;
use weir_proto::flow::{Flow, FlowFilter, L7FlowType};
use weir_proto::json;
use weir_proto::observer::GetFlowsResponse;
use weir_proto::observer::get_flows_response::ResponseTypes;
use weir_proto::weir::v1::Reason;

use super::row::ports;
use super::{FIRST_PORT, Scene};
use crate::client::Client;
use crate::command::output;
use crate::plan::Role;
use crate::report::Report;
use crate::stack::{cluster_file, daemon_socket, program, recording_file};

pub const NAME: &str = "replay";

/// Compares what the running daemons recorded with what they said. To be called while they still have their flows.
pub async fn check(scene: &Scene<'_>, report: &mut Report) -> Result<()> {
    scene.all_told().await?;
    for node in scene.plan.nodes() {
        // The daemon writes on; both replays read the same bytes.
        let recording = scene.instance.file(&format!("{}.checked.pcapng", node.name));
        std::fs::copy(recording_file(scene.instance, scene.plan, node.place), &recording)
            .context("the daemon's recording cannot be copied")?;
        let replay = || {
            let mut command = std::process::Command::new(program("weir-daemon")?);
            command.arg("replay").arg(&recording).arg("--cluster").arg(cluster_file(scene.instance));
            output(&mut command)
        };
        let (first, second) = (replay()?, replay()?);
        let mut about = report.about(NAME, &node.name);
        about.holds("bytes", first.len(), "second replay", second.len(), first == second);
        let live = Client::new(&daemon_socket(scene.instance, scene.plan, node.place));
        let (live, replayed) = (live.flows(FlowFilter::default()).await?, parse(&first)?);
        // What the daemon told after the last frame that was recorded, it told by its clock alone.
        let recorded_until = replayed.iter().map(time).max().unwrap_or_default();
        let live = live.into_iter().filter(|flow| time(flow) <= recorded_until).collect();
        let (live, replayed) = (stories(scene, live), stories(scene, replayed));
        compare(report, &node.name, &live, &replayed)?;
    }
    Ok(())
}

fn parse(lines: &str) -> Result<Vec<Flow>> {
    let mut flows = Vec::new();
    for line in lines.lines() {
        let answer = json::from_json(line).context("the replay printed a line that is no flow")?;
        if let Some(ResponseTypes::Flow(flow)) = answer.response_types {
            flows.push(flow);
        }
    }
    Ok(flows)
}

/// Seconds and nanoseconds.
fn time(flow: &Flow) -> (i64, i32) {
    flow.time.as_ref().map_or((0, 0), |time| (time.seconds, time.nanos))
}

/// The flows of the checks' own calls, each connection's and each DNS message's in order.
type Stories = BTreeMap<String, Vec<Flow>>;

fn stories(scene: &Scene<'_>, flows: Vec<Flow>) -> Stories {
    let checker = scene.plan.pod(Role::Checker).address(scene.plan.family()).to_string();
    let mut stories = Stories::new();
    for flow in flows {
        if let Some(key) = key(&flow, &checker, scene.next_port.get()) {
            stories.entry(key).or_default().push(flow);
        }
    }
    stories
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

fn compare(report: &mut Report, node: &str, live: &Stories, replayed: &Stories) -> Result<()> {
    let names = |stories: &Stories| stories.keys().cloned().collect::<Vec<_>>();
    let (ours, theirs) = (names(live), names(replayed));
    let mut about = report.about(NAME, node);
    about.holds("connections", ours.len(), "replay", theirs.len(), ours == theirs && !ours.is_empty());
    for (name, flows) in live {
        let Some(again) = replayed.get(name) else { continue };
        let mut about = report.about(NAME, format!("{node} {name}"));
        let (Some(last), Some(same)) = (last(flows, flows), last(again, flows)) else {
            about.holds("flows", flows.len(), "replay", again.len(), false);
            continue;
        };
        let mut found = Vec::new();
        differences("", &value(last)?, &value(same)?, &mut found);
        about.equal("fields that differ", found.len(), "replay", 0);
        for (path, one, other) in found {
            about.holds("field", format!("{path} {one}"), "replay", other, false);
        }
    }
    Ok(())
}

/// The last word on a connection. The end of a recording ends every connection in a replay; where the live one is still
/// open that word does not count.
fn last<'a>(flows: &'a [Flow], live: &[Flow]) -> Option<&'a Flow> {
    let is_end = |flow: &Flow| flow.weir.as_ref().is_some_and(|detail| detail.reason() == Reason::End);
    let open = !live.iter().any(is_end);
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
fn differences(path: &str, one: &Value, other: &Value, found: &mut Vec<(String, String, String)>) {
    if one == other || differs::DIFFERS.iter().any(|(allowed, _)| *allowed == path) {
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
                differences(&inner, &side(ours), &side(theirs), found);
            }
        }
        (Value::Array(ours), Value::Array(theirs)) if ours.len() == theirs.len() => {
            for (one, other) in ours.iter().zip(theirs) {
                differences(path, one, other, found);
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
        let one = json!({"uuid": "a", "IP": {"source": "x"}, "list": [{"a": 1}, {"a": 2}]});
        let other = json!({"uuid": "b", "IP": {"source": "y"}, "list": [{"a": 1}, {"a": 3}]});
        let mut found = Vec::new();
        differences("", &one, &other, &mut found);
        let paths: Vec<&str> = found.iter().map(|(path, ..)| path.as_str()).collect();
        assert_eq!(paths, ["IP.source", "list.a"]);
    }
}
