//! What a real kernel gives up, by rules of both kinds, in the node's namespace and in a pod's.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::path::Path;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};
use weir_daemon::capture::{Input, sink};
use weir_daemon::drops::{self, Reader, Settings, Way};
use weir_daemon::testimony::{Device, DroppedPacket, Owner, Testimony};

use crate::namespace::{DEADLINE, NODE, Namespace, POD, World, may_run, read_until, wait_until};

mod service;

const DENIED: &str = "NETFILTER_DROP";
const CLOSED: &str = "NO_SOCKET";
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 78, 0, 2);
const SERVICE: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 10);

fn see_in(namespace: &Namespace, settings: &Settings) -> (Reader, Receiver<Input>) {
    let (sender, inputs) = sync_channel(65_536);
    (namespace.enter(|| drops::start(settings, sink(sender)).unwrap()), inputs)
}

fn dropped(inputs: &[Input]) -> Vec<&DroppedPacket> {
    inputs
        .iter()
        .filter_map(|input| match input {
            Input::Testimony(Testimony::Dropped(packet)) => Some(packet),
            _ => None,
        })
        .collect()
}

/// Packets counted by reason.
fn counts(reader: &Reader) -> BTreeMap<String, u64> {
    reader.stats().reasons.into_iter().map(|count| (count.reason.to_string(), count.packets)).collect()
}

fn count(reader: &Reader, reason: &str) -> u64 {
    counts(reader).get(reason).copied().unwrap_or(0)
}

fn knock(from: &Namespace, to: (Ipv4Addr, u16)) {
    from.enter(|| {
        // A rule on the way out refuses the call itself.
        let _ = UdpSocket::bind(("0.0.0.0", 0)).unwrap().send_to(b"knock, knock", to);
    });
}

/// A second pod, 10.78.0.2, and a node that forwards to it.
fn server_of(world: &World) -> Namespace {
    let server = Namespace::new();
    let node = &world.node;
    node.run(&format!("ip link add veth-two type veth peer name eth0 netns {}", server.0));
    node.run("ip addr add 10.78.0.1/24 dev veth-two");
    node.run("ip link set veth-two up");
    node.run("sysctl -q -w net.ipv4.ip_forward=1");
    server.run(&format!("ip addr add {SERVER}/24 dev eth0"));
    server.run("ip link set eth0 up");
    server.run("ip route add default via 10.78.0.1");
    server
}

fn drop_by_nft(namespace: &Namespace, hook: &str, port: u16) {
    namespace.run("nft add table inet weir");
    namespace.run(&format!("nft add chain inet weir {hook} {{ type filter hook {hook} priority 0 ; }}"));
    namespace.run(&format!("nft add rule inet weir {hook} udp dport {port} counter drop"));
}

fn drop_by_iptables(namespace: &Namespace, hook: &str, port: u16) {
    namespace.run(&format!("iptables -A {} -p udp --dport {port} -j DROP", hook.to_uppercase()));
}

/// The device's name in its own namespace, and the node's device that leads there.
fn place(dropped: &DroppedPacket) -> (Option<&str>, Option<&str>) {
    let host = match &dropped.site.owner {
        Owner::Node => None,
        Owner::Pod(Device { name, .. }) => Some(&**name),
    };
    (dropped.site.device.as_ref().map(|device| &*device.name), host)
}

fn is_to(dropped: &DroppedPacket, address: Ipv4Addr, port: u16) -> bool {
    dropped.packet.get(16..20) == Some(&address.octets())
        && dropped.packet.get(22..24) == Some(&port.to_be_bytes())
}

#[test]
fn what_rules_drop_names_reason_device_and_packet() {
    if !may_run("what_rules_drop_names_reason_device_and_packet") {
        return;
    }
    for drop_by in [drop_by_nft, drop_by_iptables] {
        let world = World::new();
        let server = server_of(&world);
        drop_by(&world.node, "forward", 7001);
        drop_by(&server, "input", 7002);
        drop_by(&world.pod, "output", 7003);
        drop_by(&world.node, "output", 7004);
        let (reader, inputs) = see_in(&world.node, &Settings::default());
        for port in [7001, 7002, 7003] {
            knock(&world.pod, (SERVER, port));
        }
        knock(&world.node, (SERVER, 7004));
        let mut seen = Vec::new();
        read_until(&inputs, &mut seen, "four packets", |seen| dropped(seen).len() >= 4);
        let packets = dropped(&seen);
        let of = |port| *packets.iter().find(|packet| is_to(packet, SERVER, port)).unwrap();
        assert!(packets.iter().all(|packet| &*packet.reason == DENIED), "{packets:?}");
        assert_eq!(place(of(7001)), (Some("veth-pod"), None));
        assert_eq!(place(of(7002)), (Some("eth0"), Some("veth-two")));
        assert_eq!(place(of(7003)), (Some("eth0"), Some("veth-pod")));
        assert_eq!(place(of(7004)), (Some("veth-two"), None));
        assert!(of(7001).packet.starts_with(&[0x45]) && of(7001).packet.ends_with(b"knock, knock"));
        wait_until("four are counted", || count(&reader, DENIED) == 4);
        assert_eq!(reader.stop(DEADLINE), Ok(()));
    }
}

