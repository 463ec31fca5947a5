//! What a source does that counts in the kernel, in plain Rust: a stream of frames -> the frames that carry news, and tallies of
//! the rest.
//!
//! Every packet is in the one or in exactly one of the others. The rule is the programs' own; this is a second writing of it, to
//! hold what the pipeline makes of news and tallies against what it makes of every frame.

mod entry;

use std::collections::BTreeMap;

use weir_cluster::UnixNanos;
use weir_daemon::capture::{Batch, Frame, InterfaceId, Tally};
use weir_daemon::decode::{self, Fragment, Packet, TcpFlags, Transport};
use weir_daemon::tuple::{IpProtocol, Tuple};

use crate::node::SECOND;
use entry::Entry;

/// A half is told at its next packet once so much time is over, or it holds so many packets.
const FLUSH_NS: u64 = 5 * SECOND / 2;
const FLUSH_PACKETS: u64 = 1 << 14;
/// After so long without a packet, what is no TCP begins anew: the pipeline may have told its end.
const QUIET_NS: u64 = 10 * SECOND;
/// How often the table is looked over; what rests is told then, and taken out later.
const LOOK_NS: u64 = SECOND;
const UNTOLD_NS: u64 = 2 * SECOND;
const IDLE_NS: u64 = 30 * SECOND;
const DNS_PORT: u16 = 53;

/// A connection on a device: its tuple, the lower end first, and whether it comes wrapped there.
type Key = (Tuple, InterfaceId, bool);

/// The table, and what was told of it.
#[derive(Debug, Default)]
pub struct Kernel {
    entries: BTreeMap<Key, Entry>,
    /// The wall's clock, and one that is never set.
    wall: u64,
    now: u64,
    looked: u64,
    /// Packets that are in tallies and not in frames.
    pub counted: u64,
}

impl Kernel {
    /// Time passes.
    pub fn advance(&mut self, now: u64, out: &mut Batch) {
        self.now += now.saturating_sub(self.wall);
        self.wall = now;
        self.look_over(out);
    }

    /// A frame passes: what is handed up for it.
    pub fn sees(&mut self, frame: &Frame<'_>, out: &mut Batch) {
        self.advance(frame.at.as_nanos(), out);
        let decoded = decode::decode(frame, &decode::Settings::default()).ok();
        if let Some(packet) = &decoded {
            self.is_refused(packet, out);
        }
        let handed_up = match decoded.filter(has_entry) {
            Some(packet) => self.passes(&packet, out),
            None => true,
        };
        if handed_up {
            assert!(out.push(frame), "a batch of frames has room for one more");
        } else {
            self.counted += 1;
        }
    }

    /// Everything that was not told.
    pub fn finish(&mut self, out: &mut Batch) {
        let now = self.now;
        let tallies = self.entries.iter_mut().flat_map(|(key, entry)| entry.tell(*key, now)).collect();
        in_order(tallies, out);
        self.entries.clear();
    }

    /// True if the frame is handed up.
    fn passes(&mut self, packet: &Packet<'_>, out: &mut Batch) -> bool {
        let at = Moment { now: self.now, wall: packet.at };
        let key = key(packet.tuple, packet);
        let side = usize::from(packet.tuple != key.0);
        let known = self.entries.contains_key(&key);
        let entry = self.entries.entry(key).or_default();
        if entry.turns(side, packet) {
            return true;
        }
        let news = !known || entry.is_news(side, packet, at.now);
        if news {
            in_order(entry.tell(key, at.now).collect(), out);
        }
        entry.begins_anew(side, packet, at);
        entry.moves_on(side, packet, at);
        if !news {
            entry.counts(side, packet, at);
            let told = entry.tell_if_due(side, key, at.now);
            in_order(told.into_iter().collect(), out);
        }
        news
    }

    /// An error about a connection's packet may end it: what comes then is news.
    fn is_refused(&mut self, packet: &Packet<'_>, out: &mut Batch) {
        let Transport::Icmp(decode::Icmp { quoted: Some(quoted), .. }) = packet.transport else { return };
        let key = key(quoted.tuple, packet);
        if let Some(mut entry) = self.entries.remove(&key) {
            in_order(entry.tell(key, self.now).collect(), out);
        }
    }

    fn look_over(&mut self, out: &mut Batch) {
        if self.now < self.looked + LOOK_NS {
            return;
        }
        self.looked = self.now;
        let now = self.now;
        let mut tallies = Vec::new();
        self.entries.retain(|key, entry| {
            let silent = now.saturating_sub(entry.last());
            if silent >= UNTOLD_NS {
                tallies.extend(entry.tell(*key, now));
            }
            silent < UNTOLD_NS || silent < IDLE_NS && !entry.is_over()
        });
        in_order(tallies, out);
    }
}

/// When a packet passes.
#[derive(Clone, Copy, Debug)]
struct Moment {
    now: u64,
    wall: UnixNanos,
}

fn key(tuple: Tuple, packet: &Packet<'_>) -> Key {
    (tuple.min(tuple.reversed()), packet.interface, packet.tunnel.is_some())
}

/// A drain is sorted by time.
fn in_order(mut tallies: Vec<Tally>, out: &mut Batch) {
    tallies.sort_by_key(|tally| tally.last);
    tallies.into_iter().for_each(|tally| out.push_tally(tally));
}

/// False for what is always handed up: pieces, DNS, messages about others' packets, and what has no ports where it should.
fn has_entry(packet: &Packet<'_>) -> bool {
    let whole = packet.fragment == Fragment::Whole && packet.wrappings.in_pieces().is_none();
    let dns = [packet.tuple.source, packet.tuple.destination].iter().any(|end| end.port() == DNS_PORT);
    let read = match packet.transport {
        Transport::Tcp(_) | Transport::Udp { .. } | Transport::Sctp { .. } => !dns,
        Transport::Icmp(icmp) => icmp.echo.is_some() && icmp.quoted.is_none(),
        Transport::Other { .. } => packet.tuple.protocol == IpProtocol::ESP,
    };
    whole && read && !packet.is_about_the_link()
}
