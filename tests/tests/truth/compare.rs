//! Both sides' words -> what was compared, and where they differ. Where both count by different rules, the rule is here, and
//! holds for every capture.

use std::collections::{BTreeMap, BTreeSet};

use crate::told::{Conversation, Dns, Pair, Sum, Told, Translation, Wrapped};
use crate::tshark::Truth;

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Field {
    /// Which conversations there are, and how many of one pair of ends.
    Connections,
    /// Packets and bytes each way.
    Counts,
    /// SYN to the handshake's ACK.
    Handshake,
    /// Segments sent again or out of order.
    Again,
    /// Inner pairs with key and outer pair, packets and bytes.
    Tunnels,
    /// DNS messages.
    Dns,
    /// Which two packets are one.
    Nat,
}

impl Field {
    pub const ALL: [Self; 7] =
        [Self::Connections, Self::Counts, Self::Handshake, Self::Again, Self::Tunnels, Self::Dns, Self::Nat];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::Counts => "counts",
            Self::Handshake => "handshake",
            Self::Again => "again",
            Self::Tunnels => "tunnels",
            Self::Dns => "dns",
            Self::Nat => "nat",
        }
    }
}

/// Where both sides differ.
#[derive(Debug)]
pub struct Difference {
    pub field: Field,
    /// Frame where it begins, where tshark names one.
    pub frame: u64,
    pub what: String,
}

/// What came of a capture.
#[derive(Debug, Default)]
pub struct Compared {
    /// Facts compared.
    pub facts: BTreeMap<Field, u64>,
    pub differences: Vec<Difference>,
    /// Packets that weir counts and tshark does not, of datagrams in pieces.
    pieces: u64,
}

impl Compared {
    fn fact(&mut self, field: Field, same: bool, frame: u64, what: impl FnOnce() -> String) {
        *self.facts.entry(field).or_default() += 1;
        if !same {
            self.differences.push(Difference { field, frame, what: what() });
        }
    }
}

/// What the length field of an IP header can say, with headers in front of it.
const LONGEST_PACKET: u64 = 65_535 + 150;

/// Compares what both sides told of a capture.
pub fn compare(ours: &Told, truth: &Truth) -> Compared {
    let mut compared = Compared::default();
    let theirs = &truth.told;
    let carriers: BTreeSet<&Pair> = truth.carriers.iter().collect();
    let pairs: BTreeSet<&Pair> = ours.conversations.keys().chain(theirs.conversations.keys()).collect();
    for pair in pairs.difference(&carriers).filter(|pair| !ours.carries(pair)) {
        let of = |told: &Told| told.conversations.get(*pair).cloned().unwrap_or_default();
        conversations(pair, of(ours), of(theirs), truth, &mut compared);
    }
    tunnels(ours, truth, &mut compared);
    dns(ours, theirs, &mut compared);
    // A datagram in pieces is one packet there, counted when its last piece came, and each of its pieces is one here.
    let pieces = compared.pieces;
    if truth.fragments > 0 {
        let what = || format!("{pieces} packets more than tshark of {} pieces", truth.fragments);
        compared.fact(Field::Counts, pieces <= truth.fragments, 0, what);
    }
    compared
}

fn conversations(
    pair: &Pair,
    mut ours: Vec<Conversation>,
    mut theirs: Vec<Conversation>,
    truth: &Truth,
    compared: &mut Compared,
) {
    let frame = theirs.first().map_or(0, |first| first.frame);
    ours.sort_by_key(|conversation| conversation.first_ns);
    theirs.sort_by_key(|conversation| conversation.first_ns);
    // Without connections of its own, UDP is one conversation to tshark for ever; weir's are over when they were silent.
    if pair.protocol != "tcp" {
        ours = one(&ours);
        theirs = one(&theirs);
    }
    let pieces = ours.len() == 1 && theirs.is_empty() && truth.fragments > 0;
    let same = ours.len() == theirs.len()
        || pieces
        || ended_by_silence(&ours, &theirs)
        || unreadable(&ours, &theirs);
    compared.fact(Field::Connections, same, frame, || {
        format!("{pair}: {} connections, tshark {}: {ours:?} {theirs:?}", ours.len(), theirs.len())
    });
    if unreadable(&ours, &theirs) {
        return;
    }
    let whole = ours.len() == theirs.len();
    if !whole {
        ours = one(&ours);
        theirs = one(&theirs);
    }
    if pieces {
        theirs = vec![Conversation::default()];
    }
    for (ours, theirs) in ours.iter().zip(&theirs) {
        let same = counted_alike(&ours.ways, &theirs.ways, truth, compared);
        compared
            .fact(Field::Counts, same, frame, || format!("{pair}: {:?} tshark {:?}", ours.ways, theirs.ways));
        if pair.protocol == "tcp" && ours.points == 1 && whole {
            measures(pair, ours, theirs, compared);
        }
    }
}

/// A connection that is over, or silent for its idle time, is over to weir; to tshark none ever is.
fn ended_by_silence(ours: &[Conversation], theirs: &[Conversation]) -> bool {
    !theirs.is_empty()
        && ours.len() > theirs.len()
        && ours.iter().filter(|conversation| !conversation.over).count() <= theirs.len()
}

/// tshark 4.0 reads no packet that is longer than its length field can say (BIG TCP).
fn unreadable(ours: &[Conversation], theirs: &[Conversation]) -> bool {
    let long = |side: &[Conversation]| side.iter().flat_map(|conversation| &conversation.ways).any(is_long);
    theirs.is_empty() && long(ours) || ours.is_empty() && long(theirs)
}

