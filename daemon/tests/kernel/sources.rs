//! Both live sources on the same traffic: what the one tells frame by frame, the other tells in frames and tallies.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::sync_channel;

use pcap::Capture;
use socket2::{Domain, Protocol, Socket, Type};
use weir_daemon::capture::ebpf::Settings;
use weir_daemon::capture::{Input, live, sink};
use weir_daemon::decode::{self, Fragment};

use crate::ebpf::{finish, watch};
use crate::namespace::{DEADLINE, NODE, Namespace, POD, World, call, echo, may_run, wait_until};
use crate::passed::{Passed, Ways, passed};

/// What both are compared by: how many frames it took is their own matter, and neighbours speak before both listen.
fn sums(ways: Ways) -> Vec<(String, Passed)> {
    ways.into_iter()
        .filter(|((tuple, ..), _)| !tuple.destination.ip().is_multicast())
        .map(|((tuple, _, to), sum)| {
            (format!("{tuple} {to:?}"), Passed { frames: 0, wire_packets: 0, ..sum })
        })
        .collect()
}

/// Tags and pieces of the frames that were handed up.
fn oddities(inputs: &[Input]) -> (BTreeSet<Vec<u16>>, usize) {
    let (mut tags, mut pieces) = (BTreeSet::new(), 0);
    for input in inputs {
        let Input::Frames(batch) = input else { continue };
        for frame in batch.frames() {
            if let Ok(packet) = decode::decode(&frame, &decode::Settings::default()) {
                tags.insert(packet.vlans.ids().to_vec());
                pieces += usize::from(packet.fragment != Fragment::Whole);
            }
        }
    }
    (tags, pieces)
}

fn with_ipv6(namespace: &Namespace, device: &str, address: &str) {
    namespace.enter(|| {
        for scope in ["all", "default", device] {
            std::fs::write(format!("/proc/sys/net/ipv6/conf/{scope}/disable_ipv6"), "0").unwrap();
        }
    });
    namespace.run(&format!("ip addr add {address}/64 dev {device} nodad"));
}

/// A frame with a tag, as a device without knowledge of tags sends it: UDP from the pod to the node.
fn tagged(namespace: &Namespace, count: usize) {
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x81, 0x00, 0x00, 0x07, 0x08, 0x00];
    frame.extend([0x45, 0, 0, 60, 0, 1, 0, 0, 64, 17, 0, 0]);
    frame.extend(POD.octets());
    frame.extend(NODE.octets());
    frame.extend([0x10, 0x00, 0x20, 0x00, 0, 40, 0, 0]);
    frame.extend([5; 32]);
    namespace.enter(|| {
        let mut raw = Capture::from_device("eth0").unwrap().open().unwrap();
        for _ in 0..count {
            raw.sendpacket(&*frame).unwrap();
        }
    });
}

/// Echo requests, each after the answer to the one before. The kernel fills in identifier and checksum.
fn ping(namespace: &Namespace, to: IpAddr, count: u8) {
    namespace.enter(|| {
        std::fs::write("/proc/sys/net/ipv4/ping_group_range", "0 0").unwrap();
        let (domain, protocol, request) = match to {
            IpAddr::V4(_) => (Domain::IPV4, Protocol::ICMPV4, 8),
            IpAddr::V6(_) => (Domain::IPV6, Protocol::ICMPV6, 128),
        };
        let mut socket = Socket::new(domain, Type::DGRAM, Some(protocol)).unwrap();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        socket.connect(&SocketAddr::new(to, 0).into()).unwrap();
        for number in 0..count {
            socket.send(&[request, 0, 0, 0, 0, 0, 0, number, 1, 2, 3, 4]).unwrap();
            assert!(socket.read(&mut [0; 64]).unwrap() > 0);
        }
    });
}

/// Packets in this traffic, at the least: neighbours ask for each other, and errors are sent as the kernel likes.
const PACKETS: u64 = 600 + 20 * 4 + 30 + 200 + 120 + 50;

