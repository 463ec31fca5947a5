//! One connection on one device, both ways: what is kept, and which packets are news to it.

use std::hash::{DefaultHasher, Hash, Hasher};

use weir_daemon::capture::Progress;

use super::*;

/// Without a SYN, so many packets of a connection are news: one device's are compared with another's to find translations.
const COMPARED: u8 = 8;

/// Both ways; 0 is from the lower end.
#[derive(Debug, Default)]
pub struct Entry {
    halves: [Half; 2],
    /// The half that sent the SYN, and its number.
    asked: Option<(usize, u32)>,
    /// The number that the answer to it began with.
    answered: Option<u32>,
    /// The ACK that ends the handshake was seen, or there was no handshake.
    greeted: bool,
    /// The end that sent the SYN has acknowledged something since, which may have come another way.
    spoke: bool,
    /// Reset, or closed and acknowledged: nothing goes on any more.
    over: bool,
    opaque: bool,
    handed_up: u8,
    /// The largest segment that both ends take.
    mss: Option<u16>,
}

/// One way.
#[derive(Debug, Default)]
pub struct Half {
    seen: Option<Seen>,
    untold: Option<Counted>,
    told_at: u64,
    last: u64,
    next: Option<u32>,
    next_at: UnixNanos,
    said: Option<(u32, u16)>,
    full: bool,
    fin: bool,
}

/// How its packets pass: the way through the device, and what is around their IP header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    direction: weir_daemon::capture::Direction,
    outside: u64,
}

/// What passed since it was told.
#[derive(Clone, Copy, Debug)]
pub struct Counted {
    first: UnixNanos,
    last: UnixNanos,
    packets: u64,
    wire_packets: u64,
    ip_bytes: u64,
    frame_bytes: u64,
    payload_bytes: u64,
    flags: u16,
    acknowledged: Option<(u32, u16)>,
}

impl Entry {
    /// A SYN that is not the one before, sent again, begins another connection; so does what is no TCP after a silence.
    pub fn begins_anew(&mut self, side: usize, packet: &Packet<'_>, at: Moment) {
        let anew = match packet.transport {
            Transport::Tcp(tcp) => {
                let asks = tcp.flags.has(TcpFlags::SYN) && !tcp.flags.has(TcpFlags::ACK);
                asks && self.asked != Some((side, tcp.sequence))
            }
            _ => self.is_quiet(at.now),
        };
        if anew {
            *self = Self::default();
            self.halves.iter_mut().for_each(|half| half.told_at = at.now);
        }
    }

    /// When its latest packet passed.
    pub fn last(&self) -> u64 {
        self.halves[0].last.max(self.halves[1].last)
    }

    fn is_quiet(&self, now: u64) -> bool {
        now.saturating_sub(self.last()) >= QUIET_NS
    }

    /// A packet that passes the other way than those before it from the same end: it is no matter of this entry's.
    pub fn turns(&self, side: usize, packet: &Packet<'_>) -> bool {
        self.halves[side].seen.is_some_and(|seen| seen.direction != packet.direction)
    }

    pub fn is_news(&self, side: usize, packet: &Packet<'_>, at: u64) -> bool {
        let half = &self.halves[side];
        let passes = half.seen.is_some_and(|seen| seen.outside == outside(packet));
        let quiet = packet.tuple.protocol != IpProtocol::TCP && self.is_quiet(at);
        let compared = self.asked.is_none() && self.handed_up < COMPARED;
        let opens = packet.opaque.is_some() && !self.opaque;
        !passes || quiet || compared || opens || self.over || self.speaks_up(side, packet)
    }

