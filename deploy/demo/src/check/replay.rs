//! What the daemon recorded while the calls were made, replayed with the demo's manifests, is what it said live: field by
//! field, except what [`differs`] lists; and two replays are the same to the byte.

mod differs;

use anyhow::{Context, Result};
use weir_proto::flow::{Flow, FlowFilter};
use weir_proto::json;
use weir_proto::observer::get_flows_response::ResponseTypes;

use super::Scene;
use super::stories::{compare, stories};
use crate::client::Client;
use crate::command::output;
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
        compare(report, (NAME, &node.name), &live, ("replay", &replayed), differs::DIFFERS)?;
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
