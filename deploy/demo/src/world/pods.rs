//! Attaches a pod to its node, in the way that the world's kind asks for.
//!
//! *Routed*: the pod has a host address and a default route by a gateway that its node answers for (Calico's way). *Bridge*:
//! the veths are ports of `cni0`, whose address is the gateway (flannel's way). *CNI*: the plugins do it, see `cni`.

use anyhow::Result;

use super::cni::{self, Attachment};
use crate::instance::Instance;
use crate::kinds;
use crate::netns::Netns;
use crate::plan::{Family, Node, Place, Plan, Pod};

/// Address that routed pods send to. Nobody has it; the node answers for it.
const V4_GATEWAY: &str = "169.254.1.1";
/// The same for IPv6: an address of every host end.
const V6_GATEWAY: &str = "fe80::ecee:eeff:feee:eeee";
const BRIDGE: &str = "cni0";

/// Ethernet's 1500 without what the overlay wraps around: 50 bytes over IPv4, 70 over IPv6.
pub fn mtu(plan: &Plan) -> u16 {
    if plan.families().contains(&Family::V6) { 1430 } else { 1450 }
}

/// What a node needs before its first pod.
pub fn prepare(plan: &Plan, netns: &Netns, node: &Node) -> Result<()> {
    if plan.kinds.pods == kinds::Attachment::Routed {
        return Ok(());
    }
    if plan.kinds.pods == kinds::Attachment::Bridge {
        netns.ip(&format!("link add {BRIDGE} mtu {} type bridge", mtu(plan)))?;
        for family in plan.families() {
            let (gateway, length) = (node.gateway(*family), node.pods.length(*family));
            netns.ip(&format!("addr add {gateway}/{length} dev {BRIDGE}"))?;
        }
        netns.ip(&format!("link set {BRIDGE} up"))?;
    }
    // Kubernetes wants it on: else an answer from a pod of the same bridge passes the translation by. The other node shows that
    // everything else works without.
    let shown = if node.place == Place::Near { "1" } else { "0" };
    netns.sysctl("net/bridge/bridge-nf-call-iptables", shown)?;
    netns.sysctl("net/bridge/bridge-nf-call-ip6tables", shown)
}

/// Gives the pod's namespace its device. What plugins did is given back, to be undone by them.
pub fn attach(
    instance: &Instance,
    plan: &Plan,
    node: &Netns,
    pod: &Pod,
    netns: &Netns,
) -> Result<Option<Attachment>> {
    match plan.kinds.pods {
        kinds::Attachment::Routed => routed(plan, node, pod, netns).map(|()| None),
        kinds::Attachment::Bridge => bridged(plan, node, pod, netns).map(|()| None),
        kinds::Attachment::Cni => cni::add(instance, plan, node, pod, netns).map(Some),
    }
}

fn make_veth(plan: &Plan, node: &Netns, pod: &Pod, netns: &Netns) -> Result<()> {
    let (veth, mtu) = (&pod.veth, mtu(plan));
    node.ip(&format!("link add {veth} mtu {mtu} type veth peer name eth0 mtu {mtu} netns {}", netns.name()))
}

fn routed(plan: &Plan, node: &Netns, pod: &Pod, netns: &Netns) -> Result<()> {
    let veth = &pod.veth;
    make_veth(plan, node, pod, netns)?;
    for family in plan.families() {
        match family {
            Family::V4 => {
                node.sysctl(&format!("net/ipv4/conf/{veth}/proxy_arp"), "1")?;
                // The kernel would wait up to a second before it answers for somebody else.
                node.sysctl(&format!("net/ipv4/neigh/{veth}/proxy_delay"), "0")?;
            }
            Family::V6 => node.ip(&format!("link set {veth} addrgenmode none"))?,
        }
    }
    node.ip(&format!("link set {veth} up"))?;
    netns.ip("link set eth0 up")?;
    for family in plan.families() {
        let (flag, address) = (family.flag(), pod.address(*family));
        let host = format!("{address}/{}", family.bits());
        netns.ip(&format!("addr add {host} dev eth0"))?;
        match family {
            Family::V4 => {
                netns.ip(&format!("route add {V4_GATEWAY} dev eth0 scope link"))?;
                netns.ip(&format!("route add default via {V4_GATEWAY} dev eth0"))?;
            }
            Family::V6 => {
                node.ip(&format!("addr add {V6_GATEWAY}/64 dev {veth}"))?;
                netns.ip(&format!("-6 route add default via {V6_GATEWAY} dev eth0"))?;
            }
        }
        node.ip(&format!("{flag} route add {host} dev {veth}"))?;
    }
    Ok(())
}

fn bridged(plan: &Plan, node: &Netns, pod: &Pod, netns: &Netns) -> Result<()> {
    let veth = &pod.veth;
    make_veth(plan, node, pod, netns)?;
    node.ip(&format!("link set {veth} master {BRIDGE} up"))?;
    // A pod that calls itself by its Service comes back by the port it went out of.
    node.bridge(&format!("link set dev {veth} hairpin on"))?;
    netns.ip("link set eth0 up")?;
    let home = plan.node(pod.place);
    for family in plan.families() {
        netns.ip(&format!("addr add {}/{} dev eth0", pod.address(*family), home.pods.length(*family)))?;
        netns.ip(&format!("{} route add default via {} dev eth0", family.flag(), home.gateway(*family)))?;
    }
    Ok(())
}
