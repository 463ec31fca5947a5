//! TCP at the measured point: handshake and running round-trip times, who opened and closed, what went wrong on the way.
//!
//! Fed every segment of one point in capture order; never two points, or each segment would look like a retransmission.
//! RFC 9293 for states and sequence arithmetic. No clock: times are the packets'.

use weir_cluster::UnixNanos;

use super::connection::{State, Way};
use super::pack::packed;
use crate::capture::Progress;
use crate::decode::{Tcp, TcpFlags};

mod round_trip;
mod side;

pub use round_trip::RoundTrip;
pub use side::Side;

/// Both sides of a conversation.
#[derive(Clone, Copy, Debug, Default)]
pub struct Conversation {
    /// The client's side.
    pub client: Side,
    /// The server's side.
    pub server: Side,
    /// First SYN of the client.
    pub syn_at: Option<UnixNanos>,
    /// First SYN-ACK of the server.
    pub syn_ack_at: Option<UnixNanos>,
    /// The ACK that ended the handshake.
    pub ack_at: Option<UnixNanos>,
    /// SYNs of the client.
    pub syns: u32,
    /// SYN-ACKs of the server.
    pub syn_acks: u32,
    /// Who ended it first, once somebody did.
    pub closed_by: Option<Way>,
}

impl Conversation {
    /// From SYN to SYN-ACK, nanoseconds. Absent if either was not seen, or the SYN was sent more than once: then nobody can
    /// tell which one was answered.
    #[must_use]
    pub fn server_rtt_ns(&self) -> Option<u64> {
        if self.syns != 1 || self.answered_before_asked() {
            return None;
        }
        Some(self.syn_ack_at?.nanos_since(self.syn_at?))
    }

    /// From SYN-ACK to ACK, nanoseconds. Absent if either was not seen, or the SYN-ACK was sent more than once.
    #[must_use]
    pub fn client_rtt_ns(&self) -> Option<u64> {
        if self.syn_acks != 1 || self.answered_before_asked() {
            return None;
        }
        let (acknowledged, answered) = (self.ack_at?, self.syn_ack_at?);
        (acknowledged >= answered).then(|| acknowledged.nanos_since(answered))
    }

    /// Times that cannot be: a capture that mixed up the order, of which no time is worth anything.
    fn answered_before_asked(&self) -> bool {
        self.syn_at.zip(self.syn_ack_at).is_some_and(|(syn, syn_ack)| syn_ack < syn)
    }

    /// Packets on the wire that a captured segment stands for: segmentation offload shows one big one.
    #[must_use]
    pub fn wire_packets(&self, segment: &Tcp<'_>) -> u64 {
        let mss = [self.client.mss, self.server.mss].into_iter().flatten().min().map_or(1460, u32::from);
        // The size that is announced leaves no room for options (RFC 6691): timestamps take 12 bytes of each segment.
        let options = if segment.timestamps.is_some() { 12 } else { 0 };
        let room = mss.saturating_sub(options).max(1);
        if segment.payload_len <= mss { 1 } else { u64::from(segment.payload_len.div_ceil(room)) }
    }

    /// The server answered the SYN, and the client never acknowledged that: the connection is half open.
    #[must_use]
    pub const fn is_half_open(&self) -> bool {
        self.syn_ack_at.is_some() && self.ack_at.is_none() && self.closed_by.is_none()
    }

    /// Takes one segment and says what the state becomes.
    pub fn segment(&mut self, at: UnixNanos, way: Way, tcp: &Tcp<'_>, state: State) -> State {
        self.handshake(at, way, tcp);
        let (sender, receiver) = match way {
            Way::Forward => (&mut self.client, &mut self.server),
            Way::Reverse => (&mut self.server, &mut self.client),
        };
        sender.sends(at, tcp, receiver.is_ahead_of(tcp.acknowledgement));
        if tcp.flags.has(TcpFlags::ACK) {
            receiver.is_answered(at, tcp);
        }
        self.next_state(way, tcp.flags, state)
    }

    /// Takes segments of which only the sum is known: they went on where those before had stopped, or what they repeated was
    /// handed up. Nothing is judged by them, and what is timed by their numbers cannot be timed any more.
    pub fn counted(&mut self, first: UnixNanos, way: Way, progress: &Progress, state: State) -> State {
        self.client.stop_timing();
        self.server.stop_timing();
        self.side(way).goes_on(first, progress);
        self.next_state(way, TcpFlags(progress.flags), state)
    }

