//! Live capture on real devices.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};

use weir_cluster::UnixNanos;
use weir_daemon::capture::live::{self, LiveCapture, Settings};
use weir_daemon::capture::{Direction, Input, Interface, InterfaceId, LinkType, Role, sink};

use crate::namespace::{
    DEADLINE, NODE, Namespace, POD, World, call, command, echo, may_run, read_until, wait_until,
};

fn capture_in(namespace: &Namespace, settings: Settings, queue: usize) -> (LiveCapture, Receiver<Input>) {
    let (sender, inputs) = sync_channel(queue);
    (namespace.enter(|| live::start(settings, sink(sender)).unwrap()), inputs)
}

fn only(filter: &str) -> Settings {
    Settings { filter: Some(filter.to_owned()), ..Settings::default() }
}

/// What the tests compare of a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    at: UnixNanos,
    interface: InterfaceId,
    direction: Direction,
    link: LinkType,
    original_len: u32,
    bytes: Vec<u8>,
}

fn frames(inputs: &[Input]) -> Vec<Seen> {
    let mut all = Vec::new();
    for input in inputs {
        if let Input::Frames(batch) = input {
            all.extend(batch.frames().map(|frame| Seen {
                at: frame.at,
                interface: frame.interface,
                direction: frame.direction,
                link: frame.link,
                original_len: frame.original_len,
                bytes: frame.bytes.to_vec(),
            }));
        }
    }
    all
}

fn named<'a>(inputs: &'a [Input], name: &str) -> Vec<(InterfaceId, &'a Interface)> {
    inputs
        .iter()
        .filter_map(|input| match input {
            Input::Interface(id, interface) if &*interface.name == name => Some((*id, interface)),
            _ => None,
        })
        .collect()
}

#[test]
fn calls_are_seen_once_each_way_in_their_order() {
    if !may_run("calls_are_seen_once_each_way_in_their_order") {
        return;
    }
    let world = World::new();
    let (server, echoing) = world.echo(50);
    let (capture, inputs) = capture_in(&world.node, only("udp"), 1024);
    world.call(server, 50);
    assert!(capture.is_running());
    let mut seen = Vec::new();
    read_until(&inputs, &mut seen, "100 frames", |seen| frames(seen).len() >= 100);
    assert_eq!(capture.stop(DEADLINE), Ok(()));
    seen.extend(inputs.try_iter());
    echoing.join().unwrap();

    let announced = named(&seen, "veth-pod");
    let [(id, interface)] = announced[..] else { panic!("announced once: {announced:?}") };
    assert_eq!((interface.role, interface.index), (Role::PodVeth, id.0));
    let frames = frames(&seen);
    assert_eq!(frames.len(), 100);
    assert!(frames.is_sorted_by_key(|frame| frame.at));
    for (number, pair) in frames.chunks(2).enumerate() {
        let text = format!("datagram {number}");
        let ways: Vec<Direction> = pair.iter().map(|frame| frame.direction).collect();
        assert_eq!(ways, [Direction::Inbound, Direction::Outbound], "call {number}");
        for frame in pair {
            assert!(frame.bytes.ends_with(text.as_bytes()), "call {number}");
            assert_eq!((frame.interface, frame.link), (id, LinkType::ETHERNET));
            assert_eq!(frame.original_len as usize, frame.bytes.len());
        }
    }
}

