//! How two address forms are found to be one connection: by the kernel's testimony, else by what no NAT changes.
//!
//! [`Testified`] keeps conntrack entries whose packets have not come yet. [`Twins`] remembers the first packet of each form
//! for 5 s: a packet with the same sequence numbers (TCP) or the same payload and IP id (UDP), **and** the same client end or
//! the same server end, is the same packet on another device. Never the number alone: one shared end is what separates a
//! translation from a coincidence. Both are bounded; what is forgotten only means fewer joins, never wrong ones.

use std::collections::VecDeque;

use hashbrown::HashMap;
use weir_cluster::UnixNanos;

use super::connection::{ConnectionId, NatSource};
use crate::decode::{Packet, Transport};
use crate::testimony::ConntrackEntry;
use crate::tuple::{FormKey, Tuple};

/// Twins are looked for within so many nanoseconds.
const TWIN_WINDOW_NS: u64 = 5_000_000_000;

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

    /// Keeps an entry under both of its forms.
    pub fn put(&mut self, entry: &ConntrackEntry) {
        for form in forms(entry) {
            if self.entries.insert(form, entry.clone()).is_none() {
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

    /// The entry that knows this form.
    #[must_use]
    pub fn get(&self, form: FormKey) -> Option<&ConntrackEntry> {
        self.entries.get(&form)
    }

    /// Takes the entry that knows this form.
    pub fn take(&mut self, form: FormKey) -> Option<ConntrackEntry> {
        let entry = self.entries.remove(&form)?;
        self.drop_entry(&entry);
        Some(entry)
    }

    /// The kernel dropped the entry.
    pub fn drop_entry(&mut self, entry: &ConntrackEntry) {
        for form in forms(entry) {
            self.entries.remove(&form);
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
    std::iter::once(original).chain((reply != original).then_some(reply))
}

/// What a packet keeps through every translation and tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fingerprint {
    hash: u64,
    source: NatSource,
}

impl Fingerprint {
    /// The fingerprint of a packet, where it has one that is worth something.
    #[must_use]
    pub fn of(packet: &Packet<'_>) -> Option<Self> {
        match packet.transport {
            Transport::Tcp(tcp) => {
                let numbers = [
                    u64::from(tcp.sequence) << 32 | u64::from(tcp.acknowledgement),
                    u64::from(tcp.flags.0) << 32 | u64::from(tcp.payload_len),
                ];
                Some(Self { hash: hash(&numbers, &[]), source: NatSource::Sequence })
            }
            Transport::Udp { payload, .. } if payload.len() >= 8 => Some(Self {
                hash: hash(&[u64::from(packet.ip_id.unwrap_or(0))], payload),
                source: NatSource::Payload,
            }),
            _ => None,
        }
    }
}

fn hash(numbers: &[u64], payload: &[u8]) -> u64 {
    let mut hasher = xxhash_rust::xxh3::Xxh3::new();
    for number in numbers {
        hasher.update(&number.to_le_bytes());
    }
    hasher.update(payload);
    hasher.digest()
}

#[derive(Clone, Copy, Debug)]
struct Sighting {
    connection: ConnectionId,
    tuple: Tuple,
    at: UnixNanos,
}

/// First packets of forms, by fingerprint.
#[derive(Debug)]
pub struct Twins {
    sightings: HashMap<Fingerprint, Vec<Sighting>>,
    order: VecDeque<(Fingerprint, UnixNanos)>,
    capacity: usize,
}

impl Twins {
    /// At most `capacity` packets are remembered.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self { sightings: HashMap::new(), order: VecDeque::new(), capacity: capacity.max(1) }
    }

    /// The connection of which this packet, in another form, was seen before; and how that is known. None if there are two
    /// such: what is ambiguous is not joined.
    #[must_use]
    pub fn find(&self, print: Fingerprint, tuple: Tuple, at: UnixNanos) -> Option<(ConnectionId, NatSource)> {
        let mut found = None;
        for sighting in self.sightings.get(&print)? {
            if at.as_nanos().abs_diff(sighting.at.as_nanos()) > TWIN_WINDOW_NS
                || !share_one_end(sighting.tuple, tuple)
            {
                continue;
            }
            if found.is_some_and(|known| known != sighting.connection) {
                return None;
            }
            found = Some(sighting.connection);
        }
        found.map(|connection| (connection, print.source))
    }

    /// Remembers a form's first packet of one way.
    pub fn note(&mut self, print: Fingerprint, connection: ConnectionId, tuple: Tuple, at: UnixNanos) {
        self.sightings.entry(print).or_default().push(Sighting { connection, tuple, at });
        self.order.push_back((print, at));
        while self.order.len() > self.capacity || self.oldest_is_stale(at) {
            self.forget_oldest();
        }
    }

    fn oldest_is_stale(&self, now: UnixNanos) -> bool {
        self.order.front().is_some_and(|(_, at)| now.nanos_since(*at) > TWIN_WINDOW_NS)
    }

    fn forget_oldest(&mut self) {
        let Some((print, at)) = self.order.pop_front() else {
            return;
        };
        if let Some(sightings) = self.sightings.get_mut(&print) {
            if let Some(oldest) = sightings.iter().position(|sighting| sighting.at == at) {
                sightings.swap_remove(oldest);
            }
            if sightings.is_empty() {
                self.sightings.remove(&print);
            }
        }
    }
}

/// DNAT keeps the sender's end, SNAT the receiver's; a packet whose ends both differ is not joined without conntrack.
fn share_one_end(a: Tuple, b: Tuple) -> bool {
    a.protocol == b.protocol && a != b && (a.source == b.source) != (a.destination == b.destination)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tuple::IpProtocol;

    fn tuple(source: &str, destination: &str) -> Tuple {
        Tuple {
            protocol: IpProtocol::TCP,
            source: source.parse().unwrap(),
            destination: destination.parse().unwrap(),
        }
    }

    const PRINT: Fingerprint = Fingerprint { hash: 7, source: NatSource::Sequence };

    #[test]
    fn the_same_number_without_a_shared_end_is_a_coincidence() {
        let mut twins = Twins::new(8);
        twins.note(PRINT, ConnectionId(1), tuple("10.0.0.1:1000", "10.96.0.1:80"), UnixNanos::from_nanos(0));
        let dnat = tuple("10.0.0.1:1000", "10.0.1.1:8080");
        assert_eq!(
            twins.find(PRINT, dnat, UnixNanos::from_nanos(1)),
            Some((ConnectionId(1), NatSource::Sequence))
        );
        assert_eq!(
            twins.find(PRINT, tuple("10.0.0.2:1000", "10.0.1.1:8080"), UnixNanos::from_nanos(1)),
            None
        );
        assert_eq!(
            twins.find(PRINT, tuple("10.0.0.1:1001", "10.0.1.1:8080"), UnixNanos::from_nanos(1)),
            None
        );
        assert_eq!(twins.find(PRINT, dnat, UnixNanos::from_nanos(TWIN_WINDOW_NS + 1)), None);
    }

    #[test]
    fn two_candidates_are_none() {
        let mut twins = Twins::new(8);
        twins.note(PRINT, ConnectionId(1), tuple("10.0.0.1:1000", "10.96.0.1:80"), UnixNanos::from_nanos(0));
        twins.note(PRINT, ConnectionId(2), tuple("10.0.0.1:1000", "10.96.0.2:80"), UnixNanos::from_nanos(0));
        assert_eq!(
            twins.find(PRINT, tuple("10.0.0.1:1000", "10.0.1.1:8080"), UnixNanos::from_nanos(1)),
            None
        );
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut twins = Twins::new(4);
        for number in 0..100 {
            let print = Fingerprint { hash: number, source: NatSource::Sequence };
            twins.note(
                print,
                ConnectionId(number),
                tuple("10.0.0.1:1", "10.0.0.2:2"),
                UnixNanos::from_nanos(number),
            );
        }
        assert_eq!((twins.order.len(), twins.sightings.len()), (4, 4));
        let mut testified = Testified::new(4);
        for port in 1..100 {
            let original = tuple(&format!("10.0.0.1:{port}"), "10.96.0.1:80");
            let reply = tuple("10.0.1.1:8080", &format!("10.0.0.1:{port}"));
            testified.put(&ConntrackEntry { at: UnixNanos::from_nanos(0), original, reply, zone: 0 });
        }
        assert!(testified.entries.len() <= 4);
        assert!(testified.forgotten > 0);
    }
}
