//! The traffic that weir and its peers read: what pods of one node say, in the shapes that a cluster has.
//!
//! Many short conversations and a few long ones, requests and answers by TCP, names asked by UDP, pings; some calls are
//! refused, some are never answered, some segments are sent twice. Drawn from a fixed seed: the same shape is the same
//! capture, byte for byte. It is one capture point, as the peers know nothing of several.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::Range;

use crate::draw::Draw;
use crate::world::{Kind, Talk};

/// How much traffic, and of which kind.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Conversations.
    pub talks: u32,
    /// Nanoseconds from the first one's beginning to the last one's.
    pub spread_ns: u64,
    /// All are TCP, say a little, and stay open to the end.
    pub open: bool,
}

/// What one packet says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Said {
    Tcp(Segment),
    /// Number of the question in its conversation, and whether this is its answer.
    Dns(u16, bool),
    /// Number of the echo, and whether this is its answer.
    Echo(u16, bool),
}

/// A TCP segment; sequence numbers count from 0 on both sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Segment {
    pub from_client: bool,
    pub flags: Flags,
    pub sequence: u32,
    pub acknowledgement: u32,
    pub payload_len: u32,
}

/// The flags that are used here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Flags {
    Syn,
    SynAck,
    Ack,
    Push,
    FinAck,
    Reset,
}

/// When a packet is seen, and whose it is. The order of time; of equals that of the conversations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Planned {
    pub at_ns: u64,
    pub talk: u32,
    pub said: Said,
}

const MICROSECOND: u64 = 1_000;
const MILLISECOND: u64 = 1_000_000;
const SEGMENT: u32 = 1448;

/// Gives every packet in the order of time. Only what is under way is held.
pub fn each<E>(shape: Shape, mut take: impl FnMut(&Talk, &Planned) -> Result<(), E>) -> Result<(), E> {
    let mut draw = Draw::new(u64::from(shape.talks));
    let mut planned = BinaryHeap::new();
    let mut hand_over = |planned: &mut BinaryHeap<Reverse<Planned>>, until: u64| {
        while let Some(Reverse(next)) = planned.peek().copied().filter(|next| next.0.at_ns <= until) {
            planned.pop();
            take(&Talk::of(next.talk, shape.open), &next)?;
        }
        Ok(())
    };
    for number in 0..shape.talks {
        let begins = shape.spread_ns / u64::from(shape.talks) * u64::from(number);
        hand_over(&mut planned, begins)?;
        let mut script = Script { planned: &mut planned, draw: &mut draw, at_ns: begins, talk: number };
        script.write(Talk::of(number, shape.open).kind, shape.open);
    }
    hand_over(&mut planned, u64::MAX)
}

/// Writes what a conversation will say.
struct Script<'a> {
    planned: &'a mut BinaryHeap<Reverse<Planned>>,
    draw: &'a mut Draw,
    at_ns: u64,
    talk: u32,
}

impl Script<'_> {
    fn write(&mut self, kind: Kind, open: bool) {
        match kind {
            _ if open => self.opened_and_left(),
            Kind::Tcp => self.tcp(),
            Kind::Dns => self.asked_and_answered(2, Said::Dns),
            Kind::Echo => self.asked_and_answered(4, Said::Echo),
        }
    }

    fn say(&mut self, after_ns: Range<u64>, said: Said) {
        self.at_ns += self.draw.within(after_ns);
        self.planned.push(Reverse(Planned { at_ns: self.at_ns, talk: self.talk, said }));
    }

    fn asked_and_answered(&mut self, times: u16, said: fn(u16, bool) -> Said) {
        for number in 0..times {
            self.say(20 * MICROSECOND..MILLISECOND, said(number, false));
            self.say(50 * MICROSECOND..3 * MILLISECOND, said(number, true));
        }
    }

    fn opened_and_left(&mut self) {
        let mut tcp = Tcp::default();
        self.handshake(&mut tcp);
        self.segment(&mut tcp, true, Flags::Push, 100);
        self.segment(&mut tcp, false, Flags::Push, 100);
    }

    fn tcp(&mut self) {
        let mut tcp = Tcp::default();
        match self.draw.within(0..100) {
            0 => {
                for wait in [1, 1000, 2000] {
                    self.at_ns += wait * MILLISECOND;
                    self.segment(&mut Tcp::default(), true, Flags::Syn, 0);
                }
            }
            1 | 2 => {
                self.segment(&mut tcp, true, Flags::Syn, 0);
                self.segment(&mut tcp, false, Flags::Reset, 0);
            }
            _ => {
                self.handshake(&mut tcp);
                for _ in 0..self.draw.heavy(1, 60) {
                    self.exchange(&mut tcp);
                    self.at_ns += self.draw.within(MILLISECOND..200 * MILLISECOND);
                }
                self.segment(&mut tcp, true, Flags::FinAck, 0);
                self.segment(&mut tcp, false, Flags::FinAck, 0);
                self.segment(&mut tcp, true, Flags::Ack, 0);
            }
        }
    }

    fn handshake(&mut self, tcp: &mut Tcp) {
        self.segment(tcp, true, Flags::Syn, 0);
        self.segment(tcp, false, Flags::SynAck, 0);
        self.segment(tcp, true, Flags::Ack, 0);
    }

    /// A request and its answer, every second segment of which is acknowledged.
    fn exchange(&mut self, tcp: &mut Tcp) {
        let asked = self.draw.within(80..600) as u32;
        self.segment(tcp, true, Flags::Push, asked);
        self.segment(tcp, false, Flags::Ack, 0);
        let mut left = self.draw.heavy(200, 40_000);
        let mut unacknowledged = 0;
        while left > 0 {
            let length = left.min(SEGMENT);
            left -= length;
            if self.draw.within(0..200) == 0 {
                let again = *tcp;
                self.segment(&mut again.clone(), false, Flags::Ack, length);
            }
            self.segment(tcp, false, if left == 0 { Flags::Push } else { Flags::Ack }, length);
            unacknowledged += 1;
            if unacknowledged == 2 || left == 0 {
                unacknowledged = 0;
                self.segment(tcp, true, Flags::Ack, 0);
            }
        }
    }

    fn segment(&mut self, tcp: &mut Tcp, from_client: bool, flags: Flags, payload_len: u32) {
        let (mine, other) =
            if from_client { (&mut tcp.client, tcp.server) } else { (&mut tcp.server, tcp.client) };
        let segment = Segment { from_client, flags, sequence: *mine, acknowledgement: other, payload_len };
        let counted = matches!(flags, Flags::Syn | Flags::SynAck | Flags::FinAck);
        *mine += payload_len + u32::from(counted);
        self.say(10 * MICROSECOND..400 * MICROSECOND, Said::Tcp(segment));
    }
}

/// What both sides have sent so far, bytes.
#[derive(Clone, Copy, Default)]
struct Tcp {
    client: u32,
    server: u32,
}
