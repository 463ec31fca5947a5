//! Conversations with all that goes wrong in them: what is sent again, overtaken or lost, windows that close, resets, silence,
//! and ports that are used again.

use proptest::prelude::*;
use weir_cluster::UnixNanos;
use weir_daemon::testimony::{ConntrackEntry, Phase, Testimony};
use weir_daemon::tuple::{IpProtocol, Tuple};

use crate::node::{Call, SECOND, START, Sent, Sight, calls};

/// What happens next in a conversation; `bool` is from the client.
#[derive(Clone, Copy, Debug)]
pub enum Step {
    /// New payload of so many bytes.
    Says(bool, u16),
    /// So many segments of payload, each acknowledged by nobody yet.
    Streams(bool, u8),
    /// The segment so many before the last is sent again.
    Again(bool, u8),
    /// All from the segment so many before the last on is sent again, one after the other.
    AllAgain(bool, u8),
    /// A segment that the capture did not see.
    Unseen(bool, u16),
    /// Two segments that change places on the way.
    Overtaken(bool),
    /// An acknowledgement of everything.
    Acknowledges(bool),
    /// The last acknowledgement, so many times.
    Repeats(bool, u8),
    /// No room, or room again.
    Window(bool, u16),
    KeepsAlive(bool),
    /// Nothing for so many milliseconds.
    Silence(u16),
    Fin(bool),
    Reset(bool),
}

/// How it begins.
#[derive(Clone, Copy, Debug)]
pub enum Beginning {
    Whole,
    /// The SYN comes twice, the second after the answer.
    AskedTwice,
    /// The answer is not acknowledged at first, but by a number of long ago.
    Forged,
    /// The answer is never acknowledged.
    HalfOpen,
    Unanswered,
    /// Before anybody looked.
    Missed,
}

#[derive(Clone, Debug)]
pub struct Story {
    pub call: Call,
    pub beginning: Beginning,
    pub steps: Vec<Step>,
    /// Conntrack tells of it.
    pub tracked: bool,
    /// The same ports are used again after so many milliseconds.
    pub again_ms: Option<u16>,
}

fn step() -> impl Strategy<Value = Step> {
    let from = any::<bool>();

    prop_oneof![
        4 => (from, 1_u16..1400).prop_map(|(from, len)| Step::Says(from, len)),
        3 => (from, 2_u8..40).prop_map(|(from, count)| Step::Streams(from, count)),
        2 => (from, 0_u8..6).prop_map(|(from, back)| Step::Again(from, back)),
        1 => (from, 1_u8..6).prop_map(|(from, back)| Step::AllAgain(from, back)),
        1 => (from, 1_u16..1400).prop_map(|(from, len)| Step::Unseen(from, len)),
        1 => from.prop_map(Step::Overtaken),
        4 => from.prop_map(Step::Acknowledges),
        2 => (from, 1_u8..6).prop_map(|(from, times)| Step::Repeats(from, times)),
        2 => (from, prop_oneof![Just(0_u16), 1_u16..60_000]).prop_map(|(from, to)| Step::Window(from, to)),
        1 => from.prop_map(Step::KeepsAlive),
        2 => silence_ms().prop_map(Step::Silence),
        1 => from.prop_map(Step::Fin),
        1 => (prop::bool::weighted(0.5)).prop_map(Step::Reset),
    ]
}

/// Mostly short, now and then longer than any table keeps an entry.
fn silence_ms() -> impl Strategy<Value = u16> {
    prop_oneof![4 => 0_u16..10, 3 => 10_u16..4_000, 1 => 4_000_u16..45_000]
}

pub fn stories() -> impl Strategy<Value = Vec<Story>> {
    use Beginning::{AskedTwice, Forged, HalfOpen, Missed, Unanswered, Whole};
    let beginnings = [Whole, Whole, Whole, Whole, AskedTwice, Forged, HalfOpen, Unanswered, Missed];
    let story = (
        prop::sample::select(beginnings.to_vec()),
        prop::collection::vec(step(), 0..24),
        any::<bool>(),
        prop::option::weighted(0.3, 0_u16..20_000),
    );
    (calls(), prop::collection::vec(story, 12)).prop_map(|(calls, stories)| {
        let told = calls.into_iter().zip(stories);
        told.map(|(call, (beginning, steps, tracked, again_ms))| Story {
            call,
            beginning,
            steps,
            tracked,
            again_ms,
        })
        .collect()
    })
}

