//! Calls of a pod to a ClusterIP: which Service, which backend, which way, how many bytes, how far.

use std::net::SocketAddrV4;

use anyhow::{Context, Result, bail};
use serde_json::Value;
use weir_proto::weir::v1::{Connection, Encapsulation};

use super::row::{NOTHING, Row};
use super::{Scene, is_over};
use crate::conntrack::{self, Entry};
use crate::curl::{Call, Outcome};
use crate::netns::Netns;
use crate::plan::{Node, Pod, Role, VXLAN_PORT};
use crate::report::{About, Report};
use crate::serve::{Served, read_log};
use crate::traffic::server_log;

pub const NAME: &str = "Service call";

/// Calls that must land on the other node's backend.
const WANTED: usize = 10;
/// The backend is drawn by the kernel: of so many calls, fewer than ten land there once in a billion runs.
const MOST: usize = 64;

/// A call, with everything but weir that knows of it.
struct Witnessed {
    port: u16,
    curl: Outcome,
    served: Served,
    backend: Role,
    entry: Entry,
}

pub async fn check(scene: &Scene<'_>, report: &mut Report) -> Result<()> {
    let calls = make_calls(scene).await?;
    let checker = scene.plan.pod(Role::Checker);
    let ports: Vec<u16> = calls.iter().map(|call| call.port).collect();
    let sightings = |row: &Connection| {
        let far = calls
            .iter()
            .any(|call| call.backend == Role::ApiFar && super::row::source_port(row) == call.port);
        is_over(row, if far { 2 } else { 1 })
    };
    let rows = scene.rows(checker.address, &ports, sightings).await?;
    report.about(NAME, "all").equal("connections", rows.len(), "curl", calls.len());
    let (near, far) = (Overlay::ask(&scene.world.near)?, Overlay::ask(&scene.world.far)?);
    for call in &calls {
        let mut about = report.about(NAME, format!("from port {}", call.port));
        let Ok(row) = Row::find(&rows, call.port) else {
            about.equal("connections", 0, "curl", 1);
            continue;
        };
        compare_ends(scene, &mut about, &row, call);
        compare_counters(&mut about, &row, call);
        if call.backend == Role::ApiFar {
            compare_tunnel(scene, &mut about, &row, &near, &far);
        } else {
            about.equal("seen by", row.nodes(), "plan", &scene.plan.near.name);
        }
    }
    Ok(())
}

/// Calls of different sizes until enough have landed on the other node.
async fn make_calls(scene: &Scene<'_>) -> Result<Vec<Witnessed>> {
    let (plan, from) = (scene.plan, scene.world.pod(Role::Checker)?);
    let mut made = Vec::new();
    let mut far = 0;
    while far < WANTED && made.len() < MOST {
        let at = made.len();
        let call = Call::bytes(plan.api.frontend(), 100 + 777 * at).ballast(700 * (at % 4));
        let (port, curl) = scene.call(from, call).await?;
        if !curl.is_success() {
            bail!("the call from port {port} failed: {curl:?}");
        }
        let (backend, served) = find_served(scene, port)?;
        far += usize::from(backend == Role::ApiFar);
        made.push((port, curl, backend, served));
    }
    let entries = conntrack::list_tcp(&scene.world.near)?;
    let source = |port| SocketAddrV4::new(plan.pod(Role::Checker).address, port);
    made.into_iter()
        .map(|(port, curl, backend, served)| {
            let entry = entries.iter().find(|entry| entry.original.source == source(port));
            let entry =
                *entry.with_context(|| format!("conntrack has no entry for the call from port {port}"))?;
            Ok(Witnessed { port, curl, served, backend, entry })
        })
        .collect()
}

/// Which backend's log has the call.
fn find_served(scene: &Scene<'_>, port: u16) -> Result<(Role, Served)> {
    for role in [Role::ApiNear, Role::ApiFar] {
        let log = read_log(&scene.instance.file(&server_log(&scene.plan.pod(role).name)))?;
        if let Some(served) = log.into_iter().find(|served| served.client.port() == port) {
            return Ok((role, served));
        }
    }
    bail!("no server has logged the call from port {port}")
}

