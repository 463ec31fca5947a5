//! Network namespaces that are gone when their test is, and what happens in them.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::Receiver;
use std::thread;
use std::time::{Duration, Instant};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use weir_daemon::capture::Input;

/// Nothing in these tests takes longer.
pub const DEADLINE: Duration = Duration::from_secs(10);

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// False, with the one line that says so, where namespaces cannot be made.
pub fn may_run(test: &str) -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        println!("skipped: {test}: network namespaces need root");
    }
    root
}

/// A network namespace.
pub struct Namespace(pub String);

impl Namespace {
    pub fn new() -> Self {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("weir-test-{}-{number}", std::process::id());
        command(&format!("ip netns add {name}"));
        let namespace = Self(name);
        namespace.run("ip link set lo up");
        // Neighbour discovery and the like would be frames that nobody sent.
        namespace.enter(|| {
            for scope in ["all", "default"] {
                let _ = std::fs::write(format!("/proc/sys/net/ipv6/conf/{scope}/disable_ipv6"), "1");
            }
        });
        namespace
    }

    /// Runs a command inside; it must succeed.
    pub fn run(&self, line: &str) {
        command(&format!("ip netns exec {} {line}", self.0));
    }

    /// Runs a closure in a thread inside.
    pub fn enter<T: Send>(&self, body: impl FnOnce() -> T + Send) -> T {
        let path = format!("/run/netns/{}", self.0);
        thread::scope(|scope| {
            let inside = scope.spawn(move || {
                let file = File::open(path).unwrap();
                move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
                body()
            });
            inside.join().unwrap()
        })
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.0]).status();
    }
}

pub fn command(line: &str) {
    let mut words = line.split_whitespace();
    let output = Command::new(words.next().unwrap()).args(words).output().unwrap();
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A node (10.77.0.1) and a pod (10.77.0.2) on a veth, `veth-pod` on the node's side.
pub struct World {
    pub node: Namespace,
    pub pod: Namespace,
}

pub const NODE: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
pub const POD: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);

impl World {
    pub fn new() -> Self {
        let (node, pod) = (Namespace::new(), Namespace::new());
        let world = Self { node, pod };
        world.plug("veth-pod");
        world
    }

    /// The veth, with addresses on both ends.
    pub fn plug(&self, name: &str) {
        let (node, pod) = (&self.node, &self.pod);
        node.run(&format!("ip link add {name} type veth peer name eth0 netns {}", pod.0));
        node.run(&format!("ip addr add {NODE}/24 dev {name}"));
        node.run(&format!("ip link set {name} up"));
        pod.run(&format!("ip addr add {POD}/24 dev eth0"));
        pod.run("ip link set eth0 up");
        pod.run(&format!("ip route add default via {NODE}"));
    }

    /// An answering socket in the node; it ends with the world or after `count` datagrams.
    pub fn echo(&self, count: usize) -> (SocketAddr, thread::JoinHandle<()>) {
        let socket = self.node.enter(|| UdpSocket::bind((NODE, 0)).unwrap());
        let address = socket.local_addr().unwrap();
        (address, echo(socket, count))
    }

    /// Sends so many datagrams from the pod, each after the answer to the one before.
    pub fn call(&self, to: SocketAddr, count: usize) {
        self.pod.enter(|| {
            let socket = UdpSocket::bind((POD, 0)).unwrap();
            call(&socket, to, count);
        });
    }
}

pub fn echo(socket: UdpSocket, count: usize) -> thread::JoinHandle<()> {
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    thread::spawn(move || {
        let mut buffer = [0; 1500];
        for _ in 0..count {
            let Ok((length, from)) = socket.recv_from(&mut buffer) else {
                return;
            };
            socket.send_to(&buffer[..length], from).unwrap();
        }
    })
}

pub fn call(socket: &UdpSocket, to: SocketAddr, count: usize) {
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    let mut buffer = [0; 1500];
    for number in 0..count {
        let sent = format!("datagram {number}");
        socket.send_to(sent.as_bytes(), to).unwrap();
        let (length, _) = socket.recv_from(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], sent.as_bytes());
    }
}

/// Reads inputs until the condition holds for all that were read; panics with `what` at the deadline.
pub fn read_until(
    inputs: &Receiver<Input>,
    seen: &mut Vec<Input>,
    what: &str,
    condition: impl Fn(&[Input]) -> bool,
) {
    let deadline = Instant::now() + DEADLINE;
    while !condition(seen) {
        assert!(Instant::now() < deadline, "not seen: {what}; but {seen:?}");
        if let Ok(input) = inputs.recv_timeout(Duration::from_millis(20)) {
            seen.push(input);
        }
    }
}

/// Waits for a condition that no input tells of.
pub fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    let (_never, pause) = std::sync::mpsc::sync_channel::<()>(1);
    while !condition() {
        assert!(Instant::now() < deadline, "not so in time: {what}");
        let _ = pause.recv_timeout(Duration::from_millis(5));
    }
}
