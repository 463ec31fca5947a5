//! The eBPF source on real devices: what its frames and tallies add up to, who else sees the packets, and what is left of it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::Command;
use std::sync::mpsc::{Receiver, sync_channel};

use weir_daemon::capture::ebpf::{self, EbpfCapture, Hook, Settings};
use weir_daemon::capture::{Detail, Direction, Input, InterfaceId, Role, sink};

use crate::namespace::{
    DEADLINE, NODE, Namespace, POD, World, call, command, echo, may_run, read_until, wait_until,
};
use crate::passed::{To, Ways, passed, with_port};

pub fn watch(namespace: &Namespace, settings: &Settings, queue: usize) -> (EbpfCapture, Receiver<Input>) {
    let (sender, inputs) = sync_channel(queue);
    (namespace.enter(|| ebpf::start(settings, sink(sender)).unwrap()), inputs)
}

pub fn finish(capture: EbpfCapture, inputs: &Receiver<Input>, mut seen: Vec<Input>) -> Vec<Input> {
    assert_eq!(capture.stop(DEADLINE), Ok(()));
    seen.extend(inputs.try_iter());
    seen
}

/// What a device has carried, as the kernel counts it.
#[derive(Clone, Copy, Debug)]
struct Carried {
    packets: u64,
    bytes: u64,
}

impl Carried {
    fn by(namespace: &Namespace) -> Self {
        let count = |counter: &str| -> u64 {
            let path = format!("/sys/class/net/veth-pod/statistics/{counter}");
            let output =
                Command::new("ip").args(["netns", "exec", &namespace.0, "cat", &path]).output().unwrap();
            String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
        };
        Self {
            packets: count("rx_packets") + count("tx_packets"),
            bytes: count("rx_bytes") + count("tx_bytes"),
        }
    }

    /// What was told since is all that was carried since, but for ARP: at most a few frames of 42 bytes.
    fn is_told(self, namespace: &Namespace, ways: &Ways) {
        let now = Self::by(namespace);
        let told = ways.values().fold([0; 2], |all, sum| [all[0] + sum.packets, all[1] + sum.frame_bytes]);
        let arp = now.packets - self.packets - told[0];
        assert!(arp <= 6, "{told:?} {self:?} {now:?}");
        assert_eq!(now.bytes - self.bytes - told[1], arp * 42, "{told:?} {self:?} {now:?}");
    }
}

/// Waits until no connection is left: its last acknowledgement may be under way yet.
fn wait_closed(namespace: &Namespace) {
    wait_until("all have closed", || {
        let mut sockets = Command::new("ip");
        sockets.args(["netns", "exec", &namespace.0, "ss", "-Htn", "state", "connected"]);
        sockets.output().unwrap().stdout.is_empty()
    });
}

/// Sends so many bytes over one connection from the pod to the node.
fn transfer(world: &World, bytes: usize) -> u16 {
    let listener = world.node.enter(|| TcpListener::bind((NODE, 0)).unwrap());
    let server = listener.local_addr().unwrap();
    let serving = std::thread::spawn(move || {
        let mut stream = listener.accept().unwrap().0;
        let mut received = Vec::new();
        stream.read_to_end(&mut received).unwrap();
        received.len()
    });
    world.pod.enter(|| {
        let mut stream = TcpStream::connect(server).unwrap();
        stream.write_all(&vec![7; bytes]).unwrap();
    });
    assert_eq!(serving.join().unwrap(), bytes);
    server.port()
}

#[test]
fn a_tcp_connection_is_a_few_frames_and_exact_sums() {
    if !may_run("a_tcp_connection_is_a_few_frames_and_exact_sums") {
        return;
    }
    const BYTES: usize = 20_000_000;
    let world = World::new();
    let (capture, inputs) = watch(&world.node, &Settings::default(), 1024);
    let before = Carried::by(&world.node);
    let port = transfer(&world, BYTES);
    wait_closed(&world.node);
    let stats = capture.stats();
    let seen = finish(capture, &inputs, Vec::new());
    let ways = passed(&seen);
    before.is_told(&world.node, &ways);
    let (up, down) = (with_port(&ways, port, To::In), with_port(&ways, port, To::Out));
    // What is sent again passes again.
    assert!(up.payload_bytes >= BYTES as u64, "{up:?}");
    assert_eq!(down.payload_bytes, 0);
    assert!(up.packets > 300, "{up:?}");
    assert!(up.wire_packets >= BYTES as u64 / 1500, "super-packets count as what they stand for: {up:?}");
    assert!(up.frames + down.frames < up.packets / 5, "{up:?} {down:?}");
    assert_eq!((stats.kernel_dropped, stats.uncounted, stats.queue_dropped), (0, 0, 0));
}