impl Story {
    /// All that the node's devices see of it.
    pub fn sights(&self) -> Vec<Sight> {
        let first = Telling::of(self, 0, self.call.isn);
        let ends = first.at_us;
        let mut sights = self.call.sights_of(&first.sent);
        // Without a SYN nobody can tell that it is another.
        let tells = !matches!(self.beginning, Beginning::Missed) || self.call.udp;
        if let Some(again_ms) = self.again_ms.filter(|_| tells) {
            let later = ends + u64::from(again_ms) * 1000 + 1000;
            let isn = self.call.isn.wrapping_add(1 << 30);
            sights.extend(self.call.sights_of(&Telling::of(self, later, isn).sent));
        }
        sights
    }

    /// Conntrack's word on it, a little after its first packet.
    pub fn testimony(&self) -> Option<(u64, Testimony)> {
        let forms = self.call.forms_in_order();
        let [original, backend] = forms[..] else { return None };
        let protocol = if self.call.udp { IpProtocol::UDP } else { IpProtocol::TCP };
        let tuple = |(client, server): (std::net::SocketAddr, std::net::SocketAddr)| {
            Tuple::new(protocol, (client.ip(), client.port()), (server.ip(), server.port()))
        };
        let at = START + u64::from(self.call.begins_us) * 1000 + 30_000;
        let entry = ConntrackEntry {
            at: UnixNanos::from_nanos(at),
            original: tuple(original),
            reply: tuple(backend).reversed(),
            zone: 0,
            phase: Phase::Opening,
        };
        self.tracked.then_some((at, Testimony::Tracked(entry)))
    }
}

/// What one end has sent.
#[derive(Default)]
struct End {
    next: u32,
    segments: Vec<(u32, Vec<u8>)>,
    window: u16,
    said: Option<(u32, u16)>,
}

/// A story as packets.
struct Telling {
    udp: bool,
    at_us: u64,
    ends: [End; 2],
    sent: Vec<Sent>,
}

impl Telling {
    fn of(story: &Story, begins_us: u64, isn: u32) -> Self {
        let end = |next| End { next, window: 64_000, ..End::default() };
        let ends = [end(isn), end(isn.wrapping_mul(7).wrapping_add(99))];
        let mut telling = Self { udp: story.call.udp, at_us: begins_us, ends, sent: Vec::new() };
        if !telling.udp {
            telling.begin(story.beginning);
        }
        if !matches!(story.beginning, Beginning::Unanswered | Beginning::HalfOpen) || telling.udp {
            story.steps.iter().for_each(|step| telling.step(*step));
        }
        telling
    }

