//! When a connection is told of: settled, changed, periodically, corrected, over. One timer a connection, looked at again
//! whenever something happened to it.
//!
//! A connection's first event waits until NAT and verdict are known, at most the settle time: testimony comes after the
//! packet. A told connection stays for a while to absorb stragglers.

use weir_cluster::UnixNanos;

use super::connection::{Connection, ConnectionId, Observation, State, Verdict, Witness};
use super::event::{Event, Message, Reason};
use super::timer::Timer;
use super::{SECOND, Settings, Sink, Tracker};
use crate::tuple::IpProtocol;

/// Connections looked at to find one to evict.
const EVICTION_SAMPLE: usize = 32;
/// A connection that nothing need be done about for so long rests.
const RESTS_NS: u64 = SECOND;

impl Tracker {
    /// Something happened to a connection: tells at once what needs no waiting, and sets its timer.
    pub(super) fn reconsider(&mut self, slot: usize, sink: Sink<'_>) {
        let now = self.now;
        let Some(connection) = self.connections.get_mut(slot) else {
            return;
        };
        mark_loss(connection, self.losses);
        if !connection.emission.ended && !connection.emission.settled && is_settled(connection) {
            settle(connection, now, sink);
        }
        if connection.emission.settled && !connection.emission.ended {
            tell_news(connection, now, sink);
        }
        let due = next_due(connection, &self.settings);
        if due < connection.emission.due {
            connection.emission.due = due;
            self.set_timer(slot);
        }
    }

    /// A timer rang. Stale ones (the connection's timer was set anew) are ignored.
    pub(super) fn fire(&mut self, timer: Timer, sink: Sink<'_>) {
        let (now, slot) = (self.now, timer.slot());
        let Some(glance) = self.connections.glance(slot).filter(|connection| timer.is_of(*connection)) else {
            return;
        };
        // No packet came since it was laid to rest: there is nothing to tell of it.
        if glance.ended && self.connections.rests(slot) {
            return self.remove(slot);
        }
        let Some(connection) = self.connections.get_mut(slot) else {
            return;
        };
        if connection.emission.ended {
            return self.fire_ended(slot, sink);
        }
        mark_loss(connection, self.losses);
        connection.look_aside(now, self.settings.settle_ns);
        if !connection.emission.settled && connection.emission.settle_at <= now {
            settle(connection, now, sink);
        }
        overdue(connection, now, &self.settings);
        if connection.emission.settled {
            tell_news(connection, now, sink);
            tell_periodic(connection, now, &self.settings, sink);
        }
        if is_over(connection, now, &self.settings) {
            self.conclude(slot, sink);
        }
        self.rearm(slot);
    }

    /// A node with too much to do gives some frames late, after the end was told: then the end is told once more, with them.
    fn fire_ended(&mut self, slot: usize, sink: Sink<'_>) {
        let now = self.now;
        let Some(connection) = self.connections.get_mut(slot) else {
            return;
        };
        tell_stragglers(connection, now, sink);
        if tombstone_due(connection, &self.settings) <= now {
            self.remove(slot);
        } else {
            self.rearm(slot);
        }
    }

    fn rearm(&mut self, slot: usize) {
        let now = self.now;
        let Some(connection) = self.connections.get_mut(slot) else {
            return;
        };
        let due = next_due(connection, &self.settings).max(now.plus_nanos(1));
        connection.emission.due = due;
        let waits = due >= now.plus_nanos(RESTS_NS);
        self.set_timer(slot);
        if waits {
            self.connections.rest(slot);
        }
    }

    /// Something that cannot wait was learnt of the connection: told at once, or as soon as it is settled.
    pub(super) fn tell_now(&mut self, slot: usize, reason: Reason, sink: Sink<'_>) {
        let now = self.now;
        let Some(connection) = self.connections.get_mut(slot) else {
            return;
        };
        if connection.emission.ended {
            return;
        }
        if connection.emission.settled {
            tell(connection, reason, None, now, sink);
            self.reconsider(slot, sink);
        } else {
            self.reconsider(slot, sink);
        }
    }

    /// What is known of a connection changed beside the tracker: it is told again, if it was told and is still in the table.
    pub fn tell_again(&mut self, id: ConnectionId, sink: Sink<'_>) {
        let now = self.now;
        let Some(connection) = self.slot_of(id).and_then(|slot| self.connections.get_mut(slot)) else {
            return;
        };
        if connection.emission.settled {
            connection.emission.correction = true;
            let reason = if connection.emission.ended { Reason::End } else { Reason::Correction };
            tell(connection, reason, None, now, sink);
        }
    }