#[test]
fn datagrams_are_news_at_first_and_then_counted() {
    if !may_run("datagrams_are_news_at_first_and_then_counted") {
        return;
    }
    let world = World::new();
    let (capture, inputs) = watch(&world.node, &Settings::default(), 1024);
    let (server, echoing) = world.echo(500);
    world.call(server, 500);
    echoing.join().unwrap();
    let seen = finish(capture, &inputs, Vec::new());
    assert!(
        matches!(&seen[0], Input::Interface(_, interface) if interface.role == Role::PodVeth),
        "{:?}",
        seen[0]
    );
    let ways = passed(&seen);
    for direction in [To::In, To::Out] {
        let sum = with_port(&ways, server.port(), direction);
        assert_eq!((sum.packets, sum.frames), (500, 4), "{direction:?}");
    }
}

#[test]
fn what_rests_is_told_without_another_packet() {
    if !may_run("what_rests_is_told_without_another_packet") {
        return;
    }
    let world = World::new();
    let (capture, inputs) = watch(&world.node, &Settings::default(), 1024);
    let (server, echoing) = world.echo(50);
    world.call(server, 50);
    echoing.join().unwrap();
    let mut seen = Vec::new();
    read_until(&inputs, &mut seen, "all packets", |seen| {
        with_port(&passed(seen), server.port(), To::In).packets == 50
            && with_port(&passed(seen), server.port(), To::Out).packets == 50
    });
    assert_eq!(capture.stop(DEADLINE), Ok(()));
}

#[test]
fn a_tunnels_packets_are_the_inner_connections() {
    if !may_run("a_tunnels_packets_are_the_inner_connections") {
        return;
    }
    let (one, two) = (Namespace::new(), Namespace::new());
    one.run(&format!("ip link add eth0 type veth peer name eth0 netns {}", two.0));
    for (node, number, other) in [(&one, 1, 2), (&two, 2, 1)] {
        node.run(&format!("ip addr add 192.0.2.{number}/24 dev eth0"));
        node.run("ip link set eth0 up");
        node.run(&format!(
            "ip link add flannel.1 type vxlan id 1 dstport 8472 dev eth0 local 192.0.2.{number} remote 192.0.2.{other}"
        ));
        node.run(&format!("ip addr add 10.244.0.{number}/24 dev flannel.1"));
        node.run("ip link set flannel.1 up");
    }
    let (capture, inputs) = watch(&one, &Settings::default(), 1024);
    let server = two.enter(|| UdpSocket::bind("10.244.0.2:0").unwrap());
    let address = server.local_addr().unwrap();
    let echoing = echo(server, 200);
    one.enter(|| call(&UdpSocket::bind("10.244.0.1:0").unwrap(), address, 200));
    echoing.join().unwrap();
    let seen = finish(capture, &inputs, Vec::new());
    let devices: Vec<InterfaceId> = seen
        .iter()
        .filter_map(|input| if let Input::Interface(id, _) = input { Some(*id) } else { None })
        .collect();
    assert_eq!(devices.len(), 2, "eth0 and flannel.1");
    let ways: Vec<_> = passed(&seen)
        .into_iter()
        .filter(|((tuple, ..), _)| {
            tuple.source.port() == address.port() || tuple.destination.port() == address.port()
        })
        .collect();
    assert_eq!(ways.len(), 4, "two devices, two ways: {ways:?}");
    assert!(ways.iter().all(|(_, sum)| sum.packets == 200), "{ways:?}");
    // The same packets, 50 bytes longer where they are wrapped: Ethernet, IPv4, UDP, VXLAN.
    let bytes = |number: usize| {
        ways.iter()
            .map(
                |((_, id, way), sum)| {
                    if *id == devices[number] && *way == To::Out { sum.frame_bytes } else { 0 }
                },
            )
            .sum::<u64>()
    };
    assert_eq!(bytes(0).abs_diff(bytes(1)), 200 * 50);
}