    fn begin(&mut self, beginning: Beginning) {
        if matches!(beginning, Beginning::Missed) {
            return;
        }
        let [client, server] = [&self.ends[0], &self.ends[1]].map(|end| end.next);
        let (after_client, after_server) = (client.wrapping_add(1), server.wrapping_add(1));
        self.send(true, "S", client, 0, &[]);
        (self.ends[0].next, self.ends[1].next) = (after_client, after_server);
        if matches!(beginning, Beginning::Unanswered) {
            return self.send(true, "S", client, 0, &[]);
        }
        self.send(false, "SA", server, after_client, &[]);
        match beginning {
            Beginning::HalfOpen => return self.send(false, "SA", server, after_client, &[]),
            Beginning::AskedTwice => self.send(true, "S", client, 0, &[]),
            Beginning::Forged => self.send(true, "A", after_client, server.wrapping_sub(5000), &[]),
            _ => {}
        }
        self.send(true, "A", after_client, after_server, &[]);
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Says(from, len) => self.says(from, usize::from(len)),
            Step::Streams(from, count) => (0..count).for_each(|_| self.says(from, 1000)),
            Step::Again(from, back) => self.again(from, usize::from(back), 1),
            Step::AllAgain(from, back) => self.again(from, usize::from(back), usize::MAX),
            Step::Unseen(from, len) => {
                self.makes(from, usize::from(len));
            }
            Step::Overtaken(from) => {
                let (first, second) = (self.makes(from, 100), self.makes(from, 120));
                self.carries(from, &second);
                self.carries(from, &first);
            }
            Step::Acknowledges(from) => self.acknowledges(from),
            Step::Repeats(from, times) => (0..times).for_each(|_| self.repeats(from)),
            Step::Window(from, window) => {
                self.end(from).window = window;
                self.acknowledges(from);
            }
            Step::KeepsAlive(from) => {
                let (sequence, acknowledgement) = (self.end(from).next.wrapping_sub(1), self.end(!from).next);
                self.send(from, "A", sequence, acknowledgement, &[]);
            }
            Step::Silence(ms) => self.at_us += self.silence_ms(u64::from(ms)) * 1000,
            Step::Fin(from) => {
                let (sequence, acknowledgement) = (self.end(from).next, self.end(!from).next);
                self.end(from).next = sequence.wrapping_add(1);
                self.send(from, "FA", sequence, acknowledgement, &[]);
            }
            Step::Reset(from) => {
                let (sequence, acknowledgement) = (self.end(from).next, self.end(!from).next);
                self.send(from, "RA", sequence, acknowledgement, &[]);
            }
        }
    }

    /// What a connection says after its end, or after 30 s, is held against nothing by who counts in the kernel.
    fn silence_ms(&self, ms: u64) -> u64 {
        let is = |letter, sent: &Sent| sent.flags.contains(letter);
        let closed = |client| self.sent.iter().any(|sent| is('F', sent) && sent.from_client == client);
        let over = self.sent.iter().any(|sent| is('R', sent)) || closed(true) && closed(false);
        match (self.udp, over) {
            (true, _) => ms,
            (false, true) => ms.min(500),
            (false, false) => ms.min(25_000),
        }
    }

    fn end(&mut self, client: bool) -> &mut End {
        &mut self.ends[usize::from(!client)]
    }

    fn makes(&mut self, from: bool, len: usize) -> (u32, Vec<u8>) {
        let end = self.end(from);
        let filled = end.next.to_le_bytes();
        let segment = (end.next, filled.into_iter().cycle().take(len).collect::<Vec<u8>>());
        end.next = end.next.wrapping_add(len as u32);
        end.segments.push(segment.clone());
        segment
    }

    fn carries(&mut self, from: bool, (sequence, payload): &(u32, Vec<u8>)) {
        let acknowledgement = self.end(!from).next;
        self.send(from, "A", *sequence, acknowledgement, payload);
    }

    fn says(&mut self, from: bool, len: usize) {
        let segment = self.makes(from, len);
        self.carries(from, &segment);
    }

    fn again(&mut self, from: bool, back: usize, count: usize) {
        let segments = &self.end(from).segments;
        let first = segments.len().saturating_sub(1 + back);
        let again: Vec<_> = segments.iter().skip(first).take(count).cloned().collect();
        again.iter().for_each(|segment| self.carries(from, segment));
    }

    fn acknowledges(&mut self, from: bool) {
        let (sequence, acknowledgement) = (self.end(from).next, self.end(!from).next);
        self.send(from, "A", sequence, acknowledgement, &[]);
    }

    fn repeats(&mut self, from: bool) {
        let end = self.end(from);
        let (Some((acknowledgement, _)), sequence) = (end.said, end.next) else { return };
        self.send(from, "A", sequence, acknowledgement, &[]);
    }

    fn send(
        &mut self,
        from_client: bool,
        flags: &'static str,
        sequence: u32,
        acknowledgement: u32,
        payload: &[u8],
    ) {
        if self.udp && payload.is_empty() {
            return;
        }
        let end = self.end(from_client);
        let window = end.window;
        end.said = Some((acknowledgement, window));
        self.sent.push(Sent {
            after_us: self.at_us,
            from_client,
            flags,
            sequence,
            acknowledgement,
            window,
            payload: payload.to_vec(),
        });
        self.at_us += 150 + u64::from(sequence % 7) * 400;
    }
}

/// When the last of these sights is over.
pub fn end_of(sights: &[Sight]) -> u64 {
    sights.iter().map(|sight| sight.at).max().unwrap_or(START) + SECOND
}
