//! The pods of the manifests in network namespaces of their own, each on a routed veth of one node, each serving two ports; the
//! rules that enforce the policies, and a daemon that watches.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, UdpSocket};
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::Value;
use socket2::{Domain, Socket, Type};
use weir_tests::netns::Netns;
use weir_tests::node::{Watched, number, port_of};
use weir_tests::{DEADLINE, ask, wait_for};

use super::rules::{self, Pod};

/// The ports that each pod serves.
pub const PORTS: [u16; 2] = [8080, 9090];
/// A call that is dropped is given up after this: before its SYN is sent again.
const PATIENCE: Duration = Duration::from_millis(900);
const MANIFESTS: &str = include_str!("cluster.yaml");

pub struct World {
    // Dropped in this order: who runs in the namespaces first.
    pub weir: Watched,
    pub pods: Vec<Pod>,
    node: Netns,
    homes: Vec<Netns>,
    _folder: tempfile::TempDir,
}

/// A call and how it went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    pub from: usize,
    pub to: usize,
    pub port: u16,
    /// The client's port.
    pub own: u16,
    pub connected: bool,
}

impl World {
    pub fn new() -> Result<Self> {
        let documents: Vec<Value> =
            serde_saphyr::from_multiple(MANIFESTS).map_err(|error| anyhow::anyhow!("{error}"))?;
        let pods = rules::pods(&documents);
        let node = Netns::new()?;
        let mut homes = Vec::new();
        for (index, pod) in pods.iter().enumerate() {
            let (home, device) = (Netns::new()?, format!("veth{index}"));
            node.plug(&device, &home)?;
            let gateway = gateway_of(&pod.address);
            node.run(&format!("ip addr add {gateway}/24 dev {device}"))?;
            home.run(&format!("ip addr add {}/24 dev eth0", pod.address))?;
            home.run(&format!("ip route add default via {gateway}"))?;
            home.enter(|| serve(&pod.address))?;
            homes.push(home);
        }
        node.shell("echo 1 > /proc/sys/net/ipv4/ip_forward")?;
        let folder = tempfile::tempdir()?;
        std::fs::write(folder.path().join("cluster.yaml"), MANIFESTS)?;
        std::fs::write(folder.path().join("rules.nft"), rules::table(&documents)?)?;
        node.run(&format!("nft -f {}", folder.path().join("rules.nft").display()))?;
        let weir = Watched::start(&node, folder.path(), "weir", &[])?;
        let world = Self { weir, pods, node, homes, _folder: folder };
        world.seen()?;
        Ok(world)
    }

    /// Waits until a datagram of each pod to its node is seen.
    fn seen(&self) -> Result<()> {
        for (pod, home) in self.pods.iter().zip(&self.homes) {
            wait_for("each device to be captured", DEADLINE, || {
                let sent = home.enter(|| {
                    let gateway = gateway_of(&pod.address);
                    let socket = UdpSocket::bind("0.0.0.0:0")?;
                    socket.send_to(b"there?", (gateway.as_str(), 9)).context("a datagram")
                });
                sent.ok()?;
                let told = ask(&self.weir.socket, &["observe", "--all", "--ip", &pod.address]).ok()?;
                (!told.is_empty()).then_some(())
            })?;
        }
        Ok(())
    }

    pub fn pod(&self, path: &str) -> Result<usize> {
        self.pods.iter().position(|pod| pod.path() == path).with_context(|| format!("no pod {path}"))
    }

