//! kube-proxy's iptables mode: the same chains, marks, matches and order. Chain names follow kube-proxy's form (a fixed prefix
//! and 16 letters) with a hash of our own: nothing reads meaning from it.

use std::fmt::Write;
use std::net::IpAddr;

use super::letters;
use crate::plan::{Family, Node, Plan, Pod, Reach, Service, ServicePort};

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
/// How long a client stays with its backend, as Kubernetes defaults it.
const AFFINITY_SECONDS: u32 = 10_800;

/// The rules being written, and for whom.
struct Writer<'a> {
    rules: String,
    plan: &'a Plan,
    node: &'a Node,
    family: Family,
}

/// The `nat` table of a node.
pub fn nat_rules(plan: &Plan, node: &Node, family: Family) -> String {
    let mut writer = Writer { rules: NAT_HEAD.to_owned(), plan, node, family };
    let pods = plan.pod_range.cidr(family);
    let multicast = match family {
        Family::V4 => "224.0.0.0/4",
        Family::V6 => "ff00::/8",
    };
    writer.line(&format!("-A FLANNEL-POSTRTG -s {pods} -d {pods} -j RETURN"));
    writer.line(&format!("-A FLANNEL-POSTRTG -s {pods} ! -d {multicast} -j MASQUERADE --random-fully"));
    for service in plan.services().into_iter().filter(|service| service.has_address()) {
        for port in &service.ports {
            writer.port(service, port);
        }
    }
    writer.line("-A KUBE-SERVICES -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS\nCOMMIT");
    writer.rules
}

