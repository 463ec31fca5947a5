//! Calls that a policy forbids, at the callee's node and at the caller's: stopped, by which rule and for what reason of the
//! kernel's, denied by which policy, and what would allow it. And calls that a policy forbids and nobody stops.

use std::time::Duration;

use anyhow::{Context, Result};
use weir_proto::weir::v1::Observation;

use super::Scene;
use super::row::{NOTHING, Row};
use crate::command::output;
use crate::curl::Call;
use crate::kinds::Rules;
use crate::netns::Netns;
use crate::plan::{Direction, Family, Place, Policy, Role, Service};
use crate::policies;
use crate::report::Report;

pub const NAME: &str = "denied call";
const NOT_ENFORCED: &str = "denied, delivered";
/// How the kernel calls what its rules drop (include/net/dropreason-core.h).
const DROPPED_BY_A_RULE: &str = "NETFILTER_DROP";

/// Longer than the first SYN's retransmission after 1 s.
const PATIENCE: Duration = Duration::from_millis(1500);
/// curl's exit code for a time-out.
const TIMED_OUT: u16 = 28;

pub async fn check(scene: &Scene<'_>, family: Family, report: &mut Report) -> Result<()> {
    let plan = scene.plan;
    denied(scene, family, report, Role::Denied, &plan.api, &plan.api_policy).await?;
    denied(scene, family, report, Role::Restricted, &plan.store, &plan.egress_policy).await?;
    delivered(scene, family, report).await
}

/// A policy that no rule enforces: denied, delivered, and told as a contradiction.
async fn delivered(scene: &Scene<'_>, family: Family, report: &mut Report) -> Result<()> {
    let plan = scene.plan;
    let (caller, policy) = (plan.pod(Role::Checker), &plan.forgotten_policy);
    let target = plan.pod(Role::Second).at(family, plan.headless.target());
    let (port, curl) = scene.call(scene.world.pod(Role::Checker)?, Call::bytes(target, 1)).await?;
    let rows = scene
        .rows(caller.address(family), &[port], |row| {
            Row::of(row).is_ok_and(|row| !row.detail.disagreements.is_empty())
        })
        .await?;
    let row = Row::find(&rows, port)?;
    let mut about = report.about(NOT_ENFORCED, format!("{} from port {port}", caller.path()));
    about.equal("curl's exit code", curl.exit, "curl", 0);
    about.equal("verdict", row.verdict(), "curl", "FORWARDED");
    about.equal("denied by", row.denied_by(), "manifest", policy.path());
    about.equal("disagreement", row.disagreements(), "rules", "POLICY_CONFLICT_DENIED_BUT_DELIVERED");
    Ok(())
}

async fn denied(
    scene: &Scene<'_>,
    family: Family,
    report: &mut Report,
    role: Role,
    service: &Service,
    policy: &Policy,
) -> Result<()> {
    let caller = scene.plan.pod(role);
    let before = logged(scene, family, policy)?;
    let call = Call::bytes(service.frontend(family), 1).patience(PATIENCE);
    let (port, curl) = scene.call(scene.world.pod(role)?, call).await?;
    let after = logged(scene, family, policy)?;

    let rows = scene
        .rows(caller.address(family), &[port], |row| {
            let is_told = |row: Row<'_>| {
                !row.detail.rule_names.is_empty()
                    && !row.detail.kernel_drops.is_empty()
                    && row.denied_by() != NOTHING
            };
            Row::of(row).is_ok_and(is_told)
        })
        .await?;
    let mut about = report.about(NAME, format!("{} from port {port}", caller.path()));
    about.equal("curl's exit code", curl.exit, "curl", TIMED_OUT);
    about.equal("connections", rows.len(), "curl", 1);
    let row = Row::find(&rows, port)?;
    about.equal("client pod", row.client_pod(), "plan", caller.path());
    about.equal("Service", row.service(), "plan", service.path());
    about.equal("verdict", row.verdict(), "curl", "DROPPED");
    about.equal("rule", row.detail.rule_names.join(","), "rules", policy.log_prefix());
    let packets = row.total().packets_forward;
    // The background's calls count on the same rule.
    let counted = after.saturating_sub(before);
    let said = format!("at most {counted}");
    about.holds("packets logged", packets, "rule's counter", said, packets > 0 && packets <= counted);
    about.equal("denied by", row.denied_by(), "manifest", policy.path());
    let remedy = row.remedy();
    let (direction, port) = match policy.direction {
        Direction::Ingress => ("ingress", service.target()),
        Direction::Egress => ("egress", service.target()),
    };
    let says = remedy.contains(direction) && remedy.contains(&format!("TCP {port}"));
    about.holds("what would allow it", remedy, "plan", format!("{direction} on TCP {port}"), says);
    about.equal("kernel's reason", row.kernel_reasons(), "rules", DROPPED_BY_A_RULE);
    about.equal("disagreement", row.disagreements(), "rules", NOTHING);
    about.equal("evidence", row.has_evidence(Observation::Logged), "rule's counter", counted > 0);
    Ok(())
}

/// Packets that the policy's NFLOG rules have counted, on the nodes of its pods.
fn logged(scene: &Scene<'_>, family: Family, policy: &Policy) -> Result<u64> {
    let plan = scene.plan;
    let selected = plan.pods.iter().filter(|pod| pod.namespace == policy.namespace && pod.app == policy.app);
    let mut sum = 0;
    for pod in selected {
        let chain = policies::chain(policy, pod);
        let node = match pod.place {
            Place::Near => &scene.world.near,
            Place::Far => &scene.world.far,
        };
        sum += match plan.kinds.services {
            Rules::Iptables => iptables_counter(node, family, &chain, &policy.log_prefix())?,
            Rules::Nft => nft_counter(node, family, &chain)?,
        };
    }
    Ok(sum)
}

/// Packets of the chain's rule that logs with this prefix.
fn iptables_counter(node: &Netns, family: Family, chain: &str, prefix: &str) -> Result<u64> {
    let program = match family {
        Family::V4 => "iptables",
        Family::V6 => "ip6tables",
    };
    let text = output(node.command(program).args(["-L", chain, "-v", "-n", "-x"]))?;
    let line = text.lines().find(|line| line.contains("NFLOG") && line.contains(prefix));
    let line = line.with_context(|| format!("no rule of {chain} logs with {prefix}"))?;
    let packets = line.split_whitespace().next().context("a rule without a counter")?;
    packets.parse().with_context(|| format!("{packets} is no counter"))
}

/// Packets that the chain's only counter has counted, which stands before the log.
fn nft_counter(node: &Netns, family: Family, chain: &str) -> Result<u64> {
    let words = ["list", "chain", family.keyword(), policies::NFT_TABLE, chain];
    let text = output(node.command("nft").args(words))?;
    let mut words = text.split_whitespace().skip_while(|word| *word != "packets");
    let packets = words.nth(1).with_context(|| format!("{chain} has no counter"))?;
    packets.parse().with_context(|| format!("{packets} is no counter"))
}