#[test]
fn an_ipv6_packet_is_told_like_any_other() {
    if !may_run("an_ipv6_packet_is_told_like_any_other") {
        return;
    }
    let (world, pod) = (World::new(), Ipv6Addr::new(0xfd00, 0x78, 0, 0, 0, 0, 0, 2));
    let server = server_of(&world);
    for (namespace, device, last) in [(&world.node, "veth-two", 1), (&server, "eth0", 2)] {
        namespace.run(&format!("sysctl -q -w net.ipv6.conf.{device}.disable_ipv6=0"));
        namespace.run(&format!("ip addr add fd00:78::{last}/64 dev {device} nodad"));
    }
    drop_by_nft(&server, "input", 7002);
    let (reader, inputs) = see_in(&world.node, &Settings::default());
    world.node.enter(|| {
        UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).unwrap().send_to(b"knock, knock", (pod, 7002)).unwrap();
    });
    let mut seen = Vec::new();
    read_until(&inputs, &mut seen, "the packet", |seen| !dropped(seen).is_empty());
    let dropped = dropped(&seen)[0];
    assert_eq!((&*dropped.reason, place(dropped)), (DENIED, (Some("eth0"), Some("veth-two"))));
    // RFC 8200 section 3: the destination's address, and UDP's ports behind the header of 40 bytes.
    assert_eq!(dropped.packet.get(24..40), Some(&pod.octets()[..]));
    assert_eq!(dropped.packet.get(42..44), Some(&7002_u16.to_be_bytes()[..]));
    assert_eq!(reader.stop(DEADLINE), Ok(()));
}

#[test]
fn each_way_to_the_tracepoint_sees_the_same() {
    if !may_run("each_way_to_the_tracepoint_sees_the_same") {
        return;
    }
    let world = World::new();
    drop_by_nft(&world.node, "input", 7001);
    let tracefs = Path::new("/sys/kernel/tracing/events").exists();
    for way in [Way::Types, Way::Raw, Way::Event] {
        let settings = Settings { ways: vec![way], ..Settings::default() };
        if way == Way::Event && !tracefs {
            let refused = world.node.enter(|| drops::start(&settings, Box::new(|_| true)).unwrap_err());
            assert!(refused.to_string().contains("tracefs"), "{refused}");
            continue;
        }
        let (reader, inputs) = see_in(&world.node, &settings);
        knock(&world.pod, (NODE, 7001));
        let mut seen = Vec::new();
        read_until(&inputs, &mut seen, "the packet", |seen| !dropped(seen).is_empty());
        let packet = dropped(&seen)[0];
        assert_eq!((&*packet.reason, place(packet)), (DENIED, (Some("veth-pod"), None)), "{way:?}");
        assert!(is_to(packet, NODE, 7001));
        assert_eq!(reader.stop(DEADLINE), Ok(()));
    }
}

#[test]
fn a_closed_port_and_a_full_socket_are_told_by_their_reasons() {
    if !may_run("a_closed_port_and_a_full_socket_are_told_by_their_reasons") {
        return;
    }
    let world = World::new();
    let (reader, inputs) = see_in(&world.node, &Settings::default());
    knock(&world.node, (POD, 7009));
    let mut seen = Vec::new();
    read_until(&inputs, &mut seen, "a closed port", |seen| {
        dropped(seen).iter().any(|packet| &*packet.reason == CLOSED)
    });
    let closed = dropped(&seen).into_iter().find(|packet| &*packet.reason == CLOSED).unwrap();
    assert_eq!((place(closed), is_to(closed, POD, 7009)), ((Some("eth0"), Some("veth-pod")), true));
    // Nobody reads this one.
    let _deaf = world.pod.enter(|| UdpSocket::bind((POD, 7010)).unwrap());
    read_until(&inputs, &mut seen, "a full socket", |seen| {
        (0..50).for_each(|_| knock(&world.node, (POD, 7010)));
        dropped(seen).iter().any(|packet| &*packet.reason == "SOCKET_RCVBUFF")
    });
    let full = dropped(&seen).into_iter().find(|packet| &*packet.reason == "SOCKET_RCVBUFF").unwrap();
    assert_eq!((place(full), is_to(full, POD, 7010)), ((Some("eth0"), Some("veth-pod")), true));
    assert_eq!(reader.stop(DEADLINE), Ok(()));
}

