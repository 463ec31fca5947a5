//! 100,000 connections in a burst over eight server ports: every one told once, with the bytes that its caller sent and got;
//! what a source lost it says, to the unit.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

mod calls;
mod told;

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::Result;
use weir_tests::node::{Watched, number};
use weir_tests::pods::{CLIENT, DEVICES, Pods, SERVER};
use weir_tests::{DEADLINE, is_root, skip_unless, wait_for};

use calls::{Call, SERVER_PORTS};
use told::{DRAINED, Told};

const CALLS: u32 = 100_000;
/// Longer than a packet takes from a device into the status.
const QUIET: Duration = Duration::from_secs(2);

/// Two pods and a daemon that watches them.
struct World {
    // Dropped in this order: who runs in the namespaces first.
    weir: Watched,
    pods: Pods,
    _folder: tempfile::TempDir,
}

impl World {
    fn new(flags: &[&str]) -> Result<Self> {
        let pods = Pods::new()?;
        let folder = tempfile::tempdir()?;
        Pods::write_cluster(folder.path())?;
        // The whole burst stays in the daemon's memory, to be read at leisure.
        let memory = ["--ring-flows", "2000000", "--ring-mib", "4096", "--max-connections", "400000"];
        let budget = ["--memory-budget-mib", "0", "--no-conntrack"];
        let weir =
            Watched::start(&pods.node, folder.path(), "node", &[&memory[..], &budget, flags].concat())?;
        let world = Self { weir, pods, _folder: folder };
        wait_for("datagrams to be seen on both devices", DEADLINE, || {
            world.pods.send_datagram().ok()?;
            let devices = told::devices(&world.weir.socket, SERVER).ok()?;
            DEVICES.iter().all(|device| devices.contains(*device)).then_some(())
        })?;
        Ok(world)
    }

    /// Packets that the daemon has seen, in frames or counts, or has told as lost.
    fn seen(&self) -> Result<u64> {
        let status = self.weir.status()?;
        Ok(["frames", "frames_dropped_kernel", "frames_dropped_queue"]
            .iter()
            .map(|name| number(&status["weir"][name]))
            .sum())
    }

    /// The same once nothing more comes of what passed before.
    fn seen_when_quiet(&self) -> Result<u64> {
        let mut last = (self.seen()?, Instant::now());
        wait_for("quiet", DEADLINE, || {
            let seen = self.seen().ok()?;
            if seen != last.0 {
                last = (seen, Instant::now());
            }
            (last.1.elapsed() > QUIET).then_some(seen)
        })
    }

    /// Packets that both devices have carried, as the kernel counts them.
    fn passed(&self) -> Result<u64> {
        let files: String =
            DEVICES.map(|device| format!("/sys/class/net/{device}/statistics/?x_packets ")).concat();
        let counts = self.pods.node.shell(&format!("cat {files}"))?;
        counts.lines().map(|count| Ok(count.trim().parse::<u64>()?)).sum()
    }

    /// Makes the calls and reads what was told of them, once all frames are through.
    fn burst(&self, calls: u32) -> Result<(Vec<Call>, Told)> {
        let made = calls::make(&self.pods.client, &self.pods.server, SERVER, calls)?;
        let mut before = None;
        let told = wait_for("the last call's end to be told", DRAINED, || {
            let told = Told::read(&self.weir.socket, CLIENT).ok()?;
            let all = told.connections.len() >= calls as usize && told.open == 0;
            (all || told.is_still(&mut before)).then_some(told)
        })?;
        Ok((made, told))
    }
}

fn world(test: &str, flags: &[&str]) -> Option<World> {
    skip_unless(test, is_root().then_some(()), "network namespaces need root")?;
    Some(World::new(flags).unwrap())
}

/// Every call once, with its bytes.
fn assert_all_told(made: &[Call], told: &Told) {
    let mut by_port: HashMap<(u16, u16), Vec<&told::Connection>> = HashMap::new();
    for connection in told.connections.values() {
        by_port.entry((connection.client_port, connection.server_port)).or_default().push(connection);
    }
    assert_eq!(by_port.len(), made.len(), "as many pairs of ports as calls");
    for call in made {
        let found = by_port.get(&(call.client_port, call.server_port)).map_or(&[][..], Vec::as_slice);
        let bytes: Vec<(u64, u64)> =
            found.iter().map(|it| (it.payload_forward, it.payload_reverse)).collect();
        let seen: Vec<&str> = found.iter().map(|it| it.seen.as_str()).collect();
        assert_eq!(bytes, [(call.sent, call.received)], "{call:?}: {seen:#?}");
    }
}

