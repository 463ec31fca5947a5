//! A tally of packets that were counted where they passed -> the connection's counters, its progress and its evidence.
//!
//! It comes some time after its packets, and after the frames that told of their connection. One whose connection is not known,
//! since such a frame was lost or it had to make room, begins it in its middle. Nothing is read that a sum cannot say: no message,
//! no retransmission, no round trip.

use weir_cluster::UnixNanos;

use super::connection::{Connection, Counts, Gaps, State, Way};
use super::observe::{Sighting, nearer, note_over, point_of, remeasure, witness};
use super::{Place, SECOND, Sink, Tracker};
use crate::capture::{Progress, Role, Tally};
use crate::decode::{TcpFlags, Vlans};
use crate::tuple::{IpProtocol, Tuple};

/// Whose a tally is that has a known form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whose {
    /// The connection's that is known by it.
    Its,
    /// That of one before it, which is gone.
    Former,
    /// Another one's, of which nothing else is known.
    Next,
}

impl Tracker {
    /// Takes what was counted on a device of this role. Time does not go back for it. What is far ahead was counted before the
    /// clock was set back, and is taken for now's: else its connection would wait for a time that has been.
    pub fn tally(&mut self, tally: &Tally, role: Role, sink: Sink<'_>) {
        let ahead = tally.last > self.now.plus_nanos(10 * SECOND) && !self.timers.is_empty();
        let tally = if ahead { at_latest(tally, self.now) } else { *tally };
        self.advance(self.now.max(tally.last), sink);
        self.stats.packets = self.stats.packets.saturating_add(tally.packets);
        let Some(place) = self.place_of_tally(&tally, sink) else {
            self.stats.superseded = self.stats.superseded.saturating_add(tally.packets);
            return;
        };
        if let Some(connection) = self.connections.get_mut(place.slot) {
            connection.gaps.reduced = connection.gaps.reduced.max(self.detail);
            connection.emission.late |= connection.emission.ended;
            add(connection, place.form, &tally, role);
        }
        self.reconsider(place.slot, sink);
        self.claim_named(sink);
    }

    fn place_of_tally(&mut self, tally: &Tally, sink: Sink<'_>) -> Option<Place> {
        if let Some(place) = self.known(tally.tuple) {
            match self.whose(place, tally) {
                Whose::Its => return Some(place),
                Whose::Former => return None,
                Whose::Next => self.make_way(place, sink),
            }
        }
        if let Some(entry) = self.testified.take(tally.tuple.form(), tally.first) {
            let begin = |tracker: &mut Self, sink: Sink<'_>| tracker.begin_in_the_middle(tally, sink);
            return Some(self.testified_place(&entry, tally.tuple, begin, sink));
        }
        Some(self.begin_in_the_middle(tally, sink))
    }

    fn whose(&self, place: Place, tally: &Tally) -> Whose {
        let Some(connection) = self.connections.get(place.slot) else { return Whose::Next };
        let emission = &connection.emission;
        if !connection.gaps.midstream && tally.last < connection.first_packet {
            return Whose::Former;
        }
        let straggles = connection.tcp.is_some() && matches!(connection.state, State::Closed | State::Reset);
        let before_the_end = emission.over_at.is_some_and(|over| tally.first <= over);
        if !emission.ended || straggles || before_the_end { Whose::Its } else { Whose::Next }
    }

    fn begin_in_the_middle(&mut self, tally: &Tally, sink: Sink<'_>) -> Place {
        let tuple = if is_from_client(tally) { tally.tuple } else { tally.tuple.reversed() };
        let gaps = Gaps { midstream: true, ..Gaps::default() };
        self.insert(tuple, tally.first, gaps, None, sink)
    }
}

fn at_latest(tally: &Tally, now: UnixNanos) -> Tally {
    let tcp = tally.tcp.map(|progress| Progress { next_at: progress.next_at.min(now), ..progress });
    Tally { first: tally.first.min(now), last: now, tcp, ..*tally }
}

/// As of a packet from the middle: who has the greater port is the client, where ports tell, and who asks a name server.
fn is_from_client(tally: &Tally) -> bool {
    let Tuple { protocol, source, destination } = tally.tuple;
    match protocol {
        IpProtocol::TCP | IpProtocol::SCTP => source.port() >= destination.port(),
        IpProtocol::UDP => source.port() != 53 || destination.port() == 53,
        _ => true,
    }
}

fn add(connection: &mut Connection, form: usize, tally: &Tally, role: Role) {
    let way = connection.way_of(form, tally.tuple);
    connection.first_packet = connection.first_packet.min(tally.first);
    connection.last_packet = connection.last_packet.max(tally.last);
    let sighting = Sighting {
        at: tally.first,
        interface: tally.interface,
        role,
        direction: tally.direction,
        tunnelled: tally.tunnelled,
        vlans: Vlans::default(),
    };
    let Some(index) = point_of(connection, form, &sighting, way) else { return };
    let flags = TcpFlags(tally.tcp.map_or(0, |progress| progress.flags));
    if let Some(point) = connection.path.get_mut(index) {
        point.counters.way(way).add(&counts(tally));
        let passed = if way == Way::Forward { &mut point.flags.0 } else { &mut point.flags.1 };
        *passed = passed.with(flags);
        point.first = point.first.min(tally.first);
        point.last = point.last.max(tally.last);
        if tally.tunnelled {
            point.tunnels.add(way, tally.packets, tally.frame_bytes);
        }
    }
    if nearer(connection, index) {
        remeasure(connection, index);
    }
    witness(connection, &sighting, way, tally.packets == 1 && flags.has(TcpFlags::RST));
    if connection.counting(way) == index {
        go_on(connection, tally, way);
    }
}

const fn counts(tally: &Tally) -> Counts {
    let Tally { packets, wire_packets, ip_bytes, frame_bytes, payload_bytes, .. } = *tally;
    Counts { packets, wire_packets, ip_bytes, frame_bytes, payload_bytes }
}

/// Moves TCP on at the point where it is measured.
fn go_on(connection: &mut Connection, tally: &Tally, way: Way) {
    let (Some(progress), Some(tcp)) = (&tally.tcp, &mut connection.tcp) else { return };
    if way == Way::Forward {
        connection.flags_forward = connection.flags_forward.with(TcpFlags(progress.flags));
    }
    connection.state = tcp.counted(tally.first, way, progress, connection.state);
    note_over(connection, tally.last);
}