fn compare_ends(scene: &Scene<'_>, about: &mut About<'_>, row: &Row<'_>, call: &Witnessed) {
    let plan = scene.plan;
    let backend: &Pod = plan.pod(call.backend);
    about.equal("client pod", row.client_pod(), "plan", plan.pod(Role::Checker).path());
    about.equal("client", row.client(), "curl", format!("{}:{}", call.curl.local_ip, call.curl.local_port));
    about.equal("Service", row.service(), "plan", plan.api.path());
    about.equal("ClusterIP:port", row.vip(), "conntrack", call.entry.original.destination);
    about.equal("backend pod", row.server_pod(), "server log", backend.path());
    about.equal("backend:port", row.server(), "server log", call.served.server);
    about.equal("backend:port", row.server(), "conntrack", call.entry.reply.source);
    about.equal("masquerade", row.masquerade(), "server log", {
        let seen = call.served.client.to_string();
        if seen == row.client() { NOTHING.to_owned() } else { seen }
    });
    about.equal("verdict", row.verdict(), "curl", "FORWARDED");
}

fn compare_counters(about: &mut About<'_>, row: &Row<'_>, call: &Witnessed) {
    let (total, entry) = (row.total(), &call.entry);
    let pair = |forward: u64, reverse: u64| format!("{forward} > < {reverse}");
    about.equal(
        "packets",
        pair(total.packets_forward, total.packets_reverse),
        "conntrack",
        pair(entry.original.packets, entry.reply.packets),
    );
    about.equal(
        "bytes",
        pair(total.ip_bytes_forward, total.ip_bytes_reverse),
        "conntrack",
        pair(entry.original.bytes, entry.reply.bytes),
    );
    let (sent, received) = call.curl.payload();
    about.equal(
        "payload bytes",
        pair(total.payload_bytes_forward, total.payload_bytes_reverse),
        "curl",
        pair(sent, received),
    );
    let measured = row.round_trip_ns();
    // curl's time holds the handshake and curl's own way to it; its last digit is a microsecond.
    let limit = call.curl.connect_ns().saturating_add(1_000);
    let said = format!("at most {} us", limit / 1000);
    about.holds("RTT", format!("{} us", measured / 1000), "curl", said, measured > 0 && measured <= limit);
}

/// What `ip -d link` says of a node's overlay device.
struct Overlay {
    vni: u64,
    local: String,
    port: u64,
}

impl Overlay {
    fn ask(node: &Netns) -> Result<Self> {
        let text = node.ip_output("-d -j link show flannel.1")?;
        let links: Value = serde_json::from_str(&text).context("`ip -d -j link` printed no JSON")?;
        let data = links.pointer("/0/linkinfo/info_data").context("flannel.1 is no VXLAN device")?;
        let number = |name: &str| data.get(name).and_then(Value::as_u64).unwrap_or(0);
        let local = data.get("local").and_then(Value::as_str).unwrap_or(NOTHING).to_owned();
        Ok(Self { vni: number("id"), local, port: number("port") })
    }

    fn way_to(&self, other: &Self) -> String {
        format!("vxlan {} {} > {}:{}", self.vni, self.local, other.local, other.port)
    }
}

fn compare_tunnel(scene: &Scene<'_>, about: &mut About<'_>, row: &Row<'_>, near: &Overlay, far: &Overlay) {
    let nodes: [&Node; 2] = scene.plan.nodes();
    let names = nodes.map(|node| node.name.as_str());
    about.equal("seen by", row.nodes(), "plan", names.join(","));
    let said = near.way_to(far);
    about.equal("tunnel, client's node", told(row.tunnel(names[0])), "ip -d link", &said);
    about.equal("tunnel, backend's node", told(row.tunnel(names[1])), "ip -d link", &said);
    about.equal("VXLAN port", far.port, "plan", VXLAN_PORT);
    let keys: Vec<u64> = row
        .connection
        .sightings
        .iter()
        .filter_map(|flow| flow.weir.as_ref())
        .map(|detail| detail.join_key)
        .collect();
    let same = keys.len() == 2 && keys.iter().all(|key| *key != 0 && Some(key) == keys.first());
    about.holds("join key", format!("{keys:x?}"), "both nodes", "the same", same);
}

fn told(tunnel: Option<&Encapsulation>) -> String {
    tunnel.map_or(NOTHING.to_owned(), |outer| {
        format!(
            "{} {} {} > {}:{}",
            outer.protocol, outer.vni, outer.source, outer.destination, outer.destination_port
        )
    })
}
