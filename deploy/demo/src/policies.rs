//! Writes the NetworkPolicies as a CNI's rules: one chain for each selected pod and direction, which lets allowed new
//! connections return and logs and drops the rest. A node has those of its own pods: it judges what leaves and what enters them.
//!
//! Text for `iptables-restore` or `nft`, pure. They sit in FORWARD, where DNAT is done: what a policy judges is the pod's own
//! address and port. Replies are never judged: policies are about connections.

use std::fmt::Write;

use crate::plan::{Allow, Direction, Family, NFLOG_GROUPS, Node, Plan, Pod, Policy, Protocol};
use crate::services::fnv;

/// Neighbour solicitation and advertisement (RFC 4861): where a bridge shows its frames to the rules, they are among them, and
/// no policy is about them.
const NEIGHBOURS: [u8; 2] = [135, 136];
/// Name of the nftables table.
pub const NFT_TABLE: &str = "netpol";

/// Rules of the `filter` table, to be put before all others.
pub fn iptables(plan: &Plan, node: &Node, family: Family) -> String {
    let mut rules =
        String::from(":NETPOL - [0:0]\n-A FORWARD -m comment --comment \"network policies\" -j NETPOL\n");
    rules.push_str("-A NETPOL -m conntrack --ctstate RELATED,ESTABLISHED -j RETURN\n");
    if family == Family::V6 {
        for kind in NEIGHBOURS {
            let _ = writeln!(rules, "-A NETPOL -p icmpv6 --icmpv6-type {kind} -j RETURN");
        }
    }
    for (policy, pod) in selected(plan, node) {
        let chain = chain(policy, pod);
        let (own, peer) = match policy.direction {
            Direction::Ingress => ("-d", "-s"),
            Direction::Egress => ("-s", "-d"),
        };
        let _ = writeln!(rules, ":{chain} - [0:0]");
        let _ = writeln!(rules, "-A NETPOL {own} {} -j {chain}", pod.address(family));
        for (other, protocol, port) in allowed(plan, policy) {
            let (address, protocol) = (other.address(family), protocol.lower());
            let _ = writeln!(
                rules,
                "-A {chain} {peer} {address} -p {protocol} -m {protocol} --dport {port} -j RETURN"
            );
        }
        let prefix = policy.log_prefix();
        for group in NFLOG_GROUPS {
            let _ = writeln!(rules, "-A {chain} -j NFLOG --nflog-group {group} --nflog-prefix \"{prefix}\"");
        }
        let _ = writeln!(rules, "-A {chain} -j DROP");
    }
    rules
}

/// The same as a table of the family.
pub fn nft(plan: &Plan, node: &Node, family: Family) -> String {
    let (mut jumps, mut chains) = (String::new(), String::new());
    let table = family.keyword();
    for (policy, pod) in selected(plan, node) {
        let chain = chain(policy, pod);
        let (own, peer) = match policy.direction {
            Direction::Ingress => ("daddr", "saddr"),
            Direction::Egress => ("saddr", "daddr"),
        };
        let _ = writeln!(jumps, "{table} {own} {} jump {chain}", pod.address(family));
        let _ = writeln!(chains, "chain {chain} {{");
        for (other, protocol, port) in allowed(plan, policy) {
            let (address, protocol) = (other.address(family), protocol.lower());
            let _ = writeln!(chains, "{table} {peer} {address} {protocol} dport {port} return");
        }
        let prefix = policy.log_prefix();
        let logs = NFLOG_GROUPS.map(|group| format!("log prefix \"{prefix}\" group {group}"));
        let _ = writeln!(chains, "counter {}\ndrop\n}}", logs.join("\n"));
    }
    let neighbours = match family {
        Family::V4 => String::new(),
        Family::V6 => {
            let [asked, told] = NEIGHBOURS;
            format!("icmpv6 type {{ {asked}, {told} }} accept\n")
        }
    };
    format!(
        "table {table} {NFT_TABLE} {{\n{chains}chain forward {{\ntype filter hook forward priority filter; policy accept;\n\
         ct state established,related accept\n{neighbours}{jumps}}}\n}}\n"
    )
}

/// Each policy with each pod of the node that it selects.
fn selected<'a>(plan: &'a Plan, node: &Node) -> impl Iterator<Item = (&'a Policy, &'a Pod)> {
    let place = node.place;
    let of = move |policy: &Policy, pod: &Pod| {
        pod.place == place && pod.namespace == policy.namespace && pod.app == policy.app
    };
    let each =
        move |policy| plan.pods.iter().filter(move |pod| of(policy, pod)).map(move |pod| (policy, pod));
    plan.enforced().into_iter().flat_map(each)
}

/// Everybody whom a policy lets talk, and on which port.
fn allowed<'a>(plan: &'a Plan, policy: &'a Policy) -> impl Iterator<Item = (&'a Pod, Protocol, u16)> {
    let of = |namespace: &str, app: &str, pod: &Pod| pod.namespace == namespace && pod.app == app;
    let peers = move |allow: &'a Allow| {
        let named = move |pod: &&Pod| allow.peers.iter().any(|(namespace, app)| of(namespace, app, pod));
        plan.pods
            .iter()
            .filter(named)
            .flat_map(|pod| allow.ports.iter().map(move |(on, port)| (pod, *on, *port)))
    };
    policy.allow.iter().flat_map(peers)
}

/// The chain of one pod and direction.
pub fn chain(policy: &Policy, pod: &Pod) -> String {
    let way = match policy.direction {
        Direction::Ingress => "IN",
        Direction::Egress => "OUT",
    };
    format!("NETPOL-{way}-{:012X}", fnv(&pod.path(), 0) >> 16)
}
