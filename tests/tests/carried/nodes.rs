//! Two nodes with a pod each, and a tunnel between them that `socat` carries.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};

use anyhow::{Context as _, Result};
use weir_tests::netns::Netns;
use weir_tests::node::Watched;
use weir_tests::{DEADLINE, Running, wait_for};

pub const NODES: [Ipv4Addr; 2] = [Ipv4Addr::new(192, 168, 86, 1), Ipv4Addr::new(192, 168, 86, 2)];

/// What lies between the nodes.
pub struct Carrier {
    pub name: &'static str,
    pub pods: [IpAddr; 2],
    /// The nodes' ends of the cables to them.
    gateways: [IpAddr; 2],
    protocol: u8,
    /// What the TUN device puts before its packets is part of the tunnel's header.
    headed: bool,
}

const V4: ([IpAddr; 2], [IpAddr; 2]) = (
    [IpAddr::V4(Ipv4Addr::new(10, 86, 1, 2)), IpAddr::V4(Ipv4Addr::new(10, 86, 2, 2))],
    [IpAddr::V4(Ipv4Addr::new(10, 86, 1, 1)), IpAddr::V4(Ipv4Addr::new(10, 86, 2, 1))],
);
const fn v6(net: u16, host: u16) -> IpAddr {
    IpAddr::V6(Ipv6Addr::new(0xfd86, net, 0, 0, 0, 0, 0, host))
}

pub const IPIP: Carrier = Carrier { name: "ipip", pods: V4.0, gateways: V4.1, protocol: 4, headed: false };
pub const GRE: Carrier = Carrier { name: "gre", pods: V4.0, gateways: V4.1, protocol: 47, headed: true };
pub const SIT: Carrier = Carrier {
    name: "sit",
    pods: [v6(1, 2), v6(2, 2)],
    gateways: [v6(1, 1), v6(2, 1)],
    protocol: 41,
    headed: false,
};

pub struct Nodes {
    // Dropped in this order: who runs in the namespaces first.
    pub weir: [Watched; 2],
    _socats: Vec<Running>,
    pub nodes: [Netns; 2],
    pub pods: [Netns; 2],
    _folder: tempfile::TempDir,
}

impl Nodes {
    /// Wires them, and waits until a datagram is seen on every device of both.
    pub fn new(carrier: &Carrier) -> Result<Self> {
        let (nodes, pods) = ([Netns::new()?, Netns::new()?], [Netns::new()?, Netns::new()?]);
        nodes[0].cable("eth0", &nodes[1], "eth0")?;
        let mut socats = Vec::new();
        for own in [0, 1] {
            let other = 1 - own;
            nodes[own].run(&format!("ip addr add {}/24 dev eth0", NODES[own]))?;
            attach(&nodes[own], &pods[own], carrier.gateways[own], carrier.pods[own])?;
            socats.push(tunnel(&nodes[own], carrier, own)?);
            nodes[own].run(&format!("ip route add {} dev tunl0", network(carrier.pods[other])))?;
        }
        let folder = tempfile::tempdir()?;
        std::fs::write(folder.path().join("cluster.yaml"), manifests(carrier))?;
        let start = |own: usize| Watched::start(&nodes[own], folder.path(), &format!("n{own}"), &[]);
        let weir = [start(0)?, start(1)?];
        let all = Self { weir, _socats: socats, nodes, pods, _folder: folder };
        all.seen(carrier)?;
        Ok(all)
    }

    fn seen(&self, carrier: &Carrier) -> Result<()> {
        wait_for("every device to be captured", DEADLINE, || {
            let sent = self.pods[0].enter(|| {
                let socket = UdpSocket::bind((unspecified(carrier.pods[0]), 0))?;
                socket.send_to(b"there?", (carrier.pods[1], 9)).context("a datagram")?;
                Ok(socket.local_addr()?.port().to_string())
            });
            let port = sent.ok()?;
            let sees_three = |weir: &Watched| {
                let told = weir.told(&["--port", &port]).ok()?;
                let three = |flow: &serde_json::Value| {
                    flow["weir"]["path"].as_array().is_some_and(|path| path.len() == 3)
                };
                told.values().any(three).then_some(())
            };
            wait_for("the datagram", DEADLINE / 30, || {
                self.weir.iter().all(|weir| sees_three(weir).is_some()).then_some(())
            })
            .ok()
        })
    }
}

const fn unspecified(of: IpAddr) -> IpAddr {
    match of {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    }
}

fn network(of: IpAddr) -> String {
    match of {
        IpAddr::V4(address) => format!("{}/24", Ipv4Addr::from(u32::from(address) & !0xff)),
        IpAddr::V6(address) => format!("{}/64", Ipv6Addr::from(u128::from(address) & !0xffff)),
    }
}

/// A pod on a cable of its own.
fn attach(node: &Netns, pod: &Netns, gateway: IpAddr, address: IpAddr) -> Result<()> {
    if address.is_ipv6() {
        for netns in [node, pod] {
            netns.shell(
                "for scope in all default lo; do echo 0 > /proc/sys/net/ipv6/conf/$scope/disable_ipv6; done",
            )?;
            netns.shell("echo 0 > /proc/sys/net/ipv6/conf/default/accept_dad; echo 1 > /proc/sys/net/ipv6/conf/all/forwarding")?;
        }
    }
    node.plug("pod", pod)?;
    let bits = if address.is_ipv4() { "/24" } else { "/64 nodad" };
    node.run(&format!("ip addr add {gateway}{bits} dev pod"))?;
    pod.run(&format!("ip addr add {address}{bits} dev eth0"))?;
    pod.run(&format!("ip route add default via {gateway}"))?;
    // What the tunnel adds has room, so that nobody has to learn of it.
    pod.run("ip link set eth0 mtu 1400")?;
    node.shell("echo 1 > /proc/sys/net/ipv4/ip_forward").map(drop)
}

/// A TUN device whose packets go to the other node in the carrier's protocol, and back.
fn tunnel(node: &Netns, carrier: &Carrier, own: usize) -> Result<Running> {
    let head = if carrier.headed { "" } else { ",iff-no-pi" };
    let mut command = node.command("socat");
    command.arg(format!("TUN,tun-name=tunl0,tun-type=tun{head},iff-up"));
    command.arg(format!("IP4-DATAGRAM:{}:{}", NODES[1 - own], carrier.protocol));
    let running = Running::start(&mut command)?;
    wait_for("the tunnel's device", DEADLINE, || node.run("ip link set tunl0 mtu 1440").ok())?;
    Ok(running)
}

fn manifests(carrier: &Carrier) -> String {
    let mut all = String::new();
    for own in [0, 1] {
        let (node, pod, range) = (NODES[own], carrier.pods[own], network(carrier.pods[own]));
        all += &format!(
            "---\n{{apiVersion: v1, kind: Node, metadata: {{name: n{}}}, spec: {{podCIDR: '{range}'}}, status: {{addresses: [{{type: InternalIP, address: {node}}}]}}}}\n",
            own + 1
        );
        all += &format!(
            "---\n{{apiVersion: v1, kind: Pod, metadata: {{name: pod{own}, namespace: shop}}, spec: {{nodeName: n{}, containers: []}}, status: {{phase: Running, podIP: '{pod}'}}}}\n",
            own + 1
        );
    }
    all
}
