//! Which connection a packet, a conntrack entry or a logged packet belongs to; and when two connections turn out to be one.
//!
//! In this order: a form that is known; conntrack's word; a twin on another device (see [`super::nat`]); else a connection of
//! its own. Conntrack outweighs the order of sight where they differ on who is the client.

use std::cmp::Reverse;

use weir_cluster::UnixNanos;

use super::connection::{
    Connection, ConnectionId, Counters, Emission, Gaps, NatSource, Observation, State, Verdict, Witness,
};
use super::nat::Fingerprint;
use super::{Place, SECOND, Sink, Tracker};
use crate::capture::{Direction, InterfaceId};
use crate::decode::{self, Fragment, Packet, TcpFlags, Transport};
use crate::testimony::{ConntrackEntry, LoggedPacket};
use crate::tuple::{IpProtocol, Tuple};

/// A logged packet waits so long for a frame of its connection.
const LOGGED_WAIT_NS: u64 = SECOND;
/// Logged packets waiting.
const LOGGED_WAITING: usize = 4096;
/// Forms of one connection: client's, after DNAT, after SNAT, and the same on the other side of a node.
const MAX_FORMS: usize = 6;

impl Tracker {
    /// Finds or begins the connection of a packet. None for a later fragment, whose connection cannot be known by its ports.
    pub(super) fn place_of(&mut self, packet: &Packet<'_>, sink: Sink<'_>) -> Option<Place> {
        if packet.fragment == Fragment::Later {
            return None;
        }
        if let Some(place) = self.known(packet.tuple) {
            if !self.begins_anew(place, packet) {
                return Some(place);
            }
            self.conclude(place.slot, sink);
            self.remove(place.slot);
        }
        if let Some(entry) = self.testified.take(packet.tuple.form()) {
            return Some(self.testified_place(&entry, packet, sink));
        }
        let print = Fingerprint::of(packet);
        let twin = print.and_then(|print| self.twins.find(print, packet.tuple, packet.at));
        let place = match twin.and_then(|(id, source)| Some((*self.by_id.get(&id)?, source))) {
            Some((slot, source)) => self.add_form(slot, packet.tuple, source),
            None => None,
        };
        let place = place.unwrap_or_else(|| self.begin(packet, sink));
        if let (Some(print), Some(connection)) = (print, self.connections.get(place.slot)) {
            self.twins.note(print, connection.id, packet.tuple, packet.at);
        }
        Some(place)
    }

    /// A client's SYN on a connection that is over, or that began with another sequence number, begins a new one.
    fn begins_anew(&self, place: Place, packet: &Packet<'_>) -> bool {
        let (Some(connection), Transport::Tcp(tcp)) = (self.connections.get(place.slot), packet.transport)
        else {
            return false;
        };
        if !tcp.flags.has(TcpFlags::SYN) || tcp.flags.has(TcpFlags::ACK) {
            return false;
        }
        let isn = connection.tcp.and_then(|tcp| tcp.client.isn);
        isn.map_or_else(|| connection.state != State::Opening, |isn| isn != tcp.sequence)
    }

    fn testified_place(&mut self, entry: &ConntrackEntry, packet: &Packet<'_>, sink: Sink<'_>) -> Place {
        let other = if entry.original.form() == packet.tuple.form() { entry.reply } else { entry.original };
        if self.known(other).is_none() {
            self.begin(packet, sink);
        }
        self.tracked(entry, sink);
        self.known(packet.tuple).unwrap_or_else(|| self.begin(packet, sink))
    }

    /// A new connection whose first packet this is.
    fn begin(&mut self, packet: &Packet<'_>, sink: Sink<'_>) -> Place {
        let (client_first, midstream) = orientation(packet);
        let tuple = if client_first { packet.tuple } else { packet.tuple.reversed() };
        let icmp = match packet.transport {
            Transport::Icmp(icmp) => Some((icmp.kind, icmp.code)),
            _ => None,
        };
        let gaps = Gaps { midstream, ..Gaps::default() };
        self.insert(tuple, packet.at, gaps, icmp, sink)
    }

