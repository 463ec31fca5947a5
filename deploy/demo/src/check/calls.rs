//! Calls of one kind, with everything but weir that knows of each: curl, the server's log, the kernel's conntrack on the node
//! where it begins. And the comparison of all that with weir's rows, field by field.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Result, bail};
use weir_proto::flow::FlowFilter;
use weir_proto::weir::v1::{Connection, FlowDetail};

use super::overlay::{Overlay, told};
use super::row::{NOTHING, Row, source_port};
use super::{Scene, is_over};
use crate::conntrack::{self, Entry};
use crate::curl::{Call, Outcome};
use crate::kinds::Attachment;
use crate::netns::Netns;
use crate::plan::{Family, Place, Pod, Role, Service, VXLAN_PORT};
use crate::report::{About, Report};
use crate::serve::{Served, read_log};
use crate::traffic::server_log;

/// Calls of each kind: ten requests are ten connections.
pub const WANTED: usize = 10;
/// The backend is drawn by the kernel: of so many calls, fewer than ten land on one of two once in a billion runs.
const MOST: usize = 64;

/// A kind of call, and what must be true of each.
#[derive(Clone, Debug)]
pub struct Kind<'a> {
    pub name: &'static str,
    pub family: Family,
    /// Who calls, and from where; `None`: somebody outside the cluster.
    pub client: Option<&'a Pod>,
    pub from: &'a Netns,
    /// Host and port of the URL.
    pub called: String,
    /// Path of the Service, where one is called.
    pub service: Option<String>,
    /// Who may answer.
    pub servers: &'a [Role],
    /// Calls are made until ten were answered by this one.
    pub until: Option<Role>,
    /// The node where the call begins or enters the cluster.
    pub enters: Place,
    /// The backend's node translates it once more: what it is sent to is that node's NodePort.
    pub again: bool,
}

/// A call, with everything but weir that knows of it.
#[derive(Debug)]
pub struct Witnessed {
    pub port: u16,
    pub curl: Outcome,
    pub served: Served,
    pub backend: Role,
    /// None where the kernel does not track it: frames that a bridge passes on and shows nobody.
    pub entry: Option<Entry>,
}

impl<'a> Kind<'a> {
    /// Calls of a pod to a Service's ClusterIP.
    pub fn of_service(
        name: &'static str,
        scene: &Scene<'a>,
        family: Family,
        client: Role,
        service: &'a Service,
    ) -> Result<Self> {
        let pod = scene.plan.pod(client);
        Ok(Self {
            name,
            family,
            client: Some(pod),
            from: scene.world.pod(client)?,
            called: service.frontend(family).to_string(),
            service: Some(service.path()),
            servers: &service.backends,
            until: None,
            enters: pod.place,
            again: false,
        })
    }

    /// Calls of a pod to this address or name, behind which there is no Service.
    pub fn of_pod(
        name: &'static str,
        scene: &Scene<'a>,
        family: Family,
        client: Role,
        called: String,
        servers: &'a [Role],
    ) -> Result<Self> {
        let pod = scene.plan.pod(client);
        let from = scene.world.pod(client)?;
        let (until, enters) = (None, pod.place);
        Ok(Self {
            name,
            family,
            client: Some(pod),
            from,
            called,
            service: None,
            servers,
            until,
            enters,
            again: false,
        })
    }

    /// Calls from outside that enter the cluster at this node.
    pub fn from_outside(
        name: &'static str,
        scene: &Scene<'a>,
        family: Family,
        called: SocketAddr,
        service: Option<String>,
        enters: Place,
    ) -> Self {
        let (from, servers) = (&scene.world.outside, &[Role::Store]);
        let (client, until, called) = (None, None, called.to_string());
        Self { name, family, client, from, called, service, servers, until, enters, again: false }
    }

    fn source(&self, scene: &Scene<'_>) -> IpAddr {
        self.client.map_or(scene.plan.outside.of(self.family), |pod| pod.address(self.family))
    }

    /// The client as weir names it: a host-network pod shares its address with its node and the others there.
    fn client_pod(&self) -> String {
        self.client.filter(|pod| !pod.host_network).map_or(NOTHING.to_owned(), Pod::path)
    }

    /// Nodes that see a call which this backend answers, the client's first.
    fn places(&self, backend: &Pod) -> Vec<Place> {
        let mut places = vec![self.enters, backend.place];
        places.dedup();
        places
    }
}

