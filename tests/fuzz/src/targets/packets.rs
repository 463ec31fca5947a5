//! What comes off the wire: frames, capture files, DNS messages.

use std::io::Write;

use weir_cluster::UnixNanos;
use weir_daemon::capture::file::FileSource;
use weir_daemon::capture::{Direction, Frame, Input, InterfaceId, LinkType};
use weir_daemon::decode::{self, Packet, Transport};
use weir_daemon::track::l7;
use weir_daemon::track::l7::budget::Budget;
use weir_daemon::track::l7::dns::stream::Stream;

use crate::script::Script;

/// Frames longer than this are no test of anything but memory.
const MAX_FILE: usize = 1 << 20;

/// A frame of any link type, cut or whole.
pub(crate) fn frame(bytes: &[u8]) {
    let mut script = Script::new(bytes);
    let (link, beyond) = (LinkType(script.u8().into()), u32::from(script.u8()));
    let link = if link.0 == 255 { LinkType::LINUX_SLL2 } else { link };
    let bytes = script.rest();
    let frame = Frame {
        at: UnixNanos::from_nanos(1),
        interface: InterfaceId(1),
        direction: Direction::Unknown,
        link,
        original_len: u32::try_from(bytes.len()).unwrap_or(u32::MAX).saturating_add(beyond),
        bytes,
    };
    if let Ok(packet) = decode::decode(&frame, &decode::Settings::default()) {
        holds_together(&packet, &frame);
    }
}

/// Nothing is longer than what it lies in, and nothing was captured that is not in the frame.
fn holds_together(packet: &Packet<'_>, frame: &Frame<'_>) {
    let (captured, told) = match packet.transport {
        Transport::Tcp(tcp) => (tcp.payload.len(), tcp.payload_len),
        Transport::Udp { payload, payload_len } => (payload.len(), payload_len),
        _ => (0, 0),
    };
    assert!(captured <= frame.bytes.len(), "a payload longer than its frame: {packet:?}");
    assert!(told <= packet.ip_len, "a payload longer than its packet: {packet:?}");
    assert!(packet.frame_len >= frame.original_len, "a frame that shrank: {packet:?}");
}

/// A capture file, read to its end.
pub(crate) fn capture_file(bytes: &[u8]) {
    let Ok(mut file) = tempfile::NamedTempFile::new_in("/dev/shm") else { return };
    if file.write_all(bytes.get(..MAX_FILE).unwrap_or(bytes)).is_err() {
        return;
    }
    let Ok(source) = FileSource::open(&[file.path()]) else { return };
    for input in source {
        match input {
            Ok(Input::Frames(batch)) => {
                let read: usize = batch.frames().map(|frame| frame.bytes.len()).sum();
                assert!(read <= bytes.len(), "more was read than the file has");
            }
            Ok(_) => {}
            Err(_) => break,
        }
    }
}

/// A DNS message, cut or whole.
pub(crate) fn dns(bytes: &[u8]) {
    let mut script = Script::new(bytes);
    let cut = script.u8() % 2 == 1;
    if let Some(message) = l7::dns::parse(script.rest(), cut) {
        assert!(format!("{message:?}").len() < 1 << 20, "a message that grows when it is read");
    }
}

/// DNS over TCP: segments that follow each other, overlap, come again or leave holes, some of them cut.
pub(crate) fn dns_stream(bytes: &[u8]) {
    let mut script = Script::new(bytes);
    let (limit, mut sequence) = (usize::from(script.u16()), script.u32());
    let budget = Budget::new(limit);
    let mut stream = Stream::new(budget.clone());
    while !script.is_over() {
        let (kind, step) = (script.u8(), u32::from(script.u8()));
        let payload = script.piece();
        let begins = match kind % 4 {
            0 => sequence.wrapping_add(step),
            1 => sequence.wrapping_sub(step),
            _ => sequence,
        };
        let cut = if kind >= 224 { step } else { 0 };
        let len = u32::try_from(payload.len()).unwrap_or(u32::MAX).saturating_add(cut);
        let found = stream.segment(begins, payload, len);
        assert!(budget.used() <= limit, "more is kept than there is room for");
        // A message has a header of 12 bytes behind its length.
        assert!(found.messages.len() <= (limit + payload.len()) / 14, "messages out of nothing");
        sequence = begins.wrapping_add(len);
    }
    drop(stream);
    assert_eq!(budget.used(), 0, "something is left of what is gone");
}
