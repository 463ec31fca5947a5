//! Which connection a packet, a conntrack entry or a logged packet belongs to; and when two connections turn out to be one.
//!
//! In this order: a form that is known; conntrack's word; a twin on another device (see [`super::nat`]); else a connection of
//! its own. Conntrack outweighs the order of sight where they differ on who is the client.

use smallvec::{SmallVec, smallvec};
use weir_cluster::UnixNanos;

use super::connection::{Connection, ConnectionId, Gaps, NatSource, State};
use super::emission::Emission;
use super::emit::over_due;
use super::logged::Passing;
use super::nat::{Fingerprint, Passage};
use super::observe::{take_back_reset, worth};
use super::{Place, Sink, Tracker, sctp};
use crate::capture::Role;
use crate::decode::{Chunks, Packet, TcpFlags, Transport};
use crate::testimony::{ConntrackEntry, Phase};
use crate::tuple::{IpProtocol, Tuple};

/// Packets of a connection that are compared with other connections', so that a join does not hang on one lost frame.
const PRINTS: u8 = 8;
/// Forms of one connection: client's, after DNAT, after SNAT, and the same on the other side of a node.
const MAX_FORMS: usize = 6;

impl Tracker {
    /// Finds or begins the connection of a packet that has ports.
    pub(super) fn place_of(&mut self, packet: &Packet<'_>, role: Role, sink: Sink<'_>) -> Place {
        if let Some(place) = self.known(packet.tuple) {
            if !self.begins_anew(place, packet) {
                return self.compare(place, packet, role, sink);
            }
            self.make_way(place, sink);
        }
        if let Some(entry) = self.testified.take(packet.tuple.form(), packet.at) {
            let begin = |tracker: &mut Self, sink: Sink<'_>| tracker.begin(packet, sink);
            let place = self.testified_place(&entry, packet.tuple, begin, sink);
            if entry.original == entry.as_backend_sees() {
                // What conntrack calls untranslated may be translated behind its back.
                self.note_print(place, packet, role);
            }
            return place;
        }
        let place = match self.twin(packet, role, None) {
            Some((slot, source)) => self.add_form(slot, packet.tuple, source),
            None => None,
        };
        let place = place.unwrap_or_else(|| self.begin(packet, sink));
        self.note_print(place, packet, role);
        place
    }

    /// Another connection has the form at `place` from now on: the one that had it ends. A form between two translations may be
    /// another connection's own: that one takes it, and this one goes on.
    pub(super) fn make_way(&mut self, place: Place, sink: Sink<'_>) {
        if !self.is_between(place) {
            self.conclude(place.slot, sink);
            self.remove(place.slot);
        }
    }

    /// The open connection that has this packet in another form.
    fn twin(&self, packet: &Packet<'_>, role: Role, own: Option<ConnectionId>) -> Option<(usize, NatSource)> {
        let print = Fingerprint::of(packet)?;
        let (id, source) = self.twins.find(print, own, packet.tuple, passage(packet, role), packet.at)?;
        let slot = self.slot_of(id)?;
        let open = self.connections.get(slot).is_some_and(|connection| !connection.emission.ended);
        open.then_some((slot, source))
    }

    fn note_print(&mut self, place: Place, packet: &Packet<'_>, role: Role) {
        let (Some(print), Some(connection)) = (Fingerprint::of(packet), self.connections.get(place.slot))
        else {
            return;
        };
        self.twins.note(print, connection.id, packet.tuple, passage(packet, role), packet.at);
    }

    /// Two connections that were begun apart (a frame was lost, or a device came late) are joined by one of their first packets.
    fn compare(&mut self, place: Place, packet: &Packet<'_>, role: Role, sink: Sink<'_>) -> Place {
        let Some(connection) = self.connections.get_mut(place.slot) else {
            return place;
        };
        if connection.prints_left == 0 || connection.conntrack || connection.emission.ended {
            return place;
        }
        connection.prints_left -= 1;
        let own = Some(connection.id);
        let twin = self.twin(packet, role, own).filter(|(slot, _)| *slot != place.slot);
        self.note_print(place, packet, role);
        let Some((slot, source)) = twin.filter(|(slot, _)| !self.are_apart(place.slot, *slot)) else {
            return place;
        };
        let slot = self.merge(place.slot, slot, sink);
        if let Some(connection) = self.connections.get_mut(slot) {
            connection.nat_source = connection.nat_source.max(Some(source));
            connection.order_forms();
        }
        self.known(packet.tuple).unwrap_or(place)
    }