impl Writer<'_> {
    fn line(&mut self, line: &str) {
        let _ = writeln!(self.rules, "{line}");
    }

    /// One port of a Service: its chain, one chain a backend, and the ways into it.
    fn port(&mut self, service: &Service, port: &ServicePort) {
        let backends: Vec<&Pod> = self.plan.backends(service).collect();
        if backends.is_empty() {
            return; // Rejected in the filter table.
        }
        let name = port_name(service, port);
        let chain = format!("KUBE-SVC-{}", letters(&name));
        let matched = matched(service.addresses.of(self.family), port);
        self.line(&format!(":{chain} - [0:0]"));
        let comment = format!("-m comment --comment \"{name} cluster IP\"");
        self.line(&format!("-A KUBE-SERVICES {matched} {comment} -j {chain}"));
        let pods = self.plan.pod_range.cidr(self.family);
        self.line(&format!("-A {chain} ! -s {pods} {matched} -j KUBE-MARK-MASQ"));
        for pod in &backends {
            self.backend(service, port, pod);
        }
        self.choose(&chain, service, port, &backends);
        if let Reach::LoadBalancer(ingress) = service.reach {
            self.balancer(service, port, ingress.of(self.family), &backends);
        }
        if let Some(node_port) = port.node_port {
            self.node_port(port, node_port, &name, &chain);
        }
    }

    /// Sends a chain's packets to one of these backends: the one that the client has had, else any.
    fn choose(&mut self, chain: &str, service: &Service, port: &ServicePort, backends: &[&Pod]) {
        let name = port_name(service, port);
        if service.sticky {
            for pod in backends {
                let (endpoint, list) =
                    (self.endpoint(&name, pod), affinity_list(service, port, pod, self.family));
                self.line(&format!(
                    "-A {chain} -m recent --name {list} --rcheck --seconds {AFFINITY_SECONDS} --reap --rsource -j {endpoint}"
                ));
            }
        }
        for (at, pod) in backends.iter().enumerate() {
            let endpoint = self.endpoint(&name, pod);
            let left = backends.len() - at;
            let choice = match left {
                1 => String::new(),
                _ => format!("-m statistic --mode random --probability {:.11} ", 1.0 / as_float(left)),
            };
            self.line(&format!("-A {chain} -m comment --comment \"{name}\" {choice}-j {endpoint}"));
        }
    }

    fn endpoint(&self, name: &str, pod: &Pod) -> String {
        format!("KUBE-SEP-{}", letters(&format!("{name}{}", pod.address(self.family))))
    }

    fn backend(&mut self, service: &Service, port: &ServicePort, pod: &Pod) {
        let endpoint = self.endpoint(&port_name(service, port), pod);
        let (protocol, address) = (port.protocol.lower(), pod.address(self.family));
        let remember = if service.sticky {
            format!("-m recent --name {} --set --rsource ", affinity_list(service, port, pod, self.family))
        } else {
            String::new()
        };
        self.line(&format!(":{endpoint} - [0:0]"));
        // A pod that reaches itself through its Service must not see its own address as the caller's.
        self.line(&format!("-A {endpoint} -s {address} -j KUBE-MARK-MASQ"));
        self.line(&format!(
            "-A {endpoint} {remember}-p {protocol} -m {protocol} -j DNAT --to-destination {}",
            pod.at(self.family, port.target)
        ));
    }

    fn node_port(&mut self, port: &ServicePort, node_port: u16, name: &str, service_chain: &str) {
        let external = format!("KUBE-EXT-{}", letters(name));
        let protocol = port.protocol.lower();
        self.line(&format!(":{external} - [0:0]"));
        self.line(&format!(
            "-A KUBE-NODEPORTS -p {protocol} -m {protocol} --dport {node_port} -m comment --comment \"{name}\" -j {external}"
        ));
        self.line(&format!("-A {external} -j KUBE-MARK-MASQ"));
        self.line(&format!("-A {external} -j {service_chain}"));
    }

    /// `externalTrafficPolicy: Local`: only this node's backends, and the client's address stays.
    fn balancer(&mut self, service: &Service, port: &ServicePort, ingress: IpAddr, backends: &[&Pod]) {
        let name = port_name(service, port);
        let hash = letters(&name);
        let (external, local) = (format!("KUBE-EXT-{hash}"), format!("KUBE-SVL-{hash}"));
        let matched = matched(ingress, port);
        self.line(&format!(":{external} - [0:0]\n:{local} - [0:0]"));
        let comment = format!("-m comment --comment \"{name} loadbalancer IP\"");
        self.line(&format!("-A KUBE-SERVICES {matched} {comment} -j {external}"));
        self.line(&format!("-A {external} -j {local}"));
        let here: Vec<&Pod> = backends.iter().copied().filter(|pod| pod.place == self.node.place).collect();
        self.choose(&local, service, port, &here);
    }
}

/// The `filter` table of a node: Services without endpoints are rejected, and the policies' rules come before all else.
pub fn filter_rules(plan: &Plan, policies: &str, family: Family) -> String {
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
    let answer = match family {
        Family::V4 => "icmp-port-unreachable",
        Family::V6 => "icmp6-port-unreachable",
    };
    for service in plan.services().into_iter().filter(|service| service.backends.is_empty()) {
        for port in &service.ports {
            let _ = writeln!(
                rules,
                "-A KUBE-SERVICES {} -m comment --comment \"{} has no endpoints\" -j REJECT --reject-with {answer}",
                matched(service.addresses.of(family), port),
                port_name(service, port),
            );
        }
    }
    rules.push_str("COMMIT\n");
    rules
}

/// Name of the list in `/proc/net/xt_recent` that holds the clients of a backend.
pub fn affinity_list(service: &Service, port: &ServicePort, pod: &Pod, family: Family) -> String {
    format!("KUBE-SEP-{}", letters(&format!("{}{}", port_name(service, port), pod.address(family))))
}

fn port_name(service: &Service, port: &ServicePort) -> String {
    format!("{}:{}", service.path(), port.name)
}

/// Matches what is sent to this address and the Service's port.
fn matched(address: IpAddr, port: &ServicePort) -> String {
    let protocol = port.protocol.lower();
    format!("-d {address} -p {protocol} -m {protocol} --dport {}", port.port)
}

/// Backends are few: no loss.
fn as_float(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}
