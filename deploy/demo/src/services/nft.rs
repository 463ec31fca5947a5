//! kube-proxy's nftables mode: a table of its own, verdict maps from address and port to a Service's chain, a chain a
//! backend, sets that remember who has had which backend. And flannel's masquerade, in flannel's own table.

use std::fmt::Write;
use std::net::IpAddr;

use super::letters;
use crate::plan::{Family, Node, Plan, Pod, Reach, Service, ServicePort};

/// The chains that every node has, whatever its Services.
const HEAD: &str = "\
chain mark-for-masquerade { meta mark set meta mark or 0x4000; }
chain masquerading {
  meta mark and 0x4000 == 0 return
  meta mark set meta mark xor 0x4000
  masquerade fully-random
}
chain reject-chain { reject; }
chain services {
  ADDR daddr . meta l4proto . th dport vmap @service-ips
  ADDR daddr @nodeport-ips meta l4proto . th dport vmap @service-nodeports
}
chain service-endpoints-check { ADDR daddr . meta l4proto . th dport vmap @no-endpoint-services; }
chain filter-input { type filter hook input priority -110; policy accept; ct state new jump service-endpoints-check; }
chain filter-forward { type filter hook forward priority -110; policy accept; ct state new jump service-endpoints-check; }
chain filter-output { type filter hook output priority -110; policy accept; ct state new jump service-endpoints-check; }
chain nat-prerouting { type nat hook prerouting priority dstnat; policy accept; jump services; }
chain nat-output { type nat hook output priority -100; policy accept; jump services; }
chain nat-postrouting { type nat hook postrouting priority srcnat; policy accept; jump masquerading; }
";

/// What the maps and sets of a table hold.
#[derive(Default)]
struct Table {
    chains: String,
    sets: String,
    by_address: Vec<String>,
    by_node_port: Vec<String>,
    without_endpoints: Vec<String>,
}

/// Where a chain is for.
struct Writer<'a> {
    plan: &'a Plan,
    node: &'a Node,
    family: Family,
    table: Table,
}

/// A node's tables of this family.
pub fn rules(plan: &Plan, node: &Node, family: Family) -> String {
    let mut writer = Writer { plan, node, family, table: Table::default() };
    for service in plan.services().into_iter().filter(|service| service.has_address()) {
        for port in &service.ports {
            writer.port(service, port);
        }
    }
    let Table { chains, sets, by_address, by_node_port, without_endpoints } = writer.table;
    let (table, address_type) = (family.keyword(), address_type(family));
    let by_address_type = format!("{address_type} . inet_proto . inet_service : verdict");
    let mut text = format!("table {table} kube-proxy {{\n");
    let _ = writeln!(
        text,
        "set nodeport-ips {{ type {address_type}; elements = {{ {} }} }}",
        node.address(family)
    );
    text.push_str(&sets);
    for (name, kind, elements) in [
        ("service-ips", by_address_type.as_str(), by_address),
        ("no-endpoint-services", &by_address_type, without_endpoints),
        ("service-nodeports", "inet_proto . inet_service : verdict", by_node_port),
    ] {
        let _ = writeln!(text, "map {name} {{ type {kind}; elements = {{ {} }} }}", elements.join(", "));
    }
    text.push_str(&HEAD.replace("ADDR", family.keyword()));
    text.push_str(&chains);
    text.push_str("}\n");
    text.push_str(&flannel(plan, family));
    text
}

/// What flanneld writes: pods' traffic to the outside gets the node's address.
fn flannel(plan: &Plan, family: Family) -> String {
    let (table, pods) = (family.keyword(), plan.pod_range.cidr(family));
    let multicast = match family {
        Family::V4 => "224.0.0.0/4",
        Family::V6 => "ff00::/8",
    };
    format!(
        "table {table} flannel {{\nchain postrtg {{\ntype nat hook postrouting priority srcnat; policy accept;\n\
         {table} saddr {pods} {table} daddr {pods} return\n\
         {table} saddr {pods} {table} daddr != {multicast} masquerade fully-random\n}}\n}}\n"
    )
}