    fn insert(
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
        let due = self.now.plus_nanos(self.settings.settle_ns);
        let connection = Connection {
            id,
            forms: vec![tuple],
            original: 0,
            backend: 0,
            nat_source: None,
            conntrack: false,
            zone: 0,
            path: Vec::new(),
            measured: 0,
            state: State::Opening,
            first_packet: at,
            last_packet: at,
            tcp: (tuple.protocol == IpProtocol::TCP).then(Default::default),
            dns: None,
            evidence: Vec::new(),
            rule_names: Vec::new(),
            gaps,
            flags_forward: TcpFlags::default(),
            icmp,
            ethernet: None,
            emission: Emission {
                settled: false,
                settle_at: due,
                told_at: self.now,
                told: Counters::default(),
                told_state: State::Opening,
                told_verdict: Verdict::Traced,
                correction: false,
                ended: false,
                over_at: None,
                due,
                waiting: Vec::new(),
            },
        };
        let slot = self.connections.insert(connection);
        self.by_id.insert(id, slot);
        self.timers.push(Reverse((due, id)));
        let place = Place { slot, form: 0 };
        self.forms.insert(tuple.form(), place);
        place
    }

    /// A connection's further form, oriented as the connection is. None if it has too many already.
    fn add_form(&mut self, slot: usize, tuple: Tuple, source: NatSource) -> Option<Place> {
        let connection = self.connections.get_mut(slot)?;
        if connection.forms.len() >= MAX_FORMS {
            return None;
        }
        let conntrack = source == NatSource::Conntrack;
        let oriented = if conntrack { tuple } else { orient(&connection.forms, tuple) };
        connection.forms.push(oriented);
        let form = connection.forms.len() - 1;
        if !conntrack && connection.nat_source != Some(NatSource::Conntrack) {
            // The client's packets meet the client's form first, the server's the server's.
            if oriented == tuple {
                connection.backend = form;
            } else {
                connection.original = form;
            }
            connection.nat_source = connection.nat_source.max(Some(source));
            connection.emission.correction |= connection.emission.settled;
        }
        let place = Place { slot, form };
        self.forms.insert(tuple.form(), place);
        Some(place)
    }

    /// Conntrack named an entry: joins the connections of both its forms, or keeps it for the packets to come.
    pub(super) fn tracked(&mut self, entry: &ConntrackEntry, sink: Sink<'_>) {
        let original = self.known(entry.original).filter(|place| self.is_open(*place));
        let reply = self.known(entry.reply).filter(|place| self.is_open(*place));
        self.align(original, entry.original);
        self.align(reply, entry.as_backend_sees());
        let slot = match (original, reply) {
            (None, None) => return self.testified.put(entry),
            (Some(one), Some(other)) if one.slot != other.slot => self.merge(one.slot, other.slot, sink),
            (Some(one), _) | (None, Some(one)) => one.slot,
        };
        self.testify(slot, entry);
        self.reconsider(slot, sink);
    }

    /// Conntrack knows who the client is: turns a connection round that has it the other way.
    fn align(&mut self, place: Option<Place>, tuple: Tuple) {
        let Some(place) = place else { return };
        let Some(connection) = self.connections.get_mut(place.slot) else { return };
        if connection.forms.get(place.form).is_some_and(|known| *known != tuple) {
            connection.flip();
        }
    }

    fn is_open(&self, place: Place) -> bool {
        self.connections.get(place.slot).is_some_and(|connection| !connection.emission.ended)
    }

    /// Writes conntrack's word into a connection: who is the client, and both forms.
    fn testify(&mut self, slot: usize, entry: &ConntrackEntry) {
        let backend = entry.as_backend_sees();
        for tuple in [entry.original, backend] {
            if self.known(tuple).is_none_or(|place| place.slot != slot) {
                self.add_form(slot, tuple, NatSource::Conntrack);
            }
        }
        let (original, last) = (self.known(entry.original), self.known(backend));
        let Some(connection) = self.connections.get_mut(slot) else {
            return;
        };
        let (Some(original), Some(last)) = (original, last) else {
            return;
        };
        let translated = entry.original != backend;
        // A node's conntrack knows one leg; what packets showed of a further leg on this node stays in `forms` and the path.
        let news =
            !connection.conntrack && (connection.original, connection.backend) != (original.form, last.form);
        connection.emission.correction |= connection.emission.settled && news;
        connection.original = original.form;
        connection.backend = last.form;
        connection.conntrack = true;
        connection.zone = entry.zone;
        connection.nat_source = translated.then_some(NatSource::Conntrack);
    }

    /// Two connections are one: the older takes over all that the younger saw. Returns the older one's slot.
    fn merge(&mut self, one: usize, other: usize, sink: Sink<'_>) -> usize {
        let id_of = |slot: usize| self.connections.get(slot).map_or(u64::MAX, |connection| connection.id.0);
        let (keep, gone) = if id_of(one) <= id_of(other) { (one, other) } else { (other, one) };
        if self.connections.get(gone).is_some_and(|connection| connection.emission.settled) {
            self.conclude(gone, sink);
        }
        let Some(younger) = self.connections.get(gone).cloned() else {
            return keep;
        };
        self.remove(gone);
        self.stats.merged += 1;
        let offset = self.connections.get(keep).map_or(0, |connection| connection.forms.len());
        for (form, tuple) in younger.forms.iter().enumerate() {
            self.forms.insert(tuple.form(), Place { slot: keep, form: offset + form });
        }
        if let Some(older) = self.connections.get_mut(keep) {
            absorb(older, younger, offset);
        }
        keep
    }

