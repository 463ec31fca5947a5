//! `weir-daemon check`: what would work on this node with these flags, what would not, and why.
//!
//! `facts` looks at the node and changes nothing; here facts become sentences, purely. What was asked for and would not
//! work is a failure, and the exit code says so.

mod facts;

use std::fmt;
use std::io::Write as _;

use weir_cluster::watch::Probe;

use super::AppError;
use crate::capture::Role;
use crate::capture::links::{Link, bypass_sentence, role};
use crate::config::{CheckArgs, CheckOutput};
use facts::{ClusterFacts, Facts, NflogGroup};

/// `CAP_NET_ADMIN` and `CAP_NET_RAW` (linux/capability.h): for conntrack and NFLOG, and for frames.
const NET_ADMIN: u32 = 12;
const NET_RAW: u32 = 13;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    /// It works.
    Works,
    /// Nothing that was asked for needs it.
    Note,
    /// What was asked for will not work.
    Fails,
}

/// One sentence about the node.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Finding {
    level: Level,
    about: &'static str,
    sentence: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = match self.level {
            Level::Works => "works",
            Level::Note => "note",
            Level::Fails => "FAILS",
        };
        write!(f, "{level:<6} {:<13} {}", self.about, self.sentence)
    }
}

impl Finding {
    fn json(&self) -> serde_json::Value {
        let level = match self.level {
            Level::Works => "works",
            Level::Note => "note",
            Level::Fails => "fails",
        };
        serde_json::json!({ "level": level, "about": self.about, "sentence": self.sentence })
    }
}

fn works(about: &'static str, sentence: impl Into<String>) -> Finding {
    Finding { level: Level::Works, about, sentence: sentence.into() }
}

fn note(about: &'static str, sentence: impl Into<String>) -> Finding {
    Finding { level: Level::Note, about, sentence: sentence.into() }
}

fn fails(about: &'static str, sentence: impl Into<String>) -> Finding {
    Finding { level: Level::Fails, about, sentence: sentence.into() }
}

/// Looks, and prints what it found.
///
/// # Errors
/// If something that was asked for would not work; it has been printed.
pub fn run(args: &CheckArgs) -> Result<(), AppError> {
    let findings = judge(&facts::gather(args)?);
    let mut out = std::io::stdout().lock();
    for finding in &findings {
        let line = match args.output {
            CheckOutput::Text => finding.to_string(),
            CheckOutput::Json => finding.json().to_string(),
        };
        writeln!(out, "{line}").map_err(AppError::Print)?;
    }
    match findings.iter().filter(|finding| finding.level == Level::Fails).count() {
        0 => Ok(()),
        count => Err(AppError::Check { count }),
    }
}

fn judge(facts: &Facts) -> Vec<Finding> {
    let mut findings = vec![works("kernel", format!("Linux {}", facts.kernel))];
    findings.push(if facts.has_btf {
        works("btf", "the kernel describes its own types (/sys/kernel/btf/vmlinux)")
    } else {
        note(
            "btf",
            "no /sys/kernel/btf/vmlinux: kernel drop reasons could not be named; frames do not need it",
        )
    });
    findings.extend(capabilities(facts.capabilities));
    findings.extend(conntrack(facts));
    findings.extend(facts.nflog.iter().map(nflog));
    findings.extend(devices(facts));
    findings.extend(cluster(&facts.cluster));
    findings
}

fn capabilities(effective: u64) -> Vec<Finding> {
    let has = |bit: u32| effective & (1 << bit) != 0;
    let remedy = "run as root, or add it to securityContext.capabilities";
    vec![
        if has(NET_RAW) {
            works("capabilities", "CAP_NET_RAW: frames can be captured")
        } else {
            fails("capabilities", format!("no CAP_NET_RAW: no frame can be captured; {remedy}"))
        },
        if has(NET_ADMIN) {
            works("capabilities", "CAP_NET_ADMIN: conntrack and NFLOG can be read")
        } else {
            note(
                "capabilities",
                format!("no CAP_NET_ADMIN: neither conntrack nor NFLOG can be read; {remedy}"),
            )
        },
    ]
}

