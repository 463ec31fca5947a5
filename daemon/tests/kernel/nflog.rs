//! NFLOG groups of a real kernel.

use std::net::UdpSocket;
use std::sync::mpsc::{Receiver, sync_channel};

use weir_daemon::capture::{Input, sink};
use weir_daemon::nflog::{self, NflogError, Reader, Settings};
use weir_daemon::testimony::{LoggedPacket, Testimony};

use crate::namespace::{DEADLINE, NODE, Namespace, POD, World, may_run, read_until, wait_until};

fn listen_in(namespace: &Namespace, groups: &[u16]) -> Result<(Reader, Receiver<Input>), NflogError> {
    let (sender, inputs) = sync_channel(1024);
    let settings = Settings { groups: groups.to_vec(), ..Settings::default() };
    let reader = namespace.enter(|| nflog::start(&settings, sink(sender)))?;
    Ok((reader, inputs))
}

/// The node stops datagrams to this port and logs them in this group.
fn stop_port(world: &World, port: u16, group: u16, prefix: &str) {
    for target in [format!("NFLOG --nflog-group {group} --nflog-prefix {prefix}"), "DROP".to_owned()] {
        world.node.run(&format!("iptables -A INPUT -p udp --dport {port} -j {target}"));
    }
}

fn knock(world: &World, port: u16, text: &str) {
    world.pod.enter(|| {
        UdpSocket::bind((POD, 0)).unwrap().send_to(text.as_bytes(), (NODE, port)).unwrap();
    });
}

fn logged(inputs: &[Input]) -> Vec<&LoggedPacket> {
    inputs
        .iter()
        .filter_map(|input| match input {
            Input::Testimony(Testimony::Logged(packet)) => Some(packet),
            _ => None,
        })
        .collect()
}

#[test]
fn a_stopped_packet_names_its_rule() {
    if !may_run("a_stopped_packet_names_its_rule") {
        return;
    }
    let world = World::new();
    stop_port(&world, 7001, 11, "deny:default/peer-deny");
    stop_port(&world, 7002, 12, "deny:other");
    let (reader, inputs) = listen_in(&world.node, &[11, 12]).unwrap();
    knock(&world, 7001, "to the first");
    knock(&world, 7002, "to the second");
    knock(&world, 7001, &"long".repeat(100));
    let mut seen = Vec::new();
    read_until(&inputs, &mut seen, "three packets", |seen| logged(seen).len() >= 3);
    let packets = logged(&seen);
    let of_first: Vec<_> = packets.iter().filter(|packet| packet.group == 11).collect();
    assert_eq!(of_first.len(), 2);
    assert_eq!(&*of_first[0].prefix, "deny:default/peer-deny");
    assert!(of_first[0].packet.starts_with(&[0x45]) && of_first[0].packet.ends_with(b"to the first"));
    assert_eq!(of_first[1].packet.len(), 128, "cut");
    assert_ne!(of_first[0].in_ifindex, 0);
    assert_eq!(of_first[0].out_ifindex, 0);
    assert!(packets.iter().any(|packet| &*packet.prefix == "deny:other" && packet.group == 12));
    wait_until("three are counted", || reader.stats().packets == 3);
    let stats = reader.stats();
    assert_eq!((stats.lost, stats.overruns, stats.queue_full, stats.unreadable), (0, 0, 0, 0));
    assert_eq!(reader.stop(DEADLINE), Ok(()));
}

#[test]
fn a_group_of_another_is_left_to_it_and_the_others_go_on() {
    if !may_run("a_group_of_another_is_left_to_it_and_the_others_go_on") {
        return;
    }
    let world = World::new();
    stop_port(&world, 7001, 11, "first");
    stop_port(&world, 7002, 12, "second");
    let (owner, _theirs) = listen_in(&world.node, &[11]).unwrap();
    let Err(error) = listen_in(&world.node, &[11]) else { panic!("two listeners of one group") };
    assert!(matches!(error, NflogError::Busy { group: 11 }), "{error}");

    let (reader, inputs) = listen_in(&world.node, &[11, 12]).unwrap();
    let notices = reader.notices();
    assert_eq!(notices.len(), 1);
    assert!(notices[0].contains("listens to group 11"), "{notices:?}");
    knock(&world, 7001, "theirs");
    knock(&world, 7002, "ours");
    let mut seen = Vec::new();
    read_until(&inputs, &mut seen, "our packet", |seen| !logged(seen).is_empty());
    assert_eq!(&*logged(&seen)[0].prefix, "second");
    assert_eq!((reader.stop(DEADLINE), owner.stop(DEADLINE)), (Ok(()), Ok(())));
    // The kernel frees the group some time after its listener's socket is closed.
    wait_until("the group is free again", || {
        listen_in(&world.node, &[11]).is_ok_and(|(again, _inputs)| again.stop(DEADLINE).is_ok())
    });
}

#[test]
fn packets_that_the_kernel_could_not_deliver_are_counted() {
    if !may_run("packets_that_the_kernel_could_not_deliver_are_counted") {
        return;
    }
    let world = World::new();
    stop_port(&world, 7001, 11, "flood");
    let (sender, inputs) = sync_channel(4096);
    let (open_gate, gate) = sync_channel::<()>(1);
    let mut pass = false;
    let mut forward = sink(sender);
    let gated = Box::new(move |input| {
        if !pass {
            pass = gate.recv().is_ok();
        }
        forward(input)
    });
    let settings = Settings { groups: vec![11], receive_buffer: 4096, ..Settings::default() };
    let reader = world.node.enter(|| nflog::start(&settings, gated).unwrap());
    world.pod.enter(|| {
        let socket = UdpSocket::bind((POD, 0)).unwrap();
        for _ in 0..1000 {
            socket.send_to(&[7; 100], (NODE, 7001)).unwrap();
        }
    });
    open_gate.send(()).unwrap();
    // The next numbered packet shows the gap.
    let mut seen = Vec::new();
    read_until(&inputs, &mut seen, "a packet after the gap", |_| {
        knock(&world, 7001, "after");
        reader.stats().lost > 0
    });
    let stats = reader.stats();
    assert!(stats.overruns >= 1 && stats.lost > 0, "{stats:?}");
    assert_eq!(reader.stop(DEADLINE), Ok(()));
}
