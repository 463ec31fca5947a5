//! TCP at the measured point: handshake times, who opened and closed, segments sent again.
//!
//! Fed every segment of one point in capture order; never two points, or each segment would look like a retransmission.
//! RFC 9293 for states and sequence arithmetic. No clock: times are the packets'.

use weir_cluster::UnixNanos;

use super::connection::{State, Way};
use crate::decode::{Tcp, TcpFlags};

/// What one side has sent.
#[derive(Clone, Copy, Debug, Default)]
pub struct Side {
    /// Its initial sequence number, where its SYN was seen, or the answer to it.
    pub isn: Option<u32>,
    /// Segments with payload, SYN or FIN that were sent again.
    pub retransmissions: u32,
    /// It has said FIN.
    pub fin: bool,
    next: Option<u32>,
    mss: Option<u16>,
}

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
        Some(self.ack_at?.nanos_since(self.syn_ack_at?))
    }

    /// Times that cannot be: a capture that mixed up the order, of which no time is worth anything.
    fn answered_before_asked(&self) -> bool {
        self.syn_at.zip(self.syn_ack_at).is_some_and(|(syn, syn_ack)| syn_ack < syn)
    }

    /// Packets on the wire that a captured segment stands for: segmentation offload shows one big one.
    #[must_use]
    pub fn wire_packets(&self, payload_len: u32) -> u64 {
        let mss = [self.client.mss, self.server.mss].into_iter().flatten().min().map_or(1460, u32::from);
        // Options (timestamps: 12 bytes) take room in each segment of a stream.
        let room = mss.saturating_sub(12).max(1);
        if payload_len <= mss { 1 } else { u64::from(payload_len.div_ceil(room)) }
    }

    /// Takes one segment and says what the state becomes.
    pub fn segment(&mut self, at: UnixNanos, way: Way, tcp: &Tcp<'_>, state: State) -> State {
        self.handshake(at, way, tcp);
        let side = self.side(way);
        if side.sent(tcp) {
            side.retransmissions = side.retransmissions.saturating_add(1);
        }
        self.next_state(way, tcp, state)
    }

    /// Measuring begins anew at another point. What both sides announced stays: it is the same on every device.
    #[must_use]
    pub fn restarted(&self) -> Self {
        let announced = |side: &Side| Side { isn: side.isn, mss: side.mss, ..Side::default() };
        Self { client: announced(&self.client), server: announced(&self.server), ..Self::default() }
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

    fn next_state(&mut self, way: Way, tcp: &Tcp<'_>, state: State) -> State {
        if tcp.flags.has(TcpFlags::RST) {
            self.closed_by = self.closed_by.or(Some(way));
            // After both FINs an RST is housekeeping, not news.
            return if state == State::Closed { State::Closed } else { State::Reset };
        }
        if matches!(state, State::Reset | State::Closed) {
            return state;
        }
        if tcp.flags.has(TcpFlags::FIN) {
            self.closed_by = self.closed_by.or(Some(way));
            self.side(way).fin = true;
        }
        match (self.client.fin, self.server.fin) {
            (true, true) => State::Closed,
            (true, false) | (false, true) => State::Closing,
            _ if way == Way::Reverse => State::Established,
            _ => state,
        }
    }
}

impl Side {
    /// Notes a segment; true if all of it was sent before.
    fn sent(&mut self, tcp: &Tcp<'_>) -> bool {
        let (syn, fin) = (tcp.flags.has(TcpFlags::SYN), tcp.flags.has(TcpFlags::FIN));
        let length = tcp.payload_len + u32::from(syn) + u32::from(fin);
        if length == 0 || tcp.flags.has(TcpFlags::RST) {
            return false;
        }
        let end = tcp.sequence.wrapping_add(length);
        let Some(next) = self.next else {
            self.next = Some(end);
            return false;
        };
        if after(end, next) {
            self.next = Some(end);
            return false;
        }
        // A keep-alive repeats the last byte, or none, and is no retransmission (RFC 9293 section 3.8.4).
        let keep_alive = length <= 1 && !syn && !fin && end == next;
        !keep_alive
    }
}