#[test]
fn a_handshake_begins_at_the_client_and_long_frames_are_cut() {
    if !may_run("a_handshake_begins_at_the_client_and_long_frames_are_cut") {
        return;
    }
    let world = World::new();
    let listener = world.node.enter(|| TcpListener::bind((NODE, 0)).unwrap());
    let server = listener.local_addr().unwrap();
    let settings = Settings { snap_len: 128, ..only("tcp") };
    let (capture, inputs) = capture_in(&world.node, settings, 1024);
    let serving = std::thread::spawn(move || {
        let mut stream = listener.accept().unwrap().0;
        let mut request = [0; 5];
        stream.read_exact(&mut request).unwrap();
        stream.write_all(&vec![7; 20_000]).unwrap();
    });
    world.pod.enter(|| {
        let mut stream = TcpStream::connect(server).unwrap();
        stream.write_all(b"hello").unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        assert_eq!(answer.len(), 20_000);
    });
    serving.join().unwrap();
    assert_eq!(capture.stop(DEADLINE), Ok(()));
    let seen: Vec<Input> = inputs.try_iter().collect();
    let frames = frames(&seen);
    // Flags of TCP behind Ethernet and an IPv4 header without options.
    let begin: Vec<(Direction, u8)> =
        frames.iter().take(3).map(|frame| (frame.direction, frame.bytes[14 + 20 + 13] & 0x12)).collect();
    assert_eq!(begin, [(Direction::Inbound, 0x02), (Direction::Outbound, 0x12), (Direction::Inbound, 0x10)]);
    let longest = frames.iter().map(|frame| frame.original_len).max().unwrap();
    assert!(longest > 1000);
    assert!(frames.iter().all(|frame| frame.bytes.len() <= 128));
}