    /// All flags that one side sent past the point that is read. Which end ended it first they do not tell, if both did.
    pub fn seen_aside(&mut self, way: Way, flags: TcpFlags, state: State) -> State {
        let ended = flags.has(TcpFlags::FIN) || flags.has(TcpFlags::RST);
        let other = self.closed_by.take();
        let state = self.next_state(way, flags, state);
        match other {
            Some(_) if ended => self.closed_by = None,
            Some(_) => self.closed_by = other,
            None => {}
        }
        state
    }

    /// Measuring begins anew at another point. What both sides announced stays: it is the same on every device.
    #[must_use]
    pub fn restarted(&self) -> Self {
        Self { client: self.client.restarted(), server: self.server.restarted(), ..Self::default() }
    }

    /// The ends change places.
    pub const fn flip(&mut self) {
        std::mem::swap(&mut self.client, &mut self.server);
        self.closed_by = match self.closed_by {
            Some(Way::Forward) => Some(Way::Reverse),
            Some(Way::Reverse) => Some(Way::Forward),
            None => None,
        };
    }

    const fn side(&mut self, way: Way) -> &mut Side {
        match way {
            Way::Forward => &mut self.client,
            Way::Reverse => &mut self.server,
        }
    }

    fn handshake(&mut self, at: UnixNanos, way: Way, tcp: &Tcp<'_>) {
        let (syn, ack) = (tcp.flags.has(TcpFlags::SYN), tcp.flags.has(TcpFlags::ACK));
        if syn {
            let side = self.side(way);
            side.isn = side.isn.or(Some(tcp.sequence));
            side.mss = side.mss.or(tcp.mss);
        }
        match (way, syn, ack) {
            (Way::Forward, true, false) => {
                self.syns = self.syns.saturating_add(1);
                self.syn_at = self.syn_at.or(Some(at));
            }
            (Way::Reverse, true, true) => {
                self.syn_acks = self.syn_acks.saturating_add(1);
                self.syn_ack_at = self.syn_ack_at.or(Some(at));
                // What it acknowledges is the client's SYN, which may come late from another device.
                self.client.isn = self.client.isn.or(Some(tcp.acknowledgement.wrapping_sub(1)));
            }
            (Way::Forward, false, true) if self.acknowledges_syn(tcp) => {
                self.ack_at = self.ack_at.or(Some(at));
            }
            _ => {}
        }
    }

    /// The ACK that ends the handshake acknowledges the server's SYN, or more; another one is stray or forged.
    fn acknowledges_syn(&self, tcp: &Tcp<'_>) -> bool {
        self.syn_ack_at.is_some() && self.server.isn.is_some_and(|isn| after(tcp.acknowledgement, isn))
    }

    /// Its SYN was seen, or it was begun in its middle.
    const fn may_be_answered(&self) -> bool {
        self.syns > 0 || self.client.isn.is_none()
    }

    fn next_state(&mut self, way: Way, flags: TcpFlags, state: State) -> State {
        if flags.has(TcpFlags::RST) {
            self.closed_by = self.closed_by.or(Some(way));
            // After both FINs an RST is housekeeping, not news.
            return if state == State::Closed { State::Closed } else { State::Reset };
        }
        if matches!(state, State::Reset | State::Closed) {
            return state;
        }
        if flags.has(TcpFlags::FIN) {
            self.closed_by = self.closed_by.or(Some(way));
            self.side(way).fin = true;
        }
        match (self.client.fin, self.server.fin) {
            (true, true) => State::Closed,
            (true, false) | (false, true) => State::Closing,
            _ if way == Way::Reverse => State::Established,
            // The answer that the client acknowledges took another way, or came before the capture.
            _ if state == State::Opening && self.may_be_answered() && acknowledges(flags) => {
                State::Established
            }
            _ => state,
        }
    }
}

const fn acknowledges(flags: TcpFlags) -> bool {
    flags.has(TcpFlags::ACK) && !flags.has(TcpFlags::SYN)
}

/// True if sequence number `a` is later than `b` (RFC 9293 section 3.4: modulo 2^32).
pub(super) const fn after(a: u32, b: u32) -> bool {
    (b.wrapping_sub(a) as i32) < 0
}

packed!(struct Conversation { client, server, syn_at, syn_ack_at, ack_at, syns, syn_acks, closed_by });

#[cfg(test)]
mod tests;
