//! Makes the planned world of namespaces and links: an underlay, two nodes, pods on routed veths, flannel's overlay.
//!
//! As a cluster would have it: a pod has a /32 address and a default route by 169.254.1.1, which its node answers ARP for
//! (Calico's way); each node routes the other's pod range over `flannel.1`, whose neighbours and forwarding entries are
//! written, not learnt (flannel's way). Outside lies a network of its own behind the underlay's router.

use std::fs;

use anyhow::{Context, Result};

use crate::instance::Instance;
use crate::netns::Netns;
use crate::plan::{Node, Place, Plan, Pod, Role, VNI, VXLAN_PORT};
use crate::{policies, services};

/// Address that pods route by. Nobody has it; the node answers for it.
const POD_GATEWAY: &str = "169.254.1.1";
/// Ethernet's 1500 without VXLAN's 50 over IPv4.
const POD_MTU: u16 = 1450;

/// The namespaces of a world.
#[derive(Debug)]
pub struct World {
    pub near: Netns,
    pub far: Netns,
    pub outside: Netns,
    pods: Vec<(Role, Netns)>,
}

impl World {
    /// Makes all of it. What was made before a failure is removed with the instance.
    pub fn build(instance: &Instance, plan: &Plan) -> Result<Self> {
        let underlay = build_underlay(instance, plan)?;
        let outside = build_outside(instance, plan, &underlay)?;
        let near = build_node(instance, plan, &underlay, &plan.near)?;
        let far = build_node(instance, plan, &underlay, &plan.far)?;
        join_overlay(&near, &plan.far)?;
        join_overlay(&far, &plan.near)?;
        let mut pods = Vec::new();
        for pod in &plan.pods {
            let node = if pod.place == Place::Near { &near } else { &far };
            pods.push((pod.role, build_pod(instance, plan, node, pod)?));
        }
        for node in [&near, &far] {
            node.restore_rules(&services::nat_rules(plan))?;
            node.restore_rules(&services::filter_rules(plan, &policies::rules(plan)))?;
            watch_connections(node)?;
        }
        Ok(Self { near, far, outside, pods })
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
    let netns = Netns::create(instance.netns_name("underlay"))?;
    netns.ip("link add br0 type bridge")?;
    netns.ip(&format!("addr add {}/{} dev br0", plan.underlay.at(1), plan.underlay.length))?;
    netns.ip("link set br0 up")?;
    netns.sysctl("net/ipv4/ip_forward", "1")?;
    Ok(netns)
}

fn build_outside(instance: &Instance, plan: &Plan, underlay: &Netns) -> Result<Netns> {
    let netns = Netns::create(instance.netns_name("outside"))?;
    underlay.ip(&format!("link add world type veth peer name eth0 netns {}", netns.name()))?;
    underlay.ip(&format!("addr add {}/{} dev world", plan.world.at(1), plan.world.length))?;
    underlay.ip("link set world up")?;
    netns.ip(&format!("addr add {}/{} dev eth0", plan.outside, plan.world.length))?;
    netns.ip("link set eth0 up")?;
    netns.ip(&format!("route add default via {}", plan.world.at(1)))?;
    Ok(netns)
}

fn build_node(instance: &Instance, plan: &Plan, underlay: &Netns, node: &Node) -> Result<Netns> {
    let netns = Netns::create(instance.netns_name(&node.name))?;
    let port = format!("port-{}", node.name);
    underlay.ip(&format!("link add {port} type veth peer name eth0 netns {}", netns.name()))?;
    underlay.ip(&format!("link set {port} master br0 up"))?;
    netns.ip(&format!("addr add {}/{} dev eth0", node.address, plan.underlay.length))?;
    netns.ip("link set eth0 up")?;
    // Without a default route the kernel answers no ARP for the pods' gateway either.
    netns.ip(&format!("route add default via {}", plan.underlay.at(1)))?;
    for (name, value) in [
        ("net/ipv4/ip_forward", "1"),
        ("net/ipv4/conf/all/rp_filter", "0"),
        ("net/ipv4/conf/default/rp_filter", "0"),
    ] {
        netns.sysctl(name, value)?;
    }
    let overlay = format!(
        "link add flannel.1 address {} type vxlan id {VNI} local {} dev eth0 dstport {VXLAN_PORT} nolearning",
        node.overlay_mac, node.address
    );
    netns.ip(&overlay)?;
    netns.ip(&format!("addr add {}/32 dev flannel.1", node.overlay()))?;
    netns.ip("link set flannel.1 up")?;
    Ok(netns)
}

/// What flanneld writes on a node when another joins.
fn join_overlay(netns: &Netns, other: &Node) -> Result<()> {
    let (overlay, mac) = (other.overlay(), &other.overlay_mac);
    netns.ip(&format!("neigh add {overlay} lladdr {mac} dev flannel.1 nud permanent"))?;
    netns.bridge(&format!("fdb append {mac} dev flannel.1 dst {}", other.address))?;
    netns.ip(&format!("route add {} via {overlay} dev flannel.1 onlink", other.pods))
}

/// What a CNI plugin does for a pod, and the kubelet for its resolv.conf.
fn build_pod(instance: &Instance, plan: &Plan, node: &Netns, pod: &Pod) -> Result<Netns> {
    let mut netns = Netns::create(instance.netns_name(&pod.name))?;
    let (veth, address) = (&pod.veth, pod.address);
    node.ip(&format!(
        "link add {veth} mtu {POD_MTU} type veth peer name eth0 mtu {POD_MTU} netns {}",
        netns.name()
    ))?;
    node.sysctl(&format!("net/ipv4/conf/{veth}/proxy_arp"), "1")?;
    // The kernel would wait up to a second before it answers for somebody else.
    node.sysctl(&format!("net/ipv4/neigh/{veth}/proxy_delay"), "0")?;
    node.ip(&format!("link set {veth} up"))?;
    netns.ip(&format!("addr add {address}/32 dev eth0"))?;
    netns.ip("link set eth0 up")?;
    netns.ip(&format!("route add {POD_GATEWAY} dev eth0 scope link"))?;
    netns.ip(&format!("route add default via {POD_GATEWAY} dev eth0"))?;
    node.ip(&format!("route add {address}/32 dev {veth} scope link"))?;
    let resolver = instance.file(&format!("{}.resolv.conf", pod.name));
    fs::write(&resolver, resolv_conf(plan, pod))
        .with_context(|| format!("cannot write {}", resolver.display()))?;
    netns.resolve_by(resolver);
    Ok(netns)
}

/// As the kubelet writes it for `dnsPolicy: ClusterFirst`.
fn resolv_conf(plan: &Plan, pod: &Pod) -> String {
    format!(
        "search {}\nnameserver {}\noptions ndots:5\n",
        Plan::search_domains(&pod.namespace).join(" "),
        plan.dns.address
    )
}

/// Counters and times in conntrack, which nodes have off by default. After the rules, which load the module.
fn watch_connections(node: &Netns) -> Result<()> {
    node.sysctl("net/netfilter/nf_conntrack_acct", "1")?;
    node.sysctl("net/netfilter/nf_conntrack_timestamp", "1")
}
