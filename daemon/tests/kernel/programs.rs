//! The eBPF programs by themselves: they load as every compiler makes them, and read every frame as the decoder does.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use weir_daemon::capture::ebpf::abi;
use weir_daemon::capture::ebpf::clock::Clock;
use weir_daemon::capture::ebpf::object::TCX;
use weir_daemon::capture::ebpf::pending::Pending;
use weir_daemon::capture::ebpf::programs::{Place, Programs};
use weir_daemon::capture::ebpf::{Settings, programs::Watched};
use weir_daemon::capture::file::FileSource;
use weir_daemon::capture::{Batch, Direction, Frame, Input, InterfaceId, Item, LinkType};
use weir_daemon::decode::{self, Packet, Transport, Undecodable};
use weir_daemon::tuple::Tuple;

use crate::namespace::may_run;

#[path = "../../ebpf/compile.rs"]
pub mod compile;

/// The kernel takes frames of about a page in a test run.
const LONGEST: usize = 3500;

/// As much of a frame as a source takes.
const SNAP: usize = 768;

#[test]
fn every_compilers_programs_load() {
    if !may_run("every_compilers_programs_load") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("ebpf/tcx.bpf.c");
    let mut tried = 0;
    for clang in compile::CLANGS.into_iter().filter(|clang| compile::runs(clang)) {
        let object = folder.path().join("tcx.bpf.o");
        compile::compile(clang, &source, &object).unwrap();
        let object = std::fs::read(&object).unwrap();
        let loaded = Programs::load(&object, &Settings::default());
        assert!(loaded.is_ok(), "{clang}: {}", loaded.unwrap_err());
        tried += 1;
    }
    assert!(tried > 0, "no compiler found");
}

#[test]
fn what_cannot_be_made_is_refused_in_one_sentence() {
    if !may_run("what_cannot_be_made_is_refused_in_one_sentence") {
        return;
    }
    let refused = |settings: &Settings| Programs::load(TCX, settings).unwrap_err().to_string();
    let odd = refused(&Settings { ring_bytes: 5000, ..Settings::default() });
    assert_eq!(odd, "eBPF: cannot make the ring: 5000 bytes are no power of two, or less than a page");
    let many = refused(&Settings { vxlan_ports: (1..=9).collect(), ..Settings::default() });
    assert_eq!(many, "eBPF: cannot know 9 ports of VXLAN: there is room for 8");
}

/// UDP from one of two ends to the other.
fn datagram(forward: bool, port: u8) -> Vec<u8> {
    let (ends, ports) = ([[10, 0, 0, 1], [10, 0, 0, 2]], [[0x9c, port], [0x1f, port]]);
    let (from, to) = if forward { (0, 1) } else { (1, 0) };
    let mut frame =
        vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 1, 0x08, 0x00, 0x45, 0, 0, 60, 0, 1, 0, 0, 64, 17, 0, 0];
    for part in [&ends[from][..], &ends[to], &ports[from], &ports[to], &[0, 40, 0, 0], &[9; 32]] {
        frame.extend_from_slice(part);
    }
    frame
}