#[test]
fn devices_come_and_go() {
    if !may_run("devices_come_and_go") {
        return;
    }
    let world = World::new();
    let (capture, inputs) = watch(&world.node, &Settings::default(), 1024);
    wait_until("veth-pod is watched", || capture.stats().devices == 1);
    command(&format!("ip -n {} link del veth-pod", world.node.0));
    wait_until("veth-pod is gone", || capture.stats().devices == 0);
    world.plug("veth-pod");
    wait_until("the new veth-pod is watched", || capture.stats().devices == 1);
    let (server, echoing) = world.echo(20);
    world.call(server, 20);
    echoing.join().unwrap();
    command(&format!("ip -n {} link del veth-pod", world.node.0));
    wait_until("nothing is watched", || capture.stats().devices == 0);
    assert_eq!(capture.notices(), [""; 0], "a device that goes makes no noise");
    let seen = finish(capture, &inputs, Vec::new());
    let ways = passed(&seen);
    assert_eq!(with_port(&ways, server.port(), To::In).packets, 20);
    assert_eq!(with_port(&ways, server.port(), To::Out).packets, 20);
}

/// Sends so many datagrams from a socket each, from the pod to nobody in particular.
fn scatter(world: &World, to: SocketAddr, sockets: usize, datagrams: usize) {
    world.pod.enter(|| {
        // All at once, so that no port is given out twice.
        let sockets: Vec<UdpSocket> = (0..sockets).map(|_| UdpSocket::bind((POD, 0)).unwrap()).collect();
        for socket in &sockets {
            for _ in 0..datagrams {
                socket.send_to(&[7; 100], to).unwrap();
            }
        }
    });
}

#[test]
fn a_full_ring_loses_frames_that_are_counted_and_no_byte() {
    if !may_run("a_full_ring_loses_frames_that_are_counted_and_no_byte") {
        return;
    }
    let world = World::new();
    let sink_socket = world.node.enter(|| UdpSocket::bind((NODE, 0)).unwrap());
    let to = sink_socket.local_addr().unwrap();
    let settings = Settings { ring_bytes: 4096, ..Settings::default() };
    let (capture, inputs) = watch(&world.node, &settings, 65_536);
    let before = Carried::by(&world.node);
    scatter(&world, to, 300, 12);
    let port = transfer(&world, 5_000_000);
    wait_closed(&world.node);
    wait_until("all have passed", || capture.stats().packets >= 3600);
    let mut seen = Vec::new();
    read_until(&inputs, &mut seen, "the loss", |seen| {
        seen.iter().any(|input| matches!(input, Input::Lost(loss) if loss.kernel > 0))
    });
    let seen = {
        let stats = capture.stats();
        assert!(stats.kernel_dropped > 0, "{stats:?}");
        let seen = finish(capture, &inputs, seen);
        let told: u64 =
            seen.iter().map(|input| if let Input::Lost(loss) = input { loss.kernel } else { 0 }).sum();
        assert!(told >= stats.kernel_dropped, "{told} {stats:?}");
        seen
    };
    let ways = passed(&seen);
    let sum = with_port(&ways, to.port(), To::In);
    assert_eq!((sum.packets, sum.payload_bytes, sum.frame_bytes), (3600, 360_000, 3600 * 142), "{sum:?}");
    assert!(with_port(&ways, port, To::In).payload_bytes >= 5_000_000);
    before.is_told(&world.node, &ways);
}

#[test]
fn a_full_table_costs_frames_and_loses_nothing() {
    if !may_run("a_full_table_costs_frames_and_loses_nothing") {
        return;
    }
    let world = World::new();
    let sink_socket = world.node.enter(|| UdpSocket::bind((NODE, 0)).unwrap());
    let to = sink_socket.local_addr().unwrap();
    let settings = Settings { table_entries: 16, ..Settings::default() };
    let (capture, inputs) = watch(&world.node, &settings, 65_536);
    scatter(&world, to, 40, 20);
    wait_until("all have passed", || capture.stats().packets >= 800);
    let stats = capture.stats();
    assert!(stats.table_full >= 24 * 20, "{stats:?}");
    let seen = finish(capture, &inputs, Vec::new());
    let ways = passed(&seen);
    let sum = with_port(&ways, to.port(), To::In);
    assert_eq!((sum.packets, sum.frame_bytes), (800, 800 * 142), "{sum:?}");
}

