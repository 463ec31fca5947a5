//! What a source's frames and tallies add up to, by conversation, device and way.

use std::collections::BTreeMap;

use weir_daemon::capture::{Direction, Frame, Input, InterfaceId, Item, Tally};
use weir_daemon::decode::{self, Transport};
use weir_daemon::tuple::Tuple;

/// What passed one way of one device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Passed {
    pub frames: u64,
    pub packets: u64,
    /// Of tallies alone.
    pub wire_packets: u64,
    pub frame_bytes: u64,
    pub ip_bytes: u64,
    pub payload_bytes: u64,
}

impl Passed {
    fn add(&mut self, more: &Self) {
        self.frames += more.frames;
        self.packets += more.packets;
        self.wire_packets += more.wire_packets;
        self.frame_bytes += more.frame_bytes;
        self.ip_bytes += more.ip_bytes;
        self.payload_bytes += more.payload_bytes;
    }
}

/// [`Direction`], in an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum To {
    In,
    Out,
}

pub type Ways = BTreeMap<(Tuple, InterfaceId, To), Passed>;

type Key = (Tuple, InterfaceId, To);

/// Sums of frames and tallies. What is no IP is left out.
pub fn passed(inputs: &[Input]) -> Ways {
    let mut ways = Ways::new();
    for input in inputs {
        let Input::Frames(batch) = input else { continue };
        for item in batch.items() {
            let passed = match item {
                Item::Tally(tally) => Some(of_tally(tally)),
                Item::Frame(frame) => of_frame(&frame),
            };
            if let Some((key, passed)) = passed {
                ways.entry(key).or_default().add(&passed);
            }
        }
    }
    ways
}

fn of_tally(tally: &Tally) -> (Key, Passed) {
    let passed = Passed {
        frames: 0,
        packets: tally.packets,
        wire_packets: tally.wire_packets,
        frame_bytes: tally.frame_bytes,
        ip_bytes: tally.ip_bytes,
        payload_bytes: tally.payload_bytes,
    };
    ((tally.tuple, tally.interface, to(tally.direction)), passed)
}

fn of_frame(frame: &Frame<'_>) -> Option<(Key, Passed)> {
    let packet = decode::decode(frame, &decode::Settings::default()).ok()?;
    let payload = match packet.transport {
        Transport::Tcp(tcp) => tcp.payload_len,
        Transport::Udp { payload_len, .. }
        | Transport::Sctp { payload_len, .. }
        | Transport::Other { payload_len } => payload_len,
        Transport::Icmp(_) => 0,
    };
    let passed = Passed {
        frames: 1,
        packets: 1,
        wire_packets: 0,
        frame_bytes: packet.frame_len.into(),
        ip_bytes: packet.ip_len.into(),
        payload_bytes: payload.into(),
    };
    Some(((packet.tuple, frame.interface, to(frame.direction)), passed))
}

fn to(direction: Direction) -> To {
    if direction == Direction::Inbound { To::In } else { To::Out }
}

/// Sums over all conversations with this port.
pub fn with_port(ways: &Ways, port: u16, to: To) -> Passed {
    let mut all = Passed::default();
    for ((tuple, _, way), sum) in ways {
        if *way == to && (tuple.source.port() == port || tuple.destination.port() == port) {
            all.add(sum);
        }
    }
    all
}