/// Two CPUs in the same entries, while these are taken out all the time: every packet is told once.
#[test]
fn whoever_takes_entries_out_takes_nothing_away() {
    if !may_run("whoever_takes_entries_out_takes_nothing_away") {
        return;
    }
    const ROUNDS: u64 = 20_000;
    const PORTS: u8 = 4;
    let settings = Settings { ring_bytes: 1 << 28, table_entries: u32::from(PORTS), ..Settings::default() };
    let (mut programs, watched) = Programs::load(TCX, &settings).unwrap();
    for port in 0..PORTS {
        programs.pass(Place { inbound: true, ethernet: true }, &datagram(true, port)).unwrap();
    }
    let (keys, _) = programs.look_over(|_| true).unwrap();
    assert_eq!(keys.len(), usize::from(PORTS));
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let passing: Vec<_> = [true, false]
            .map(|forward| {
                let programs = &programs;
                scope.spawn(move || {
                    let place = Place { inbound: forward, ethernet: true };
                    for round in 0..ROUNDS {
                        let port = u8::try_from(round % u64::from(PORTS)).unwrap();
                        programs.pass(place, &datagram(forward, port)).unwrap();
                    }
                })
            })
            .into();
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                programs.take(&keys, true).unwrap();
            }
        });
        passing.into_iter().for_each(|thread| thread.join().unwrap());
        done.store(true, Ordering::Relaxed);
    });
    programs.take(&keys, true).unwrap();
    let mut pending = Pending::default();
    while programs.next_record(|record| pending.take(record)) {}
    let released = pending.release(u64::MAX, &Clock::new());
    let totals = watched.totals();
    assert_eq!((totals.frames_lost, totals.tallies_kept, totals.uncounted), (0, 0, 0));
    assert_eq!(released.frames + released.tallied_packets, 2 * ROUNDS + u64::from(PORTS), "{totals:?}");
    assert!(released.tallies > 100, "{totals:?}");
}

/// What passed one way of one connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sum {
    packets: u64,
    frame_bytes: u64,
    ip_bytes: u64,
    payload_bytes: u64,
}

/// What passed, and what could not be read.
#[derive(Debug, Default, PartialEq, Eq)]
struct Passed {
    ways: BTreeMap<(Tuple, bool, bool), Sum>,
    undecodable: BTreeMap<Undecodable, u64>,
}

impl Passed {
    fn frame(&mut self, frame: &Frame<'_>) {
        match decode::decode(frame, &decode::Settings::default()) {
            Err(reason) => *self.undecodable.entry(reason).or_default() += 1,
            Ok(packet) => self.add(
                packet.tuple,
                frame.direction,
                packet.tunnel.is_some(),
                Sum {
                    packets: 1,
                    frame_bytes: packet.frame_len.into(),
                    ip_bytes: packet.ip_len.into(),
                    payload_bytes: payload(&packet).into(),
                },
            ),
        }
    }

    fn add(&mut self, tuple: Tuple, direction: Direction, tunnelled: bool, sum: Sum) {
        let way = self.ways.entry((tuple, direction == Direction::Inbound, tunnelled)).or_default();
        way.packets += sum.packets;
        way.frame_bytes += sum.frame_bytes;
        way.ip_bytes += sum.ip_bytes;
        way.payload_bytes += sum.payload_bytes;
    }

    fn batch(&mut self, batch: &Batch) -> u64 {
        let mut counted = 0;
        for item in batch.items() {
            match item {
                Item::Frame(frame) => self.frame(&frame),
                Item::Tally(tally) => {
                    counted += tally.packets;
                    let sum = Sum {
                        packets: tally.packets,
                        frame_bytes: tally.frame_bytes,
                        ip_bytes: tally.ip_bytes,
                        payload_bytes: tally.payload_bytes,
                    };
                    self.add(tally.tuple, tally.direction, tally.tunnelled, sum);
                }
            }
        }
        counted
    }
}

fn payload(packet: &Packet<'_>) -> u32 {
    match packet.transport {
        Transport::Tcp(tcp) => tcp.payload_len,
        Transport::Udp { payload_len, .. }
        | Transport::Sctp { payload_len, .. }
        | Transport::Other { payload_len } => payload_len,
        Transport::Icmp(_) => 0,
    }
}

/// The programs, and what is in their ring.
pub struct Machine {
    programs: Programs,
    _watched: Watched,
    pending: Pending,
}

impl Machine {
    pub fn new() -> Self {
        let settings = Settings { ring_bytes: 1 << 24, ..Settings::default() };
        let (programs, watched) = Programs::load(TCX, &settings).unwrap();
        Self { programs, _watched: watched, pending: Pending::default() }
    }

    fn drain(&mut self) {
        while self.programs.next_record(|record| self.pending.take(record)) {}
    }

