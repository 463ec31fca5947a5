//! A call from outside to a node's address and NodePort, answered by a pod of the other node: one connection, although it
//! has two clients' addresses and two servers' on its way.

use std::net::SocketAddr;

use anyhow::{Context, Result, bail};
use weir_proto::flow::FlowFilter;

use super::row::{Row, source_port};
use super::{Scene, is_over};
use crate::conntrack;
use crate::curl::Call;
use crate::plan::{Family, Role};
use crate::report::Report;
use crate::serve::read_log;
use crate::traffic::server_log;

pub const NAME: &str = "NodePort call";

pub async fn check(scene: &Scene<'_>, family: Family, report: &mut Report) -> Result<()> {
    let plan = scene.plan;
    let node_port = plan.store.node_port().context("no NodePort is planned")?;
    let called = SocketAddr::new(plan.near.address(family), node_port);
    let (port, curl) = scene.call(&scene.world.outside, Call::bytes(called, 30_000)).await?;
    if !curl.is_success() {
        bail!("the call from port {port} failed: {curl:?}");
    }
    let client = plan.outside.port(family, port);
    let entries = conntrack::list_tcp(&scene.world.near, family)?;
    let entry = entries.iter().find(|entry| entry.original.source == client);
    let entry = entry.context("conntrack has no entry for the NodePort call")?;
    let masquerade = entry.reply.destination;

    let rows = scene.rows(plan.outside.of(family), &[port], |row| is_over(row, 2)).await?;
    let mut about = report.about(NAME, format!("from port {port}"));
    about.equal("connections", rows.len(), "curl", 1);
    about.equal("rows as the backend sees it", masked(scene, masquerade).await?, "conntrack", 0);
    let row = Row::find(&rows, port)?;
    about.equal("client", row.client(), "curl", curl.local());
    about.equal("client pod", row.client_pod(), "plan", "-");
    about.equal("Service", row.service(), "plan", plan.store.path());
    about.equal("node:port", row.vip(), "conntrack", entry.original.destination);
    about.equal("masquerade", row.masquerade(), "conntrack", masquerade);
    let log = read_log(&scene.instance.file(&server_log(&plan.pod(Role::Store).name)))?;
    let served = log.into_iter().find(|served| served.client.port() == masquerade.port());
    let served = served.context("the store has not logged the NodePort call")?;
    about.equal("masquerade", row.masquerade(), "server log", served.client);
    about.equal("backend:port", row.server(), "server log", served.server);
    about.equal("backend pod", row.server_pod(), "plan", plan.pod(Role::Store).path());
    about.equal("seen by", row.nodes(), "plan", plan.nodes().map(|node| node.name.as_str()).join(","));
    let total = row.total();
    about.equal("bytes", total.ip_bytes_forward, "conntrack", entry.original.bytes);
    about.equal("bytes back", total.ip_bytes_reverse, "conntrack", entry.reply.bytes);
    Ok(())
}

/// Rows that take the masquerade for a client.
async fn masked(scene: &Scene<'_>, masquerade: SocketAddr) -> Result<usize> {
    let filter = FlowFilter { source_ip: vec![masquerade.ip().to_string()], ..FlowFilter::default() };
    let rows = scene.relay.connections(filter).await?;
    // Filters on addresses match any form that a flow carries, so the true row is among them: it has the client's port.
    Ok(rows.iter().filter(|row| source_port(row) == masquerade.port()).count())
}