#[test]
fn levels_leave_out_more_and_more_and_say_so() {
    if !may_run("levels_leave_out_more_and_more_and_say_so") {
        return;
    }
    let world = World::new();
    // The sample goes by the end with the greater port, which is to be the client.
    let sink_socket = world.node.enter(|| UdpSocket::bind((NODE, 7009)).unwrap());
    let to = sink_socket.local_addr().unwrap();
    let (capture, inputs) = watch(&world.node, &Settings::default(), 65_536);
    capture.set_detail(Detail::Sampled);
    scatter(&world, to, 200, 10);
    wait_until("all have passed", || capture.stats().packets >= 2000);
    let sampled = capture.stats().untracked;
    assert!((1700..1990).contains(&sampled), "fifteen of sixteen or so: {sampled}");
    assert_eq!(sampled % 10, 0, "whole connections");
    capture.set_detail(Detail::CountersOnly);
    scatter(&world, to, 1, 10);
    wait_until("all are added up", || capture.stats().untracked >= sampled + 10);
    let sums: u64 = capture
        .untracked()
        .iter()
        .filter(|(_, direction, _)| *direction == Direction::Inbound)
        .map(|(_, _, sum)| sum.packets)
        .sum();
    assert!(sums >= sampled + 10, "{sums}");
    let seen = finish(capture, &inputs, Vec::new());
    let sum = with_port(&passed(&seen), to.port(), To::In);
    assert_eq!(sum.packets, 2000 - sampled);
}

/// The handle of weir's filters.
const FILTER: &str = "handle 0x7e12";

/// Filters at a device of a namespace.
fn filters_at(namespace: &Namespace, device: &str) -> String {
    let output = Command::new("ip")
        .args(["netns", "exec", &namespace.0, "tc", "filter", "show", "dev", device, "ingress"])
        .output()
        .unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn where_tcx_is_not_there_filters_do_the_same_and_are_taken_off() {
    if !may_run("where_tcx_is_not_there_filters_do_the_same_and_are_taken_off") {
        return;
    }
    let world = World::new();
    let settings = Settings { hook: Hook::Clsact, ..Settings::default() };
    let (first, _) = watch(&world.node, &settings, 1024);
    assert!(filters_at(&world.node, "veth-pod").contains(FILTER), "{}", filters_at(&world.node, "veth-pod"));
    // A second daemon finds what the first one left, as if that one had been killed.
    let (capture, inputs) = watch(&world.node, &settings, 1024);
    assert_eq!(filters_at(&world.node, "veth-pod").matches(FILTER).count(), 1);
    let (server, echoing) = world.echo(100);
    world.call(server, 100);
    echoing.join().unwrap();
    let seen = finish(capture, &inputs, Vec::new());
    let ways = passed(&seen);
    assert_eq!(with_port(&ways, server.port(), To::In).packets, 100);
    assert_eq!(with_port(&ways, server.port(), To::Out).packets, 100);
    assert_eq!(first.stop(DEADLINE), Ok(()));
    assert!(!filters_at(&world.node, "veth-pod").contains(FILTER), "{}", filters_at(&world.node, "veth-pod"));
}

#[test]
fn a_device_with_the_discipline_for_what_comes_in_alone_is_refused() {
    if !may_run("a_device_with_the_discipline_for_what_comes_in_alone_is_refused") {
        return;
    }
    let world = World::new();
    world.node.run("tc qdisc add dev veth-pod ingress");
    let settings = Settings { hook: Hook::Clsact, ..Settings::default() };
    let refused = world.node.enter(|| ebpf::start(&settings, Box::new(|_| true)).unwrap_err().to_string());
    assert!(refused.contains("veth-pod") && refused.contains("`ingress`"), "{refused}");
    assert!(filters_at(&world.node, "veth-pod").is_empty(), "nothing hangs there");
}
