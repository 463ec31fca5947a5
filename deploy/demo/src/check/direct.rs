//! A call to a backend's own address: the same pods, the same port, but no Service.

use anyhow::{Result, bail};

use super::row::{NOTHING, Row};
use super::{Scene, is_over};
use crate::curl::Call;
use crate::plan::{Family, Role};
use crate::report::Report;

pub const NAME: &str = "pod address";

pub async fn check(scene: &Scene<'_>, family: Family, report: &mut Report) -> Result<()> {
    let (plan, checker) = (scene.plan, scene.plan.pod(Role::Checker));
    let backend = plan.pod(Role::ApiFar);
    let at = backend.at(family, plan.api.target());
    let (port, curl) = scene.call(scene.world.pod(Role::Checker)?, Call::bytes(at, 4321)).await?;
    if !curl.is_success() {
        bail!("the call from port {port} failed: {curl:?}");
    }
    // The far node alone cannot know: the Service is inferred there until the relay's join removes it.
    let rows = scene
        .rows(checker.address(family), &[port], |row| {
            is_over(row, 2) && Row::of(row).is_ok_and(|row| row.services() == NOTHING)
        })
        .await?;
    let mut about = report.about(NAME, format!("from port {port}"));
    about.equal("connections", rows.len(), "curl", 1);
    let row = Row::find(&rows, port)?;
    about.equal("client pod", row.client_pod(), "plan", checker.path());
    about.equal("backend pod", row.server_pod(), "plan", backend.path());
    about.equal("backend:port", row.server(), "curl", at);
    about.equal("Service", row.services(), "plan", NOTHING);
    about.equal("ClusterIP:port", row.vip(), "plan", NOTHING);
    Ok(())
}
