//! A node with a client's and a server's pod, whose way out of the cluster is a router with a narrow link behind it. Two cables
//! lead to the router, so that answers may come back by the other one.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::thread::JoinHandle;

use anyhow::{Context as _, Result};
use rustix::net::{AddressFamily, SocketType, sockopt};
use weir_tests::netns::Netns;
use weir_tests::node::Watched;
use weir_tests::{DEADLINE, wait_for};

pub const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 87, 1, 2);
pub const SERVER: Ipv4Addr = Ipv4Addr::new(10, 87, 2, 2);
/// A Service in front of the server's port 8080, and one without endpoints.
pub const VIP: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 97, 0, 1), 80);
pub const EMPTY: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 97, 0, 2), 80);
/// The client's gateway: the node.
pub const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 87, 1, 1);
pub const NODE: Ipv4Addr = Ipv4Addr::new(192, 168, 77, 1);
pub const ROUTER: Ipv4Addr = Ipv4Addr::new(192, 168, 77, 254);
/// The router's address on the cable by which it answers.
pub const ROUTER_BACK: Ipv4Addr = Ipv4Addr::new(192, 168, 78, 254);
pub const OUTSIDE: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 9);
/// What fits through the link behind the router.
pub const NARROW: u64 = 1200;

const CLUSTER: &str = "\
---
{apiVersion: v1, kind: Node, metadata: {name: n1}, spec: {podCIDR: 10.87.0.0/16}, status: {addresses: [{type: InternalIP, address: 192.168.77.1}]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: client, namespace: shop}, spec: {nodeName: n1, containers: []}, status: {phase: Running, podIP: 10.87.1.2}}
---
{apiVersion: v1, kind: Pod, metadata: {name: server, namespace: shop, labels: {app: api}}, spec: {nodeName: n1, containers: []}, status: {phase: Running, podIP: 10.87.2.2}}
---
{apiVersion: v1, kind: Service, metadata: {name: api, namespace: shop}, spec: {clusterIP: 10.97.0.1, clusterIPs: [10.97.0.1], ports: [{port: 80, targetPort: 8080, protocol: TCP}]}}
---
{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: api-x, namespace: shop, labels: {kubernetes.io/service-name: api}}, addressType: IPv4, ports: [{port: 8080, protocol: TCP}], endpoints: [{addresses: [10.87.2.2], nodeName: n1, conditions: {ready: true}, targetRef: {kind: Pod, name: server, namespace: shop}}]}
---
{apiVersion: v1, kind: Service, metadata: {name: legacy, namespace: shop}, spec: {clusterIP: 10.97.0.2, clusterIPs: [10.97.0.2], ports: [{port: 80, protocol: TCP}]}}
";

pub struct World {
    // Dropped in this order: who runs in the namespaces first.
    pub weir: Watched,
    pub node: Netns,
    pub client: Netns,
    pub server: Netns,
    pub outside: Netns,
    pub router: Netns,
    folder: tempfile::TempDir,
}

impl World {
    /// Wires it, and waits until packets are seen on every device.
    pub fn new() -> Result<Self> {
        let (node, client, server) = (Netns::new()?, Netns::new()?, Netns::new()?);
        let (router, outside) = (Netns::new()?, Netns::new()?);
        for (name, pod, part) in [("veth-client", &client, 1), ("veth-server", &server, 2)] {
            node.plug(name, pod)?;
            node.run(&format!("ip addr add 10.87.{part}.1/24 dev {name}"))?;
            pod.run(&format!("ip addr add 10.87.{part}.2/24 dev eth0"))?;
            pod.run(&format!("ip route add default via 10.87.{part}.1"))?;
        }
        wire_out(&node, &router, &outside)?;
        // As kube-proxy and a CNI write it: DNAT to the backend, REJECT without one, masquerade on the way out.
        node.run(&format!(
            "iptables -t nat -A PREROUTING -d {} -p tcp --dport 80 -j DNAT --to-destination {SERVER}:8080",
            VIP.ip()
        ))?;
        node.run(&format!("iptables -A FORWARD -d {} -p tcp --dport 80 -j REJECT", EMPTY.ip()))?;
        node.run("iptables -t nat -A POSTROUTING -s 10.87.0.0/16 -d 203.0.113.0/24 -j MASQUERADE")?;
        let folder = tempfile::tempdir()?;
        std::fs::write(folder.path().join("cluster.yaml"), CLUSTER)?;
        let weir = Watched::start(&node, folder.path(), "node", &[])?;
        let world = Self { weir, node, client, server, outside, router, folder };
        world.seen_by(&world.weir)?;
        Ok(world)
    }

