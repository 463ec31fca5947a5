//! How two address forms are found to be one connection: by the kernel's testimony, else by what no NAT changes.
//!
//! [`Testified`] keeps conntrack entries whose packets have not come yet. [`Twins`] remembers the first packets of each connection
//! for 5 s: a packet with the same sequence numbers (TCP) or the same payload and IP id (UDP, ICMP echo), **and** the same client end or
//! the same server end, is the same packet on another device. Never the number alone: one shared end is what separates a
//! translation from a coincidence. Both are bounded; what is forgotten only means fewer joins, never wrong ones.

use std::collections::VecDeque;

use hashbrown::{HashMap, HashTable};
use weir_cluster::UnixNanos;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::connection::{ConnectionId, NatSource};
use crate::capture::{Direction, InterfaceId, Role};
use crate::decode::{Icmp, Packet, Transport};
use crate::testimony::ConntrackEntry;
use crate::tuple::{FormKey, IpProtocol, Tuple};

/// Twins are looked for within so many nanoseconds.
const TWIN_WINDOW_NS: u64 = 5_000_000_000;

/// Datagrams without an IP id of their own (0, or IPv6) look alike sooner: the packet passes the node within this.
const WEAK_WINDOW_NS: u64 = 50_000_000;
/// The conntrack reader dumps its table every 30 s; an entry that two dumps and some did not name is no more.
const CONFIRMED_NS: u64 = 120_000_000_000;
/// Bytes of a datagram's payload that are compared: so many are captured of it in any tunnel.
const PRINTED: usize = 96;
/// Sightings with one fingerprint that are compared.
const CHAIN: usize = 16;

/// Conntrack entries not yet claimed by a packet.
#[derive(Debug)]
pub struct Testified {
    entries: HashMap<FormKey, ConntrackEntry>,
    order: VecDeque<(FormKey, UnixNanos)>,
    capacity: usize,
    /// Entries forgotten for lack of room.
    pub forgotten: u64,
}

impl Testified {
    /// At most `capacity` forms are kept.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self { entries: HashMap::new(), order: VecDeque::new(), capacity: capacity.max(2), forgotten: 0 }
    }

    /// Forms that are waited for.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.entries.len()
    }

    /// Keeps an entry under all of its forms. The one in between is left to an entry that has it for its own.
    pub fn put(&mut self, entry: &ConntrackEntry) {
        let between = entry.between().map(Tuple::form);
        for form in forms(entry) {
            let taken = Some(form) == between
                && self.entries.get(&form).is_some_and(|known| known.original != entry.original);
            if !taken && self.entries.insert(form, entry.clone()).is_none() {
                self.order.push_back((form, entry.at));
            }
        }
        while self.entries.len() > self.capacity {
            let Some((form, _)) = self.order.pop_front() else {
                break;
            };
            if self.entries.remove(&form).is_some() {
                self.forgotten += 1;
            }
        }
        self.compact();
    }

    /// Takes the entry that knows this form. One that no dump has confirmed for long is gone from the kernel, and the event that
    /// said so was lost.
    pub fn take(&mut self, form: FormKey, now: UnixNanos) -> Option<ConntrackEntry> {
        let entry = self.entries.remove(&form)?;
        self.drop_entry(&entry);
        (now.nanos_since(entry.at) <= CONFIRMED_NS).then_some(entry)
    }

    /// The kernel dropped the entry.
    pub fn drop_entry(&mut self, entry: &ConntrackEntry) {
        let between = entry.between().map(Tuple::form);
        for form in forms(entry) {
            let own = self.entries.get(&form).is_some_and(|known| known.original == entry.original);
            if own || Some(form) != between {
                self.entries.remove(&form);
            }
        }
    }

    /// `order` keeps names of entries that were taken; it is rebuilt before they outnumber the rest.
    fn compact(&mut self) {
        if self.order.len() > 2 * self.entries.len() + 1024 {
            let entries = &self.entries;
            self.order.retain(|(form, _)| entries.contains_key(form));
        }
    }
}

fn forms(entry: &ConntrackEntry) -> impl Iterator<Item = FormKey> {
    let (original, reply) = (entry.original.form(), entry.reply.form());
    let between = entry.between().map(Tuple::form);
    std::iter::once(original).chain((reply != original).then_some(reply)).chain(between)
}

/// What a packet keeps through every translation and tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fingerprint {
    hash: u64,
    source: NatSource,
    weak: bool,
}

