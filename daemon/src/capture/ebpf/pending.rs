//! Records of the ring -> frames and tallies in the order of their times.
//!
//! CPUs stamp a packet before they find room for it, so the ring is nearly in order, but not quite: what is younger than a
//! moment waits for the next drain. A tally's place in time is its last packet's; of equal times the tally is first, as it
//! tells of what passed before the frame. Pure: times are handed in.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::abi::{self, FrameHead, Head};
use super::clock::Clock;
use super::programs::direction;
use crate::capture::{Batch, Frame, InterfaceId, LinkType, Progress, Tally};
use crate::tuple::{IpProtocol, Tuple};

/// Bytes of both MAC addresses; behind them a tag stands.
const ADDRESSES: usize = 12;
const TAG: usize = 4;

/// One record, its frame's bytes apart.
#[derive(Clone, Copy, Debug)]
enum Record {
    Tally(abi::Tally),
    Frame { head: FrameHead, start: usize, len: usize },
}

impl Record {
    /// Its place in time; a tally before a frame.
    const fn order(&self) -> (u64, bool) {
        match self {
            Self::Tally(tally) => (tally.counts.last_ns, false),
            Self::Frame { head, .. } => (head.head.at_ns, true),
        }
    }
}

/// Records that wait.
#[derive(Debug, Default)]
pub struct Pending {
    records: Vec<Record>,
    bytes: Vec<u8>,
}

/// What was released.
#[derive(Debug, Default)]
pub struct Released {
    /// All of it, in order.
    pub batch: Batch,
    /// Frames in it.
    pub frames: u64,
    /// Tallies in it.
    pub tallies: u64,
    /// Packets in these.
    pub tallied_packets: u64,
}

impl Pending {
    /// Takes a record. One that is none is left: the layout test says that there are none such.
    pub fn take(&mut self, record: &[u8]) {
        match abi::read::<Head>(record).map(|head| head.kind) {
            Some(abi::TALLY) => self.records.extend(abi::read(record).map(Record::Tally)),
            Some(abi::FRAME) => self.take_frame(record),
            _ => {}
        }
    }

    fn take_frame(&mut self, record: &[u8]) {
        let Some(head) = abi::read::<FrameHead>(record) else { return };
        let captured = record.get(size_of::<FrameHead>()..).unwrap_or_default();
        let captured = captured.get(..usize::from(head.captured)).unwrap_or(captured);
        let start = self.bytes.len();
        match captured.split_at_checked(ADDRESSES) {
            // Hardware took the tag out of the frame; a capture of frames shows it where it was.
            Some((addresses, rest)) if head.tagged != 0 => {
                self.bytes.extend_from_slice(addresses);
                self.bytes.extend_from_slice(&head.tag_type);
                self.bytes.extend_from_slice(&head.tag.to_be_bytes());
                self.bytes.extend_from_slice(rest);
            }
            _ => self.bytes.extend_from_slice(captured),
        }
        self.records.push(Record::Frame { head, start, len: self.bytes.len() - start });
    }

    /// True if nothing waits.
    pub const fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Bytes of frames that wait.
    pub const fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// What is older than `until_ns`, oldest first; the rest stays.
    pub fn release(&mut self, until_ns: u64, clock: &Clock) -> Released {
        self.records.sort_by_key(Record::order);
        let due = self.records.partition_point(|record| record.order().0 < until_ns);
        let rest = self.records.split_off(due);
        let mut released = Released { batch: Batch::with_capacity(self.bytes.len()), ..Released::default() };
        for record in &self.records {
            self.hand_over(record, clock, &mut released);
        }
        self.keep(rest);
        released
    }

    fn hand_over(&self, record: &Record, clock: &Clock, released: &mut Released) {
        match record {
            Record::Tally(told) => {
                let tally = tally(told, clock);
                released.tallies += 1;
                released.tallied_packets += tally.packets;
                released.batch.push_tally(tally);
            }
            Record::Frame { head, start, len } => {
                let bytes = self.bytes.get(*start..).and_then(|rest| rest.get(..*len)).unwrap_or_default();
                released.frames += 1;
                released.batch.push(&frame(head, bytes, clock));
            }
        }
    }

    fn keep(&mut self, mut rest: Vec<Record>) {
        let mut kept = Vec::new();
        for record in &mut rest {
            if let Record::Frame { start, len, .. } = record {
                let bytes = self.bytes.get(*start..).and_then(|rest| rest.get(..*len)).unwrap_or_default();
                *start = kept.len();
                kept.extend_from_slice(bytes);
            }
        }
        (self.records, self.bytes) = (rest, kept);
    }
}

fn frame<'a>(record: &FrameHead, bytes: &'a [u8], clock: &Clock) -> Frame<'a> {
    let tag = if record.tagged == 0 { 0 } else { TAG as u32 };
    Frame {
        at: clock.wall(record.head.at_ns),
        interface: InterfaceId(record.head.ifindex),
        direction: direction(record.head.way),
        link: if record.head.link == abi::RAW { LinkType::RAW } else { LinkType::ETHERNET },
        original_len: record.len.saturating_add(tag),
        bytes,
    }
}