/// Makes the calls and compares. Gives them back for what is particular to their kind.
pub async fn check(scene: &Scene<'_>, report: &mut Report, kind: &Kind<'_>) -> Result<Vec<Witnessed>> {
    let calls = make(scene, kind).await?;
    let ports: Vec<u16> = calls.iter().map(|call| call.port).collect();
    let complete = |row: &Connection| {
        let call = calls.iter().find(|call| call.port == source_port(row));
        is_over(row, call.map_or(1, |call| kind.places(scene.plan.pod(call.backend)).len()))
    };
    let rows = scene.rows(kind.source(scene), &ports, complete).await?;
    let mut about = report.about(kind.name, "all");
    about.equal("connections", rows.len(), "curl", calls.len());
    about.equal("rows as the backend sees them", masked(scene, &calls).await?, "server log", 0);
    for call in &calls {
        let mut about = report.about(kind.name, format!("from port {}", call.port));
        let Ok(row) = Row::find(&rows, call.port) else {
            about.equal("connections", 0, "curl", 1);
            continue;
        };
        compare_ends(scene, kind, &mut about, &row, call);
        compare_counters(&mut about, &row, call);
        compare_way(scene, kind, &mut about, &row, call)?;
    }
    Ok(calls)
}

/// Calls of different sizes.
async fn make(scene: &Scene<'_>, kind: &Kind<'_>) -> Result<Vec<Witnessed>> {
    let mut made = Vec::new();
    let mut counted = 0;
    while counted < WANTED && made.len() < MOST {
        let at = made.len();
        let url = format!("http://{}/bytes/{}", kind.called, 100 + 777 * at);
        let (port, curl) =
            scene.call(kind.from, Call::get(url).family(kind.family).ballast(700 * (at % 4))).await?;
        if !curl.is_success() {
            bail!("the call from port {port} to {} failed: {curl:?}", kind.called);
        }
        let (backend, served) = find_served(scene, kind.servers, port)?;
        counted += usize::from(kind.until.is_none_or(|until| until == backend));
        made.push((port, curl, backend, served));
    }
    let entries = conntrack::list_tcp(scene.world.node(kind.enters), kind.family)?;
    let source = |port| SocketAddr::new(kind.source(scene), port);
    made.into_iter()
        .map(|(port, curl, backend, served)| {
            let entry = entries.iter().find(|entry| entry.original.source == source(port)).copied();
            if entry.is_none() && !is_hidden(scene, kind, backend) {
                bail!("conntrack has no entry for the call from port {port}");
            }
            Ok(Witnessed { port, curl, served, backend, entry })
        })
        .collect()
}

/// A bridge that shows no frames to the rules shows none to conntrack either.
fn is_hidden(scene: &Scene<'_>, kind: &Kind<'_>, backend: Role) -> bool {
    let bridged = scene.plan.kinds.pods == Attachment::Bridge && kind.enters == Place::Far;
    bridged && kind.service.is_none() && scene.plan.pod(backend).place == Place::Far && kind.client.is_some()
}

/// Which server's log has the call.
fn find_served(scene: &Scene<'_>, servers: &[Role], port: u16) -> Result<(Role, Served)> {
    for role in servers {
        let log = read_log(&scene.instance.file(&server_log(&scene.plan.pod(*role).name)))?;
        if let Some(served) = log.into_iter().find(|served| served.is_call(port)) {
            return Ok((*role, served));
        }
    }
    bail!("no server has logged the call from port {port}")
}

/// Rows that take the address which the backend saw for a client.
async fn masked(scene: &Scene<'_>, calls: &[Witnessed]) -> Result<usize> {
    let seen = calls.iter().map(|call| call.served.client).filter(|seen| {
        let own = |call: &Witnessed| call.curl.local() == seen.to_string();
        !calls.iter().any(own)
    });
    let seen: Vec<SocketAddr> = seen.collect();
    if seen.is_empty() {
        return Ok(0);
    }
    let source_ip = seen.iter().map(|seen| seen.ip().to_string()).collect();
    let rows = scene.relay.connections(FlowFilter { source_ip, ..FlowFilter::default() }).await?;
    let told = |row: &Connection| {
        Row::of(row).is_ok_and(|row| seen.iter().any(|seen| row.client() == seen.to_string()))
    };
    Ok(rows.iter().filter(|row| told(row)).count())
}

fn compare_ends(scene: &Scene<'_>, kind: &Kind<'_>, about: &mut About<'_>, row: &Row<'_>, call: &Witnessed) {
    let backend = scene.plan.pod(call.backend);
    let named = if backend.host_network { NOTHING.to_owned() } else { backend.path() };
    about.equal("client pod", row.client_pod(), "plan", kind.client_pod());
    about.equal("client", row.client(), "curl", call.curl.local());
    about.equal("Service", row.services(), "plan", kind.service.as_deref().unwrap_or(NOTHING));
    about.equal("backend pod", row.server_pod(), "server log", named);
    about.equal("backend:port", row.server(), "server log", call.served.server);
    let seen = call.served.client.to_string();
    let masquerade = if seen == call.curl.local() { NOTHING.to_owned() } else { seen };
    about.equal("masquerade", row.masquerade(), "server log", &masquerade);
    about.equal("verdict", row.verdict(), "curl", "FORWARDED");
    let Some(entry) = &call.entry else { return };
    let called = entry.original.destination;
    let translated = called != call.served.server;
    let vip = if translated { called.to_string() } else { NOTHING.to_owned() };
    about.equal("called address", row.vip(), "conntrack", vip);
    let learnt = match (translated || masquerade != NOTHING, kind.again) {
        (false, _) => NOTHING,
        (true, false) => "NAT_SOURCE_CONNTRACK",
        (true, true) => "NAT_SOURCE_JOIN",
    };
    about.equal("translation learnt from", row.learnt(), "conntrack", learnt);
    if !kind.again {
        about.equal("backend:port", row.server(), "conntrack", entry.reply.source);
    }
}

