//! Asks the policies of a time about a connection.
//!
//! Where this node changes the client's address, plugins judge by the address before or after, so both are asked; where they
//! answer differently, nobody can say.

use std::net::IpAddr;
use std::sync::Arc;

use super::compiled::{Asked, Compiled, Party};
use super::subject::Subject;
use super::table::Selecting;
use super::{Always, Direction, Judgement, Opinion, Outcome, Question, Ruling, Undecidable, miss};
use crate::{Cluster, Endpoint, EndpointKind, Protocol, UnixNanos};

/// How much is told of the policies that do not let a connection pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    /// Nothing, and of those that do as little.
    Nothing,
    /// Nothing where others let it pass.
    IfItMatters,
    Always,
}

impl Cluster {
    /// What the policies say of one direction of a connection; none where no pod with an address of its own is judged in it.
    /// Where some policy allows it, only those that do are named.
    #[must_use]
    pub fn judge(&self, question: &Question, direction: Direction) -> Option<Judgement> {
        self.asked(question, direction, Told::IfItMatters)
    }

    /// The same, with what every policy that selects the pod says.
    #[must_use]
    pub fn judge_in_full(&self, question: &Question, direction: Direction) -> Option<Judgement> {
        self.asked(question, direction, Told::Always)
    }

    /// The result alone, for who asks about many: which policies brought it about is not told.
    #[must_use]
    pub fn ruling(&self, question: &Question, direction: Direction) -> Option<Ruling> {
        self.heard(question, direction, Told::Nothing).map(|(_, (ruling, _))| ruling)
    }

    /// Whether anything that the judgement rests on became different in that time: the policies that select the pod, the pod,
    /// or the other end.
    #[must_use]
    pub fn judged_otherwise_within(
        &self,
        question: &Question,
        direction: Direction,
        from: UnixNanos,
        until: UnixNanos,
    ) -> bool {
        let addresses = [question.client, question.client_behind, question.server.ip(), question.called.ip()];
        let changed = |address: &IpAddr| self.addresses.changed_within(&address.to_canonical(), from, until);
        let judged = self.owner(question.judged(direction), question.at).subject.as_ref();
        addresses.iter().any(changed)
            || judged.is_some_and(|pod| self.policies.changed_within(pod, from, until))
    }

    /// Before it, another pod may have had the address, or other policies held.
    fn judged_exactly_since(&self) -> UnixNanos {
        self.policies.history().exact_since.max(self.addresses.size().exact_since)
    }

    fn asked(&self, question: &Question, direction: Direction, told: Told) -> Option<Judgement> {
        let (pod, (ruling, opinions)) = self.heard(question, direction, told)?;
        Some(Judgement { direction, pod: Arc::clone(pod), ruling, opinions })
    }

    fn heard(
        &self,
        question: &Question,
        direction: Direction,
        told: Told,
    ) -> Option<(&Arc<Endpoint>, Result)> {
        let pod = self.owner(question.judged(direction), question.at);
        let subject = pod.subject.as_ref()?;
        let result = match self.policies.selecting(subject, question.at) {
            _ if question.at < self.judged_exactly_since() => too_old(),
            None => (Ruling::Open, Vec::new()),
            Some(selecting) => {
                Hearing { cluster: self, question, direction, pod, subject, told }.of(selecting)
            }
        };
        Some((pod, result))
    }
}

fn too_old() -> (Ruling, Vec<Opinion>) {
    (Ruling::Undecidable(Undecidable::TooOld), Vec::new())
}

impl Question {
    /// Address of the pod that is judged.
    fn judged(&self, direction: Direction) -> IpAddr {
        let address = match direction {
            Direction::Egress => self.client,
            Direction::Ingress => self.server.ip(),
        };
        address.to_canonical()
    }
}

/// One pod, one direction.
pub(super) struct Hearing<'a> {
    cluster: &'a Cluster,
    question: &'a Question,
    direction: Direction,
    pod: &'a Arc<Endpoint>,
    pub(super) subject: &'a Arc<Subject>,
    told: Told,
}

type Result = (Ruling, Vec<Opinion>);

impl<'a> Hearing<'a> {
    /// Where a pod is judged.
    pub(super) fn of_question(
        cluster: &'a Cluster,
        question: &'a Question,
        direction: Direction,
    ) -> Option<Self> {
        let pod = cluster.owner(question.judged(direction), question.at);
        let subject = pod.subject.as_ref()?;
        Some(Self { cluster, question, direction, pod, subject, told: Told::Always })
    }