impl Fingerprint {
    /// The fingerprint of a packet, where it has one that is worth something.
    #[must_use]
    pub fn of(packet: &Packet<'_>) -> Option<Self> {
        match packet.transport {
            Transport::Tcp(tcp) => {
                let (sent, echoed) = tcp.timestamps.unwrap_or_default();
                let mut numbers = [0_u8; 24];
                numbers[..4].copy_from_slice(&tcp.sequence.to_le_bytes());
                numbers[4..8].copy_from_slice(&tcp.acknowledgement.to_le_bytes());
                numbers[8..12].copy_from_slice(&tcp.payload_len.to_le_bytes());
                numbers[12..14].copy_from_slice(&tcp.flags.0.to_le_bytes());
                numbers[14..16].copy_from_slice(&tcp.window.to_le_bytes());
                numbers[16..20].copy_from_slice(&sent.to_le_bytes());
                numbers[20..].copy_from_slice(&echoed.to_le_bytes());
                Some(Self { hash: xxh3_64(&numbers), source: NatSource::Sequence, weak: false })
            }
            Transport::Udp { payload, payload_len } if payload.len() >= 8 => {
                let id = packet.ip_id.unwrap_or(0);
                let seed = u64::from(payload_len) << 32 | u64::from(id);
                let hash = xxh3_64_with_seed(payload.get(..PRINTED).unwrap_or(payload), seed);
                Some(Self { hash, source: NatSource::Payload, weak: id == 0 })
            }
            Transport::Icmp(icmp) => Self::of_echo(packet, icmp),
            _ => None,
        }
    }

    /// An echo keeps its checksum, which ICMPv6 computes over the addresses too, and so does not keep it. Where the translation
    /// gave it another identifier it has another checksum, and is not found.
    fn of_echo(packet: &Packet<'_>, icmp: Icmp) -> Option<Self> {
        let (sequence, checksum) = icmp.echo.filter(|_| packet.tuple.protocol == IpProtocol::ICMP)?;
        let id = packet.ip_id.unwrap_or(0);
        let kind = u64::from(icmp.kind) << 48 | u64::from(packet.tuple.source.port()) << 32 | u64::from(id);
        let seed = u64::from(sequence) << 16 | u64::from(checksum);
        let hash = xxh3_64_with_seed(&kind.to_le_bytes(), seed);
        Some(Self { hash, source: NatSource::Payload, weak: id == 0 })
    }

    const fn window(self) -> u64 {
        if self.weak { WEAK_WINDOW_NS } else { TWIN_WINDOW_NS }
    }
}

/// Where a packet was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passage {
    /// The device.
    pub interface: InterfaceId,
    /// Its role.
    pub role: Role,
    /// Which way.
    pub direction: Direction,
    /// Time to live there.
    pub ttl: u8,
    /// Identification, which no translation changes.
    pub ip_id: Option<u32>,
}

