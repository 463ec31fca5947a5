//! A capture that was cut into several files.

use super::*;

/// The devices of frames, with their times.
fn frames(files: &[Vec<u8>]) -> Vec<(u32, u64)> {
    let mut found = Vec::new();
    for input in FileSource::over(files).unwrap() {
        if let Ok(Input::Frames(batch)) = input {
            found
                .extend(batch.frames().map(|frame| (frame.interface.0, frame.at.as_nanos() / 1_000_000_000)));
        }
    }
    found
}

#[test]
fn a_capture_in_several_files_is_of_one_device() {
    let pcap = |seconds: &[u32]| {
        let frames: Vec<(u32, u32, &[u8])> = seconds.iter().map(|at| (*at, 0, b"abc".as_slice())).collect();
        LITTLE.pcap(0xa1b2_c3d4, &frames)
    };
    let named = |name: &[u8], seconds: &[u64]| {
        let packets = seconds.iter().map(|at| LITTLE.packet(0, at * 1_000_000, b"abc", &[]));
        let device = LITTLE.interface(1, 0, &[LITTLE.option(2, name)]);
        [LITTLE.section(), device, packets.collect::<Vec<_>>().concat()].concat()
    };
    // Cut by time; the order in which the files are named does not matter.
    assert_eq!(frames(&[pcap(&[3, 4]), pcap(&[1, 2])]), [(1, 1), (1, 2), (1, 3), (1, 4)]);
    assert_eq!(frames(&[named(b"eth0", &[1]), named(b"eth0", &[2])]), [(0, 1), (0, 2)]);
    // Two points at one time, and two devices.
    assert_eq!(frames(&[pcap(&[1, 3]), pcap(&[2, 4])]), [(0, 1), (1, 2), (0, 3), (1, 4)]);
    assert_eq!(frames(&[named(b"eth0", &[1]), named(b"eth1", &[2])]), [(0, 1), (1, 2)]);
    // One goes on where the first ended, the other beside it is another point.
    assert_eq!(frames(&[pcap(&[1]), pcap(&[2, 4]), pcap(&[3, 5])]), [(0, 1), (0, 2), (2, 3), (0, 4), (2, 5)]);
    // Sections of one file, as `cat` makes them.
    assert_eq!(frames(&[[named(b"eth0", &[1]), named(b"eth0", &[2])].concat()]), [(0, 1), (0, 2)]);
}