const fn is_long(sum: &Sum) -> bool {
    sum.bytes > sum.packets * LONGEST_PACKET
}

/// The sum of all.
fn one(conversations: &[Conversation]) -> Vec<Conversation> {
    let mut all = conversations.iter().cloned();
    let sum = all.next().map(|first| {
        all.fold(first, |mut sum, more| {
            for (way, more) in sum.ways.iter_mut().zip(more.ways) {
                way.add(more);
            }
            sum.again += more.again;
            sum.handshake_ns = None;
            sum
        })
    });
    sum.into_iter().collect()
}

fn counted_alike(ours: &[Sum; 2], theirs: &[Sum; 2], truth: &Truth, compared: &mut Compared) -> bool {
    if ours == theirs {
        return true;
    }
    let covers = |(ours, theirs): (&Sum, &Sum)| ours.packets >= theirs.packets && ours.bytes >= theirs.bytes;
    let more = |sums: &[Sum; 2]| sums[0].packets + sums[1].packets;
    compared.pieces += more(ours).saturating_sub(more(theirs));
    truth.fragments > 0 && ours.iter().zip(theirs).all(covers)
}

fn measures(pair: &Pair, ours: &Conversation, theirs: &Conversation, compared: &mut Compared) {
    // More than one of either: nobody can tell which one was answered. tshark takes the latest.
    let ambiguous = theirs.openings.iter().any(|count| *count != 1);
    // The answer was captured before its question: no time is worth anything.
    let mixed = ours.client != theirs.client;
    let alike = match (ours.handshake_ns, theirs.handshake_ns) {
        // To tshark the first ACK of either side ends the handshake, were it the server's own next segment.
        (Some(whole), Some(theirs)) => ours.answered_ns <= theirs + 1_000 && theirs <= whole + 1_000,
        // A whole that is no longer than its first half: the ACK has a time before the SYN-ACK's.
        (None, Some(theirs)) => ambiguous || mixed || theirs <= ours.answered_ns,
        (Some(_), None) => false,
        (None, None) => true,
    };
    // A time of zero is none to tshark, be it the SYN's or the handshake's; it goes on to the next ACK.
    if ours.handshake_ns == Some(0) || ours.first_ns == 0 {
        return again(pair, ours, theirs, compared);
    }
    if ours.handshake_ns.is_some() || theirs.handshake_ns.is_some() {
        compared.fact(Field::Handshake, alike, theirs.frame, || {
            format!("{pair}: {:?} ns, tshark {:?}", ours.handshake_ns, theirs.handshake_ns)
        });
    }
    again(pair, ours, theirs, compared);
}

fn again(pair: &Pair, ours: &Conversation, theirs: &Conversation, compared: &mut Compared) {
    if ours.again > 0 || theirs.again > 0 {
        compared.fact(Field::Again, ours.again == theirs.again, theirs.frame, || {
            format!("{pair}: {} sent again, tshark {}", ours.again, theirs.again)
        });
    }
}

fn tunnels(ours: &Told, truth: &Truth, compared: &mut Compared) {
    let pieces = truth.fragments > 0;
    let (ours, theirs) = (by_wrapping(ours, pieces), by_wrapping(&truth.told, pieces));
    let all: BTreeSet<&Wrapped> = ours.keys().chain(theirs.keys()).collect();
    for wrapped in all {
        let of = |told: &BTreeMap<_, Sum>| told.get(wrapped).copied().unwrap_or_default();
        let (ours, theirs) = (of(&ours), of(&theirs));
        if is_long(&ours) {
            continue;
        }
        let whole = ours.packets >= theirs.packets && ours.bytes >= theirs.bytes;
        let same = ours == theirs || truth.fragments > 0 && whole;
        compared.fact(Field::Tunnels, same, 0, || format!("{wrapped:?}: {ours:?} tshark {theirs:?}"));
    }
}

/// A later piece has no ports to tshark, and those of the first one to weir: where there are pieces, by addresses alone.
fn by_wrapping(told: &Told, pieces: bool) -> BTreeMap<Wrapped, Sum> {
    let mut sums: BTreeMap<Wrapped, Sum> = BTreeMap::new();
    for (wrapped, sum) in &told.tunnelled {
        let mut wrapped = wrapped.clone();
        if pieces {
            wrapped.transport = Default::default();
        }
        sums.entry(wrapped).or_default().add(*sum);
    }
    sums
}

/// Messages are compared one by one; where a packet was seen at several points, tshark tells its message as often.
fn dns(ours: &Told, theirs: &Told, compared: &mut Compared) {
    let several = ours.conversations.values().flatten().any(|conversation| conversation.points > 1);
    let mut left: Vec<&Dns> = ours.dns.iter().collect();
    for message in &theirs.dns {
        let found = left.iter().position(|ours| ours.key() == message.key());
        let told = found.map(|at| if several { left[at] } else { left.remove(at) });
        let same = told.is_some_and(|ours| ours.addresses.iter().all(|ip| message.addresses.contains(ip)));
        compared.fact(Field::Dns, same, message.frame, || format!("{message:?}: weir {told:?}"));
    }
    if !several {
        for message in left {
            compared.fact(Field::Dns, false, 0, || format!("{message:?}: tshark does not tell it"));
        }
    }
}

/// Adds what is said of translations to the comparison.
pub fn translations(ours: &Told, theirs: &[Translation], compared: &mut Compared) {
    for Translation { frame, before, after } in theirs {
        let same = ours.translated.contains(&(before.clone(), after.clone()));
        compared.fact(Field::Nat, same, *frame, || format!("{before:?} is {after:?}"));
    }
}
