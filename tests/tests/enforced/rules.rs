//! NetworkPolicies as text -> the rules of the kernel that enforce them, as a network plugin would write them.
//!
//! By another way than weir's evaluation: nothing of it is used here, and each pod's addresses are written out. Only what the
//! manifests of this test say is understood; anything else is an error.

use std::fmt::Write as _;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

/// Group that dropped packets are logged to.
const GROUP: u16 = 7;

/// A pod of the manifests.
#[derive(Clone, Debug)]
pub struct Pod {
    pub namespace: String,
    pub name: String,
    pub address: String,
    text: Value,
}

impl Pod {
    pub fn path(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }

    /// Name of the chain that judges one direction of it.
    pub fn chain(&self, direction: &str) -> String {
        format!("{direction}-{}-{}", self.namespace, self.name)
    }

    fn labels(&self) -> &Value {
        &self.text["metadata"]["labels"]
    }

    fn port_called(&self, name: &str) -> Option<u64> {
        let containers = self.text["spec"]["containers"].as_array()?;
        let ports = containers.iter().filter_map(|container| container["ports"].as_array()).flatten();
        ports.into_iter().find(|port| port["name"] == name)?["containerPort"].as_u64()
    }
}

/// The pods of the manifests.
pub fn pods(documents: &[Value]) -> Vec<Pod> {
    let of_kind = documents.iter().filter(|document| document["kind"] == "Pod");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    of_kind
        .map(|pod| Pod {
            namespace: text(&pod["metadata"]["namespace"]),
            name: text(&pod["metadata"]["name"]),
            address: text(&pod["status"]["podIP"]),
            text: pod.clone(),
        })
        .collect()
}

/// A table for `nft` that enforces all policies.
pub fn table(documents: &[Value]) -> Result<String> {
    let pods = pods(documents);
    let (mut chains, mut jumps) = (String::new(), String::new());
    for pod in &pods {
        for (direction, field, own) in [("Ingress", "ingress", "daddr"), ("Egress", "egress", "saddr")] {
            let selecting: Vec<&Value> = documents
                .iter()
                .filter(|policy| policy["kind"] == "NetworkPolicy" && isolates(policy, pod, direction))
                .collect();
            if selecting.is_empty() {
                continue;
            }
            let chain = pod.chain(field);
            writeln!(jumps, "ip {own} {} jump {chain}", pod.address)?;
            writeln!(chains, "chain {chain} {{")?;
            for policy in &selecting {
                for rule in policy["spec"][field].as_array().into_iter().flatten() {
                    write_rule(&mut chains, documents, &pods, pod, policy, rule, field)?;
                }
            }
            let name = selecting.first().and_then(|policy| policy["metadata"]["name"].as_str()).unwrap_or("");
            writeln!(chains, "log prefix \"deny:{}/{name}\" group {GROUP}\ndrop\n}}", pod.namespace)?;
        }
    }
    Ok(format!(
        "table ip policies {{\n{chains}chain forward {{\ntype filter hook forward priority filter; policy accept;\n\
         ct state established,related accept\n{jumps}}}\n}}\n"
    ))
}

fn isolates(policy: &Value, pod: &Pod, direction: &str) -> bool {
    let spec = &policy["spec"];
    let types = match spec["policyTypes"].as_array() {
        Some(types) => types.iter().any(|it| it == direction),
        None => direction == "Ingress" || spec["egress"].as_array().is_some_and(|rules| !rules.is_empty()),
    };
    types && policy["metadata"]["namespace"] == *pod.namespace && selects(&spec["podSelector"], pod.labels())
}

fn selects(selector: &Value, labels: &Value) -> bool {
    let wanted = selector["matchLabels"].as_object();
    wanted.into_iter().flatten().all(|(key, value)| labels[key] == *value)
}

/// One accept for each peer, address by address.
fn write_rule(
    out: &mut String,
    documents: &[Value],
    pods: &[Pod],
    own: &Pod,
    policy: &Value,
    rule: &Value,
    field: &str,
) -> Result<()> {
    let (peers, side) = if field == "ingress" { (&rule["from"], "saddr") } else { (&rule["to"], "daddr") };
    for peer in peers.as_array().context("a rule for everybody is not understood")? {
        for address in addresses(peer, documents, pods, policy)? {
            let port = ports(rule, own)?;
            writeln!(out, "ip {side} {address} {port} accept")?;
        }
    }
    Ok(())
}

fn addresses(peer: &Value, documents: &[Value], pods: &[Pod], policy: &Value) -> Result<Vec<String>> {
    if let Some(cidr) = peer["ipBlock"]["cidr"].as_str() {
        let except = peer["ipBlock"]["except"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let side = except.map(|range| format!(" ip saddr != {range}")).collect::<String>();
        return Ok(vec![format!("{cidr}{side}")]);
    }
    let namespace_of = |pod: &Pod| {
        documents.iter().find(|it| it["kind"] == "Namespace" && it["metadata"]["name"] == *pod.namespace)
    };
    let in_namespace = |pod: &Pod| match &peer["namespaceSelector"] {
        Value::Null => policy["metadata"]["namespace"] == *pod.namespace,
        selector => namespace_of(pod).is_some_and(|it| selects(selector, &it["metadata"]["labels"])),
    };
    ensure!(peer["podSelector"].is_object(), "a peer that is not understood: {peer}");
    let meant = pods.iter().filter(|pod| in_namespace(pod) && selects(&peer["podSelector"], pod.labels()));
    Ok(meant.map(|pod| pod.address.clone()).collect())
}

fn ports(rule: &Value, own: &Pod) -> Result<String> {
    let Some(ports) = rule["ports"].as_array() else { return Ok(String::new()) };
    let [port] = &ports[..] else { bail!("several ports are not understood: {rule}") };
    let number = match &port["port"] {
        Value::String(name) => own.port_called(name).with_context(|| format!("no port {name}"))?,
        number => number.as_u64().with_context(|| format!("no port: {rule}"))?,
    };
    Ok(match port["endPort"].as_u64() {
        Some(last) => format!("tcp dport {number}-{last}"),
        None => format!("tcp dport {number}"),
    })
}
