//! Calls of a pod to ClusterIPs, one kind of Service after another: which Service, which backend, which way, how many bytes,
//! how far. The table below is all there is to a kind whose calls need no question of their own.

use anyhow::Result;

use super::Scene;
use super::calls::{self, Kind};
use crate::plan::{Family, Role};
use crate::report::Report;

pub const NAME: &str = "Service call";

pub async fn check(scene: &Scene<'_>, family: Family, report: &mut Report) -> Result<()> {
    let plan = scene.plan;
    let mut api = Kind::of_service(NAME, scene, family, Role::Checker, &plan.api)?;
    api.until = Some(Role::ApiFar);
    calls::check(scene, report, &api).await?;
    for (name, client, service) in [
        ("host-network server", Role::Checker, &plan.agent),
        ("host-network client, own node", Role::HostClient, &plan.primary),
        ("host-network client, other node", Role::HostClient, &plan.store),
        ("hairpin, bridged", Role::First, &plan.primary),
        ("hairpin, routed", Role::Store, &plan.store),
    ] {
        let kind = Kind::of_service(name, scene, family, client, service)?;
        calls::check(scene, report, &kind).await?;
    }
    Ok(())
}