    /// Tells the end, once; and once more if packets came after it.
    pub(super) fn conclude(&mut self, slot: usize, sink: Sink<'_>) {
        let now = self.now;
        let Some(connection) = self.connections.get_mut(slot) else {
            return;
        };
        if connection.emission.ended {
            return tell_stragglers(connection, now, sink);
        }
        mark_loss(connection, self.losses);
        connection.look_aside(now, self.settings.settle_ns);
        if !connection.emission.settled {
            settle(connection, now, sink);
        }
        flush(connection, now, sink);
        connection.emission.ended = true;
        tell(connection, Reason::End, None, now, sink);
        connection.emission.over_at = Some(now);
        connection.dns = None;
    }

    /// Ends the longest idle of a sample when the table is full: finding the oldest of all would cost every packet.
    pub(super) fn make_room(&mut self, sink: Sink<'_>) {
        if self.connections.len() < self.settings.max_connections.max(1) {
            return;
        }
        let mut victim: Option<(bool, UnixNanos, usize)> = None;
        let capacity = self.connections.capacity().max(1);
        let mut looked = 0;
        for step in 0..capacity {
            let slot = (self.hand + step) % capacity;
            let Some(connection) = self.connections.glance(slot) else {
                continue;
            };
            let candidate = (!connection.ended, connection.last_packet, slot);
            victim = Some(victim.map_or(candidate, |best| best.min(candidate)));
            looked += 1;
            if looked >= EVICTION_SAMPLE {
                break;
            }
        }
        self.hand = (self.hand + EVICTION_SAMPLE) % capacity;
        let Some((open, _, slot)) = victim else {
            return;
        };
        if open {
            self.stats.evicted += 1;
            if let Some(connection) = self.connections.get_mut(slot) {
                connection.state = State::Evicted;
            }
            self.conclude(slot, sink);
        }
        self.remove(slot);
    }
}

/// What came after the end was told.
fn tell_stragglers(connection: &mut Connection, now: UnixNanos, sink: Sink<'_>) {
    if std::mem::take(&mut connection.emission.late) {
        connection.emission.correction = true;
        tell(connection, Reason::End, None, now, sink);
    }
}

const fn mark_loss(connection: &mut Connection, losses: u64) {
    connection.gaps.capture_loss |= connection.losses != losses;
}

/// NAT is known and so is the fate, and the measured point has seen both ways: nothing that can still come would change the
/// first flow. Under load a frame of another device may come late, so what seems to lack its beginning waits for it.
fn is_settled(connection: &Connection) -> bool {
    let nat_known = connection.conntrack || connection.nat_source.is_some();
    // An answer enters the node before it passes the point whose counters count.
    let total = connection.total();
    let whole = !connection.gaps.midstream && total.forward.packets > 0 && total.reverse.packets > 0;
    nat_known
        && (whole && connection.verdict() != Verdict::Traced && connection.state != State::Opening
            || is_refused(connection))
}

/// That an RST came from no pod is known only once every device's frames had their time.
fn is_refused(connection: &Connection) -> bool {
    matches!(connection.state, State::Rejected | State::Reset)
        && !connection.observed(Observation::ResetByNetwork)
}

fn settle(connection: &mut Connection, now: UnixNanos, sink: Sink<'_>) {
    connection.emission.settled = true;
    let stopped = connection.observed(Observation::Logged) || connection.stopped_by().is_some();
    let reason = if stopped { Reason::Drop } else { Reason::Settled };
    tell(connection, reason, None, now, sink);
    flush(connection, now, sink);
}

fn flush(connection: &mut Connection, now: UnixNanos, sink: Sink<'_>) {
    for message in std::mem::take(&mut connection.emission.waiting) {
        tell(connection, Reason::Message, Some(&message), now, sink);
    }
}

/// What cannot wait: messages, a changed state or verdict, NAT learnt late.
fn tell_news(connection: &mut Connection, now: UnixNanos, sink: Sink<'_>) {
    flush(connection, now, sink);
    let verdict_changed = connection.verdict() != connection.emission.told_verdict;
    if connection.emission.correction {
        tell(connection, Reason::Correction, None, now, sink);
    } else if connection.state != connection.emission.told_state && is_news(connection.state)
        || verdict_changed
    {
        tell(connection, Reason::State, None, now, sink);
    }
}

/// Closing and closed are told by the end, which follows at once.
const fn is_news(state: State) -> bool {
    matches!(state, State::Established | State::Reset | State::Unanswered | State::Rejected)
}