    /// Another daemon on the node, with these flags.
    pub fn another_daemon(&self, name: &str, flags: &[&str]) -> Result<Watched> {
        Watched::start(&self.node, self.folder.path(), name, flags)
    }

    /// Waits until a datagram is seen on the devices of both pods, and one on both cables.
    pub fn seen_by(&self, weir: &Watched) -> Result<()> {
        for (to, devices) in [(SERVER, &["veth-client", "veth-server"]), (OUTSIDE, &["veth-client", "eth0"])]
        {
            wait_for(&format!("{devices:?} to be captured"), DEADLINE, || {
                let sent = self.client.enter(|| {
                    let socket = UdpSocket::bind("0.0.0.0:0")?;
                    socket.send_to(b"is anybody there?", (to, 9)).context("a datagram")
                });
                sent.ok()?;
                let told = weir.told(&["--protocol", "udp", "--ip", &to.to_string()]).ok()?;
                let seen = |flow: &serde_json::Value| {
                    let path = flow["weir"]["path"].to_string();
                    devices.iter().all(|device| path.contains(device))
                };
                told.values().any(seen).then_some(())
            })?;
        }
        wait_for("the other cable to be captured", DEADLINE, || {
            let sent = self.node.enter(|| {
                let socket = UdpSocket::bind("0.0.0.0:0")?;
                socket.send_to(b"is anybody there?", "192.168.78.254:9").context("a datagram")
            });
            sent.ok()?;
            let told = weir.told(&["--ip", "192.168.78.254"]).ok()?;
            (!told.is_empty()).then_some(())
        })
    }

    /// A server that takes so many calls and answers each with 3000 bytes once the caller is done.
    pub fn serve(at: &Netns, port: u16, calls: usize) -> Result<JoinHandle<()>> {
        let listener = at.enter(|| Ok(TcpListener::bind((Ipv4Addr::UNSPECIFIED, port))?))?;
        Ok(std::thread::spawn(move || {
            for stream in listener.incoming().take(calls) {
                let mut asked = Vec::new();
                // A caller that broke off needs no answer.
                let _ = stream.and_then(|mut stream| {
                    stream.read_to_end(&mut asked)?;
                    stream.write_all(&[b'x'; 3000])
                });
            }
        }))
    }
}

fn wire_out(node: &Netns, router: &Netns, outside: &Netns) -> Result<()> {
    for (device, there, part) in [("eth0", "first", 77), ("eth1", "second", 78)] {
        node.cable(device, router, there)?;
        node.run(&format!("ip addr add 192.168.{part}.1/24 dev {device}"))?;
        router.run(&format!("ip addr add 192.168.{part}.254/24 dev {there}"))?;
    }
    router.cable("narrow", outside, "eth0")?;
    router.run("ip addr add 203.0.113.1/24 dev narrow")?;
    router.run(&format!("ip link set narrow mtu {NARROW}"))?;
    outside.run(&format!("ip addr add {OUTSIDE}/24 dev eth0"))?;
    outside.run("ip route add default via 203.0.113.1")?;
    node.run(&format!("ip route add default via {ROUTER} dev eth0"))?;
    for passes_on in [node, router] {
        passes_on.shell("echo 1 > /proc/sys/net/ipv4/ip_forward")?;
        passes_on.shell("for all in /proc/sys/net/ipv4/conf/*/rp_filter; do echo 0 > $all; done")?;
    }
    // Answers to the node's own calls come by the other cable.
    router.run(&format!("ip route add {NODE}/32 via 192.168.78.1 dev second")).map(drop)
}

/// A call from this port, which another call may have had just before.
pub fn open_from(at: &Netns, from: SocketAddrV4, to: SocketAddrV4) -> Result<TcpStream> {
    at.enter(|| {
        let socket: OwnedFd = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None)?;
        sockopt::set_socket_reuseaddr(&socket, true)?;
        rustix::net::bind(&socket, &from)?;
        rustix::net::connect(&socket, &to)?;
        let stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(DEADLINE))?;
        Ok(stream)
    })
}

/// A port that nobody has.
pub fn free_port(at: &Netns) -> Result<u16> {
    at.enter(|| Ok(TcpListener::bind("0.0.0.0:0")?.local_addr()?.port()))
}

/// Sends all that is left and waits for the whole answer.
pub fn finish_call(mut stream: TcpStream) -> Result<()> {
    stream.shutdown(std::net::Shutdown::Write)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    anyhow::ensure!(answer.len() == 3000, "{} bytes", answer.len());
    Ok(())
}

/// Breaks a call off with an RST.
pub fn break_off(stream: TcpStream) -> Result<()> {
    sockopt::set_socket_linger(&stream, Some(std::time::Duration::ZERO))?;
    drop(stream);
    Ok(())
}
