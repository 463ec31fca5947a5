//! Writes the Services as kube-proxy's iptables mode does: the same chains, marks, matches and order.
//!
//! Text for `iptables-restore`, pure. Chain names follow kube-proxy's form (a fixed prefix and 16 letters) with a hash of
//! our own: nothing reads meaning from it.

use std::fmt::Write;

use crate::plan::{Plan, Pod, Service, ServicePort};

/// Rules that stay the same whatever the Services: marking what must be masqueraded, and masquerading it.
const NAT_HEAD: &str = "\
*nat
:KUBE-SERVICES - [0:0]
:KUBE-NODEPORTS - [0:0]
:KUBE-POSTROUTING - [0:0]
:KUBE-MARK-MASQ - [0:0]
:FLANNEL-POSTRTG - [0:0]
-A PREROUTING -m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES
-A OUTPUT -m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES
-A POSTROUTING -m comment --comment \"kubernetes postrouting rules\" -j KUBE-POSTROUTING
-A POSTROUTING -m comment --comment \"flanneld masq\" -j FLANNEL-POSTRTG
-A KUBE-MARK-MASQ -j MARK --or-mark 0x4000
-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN
-A KUBE-POSTROUTING -j MARK --xor-mark 0x4000
-A KUBE-POSTROUTING -j MASQUERADE --random-fully
";

/// The `nat` table of a node.
pub fn nat_rules(plan: &Plan) -> String {
    let mut rules = NAT_HEAD.to_owned();
    let pods = plan.pod_range;
    let _ = writeln!(rules, "-A FLANNEL-POSTRTG -s {pods} -d {pods} -j RETURN");
    let _ = writeln!(rules, "-A FLANNEL-POSTRTG -s {pods} ! -d 224.0.0.0/4 -j MASQUERADE --random-fully");
    for service in plan.services() {
        for port in &service.ports {
            write_port(&mut rules, plan, service, port);
        }
    }
    rules.push_str("-A KUBE-SERVICES -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS\nCOMMIT\n");
    rules
}

/// One port of a Service: its chain, one chain a backend, and the ways into it.
fn write_port(rules: &mut String, plan: &Plan, service: &Service, port: &ServicePort) {
    let backends: Vec<&Pod> = plan.backends(service).collect();
    if backends.is_empty() {
        return; // Rejected in the filter table.
    }
    let name = format!("{}:{}", service.path(), port.name);
    let chain = chain("KUBE-SVC-", &name);
    let reach = reach(service, port);
    let _ = writeln!(rules, ":{chain} - [0:0]");
    let _ = writeln!(rules, "-A KUBE-SERVICES {reach} -m comment --comment \"{name} cluster IP\" -j {chain}");
    let _ = writeln!(rules, "-A {chain} ! -s {} {reach} -j KUBE-MARK-MASQ", plan.pod_range);
    for (at, pod) in backends.iter().enumerate() {
        let endpoint = write_backend(rules, pod, port, &name);
        let left = backends.len() - at;
        let choice = match left {
            1 => String::new(),
            _ => format!("-m statistic --mode random --probability {:.11} ", 1.0 / as_float(left)),
        };
        let _ = writeln!(rules, "-A {chain} -m comment --comment \"{name}\" {choice}-j {endpoint}");
    }
    if let Some(node_port) = port.node_port {
        write_node_port(rules, port, node_port, &name, &chain);
    }
}

fn write_backend(rules: &mut String, pod: &Pod, port: &ServicePort, name: &str) -> String {
    let endpoint = chain("KUBE-SEP-", &format!("{name}{}", pod.address));
    let (protocol, address, target) = (port.protocol.lower(), pod.address, port.target);
    let _ = writeln!(rules, ":{endpoint} - [0:0]");
    // A pod that reaches itself through its Service must not see its own address as the caller's.
    let _ = writeln!(rules, "-A {endpoint} -s {address}/32 -j KUBE-MARK-MASQ");
    let _ = writeln!(
        rules,
        "-A {endpoint} -p {protocol} -m {protocol} -j DNAT --to-destination {address}:{target}"
    );
    endpoint
}

fn write_node_port(rules: &mut String, port: &ServicePort, node_port: u16, name: &str, service_chain: &str) {
    let external = chain("KUBE-EXT-", name);
    let protocol = port.protocol.lower();
    let _ = writeln!(rules, ":{external} - [0:0]");
    let _ = writeln!(
        rules,
        "-A KUBE-NODEPORTS -p {protocol} -m {protocol} --dport {node_port} -m comment --comment \"{name}\" -j {external}"
    );
    let _ = writeln!(rules, "-A {external} -j KUBE-MARK-MASQ");
    let _ = writeln!(rules, "-A {external} -j {service_chain}");
}

/// The `filter` table of a node: Services without endpoints are rejected, and the policies' rules come before all else.
pub fn filter_rules(plan: &Plan, policies: &str) -> String {
    let mut rules = String::from("*filter\n:KUBE-SERVICES - [0:0]\n:KUBE-FORWARD - [0:0]\n");
    rules.push_str(policies);
    for chain in ["INPUT", "FORWARD", "OUTPUT"] {
        let _ = writeln!(
            rules,
            "-A {chain} -m conntrack --ctstate NEW -m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES"
        );
    }
    rules.push_str("-A FORWARD -m comment --comment \"kubernetes forwarding rules\" -j KUBE-FORWARD\n");
    rules.push_str("-A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP\n");
    rules.push_str("-A KUBE-FORWARD -m mark --mark 0x4000/0x4000 -j ACCEPT\n");
    rules.push_str("-A KUBE-FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n");
    for service in plan.services().into_iter().filter(|service| service.backends.is_empty()) {
        for port in &service.ports {
            let _ = writeln!(
                rules,
                "-A KUBE-SERVICES {} -m comment --comment \"{}:{} has no endpoints\" -j REJECT --reject-with icmp-port-unreachable",
                reach(service, port),
                service.path(),
                port.name
            );
        }
    }
    rules.push_str("COMMIT\n");
    rules
}

/// Matches what is sent to a Service's own address and port.
fn reach(service: &Service, port: &ServicePort) -> String {
    let protocol = port.protocol.lower();
    format!("-d {}/32 -p {protocol} -m {protocol} --dport {}", service.address, port.port)
}

/// Prefix and 16 letters of base 32, as kube-proxy names chains: FNV-1a, 80 bits of two rounds.
fn chain(prefix: &str, of: &str) -> String {
    const LETTERS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let (high, low) = (fnv(of, 0), fnv(of, 1));
    let mut bits = (u128::from(high) << 64) | u128::from(low);
    let mut name = prefix.to_owned();
    for _ in 0..16 {
        let at = usize::try_from(bits & 31).unwrap_or(0);
        name.push(LETTERS.get(at).copied().map_or('A', char::from));
        bits >>= 5;
    }
    name
}

/// FNV-1a, 64 bits, with a byte in front that makes several hashes of one text.
pub fn fnv(text: &str, salt: u8) -> u64 {
    std::iter::once(salt)
        .chain(text.bytes())
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Backends are few: no loss.
fn as_float(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}
