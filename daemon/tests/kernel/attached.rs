//! Who else is at a device, and what is left there once weir is gone.

use std::net::UdpSocket;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use aya::maps::Array;
use aya::programs::links::LinkOrder;
use aya::programs::tc::{self, NlOptions, TcAttachOptions};
use aya::programs::{SchedClassifier, TcAttachType};
use aya::{Ebpf, EbpfLoader};
use weir_daemon::capture::ebpf::{Hook, Settings};

use crate::ebpf::{finish, watch};
use crate::namespace::{NODE, Namespace, POD, World, may_run, wait_until};
use crate::passed::{To, passed, with_port};
use crate::programs::compile;

/// The port to which `other.bpf.c` lets nothing through.
const REFUSED: u16 = 7007;

/// Somebody else's program at `veth-pod`, before or behind those that are there.
struct Other(Ebpf);

impl Other {
    fn hang(world: &World, way: TcAttachType, options: TcAttachOptions) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (source, object) = (
            Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kernel/other.bpf.c"),
            folder.path().join("other.o"),
        );
        compile::compile(compile::find_clang().unwrap(), &source, &object).unwrap();
        let mut ebpf = EbpfLoader::new().load(&std::fs::read(object).unwrap()).unwrap();
        world.node.enter(|| {
            let program: &mut SchedClassifier = ebpf.program_mut("other").unwrap().try_into().unwrap();
            program.load().unwrap();
            program.attach_with_options("veth-pod", way, options).unwrap();
        });
        Self(ebpf)
    }

    fn seen(&self) -> u64 {
        Array::<_, u64>::try_from(self.0.map("seen").unwrap()).unwrap().get(&0, 0).unwrap()
    }
}

#[test]
fn other_programs_see_every_packet_and_their_verdict_stands() {
    if !may_run("other_programs_see_every_packet_and_their_verdict_stands") {
        return;
    }
    let world = World::new();
    let before = Other::hang(&world, TcAttachType::Ingress, TcAttachOptions::TcxOrder(LinkOrder::first()));
    let (capture, inputs) = watch(&world.node, &Settings::default(), 1024);
    let behind = Other::hang(&world, TcAttachType::Ingress, TcAttachOptions::TcxOrder(LinkOrder::last()));
    let (server, echoing) = world.echo(60);
    world.call(server, 60);
    echoing.join().unwrap();
    let refused = world.node.enter(|| UdpSocket::bind((NODE, REFUSED)).unwrap());
    world.pod.enter(|| {
        let socket = UdpSocket::bind((POD, 0)).unwrap();
        for _ in 0..40 {
            socket.send_to(b"no", (NODE, REFUSED)).unwrap();
        }
    });
    wait_until("all have passed", || capture.stats().packets >= 60 + 60 + 40);
    refused.set_nonblocking(true).unwrap();
    assert!(refused.recv_from(&mut [0; 8]).is_err(), "what is dropped stays dropped");
    // ARP passes too. What the first one dropped those behind it do not see.
    assert!(before.seen() >= 100 && behind.seen() >= 60, "{} {}", before.seen(), behind.seen());
    assert_eq!(before.seen() - behind.seen(), 40);
    let ways = passed(&finish(capture, &inputs, Vec::new()));
    assert_eq!(with_port(&ways, server.port(), To::In).packets, 60);
    // Weir comes first when it comes: it saw what was dropped behind it.
    assert_eq!(with_port(&ways, REFUSED, To::In).packets, 40);
}

#[test]
fn filters_on_the_way_out_are_told_of() {
    if !may_run("filters_on_the_way_out_are_told_of") {
        return;
    }
    for (hook, expected) in [(Hook::Tcx, "after weir saw it"), (Hook::Clsact, "before weir sees it")] {
        let world = World::new();
        let settings = Settings { hook, ..Settings::default() };
        let (capture, inputs) = watch(&world.node, &settings, 64);
        assert_eq!(capture.notices(), [""; 0], "{hook:?}: nobody else is there");
        finish(capture, &inputs, Vec::new());
        // By clsact it is there already.
        let _ = world.node.enter(|| tc::qdisc_add_clsact("veth-pod"));
        let filter = TcAttachOptions::Netlink(NlOptions::default());
        let _other = Other::hang(&world, TcAttachType::Egress, filter);
        let (capture, inputs) = watch(&world.node, &settings, 64);
        let notices = capture.notices();
        assert!(notices.len() == 1 && notices[0].contains(expected), "{hook:?}: {notices:?}");
        finish(capture, &inputs, Vec::new());
    }
}

/// Programs that tcx has at the device, both ways.
fn programs_at(namespace: &Namespace) -> usize {
    namespace.enter(|| {
        [TcAttachType::Ingress, TcAttachType::Egress]
            .into_iter()
            .map(|way| SchedClassifier::query_tcx("veth-pod", way).unwrap().1.len())
            .sum()
    })
}

#[test]
fn nothing_is_left_after_the_end() {
    if !may_run("nothing_is_left_after_the_end") {
        return;
    }
    let world = World::new();
    let (capture, inputs) = watch(&world.node, &Settings::default(), 64);
    assert_eq!(programs_at(&world.node), 2);
    finish(capture, &inputs, Vec::new());
    // A process that another test is just starting holds a copy of everything that is open, for some microseconds.
    wait_until("no program is left", || programs_at(&world.node) == 0);
}

/// Set for a process of its own that watches in this namespace until it is killed.
const WATCH_IN: &str = "WEIR_TEST_WATCH_IN";

/// Killed when the test ends, however it ends.
struct Watching(Child);

impl Drop for Watching {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn nothing_is_left_of_a_process_that_was_killed() {
    let name = "nothing_is_left_of_a_process_that_was_killed";
    if let Some(namespace) = std::env::var_os(WATCH_IN) {
        // The process that will be killed.
        let namespace = std::mem::ManuallyDrop::new(Namespace(namespace.into_string().unwrap()));
        let (_capture, inputs) = watch(&namespace, &Settings::default(), 64);
        while inputs.recv().is_ok() {}
        return;
    }
    if !may_run(name) {
        return;
    }
    let world = World::new();
    let mut child = Watching(
        Command::new(std::env::current_exe().unwrap())
            .args([&format!("{}::{name}", module_path!().rsplit("::").next().unwrap()), "--exact"])
            .env(WATCH_IN, &world.node.0)
            .stdout(Stdio::null())
            .spawn()
            .unwrap(),
    );
    wait_until("it watches", || programs_at(&world.node) == 2);
    child.0.kill().unwrap();
    child.0.wait().unwrap();
    wait_until("nothing is left", || programs_at(&world.node) == 0);
}
