//! What one side of a conversation has sent: how far it came, what it sent again or out of order, what it acknowledged twice,
//! when it had no room, and how long its segments took to be answered.
//!
//! Fed this side's segments of one point, in the order of capture. Sequence numbers wrap (RFC 9293 section 3.4).

use weir_cluster::UnixNanos;

use super::after;
use super::round_trip::{RoundTrip, Stopwatch};
use crate::capture::Progress;
use crate::decode::{Tcp, TcpFlags};
use crate::track::pack::packed;

/// A segment that comes so soon after a later one was overtaken by it; one that comes later was sent again. Without the
/// acknowledgements of a sender nobody can tell for certain.
const OVERTAKEN_NS: u64 = 3_000_000;

/// One side.
#[derive(Clone, Copy, Debug, Default)]
pub struct Side {
    /// Its initial sequence number, where its SYN was seen, or the answer to it.
    pub isn: Option<u32>,
    /// Segments with payload, SYN or FIN of which a part was sent before.
    pub retransmissions: u32,
    /// Segments that a later one overtook.
    pub out_of_order: u32,
    /// Acknowledgements that said nothing new while something was missing (RFC 5681 section 2).
    pub duplicate_acks: u32,
    /// How often it had no room.
    pub zero_windows: u32,
    /// Its resets.
    pub resets: u32,
    /// It has said FIN.
    pub fin: bool,
    pub(super) mss: Option<u16>,
    /// Segments of its own were seen.
    seen: bool,
    /// The sequence number that follows all it has sent, and when it got there.
    next: Option<u32>,
    next_at: UnixNanos,
    /// What it acknowledged last, and the window it gave with it.
    acknowledged: Option<(u32, u16)>,
    full_since: Option<UnixNanos>,
    full_ns: u64,
    stopwatch: Stopwatch,
}

packed!(struct Side {
    isn, retransmissions, out_of_order, duplicate_acks, zero_windows, resets, fin, mss, seen, next, next_at, acknowledged,
    full_since, full_ns, stopwatch
});

impl Side {
    /// True if a segment of its own was seen; if not, its counts say nothing.
    #[must_use]
    pub const fn seen(&self) -> bool {
        self.seen
    }

    /// True while what it has sent ends in the half of the sequence numbers that lies before its first.
    pub(in crate::track) fn is_in_the_other_half(&self) -> bool {
        self.isn.zip(self.next).is_some_and(|(isn, next)| after(isn, next))
    }

    /// From its segments to the answers to them.
    #[must_use]
    pub const fn round_trip(&self) -> Option<RoundTrip> {
        self.stopwatch.measured()
    }

    /// How long it had no room, nanoseconds; until `now` where it has none yet.
    #[must_use]
    pub fn zero_window_ns(&self, now: UnixNanos) -> u64 {
        self.full_ns.saturating_add(self.full_since.map_or(0, |since| now.nanos_since(since)))
    }

    /// What it announced when it began is the same on every device; nothing else is.
    pub(super) fn restarted(&self) -> Self {
        Self { isn: self.isn, mss: self.mss, ..Self::default() }
    }

    /// Notes a segment of its own. `missing`: the other side has sent what this one has not acknowledged.
    pub(super) fn sends(&mut self, at: UnixNanos, tcp: &Tcp<'_>, missing: bool) {
        self.seen = true;
        if tcp.flags.has(TcpFlags::RST) {
            self.resets = self.resets.saturating_add(1);
            return;
        }
        self.acknowledges(at, tcp, missing);
        self.carries(at, tcp);
    }

    /// Takes segments that were counted. The last of a window that was closed may be among them only if a frame was lost.
    pub(super) fn goes_on(&mut self, first: UnixNanos, progress: &Progress) {
        self.seen = true;
        let flags = TcpFlags(progress.flags);
        if flags != TcpFlags::RST && self.next.is_none_or(|next| !after(next, progress.next)) {
            (self.next, self.next_at) = (Some(progress.next), progress.next_at);
        }
        if flags.has(TcpFlags::ACK) {
            self.acknowledged = Some((progress.acknowledgement, progress.window));
            if progress.window > 0
                && let Some(since) = self.full_since.take()
            {
                self.full_ns = self.full_ns.saturating_add(first.nanos_since(since));
            }
        }
    }

    /// Some of the segments that are timed, or of the answers to them, are not seen.
    pub(super) fn stop_timing(&mut self) {
        self.stopwatch.stop();
    }

    /// The other side acknowledged what this one sent.
    pub(super) fn is_answered(&mut self, at: UnixNanos, tcp: &Tcp<'_>) {
        self.stopwatch.answered(at, tcp);
    }

    /// True if it has sent something that is not acknowledged by this number.
    pub(super) fn is_ahead_of(&self, acknowledgement: u32) -> bool {
        self.next.is_some_and(|next| after(next, acknowledgement))
    }

    fn carries(&mut self, at: UnixNanos, tcp: &Tcp<'_>) {
        let (syn, fin) = (tcp.flags.has(TcpFlags::SYN), tcp.flags.has(TcpFlags::FIN));
        let length = tcp.payload_len + u32::from(syn) + u32::from(fin);
        let end = tcp.sequence.wrapping_add(length);
        // An empty segment carries nothing, but says how far its sender is.
        if length == 0 {
            self.next = self.next.filter(|next| !after(end, *next)).or(Some(end));
            return;
        }
        let Some(next) = self.next.filter(|next| after(*next, tcp.sequence)) else {
            (self.next, self.next_at) = (Some(end), at);
            return self.stopwatch.sent(at, tcp, end);
        };
        // A keep-alive repeats the last byte, or none, and is no retransmission (RFC 9293 section 3.8.4).
        if length <= 1 && !syn && !fin && end == next {
            return;
        }
        if end != next && at.nanos_since(self.next_at) < OVERTAKEN_NS {
            self.out_of_order = self.out_of_order.saturating_add(1);
        } else {
            self.retransmissions = self.retransmissions.saturating_add(1);
            self.stopwatch.sent_again(at, tcp, end);
        }
        if after(end, next) {
            (self.next, self.next_at) = (Some(end), at);
        }
    }

    fn acknowledges(&mut self, at: UnixNanos, tcp: &Tcp<'_>, missing: bool) {
        if !tcp.flags.has(TcpFlags::ACK) {
            return;
        }
        let (syn, fin) = (tcp.flags.has(TcpFlags::SYN), tcp.flags.has(TcpFlags::FIN));
        let said = (tcp.acknowledgement, tcp.window);
        let empty = tcp.payload_len == 0 && !syn && !fin;
        if empty && missing && tcp.window > 0 && self.acknowledged == Some(said) {
            self.duplicate_acks = self.duplicate_acks.saturating_add(1);
        }
        self.acknowledged = Some(said);
        match (tcp.window == 0 && !syn && !fin, self.full_since) {
            (true, None) => {
                self.full_since = Some(at);
                self.zero_windows = self.zero_windows.saturating_add(1);
            }
            (false, Some(since)) => {
                self.full_since = None;
                self.full_ns = self.full_ns.saturating_add(at.nanos_since(since));
            }
            _ => {}
        }
    }
}
