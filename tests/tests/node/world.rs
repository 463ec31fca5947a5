//! A node (10.88.0.0/16, routed veths) with a client's and a server's pod, a Service in front of the server as kube-proxy
//! would write it, the manifests that say so, and a daemon that watches. All of it is gone when the world is dropped.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::JoinHandle;

use anyhow::{Context as _, Result};
use serde_json::Value;
use weir_tests::netns::Netns;
use weir_tests::{DEADLINE, Running, answering, ask, finish, program, wait_for};

/// The server's own address.
pub const SERVER: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 88, 2, 2), 8080);
/// The Service's.
pub const VIP: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 99, 0, 1), 80);
const NODE: Ipv4Addr = Ipv4Addr::new(10, 88, 1, 1);

const CLUSTER: &str = "\
---
{apiVersion: v1, kind: Node, metadata: {name: n1}, spec: {podCIDR: 10.88.0.0/16}, status: {addresses: [{type: InternalIP, address: 10.88.1.1}]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: client, namespace: shop}, spec: {nodeName: n1, containers: []}, status: {phase: Running, podIP: 10.88.1.2}}
---
{apiVersion: v1, kind: Pod, metadata: {name: server, namespace: shop, labels: {app: api}}, spec: {nodeName: n1, containers: []}, status: {phase: Running, podIP: 10.88.2.2}}
---
{apiVersion: v1, kind: Pod, metadata: {name: migration, namespace: shop}, spec: {nodeName: n1, containers: []}, status: {phase: Succeeded, podIP: 10.88.2.2}}
---
{apiVersion: v1, kind: Pod, metadata: {name: proxy, namespace: kube-system}, spec: {nodeName: n1, hostNetwork: true, containers: []}, status: {phase: Running, podIP: 10.88.1.1}}
---
{apiVersion: v1, kind: Pod, metadata: {name: exporter, namespace: kube-system}, spec: {nodeName: n1, hostNetwork: true, containers: []}, status: {phase: Running, podIP: 10.88.1.1}}
---
{apiVersion: v1, kind: Service, metadata: {name: api, namespace: shop}, spec: {clusterIP: 10.99.0.1, clusterIPs: [10.99.0.1], ports: [{port: 80, targetPort: 8080, protocol: TCP}]}}
---
{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: api-x, namespace: shop, labels: {kubernetes.io/service-name: api}}, addressType: IPv4, ports: [{port: 8080, protocol: TCP}], endpoints: [{addresses: [10.88.2.2], nodeName: n1, conditions: {ready: true}, targetRef: {kind: Pod, name: server, namespace: shop}}]}
";

/// A number as protobuf's JSON writes it: 64 bits as text, 0 not at all.
pub fn number(value: &Value) -> u64 {
    value.as_u64().or_else(|| value.as_str()?.parse().ok()).unwrap_or(0)
}

/// The client's port of a flow.
pub fn port_of(flow: &Value) -> Option<u16> {
    let l4 = flow["l4"].as_object()?.values().next()?;
    u16::try_from(number(&l4["source_port"])).ok()
}

pub fn send_signal(running: &mut Running, signal: &str) {
    let id = running.child().id().to_string();
    let ended = finish(Command::new("kill").args([&format!("-{signal}"), &id])).unwrap();
    assert_eq!(ended.code, Some(0), "{ended:?}");
}

/// Another daemon on the node.
pub struct Second {
    pub socket: PathBuf,
    _daemon: Running,
}

pub struct World {
    // Dropped in this order: who runs in the namespaces first.
    pub daemon: Running,
    pub node: Netns,
    client: Netns,
    server: Netns,
    folder: tempfile::TempDir,
}