#[test]
fn another_nodes_drops_on_the_same_kernel_are_not_this_ones() {
    if !may_run("another_nodes_drops_on_the_same_kernel_are_not_this_ones") {
        return;
    }
    let (world, other) = (World::new(), World::new());
    for world in [&world, &other] {
        drop_by_nft(&world.node, "input", 7001);
        drop_by_nft(&world.pod, "input", 7002);
    }
    let (reader, inputs) = see_in(&world.node, &Settings::default());
    for _ in 0..20 {
        knock(&other.pod, (NODE, 7001));
        knock(&other.node, (POD, 7002));
    }
    knock(&world.pod, (NODE, 7001));
    knock(&world.node, (POD, 7002));
    let mut seen = Vec::new();
    read_until(&inputs, &mut seen, "our two", |seen| dropped(seen).len() >= 2);
    wait_until("two are counted", || count(&reader, DENIED) == 2);
    assert_eq!(dropped(&seen).len(), 2);
    assert_eq!(reader.stop(DEADLINE), Ok(()));
}

#[test]
fn what_the_host_of_a_node_in_a_container_drops_is_no_pods() {
    if !may_run("what_the_host_of_a_node_in_a_container_drops_is_no_pods") {
        return;
    }
    let world = World::new();
    let host = Namespace::new();
    world.node.run(&format!("ip link add eth0 type veth peer name veth-node netns {}", host.0));
    world.node.run("ip addr add 10.79.0.2/24 dev eth0");
    let (reader, inputs) = see_in(&world.node, &Settings::default());
    // The card comes up when the reader runs already.
    world.node.run("ip link set eth0 up");
    host.run("ip addr add 10.79.0.1/24 dev veth-node");
    host.run("ip link set veth-node up");
    drop_by_nft(&host, "input", 7001);
    drop_by_nft(&world.pod, "input", 7002);
    for _ in 0..20 {
        knock(&world.node, (Ipv4Addr::new(10, 79, 0, 1), 7001));
    }
    knock(&world.node, (POD, 7002));
    let mut seen = Vec::new();
    read_until(&inputs, &mut seen, "the pod's", |seen| {
        dropped(seen).iter().any(|packet| is_to(packet, POD, 7002))
    });
    assert_eq!(count(&reader, DENIED), 1, "{seen:?}");
    assert_eq!(reader.stop(DEADLINE), Ok(()));
}

#[test]
fn more_devices_than_the_program_can_know_are_no_end_of_it() {
    if !may_run("more_devices_than_the_program_can_know_are_no_end_of_it") {
        return;
    }
    let world = World::new();
    let lines = (0..260).fold(String::new(), |all, number| {
        all + &format!("link add eth{number} type veth peer name other{number}\n")
            + &format!("link add link veth-pod name eno{number} type macvlan\n")
    });
    let batch = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(batch.path(), lines).unwrap();
    world.node.run(&format!("ip -batch {}", batch.path().display()));
    drop_by_nft(&world.pod, "input", 7002);
    let (reader, inputs) = see_in(&world.node, &Settings::default());
    let notices = reader.notices();
    assert!(notices.len() == 1 && notices[0].contains("told as a pod's"), "{notices:?}");
    // One that has no room goes, and one that has.
    world.node.run("ip link del eth259");
    world.node.run("ip link del eth0");
    knock(&world.node, (POD, 7002));
    let mut seen = Vec::new();
    read_until(&inputs, &mut seen, "the pod's", |seen| {
        dropped(seen).iter().any(|packet| is_to(packet, POD, 7002))
    });
    assert_eq!(reader.notices(), [""; 0]);
    assert_eq!(reader.stop(DEADLINE), Ok(()));
}

/// Threads that send to the node from the pod as fast as they can; how many packets were sent.
fn flood(world: &World, port: u16, each: u64) -> u64 {
    thread::scope(|scope| {
        let senders: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    world.pod.enter(|| {
                        let socket = UdpSocket::bind((POD, 0)).unwrap();
                        socket.connect((NODE, port)).unwrap();
                        (0..each).filter(|_| socket.send(&[7; 64]).is_ok()).count() as u64
                    })
                })
            })
            .collect();
        senders.into_iter().map(|sender| sender.join().unwrap()).sum()
    })
}

