//! Two daemons on each node looked at the same calls, one by eBPF and one by libpcap: both must have told the same, field by
//! field, except what [`differs`] lists.

mod differs;

use anyhow::Result;
use weir_proto::flow::{Flow, FlowFilter};

use super::Scene;
use super::stories::{compare, stories};
use crate::client::Client;
use crate::report::Report;
use crate::stack::{daemon_socket, second_socket};

pub const NAME: &str = "sources";

/// A message without what its connection had counted by then: a question and the answer to the one before cross each other, and
/// which of them a source stamps first is chance. The connection's own last word counts both.
fn alone(mut flow: Flow) -> Flow {
    if let (Some(_), Some(detail)) = (&flow.l7, &mut flow.weir) {
        detail.total = None;
        for point in &mut detail.path {
            point.counters = None;
        }
    }
    flow
}

/// Compares the daemons of each node. To be called while they still have their flows.
pub async fn check(scene: &Scene<'_>, report: &mut Report) -> Result<()> {
    for node in scene.plan.nodes() {
        let first = Client::new(&daemon_socket(scene.instance, scene.plan, node.place));
        let second = Client::new(&second_socket(scene.instance, scene.plan, node.place));
        for (client, source) in [(&first, scene.source), (&second, scene.source.other())] {
            let status = client.status().await?;
            let told = status.weir.and_then(|weir| weir.source).map(|source| source.kind());
            let mut about = report.about(NAME, &node.name);
            about.holds("source", source, "its status", format!("{told:?}"), differs::is(source, told));
        }
        let (one, other) =
            (first.flows(FlowFilter::default()).await?, second.flows(FlowFilter::default()).await?);
        let [one, other] = [one, other].map(|flows| stories(scene, flows.into_iter().map(alone).collect()));
        compare(report, (NAME, &node.name), &one, ("the other source", &other), differs::DIFFERS)?;
    }
    Ok(())
}
