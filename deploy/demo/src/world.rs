//! Makes the planned world of namespaces and links: an underlay, two nodes, pods (see `pods`), flannel's overlay.
//!
//! Each node routes the other's pod range over `flannel.1`, whose neighbours and forwarding entries are written, not learnt
//! (flannel's way); for IPv6 there is a second overlay over the nodes' IPv6 addresses. Outside lies a network of its own
//! behind the underlay's router, which also routes the load balancer's address to the node that has a backend.

mod cni;
mod pods;

use std::fs;

use anyhow::{Context, Result};

use crate::instance::Instance;
use crate::netns::Netns;
use crate::plan::{Family, Node, Place, Plan, Pod, Role, VNI, VXLAN_PORT};
use crate::services;

/// The namespaces of a world.
#[derive(Debug)]
pub struct World {
    pub near: Netns,
    pub far: Netns,
    pub outside: Netns,
    pods: Vec<(Role, Netns)>,
    /// What CNI plugins did.
    attachments: Vec<cni::Attachment>,
}

impl Drop for World {
    /// As a runtime does when pods end. What fails here goes with the namespaces.
    fn drop(&mut self) {
        if let Err(error) = self.detach() {
            crate::say(format_args!("cleaning up: {error:#}"));
        }
    }
}

impl World {
    /// Makes all of it. What was made before a failure is removed with the instance.
    pub fn build(instance: &Instance, plan: &Plan) -> Result<Self> {
        let underlay = build_underlay(instance, plan)?;
        let outside = build_outside(instance, plan, &underlay)?;
        let near = build_node(instance, plan, &underlay, &plan.near)?;
        let far = build_node(instance, plan, &underlay, &plan.far)?;
        for family in plan.families() {
            join_overlay(&near, &plan.far, *family)?;
            join_overlay(&far, &plan.near, *family)?;
        }
        let mut world = Self { near, far, outside, pods: Vec::new(), attachments: Vec::new() };
        // Before the pods: loading rules takes away what a CNI plugin has written.
        for node in plan.nodes() {
            let netns = world.node(node.place);
            services::install(netns, plan, node)?;
            watch_connections(netns)?;
            pods::prepare(plan, netns, node)?;
        }
        for pod in &plan.pods {
            world.add_pod(instance, plan, pod)?;
        }
        Ok(world)
    }

    fn add_pod(&mut self, instance: &Instance, plan: &Plan, pod: &Pod) -> Result<()> {
        if pod.host_network {
            let netns = self.node(pod.place).clone();
            self.pods.push((pod.role, netns));
            return Ok(());
        }
        let mut netns = Netns::create(instance.netns_name(&pod.name), plan.families())?;
        let attachment = pods::attach(instance, plan, self.node(pod.place), pod, &netns)?;
        self.attachments.extend(attachment);
        let resolver = instance.file(&format!("{}.resolv.conf", pod.name));
        fs::write(&resolver, resolv_conf(plan, pod))
            .with_context(|| format!("cannot write {}", resolver.display()))?;
        netns.resolve_by(resolver);
        self.pods.push((pod.role, netns));
        Ok(())
    }

    /// Has the plugins undo what they did, the last pod first.
    fn detach(&mut self) -> Result<()> {
        while let Some(mut attachment) = self.attachments.pop() {
            attachment.remove()?;
        }
        Ok(())
    }

    pub fn node(&self, place: Place) -> &Netns {
        match place {
            Place::Near => &self.near,
            Place::Far => &self.far,
        }
    }

    /// Namespace of the pod of that role.
    pub fn pod(&self, role: Role) -> Result<&Netns> {
        let found = self.pods.iter().find(|(theirs, _)| *theirs == role);
        found.map(|(_, netns)| netns).with_context(|| format!("the world has no pod for {role:?}"))
    }
}

/// A bridge for the nodes, and the router to the outside.
fn build_underlay(instance: &Instance, plan: &Plan) -> Result<Netns> {
    let netns = Netns::create(instance.netns_name("underlay"), plan.families())?;
    // With an address of its own: a bridge takes its ports' otherwise, and another with each that comes.
    netns.ip("link add br0 address 02:00:00:00:00:01 type bridge mcast_snooping 0")?;
    for family in plan.families() {
        let (address, length) = (plan.underlay.at(1).of(*family), plan.underlay.length(*family));
        netns.ip(&format!("addr add {address}/{length} dev br0"))?;
    }
    netns.ip("link set br0 up")?;
    forward(&netns, plan)?;
    if let Some(ingress) = plan.edge.reach.ingress() {
        for family in plan.families() {
            let (address, via) = (ingress.of(*family), plan.far.address(*family));
            netns.ip(&format!("{} route add {address} via {via}", family.flag()))?;
        }
    }
    Ok(netns)
}

