//! Files of both formats made byte by byte, in both byte orders; cut, damaged, merged, and random.

use std::io::Write;

use proptest::prelude::*;

use super::*;
use crate::capture::Input;
use crate::capture::record::Recorder;
use crate::conntrack;
use crate::testimony::{ConntrackEntry, Phase};
use crate::tuple::{IpProtocol, Tuple};
use writer::{BOTH, LITTLE, Writer};

mod pieces;
mod writer;

/// Inputs in short, one a line.
fn told(source: &mut FileSource) -> Vec<String> {
    let mut lines = Vec::new();
    for input in source {
        match input {
            Err(error) => lines.push(error.to_string()),
            Ok(Input::Frames(batch)) => lines.extend(batch.frames().map(|frame| {
                let (id, direction) = (frame.interface.0, frame.direction);
                format!("{} on {id} {direction:?} {} {:?}", frame.at, frame.original_len, frame.bytes)
            })),
            Ok(Input::Interface(id, interface)) => {
                lines.push(format!("device {} {} index {}", id.0, interface.name, interface.index));
            }
            Ok(Input::Testimony(testimony)) => lines.push(format!("{testimony:?}")),
            Ok(Input::Detail(detail)) => lines.push(format!("detail {}", detail.level())),
            Ok(Input::Lost(loss)) => lines.push(format!("lost {} {}", loss.kernel, loss.queue)),
        }
    }
    lines
}

fn read(file: Vec<u8>) -> Vec<String> {
    told(&mut FileSource::over(&[file]).unwrap())
}

fn refused(file: &[u8]) -> String {
    FileSource::over(&[file.to_vec()]).err().unwrap().to_string()
}

#[test]
fn pcap_in_every_resolution_and_order() {
    for writer in BOTH {
        let micros = writer.pcap(0xa1b2_c3d4, &[(5, 7, &[1, 2])]);
        assert_eq!(read(micros), ["device 0 file0 index 0", "5.000007000 on 0 Unknown 12 [1, 2]"]);
        let nanos = writer.pcap(0xa1b2_3c4d, &[(5, 7, &[1, 2])]);
        assert_eq!(read(nanos)[1], "5.000000007 on 0 Unknown 12 [1, 2]");
    }
    let mut old = LITTLE.pcap(0xa1b2_cd34, &[(5, 7, &[0, 0, 0, 0, 0, 0, 0, 0, 1, 2])]);
    old[32] = 2; // the eight bytes are of the header
    assert_eq!(read(old)[1], "5.000007000 on 0 Unknown 20 [1, 2]");
}

#[test]
fn pcapng_with_sections_interfaces_and_clocks() {
    for w in BOTH {
        let name = |name: &str| w.option(2, name.as_bytes());
        let file = [
            w.section(),
            w.interface(1, 0, &[name("eth0")]),
            w.interface(1, 0, &[name("eth1"), w.option(9, &[9]), w.option(14, &w.u64(100))]),
            w.interface(1, 0, &[w.option(9, &[0x80 | 10])]),
            w.packet(0, 5_000_007, &[1], &[w.option(2, &w.u32(1))]),
            w.packet(1, 5_000_000_007, &[2], &[w.option(2, &w.u32(2)), w.option(4, &w.u64(3))]),
            w.packet(2, 1536, &[3], &[]),
            w.block(0xbad, &[9; 40]),
            w.section(),
            w.interface(1, 0, &[name("eth9")]),
            w.packet(0, 9_000_000, &[4, 4, 4, 4, 4], &[]),
        ];
        let expected = [
            "device 0 eth0 index 0",
            "device 1 eth1 index 0",
            "device 2 file0#2 index 0",
            "5.000007000 on 0 Inbound 1 [1]",
            "lost 3 0",
            "105.000000007 on 1 Outbound 1 [2]",
            "1.500000000 on 2 Unknown 1 [3]",
            "device 3 eth9 index 0",
            "9.000000000 on 3 Unknown 5 [4, 4, 4, 4, 4]",
        ];
        assert_eq!(read(file.concat()), expected);
    }
}