/// Datagrams, datagrams in pieces, pings, tagged frames, and calls to a port that nobody listens to.
fn traffic(world: &World) {
    let (server, echoing) = world.echo(300);
    world.call(server, 300);
    echoing.join().unwrap();
    let big = world.node.enter(|| UdpSocket::bind((NODE, 0)).unwrap());
    let to = big.local_addr().unwrap();
    world.pod.enter(|| {
        let socket = UdpSocket::bind((POD, 0)).unwrap();
        for _ in 0..20 {
            socket.send_to(&[1; 5000], to).unwrap();
        }
        let unwanted = UdpSocket::bind((POD, 0)).unwrap();
        for _ in 0..30 {
            let _ = unwanted.send_to(b"anybody?", (NODE, 9));
        }
    });
    let six = world.node.enter(|| UdpSocket::bind("[fd00::1]:0").unwrap());
    let to = six.local_addr().unwrap();
    let echoing = echo(six, 100);
    world.pod.enter(|| call(&UdpSocket::bind("[fd00::2]:0").unwrap(), to, 100));
    echoing.join().unwrap();
    ping(&world.pod, NODE.into(), 30);
    ping(&world.pod, "fd00::1".parse().unwrap(), 30);
    tagged(&world.pod, 50);
}

#[test]
fn both_sources_tell_the_same_sums() {
    if !may_run("both_sources_tell_the_same_sums") {
        return;
    }
    let world = World::new();
    with_ipv6(&world.node, "veth-pod", "fd00::1");
    with_ipv6(&world.pod, "eth0", "fd00::2");
    let (sender, by_frame) = sync_channel(4096);
    let every_frame = world.node.enter(|| live::start(live::Settings::default(), sink(sender)).unwrap());
    let (capture, inputs) = watch(&world.node, &Settings::default(), 4096);
    traffic(&world);
    wait_until("both have seen as much", || {
        capture.stats().packets >= PACKETS && every_frame.stats().frames >= capture.stats().packets
    });
    let told = finish(capture, &inputs, Vec::new());
    assert_eq!(every_frame.stop(DEADLINE), Ok(()));
    let frames: Vec<Input> = by_frame.try_iter().collect();
    assert_eq!(sums(passed(&told)), sums(passed(&frames)));
    assert_eq!(oddities(&told), oddities(&frames));
    let (tags, pieces) = oddities(&told);
    assert!(tags.contains(&vec![7]) && pieces >= 80, "{tags:?} {pieces}");
}

/// A program behind a device without link headers: what it is given is a packet on its way in.
struct Tun(Child);

impl Tun {
    fn new(node: &Namespace) -> Self {
        let address = "TUN:10.88.0.1/24,tun-name=tun0,tun-type=tun,iff-no-pi,iff-up";
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &node.0, "socat", "-b", "2000", "-", address]);
        Self(command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap())
    }

    fn receives(&mut self, packet: &[u8]) {
        self.0.stdin.as_mut().unwrap().write_all(packet).unwrap();
    }
}

impl Drop for Tun {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn packets_without_a_link_header_are_packets_too() {
    if !may_run("packets_without_a_link_header_are_packets_too") {
        return;
    }
    let node = Namespace::new();
    let mut tun = Tun::new(&node);
    let (sender, by_frame) = sync_channel(4096);
    let every_frame = node.enter(|| live::start(live::Settings::default(), sink(sender)).unwrap());
    let (capture, inputs) = watch(&node, &Settings::default(), 4096);
    wait_until("both see the device", || capture.stats().devices == 1 && every_frame.stats().devices == 1);
    let socket = node.enter(|| UdpSocket::bind("10.88.0.1:4000").unwrap());
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    let mut packet = vec![0x45, 0, 0, 60, 0, 1, 0, 0, 64, 17, 0x65, 0xfe, 10, 88, 0, 2, 10, 88, 0, 1];
    packet.extend([0x00, 0x07, 0x0f, 0xa0, 0, 40, 0, 0]);
    packet.extend([3; 32]);
    for _ in 0..40 {
        tun.receives(&packet);
        let (length, from) = socket.recv_from(&mut [0; 64]).unwrap();
        socket.send_to(&vec![4; length], from).unwrap();
    }
    wait_until("both have seen all", || capture.stats().packets >= 80 && every_frame.stats().frames >= 80);
    let told = finish(capture, &inputs, Vec::new());
    assert_eq!(every_frame.stop(DEADLINE), Ok(()));
    let frames: Vec<Input> = by_frame.try_iter().collect();
    let (told, frames) = (sums(passed(&told)), sums(passed(&frames)));
    assert_eq!(told, frames);
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told.iter().all(|(_, sum)| (sum.packets, sum.frame_bytes) == (40, 2400)), "{told:?}");
}