fn tell_periodic(connection: &mut Connection, now: UnixNanos, settings: &Settings, sink: Sink<'_>) {
    if connection.has_untold() && now.nanos_since(connection.emission.told_at) >= settings.periodic_ns {
        tell(connection, Reason::Periodic, None, now, sink);
    }
}

fn tell(
    connection: &mut Connection,
    reason: Reason,
    message: Option<&Message>,
    now: UnixNanos,
    sink: Sink<'_>,
) {
    let total = connection.total();
    let correction = connection.emission.correction;
    // A message's flow is about the message: the counters belong to the connection's own flows.
    let delta = if message.is_some() {
        super::connection::Counters::default()
    } else {
        total.since(&connection.emission.told)
    };
    sink(Event { at: now, reason, connection, delta, message, correction: correction && message.is_none() });
    if message.is_some() {
        return;
    }
    connection.emission.told = total;
    connection.emission.told_at = now;
    connection.emission.told_state = connection.state;
    connection.emission.told_verdict = connection.verdict();
    connection.emission.correction = false;
    connection.flags_forward = crate::decode::TcpFlags::default();
    if let Some(drops) = &mut connection.drops {
        drops.told();
    }
}

/// States that time alone brings.
fn overdue(connection: &mut Connection, now: UnixNanos, settings: &Settings) {
    if let Some(at) = unanswered_at(connection, settings)
        && at <= now
    {
        connection.state = State::Unanswered;
        connection.observe(Observation::Unanswered, now, Witness::Time);
    }
    if connection.emission.over_at.is_none() && idle_at(connection, settings) <= now {
        if !matches!(connection.state, State::Unanswered | State::Rejected) {
            connection.state = State::Idle;
        }
        connection.emission.over_at = Some(now);
    }
}

/// When an unanswered opening is called so: only where an answer must come.
fn unanswered_at(connection: &Connection, settings: &Settings) -> Option<UnixNanos> {
    let expects = match connection.original_tuple().protocol {
        IpProtocol::TCP => connection.tcp.is_some_and(|tcp| tcp.syns > 0),
        _ => connection.dns.as_ref().is_some_and(|exchange| exchange.waiting()),
    };
    let silent = connection.state == State::Opening && !connection.observed(Observation::Answered);
    // After a clock was set back, the last packet counts: the first may lie in the future.
    let since = connection.first_packet.min(connection.last_packet);
    (expects && silent).then_some(since.plus_nanos(settings.unanswered_ns))
}

fn idle_at(connection: &Connection, settings: &Settings) -> UnixNanos {
    let wait = match (connection.original_tuple().protocol, connection.state) {
        (IpProtocol::TCP, State::Opening | State::Unanswered) => settings.tcp_opening_idle_ns,
        (IpProtocol::TCP, _) => settings.tcp_idle_ns,
        _ => settings.datagram_idle_ns,
    };
    connection.last_packet.plus_nanos(wait)
}

fn is_over(connection: &Connection, now: UnixNanos, settings: &Settings) -> bool {
    over_due(connection, settings).is_some_and(|due| due <= now)
}

/// A closed connection lingers from its last packet on.
pub(super) fn over_due(connection: &Connection, settings: &Settings) -> Option<UnixNanos> {
    connection.emission.over_at?;
    let linger =
        if matches!(connection.state, State::Idle | State::Unanswered) { 0 } else { settings.linger_ns };
    Some(connection.last_packet.plus_nanos(linger))
}

/// When a told connection is forgotten.
fn tombstone_due(connection: &Connection, settings: &Settings) -> UnixNanos {
    let since = connection.emission.over_at.unwrap_or(connection.last_packet);
    since.plus_nanos(settings.tombstone_ns)
}

fn next_due(connection: &Connection, settings: &Settings) -> UnixNanos {
    let emission = &connection.emission;
    if emission.ended {
        let soon = emission.late.then_some(connection.last_packet.plus_nanos(settings.linger_ns));
        return soon.into_iter().fold(tombstone_due(connection, settings), UnixNanos::min);
    }
    let settle = (!emission.settled).then_some(emission.settle_at);
    let periodic = (emission.settled && connection.has_untold())
        .then_some(emission.told_at.plus_nanos(settings.periodic_ns));
    let aside = connection.passed_by().map(|(_, _, since)| since.plus_nanos(settings.settle_ns));
    let times =
        [settle, periodic, aside, unanswered_at(connection, settings), over_due(connection, settings)];
    times.into_iter().flatten().fold(idle_at(connection, settings), UnixNanos::min)
}