/// True if sequence number `a` is later than `b` (RFC 9293 section 3.4: modulo 2^32).
const fn after(a: u32, b: u32) -> bool {
    (b.wrapping_sub(a) as i32) < 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(flags: TcpFlags, sequence: u32, payload_len: u32) -> Tcp<'static> {
        Tcp {
            sequence,
            acknowledgement: 6,
            flags,
            window: 0,
            mss: None,
            timestamps: None,
            payload: &[],
            payload_len,
        }
    }

    fn run(steps: &[(u64, Way, TcpFlags, u32, u32)]) -> (Conversation, State) {
        let mut conversation = Conversation::default();
        let mut state = State::Opening;
        for (at, way, flags, sequence, length) in steps {
            state = conversation.segment(
                UnixNanos::from_nanos(*at),
                *way,
                &segment(*flags, *sequence, *length),
                state,
            );
        }
        (conversation, state)
    }

    const SYN_ACK: TcpFlags = TcpFlags(2 | 16);
    const FIN_ACK: TcpFlags = TcpFlags(1 | 16);

    #[test]
    fn a_whole_conversation_is_measured() {
        let (conversation, state) = run(&[
            (10, Way::Forward, TcpFlags::SYN, u32::MAX, 0),
            (30, Way::Reverse, SYN_ACK, 5, 0),
            (45, Way::Forward, TcpFlags::ACK, 0, 0),
            (50, Way::Forward, TcpFlags::ACK, 0, 100),
            (60, Way::Reverse, TcpFlags::ACK, 6, 10),
            (70, Way::Reverse, FIN_ACK, 16, 0),
            (80, Way::Forward, FIN_ACK, 100, 0),
        ]);
        assert_eq!(state, State::Closed);
        assert_eq!(conversation.server_rtt_ns(), Some(20));
        assert_eq!(conversation.client_rtt_ns(), Some(15));
        assert_eq!(conversation.closed_by, Some(Way::Reverse));
        assert_eq!(conversation.client.retransmissions + conversation.server.retransmissions, 0);
    }

    #[test]
    fn a_syn_sent_twice_has_no_round_trip() {
        let (conversation, _) = run(&[
            (10, Way::Forward, TcpFlags::SYN, 7, 0),
            (1_000, Way::Forward, TcpFlags::SYN, 7, 0),
            (1_010, Way::Reverse, SYN_ACK, 5, 0),
        ]);
        assert_eq!(conversation.server_rtt_ns(), None);
        assert_eq!(conversation.client.retransmissions, 1);
    }

    #[test]
    fn an_answer_with_a_time_before_its_question_measures_nothing() {
        let (conversation, _) = run(&[
            (10, Way::Reverse, SYN_ACK, 5, 0),
            (300, Way::Forward, TcpFlags::SYN, 7, 0),
            (330, Way::Forward, TcpFlags::ACK, 8, 0),
        ]);
        assert_eq!((conversation.server_rtt_ns(), conversation.client_rtt_ns()), (None, None));
    }

    #[test]
    fn data_sent_again_counts_and_a_keep_alive_does_not() {
        let (conversation, _) = run(&[
            (1, Way::Forward, TcpFlags::ACK, 100, 50),
            (2, Way::Forward, TcpFlags::ACK, 100, 50),
            (3, Way::Forward, TcpFlags::ACK, 149, 1),
        ]);
        assert_eq!(conversation.client.retransmissions, 1);
    }

    #[test]
    fn a_reset_after_both_fins_is_still_closed() {
        let (_, state) = run(&[
            (1, Way::Forward, FIN_ACK, 1, 0),
            (2, Way::Reverse, FIN_ACK, 1, 0),
            (3, Way::Forward, TcpFlags::RST, 2, 0),
        ]);
        assert_eq!(state, State::Closed);
    }

    #[test]
    fn offloaded_segments_stand_for_wire_packets() {
        let conversation = Conversation::default();
        assert_eq!(conversation.wire_packets(0), 1);
        assert_eq!(conversation.wire_packets(1460), 1);
        assert_eq!(conversation.wire_packets(1448 * 10), 10);
    }
}