    /// What rules are asked; the client is who this node makes of it.
    pub(super) fn asked_of_the_peer(&self) -> Option<Asked<'_>> {
        let address = match self.direction {
            Direction::Egress => self.question.server.ip(),
            Direction::Ingress => self.question.client_behind,
        };
        Some(self.asked(self.party(address, None), self.question.protocol?))
    }

    fn of(&self, selecting: &Selecting) -> Result {
        if let Some((kind, name)) = selecting.foreign() {
            let why = Undecidable::Foreign { kind: *kind, name: name.clone() };
            return (Ruling::Undecidable(why), Vec::new());
        }
        if selecting.about(self.direction).next().is_none() {
            return (Ruling::Open, Vec::new());
        }
        let Question { client, client_behind, server, called, .. } = *self.question;
        match self.direction {
            Direction::Egress => {
                let called = called.ip().to_canonical();
                let called = (called != server.ip().to_canonical()).then_some(called);
                self.heard(selecting, server.ip(), called)
            }
            Direction::Ingress if client == client_behind => self.heard(selecting, client, None),
            Direction::Ingress => {
                let (before, after) =
                    (self.heard(selecting, client, None), self.heard(selecting, client_behind, None));
                let agree = passes(&before.0).is_some() && passes(&before.0) == passes(&after.0);
                if agree {
                    return before;
                }
                (Ruling::Undecidable(Undecidable::Masqueraded(client_behind)), before.1)
            }
        }
    }

    /// With the other end at that address.
    fn heard(&self, selecting: &Selecting, address: IpAddr, called: Option<IpAddr>) -> Result {
        let party = self.party(address, called);
        if let Some(always) = self.always(&party) {
            return (Ruling::Always(always), Vec::new());
        }
        let Some(protocol) = self.question.protocol else {
            return (Ruling::Undecidable(Undecidable::Protocol), Vec::new());
        };
        self.opinions(selecting, &self.asked(party, protocol))
    }

    fn party(&self, address: IpAddr, called: Option<IpAddr>) -> Party<'_> {
        let address = address.to_canonical();
        let endpoint = self.cluster.owner(address, self.question.at);
        let is_service = self.direction == Direction::Egress && endpoint.kind == EndpointKind::Service;
        let unanswered = is_service.then_some(self.question.server);
        Party { endpoint, address, called, unanswered }
    }

    fn always(&self, party: &Party<'_>) -> Option<Always> {
        let (own, other) = (&**self.pod, party.endpoint);
        let is_itself = other.kind == EndpointKind::Pod
            && (&other.namespace, &other.pod_name) == (&own.namespace, &own.pod_name);
        if is_itself {
            return Some(Always::Itself);
        }
        let is_own_node = other.kind == EndpointKind::Node && other.node == own.node && !own.node.is_empty();
        is_own_node.then_some(Always::OwnNode)
    }

    fn asked<'b>(&'b self, party: Party<'b>, protocol: Protocol) -> Asked<'b> {
        let port_of = match self.direction {
            Direction::Ingress => Some(&**self.subject),
            Direction::Egress => party.endpoint.subject.as_deref(),
        };
        Asked { party, protocol, port: self.question.server.port(), port_of }
    }

    fn alone(&self, selecting: &Selecting, asked: &Asked<'_>) -> Ruling {
        let mut ruling = Ruling::Denied;
        for policy in selecting.about(self.direction) {
            match policy.allowance(self.direction, asked) {
                Ok(Some(_)) => return Ruling::Allowed,
                Err(why) if ruling == Ruling::Denied => ruling = Ruling::Undecidable(why),
                Ok(None) | Err(_) => {}
            }
        }
        ruling
    }

    fn opinions(&self, selecting: &Selecting, asked: &Asked<'_>) -> Result {
        if self.told == Told::Nothing {
            return (self.alone(selecting, asked), Vec::new());
        }
        let (mut ruling, mut others) = (Ruling::Denied, 0);
        let mut opinions = Vec::new();
        let opinion =
            |policy: &Arc<Compiled>, outcome| Opinion { policy: Arc::clone(&policy.policy), outcome };
        for policy in selecting.about(self.direction) {
            match policy.allowance(self.direction, asked) {
                Ok(Some(allowance)) => {
                    ruling = Ruling::Allowed;
                    opinions.push(opinion(policy, Outcome::Allows(allowance)));
                }
                Ok(None) => others += 1,
                Err(why) => {
                    if ruling == Ruling::Denied {
                        ruling = Ruling::Undecidable(why.clone());
                    }
                    opinions.push(opinion(policy, Outcome::Maybe(why)));
                }
            }
        }
        if others > 0 && (ruling != Ruling::Allowed || self.told == Told::Always) {
            let missing = selecting
                .about(self.direction)
                .filter(|policy| opinions.iter().all(|known| known.policy.name != policy.policy.name));
            let missing: Vec<_> = missing
                .map(|policy| {
                    opinion(
                        policy,
                        Outcome::Misses(miss::nearest(policy, self.direction, asked, self.question)),
                    )
                })
                .collect();
            opinions.extend(missing);
            opinions.sort_by(|a, b| a.policy.name.cmp(&b.policy.name));
        }
        (ruling, opinions)
    }
}

/// Whether it lets the connection pass; none where that is not known.
const fn passes(ruling: &Ruling) -> Option<bool> {
    match ruling {
        Ruling::Open | Ruling::Allowed | Ruling::Always(_) => Some(true),
        Ruling::Denied => Some(false),
        Ruling::Undecidable(_) => None,
    }
}
