//! The cluster's DNS: dnsmasq in a pod, which knows the Services and a few names outside, says NXDOMAIN to all else, and
//! forwards to nobody. Its query log is a witness against weir.

use std::fmt::Write;
use std::fs;
use std::net::IpAddr;
use std::path::Path;

use anyhow::{Context, Result};

use crate::instance::Instance;
use crate::netns::Netns;
use crate::plan::{Addresses, Plan, Role};
use crate::process::Process;

/// A question that the server was asked, and whether it knew the name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    pub client: IpAddr,
    pub client_port: u16,
    pub name: String,
    /// `A` or `AAAA`.
    pub question: String,
    /// False: it answered NXDOMAIN.
    pub known: bool,
}

/// Starts the server.
pub fn start(instance: &Instance, plan: &Plan, netns: &Netns) -> Result<Process> {
    let settings = instance.file("dnsmasq.conf");
    fs::write(&settings, configuration(plan))
        .with_context(|| format!("cannot write {}", settings.display()))?;
    let mut command = netns.command("dnsmasq");
    command.arg("--no-daemon").arg(format!("--conf-file={}", settings.display()));
    Process::start("dnsmasq", command, instance.file("dnsmasq.log"))
}

fn configuration(plan: &Plan) -> String {
    let mut text = String::from(
        "no-resolv\nno-hosts\nno-negcache\ncache-size=0\nbind-interfaces\nuser=root\npid-file=\n\
         log-queries=extra\nlog-facility=-\nlocal=/#/\n",
    );
    let mut record = |name: &str, addresses: Addresses| {
        let each: Vec<String> =
            plan.families().iter().map(|family| addresses.of(*family).to_string()).collect();
        let _ = writeln!(text, "host-record={name},{}", each.join(","));
    };
    for service in plan.services() {
        if service.has_address() {
            record(&service.dns_name(), service.addresses);
            continue;
        }
        // Its name is all its pods' addresses, and each pod has a name below it.
        for pod in plan.backends(service) {
            record(&service.dns_name(), pod.addresses);
            record(&format!("{}.{}", pod.name, service.dns_name()), pod.addresses);
        }
    }
    for name in &plan.external_names {
        record(name, plan.outside);
    }
    for family in plan.families() {
        let _ = writeln!(text, "listen-address={}", plan.pod(Role::Dns).address(*family));
    }
    text
}

/// Reads the server's query log (`log-queries=extra`: number, client and port on every line).
pub fn read_log(file: &Path) -> Result<Vec<Asked>> {
    let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    Ok(parse_log(&text))
}

fn parse_log(text: &str) -> Vec<Asked> {
    let mut asked: Vec<(&str, Asked)> = Vec::new();
    for line in text.lines() {
        let Some((_, said)) = line.split_once("]: ") else { continue };
        let words: Vec<&str> = said.split_whitespace().collect();
        match words.as_slice() {
            [serial, client, what, name, "from", _] => {
                asked.extend(question(client, what, name).map(|question| (*serial, question)));
            }
            [serial, _, _, _, "is", "NXDOMAIN"] => {
                let same = asked.iter_mut().rev().find(|(theirs, _)| theirs == serial);
                if let Some((_, question)) = same {
                    question.known = false;
                }
            }
            _ => {}
        }
    }
    asked.into_iter().map(|(_, question)| question).collect()
}

fn question(client: &str, what: &str, name: &str) -> Option<Asked> {
    let (address, port) = client.split_once('/')?;
    let question = what.strip_prefix("query[")?.strip_suffix(']')?;
    Some(Asked {
        client: address.parse().ok()?,
        client_port: port.parse().ok()?,
        name: name.to_owned(),
        question: question.to_owned(),
        known: true,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_and_their_fate_are_read_from_dnsmasqs_log() {
        let log = "dnsmasq[1]: started, version 2.90 cachesize 150\n\
            dnsmasq[1]: 1 10.1.2.3/4236 query[A] www.a.example.shop.svc.cluster.local from 10.1.2.3\n\
            dnsmasq[1]: 1 10.1.2.3/4236 config www.a.example.shop.svc.cluster.local is NXDOMAIN\n\
            dnsmasq[1]: 2 10.1.2.3/4077 query[AAAA] www.a.example from 10.1.2.3\n\
            dnsmasq[1]: 2 10.1.2.3/4077 config www.a.example is NODATA-IPv6\n";
        let asked = parse_log(log);
        let seen: Vec<_> =
            asked.iter().map(|one| (one.question.as_str(), one.client_port, one.known)).collect();
        assert_eq!(seen, [("A", 4236, false), ("AAAA", 4077, true)]);
    }
}
