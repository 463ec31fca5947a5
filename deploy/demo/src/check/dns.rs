//! A look-up of an external name with ndots:5: every useless try is on the wire, and weir has each of them.

use std::time::Duration;

use anyhow::{Result, bail};
use weir_proto::flow::layer7::Record;
use weir_proto::flow::{Flow, FlowFilter, L7FlowType};

use super::Scene;
use super::row::ports;
use crate::curl::Call;
use crate::dns::{Asked, read_log};
use crate::plan::{Plan, Role};
use crate::report::Report;
use crate::wait;

pub const NAME: &str = "DNS look-up";

/// DNS response code of a name that does not exist (RFC 1035, 4.1.1).
const NXDOMAIN: u32 = 3;
const LIMIT: Duration = Duration::from_secs(10);

pub async fn check(scene: &Scene<'_>, report: &mut Report) -> Result<()> {
    let (plan, checker) = (scene.plan, scene.plan.pod(Role::Checker));
    let url = format!("http://{}:{}/bytes/1", plan.external_name(), plan.outside_port);
    let (_, curl) = scene.call(scene.world.pod(Role::Checker)?, Call::get(url)).await?;
    if !curl.is_success() {
        bail!("the call to {} failed: {curl:?}", plan.external_name());
    }
    let address = checker.address(plan.family());
    // Nothing else that this pod does needs a name, so all its questions are this look-up's.
    let log = read_log(&scene.instance.file("dnsmasq.log"))?;
    let asked: Vec<Asked> = log.into_iter().filter(|asked| asked.client == address).collect();
    let expected = sorted(asked.iter().map(|one| line(one.client_port, &one.question, &one.name, one.known)));

    let node = plan.near.name.as_str();
    let filter = FlowFilter { destination_ip: vec![address.to_string()], ..FlowFilter::default() };
    let mut seen = Vec::new();
    wait::within(LIMIT, async || {
        let flows = scene.relay.flows(filter.clone()).await?;
        seen = sorted(flows.iter().filter(|flow| flow.node_name == node).filter_map(answer));
        Ok((seen.len() >= expected.len()).then_some(()))
    })
    .await?;
    let mut about = report.about(NAME, plan.external_name());
    about.equal("answers", seen.len(), "dnsmasq's log", expected.len());
    for (weir, said) in seen.iter().zip(&expected) {
        about.equal("answer", weir, "dnsmasq's log", said);
    }
    let useless = expected.iter().filter(|line| line.ends_with("NXDOMAIN")).count();
    // One for each search domain, for A and for AAAA.
    let tries = Plan::search_domains(&checker.namespace).len() * 2;
    about.equal(
        "NXDOMAIN",
        seen.iter().filter(|line| line.ends_with("NXDOMAIN")).count(),
        "dnsmasq's log",
        useless,
    );
    about.equal("NXDOMAIN", useless, "resolv.conf", tries);
    Ok(())
}

fn line(port: u16, question: &str, name: &str, known: bool) -> String {
    let name = name.trim_end_matches('.');
    format!("{port} {question} {name} {}", if known { "NOERROR" } else { "NXDOMAIN" })
}

/// An answer as one line; nothing for any other flow.
fn answer(flow: &Flow) -> Option<String> {
    let l7 = flow.l7.as_ref()?;
    let Some(Record::Dns(dns)) = l7.record.as_ref() else { return None };
    if l7.r#type() != L7FlowType::Response {
        return None;
    }
    Some(line(ports(flow).1, &dns.qtypes.join(","), &dns.query, dns.rcode != NXDOMAIN))
}

fn sorted(lines: impl Iterator<Item = String>) -> Vec<String> {
    let mut lines: Vec<String> = lines.collect();
    lines.sort_unstable();
    lines
}
