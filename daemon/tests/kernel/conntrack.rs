//! Conntrack entries from a real kernel.

use std::net::{SocketAddr, UdpSocket};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use weir_daemon::capture::{Input, Sink, sink};
use weir_daemon::conntrack::{self, Reader, Settings, table};
use weir_daemon::testimony::{ConntrackEntry, Testimony};

use crate::namespace::{
    DEADLINE, NODE, Namespace, POD, World, call, command, echo, may_run, read_until, wait_until,
};

/// The address that the node translates to its own.
const SERVICE: &str = "10.96.0.1:80";

/// A world whose node does DNAT for the Service to port 8080.
fn world_with_service() -> World {
    let world = World::new();
    world
        .node
        .run("iptables -t nat -A PREROUTING -p udp -d 10.96.0.1 --dport 80 -j DNAT --to 10.77.0.1:8080");
    world
}

fn serve(world: &World, count: usize) -> std::thread::JoinHandle<()> {
    echo(world.node.enter(|| UdpSocket::bind((NODE, 8080)).unwrap()), count)
}

/// One call to the Service from a port of the pod.
fn call_service(world: &World, port: u16) {
    let service: SocketAddr = SERVICE.parse().unwrap();
    world.pod.enter(|| call(&UdpSocket::bind((POD, port)).unwrap(), service, 1));
}

fn listen_in(world: &World, settings: Settings, sink: Sink) -> Reader {
    world.node.enter(|| conntrack::start(settings, sink).unwrap())
}

fn tracked(inputs: &[Input], port: u16) -> Vec<&ConntrackEntry> {
    let client = SocketAddr::from((POD, port));
    inputs
        .iter()
        .filter_map(|input| match input {
            Input::Testimony(Testimony::Tracked(entry)) if entry.original.source == client => Some(entry),
            _ => None,
        })
        .collect()
}

fn untracked(inputs: &[Input], port: u16) -> bool {
    let client = SocketAddr::from((POD, port));
    inputs.iter().any(|input| {
        matches!(input, Input::Testimony(Testimony::Untracked(entry)) if entry.original.source == client)
    })
}

#[test]
fn an_entry_is_known_by_the_dump_by_its_events_and_by_its_end() {
    if !may_run("an_entry_is_known_by_the_dump_by_its_events_and_by_its_end") {
        return;
    }
    let world = world_with_service();
    let serving = serve(&world, 2);
    call_service(&world, 4001);
    let (sender, inputs): (_, Receiver<Input>) = sync_channel(1024);
    let reader = listen_in(&world, Settings::default(), sink(sender));
    call_service(&world, 4002);
    let mut seen = Vec::new();
    read_until(&inputs, &mut seen, "the old entry and the new", |seen| {
        !tracked(seen, 4001).is_empty() && !tracked(seen, 4002).is_empty()
    });
    for port in [4001, 4002] {
        let entry = tracked(&seen, port)[0];
        assert_eq!(entry.original.destination, SERVICE.parse().unwrap());
        assert_eq!(entry.as_backend_sees().source, SocketAddr::from((POD, port)));
        assert_eq!(entry.as_backend_sees().destination, SocketAddr::from((NODE, 8080)));
    }
    command(&format!("ip netns exec {} conntrack -D -p udp --sport 4002", world.node.0));
    read_until(&inputs, &mut seen, "its end", |seen| untracked(seen, 4002));
    wait_until("all is counted", || {
        let stats = reader.stats();
        stats.dumps >= 1 && stats.dumped >= 1 && stats.events >= 2
    });
    let stats = reader.stats();
    assert_eq!((stats.overruns, stats.queue_full, stats.unreadable), (0, 0, 0));
    assert_eq!(reader.notices(), [""; 0]);
    assert_eq!(reader.stop(DEADLINE), Ok(()));
    serving.join().unwrap();
}