#[test]
fn a_tunnel_shows_both_ways_on_its_own_device_and_on_the_underlay() {
    if !may_run("a_tunnel_shows_both_ways_on_its_own_device_and_on_the_underlay") {
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
    let (capture, inputs) = capture_in(&one, only("udp"), 1024);
    let server = two.enter(|| UdpSocket::bind("10.244.0.2:0").unwrap());
    let address = server.local_addr().unwrap();
    let echoing = echo(server, 20);
    one.enter(|| call(&UdpSocket::bind("10.244.0.1:0").unwrap(), address, 20));
    echoing.join().unwrap();
    assert_eq!(capture.stop(DEADLINE), Ok(()));

    let seen: Vec<Input> = inputs.try_iter().collect();
    let (overlay, underlay) = (named(&seen, "flannel.1")[0], named(&seen, "eth0")[0]);
    assert_eq!((overlay.1.role, underlay.1.role), (Role::Overlay, Role::Underlay));
    let with_datagram: Vec<Seen> = frames(&seen)
        .into_iter()
        .filter(|frame| frame.bytes.windows(9).any(|bytes| bytes == b"datagram "))
        .collect();
    for device in [overlay.0, underlay.0] {
        for way in [Direction::Inbound, Direction::Outbound] {
            let count = with_datagram
                .iter()
                .filter(|frame| frame.interface == device && frame.direction == way)
                .count();
            assert_eq!(count, 20, "{device:?} {way:?}");
        }
    }
}

#[test]
fn devices_come_and_go() {
    if !may_run("devices_come_and_go") {
        return;
    }
    let world = World::new();
    let (capture, inputs) = capture_in(&world.node, only("udp"), 1024);
    wait_until("veth-pod is captured on", || capture.stats().devices == 1);
    command(&format!("ip -n {} link del veth-pod", world.node.0));
    wait_until("veth-pod is closed", || capture.stats().devices == 0);
    world.plug("veth-pod");
    wait_until("the new veth-pod is captured on", || capture.stats().devices == 1);
    let (server, echoing) = world.echo(1);
    world.call(server, 1);
    // Deleted at once: its last frames are read all the same.
    command(&format!("ip -n {} link del veth-pod", world.node.0));
    echoing.join().unwrap();

    let mut seen = Vec::new();
    read_until(&inputs, &mut seen, "both frames", |seen| frames(seen).len() >= 2);
    let ids: Vec<InterfaceId> = named(&seen, "veth-pod").into_iter().map(|(id, _)| id).collect();
    assert_eq!(ids.len(), 2, "the device that came back is a new one: {seen:?}");
    assert_ne!(ids[0], ids[1]);
    assert!(frames(&seen).iter().all(|frame| frame.interface == ids[1]));
    wait_until("nothing is captured on", || capture.stats().devices == 0);
    assert_eq!(capture.notices(), [""; 0], "a device that goes makes no noise");
    assert_eq!(capture.stop(DEADLINE), Ok(()));
}

#[test]
fn a_device_set_down_and_up_is_captured_again() {
    if !may_run("a_device_set_down_and_up_is_captured_again") {
        return;
    }
    let world = World::new();
    let (capture, inputs) = capture_in(&world.node, only("udp"), 1024);
    world.node.run("ip link set veth-pod down");
    world.node.run("ip link set veth-pod up");
    let (server, echoing) = world.echo(usize::MAX);
    let mut seen = Vec::new();
    for _ in 0..200 {
        world.call(server, 1);
        seen.extend(inputs.recv_timeout(std::time::Duration::from_millis(50)));
        if !frames(&seen).is_empty() {
            break;
        }
    }
    assert!(!frames(&seen).is_empty(), "no frame since");
    assert_eq!(capture.notices(), [""; 0]);
    assert_eq!(capture.stop(DEADLINE), Ok(()));
    drop(world);
    drop(echoing);
}

#[test]
fn what_a_full_queue_drops_is_counted_to_the_unit() {
    if !may_run("what_a_full_queue_drops_is_counted_to_the_unit") {
        return;
    }
    let world = World::new();
    let (server, echoing) = world.echo(400);
    // Room for the announcement and one batch.
    let (capture, inputs) = capture_in(&world.node, only("udp"), 2);
    for _ in 0..8 {
        world.call(server, 50);
        let before = capture.stats();
        wait_until("a batch was handed over or dropped", || capture.stats() != before);
    }
    echoing.join().unwrap();
    wait_until("every frame is accounted for", || {
        let stats = capture.stats();
        stats.frames + stats.queue_dropped == 800
    });
    let mut seen = Vec::new();
    read_until(&inputs, &mut seen, "the loss is told", |seen| {
        seen.iter().any(|input| matches!(input, Input::Lost(_)))
    });
    let stats = capture.stats();
    let told: u64 = seen.iter().map(|input| if let Input::Lost(loss) = input { loss.queue } else { 0 }).sum();
    assert!(told > 0);
    assert_eq!((told, frames(&seen).len() as u64), (stats.queue_dropped, stats.frames));
    assert_eq!(capture.stop(DEADLINE), Ok(()));
}

#[test]
fn frames_wait_in_their_ring_until_their_device_could_be_announced() {
    if !may_run("frames_wait_in_their_ring_until_their_device_could_be_announced") {
        return;
    }
    let world = World::new();
    let (sender, inputs) = sync_channel(64);
    let open = Arc::new(AtomicBool::new(false));
    let (seen_open, mut forward) = (open.clone(), sink(sender));
    let gated = Box::new(move |input| seen_open.load(Ordering::SeqCst) && forward(input));
    let capture = world.node.enter(|| live::start(only("udp"), gated).unwrap());
    let (server, echoing) = world.echo(5);
    world.call(server, 5);
    echoing.join().unwrap();
    open.store(true, Ordering::SeqCst);
    let mut seen = Vec::new();
    read_until(&inputs, &mut seen, "the frames of before", |seen| frames(seen).len() == 10);
    assert!(matches!(seen[0], Input::Interface(..)), "{:?}", seen[0]);
    assert_eq!(capture.stats().queue_dropped, 0);
    assert_eq!(capture.stop(DEADLINE), Ok(()));
}

#[test]
fn what_the_kernel_drops_is_counted_to_the_unit() {
    if !may_run("what_the_kernel_drops_is_counted_to_the_unit") {
        return;
    }
    const SENT: u64 = 4000;
    let world = World::new();
    let server = world.node.enter(|| UdpSocket::bind((NODE, 0)).unwrap());
    let address = server.local_addr().unwrap();
    let (sender, inputs) = sync_channel(1024);
    let (open_gate, gate) = sync_channel::<()>(1);
    let (hangs, hanging) = sync_channel::<()>(1);
    let (mut pass, mut forward) = (false, sink(sender));
    // The thread hangs at its first frame until the gate opens, and the small ring fills meanwhile.
    let gated = Box::new(move |input| {
        if matches!(input, Input::Frames(_)) && !pass {
            hangs.send(()).unwrap();
            pass = gate.recv().is_ok();
        }
        forward(input)
    });
    let settings = Settings { buffer_budget: 1 << 20, ..only("udp") };
    let capture = world.node.enter(|| live::start(settings, gated).unwrap());
    let socket = world.pod.enter(|| UdpSocket::bind((POD, 0)).unwrap());
    socket.send_to(&[7; 600], address).unwrap();
    hanging.recv_timeout(DEADLINE).expect("the first frame reaches the gate");
    for _ in 1..SENT {
        socket.send_to(&[7; 600], address).unwrap();
    }
    open_gate.send(()).unwrap();
    let lost = |seen: &[Input]| -> u64 {
        seen.iter().map(|input| if let Input::Lost(loss) = input { loss.kernel } else { 0 }).sum()
    };
    let mut seen = Vec::new();
    read_until(&inputs, &mut seen, "every frame, or that it was lost", |seen| {
        frames(seen).len() as u64 + lost(seen) >= SENT
    });
    assert_eq!(capture.stop(DEADLINE), Ok(()));
    seen.extend(inputs.try_iter());
    assert!(lost(&seen) > 0);
    assert_eq!(frames(&seen).len() as u64 + lost(&seen), SENT);
}

#[test]
fn loopback_is_captured_only_when_asked_for_and_once() {
    if !may_run("loopback_is_captured_only_when_asked_for_and_once") {
        return;
    }
    let node = Namespace::new();
    let (without, quiet) = capture_in(&node, only(" "), 64);
    let (with, inputs) = capture_in(&node, Settings { loopback: true, ..only("udp") }, 1024);
    node.enter(|| {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address: SocketAddr = server.local_addr().unwrap();
        let echoing = echo(server, 5);
        call(&UdpSocket::bind("127.0.0.1:0").unwrap(), address, 5);
        echoing.join().unwrap();
    });
    assert_eq!((with.stop(DEADLINE), without.stop(DEADLINE)), (Ok(()), Ok(())));
    let seen: Vec<Input> = inputs.try_iter().collect();
    assert_eq!(named(&seen, "lo")[0].1.role, Role::Loopback);
    assert_eq!(frames(&seen).len(), 10);
    assert_eq!(quiet.try_iter().count(), 0);
}

#[test]
fn a_budget_used_up_is_said_and_the_first_devices_are_kept() {
    if !may_run("a_budget_used_up_is_said_and_the_first_devices_are_kept") {
        return;
    }
    let world = World::new();
    world.node.run("ip link add eth7 type veth peer name eth8");
    world.node.run("ip link set eth7 up");
    world.node.run("ip link set eth8 up");
    let settings = Settings { buffer_budget: 1 << 20, ..only("udp") };
    let (capture, _inputs) = capture_in(&world.node, settings, 64);
    let stats = capture.stats();
    assert_eq!((stats.devices, stats.ring_bytes), (1, 1 << 20));
    let notices = capture.notices();
    assert!(notices.iter().any(|notice| notice.contains("buffer budget of 1048576 bytes")), "{notices:?}");
    assert_eq!(capture.stop(DEADLINE), Ok(()));
}

#[test]
fn a_blank_filter_is_none() {
    if !may_run("a_blank_filter_is_none") {
        return;
    }
    let world = World::new();
    let (capture, inputs) = capture_in(&world.node, only(" "), 1024);
    let (server, echoing) = world.echo(1);
    world.call(server, 1);
    echoing.join().unwrap();
    let mut seen = Vec::new();
    read_until(&inputs, &mut seen, "frames", |seen| frames(seen).len() >= 2);
    assert_eq!(capture.notices(), [""; 0]);
    assert_eq!(capture.stop(DEADLINE), Ok(()));
}