impl Writer<'_> {
    /// One port of a Service: its chain, one chain a backend, and the ways into it.
    fn port(&mut self, service: &Service, port: &ServicePort) {
        let key =
            format!("{} . {} . {}", service.addresses.of(self.family), port.protocol.lower(), port.port);
        let backends: Vec<&Pod> = self.plan.backends(service).collect();
        if backends.is_empty() {
            return self.table.without_endpoints.push(format!("{key} : goto reject-chain"));
        }
        let chain = service_chain("service", service, port);
        let (table, pods) = (self.family.keyword(), self.plan.pod_range.cidr(self.family));
        self.table.by_address.push(format!("{key} : goto {chain}"));
        for pod in &backends {
            self.backend(service, port, pod);
        }
        let outside = format!(
            "{table} daddr {} {} dport {} {table} saddr != {pods} jump mark-for-masquerade",
            service.addresses.of(self.family),
            port.protocol.lower(),
            port.port
        );
        let choice = self.choice(service, port, &backends);
        let _ = writeln!(self.table.chains, "chain {chain} {{\n{outside}\n{choice}}}");
        if let Reach::LoadBalancer(ingress) = service.reach {
            self.balancer(service, port, ingress.of(self.family), &backends);
        }
        if let Some(node_port) = port.node_port {
            let external = service_chain("external", service, port);
            let _ = writeln!(
                self.table.chains,
                "chain {external} {{\njump mark-for-masquerade\ngoto {chain}\n}}"
            );
            self.table
                .by_node_port
                .push(format!("{} . {node_port} : goto {external}", port.protocol.lower()));
        }
    }

    /// Sends a chain's packets to one of these backends: the one that the client has had, else any.
    fn choice(&self, service: &Service, port: &ServicePort, backends: &[&Pod]) -> String {
        let mut text = String::new();
        let endpoints: Vec<String> =
            backends.iter().map(|pod| endpoint(service, port, pod, self.family)).collect();
        if service.sticky {
            for (pod, endpoint) in backends.iter().zip(&endpoints) {
                let set = affinity_set(service, port, pod, self.family);
                let _ = writeln!(text, "{} saddr @{set} goto {endpoint}", self.family.keyword());
            }
        }
        let cases: Vec<String> =
            endpoints.iter().enumerate().map(|(at, endpoint)| format!("{at} : goto {endpoint}")).collect();
        if !cases.is_empty() {
            let _ = writeln!(text, "numgen random mod {} vmap {{ {} }}", cases.len(), cases.join(", "));
        }
        text
    }

    fn backend(&mut self, service: &Service, port: &ServicePort, pod: &Pod) {
        let (table, protocol) = (self.family.keyword(), port.protocol.lower());
        let mut remember = String::new();
        if service.sticky {
            let set = affinity_set(service, port, pod, self.family);
            let _ = writeln!(
                self.table.sets,
                "set {set} {{ type {}; flags dynamic, timeout; timeout 10800s; }}",
                address_type(self.family)
            );
            remember = format!("update @{set} {{ {table} saddr }}\n");
        }
        let _ = writeln!(
            self.table.chains,
            "chain {} {{\n{table} saddr {} jump mark-for-masquerade\n{remember}meta l4proto {protocol} dnat to {}\n}}",
            endpoint(service, port, pod, self.family),
            pod.address(self.family),
            pod.at(self.family, port.target)
        );
    }

    /// `externalTrafficPolicy: Local`: only this node's backends, and the client's address stays.
    fn balancer(&mut self, service: &Service, port: &ServicePort, ingress: IpAddr, backends: &[&Pod]) {
        let external = service_chain("external", service, port);
        let here: Vec<&Pod> = backends.iter().copied().filter(|pod| pod.place == self.node.place).collect();
        let choice = self.choice(service, port, &here);
        let _ = writeln!(self.table.chains, "chain {external} {{\n{choice}}}");
        self.table.by_address.push(format!(
            "{ingress} . {} . {} : goto {external}",
            port.protocol.lower(),
            port.port
        ));
    }
}

/// Name of the set that holds the clients of a backend.
pub fn affinity_set(service: &Service, port: &ServicePort, pod: &Pod, family: Family) -> String {
    format!("affinity-{}", name_of(service, port, pod, family))
}

fn endpoint(service: &Service, port: &ServicePort, pod: &Pod, family: Family) -> String {
    format!("endpoint-{}", name_of(service, port, pod, family))
}

/// kube-proxy's form, with a point for each colon, which a name may not have.
fn name_of(service: &Service, port: &ServicePort, pod: &Pod, family: Family) -> String {
    let name = format!("{}/{}/{}", service.path(), port.protocol.lower(), port.name);
    let address = pod.address(family).to_string().replace(':', ".");
    format!("{}-{name}__{address}/{}", short(&format!("{name}{address}")), port.target)
}

fn service_chain(kind: &str, service: &Service, port: &ServicePort) -> String {
    let name = format!("{}/{}/{}", service.path(), port.protocol.lower(), port.name);
    format!("{kind}-{}-{name}", short(&name))
}

/// nft's names hold more than kube-proxy's eight letters and a path.
fn short(of: &str) -> String {
    letters(of).chars().take(8).collect()
}

fn address_type(family: Family) -> &'static str {
    match family {
        Family::V4 => "ipv4_addr",
        Family::V6 => "ipv6_addr",
    }
}
