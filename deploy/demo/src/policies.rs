//! Writes the NetworkPolicies as a CNI's rules: one chain for each selected pod and direction, which lets allowed new
//! connections return and logs and drops the rest.
//!
//! Text for `iptables-restore`, pure. They sit in FORWARD, where DNAT is done: what a policy judges is the pod's own address
//! and port. Replies are never judged: policies are about connections.

use std::fmt::Write;

use crate::plan::{Allow, Direction, NFLOG_GROUP, Plan, Pod, Policy};
use crate::services::fnv;

/// Rules of the `filter` table, to be put before all others.
pub fn rules(plan: &Plan) -> String {
    let mut rules =
        String::from(":NETPOL - [0:0]\n-A FORWARD -m comment --comment \"network policies\" -j NETPOL\n");
    rules.push_str("-A NETPOL -m conntrack --ctstate RELATED,ESTABLISHED -j RETURN\n");
    for policy in plan.policies() {
        let selected =
            plan.pods.iter().filter(|pod| pod.namespace == policy.namespace && pod.app == policy.app);
        for pod in selected {
            write_pod(&mut rules, plan, policy, pod);
        }
    }
    rules
}

/// The chain of one pod and direction.
pub fn chain(policy: &Policy, pod: &Pod) -> String {
    let way = match policy.direction {
        Direction::Ingress => "IN",
        Direction::Egress => "OUT",
    };
    format!("NETPOL-{way}-{:012X}", fnv(&pod.path(), 0) >> 16)
}

fn write_pod(rules: &mut String, plan: &Plan, policy: &Policy, pod: &Pod) {
    let chain = chain(policy, pod);
    let (own, peer) = match policy.direction {
        Direction::Ingress => ("-d", "-s"),
        Direction::Egress => ("-s", "-d"),
    };
    let _ = writeln!(rules, ":{chain} - [0:0]");
    let _ = writeln!(rules, "-A NETPOL {own} {}/32 -j {chain}", pod.address);
    for allow in &policy.allow {
        write_allow(rules, plan, &chain, allow, peer);
    }
    let prefix = policy.log_prefix();
    let _ = writeln!(rules, "-A {chain} -j NFLOG --nflog-group {NFLOG_GROUP} --nflog-prefix \"{prefix}\"");
    let _ = writeln!(rules, "-A {chain} -j DROP");
}

fn write_allow(rules: &mut String, plan: &Plan, chain: &str, allow: &Allow, peer: &str) {
    for (namespace, app) in &allow.peers {
        for other in plan.pods.iter().filter(|pod| pod.namespace == *namespace && pod.app == *app) {
            for (protocol, port) in &allow.ports {
                let protocol = protocol.lower();
                let _ = writeln!(
                    rules,
                    "-A {chain} {peer} {}/32 -p {protocol} -m {protocol} --dport {port} -j RETURN",
                    other.address
                );
            }
        }
    }
}
