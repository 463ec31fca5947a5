//! What the NetworkPolicies say of a connection, and whether what was observed contradicts it.
//!
//! Egress is judged on the client's node, ingress on the server's, with the client as that node sees it; where it is not known
//! whose node this is, both are. A connection is judged by the state of its first packet, once, and again only if its ends turn
//! out to be others. What no policy selects a pod for is not remembered. A contradiction is told only when nothing that the
//! judgement rests on changed for 5 s before and after the first packet: the kernel's rules follow the cluster with a delay.

mod verdict;
mod wire;

use std::collections::VecDeque;

use hashbrown::HashMap;
use smallvec::SmallVec;
use weir_cluster::policy::{Direction, Judgement, Question, Ruling};
use weir_cluster::{Cluster, Endpoint, EndpointKind, UnixNanos};
use weir_proto::weir::v1::{FlowDetail, PolicyConflict, PolicyStatus};

use super::Settings;
use super::ends::Ends;
use super::service::service_protocol;
use crate::track::connection::{self, Connection, ConnectionId, Observation};
use crate::track::event::{Event, Reason};
pub(super) use verdict::Told;
pub(crate) use wire::judgement;

/// For so long before and after the first packet nothing may have changed where a contradiction is told.
const STEADY_NS: u64 = 5_000_000_000;
/// So long after its end a connection may be told again.
const STRAGGLERS_NS: u64 = 15_000_000_000;

/// What one connection was found to be.
#[derive(Debug)]
struct Judged {
    question: Question,
    judgements: SmallVec<[Judgement; 2]>,
    /// What would let each pass that does not.
    remedies: SmallVec<[Option<Box<str>>; 2]>,
    /// What was told of each judgement on flows of its own.
    told: SmallVec<[Option<Told>; 2]>,
    /// Contradictions that have held long enough.
    conflicts: SmallVec<[Contradiction; 2]>,
    /// It waits to be looked at again for one.
    waits: bool,
    ended: bool,
}

/// The connections that policies have a say in.
#[derive(Debug, Default)]
pub(super) struct Judges {
    judged: HashMap<ConnectionId, Judged>,
    /// Contradictions that may be: when to look again, in the order of that time as far as packets came in theirs.
    waiting: VecDeque<(UnixNanos, ConnectionId)>,
    /// What is over, and when to forget it.
    ended: VecDeque<(UnixNanos, ConnectionId)>,
    most: usize,
    /// Up to this number connections may be among those that there was no room for; of later ones, what is not here is open.
    forgotten_until: Option<ConnectionId>,
    /// Nothing of the cluster will change any more.
    is_settled: bool,
    stats: PolicyStatus,
}

impl Judges {
    /// Remembers so many connections.
    pub(super) fn new(most: usize) -> Self {
        Self { most, ..Self::default() }
    }

    pub(super) const fn stats(&self) -> PolicyStatus {
        self.stats
    }

    /// Writes what policies say of the event's connection, and says what is to be told on flows of its own.
    pub(super) fn fill(
        &mut self,
        room: &mut FlowDetail,
        event: &Event<'_>,
        ends: &Ends,
        directions: &[Direction],
        cluster: &Cluster,
    ) -> SmallVec<[Told; 2]> {
        let connection = event.connection;
        self.forget(event.at);
        if is_news(event) {
            self.judge(connection, ends, directions, cluster);
        }
        let Some(judged) = self.judged.get_mut(&connection.id) else {
            room.disagreements.clear();
            return self.not_remembered(room, event, ends, directions, cluster);
        };
        judged.look(connection, event.at, self.is_settled, cluster);
        if let Some(due) = judged.review_at(connection) {
            self.waiting.push_back((due, connection.id));
        }
        wire::judgements(&mut room.policies, judged);
        wire::disagreements(&mut room.disagreements, judged, connection);
        let told =
            if event.message.is_none() { judged.tell(connection, &mut self.stats) } else { SmallVec::new() };
        if event.reason == Reason::End && !judged.ended {
            judged.ended = true;
            self.ended.push_back((event.at.plus_nanos(STRAGGLERS_NS), connection.id));
        }
        told
    }