#[test]
fn simple_and_obsolete_packets() {
    let w = BOTH[1];
    let obsolete = [w.u16(0), w.u16(6), w.words(&[0, 3_000_000, 2, 90]), vec![8, 9, 0, 0]].concat();
    let file = [
        w.section(),
        w.interface(1, 3, &[]),
        w.block(2, &obsolete),
        w.block(3, &[w.u32(70), vec![1, 2, 3, 0]].concat()),
    ];
    let expected = [
        "device 0 file0#0 index 0",
        "lost 6 0",
        "3.000000000 on 0 Unknown 90 [8, 9]",
        "3.000000000 on 0 Unknown 70 [1, 2, 3]",
    ];
    assert_eq!(read(file.concat()), expected);
}

/// Names, secrets, journals and custom blocks are no frames; options that weir does not know are passed over.
#[test]
fn what_a_file_holds_beside_frames_is_passed_over() {
    for w in BOTH {
        let names =
            [w.u16(1), w.u16(9), vec![10, 0, 0, 1, b'a', b'.', b'b', b'.', 0, 0, 0, 0], w.words(&[0])];
        let secrets = [w.words(&[0x544c_534b, 6]), b"CLIENT\0\0".to_vec()];
        let comment = w.option(1, b"a comment");
        let file = [
            w.section(),
            w.block(4, &names.concat()),
            w.block(0xa, &secrets.concat()),
            w.block(9, b"JOURNAL=1\n\0\0"),
            w.block(0xbad, &w.words(&[32_473, 1])),
            w.block(0x4000_0bad, &w.words(&[32_473, 1])),
            w.interface(
                1,
                0,
                &[comment.clone(), w.option(13, &[4]), w.option(12, b"Linux"), w.option(0, &[])],
            ),
            w.packet(0, 1_000_000, &[1], &[comment, w.option(3, &[0, 1, 2, 3]), w.option(0x8000, b"xy")]),
        ];
        assert_eq!(read(file.concat())[1..], ["1.000000000 on 0 Unknown 1 [1]"]);
    }
}

/// Sections in one file, each in its own byte order, one with a length and one without. The device goes on.
#[test]
fn sections_of_two_byte_orders() {
    let section =
        |w: Writer| [w.section(), w.interface(1, 0, &[]), w.packet(0, 1_000_000, &[1], &[])].concat();
    let mut with_length = section(BOTH[0]);
    let len = (with_length.len() - BOTH[0].section().len()) as u64;
    with_length[16..24].copy_from_slice(&len.to_le_bytes());
    let lines = read([with_length, section(BOTH[1]), section(BOTH[0])].concat());
    let times: Vec<&str> =
        lines.iter().filter(|line| !line.starts_with("device")).map(String::as_str).collect();
    assert_eq!(times, ["1.000000000 on 0 Unknown 1 [1]"; 3]);
}

/// Elsewhere NFLOG is a way to capture: its packets are frames, and testimony only where a rule has a name.
#[test]
fn logged_packets_of_others_are_frames_too() {
    let logged = |prefix: &str| {
        crate::nflog::emit_packet(&crate::testimony::LoggedPacket {
            at: UnixNanos::from_nanos(7000),
            prefix: prefix.into(),
            group: 5,
            in_ifindex: 0,
            out_ifindex: 0,
            in_port_ifindex: 0,
            out_port_ifindex: 0,
            packet: vec![0x45; 20],
        })
    };
    let w = LITTLE;
    let file = [
        w.section(),
        w.interface(239, 0, &[w.option(2, b"nflog:5")]),
        w.packet(0, 7, &logged(""), &[]),
        w.packet(0, 8, &logged("deny"), &[]),
    ];
    let lines = read(file.concat());
    let starts = ["device 0 nflog:5", "0.000007000 on 0", "0.000008000 on 0", "Logged("];
    assert_eq!(lines.len(), starts.len());
    assert!(lines.iter().zip(starts).all(|(line, start)| line.starts_with(start)), "{lines:?}");
}

#[test]
fn statistics_tell_what_was_lost_since_the_last() {
    let w = LITTLE;
    let statistics = |ifdrop: u64, osdrop: u64| {
        let options = [w.option(5, &w.u64(ifdrop)), w.option(7, &w.u64(osdrop))].concat();
        w.block(5, &[w.words(&[0, 0, 0]), options].concat())
    };
    let file = [w.section(), w.interface(1, 0, &[]), statistics(5, 1), statistics(5, 1), statistics(7, 2)];
    assert_eq!(read(file.concat())[1..], ["lost 6 0", "lost 3 0"]);
}