fn tally(told: &abi::Tally, clock: &Clock) -> Tally {
    let (key, counts) = (&told.key, &told.counts);
    let protocol = IpProtocol(key.protocol);
    let low = (address(&key.low, key.family), u16::from_be_bytes(key.low_port));
    let high = (address(&key.high, key.family), u16::from_be_bytes(key.high_port));
    let tuple = Tuple::new(protocol, low, high);
    Tally {
        tuple: if told.half == 0 { tuple } else { tuple.reversed() },
        interface: InterfaceId(told.head.ifindex),
        direction: direction(told.head.way),
        tunnelled: key.tunnelled != 0,
        first: clock.wall(counts.first_ns),
        last: clock.wall(counts.last_ns),
        packets: counts.packets,
        wire_packets: counts.wire_packets,
        ip_bytes: counts.ip_bytes,
        frame_bytes: counts.frame_bytes,
        payload_bytes: counts.payload_bytes,
        tcp: (protocol == IpProtocol::TCP).then(|| progress(&told.progress, clock)),
    }
}

fn progress(told: &abi::Progress, clock: &Clock) -> Progress {
    Progress {
        next: told.next,
        next_at: clock.wall(told.next_ns),
        acknowledgement: told.acknowledgement,
        window: told.window,
        flags: told.flags,
    }
}

fn address(bytes: &[u8; 16], family: u8) -> IpAddr {
    match (family, *bytes) {
        (4, [a, b, c, d, ..]) => Ipv4Addr::new(a, b, c, d).into(),
        (_, bytes) => Ipv6Addr::from(bytes).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::Item;

    fn frame_record(at_ns: u64, tagged: bool, bytes: &[u8]) -> Vec<u8> {
        let head = Head { at_ns, ifindex: 3, kind: abi::FRAME, way: abi::OUT, link: 0 };
        let head = FrameHead {
            head,
            len: 1500,
            captured: u16::try_from(bytes.len()).unwrap(),
            tagged: tagged.into(),
            tag: 0x2007,
            tag_type: [0x81, 0x00],
            reserved: 0,
        };
        [abi::bytes_of(&head), bytes].concat()
    }

    fn tally_record(last_ns: u64, half: u32) -> Vec<u8> {
        let key = abi::Key {
            low: [10, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            high: [10, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            low_port: 80_u16.to_be_bytes(),
            high_port: 40_000_u16.to_be_bytes(),
            ifindex: 3,
            protocol: 6,
            family: 4,
            ..abi::Key::default()
        };
        let counts = abi::Counts { packets: 5, last_ns, first_ns: 1, ..abi::Counts::default() };
        let head = Head { at_ns: 99, ifindex: 3, kind: abi::TALLY, way: abi::IN, link: 0 };
        let progress = abi::Progress { next: 7, next_ns: 2, ..abi::Progress::default() };
        abi::bytes_of(&abi::Tally { head, key, counts, progress, half, reserved: 0 }).to_vec()
    }

    fn order(released: &Released) -> Vec<&'static str> {
        let name = |item| match item {
            Item::Frame(_) => "frame",
            Item::Tally(_) => "tally",
        };
        released.batch.items().map(name).collect()
    }

    #[test]
    fn the_order_is_that_of_times_and_the_young_wait() {
        let clock = Clock::new();
        let mut pending = Pending::default();
        for record in
            [frame_record(30, false, b"third"), frame_record(10, false, b"first"), tally_record(30, 0)]
        {
            pending.take(&record);
        }
        pending.take(&frame_record(50, false, b"young"));
        let released = pending.release(50, &clock);
        assert_eq!(order(&released), ["frame", "tally", "frame"]);
        assert_eq!((released.frames, released.tallies, released.tallied_packets), (2, 1, 5));
        let bytes: Vec<Vec<u8>> = released.batch.frames().map(|frame| frame.bytes.to_vec()).collect();
        assert_eq!(bytes, [b"first", b"third"]);
        let rest = pending.release(u64::MAX, &clock);
        assert_eq!(rest.batch.frames().next().unwrap().bytes, b"young");
        assert!(pending.is_empty());
        assert_eq!(pending.bytes(), 0);
    }

    #[test]
    fn a_tag_that_hardware_took_out_is_put_back() {
        let mut pending = Pending::default();
        pending.take(&frame_record(1, true, b"AAAAAABBBBBB\x08\x00rest"));
        let released = pending.release(u64::MAX, &Clock::new());
        let frame = released.batch.frames().next().unwrap();
        assert_eq!(frame.bytes, b"AAAAAABBBBBB\x81\x00\x20\x07\x08\x00rest");
        assert_eq!(frame.original_len, 1504);
    }

    #[test]
    fn a_tally_goes_from_its_sender_to_its_receiver() {
        let clock = Clock::new();
        for (half, tuple) in
            [(0, "tcp 10.0.0.1:80 -> 10.0.0.2:40000"), (1, "tcp 10.0.0.2:40000 -> 10.0.0.1:80")]
        {
            let told = abi::read::<abi::Tally>(&tally_record(9, half)).unwrap();
            let tally = tally(&told, &clock);
            assert_eq!(tally.tuple.to_string(), tuple);
            assert_eq!((tally.first, tally.last), (clock.wall(1), clock.wall(9)));
            assert_eq!(tally.tcp.map(|tcp| (tcp.next, tcp.next_at)), Some((7, clock.wall(2))));
        }
    }

    #[test]
    fn what_is_no_record_is_left() {
        let mut pending = Pending::default();
        for record in
            [&b""[..], b"short", &[0; 64], &frame_record(1, false, b"x")[..20], &tally_record(1, 0)[..40]]
        {
            pending.take(record);
        }
        assert!(pending.is_empty());
    }
}
