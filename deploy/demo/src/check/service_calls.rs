//! Calls to every kind of Service, and to none: which Service, which backend, which translation, which way, how many bytes,
//! how far. The tables below are all there is to a kind whose calls need no question of their own.

use std::net::SocketAddr;

use anyhow::{Context, Result};

use super::Scene;
use super::calls::{self, Kind, Witnessed};
use crate::command::output;
use crate::kinds::Rules;
use crate::plan::{Family, Place, Role};
use crate::report::Report;
use crate::services::{affinity_list, affinity_set};

pub const NAME: &str = "Service call";

/// Calls of pods and of nodes to ClusterIPs.
pub async fn check(scene: &Scene<'_>, family: Family, report: &mut Report) -> Result<()> {
    let plan = scene.plan;
    let mut api = Kind::of_service(NAME, scene, family, Role::Checker, &plan.api)?;
    api.until = Some(Role::ApiFar);
    calls::check(scene, report, &api).await?;
    for (name, client, service) in [
        ("host-network server", Role::Checker, &plan.agent),
        ("host-network client, own node", Role::HostClient, &plan.primary),
        ("host-network client, other node", Role::HostClient, &plan.store),
        ("hairpin, near", Role::First, &plan.primary),
        ("hairpin, far", Role::Store, &plan.store),
    ] {
        let kind = Kind::of_service(name, scene, family, client, service)?;
        calls::check(scene, report, &kind).await?;
    }
    sticky(scene, family, report).await
}

/// Calls to pods themselves: by address, and by the names of a headless Service.
pub async fn direct(scene: &Scene<'_>, family: Family, report: &mut Report) -> Result<()> {
    let plan = scene.plan;
    let target = plan.headless.target();
    let set = plan.headless.dns_name();
    let second = format!("{}.{set}", plan.pod(Role::Second).name);
    let at = |role, port| plan.pod(role).at(family, port).to_string();
    for (name, client, called, servers) in [
        ("pod, other node", Role::Checker, at(Role::ApiFar, plan.api.target()), &[Role::ApiFar][..]),
        ("pod, own node", Role::Checker, at(Role::First, target), &[Role::First]),
        ("pod, own node, far", Role::Second, at(Role::Store, plan.store.target()), &[Role::Store]),
        ("headless Service's name", Role::Client, format!("{set}:{target}"), &[Role::First, Role::Second]),
        ("StatefulSet pod's name", Role::Client, format!("{second}:{target}"), &[Role::Second]),
    ] {
        let kind = Kind::of_pod(name, scene, family, client, called, servers)?;
        calls::check(scene, report, &kind).await?;
    }
    Ok(())
}

/// Calls from outside, and a pod's call that goes as if it came from outside.
pub async fn at_nodes(scene: &Scene<'_>, family: Family, report: &mut Report) -> Result<()> {
    let plan = scene.plan;
    let node_port = plan.store.node_port().context("no NodePort is planned")?;
    let at = |place, port| SocketAddr::new(plan.node(place).address(family), port);
    let ingress = plan.edge.reach.ingress().context("no load balancer is planned")?;
    let store = Some(plan.store.path());
    let balanced = ingress.port(family, plan.edge.port());
    let mut kinds = vec![
        ("NodePort, far backend", at(Place::Near, node_port), store.clone(), Place::Near),
        ("NodePort, own backend", at(Place::Far, node_port), store.clone(), Place::Far),
        ("load balancer", balanced, Some(plan.edge.path()), Place::Far),
    ];
    // The portmap plugin of CNI 1.1 maps a port of each family.
    if let Some((host_port, _)) = plan.host_port(plan.pod(Role::Store)) {
        kinds.push(("host port", at(Place::Far, host_port), None, Place::Far));
    }
    for (name, called, service, enters) in kinds {
        let kind = Kind::from_outside(name, scene, family, called, service, enters);
        calls::check(scene, report, &kind).await?;
    }
    let other = Kind {
        service: store,
        again: true,
        ..Kind::of_pod(
            "NodePort of the other node",
            scene,
            family,
            Role::Checker,
            at(Place::Far, node_port).to_string(),
            &[Role::Store],
        )?
    };
    calls::check(scene, report, &other).await.map(drop)
}

/// Ten calls stay with one backend, and the kernel's own list says which.
async fn sticky(scene: &Scene<'_>, family: Family, report: &mut Report) -> Result<()> {
    const NAME: &str = "session affinity";
    let kind = Kind::of_service(NAME, scene, family, Role::Checker, &scene.plan.session)?;
    let calls: Vec<Witnessed> = calls::check(scene, report, &kind).await?;
    let first = calls.first().context("no call was made")?.backend;
    let other = calls.iter().filter(|call| call.backend != first).count();
    let mut about = report.about(NAME, "all");
    about.equal("calls to another backend", other, "server log", 0);
    about.equal("the kernel remembers", remembered(scene, family, first)?, "rules", true);
    Ok(())
}

/// Whether the client's node has the client in this backend's list.
fn remembered(scene: &Scene<'_>, family: Family, backend: Role) -> Result<bool> {
    let plan = scene.plan;
    let (service, pod) = (&plan.session, plan.pod(backend));
    let port = service.ports.first().context("the Service has no port")?;
    let client = plan.pod(Role::Checker).address(family);
    let near = &scene.world.near;
    let (text, told) = match plan.kinds.services {
        Rules::Iptables => {
            let file = format!("/proc/net/xt_recent/{}", affinity_list(service, port, pod, family));
            // The kernel writes IPv6 addresses in full here.
            let told = match client {
                std::net::IpAddr::V4(address) => address.to_string(),
                std::net::IpAddr::V6(address) => {
                    address.segments().map(|segment| format!("{segment:04x}")).join(":")
                }
            };
            (output(near.command("cat").arg(file))?, format!("src={told}"))
        }
        Rules::Nft => {
            let set = affinity_set(service, port, pod, family);
            let words = ["list", "set", family.keyword(), "kube-proxy", &set];
            (output(near.command("nft").args(words))?, client.to_string())
        }
    };
    Ok(text.contains(&told))
}