#[test]
fn none_of_a_hundred_thousand_is_lost_or_doubled_by_ebpf() {
    let Some(world) = world(
        "none_of_a_hundred_thousand_is_lost_or_doubled_by_ebpf",
        &["--source", "ebpf", "--cpu-budget", "0"],
    ) else {
        return;
    };
    let (made, told) = world.burst(CALLS).unwrap();
    assert_eq!((made.len(), told.lost_frames), (CALLS as usize, 0), "{:#}", world.weir.status().unwrap());
    assert!(made.iter().map(|call| call.server_port).max() >= Some(SERVER_PORTS.start() + 3));
    assert_all_told(&made, &told);
}

#[test]
fn what_finds_no_room_in_the_kernel_is_told_to_the_unit() {
    let flags = ["--source", "ebpf", "--cpu-budget", "0", "--buffer-mib", "1", "--kernel-connections", "16"];
    let Some(world) = world("what_finds_no_room_in_the_kernel_is_told_to_the_unit", &flags) else { return };
    let before = (world.seen_when_quiet().unwrap(), world.passed().unwrap());
    let resident = number(&world.weir.status().unwrap()["weir"]["cost"]["resident_bytes"]);
    let (_, told) = world.burst(20_000).unwrap();
    let passed = world.passed().unwrap() - before.1;
    let seen = wait_for("every packet to be seen or told as lost", DEADLINE, || {
        let seen = world.seen().ok()? - before.0;
        (seen >= passed).then_some(seen)
    });
    let status = world.weir.status().unwrap();
    assert_eq!(seen.ok(), Some(passed), "what the devices carried: {status:#}");
    let source = &status["weir"]["source"];
    assert!(number(&source["table_full"]) > 100_000, "the table was full: {source}");
    assert!(told.lost_frames > 0, "the ring was full: {source}");
    assert_eq!(
        told.lost_frames,
        number(&status["weir"]["frames_dropped_kernel"]),
        "the stream tells what the status counts"
    );
    // Beside the flows, which stay in memory here.
    let grown = number(&status["weir"]["cost"]["resident_bytes"]).saturating_sub(resident);
    assert!(grown < 400 << 20, "{grown} bytes more");
}

#[test]
fn what_pcap_loses_of_a_hundred_thousand_it_counts() {
    let Some(world) =
        world("what_pcap_loses_of_a_hundred_thousand_it_counts", &["--source", "pcap", "--cpu-budget", "0"])
    else {
        return;
    };
    let (made, told) = world.burst(CALLS).unwrap();
    let status = world.weir.status().unwrap();
    let counted = ["frames_dropped_kernel", "frames_dropped_queue"].map(|name| number(&status["weir"][name]));
    assert_eq!(told.lost_frames, counted.iter().sum::<u64>(), "the stream tells what the status counts");
    if told.lost_frames == 0 {
        assert_all_told(&made, &told);
    }
    // A frame is lost once, and read or lost it passed a device: the two add up to what the devices carried.
    let frames = number(&status["weir"]["frames"]);
    assert!(frames + told.lost_frames >= u64::from(CALLS) * 2 * 8, "{frames} + {}", told.lost_frames);
}

#[test]
fn over_its_budget_it_leaves_things_out_and_says_so() {
    let flags = ["--source", "ebpf", "--cpu-budget", "1"];
    let Some(world) = world("over_its_budget_it_leaves_things_out_and_says_so", &flags) else { return };
    // Looked at each second and averaged over five: some seconds of calls are over one percent of a core.
    let status = wait_for("the budget to be passed", DRAINED, || {
        world.burst(5_000).ok()?;
        let status = world.weir.status().ok()?;
        status["weir"]["cost"]["detail"].is_string().then_some(status)
    })
    .unwrap();
    let weir = &status["weir"];
    assert_eq!(weir["cost"]["cpu_budget_thousandths"], 10, "{weir:#}");
    let notices = weir["notices"].as_array().unwrap();
    assert!(notices.iter().any(|notice| notice.as_str().unwrap().contains("--cpu-budget")), "{notices:?}");
    let calls = calls::make(&world.pods.client, &world.pods.server, SERVER, 200).unwrap();
    let marked = wait_for("flows that say what they lack", DEADLINE, || {
        let told = Told::read(&world.weir.socket, CLIENT).ok()?;
        let marked = told.connections.into_values().filter(|it| it.seen.contains("NoPayload"));
        Some(marked.count()).filter(|count| *count > 0)
    });
    assert!(marked.is_ok(), "{} calls, none marked", calls.len());
}