    /// What the programs make of these frames.
    pub fn pass(&mut self, frames: &[(Place, Vec<u8>)]) -> Batch {
        for (number, (place, bytes)) in frames.iter().enumerate() {
            self.programs.pass(*place, bytes).unwrap();
            if number % 1024 == 0 {
                self.drain();
            }
        }
        loop {
            let (keys, _) = self.programs.look_over(|_| true).unwrap();
            if keys.is_empty() {
                break;
            }
            for some in keys.chunks(abi::TAKEN) {
                self.programs.take(some, true).unwrap();
                self.drain();
            }
        }
        self.drain();
        self.pending.release(u64::MAX, &Clock::new()).batch
    }
}

/// The Ethernet frames of a capture that the kernel takes, with a way that both ends of a conversation keep to.
pub fn frames(capture: &Path) -> Vec<(Place, Vec<u8>)> {
    let Ok(source) = FileSource::open(&[capture]) else { return Vec::new() };
    let mut frames = Vec::new();
    for input in source.map_while(Result::ok) {
        let Input::Frames(batch) = input else { continue };
        for frame in batch.frames().filter(|frame| frame.link == LinkType::ETHERNET) {
            if frame.bytes.len() < LONGEST && frame.bytes.len() >= shortest(frame.bytes) {
                let inbound = frame.bytes[..6] < frame.bytes[6..12];
                frames.push((Place { inbound, ethernet: true }, frame.bytes.to_vec()));
            }
        }
    }
    frames
}

/// The kernel takes no frame in a test run that is shorter than the header its type announces, or without a byte behind it.
fn shortest(frame: &[u8]) -> usize {
    match frame.get(12..14) {
        Some([0x08, 0x00]) => 34,
        Some([0x86, 0xdd]) => 54,
        _ => 15,
    }
}

pub fn captures(corpus: &Path) -> Vec<PathBuf> {
    let folders = std::fs::read_dir(corpus.join("real")).unwrap().map(|entry| entry.unwrap().path());
    let files =
        folders.filter(|folder| folder.is_dir()).flat_map(|folder| std::fs::read_dir(folder).unwrap());
    files
        .filter_map(|file| Some(PathBuf::from(file.unwrap().path().to_str()?.strip_suffix(".truth.json")?)))
        .collect()
}

#[test]
fn every_frame_is_counted_as_the_decoder_reads_it() {
    let name = "every_frame_is_counted_as_the_decoder_reads_it";
    let Some(corpus) = weir_tests::corpus(name) else { return };
    if !may_run(name) {
        return;
    }
    let mut machine = Machine::new();
    let (mut total, mut counted, mut differ) = (0, 0, Vec::new());
    for capture in captures(&corpus) {
        let frames = frames(&capture);
        let mut expected = Passed::default();
        for (place, bytes) in &frames {
            expected.frame(&Frame {
                at: weir_cluster::UnixNanos::default(),
                interface: InterfaceId(1),
                direction: if place.inbound { Direction::Inbound } else { Direction::Outbound },
                link: LinkType::ETHERNET,
                original_len: u32::try_from(bytes.len()).unwrap(),
                bytes: bytes.get(..SNAP).unwrap_or(bytes),
            });
        }
        let mut seen = Passed::default();
        counted += seen.batch(&machine.pass(&frames));
        total += frames.len();
        if seen != expected {
            differ.push(format!("{}:{}", capture.display(), difference(&seen, &expected)));
        }
    }
    println!("{total} frames, {counted} of them counted only");
    assert!(differ.is_empty(), "{} differ:\n{}", differ.len(), differ.join("\n"));
    assert!(total > 10_000 && counted > 1000, "{total} frames, {counted} counted");
}

fn difference(seen: &Passed, expected: &Passed) -> String {
    let mut lines = Vec::new();
    for (side, one, other) in [("programs", seen, expected), ("decoder", expected, seen)] {
        for (way, sum) in one.ways.iter().filter(|(way, sum)| other.ways.get(way) != Some(sum)).take(3) {
            lines.push(format!("\n    {side}: {way:?} {sum:?}"));
        }
        if one.undecodable != other.undecodable {
            lines.push(format!("\n    {side}: {:?}", one.undecodable));
        }
    }
    lines.concat()
}
