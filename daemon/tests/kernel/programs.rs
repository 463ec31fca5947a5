//! The eBPF programs by themselves: they load as every compiler makes them, and read every frame as the decoder does.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use aya::programs::Program;
use aya::{Btf, Ebpf};
use weir_daemon::capture::ebpf::abi;
use weir_daemon::capture::ebpf::clock::Clock;
use weir_daemon::capture::ebpf::object::{TCX, undisturbed};
use weir_daemon::capture::ebpf::pending::Pending;
use weir_daemon::capture::ebpf::programs::{Place, Programs};
use weir_daemon::capture::ebpf::{Settings, programs::Watched};
use weir_daemon::capture::file::FileSource;
use weir_daemon::capture::{Batch, Detail, Direction, Frame, Input, InterfaceId, Item, LinkType, detail};
use weir_daemon::decode::{self, Packet, Transport, Undecodable};
use weir_daemon::tuple::{IpProtocol, Tuple};

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
    by_every_compiler("tcx", |clang, object| {
        let loaded = Programs::load(object, &Settings::default());
        assert!(loaded.is_ok(), "{clang}: {}", loaded.unwrap_err());
    });
}

#[test]
fn every_compilers_drops_load() {
    if !may_run("every_compilers_drops_load") {
        return;
    }
    let types = Btf::from_sys_fs().unwrap();
    by_every_compiler("drops", |clang, object| {
        let mut loaded = Ebpf::load(object).unwrap();
        for (name, program) in loaded.programs_mut() {
            let accepted = undisturbed(|| match &mut *program {
                Program::BtfTracePoint(program) => program.load("kfree_skb", &types),
                Program::RawTracePoint(program) => program.load(),
                Program::TracePoint(program) => program.load(),
                _ => panic!("{name} is of another kind"),
            });
            assert!(accepted.is_ok(), "{clang}, {name}: {}", accepted.unwrap_err());
        }
    });
}

/// Hands over a source's object as each compiler makes it that is here; at least one is.
fn by_every_compiler(source: &str, look: impl Fn(&str, &[u8])) {
    let folder = tempfile::tempdir().unwrap();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("ebpf/{source}.bpf.c"));
    let mut tried = 0;
    for clang in compile::CLANGS.into_iter().filter(|clang| compile::runs(clang)) {
        let object = folder.path().join("object.bpf.o");
        compile::compile(clang, &source, &object).unwrap();
        look(clang, &std::fs::read(&object).unwrap());
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
fn datagram(forward: bool) -> Vec<u8> {
    let (client, server) = (([10, 0, 0, 1], 40_000), ([10, 0, 0, 2], 8080));
    if forward { udp(client, server) } else { udp(server, client) }
}

fn udp(from: ([u8; 4], u16), to: ([u8; 4], u16)) -> Vec<u8> {
    let mut frame =
        vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 1, 0x08, 0x00, 0x45, 0, 0, 60, 0, 1, 0, 0, 64, 17, 0, 0];
    let ports = [from.1.to_be_bytes(), to.1.to_be_bytes()];
    for part in [&from.0[..], &to.0, &ports[0], &ports[1], &[0, 40, 0, 0], &[9; 32]] {
        frame.extend_from_slice(part);
    }
    frame
}

fn udp6(from: ([u8; 16], u16), to: ([u8; 16], u16)) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 1, 0x86, 0xdd, 0x60, 0, 0, 0, 0, 40, 17, 64];
    let ports = [from.1.to_be_bytes(), to.1.to_be_bytes()];
    for part in [&from.0[..], &to.0, &ports[0], &ports[1], &[0, 40, 0, 0], &[9; 32]] {
        frame.extend_from_slice(part);
    }
    frame
}

#[test]
fn the_same_connections_are_followed_as_anywhere_else() {
    if !may_run("the_same_connections_are_followed_as_anywhere_else") {
        return;
    }
    let mut machine = Machine::new();
    let control = abi::Control { level: Detail::Sampled.level(), sample: detail::SAMPLE };
    machine.watched.set_control(control).unwrap();
    let place = Place { inbound: true, ethernet: true };
    let (mut frames, mut expected) = (Vec::new(), BTreeSet::new());
    for number in 0..2000_u16 {
        let [high, low] = number.to_be_bytes();
        // Now and then both ports are the same.
        let (client, server) =
            (30_000 + number % 700, if number % 3 == 0 { 30_000 + number % 700 } else { 53 });
        let four = ([10, 1, high, low], [10, 9, low, high]);
        let six = [[0xfd, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, high, low], [0xfd; 16]];
        let tuples = [
            Tuple::new(IpProtocol::UDP, (four.0.into(), client), (four.1.into(), server)),
            Tuple::new(IpProtocol::UDP, (six[1].into(), server), (six[0].into(), client)),
        ];
        frames.push((place, udp((four.0, client), (four.1, server))));
        frames.push((place, udp6((six[1], server), (six[0], client))));
        expected.extend(tuples.into_iter().filter(|tuple| detail::is_in_sample(*tuple)));
    }
    let mut seen = Passed::default();
    seen.batch(&machine.pass(&frames));
    let followed: BTreeSet<Tuple> = seen.ways.keys().map(|(tuple, ..)| *tuple).collect();
    assert!(expected.len() > 100 && expected.len() < 1000, "{}", expected.len());
    assert_eq!(followed, expected);
}

/// CPUs in the same entry, which one of them takes out now and then: every packet is told once.
#[test]
fn whoever_takes_entries_out_takes_nothing_away() {
    if !may_run("whoever_takes_entries_out_takes_nothing_away") {
        return;
    }
    /// Packets of each thread; the first ones of an entry are news, so it must live for some more.
    const ROUNDS: u64 = 120_000;
    const LIVES: u64 = 24;
    let settings = Settings { ring_bytes: 1 << 28, table_entries: 1, ..Settings::default() };
    let (mut programs, watched) = Programs::load(TCX, &settings).unwrap();
    let pass = |programs: &Programs, forward| {
        programs.pass(Place { inbound: forward, ethernet: true }, &datagram(forward)).unwrap();
    };
    pass(&programs, true);
    let (keys, _) = programs.look_over(|_| true).unwrap();
    assert_eq!(keys.len(), 1);
    std::thread::scope(|scope| {
        for (forward, takes) in [(true, false), (false, true)] {
            let (programs, keys) = (&programs, &keys);
            scope.spawn(move || {
                for round in 0..ROUNDS {
                    pass(programs, forward);
                    if takes && round % LIVES == 0 {
                        programs.take(keys, true).unwrap();
                    }
                }
            });
        }
    });
    programs.take(&keys, true).unwrap();
    let mut pending = Pending::default();
    while programs.next_record(|record| pending.take(record)) {}
    let released = pending.release(u64::MAX, &Clock::default());
    let totals = watched.totals();
    assert_eq!((totals.frames_lost, totals.tallies_kept, totals.uncounted), (0, 0, 0));
    assert_eq!(released.frames + released.tallied_packets, 2 * ROUNDS + 1, "{totals:?}");
    assert!(released.tallied_packets > ROUNDS / 2, "{totals:?}");
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
    watched: Watched,
    pending: Pending,
}

impl Machine {
    pub fn new() -> Self {
        let settings = Settings { ring_bytes: 1 << 24, ..Settings::default() };
        let (programs, watched) = Programs::load(TCX, &settings).unwrap();
        Self { programs, watched, pending: Pending::default() }
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
        self.pending.release(u64::MAX, &Clock::default()).batch
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