#[test]
fn a_capture_on_all_devices_tells_them_apart() {
    let cooked = |index: u8| [&[8, 0, 0, 0, 0, 0, 0, index][..], &[0; 12]].concat();
    let w = LITTLE;
    let file = [
        w.section(),
        w.interface(276, 0, &[w.option(2, b"any")]),
        w.packet(0, 1, &cooked(4), &[]),
        w.packet(0, 2, &cooked(5), &[]),
        w.packet(0, 3, &cooked(4), &[]),
    ];
    let devices: Vec<String> =
        read(file.concat()).iter().map(|line| line.split(" Unknown").next().unwrap().to_owned()).collect();
    let expected = [
        "device 0 any index 0",
        "device 1 if4 index 4",
        "0.000001000 on 1",
        "device 2 if5 index 5",
        "0.000002000 on 2",
        "0.000003000 on 1",
    ];
    assert_eq!(devices, expected);
}

/// One frame may hold several of the kernel's messages; what is none of conntrack's stays a frame.
#[test]
fn netlink_frames_are_taken_apart() {
    let ends = |port| (std::net::IpAddr::from([10, 0, 0, 1]), port);
    let tuple = Tuple::new(IpProtocol::TCP, ends(5), ends(80));
    let at = UnixNanos::from_nanos(7000);
    let entry = ConntrackEntry { at, original: tuple, reply: tuple.reversed(), zone: 3, phase: Phase::Open };
    let header = [&[0, 7, 3, 56][..], &[0; 10], &[0, 12]].concat();
    let messages =
        [header.clone(), conntrack::emit_message(&entry, false), conntrack::emit_message(&entry, true)];
    let route = [&header[..14], &[0, 0], &messages[1]].concat();
    let w = LITTLE;
    let file = [
        w.section(),
        w.interface(253, 0, &[]),
        w.packet(0, 7, &messages.concat(), &[]),
        w.packet(0, 7, &messages.concat()[..180], &[]),
        w.packet(0, 8, &route, &[]),
    ];
    let lines = read(file.concat());
    let (tracked, untracked) = (Testimony::Tracked(entry.clone()), Testimony::Untracked(entry));
    let expected = [&tracked, &untracked, &tracked].map(|testimony| format!("{testimony:?}"));
    assert_eq!(lines[..3], expected);
    assert!(lines[3].starts_with("0.000008000 on 0 Unknown"), "{lines:?}");
}

#[test]
fn files_merge_by_time_but_each_keeps_its_order() {
    let one = LITTLE.pcap(0xa1b2_c3d4, &[(1, 0, &[11]), (5, 0, &[15]), (2, 0, &[12]), (6, 0, &[16])]);
    let two = LITTLE.pcap(0xa1b2_c3d4, &[(1, 0, &[21]), (3, 0, &[23]), (5, 0, &[25])]);
    let lines = told(&mut FileSource::over(&[one, two]).unwrap());
    let frames: Vec<&str> = lines.iter().filter_map(|line| line.split('[').nth(1)).collect();
    // The step back to 2 comes with the 5 before it.
    assert_eq!(frames, ["11]", "21]", "23]", "15]", "12]", "25]", "16]"]);
}

#[test]
fn an_empty_frame_list_and_no_files_end() {
    assert_eq!(read(LITTLE.section()), Vec::<String>::new());
    assert_eq!(told(&mut FileSource::over(&[]).unwrap()), Vec::<String>::new());
}

#[test]
fn what_is_no_capture_says_what_it_is() {
    assert_eq!(refused(b""), "file0 is no capture file: it is empty; weir reads pcap and pcapng");
    assert!(refused(b"\x1f\x8b\x08\0\0\0").contains("gzip"));
    assert!(refused(b"kind: List\n").contains("none of their magic numbers"));
    assert!(refused(&[0xd4, 0xc3, 0xb2, 0xa1, 2, 0]).contains("ends within its first header"));
    assert!(refused(&[0x0a, 0x0d, 0x0d, 0x0a, 0, 0, 0, 28, 1, 2, 3, 4]).contains("byte-order mark"));
    let folder = tempfile::tempdir().unwrap();
    assert!(FileSource::open(&[folder.path()]).err().unwrap().to_string().contains("it is a folder"));
    let missing = folder.path().join("missing.pcap");
    let error = FileSource::open(&[&missing]).err().unwrap().to_string();
    assert!(error.starts_with("cannot open capture file ") && error.contains("missing.pcap"), "{error}");
}