impl Passage {
    /// True if no single packet can pass both, first this and then the other: it passes a device once each way, and leaves and
    /// enters pods once. A program that sends one question to two servers sends two packets by one device.
    fn excludes(self, then: Self) -> bool {
        let same_device = self.interface == then.interface;
        let both_pods = self.role == Role::PodVeth && then.role == Role::PodVeth;
        match (self.direction, then.direction) {
            // Whoever translates a packet and sends it back where it came from routes it, which costs one hop and leaves it its
            // identification. A scanner's packets have one number, and any hops and identifications.
            (Direction::Unknown, Direction::Unknown) => {
                let routed = self.ttl.checked_sub(1) == Some(then.ttl) && self.ip_id == then.ip_id;
                same_device && !routed
            }
            (one, another) => one == another && (same_device || both_pods),
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Sighting {
    print: Fingerprint,
    connection: ConnectionId,
    tuple: Tuple,
    passage: Passage,
    at: UnixNanos,
    /// Number of the sighting before this one with the same print; 0 for none.
    previous: u64,
}

/// First packets of connections, by fingerprint. A ring without an allocation a packet.
#[derive(Debug)]
pub struct Twins {
    /// Numbers of the latest sightings, by their prints, which stand in the ring: so few bytes that they stay in the cache.
    latest: HashTable<u64>,
    ring: VecDeque<Sighting>,
    /// Number of the oldest sighting in the ring, from 1.
    oldest: u64,
    capacity: usize,
}

impl Twins {
    /// At most `capacity` packets are remembered.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self { latest: HashTable::new(), ring: VecDeque::new(), oldest: 1, capacity: capacity.max(1) }
    }

    /// The connection of which this packet, in another form, was seen before; and how that is known. None if there are two
    /// such: what is ambiguous is not joined. `own` is the connection that has the packet's form, where one has: no packet of it
    /// and of the other may have passed where one and the same cannot pass twice.
    #[must_use]
    pub fn find(
        &self,
        print: Fingerprint,
        own: Option<ConnectionId>,
        tuple: Tuple,
        passage: Passage,
        at: UnixNanos,
    ) -> Option<(ConnectionId, NatSource)> {
        let mut found = None;
        let twins =
            || self.chain(print).filter(|twin| twin.at.as_nanos().abs_diff(at.as_nanos()) <= print.window());
        let mine = || {
            twins()
                .filter(|twin| Some(twin.connection) == own)
                .map(|twin| (twin.tuple, twin.passage, twin.at))
        };
        for twin in twins().filter(|twin| share_one_end(twin.tuple, tuple)) {
            let another = |other: Sighting| {
                other.connection == twin.connection
                    && mine().chain([(tuple, passage, at)]).any(|(tuple, passage, at)| {
                        other.tuple != tuple && apart((other.passage, other.at), (passage, at))
                    })
            };
            if twins().any(another) {
                continue;
            }
            if found.is_some_and(|known| known != twin.connection) {
                return None;
            }
            found = Some(twin.connection);
        }
        found.map(|connection| (connection, print.source))
    }

    /// Remembers a packet.
    pub fn note(
        &mut self,
        print: Fingerprint,
        connection: ConnectionId,
        tuple: Tuple,
        passage: Passage,
        at: UnixNanos,
    ) {
        // Before there is one more, so that a full ring never grows.
        while self.ring.len() >= self.capacity || self.oldest_is_stale(at) {
            self.forget_oldest();
        }
        let number = self.oldest + self.ring.len() as u64;
        let Self { latest, ring, oldest, .. } = self;
        let print_of = |number: u64| sighting(ring, *oldest, number).map(|sighting| sighting.print);
        let previous = match latest.find_mut(print.hash, |known| print_of(*known) == Some(print)) {
            Some(known) => std::mem::replace(known, number),
            None => {
                let hash_of = |known: &u64| print_of(*known).map_or(0, |print| print.hash);
                latest.insert_unique(print.hash, number, hash_of);
                0
            }
        };
        self.ring.push_back(Sighting { print, connection, tuple, passage, at, previous });
    }

    /// The latest sightings with this print; what many packets share tells nothing of any.
    fn chain(&self, print: Fingerprint) -> impl Iterator<Item = Sighting> {
        let at = |number: u64| sighting(&self.ring, self.oldest, number);
        let is_latest = |known: &u64| at(*known).is_some_and(|sighting| sighting.print == print);
        let mut next = self.latest.find(print.hash, is_latest).copied().unwrap_or(0);
        std::iter::from_fn(move || {
            let sighting = *at(next)?;
            next = sighting.previous;
            Some(sighting)
        })
        .take(CHAIN)
    }

    fn oldest_is_stale(&self, now: UnixNanos) -> bool {
        self.ring.front().is_some_and(|oldest| now.nanos_since(oldest.at) > TWIN_WINDOW_NS)
    }

    fn forget_oldest(&mut self) {
        let Some(gone) = self.ring.pop_front() else { return };
        if let Ok(latest) = self.latest.find_entry(gone.print.hash, |known| *known == self.oldest) {
            latest.remove();
        }
        self.oldest += 1;
    }
}

/// The sighting of that number, while it is in the ring.
fn sighting(ring: &VecDeque<Sighting>, oldest: u64, number: u64) -> Option<&Sighting> {
    ring.get(usize::try_from(number.checked_sub(oldest)?).ok()?)
}

/// True if no single packet can be both sightings.
fn apart(one: (Passage, UnixNanos), other: (Passage, UnixNanos)) -> bool {
    let (first, then) = if one.1 <= other.1 { (one, other) } else { (other, one) };
    first.0.excludes(then.0)
}

/// DNAT keeps the sender's end, SNAT the receiver's; a packet whose ends both differ is not joined without conntrack.
fn share_one_end(a: Tuple, b: Tuple) -> bool {
    a.protocol == b.protocol && a != b && (a.source == b.source) != (a.destination == b.destination)
}

#[cfg(test)]
mod tests;