    /// A call from a port of the caller's own, without any bytes.
    pub fn call(&self, from: usize, to: usize, port: u16, own: u16) -> Result<Call> {
        let server: Ipv4Addr = self.pods[to].address.parse()?;
        let connected = self.homes[from].enter(|| {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
            socket.bind(&SocketAddr::from(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, own)).into())?;
            Ok(socket.connect_timeout(&SocketAddr::from((server, port)).into(), PATIENCE).is_ok())
        })?;
        Ok(Call { from, to, port, own, connected })
    }

    /// Every pod calls every other one on every port, all at once. The client's port says which call it is.
    pub fn call_all(&self) -> Result<Vec<Call>> {
        let pods = 0..self.pods.len();
        let pairs = pods.clone().flat_map(|from| pods.clone().map(move |to| (from, to)));
        let calls =
            pairs.filter(|(from, to)| from != to).flat_map(|(from, to)| PORTS.map(|port| (from, to, port)));
        let calls: Vec<_> = calls.zip(20_000_u16..).collect();
        std::thread::scope(|scope| {
            let running: Vec<_> = calls
                .into_iter()
                .map(|((from, to, port), own)| scope.spawn(move || self.call(from, to, port, own)))
                .collect();
            running
                .into_iter()
                .map(|call| call.join().map_err(|_| anyhow::anyhow!("a caller panicked"))?)
                .collect()
        })
    }

    /// The latest record of each connection to one of the served ports, by the client's port.
    pub fn told(&self) -> Result<BTreeMap<u16, Value>> {
        let mut told = BTreeMap::new();
        for mut answer in ask(
            &self.weir.socket,
            &["observe", "--all", "--protocol", "tcp", "--type", "trace", "--type", "drop"],
        )? {
            let flow = answer["flow"].take();
            if let Some(port) = port_of(&flow) {
                told.insert(port, flow);
            }
        }
        Ok(told)
    }

    /// The policy verdicts of each call: what Hubble's `observe --type policy-verdict` shows.
    pub fn verdicts(&self) -> Result<BTreeMap<u16, Vec<Value>>> {
        let mut verdicts = BTreeMap::<u16, Vec<Value>>::new();
        for mut answer in ask(&self.weir.socket, &["observe", "--all", "--type", "policy-verdict"])? {
            let flow = answer["flow"].take();
            if let Some(port) = port_of(&flow) {
                verdicts.entry(port).or_default().push(flow);
            }
        }
        Ok(verdicts)
    }

    /// Runs `nft` on the node.
    pub fn nft(&self, words: &str) -> Result<()> {
        self.node.run(&format!("nft {words}")).map(drop)
    }

    /// Removes the rule at the end of a pod's chain: what no rule before accepted now passes.
    pub fn stop_enforcing(&self, pod: usize, direction: &str) -> Result<()> {
        let chain = self.pods[pod].chain(direction);
        let listed = self.node.run(&format!("nft -a list chain ip policies {chain}"))?;
        let drop = listed.lines().find(|line| line.trim_start().starts_with("drop")).context("no drop")?;
        let handle = drop.rsplit(' ').next().context("no handle")?;
        self.nft(&format!("delete rule ip policies {chain} handle {handle}"))
    }
}

/// The node's address on the pod's device: the first of its network.
fn gateway_of(address: &str) -> String {
    let (network, _) = address.rsplit_once('.').unwrap_or_default();
    format!("{network}.1")
}

/// Takes calls on all ports for as long as the namespace is there, in threads that end with the test's process.
fn serve(address: &str) -> Result<()> {
    for port in PORTS {
        let listener = TcpListener::bind((address, port))?;
        std::thread::spawn(move || listener.incoming().for_each(drop));
    }
    Ok(())
}

/// What policies say of a flow, by weir's evaluation: false where a direction is denied; none where one cannot be decided.
pub fn evaluated(flow: &Value) -> Option<bool> {
    let judgements = flow["weir"]["policies"].as_array()?;
    let rulings: Vec<_> = judgements.iter().map(|it| it["ruling"].as_str().unwrap_or_default()).collect();
    if rulings.contains(&"POLICY_RULING_UNDECIDABLE") || rulings.len() != 2 {
        return None;
    }
    Some(!rulings.contains(&"POLICY_RULING_DENIED"))
}

/// The contradictions that a flow tells of.
pub fn disagreements(flow: &Value) -> Vec<&str> {
    let told = flow["weir"]["disagreements"].as_array();
    told.into_iter().flatten().filter_map(|it| it["conflict"].as_str()).collect()
}

/// How many contradictions the daemon counted.
pub fn counted(status: &Value) -> u64 {
    number(&status["weir"]["policy"]["disagreements"])
}