#[test]
fn damage_names_file_place_and_cause_and_spares_the_others() {
    let w = LITTLE;
    let good = [w.section(), w.interface(1, 0, &[]), w.packet(0, 1_000_000, &[1], &[])].concat();
    let place = good.len();
    let mut lengths_differ = w.packet(0, 2, &[1], &[]);
    *lengths_differ.last_mut().unwrap() ^= 1;
    let mut too_long = w.packet(0, 2, &[1], &[]);
    too_long[20] = 200;
    let cases = [
        (w.packet(7, 2, &[1], &[]), "a block is of an interface that was not described"),
        (w.words(&[6, 13, 0, 0]), "a block's length is impossible"),
        (w.words(&[6, 0x7fff_fffc, 0, 0]), "a block claims to be longer than any frame"),
        (lengths_differ, "a block's two lengths differ"),
        (too_long, "a packet block is shorter than its frame"),
        (w.interface(1, 0, &[w.option(9, &[127])]), "an interface's time resolution is impossible"),
    ];
    for (damage, cause) in cases {
        let bad = [&good[..], &damage, &w.packet(0, 9_000_000, &[9], &[])].concat();
        let other = w.pcap(0xa1b2_c3d4, &[(8, 0, &[8])]);
        let lines = told(&mut FileSource::over(&[bad, other]).unwrap());
        let error = format!("capture file file0 is damaged at byte {place}: {cause}");
        assert!(lines[2].starts_with("1.0"), "{lines:?}");
        assert!(lines.iter().any(|line| line.starts_with(&error)), "{lines:?}");
        assert!(lines.last().unwrap().starts_with("8.0"), "{lines:?}");
    }
    let long = w.pcap(0xa1b2_c3d4, &[(1, 0, &[1])]);
    let long = [&long[..], &w.words(&[2, 0, 0x4000_0000, 9])].concat();
    assert!(read(long)[2].contains("damaged at byte 41: a frame claims to be longer"));
}

/// Whatever byte a file is cut at: all before, and one note that names the place.
#[test]
fn cut_at_every_byte() {
    let w = BOTH[1];
    let pcap = w.pcap(0xa1b2_c3d4, &[(1, 0, &[1; 9]), (2, 0, &[2; 5])]);
    let pcapng = [
        w.section(),
        w.interface(1, 0, &[]),
        w.packet(0, 1, &[1; 9], &[]),
        w.block(0xbad, &[7; 24]),
        w.packet(0, 2, &[2; 5], &[]),
    ];
    let starts = pcapng.iter().scan(0, |end, block| {
        *end += block.len();
        Some(*end)
    });
    let starts: Vec<usize> = starts.collect();
    cut_everywhere(&pcapng.concat(), &starts);
    cut_everywhere(&pcap, &[24, 24 + 16 + 9, 24 + 2 * 16 + 9 + 5]);
}

fn cut_everywhere(file: &[u8], starts: &[usize]) {
    let whole = read(file.to_vec());
    for len in starts[0]..file.len() {
        let mut source = FileSource::over(&[file[..len].to_vec()]).unwrap();
        let lines = told(&mut source);
        assert!(whole.starts_with(&lines));
        let label: Arc<str> = "file0".into();
        let end = source.ends().next().unwrap();
        let start = starts.iter().rev().find(|start| **start <= len).unwrap();
        match end {
            FileEnd::Whole { .. } => assert!(starts.contains(&len)),
            FileEnd::Truncated { file, offset, missing } => {
                assert_eq!((file, *offset), (&label, *start as u64));
                assert!(*missing > 0 && end.to_string().contains("cut short"));
            }
        }
    }
}