    /// By what the protocol says.
    fn speaks_up(&self, side: usize, packet: &Packet<'_>) -> bool {
        let (half, other) = (&self.halves[side], &self.halves[1 - side]);
        match packet.transport {
            Transport::Sctp { first_chunk, .. } => !matches!(first_chunk, Some(0 | 3)),
            Transport::Tcp(tcp) => {
                let has = |flags| tcp.flags.has(flags);
                let said = (tcp.acknowledgement, tcp.window);
                let repeats = half.said == Some(said) && other.is_ahead_of(tcp.acknowledgement);
                has(TcpFlags::SYN)
                    || has(TcpFlags::FIN)
                    || has(TcpFlags::RST)
                    || self.is_from(side) && (!self.spoke || self.answered.is_some() && !self.greeted)
                    || half.fin && (other.fin || other.seen.is_none())
                    || tcp.payload_len > 0 && half.next != Some(tcp.sequence)
                    || has(TcpFlags::ACK) && tcp.payload_len == 0 && repeats
                    || has(TcpFlags::ACK) && (tcp.window == 0 || half.full)
            }
            _ => false,
        }
    }

    /// The half that sent the SYN.
    fn is_from(&self, side: usize) -> bool {
        self.asked.is_some_and(|(asked, _)| asked == side)
    }

    /// Keeps how far the packet brings its end.
    pub fn moves_on(&mut self, side: usize, packet: &Packet<'_>, at: Moment) {
        self.opaque |= packet.opaque.is_some();
        self.handed_up = self.handed_up.saturating_add(1);
        let (asked, answers) = (self.is_from(side), self.is_from(1 - side));
        let half = &mut self.halves[side];
        half.seen = Some(Seen { direction: packet.direction, outside: outside(packet) });
        half.last = at.now;
        let Transport::Tcp(tcp) = packet.transport else { return };
        let has = |flags| tcp.flags.has(flags);
        if has(TcpFlags::RST) {
            self.over = true;
            return;
        }
        half.moves_on(&tcp, at.wall);
        self.mss = self.mss.into_iter().chain(tcp.mss).min();
        match (has(TcpFlags::SYN), has(TcpFlags::ACK)) {
            (true, false) => self.asked = Some((side, tcp.sequence)),
            (true, true) if answers => self.answered = self.answered.or(Some(tcp.sequence)),
            (false, true) if asked => {
                self.spoke = true;
                self.greeted |= self.answered.is_some_and(|isn| is_after(tcp.acknowledgement, isn));
            }
            _ => {}
        }
        self.over |= self.halves.iter().all(|half| half.fin) && !has(TcpFlags::FIN);
    }

    pub fn counts(&mut self, side: usize, packet: &Packet<'_>, at: Moment) {
        let wire_packets = self.stands_for(packet);
        self.halves[side].untold.get_or_insert(Counted::none(at.wall)).add(packet, wire_packets, at.wall);
    }

    /// What the kernel knows of a super-packet (`gso_segs`), by the size that the ends agreed on.
    fn stands_for(&self, packet: &Packet<'_>) -> u64 {
        let Transport::Tcp(tcp) = packet.transport else { return 1 };
        let mss = self.mss.map_or(1460, u32::from);
        let room = mss.saturating_sub(if tcp.timestamps.is_some() { 12 } else { 0 }).max(1);
        if tcp.payload_len <= mss { 1 } else { u64::from(tcp.payload_len.div_ceil(room)) }
    }

    /// The half's tally, if it was not told for long or holds much.
    pub fn tell_if_due(&mut self, side: usize, key: Key, at: u64) -> Option<Tally> {
        let half = &mut self.halves[side];
        let full = half.untold.is_some_and(|counted| counted.packets >= FLUSH_PACKETS);
        if full || at.saturating_sub(half.told_at) >= FLUSH_NS { half.tell(side, key, at) } else { None }
    }

    /// Both halves' tallies.
    pub fn tell(&mut self, key: Key, at: u64) -> impl Iterator<Item = Tally> {
        self.halves.iter_mut().enumerate().filter_map(move |(side, half)| half.tell(side, key, at))
    }

