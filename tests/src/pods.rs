//! A node with a client's and a server's pod, each on a veth of its own and a route (as Calico): the least world that has
//! traffic between pods.

use std::net::{Ipv4Addr, UdpSocket};
use std::path::Path;

use anyhow::{Context as _, Result};

use crate::netns::Netns;

/// Host ends of the pods' veths.
pub const DEVICES: [&str; 2] = ["veth-client", "veth-server"];

/// The client's address.
pub const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 86, 1, 2);
/// The server's.
pub const SERVER: Ipv4Addr = Ipv4Addr::new(10, 86, 2, 2);

const CLUSTER: &str = "\
---
{apiVersion: v1, kind: Node, metadata: {name: n1}, spec: {podCIDR: 10.86.0.0/16}, status: {addresses: [{type: InternalIP, address: 10.86.1.1}]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: client, namespace: shop}, spec: {nodeName: n1, containers: []}, status: {phase: Running, podIP: 10.86.1.2}}
---
{apiVersion: v1, kind: Pod, metadata: {name: server, namespace: shop, labels: {app: api}}, spec: {nodeName: n1, containers: []}, status: {phase: Running, podIP: 10.86.2.2}}
";

/// The namespaces. Whoever runs in them is to be dropped before.
#[derive(Debug)]
pub struct Pods {
    /// The node.
    pub node: Netns,
    /// The pod that calls.
    pub client: Netns,
    /// The pod that is called.
    pub server: Netns,
}

impl Pods {
    /// Wires them. The client has all ports but the first 1023 to call from.
    ///
    /// # Errors
    /// What `ip` says.
    pub fn new() -> Result<Self> {
        let pods = Self { node: Netns::new()?, client: Netns::new()?, server: Netns::new()? };
        for (device, pod, part) in [(DEVICES[0], &pods.client, 1), (DEVICES[1], &pods.server, 2)] {
            pods.node.plug(device, pod)?;
            pods.node.run(&format!("ip addr add 10.86.{part}.1/24 dev {device}"))?;
            pod.run(&format!("ip addr add 10.86.{part}.2/24 dev eth0"))?;
            pod.run(&format!("ip route add default via 10.86.{part}.1"))?;
        }
        pods.node.shell("echo 1 > /proc/sys/net/ipv4/ip_forward")?;
        pods.client.shell("echo 1024 65535 > /proc/sys/net/ipv4/ip_local_port_range")?;
        Ok(pods)
    }

    /// Writes the manifests of them into this folder, as `cluster.yaml`.
    ///
    /// # Errors
    /// If they cannot be written.
    pub fn write_cluster(folder: &Path) -> Result<()> {
        std::fs::write(folder.join("cluster.yaml"), CLUSTER).context("cannot write the manifests")
    }

    /// Sends a datagram from the client to the server, which nobody listens to there.
    ///
    /// # Errors
    /// If it cannot be sent.
    pub fn send_datagram(&self) -> Result<()> {
        self.client.enter(|| {
            let socket = UdpSocket::bind("0.0.0.0:0")?;
            socket.send_to(b"is anybody there?", (SERVER, 9)).context("a datagram")?;
            Ok(())
        })
    }
}