/// A pipe gives what it holds before it is waited for.
#[test]
fn a_pipe_is_read_as_it_fills() {
    let (reader, mut writer) = std::io::pipe().unwrap();
    let file = LITTLE.pcap(0xa1b2_c3d4, &[(1, 0, &[1])]);
    writer.write_all(&file).unwrap();
    let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&reader));
    let mut source = FileSource::open(&[path]).unwrap();
    assert!(matches!(source.next(), Some(Ok(Input::Interface(..)))));
    let Some(Ok(Input::Frames(first))) = source.next() else { panic!("no frames") };
    assert_eq!(first.len(), 1);
    writer.write_all(&LITTLE.pcap(0xa1b2_c3d4, &[(2, 0, &[2])])[24..]).unwrap();
    drop(writer);
    assert_eq!(told(&mut source).len(), 1);
}

#[test]
fn a_large_file_is_read_in_batches() {
    let frames: Vec<(u32, u32, &[u8])> = (0..5000).map(|second| (second, 0, &[7_u8; 100][..])).collect();
    let file = LITTLE.pcap(0xa1b2_c3d4, &frames);
    let mut times = Vec::new();
    for input in FileSource::over(&[file]).unwrap() {
        if let Input::Frames(batch) = input.unwrap() {
            assert!(batch.len() <= 1024 && batch.bytes() <= (256 << 10) + 100);
            times.extend(batch.frames().map(|frame| frame.at.parts().0));
        }
    }
    assert_eq!(times, (0..5000).collect::<Vec<u64>>());
}

/// No input says more than the file can hold: nothing loops and nothing grows.
fn bounded(file: Vec<u8>) {
    let len = file.len();
    let Ok(source) = FileSource::over(&[file]) else { return };
    let (mut held, mut errors, mut count) = (0, 0, 0);
    for input in source {
        count += 1;
        match input {
            Err(_) => errors += 1,
            Ok(Input::Frames(batch)) => held += batch.bytes(),
            Ok(_) => {}
        }
    }
    assert!(held <= len && errors <= 1 && count <= 3 * len + 3);
}

fn recording() -> Vec<u8> {
    let mut recorder = Recorder::new(Vec::new(), "worker-1", 7).unwrap();
    for input in FileSource::over(&[sample()]).unwrap() {
        recorder.record(&input.unwrap()).unwrap();
    }
    recorder.into_inner()
}

fn sample() -> Vec<u8> {
    let w = LITTLE;
    [
        w.section(),
        w.interface(1, 96, &[w.option(2, b"eth0"), w.option(9, &[9])]),
        w.interface(276, 0, &[]),
        w.packet(0, 1, &[1; 30], &[w.option(2, &w.u32(1)), w.option(4, &w.u64(3))]),
        w.packet(1, 2, &[0, 0, 0, 0, 0, 0, 0, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1], &[]),
        w.block(3, &[w.u32(4), vec![1, 2, 3, 4]].concat()),
        w.block(5, &[w.words(&[0, 0, 0]), w.option(5, &w.u64(2))].concat()),
    ]
    .concat()
}

proptest! {
    #[test]
    fn random_bytes_end(magic in 0_usize..4, bytes in prop::collection::vec(any::<u8>(), 0..800)) {
        let beginning: &[u8] = match magic {
            0 => &[0xd4, 0xc3, 0xb2, 0xa1],
            1 => &[0xa1, 0xb2, 0x3c, 0x4d],
            2 => &[0x0a, 0x0d, 0x0d, 0x0a, 28, 0, 0, 0, 0x4d, 0x3c, 0x2b, 0x1a],
            _ => &[],
        };
        bounded([beginning, &bytes].concat());
    }

    #[test]
    fn damaged_files_end(
        which in 0_usize..3,
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        moved in any::<[prop::sample::Index; 3]>(),
    ) {
        let mut file = match which {
            0 => sample(),
            1 => recording(),
            _ => LITTLE.pcap(0xa1b2_c3d4, &[(1, 0, &[1; 40]), (2, 0, &[2; 40])]),
        };
        for (at, value) in damage {
            let at = at.index(file.len());
            file[at] = value;
        }
        let [from, to, cut] = moved.map(|index| index.index(file.len()));
        let piece = file[from.min(to)..from.max(to)].to_vec();
        file.splice(cut..cut, piece);
        bounded(file);
    }
}