    /// True if a packet in a connection's form is another connection's: a client's SYN with another sequence number, or anything
    /// but a straggler after the end was told.
    pub(super) fn begins_anew(&self, place: Place, packet: &Packet<'_>) -> bool {
        let Some(connection) = self.connections.get(place.slot) else {
            return false;
        };
        // What the kernel names may be later than the tracker's time, which packets alone bring: who is due to end has ended.
        let due = over_due(connection, &self.settings).is_some_and(|due| due < packet.at);
        let ended = connection.emission.ended || due;
        let Transport::Tcp(tcp) = packet.transport else {
            return ended;
        };
        let stragglers = matches!(connection.state, State::Closed | State::Reset);
        if !tcp.flags.has(TcpFlags::SYN) || tcp.flags.has(TcpFlags::ACK) {
            return ended && !stragglers;
        }
        let isn = connection.tcp.and_then(|tcp| tcp.client.isn);
        let begun = connection.state != State::Opening || connection.gaps.midstream;
        // One that was captured before all that is known of the connection is its beginning, come late.
        let late = connection.gaps.midstream && packet.at <= connection.first_packet;
        ended || !late && isn.map_or(begun, |isn| isn != tcp.sequence)
    }

    /// The connection of a form that conntrack named before it was seen; `begin` makes it where neither form is known.
    pub(super) fn testified_place(
        &mut self,
        entry: &ConntrackEntry,
        tuple: Tuple,
        begin: impl Fn(&mut Self, Sink<'_>) -> Place,
        sink: Sink<'_>,
    ) -> Place {
        let other = if entry.original.form() == tuple.form() { entry.reply } else { entry.original };
        if self.known(other).is_none_or(|place| !self.is_open(place)) {
            begin(self, sink);
        }
        self.tracked(entry, sink);
        match self.known(tuple) {
            Some(place) => place,
            None => begin(self, sink),
        }
    }

    /// A new connection whose first packet this is.
    pub(super) fn begin(&mut self, packet: &Packet<'_>, sink: Sink<'_>) -> Place {
        let (client_first, midstream) = orientation(packet);
        let tuple = if client_first { packet.tuple } else { packet.tuple.reversed() };
        let icmp = match packet.transport {
            Transport::Icmp(icmp) => Some((icmp.kind, icmp.code)),
            _ => None,
        };
        let gaps = Gaps { midstream, ..Gaps::default() };
        self.insert(tuple, packet.at, gaps, icmp, sink)
    }

    pub(super) fn insert(
        &mut self,
        tuple: Tuple,
        at: UnixNanos,
        gaps: Gaps,
        icmp: Option<(u8, u8)>,
        sink: Sink<'_>,
    ) -> Place {
        self.make_room(sink);
        let id = ConnectionId(self.next_id);
        self.next_id += 1;
        self.stats.begun += 1;
        let connection = Connection {
            id,
            forms: smallvec![tuple],
            original: 0,
            backend: 0,
            nat_source: None,
            conntrack: false,
            zone: 0,
            path: SmallVec::new(),
            measured: 0,
            aside: None,
            state: State::Opening,
            first_packet: at,
            last_packet: at,
            tcp: (tuple.protocol == IpProtocol::TCP).then(Default::default),
            dns: None,
            evidence: SmallVec::new(),
            passing: Passing::default(),
            drops: None,
            rules: Vec::new(),
            gaps,
            prints_left: PRINTS,
            losses: self.losses,
            flags_forward: TcpFlags::default(),
            icmp,
            ethernet: None,
            opaque: None,
            emission: Emission::begun(self.now, self.settings.settle_ns),
        };
        let slot = self.connections.insert(connection);
        self.index.enter(id, slot, &self.connections);
        self.set_timer(slot);
        let place = Place { slot, form: 0 };
        self.index.lead_to(place, &self.connections);
        self.unclaimed.form_made();
        place
    }

    /// A connection's further form, oriented as the connection is. None if it has too many already. Which form is whose is found
    /// when the form's device is known.
    pub(super) fn add_form(&mut self, slot: usize, tuple: Tuple, source: NatSource) -> Option<Place> {
        let connection = self.connections.get_mut(slot)?;
        if connection.forms.len() >= MAX_FORMS {
            return None;
        }
        let conntrack = source == NatSource::Conntrack;
        connection.forms.push(if conntrack { tuple } else { orient(&connection.forms, tuple) });
        if !conntrack {
            connection.nat_source = connection.nat_source.max(Some(source));
        }
        let place = Place { slot, form: connection.forms.len() - 1 };
        self.index.lead_to(place, &self.connections);
        self.unclaimed.form_made();
        Some(place)
    }

    /// Conntrack named an entry: joins the connections of all its forms, or keeps it for the packets to come.
    pub(super) fn tracked(&mut self, entry: &ConntrackEntry, sink: Sink<'_>) {
        let own = [entry.original, entry.as_backend_sees()];
        let mut joined: Option<usize> = None;
        for tuple in own.into_iter().chain(entry.between()) {
            let claimed = |place: &Place| !own.contains(&tuple) && self.is_named(*place);
            let mine = |place: &Place| self.is_open(*place) && !self.is_of_the_next(*place, entry);
            let Some(place) = self.known(tuple).filter(|place| mine(place) && !claimed(place)) else {
                continue;
            };
            self.align(place, tuple);
            joined = Some(match joined {
                Some(slot) if slot != place.slot => self.merge(slot, place.slot, sink),
                _ => place.slot,
            });
        }
        let Some(slot) = joined else {
            // Of a conversation that is over no packet comes that would ask for its entry; a busy node has most entries of these.
            if entry.phase != Phase::Over {
                self.testified.put(entry);
            }
            return;
        };
        self.testify(slot, entry);
        self.reconsider(slot, sink);
    }

    /// Conntrack knows who the client is: turns a connection round that has it the other way.
    fn align(&mut self, place: Place, tuple: Tuple) {
        let Some(connection) = self.connections.get_mut(place.slot) else { return };
        if connection.forms.get(place.form).is_some_and(|known| *known != tuple) {
            connection.flip();
        }
    }

    pub(super) fn is_open(&self, place: Place) -> bool {
        self.connections.glance(place.slot).is_some_and(|connection| !connection.ended)
    }

    /// Conntrack has named it.
    fn is_named(&self, place: Place) -> bool {
        self.connections.get(place.slot).is_some_and(|connection| connection.conntrack)
    }

    /// Neither the client's form nor the backend's.
    fn is_between(&self, place: Place) -> bool {
        self.connections.get(place.slot).is_some_and(|connection| {
            connection.conntrack && place.form != connection.original && place.form != connection.backend
        })
    }

    /// A connection that is over, and was named before: the entry is of the next one with the same ports if its tuples are others,
    /// or if it tells of a first SYN.
    fn is_of_the_next(&self, place: Place, entry: &ConntrackEntry) -> bool {
        self.connections.get(place.slot).is_some_and(|connection| {
            let named = (connection.original_tuple(), connection.backend_tuple());
            connection.conntrack
                && connection.state.is_over()
                && (entry.phase == Phase::Opening || named != (entry.original, entry.as_backend_sees()))
        })
    }

    /// Writes conntrack's word into a connection: who is the client, and both forms.
    fn testify(&mut self, slot: usize, entry: &ConntrackEntry) {
        let backend = entry.as_backend_sees();
        for tuple in [entry.original, backend] {
            if self.known(tuple).is_none_or(|place| place.slot != slot) {
                self.add_form(slot, tuple, NatSource::Conntrack);
            }
        }
        // Where another connection has it for its own it stays that one's.
        if let Some(between) = entry.between().filter(|tuple| self.known(*tuple).is_none()) {
            self.add_form(slot, between, NatSource::Conntrack);
        }
        let (original, last) = (self.known(entry.original), self.known(backend));
        let Some(connection) = self.connections.get_mut(slot) else {
            return;
        };
        let (Some(original), Some(last)) = (original, last) else {
            return;
        };
        if original.form == last.form {
            connection.conntrack = true;
            // It knows of no translation. Others may have made one (IPVS without conntrack, eBPF, another zone), which the packets
            // or the other's entry show.
            connection.order_forms();
        } else {
            connection.translated(original.form, last.form, entry.zone);
        }
    }

    /// Two connections are one: the older takes over all that the younger saw. Returns the older one's slot. What was told of
    /// the younger already is corrected by its last event, which says whose it is.
    fn merge(&mut self, one: usize, other: usize, sink: Sink<'_>) -> usize {
        let id_of = |slot: usize| self.connections.get(slot).map_or(u64::MAX, |connection| connection.id.0);
        let (keep, gone) = if id_of(one) <= id_of(other) { (one, other) } else { (other, one) };
        let into = self.connections.get(keep).map(|connection| connection.id);
        // Its end as a connection of its own is told below, and is not the end of what it is part of.
        let over_at = self.connections.get(gone).and_then(|younger| younger.emission.over_at);
        if let Some(told) = self.connections.get_mut(gone).filter(|younger| younger.emission.settled) {
            told.emission.merged_into = into;
            told.emission.correction = true;
            self.conclude(gone, sink);
        }
        self.index.leave(gone, &self.connections);
        let Some(mut younger) = self.connections.take(gone) else {
            return keep;
        };
        younger.emission.over_at = over_at;
        self.stats.merged += 1;
        let Some(older) = self.connections.get_mut(keep) else {
            return keep;
        };
        let own = older.forms.len();
        absorb(older, younger, own);
        for form in own..older.forms.len() {
            self.index.lead_to(Place { slot: keep, form }, &self.connections);
        }
        keep
    }
}

const fn passage(packet: &Packet<'_>, role: Role) -> Passage {
    let Packet { interface, direction, ttl, ip_id, .. } = *packet;
    Passage { interface, role, direction, ttl, ip_id }
}

/// Whether the sender is the client, and whether the beginning was missed.
pub(super) fn orientation(packet: &Packet<'_>) -> (bool, bool) {
    let (source, destination) = (packet.tuple.source.port(), packet.tuple.destination.port());
    match packet.transport {
        Transport::Tcp(tcp) => match (tcp.flags.has(TcpFlags::SYN), tcp.flags.has(TcpFlags::ACK)) {
            (true, false) => (true, false),
            (true, true) => (false, true),
            _ => (source >= destination, true),
        },
        Transport::Sctp { chunks, .. } => match sctp::sent_by_client(chunks) {
            Some(client) => (client, !chunks.has(Chunks::INIT)),
            None => (source >= destination, true),
        },
        // The answer of a well-known server, whose question came before the capture.
        Transport::Udp { .. } if source == 53 && destination != 53 => (false, true),
        // ICMP echo replies: 0 and 129.
        Transport::Icmp(icmp)
            if matches!(
                (packet.tuple.protocol, icmp.kind),
                (IpProtocol::ICMP, 0) | (IpProtocol::ICMPV6, 129)
            ) =>
        {
            (false, true)
        }
        _ => (true, false),
    }
}

/// A further form in the direction of those known: it shares the client's or the server's end with one of them.
fn orient(forms: &[Tuple], tuple: Tuple) -> Tuple {
    let forward =
        forms.iter().any(|form| form.source == tuple.source || form.destination == tuple.destination);
    let reverse =
        forms.iter().any(|form| form.source == tuple.destination || form.destination == tuple.source);
    if reverse && !forward { tuple.reversed() } else { tuple }
}

/// The older connection takes over what the younger saw. Both saw the same packets: what was read of them is taken from the
/// point that is worth more, and never from both.
fn absorb(older: &mut Connection, mut younger: Connection, offset: usize) {
    if opposed(&older.forms, &younger.forms) {
        younger.flip();
    }
    let measured = |connection: &Connection| connection.path.get(connection.measured).map(worth);
    let nearer = measured(&younger) > measured(older);
    older.aside = None;
    if nearer {
        older.measured = older.path.len() + younger.measured;
        older.tcp = younger.tcp;
        older.dns = younger.dns;
        older.flags_forward = younger.flags_forward;
        older.ethernet = younger.ethernet;
        older.emission.waiting = younger.emission.waiting;
    }
    let answered = |state: State| !matches!(state, State::Opening | State::Unanswered);
    if answered(younger.state) && (nearer || !answered(older.state)) {
        older.state = younger.state;
        older.emission.over_at = older.emission.over_at.or(younger.emission.over_at);
    }
    older.forms.extend(younger.forms);
    older.path.extend(younger.path.into_iter().map(|mut point| {
        point.form += offset;
        point
    }));
    older.first_packet = older.first_packet.min(younger.first_packet);
    older.last_packet = older.last_packet.max(younger.last_packet);
    for evidence in younger.evidence {
        older.observe(evidence.observation, evidence.at, evidence.witness);
    }
    older.passing = older.passing.max(younger.passing);
    older.take_drops(younger.drops);
    for rule in younger.rules {
        if !older.rules.contains(&rule) {
            older.rules.push(rule);
        }
    }
    older.gaps.midstream &= younger.gaps.midstream;
    older.gaps.truncated |= younger.gaps.truncated;
    older.gaps.capture_loss |= younger.gaps.capture_loss;
    older.emission.correction |= older.emission.settled;
    take_back_reset(older);
}

/// One has the client where the other has the server.
pub(super) fn opposed(one: &[Tuple], other: &[Tuple]) -> bool {
    let any = |test: fn(&Tuple, &Tuple) -> bool| one.iter().any(|a| other.iter().any(|b| test(a, b)));
    let same_way = any(|a, b| a.source == b.source || a.destination == b.destination);
    !same_way && any(|a, b| a.source == b.destination || a.destination == b.source)
}