fn compare_counters(about: &mut About<'_>, row: &Row<'_>, call: &Witnessed) {
    let total = row.total();
    let pair = |forward: u64, reverse: u64| format!("{forward} > < {reverse}");
    if let Some(Entry { original, reply }) = &call.entry {
        let packets = pair(total.packets_forward, total.packets_reverse);
        about.equal("packets", packets, "conntrack", pair(original.packets, reply.packets));
        let bytes = pair(total.ip_bytes_forward, total.ip_bytes_reverse);
        about.equal("bytes", bytes, "conntrack", pair(original.bytes, reply.bytes));
    }
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

fn compare_way(
    scene: &Scene<'_>,
    kind: &Kind<'_>,
    about: &mut About<'_>,
    row: &Row<'_>,
    call: &Witnessed,
) -> Result<()> {
    let plan = scene.plan;
    let backend = plan.pod(call.backend);
    let places = kind.places(backend);
    let names: Vec<&str> = places.iter().map(|place| plan.node(*place).name.as_str()).collect();
    about.equal("seen by", row.nodes(), "plan", names.join(","));
    let (Some(first), Some(last)) = (places.first(), places.last()) else { return Ok(()) };
    if let Some(client) = kind.client.filter(|pod| !pod.host_network) {
        let (path, seen) = (client_path(scene, kind, client, backend), row.path(names[0]));
        let same = path == seen || path == around_stale_neighbour(&seen);
        about.holds("path, client's node", seen, "topology", path, same);
    }
    if first == last {
        return Ok(());
    }
    let [near, far] = [*first, *last].map(|place| Overlay::ask(scene.world.node(place), kind.family));
    let (near, far) = (near?, far?);
    let bare = backend.host_network || kind.again;
    let tunnel = if bare { NOTHING.to_owned() } else { near.way_to(&far) };
    about.equal("tunnel, client's node", told(row.tunnel(names[0])), "ip -d link", &tunnel);
    about.equal("tunnel, backend's node", told(row.tunnel(names[1])), "ip -d link", &tunnel);
    about.equal("VXLAN port", far.port, "plan", VXLAN_PORT);
    let details = row.connection.sightings.iter().filter_map(|flow| flow.weir.as_ref());
    // What was translated on the way is found by the form in which it came to the second node.
    let key = |(at, detail): (usize, &FlowDetail)| {
        if kind.again && at > 0 { detail.entry_key } else { detail.join_key }
    };
    let keys: Vec<u64> = details.enumerate().map(key).collect();
    let same = keys.len() == 2 && keys.iter().all(|key| *key != 0 && Some(key) == keys.first());
    about.holds("join key", format!("{keys:x?}"), "both nodes", "the same", same);
    Ok(())
}

/// What a bridge translates to another of its pods it hands on by itself only while the neighbour's address is known to be
/// right; else its own device sends the packet, which may resolve it (br_nf_pre_routing_finish_bridge in
/// net/bridge/br_netfilter_hooks.c). Both are right, and nothing outside the kernel tells which it was.
fn around_stale_neighbour(seen: &str) -> String {
    seen.replace("pod in > cni0 out > pod out", "pod in > pod out")
}

/// The devices that a pod's packets pass on its own node.
fn client_path(scene: &Scene<'_>, kind: &Kind<'_>, client: &Pod, backend: &Pod) -> String {
    let attached = scene.plan.kinds.pods;
    let near = client.place == Place::Near;
    let bridged = attached == Attachment::Bridge || attached == Attachment::Cni && near;
    let local = backend.place == client.place && !backend.host_network;
    // Where the bridge shows its frames to the rules, it passes on itself what they translate to another of its pods, or what
    // needs no translation anyway; else that goes by the node.
    let passes_cni0 = bridged && !(local && (near || kind.service.is_none()));
    let overlay = format!("{} out", kind.family.overlay_device());
    let mut path = vec!["pod in"];
    if passes_cni0 {
        path.push("cni0 in");
    }
    match (local, backend.host_network || kind.again) {
        (true, _) if passes_cni0 => path.extend(["cni0 out", "pod out"]),
        (true, _) => path.push("pod out"),
        (false, true) => path.push("eth0 out"),
        (false, false) => path.extend([overlay.as_str(), "eth0 out tunnelled"]),
    }
    path.join(" > ")
}