fn conntrack(facts: &Facts) -> Vec<Finding> {
    let Some(conntrack) = &facts.conntrack else {
        return vec![note("conntrack", "not asked for (--no-conntrack): NAT is known from packets alone")];
    };
    let mut findings = vec![match &conntrack.opened {
        Ok(()) => {
            works("conntrack", "events and table can be read: connections are named before and after NAT")
        }
        Err(why) => fails("conntrack", format!("{why}; NAT would be known from packets alone")),
    }];
    if let Some((entries, limit)) = conntrack.entries {
        let sentence = format!("{entries} of {limit} entries are in use");
        let nearly_full = entries.saturating_mul(10) >= limit.saturating_mul(9);
        findings.push(if nearly_full {
            note("conntrack", format!("{sentence}: when it is full the kernel drops new connections"))
        } else {
            works("conntrack", sentence)
        });
    }
    findings.push(match conntrack.accounting {
        Some(true) => {
            works("conntrack", "accounting is on (nf_conntrack_acct); weir counts packets by itself")
        }
        Some(false) => note(
            "conntrack",
            "accounting is off (nf_conntrack_acct), which weir does not need: it counts packets",
        ),
        None => note("conntrack", "no nf_conntrack_acct here: is the module nf_conntrack loaded?"),
    });
    findings
}

fn nflog(group: &NflogGroup) -> Finding {
    match &group.opened {
        Ok(()) => works("nflog", format!("group {} is free: its rules' verdicts are told", group.number)),
        Err(why) => fails("nflog", format!("group {}: {why}", group.number)),
    }
}

fn devices(facts: &Facts) -> Vec<Finding> {
    let links = match &facts.links {
        Ok(links) => links,
        Err(why) => return vec![fails("devices", format!("cannot list them: {why}"))],
    };
    let mut findings: Vec<_> = links.iter().map(|link| device(link, facts.with_loopback)).collect();
    if !findings.iter().any(|finding| finding.level == Level::Works) {
        findings.push(fails(
            "devices",
            "none to capture on; is this the node's network namespace (hostNetwork)?",
        ));
    } else if !links.iter().any(|link| role::role_of(link) == Some(Role::PodVeth)) {
        findings.push(note(
            "devices",
            "no pod's device among them: no pod here, or not the node's network namespace",
        ));
    }
    let bypass = links.iter().filter(|link| role::may_bypass(link)).map(|link| link.name.clone()).collect();
    findings.extend(bypass_sentence(&bypass).map(|sentence| note("devices", sentence)));
    findings
}

fn device(link: &Link, with_loopback: bool) -> Finding {
    let why = role::why(link);
    let Some(role) = role::role_of(link) else {
        return note("device", format!("{} is not captured: {why}", link.name));
    };
    if role == Role::Loopback && !with_loopback {
        return note(
            "device",
            format!("{} is not captured: it is the loopback; --loopback captures it", link.name),
        );
    }
    if !link.up {
        return note(
            "device",
            format!("{} is down; once up it is captured as {}: {why}", link.name, named(role)),
        );
    }
    works("device", format!("{} is captured as {}: {why}", link.name, named(role)))
}

const fn named(role: Role) -> &'static str {
    match role {
        Role::Unknown => "a device of no known role",
        Role::Loopback => "loopback",
        Role::Underlay => "underlay",
        Role::Bridge => "bridge",
        Role::Overlay => "overlay",
        Role::PodVeth => "a pod's device",
    }
}

fn cluster(cluster: &ClusterFacts) -> Vec<Finding> {
    match cluster {
        ClusterFacts::NotAsked => {
            vec![note(
                "cluster",
                "neither --kubernetes nor --cluster-file: flows would have addresses and no names",
            )]
        }
        ClusterFacts::Files(Ok(objects)) => {
            vec![works("cluster", format!("{objects} objects in the manifest files"))]
        }
        ClusterFacts::Files(Err(why)) | ClusterFacts::Unreachable(why) => vec![fails("cluster", why.clone())],
        ClusterFacts::Server { address, probes } => {
            let probed = |probe: &Probe| match &probe.outcome {
                Ok(true) => {
                    works("cluster", format!("{} can be listed and watched at {address}", probe.resource))
                }
                Ok(false) => note("cluster", format!("{address} has no {}; done without", probe.resource)),
                Err(why) => fails("cluster", why.clone()),
            };
            probes.iter().map(probed).collect()
        }
    }
}

#[cfg(test)]
mod tests;