impl World {
    /// Wires it, and waits until calls are seen on both pods' devices.
    pub fn new() -> Result<Self> {
        let (node, client, server) = (Netns::new()?, Netns::new()?, Netns::new()?);
        for (name, netns, part) in [("veth-client", &client, 1), ("veth-server", &server, 2)] {
            node.plug(name, netns)?;
            node.run(&format!("ip addr add 10.88.{part}.1/24 dev {name}"))?;
            netns.run(&format!("ip addr add 10.88.{part}.2/24 dev eth0"))?;
            netns.run(&format!("ip route add default via 10.88.{part}.1"))?;
        }
        node.shell("echo 1 > /proc/sys/net/ipv4/ip_forward")?;
        node.run("iptables -t nat -A PREROUTING -d 10.99.0.1 -p tcp --dport 80 -j DNAT --to-destination 10.88.2.2:8080")?;
        node.shell("echo 1 > /proc/sys/net/netfilter/nf_conntrack_acct")?;
        let folder = tempfile::tempdir()?;
        std::fs::write(folder.path().join("cluster.yaml"), CLUSTER)?;
        let daemon = start(&node, folder.path(), "node")?;
        let world = Self { daemon, node, client, server, folder };
        world.seen()?;
        Ok(world)
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn socket(&self) -> PathBuf {
        self.file("node.sock")
    }

    pub fn cluster_file(&self) -> PathBuf {
        self.file("cluster.yaml")
    }

    /// Another file takes the name of the manifests.
    pub fn replace_cluster(&self, text: &str) -> Result<()> {
        std::fs::write(self.file("new.yaml"), text)?;
        Ok(std::fs::rename(self.file("new.yaml"), self.cluster_file())?)
    }

    /// Waits until a datagram is seen on both devices.
    fn seen(&self) -> Result<()> {
        wait_for("both devices to be captured", DEADLINE, || {
            let sent = self.client.enter(|| {
                let socket = UdpSocket::bind("0.0.0.0:0")?;
                socket.send_to(b"there?", (*SERVER.ip(), 9)).context("the first datagram")
            });
            sent.ok()?;
            let answers = ask(&self.socket(), &["observe", "--all", "--protocol", "udp"]).ok()?;
            let both = |flow: &Value| flow["weir"]["path"].as_array().is_some_and(|path| path.len() == 2);
            answers.iter().any(|answer| both(&answer["flow"])).then_some(())
        })
    }

    /// A server that answers so many calls with 3000 bytes each, and then ends.
    pub fn serve(&self, calls: usize) -> Result<JoinHandle<()>> {
        let listener = self.server.enter(|| Ok(TcpListener::bind(SERVER)?))?;
        Ok(std::thread::spawn(move || {
            for stream in listener.incoming().take(calls) {
                let mut stream = stream.unwrap();
                let mut asked = Vec::new();
                // The caller says that it is done by closing its side; one that is gone needs no answer.
                if stream.read_to_end(&mut asked).is_ok() {
                    let _ = stream.write_all(&[b'x'; 3000]);
                }
            }
        }))
    }

    /// Opens a call from the client's pod.
    pub fn open(&self, to: SocketAddrV4) -> Result<TcpStream> {
        self.client.enter(|| {
            let stream = TcpStream::connect_timeout(&to.into(), DEADLINE)?;
            stream.set_read_timeout(Some(DEADLINE))?;
            Ok(stream)
        })
    }

    /// A whole call that sends so many bytes; gives the client's port.
    pub fn call(&self, to: SocketAddrV4, bytes: usize) -> Result<u16> {
        let mut stream = self.open(to)?;
        stream.write_all(&vec![b'?'; bytes])?;
        stream.shutdown(std::net::Shutdown::Write)?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        anyhow::ensure!(answer.len() == 3000, "{} bytes", answer.len());
        Ok(stream.local_addr()?.port())
    }

    /// A datagram to the node itself; gives the client's port.
    pub fn call_node(&self) -> Result<u16> {
        let _listening = self.node.enter(|| Ok(UdpSocket::bind((NODE, 9100))?))?;
        self.client.enter(|| {
            let socket = UdpSocket::bind("0.0.0.0:0")?;
            socket.send_to(b"metrics", (NODE, 9100))?;
            Ok(socket.local_addr()?.port())
        })
    }

    /// So many connections of one datagram each.
    pub fn flood(&self, count: u32) -> Result<()> {
        self.client.enter(|| {
            let socket = UdpSocket::bind("0.0.0.0:0")?;
            for number in 0..count {
                let port = 1024 + u16::try_from(number % 60_000)?;
                // The port is closed, and the kernel tells of one of the ICMP messages about that.
                let _ = socket.send_to(b"flood", (*SERVER.ip(), port));
            }
            Ok(())
        })
    }

    /// A pod that comes and goes while its traffic is captured.
    pub fn vanish(&self) -> Result<()> {
        let pod = Netns::new()?;
        self.node.plug("veth-gone", &pod)?;
        self.node.run("ip addr add 10.88.3.1/24 dev veth-gone")?;
        pod.run("ip addr add 10.88.3.2/24 dev eth0")?;
        wait_for("the new device to be captured", DEADLINE, || {
            let sent = pod.enter(|| {
                let socket = UdpSocket::bind("0.0.0.0:0")?;
                socket.send_to(b"here", "10.88.3.1:9").context("a datagram")
            });
            sent.ok()?;
            let answers = ask(&self.socket(), &["observe", "--all", "--ip", "10.88.3.2"]).ok()?;
            (!answers.is_empty()).then_some(())
        })?;
        self.node.run("ip link del veth-gone").map(drop)
    }

    pub fn second_daemon(&self) -> Result<Second> {
        let daemon = start(&self.node, self.folder.path(), "second")?;
        Ok(Second { socket: self.file("second.sock"), _daemon: daemon })
    }

    /// As `kill -9`.
    pub fn kill_daemon(&mut self) -> Result<()> {
        self.daemon.child().kill()?;
        self.daemon.child().wait()?;
        Ok(())
    }

    pub fn start_daemon(&mut self) -> Result<()> {
        self.daemon = start(&self.node, self.folder.path(), "node")?;
        self.seen()
    }

    /// The number of the last flow that the killed daemon gave out.
    pub fn last_number(&self) -> Result<u64> {
        let bytes = std::fs::read(self.file("node.state").join("last-flow"))?;
        Ok(u64::from_le_bytes(bytes.get(8..16).context("16 bytes")?.try_into()?))
    }
}

fn start(node: &Netns, folder: &Path, name: &str) -> Result<Running> {
    let socket = folder.join(format!("{name}.sock"));
    let mut command = node.command(program("weir-daemon")?);
    command.args(["run", "--node", "n1", "--nflog-group", "7", "--unix"]).arg(&socket);
    command.arg("--cluster").arg(folder.join("cluster.yaml"));
    command.arg("--state-dir").arg(folder.join(format!("{name}.state")));
    let running = Running::logging(&mut command, &folder.join(format!("{name}.log")))?;
    answering(&socket)?;
    Ok(running)
}
