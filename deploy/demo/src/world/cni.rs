//! Calls the distribution's CNI plugins as a container runtime does: the network configuration on standard input, what is
//! wanted in the environment, one plugin after another, each given the result of the one before.
//!
//! The near node's pods are attached by `bridge`, as flannel delegates to it; the far node's by `ptp`. Addresses are given by
//! `host-local`, which is asked for the planned ones and keeps its books in the demo's directory.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::pods::mtu;
use crate::command::{feed_output, typed};
use crate::instance::Instance;
use crate::netns::Netns;
use crate::plan::{Family, Node, Place, Plan, Pod};

/// Where Debian's containernetworking-plugins puts them.
const PLUGINS: &str = "/usr/lib/cni";
/// The newest version that its plugins (1.1) speak.
const VERSION: &str = "1.0.0";

/// What was done for one pod, and can be undone.
#[derive(Debug)]
pub struct Attachment {
    node: Netns,
    netns: Netns,
    container: String,
    /// The plugins' configurations, each with its result.
    done: Vec<(Value, Value)>,
}

/// Adds the pod to the network: ADD of each plugin in turn.
pub fn add(instance: &Instance, plan: &Plan, node: &Netns, pod: &Pod, netns: &Netns) -> Result<Attachment> {
    let container = format!("{:016x}", crate::services::fnv(&pod.path(), 0));
    let mut attachment = Attachment { node: node.clone(), netns: netns.clone(), container, done: Vec::new() };
    let mut previous = Value::Null;
    for mut configuration in configurations(instance, plan, pod) {
        if !previous.is_null() {
            configuration["prevResult"] = previous;
        }
        let said = attachment.call("ADD", &configuration)?;
        previous = serde_json::from_str(&said).context("a CNI plugin answered ADD with what is no JSON")?;
        attachment.done.push((configuration, previous.clone()));
    }
    attachment.check(plan, pod, &previous)?;
    Ok(attachment)
}

/// What flannel writes for a node, after its delegate's defaults are filled in.
fn configurations(instance: &Instance, plan: &Plan, pod: &Pod) -> [Value; 2] {
    let node = plan.node(pod.place);
    let ranges: Vec<Value> = plan
        .families()
        .iter()
        .map(|family| json!([{"subnet": node.pods.cidr(*family), "gateway": node.gateway(*family).to_string()}]))
        .collect();
    let addresses: Vec<String> =
        plan.families().iter().map(|family| pod.address(*family).to_string()).collect();
    let mut main = json!({
        "cniVersion": VERSION,
        "name": "cbr0",
        "mtu": mtu(plan),
        "ipam": {
            "type": "host-local",
            "ranges": ranges,
            "dataDir": books(instance, node),
        },
        "args": {"cni": {"ips": addresses}},
    });
    match pod.place {
        Place::Near => {
            main["type"] = json!("bridge");
            main["bridge"] = json!("cni0");
            main["isDefaultGateway"] = json!(true);
            main["hairpinMode"] = json!(true);
        }
        Place::Far => {
            main["type"] = json!("ptp");
            let default = |family: &Family| match family {
                Family::V4 => json!({"dst": "0.0.0.0/0"}),
                Family::V6 => json!({"dst": "::/0"}),
            };
            main["ipam"]["routes"] = plan.families().iter().map(default).collect();
        }
    }
    let ports: Vec<Value> = plan
        .host_port(pod)
        .into_iter()
        .map(|(host, target)| json!({"hostPort": host, "containerPort": target, "protocol": "tcp"}))
        .collect();
    let portmap = json!({
        "cniVersion": VERSION,
        "name": "cbr0",
        "type": "portmap",
        "capabilities": {"portMappings": true},
        "snat": true,
        "runtimeConfig": {"portMappings": ports},
    });
    [main, portmap]
}

/// Where host-local writes which pod has which address of a node.
fn books(instance: &Instance, node: &Node) -> PathBuf {
    instance.file(&format!("{}.cni", node.name))
}

impl Attachment {
    /// Calls one plugin in the node's namespace and gives what it said.
    fn call(&self, command: &str, configuration: &Value) -> Result<String> {
        let kind = configuration["type"].as_str().unwrap_or_default();
        let program = Path::new(PLUGINS).join(kind);
        let mut plugin = Command::new("ip");
        plugin.args(["netns", "exec", self.node.name()]).arg(&program);
        plugin.env("CNI_COMMAND", command).env("CNI_CONTAINERID", &self.container);
        plugin.env("CNI_NETNS", format!("/run/netns/{}", self.netns.name()));
        plugin.env("CNI_IFNAME", "eth0").env("CNI_PATH", PLUGINS);
        plugin.stderr(Stdio::piped());
        let text = typed(&plugin);
        feed_output(&mut plugin, &configuration.to_string())
            .with_context(|| format!("CNI {command} by {kind} failed (`{text}`)"))
    }

    /// The plugins must have given what was asked for.
    fn check(&self, plan: &Plan, pod: &Pod, result: &Value) -> Result<()> {
        let given: Vec<&str> = result["ips"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|ip| ip["address"].as_str()?.split('/').next())
            .collect();
        for family in plan.families() {
            let wanted = pod.address(*family).to_string();
            if !given.contains(&wanted.as_str()) {
                bail!("the CNI plugins gave {} the addresses {given:?} instead of {wanted}", pod.path());
            }
        }
        Ok(())
    }

    /// Removes the pod from the network: DEL of each plugin, the last one first.
    pub fn remove(&mut self) -> Result<()> {
        while let Some((mut configuration, result)) = self.done.pop() {
            configuration["prevResult"] = result;
            self.call("DEL", &configuration)?;
        }
        Ok(())
    }
}