#[test]
fn of_a_flood_every_packet_is_counted_and_other_reasons_are_still_told() {
    if !may_run("of_a_flood_every_packet_is_counted_and_other_reasons_are_still_told") {
        return;
    }
    let world = World::new();
    drop_by_nft(&world.node, "input", 7001);
    let (reader, inputs) = see_in(&world.node, &Settings::default());
    let begun = Instant::now();
    let sent = thread::scope(|scope| {
        let flooding = scope.spawn(|| flood(&world, 7001, 200_000));
        // What is rare has its own bucket.
        wait_until("the flood has begun", || count(&reader, DENIED) > 2000);
        knock(&world.node, (POD, 7009));
        flooding.join().unwrap()
    });
    let took = begun.elapsed();
    let rate = sent as f64 / took.as_secs_f64();
    println!("a flood of {sent} packets in {took:?}: {rate:.0} a second");
    // What the node's queue had no room for did not come to the rule, and is counted as such.
    assert_eq!(reader.stats().missed, 0, "freed unseen");
    let lost = || ["NETFILTER_DROP", "CPU_BACKLOG"].map(|reason| count(&reader, reason)).iter().sum::<u64>();
    wait_until("all are counted", || lost() >= sent);
    assert_eq!(lost(), sent, "{:?}", counts(&reader));
    let stats = reader.stats();
    let flooded = stats.reasons.iter().find(|count| &*count.reason == DENIED).unwrap();
    let allowed = 1000 + 1000 * (took.as_secs() + 1);
    assert!(flooded.told >= 1000 && flooded.told <= allowed, "{flooded:?}");
    assert_eq!((stats.ring_full, stats.queue_full, stats.unreadable), (0, 0, 0));
    let mut seen = Vec::new();
    read_until(&inputs, &mut seen, "the rare one", |seen| {
        dropped(seen).iter().any(|packet| &*packet.reason == CLOSED)
    });
    assert_eq!(reader.stop(DEADLINE), Ok(()));
    seen.extend(inputs.try_iter());
    let told = dropped(&seen).iter().filter(|packet| &*packet.reason == DENIED).count() as u64;
    assert_eq!(told, flooded.told);
}

#[test]
fn what_a_small_ring_has_no_room_for_is_counted() {
    if !may_run("what_a_small_ring_has_no_room_for_is_counted") {
        return;
    }
    let world = World::new();
    drop_by_nft(&world.node, "input", 7001);
    let (sender, inputs) = sync_channel(65_536);
    let (open_gate, gate) = sync_channel::<()>(1);
    let mut pass = false;
    let mut forward = sink(sender);
    let gated = Box::new(move |input| {
        if !pass {
            pass = gate.recv().is_ok();
        }
        forward(input)
    });
    let settings =
        Settings { per_second: 1_000_000, burst: 1_000_000, ring_bytes: 4096, ..Settings::default() };
    let reader = world.node.enter(|| drops::start(&settings, gated).unwrap());
    let sent = flood(&world, 7001, 500);
    wait_until("all are counted", || count(&reader, DENIED) == sent);
    open_gate.send(()).unwrap();
    let stats = reader.stats();
    let told = stats.reasons.iter().find(|count| &*count.reason == DENIED).unwrap().told;
    assert!(stats.ring_full > 0);
    assert_eq!(told + stats.ring_full, sent);
    let mut seen = Vec::new();
    read_until(&inputs, &mut seen, "those with room", |seen| dropped(seen).len() as u64 >= told);
    assert_eq!(reader.stop(DEADLINE), Ok(()));
}

#[test]
fn where_it_may_not_run_one_sentence_says_why() {
    if !may_run("where_it_may_not_run_one_sentence_says_why") {
        return;
    }
    let world = World::new();
    let sentence = world.node.enter(|| {
        let none = CapabilitySet::empty();
        // Of this thread alone, which ends with the closure.
        set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })
            .unwrap();
        drops::start(&Settings::default(), Box::new(|_| true)).unwrap_err().to_string()
    });
    assert!(sentence.starts_with("kernel drops are not told: "), "{sentence}");
    assert!(sentence.contains("CAP_BPF") && sentence.contains("setcap"), "{sentence}");
    assert!(!sentence.contains('\n'), "{sentence}");
}

/// Stopped or not, nothing stays in the kernel.
#[test]
fn nothing_is_attached_when_it_has_ended() {
    if !may_run("nothing_is_attached_when_it_has_ended") {
        return;
    }
    let world = World::new();
    drop_by_nft(&world.node, "input", 7001);
    let (reader, inputs) = see_in(&world.node, &Settings::default());
    assert_eq!(reader.stop(DEADLINE), Ok(()));
    for _ in 0..10 {
        knock(&world.pod, (NODE, 7001));
    }
    assert!(inputs.recv_timeout(DEADLINE).is_err(), "the sender is gone, and nothing was sent");
}