    /// Reset, or closed by both and acknowledged.
    pub const fn is_over(&self) -> bool {
        self.over
    }
}

impl Half {
    fn is_ahead_of(&self, acknowledgement: u32) -> bool {
        self.next.is_some_and(|next| is_after(next, acknowledgement))
    }

    fn moves_on(&mut self, tcp: &decode::Tcp<'_>, at: UnixNanos) {
        let has = |flags| tcp.flags.has(flags);
        let (syn, fin) = (has(TcpFlags::SYN), has(TcpFlags::FIN));
        self.fin |= fin;
        let length = tcp.payload_len + u32::from(syn) + u32::from(fin);
        let end = tcp.sequence.wrapping_add(length);
        if self.next.is_none_or(|next| is_after(end, next)) {
            self.next = Some(end);
            if length > 0 {
                self.next_at = at;
            }
        }
        if has(TcpFlags::ACK) {
            self.said = Some((tcp.acknowledgement, tcp.window));
            self.full = tcp.window == 0 && !syn && !fin;
        }
    }

    pub fn tell(&mut self, side: usize, (tuple, interface, tunnelled): Key, at: u64) -> Option<Tally> {
        self.told_at = at;
        let (counted, seen) = (self.untold.take()?, self.seen?);
        let (acknowledgement, window) = counted.acknowledged.unwrap_or_default();
        let progress = Progress {
            next: self.next.unwrap_or_default(),
            next_at: self.next_at,
            acknowledgement,
            window,
            flags: counted.flags,
        };
        Some(Tally {
            tuple: if side == 0 { tuple } else { tuple.reversed() },
            interface,
            direction: seen.direction,
            tunnelled,
            first: counted.first,
            last: counted.last,
            packets: counted.packets,
            wire_packets: counted.wire_packets,
            ip_bytes: counted.ip_bytes,
            frame_bytes: counted.frame_bytes,
            payload_bytes: counted.payload_bytes,
            tcp: (tuple.protocol == IpProtocol::TCP).then_some(progress),
        })
    }
}

impl Counted {
    const fn none(at: UnixNanos) -> Self {
        Self {
            first: at,
            last: at,
            packets: 0,
            wire_packets: 0,
            ip_bytes: 0,
            frame_bytes: 0,
            payload_bytes: 0,
            flags: 0,
            acknowledged: None,
        }
    }

    fn add(&mut self, packet: &Packet<'_>, wire_packets: u64, at: UnixNanos) {
        let payload = match packet.transport {
            Transport::Tcp(tcp) => {
                self.flags |= tcp.flags.0;
                if tcp.flags.has(TcpFlags::ACK) {
                    self.acknowledged = Some((tcp.acknowledgement, tcp.window));
                }
                tcp.payload_len
            }
            Transport::Udp { payload_len, .. }
            | Transport::Sctp { payload_len, .. }
            | Transport::Other { payload_len } => payload_len,
            Transport::Icmp(_) => 0,
        };
        self.first = self.first.min(at);
        self.last = self.last.max(at);
        self.packets += 1;
        self.wire_packets += wire_packets;
        self.ip_bytes += u64::from(packet.ip_len);
        self.frame_bytes += u64::from(packet.frame_len);
        self.payload_bytes += u64::from(payload);
    }
}

/// What is around the IP header: MAC addresses, VLANs, tunnels without their ports.
fn outside(packet: &Packet<'_>) -> u64 {
    let mut hasher = DefaultHasher::new();
    packet.ethernet.hash(&mut hasher);
    packet.vlans.ids().hash(&mut hasher);
    for tunnel in packet.wrappings.tunnels() {
        (tunnel.protocol, tunnel.vni, tunnel.source, tunnel.destination).hash(&mut hasher);
    }
    hasher.finish()
}

/// Sequence number `a` is later than `b`.
const fn is_after(a: u32, b: u32) -> bool {
    (b.wrapping_sub(a) as i32) < 0
}