    /// NFLOG named a packet: evidence for its connection, and its form after DNAT where that was not seen otherwise.
    pub(super) fn logged(&mut self, logged: &LoggedPacket, sink: Sink<'_>) {
        if self.place_one_logged(logged, sink) {
            return;
        }
        if self.logged.len() >= LOGGED_WAITING {
            self.place_logged(sink);
        }
        self.logged.push(logged.clone());
    }

    fn place_one_logged(&mut self, logged: &LoggedPacket, sink: Sink<'_>) -> bool {
        let Some(packet) = logged_packet(logged) else {
            return true;
        };
        let place = self.known(packet.tuple).or_else(|| {
            let print = Fingerprint::of(&packet)?;
            let (id, source) = self.twins.find(print, packet.tuple, packet.at)?;
            let slot = *self.by_id.get(&id)?;
            self.add_form(slot, packet.tuple, source)
        });
        let Some(place) = place else { return false };
        self.note_logged(place.slot, logged, sink);
        true
    }

    fn note_logged(&mut self, slot: usize, logged: &LoggedPacket, sink: Sink<'_>) {
        let Some(connection) = self.connections.get_mut(slot) else {
            return;
        };
        let news = !connection.rule_names.contains(&logged.prefix);
        if news && connection.rule_names.len() < 8 {
            connection.rule_names.push(logged.prefix.clone());
        }
        connection.observe(Observation::Logged, logged.at, Witness::Rule(logged.prefix.clone()));
        if news {
            self.tell_drop(slot, sink);
        }
    }

    pub(super) fn expire_logged(&mut self, sink: Sink<'_>) {
        let now = self.now;
        if self.logged.iter().any(|logged| now.nanos_since(logged.at) > LOGGED_WAIT_NS) {
            self.place_logged(sink);
        } else if !self.logged.is_empty() {
            let waiting = std::mem::take(&mut self.logged);
            for logged in waiting {
                if !self.place_one_logged(&logged, sink) {
                    self.logged.push(logged);
                }
            }
        }
    }

    /// No frame of these was seen: what the kernel's log says of them is all there is, and is told as such.
    pub(super) fn place_logged(&mut self, sink: Sink<'_>) {
        for logged in std::mem::take(&mut self.logged) {
            if self.place_one_logged(&logged, sink) {
                continue;
            }
            self.stats.logged_unseen += 1;
            if let Some(packet) = logged_packet(&logged) {
                let place = self.begin(&packet, sink);
                self.note_logged(place.slot, &logged, sink);
            }
        }
    }
}

fn logged_packet(logged: &LoggedPacket) -> Option<Packet<'_>> {
    let interface = InterfaceId(logged.in_ifindex);
    decode::decode_ip(logged.at, interface, Direction::Unknown, &logged.packet, &decode::Settings::default())
        .ok()
}

/// Whether the sender is the client, and whether the beginning was missed.
fn orientation(packet: &Packet<'_>) -> (bool, bool) {
    let (source, destination) = (packet.tuple.source.port(), packet.tuple.destination.port());
    match packet.transport {
        Transport::Tcp(tcp) => match (tcp.flags.has(TcpFlags::SYN), tcp.flags.has(TcpFlags::ACK)) {
            (true, false) => (true, false),
            (true, true) => (false, true),
            _ => (source >= destination, true),
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

fn absorb(older: &mut Connection, mut younger: Connection, offset: usize) {
    let same_way = older.forms.iter().any(|form| {
        younger.forms.iter().any(|other| form.source == other.source || form.destination == other.destination)
    });
    let opposed = !same_way
        && older.forms.iter().any(|form| {
            younger
                .forms
                .iter()
                .any(|other| form.source == other.destination || form.destination == other.source)
        });
    if opposed {
        younger.flip();
    }
    older.forms.extend(younger.forms);
    for mut point in younger.path {
        point.form += offset;
        older.path.push(point);
    }
    older.first_packet = older.first_packet.min(younger.first_packet);
    older.last_packet = older.last_packet.max(younger.last_packet);
    for evidence in younger.evidence {
        older.observe(evidence.observation, evidence.at, evidence.witness);
    }
    older.rule_names.extend(younger.rule_names);
    older.emission.waiting.extend(younger.emission.waiting);
    older.emission.correction |= older.emission.settled;
}