#[test]
fn the_table_is_read_again_now_and_then() {
    if !may_run("the_table_is_read_again_now_and_then") {
        return;
    }
    let world = world_with_service();
    let serving = serve(&world, 1);
    call_service(&world, 4001);
    let (sender, inputs) = sync_channel(1024);
    let settings = Settings { redump: Duration::from_millis(50), ..Settings::default() };
    let reader = listen_in(&world, settings, sink(sender));
    let mut seen = Vec::new();
    read_until(&inputs, &mut seen, "three dumps", |seen| tracked(seen, 4001).len() >= 3);
    assert!(reader.stats().dumps >= 2);
    assert_eq!(reader.stop(DEADLINE), Ok(()));
    serving.join().unwrap();
}

#[test]
fn an_overrun_is_counted_and_healed_by_a_dump() {
    if !may_run("an_overrun_is_counted_and_healed_by_a_dump") {
        return;
    }
    const CALLS: u16 = 300;
    let world = world_with_service();
    let serving = serve(&world, usize::from(CALLS) + 1);
    let (sender, inputs) = sync_channel(16 * usize::from(CALLS));
    let (open_gate, gate) = sync_channel::<()>(1);
    let mut pass = false;
    // The reader hangs in its first hand-over until the gate opens, and the small buffer fills meanwhile.
    let mut forward = sink(sender);
    let gated = Box::new(move |input| {
        if !pass {
            pass = gate.recv().is_ok();
        }
        forward(input)
    });
    let settings = Settings { receive_buffer: 4096, ..Settings::default() };
    let reader = listen_in(&world, settings, gated);
    call_service(&world, 4000);
    for number in 1..=CALLS {
        call_service(&world, 4000 + number);
    }
    open_gate.send(()).unwrap();
    let mut seen = Vec::new();
    read_until(&inputs, &mut seen, "every entry", |seen| {
        (0..=CALLS).all(|number| !tracked(seen, 4000 + number).is_empty())
    });
    let stats = reader.stats();
    assert!(stats.overruns >= 1, "{stats:?}");
    assert!(stats.events < u64::from(CALLS), "events were lost: {stats:?}");
    assert_eq!(reader.stop(DEADLINE), Ok(()));
    serving.join().unwrap();
}

#[test]
fn a_full_queue_is_counted_and_healed_by_a_dump() {
    if !may_run("a_full_queue_is_counted_and_healed_by_a_dump") {
        return;
    }
    let world = world_with_service();
    let serving = serve(&world, 5);
    let (sender, inputs) = sync_channel(1);
    let reader = listen_in(&world, Settings::default(), sink(sender));
    for port in 4001..=4005 {
        call_service(&world, port);
    }
    wait_until("some were dropped", || reader.stats().queue_full >= 4);
    let mut seen = Vec::new();
    read_until(&inputs, &mut seen, "every entry after all", |seen| {
        (4001..=4005).all(|port| !tracked(seen, port).is_empty())
    });
    assert_eq!(reader.stop(DEADLINE), Ok(()));
    serving.join().unwrap();
}

#[test]
fn how_full_the_table_is_is_read_in_its_own_namespace() {
    if !may_run("how_full_the_table_is_is_read_in_its_own_namespace") {
        return;
    }
    let read = || table::read(|path| std::fs::read_to_string(path)).unwrap();
    let world = world_with_service();
    let serving = serve(&world, 2);
    call_service(&world, 4001);
    call_service(&world, 4002);
    let (node, other) = (world.node.enter(read), Namespace::new().enter(read));
    assert!(node.entries >= 2 && node.max >= node.entries, "{node:?}");
    assert_eq!((other.entries, other.max, other.drop), (0, node.max, 0));
    // An answer that nobody asked for begins no connection: it is invalid, and the node counts it.
    world.pod.enter(|| answer_unasked(NODE));
    wait_until("it is counted", || world.node.enter(read).invalid > node.invalid);
    serving.join().unwrap();
}

/// An echo reply without its request.
fn answer_unasked(to: std::net::Ipv4Addr) {
    let socket = rustix::net::socket(
        rustix::net::AddressFamily::INET,
        rustix::net::SocketType::RAW,
        Some(rustix::net::ipproto::ICMP),
    )
    .unwrap();
    let to = SocketAddr::from((to, 0));
    rustix::net::sendto(&socket, &[0, 0, 0xff, 0xff, 0, 0, 0, 0], rustix::net::SendFlags::empty(), &to)
        .unwrap();
}