fn forward(netns: &Netns, plan: &Plan) -> Result<()> {
    for family in plan.families() {
        match family {
            Family::V4 => netns.sysctl("net/ipv4/ip_forward", "1")?,
            Family::V6 => netns.sysctl("net/ipv6/conf/all/forwarding", "1")?,
        }
    }
    Ok(())
}

fn build_outside(instance: &Instance, plan: &Plan, underlay: &Netns) -> Result<Netns> {
    let netns = Netns::create(instance.netns_name("outside"), plan.families())?;
    underlay.ip(&format!("link add world type veth peer name eth0 netns {}", netns.name()))?;
    underlay.ip("link set world up")?;
    netns.ip("link set eth0 up")?;
    for family in plan.families() {
        let (router, length) = (plan.world.at(1).of(*family), plan.world.length(*family));
        underlay.ip(&format!("addr add {router}/{length} dev world"))?;
        netns.ip(&format!("addr add {}/{length} dev eth0", plan.outside.of(*family)))?;
        netns.ip(&format!("{} route add default via {router}", family.flag()))?;
    }
    Ok(netns)
}

fn build_node(instance: &Instance, plan: &Plan, underlay: &Netns, node: &Node) -> Result<Netns> {
    let netns = Netns::create(instance.netns_name(&node.name), plan.families())?;
    let port = format!("port-{}", node.name);
    underlay.ip(&format!("link add {port} type veth peer name eth0 netns {}", netns.name()))?;
    underlay.ip(&format!("link set {port} master br0 up"))?;
    netns.ip("link set eth0 up")?;
    for (name, value) in [("net/ipv4/conf/all/rp_filter", "0"), ("net/ipv4/conf/default/rp_filter", "0")] {
        netns.sysctl(name, value)?;
    }
    forward(&netns, plan)?;
    for family in plan.families() {
        netns.ip(&format!(
            "addr add {}/{} dev eth0",
            node.address(*family),
            plan.underlay.length(*family)
        ))?;
        // Without a default route the kernel answers no ARP for the pods' gateway either.
        netns.ip(&format!("{} route add default via {}", family.flag(), plan.underlay.at(1).of(*family)))?;
        let device = family.overlay_device();
        netns.ip(&format!(
            "link add {device} address {} type vxlan id {VNI} local {} dev eth0 dstport {VXLAN_PORT} nolearning",
            node.overlay_mac(*family),
            node.address(*family)
        ))?;
        netns.ip(&format!("addr add {}/{} dev {device}", node.overlay(*family), family.bits()))?;
        netns.ip(&format!("link set {device} up"))?;
    }
    Ok(netns)
}

/// What flanneld writes on a node when another joins.
fn join_overlay(netns: &Netns, other: &Node, family: Family) -> Result<()> {
    let (overlay, mac, device) = (other.overlay(family), other.overlay_mac(family), family.overlay_device());
    netns.ip(&format!("neigh add {overlay} lladdr {mac} dev {device} nud permanent"))?;
    netns.bridge(&format!("fdb append {mac} dev {device} dst {}", other.address(family)))?;
    let pods = other.pods.cidr(family);
    netns.ip(&format!("{} route add {pods} via {overlay} dev {device} onlink", family.flag()))
}

/// As the kubelet writes it for `dnsPolicy: ClusterFirst`.
fn resolv_conf(plan: &Plan, pod: &Pod) -> String {
    format!(
        "search {}\nnameserver {}\noptions ndots:5\n",
        Plan::search_domains(&pod.namespace).join(" "),
        plan.dns.addresses.of(plan.family())
    )
}

/// Counters and times in conntrack, which nodes have off by default. After the rules, which load the module.
fn watch_connections(node: &Netns) -> Result<()> {
    node.sysctl("net/netfilter/nf_conntrack_acct", "1")?;
    node.sysctl("net/netfilter/nf_conntrack_timestamp", "1")
}