    /// No policy selects a pod of it; or there was no room to remember it: then it is judged anew, and contradictions are not looked for.
    fn not_remembered(
        &mut self,
        room: &mut FlowDetail,
        event: &Event<'_>,
        ends: &Ends,
        directions: &[Direction],
        cluster: &Cluster,
    ) -> SmallVec<[Told; 2]> {
        if self.forgotten_until.is_none_or(|until| event.connection.id > until) {
            wire::open(&mut room.policies, directions, ends);
            return SmallVec::new();
        }
        let mut judged = Judged::of(question(event.connection, ends), directions, cluster);
        wire::judgements(&mut room.policies, &judged);
        if !matches!(event.reason, Reason::Settled | Reason::Drop) {
            return SmallVec::new();
        }
        self.count(&judged, u64::saturating_add);
        judged.tell(event.connection, &mut self.stats)
    }

    fn judge(&mut self, connection: &Connection, ends: &Ends, directions: &[Direction], cluster: &Cluster) {
        let question = question(connection, ends);
        if self.judged.get(&connection.id).is_some_and(|judged| judged.question == question) {
            return;
        }
        if let Some(other) = self.judged.remove(&connection.id) {
            self.count(&other, u64::saturating_sub);
            other.take_back(&mut self.stats);
        }
        let judged = Judged::of(question, directions, cluster);
        let decided = judged.judgements.iter().any(|judgement| judgement.ruling != Ruling::Open);
        if !decided {
            return;
        }
        if self.judged.len() >= self.most {
            self.stats.not_remembered += 1;
            self.forgotten_until = self.forgotten_until.max(Some(connection.id));
            return;
        }
        self.count(&judged, u64::saturating_add);
        self.judged.insert(connection.id, judged);
    }

    fn count(&mut self, judged: &Judged, by: fn(u64, u64) -> u64) {
        let PolicyStatus { allowed, denied, undecidable, .. } = &mut self.stats;
        for judgement in &judged.judgements {
            let count = match judgement.ruling {
                Ruling::Allowed => &mut *allowed,
                Ruling::Denied => &mut *denied,
                Ruling::Undecidable(_) => &mut *undecidable,
                Ruling::Open | Ruling::Always(_) => continue,
            };
            *count = by(*count, 1);
        }
    }

    /// When a contradiction is to be looked at next, if not after `now`. Of a time that is far ahead, the clock was set back.
    pub(super) fn next_due(&self, now: UnixNanos) -> Option<UnixNanos> {
        let (at, _) = *self.waiting.front()?;
        if self.is_settled || at > now.plus_nanos(2 * STEADY_NS) {
            return Some(now);
        }
        (at <= now).then_some(at)
    }

    /// The next connection that may contradict its policies, if its time has come.
    pub(super) fn due(&mut self, now: UnixNanos) -> Option<ConnectionId> {
        self.next_due(now)?;
        let (_, id) = self.waiting.pop_front()?;
        if let Some(judged) = self.judged.get_mut(&id) {
            judged.waits = false;
        }
        Some(id)
    }

    /// Forgets what has been over for long enough.
    fn forget(&mut self, now: UnixNanos) {
        while let Some((_, id)) =
            self.ended.pop_front_if(|(at, _)| *at <= now || *at > now.plus_nanos(2 * STRAGGLERS_NS))
        {
            self.judged.remove(&id);
        }
    }

    /// Whether a connection now contradicts its policies in a direction that was not told of yet.
    pub(super) fn contradicts(&mut self, connection: &Connection, now: UnixNanos, cluster: &Cluster) -> bool {
        let Some(judged) = self.judged.get_mut(&connection.id) else { return false };
        let before = judged.conflicts.len();
        judged.look(connection, now, self.is_settled, cluster);
        let news = judged.conflicts.len().saturating_sub(before);
        self.stats.disagreements += news as u64;
        news > 0
    }

    /// Nothing of the cluster will change any more: contradictions need not be waited for.
    pub(super) const fn settle(&mut self) {
        self.is_settled = true;
    }
}

/// First flows, and those that may say that the ends are others.
const fn is_news(event: &Event<'_>) -> bool {
    matches!(event.reason, Reason::Settled | Reason::Drop | Reason::Correction) || event.correction
}

