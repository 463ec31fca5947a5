//! A call to a Service without endpoints: kube-proxy's rule answers it with an ICMP error.

use anyhow::Result;
use weir_proto::weir::v1::Observation;

use super::Scene;
use super::row::Row;
use crate::curl::Call;
use crate::plan::{Family, Role};
use crate::report::Report;

pub const NAME: &str = "no endpoints";

/// curl's exit code for a connection that could not be made.
const REFUSED: u16 = 7;
const REJECTED: &str = "CONNECTION_STATE_REJECTED";

pub async fn check(scene: &Scene<'_>, family: Family, report: &mut Report) -> Result<()> {
    let (plan, checker) = (scene.plan, scene.plan.pod(Role::Checker));
    let call = Call::bytes(plan.empty.frontend(family), 1);
    let (port, curl) = scene.call(scene.world.pod(Role::Checker)?, call).await?;
    let rows = scene
        .rows(checker.address(family), &[port], |row| Row::of(row).is_ok_and(|row| row.state() == REJECTED))
        .await?;
    let mut about = report.about(NAME, format!("from port {port}"));
    about.equal("curl's exit code", curl.exit, "curl", REFUSED);
    about.equal("connections", rows.len(), "curl", 1);
    let row = Row::find(&rows, port)?;
    about.equal("client pod", row.client_pod(), "plan", checker.path());
    about.equal("Service", row.service(), "plan", plan.empty.path());
    about.equal("called", row.server(), "curl", plan.empty.frontend(family));
    about.equal("state", row.state(), "curl", REJECTED);
    about.equal("ICMP unreachable", row.has_evidence(Observation::IcmpUnreachable), "rules", true);
    Ok(())
}