/// The directions that this node judges. Where the cluster knows no node of its name, as for a capture of unknown origin, both.
pub(super) fn directions(ends: &Ends, cluster: &Cluster, settings: &Settings) -> SmallVec<[Direction; 2]> {
    let mut directions = SmallVec::new();
    let is_pod = |end: &Endpoint| end.kind == EndpointKind::Pod;
    if !is_pod(&ends.source) && !is_pod(&ends.destination) {
        return directions;
    }
    let anywhere = !cluster.has_node(&settings.node_name);
    if is_pod(&ends.source) && (ends.client_is_local || anywhere) {
        directions.push(Direction::Egress);
    }
    if is_pod(&ends.destination) && (*ends.destination.node == *settings.node_name || anywhere) {
        directions.push(Direction::Ingress);
    }
    directions
}

fn question(connection: &Connection, ends: &Ends) -> Question {
    Question {
        at: connection.first_packet,
        protocol: service_protocol(ends.protocol),
        client: ends.client.ip(),
        client_behind: ends.masquerade.map_or(ends.client.ip(), |masquerade| masquerade.ip()),
        called: ends.vip.unwrap_or(ends.server),
        server: ends.server,
    }
}

/// How packets contradict policies, and in which direction; none: what all judged directions say together.
type Contradiction = (Option<Direction>, PolicyConflict);

impl Judged {
    fn of(question: Question, directions: &[Direction], cluster: &Cluster) -> Self {
        let judgements: SmallVec<[Judgement; 2]> =
            directions.iter().filter_map(|direction| cluster.judge(&question, *direction)).collect();
        let remedy = |judgement| Some(cluster.remedy(&question, judgement)?.to_string().into());
        Self {
            question,
            remedies: judgements.iter().map(remedy).collect(),
            told: judgements.iter().map(|_| None).collect(),
            judgements,
            conflicts: SmallVec::new(),
            waits: false,
            ended: false,
        }
    }

    /// How the packets contradict what policies say now.
    fn contradictions(&self, connection: &Connection) -> SmallVec<[Contradiction; 2]> {
        match connection.verdict() {
            connection::Verdict::Forwarded => {
                let denied = self.judgements.iter().filter(|judgement| judgement.ruling == Ruling::Denied);
                denied.map(|it| (Some(it.direction), PolicyConflict::DeniedButDelivered)).collect()
            }
            connection::Verdict::Dropped
                if is_stopped_by_a_rule(connection) && self.judgements.iter().all(Judgement::passes) =>
            {
                let only = match &self.judgements[..] {
                    [only] => Some(only.direction),
                    _ => None,
                };
                SmallVec::from_iter([(only, PolicyConflict::AllowedButDropped)])
            }
            connection::Verdict::Dropped | connection::Verdict::Traced => SmallVec::new(),
        }
    }

    /// When to look again for a contradiction that may be, if that is not known yet.
    fn review_at(&mut self, connection: &Connection) -> Option<UnixNanos> {
        let may_be = !self.waits
            && !connection.gaps.midstream
            && self.contradictions(connection).iter().any(|it| !self.conflicts.contains(it));
        self.waits |= may_be;
        may_be.then(|| connection.first_packet.plus_nanos(STEADY_NS))
    }

    /// Takes up contradictions that have held long enough, and gives up those that hold no more.
    fn look(&mut self, connection: &Connection, now: UnixNanos, is_settled: bool, cluster: &Cluster) {
        let question = &self.question;
        let from = UnixNanos::from_nanos(question.at.as_nanos().saturating_sub(STEADY_NS));
        let until = question.at.plus_nanos(STEADY_NS);
        let is_steady = |direction: Direction| {
            (now >= until || is_settled) && !cluster.judged_otherwise_within(question, direction, from, until)
        };
        let steady = |only: Option<Direction>| match only {
            Some(direction) => is_steady(direction),
            None => self.judgements.iter().all(|judgement| is_steady(judgement.direction)),
        };
        let mut conflicts = self.contradictions(connection);
        conflicts.retain(|it| !connection.gaps.midstream && (self.conflicts.contains(it) || steady(it.0)));
        self.conflicts = conflicts;
    }
}

/// Whether a rule dropped it: one that was logged, or one of netfilter's. Other reasons of the kernel's are no policies, and who is
/// told that he is refused may have called a Service without endpoints.
fn is_stopped_by_a_rule(connection: &Connection) -> bool {
    if connection.observed(Observation::IcmpUnreachable) || connection.observed(Observation::ResetByNetwork) {
        return false;
    }
    let netfilter = connection.stopped_by().is_some_and(|drop| &*drop.cause.reason == "NETFILTER_DROP");
    netfilter || connection.observed(Observation::Logged)
}
