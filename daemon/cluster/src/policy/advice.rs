//! A question answered for people: both directions in full, and what is worth saying beside them.
//!
//! The mistakes that everybody makes are looked for here, among all policies of the cluster: far too much for a packet, and
//! nothing for a person who asks.

use std::fmt::{self, Display, Formatter};
use std::sync::Arc;

use super::compiled::{Asked, Compiled};
use super::judge::Hearing;
use super::subject::Subject;
use super::{Allowance, Direction, Judgement, Question, Ruling};
use crate::object::{NetworkPolicy, ObjectName, Peer, Selector};
use crate::{Cluster, Endpoint, EndpointKind, Protocol};

/// The port of DNS (RFC 1035 section 4.2).
const DNS: u16 = 53;
/// Policies named in one piece of advice, at most.
const MOST: usize = 3;

/// Both directions of a connection, and what helps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// Egress, ingress; absent where that end is no pod with an address of its own.
    pub judgements: Vec<Judgement>,
    /// What is worth saying beside them.
    pub advice: Vec<Advice>,
}

/// Something worth saying.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Advice {
    /// What would let it pass.
    WouldAllow {
        /// In which direction it lacks.
        direction: Direction,
        /// The pod that is judged, as `shop/web-1`.
        pod: String,
        /// What a rule's `from` or `to` could be.
        peer: String,
        /// What its `ports` could be.
        port: String,
    },
    /// The pod cannot look names up.
    NoDns {
        /// The pod.
        pod: String,
    },
    /// Only one direction lets it pass, and both must.
    BothMust {
        /// The direction that does not.
        lacking: Direction,
    },
    /// Its answers pass, whatever these policies of the server say of egress.
    RepliesPass {
        /// The server.
        pod: String,
        /// Policies that select it for egress.
        policies: Vec<ObjectName>,
    },
    /// A rule has a namespaceSelector and a podSelector as two items: either is enough.
    TwoItems {
        /// The policy.
        policy: ObjectName,
        /// The rule.
        rule: usize,
    },
    /// The policy would let it pass if it were in the pod's namespace.
    OtherNamespace {
        /// The policy.
        policy: ObjectName,
        /// The pod's namespace.
        namespace: Arc<str>,
    },
    /// The policy selects no pod at all.
    SelectsNothing {
        /// The policy.
        policy: ObjectName,
        /// What it asks for.
        selector: Selector,
    },
}

impl Explanation {
    /// Whether it passes; none where nobody can say.
    #[must_use]
    pub fn passes(&self) -> Option<bool> {
        let any = |is: fn(&Ruling) -> bool| self.judgements.iter().any(|judgement| is(&judgement.ruling));
        if any(|ruling| *ruling == Ruling::Denied) {
            Some(false)
        } else if any(|ruling| matches!(ruling, Ruling::Undecidable(_))) {
            None
        } else {
            Some(true)
        }
    }
}

impl Cluster {
    /// What the policies say of both directions of a connection, and what helps.
    #[must_use]
    pub fn explain(&self, question: &Question) -> Explanation {
        let directions = [Direction::Egress, Direction::Ingress];
        let judgements: Vec<_> =
            directions.into_iter().filter_map(|direction| self.judge_in_full(question, direction)).collect();
        let mut advice: Vec<_> = judgements.iter().flat_map(|it| self.advice(question, it)).collect();
        advice.extend(both_must(&judgements));
        advice.extend(self.replies_pass(question, &judgements));
        Explanation { judgements, advice }
    }

    /// What would let a denied direction pass.
    #[must_use]
    pub fn remedy(&self, question: &Question, judgement: &Judgement) -> Option<Advice> {
        let hearing = Hearing::of_question(self, question, judgement.direction)?;
        let asked = hearing.asked_of_the_peer()?;
        (judgement.ruling == Ruling::Denied).then(|| would_allow(judgement, &asked))
    }

    fn advice(&self, question: &Question, judgement: &Judgement) -> Vec<Advice> {
        let mut advice = Vec::new();
        match judgement.ruling {
            Ruling::Denied => {
                if judgement.direction == Direction::Egress && question.server.port() == DNS {
                    advice.push(Advice::NoDns { pod: path(&judgement.pod) });
                }
                self.with_asked(question, judgement.direction, |pod, asked| {
                    advice.push(would_allow(judgement, asked));
                    advice.extend(self.in_other_namespaces(judgement.direction, pod, asked));
                    advice.extend(self.that_select_nothing(judgement.direction, pod, Some(asked)));
                });
            }
            Ruling::Open => self.with_asked(question, judgement.direction, |pod, _| {
                advice.extend(self.that_select_nothing(judgement.direction, pod, None));
            }),
            Ruling::Allowed => advice.extend(judgement.allowing().filter_map(two_items(judgement.direction))),
            Ruling::Always(_) | Ruling::Undecidable(_) => {}
        }
        advice
    }

    fn with_asked(&self, question: &Question, direction: Direction, say: impl FnOnce(&Subject, &Asked<'_>)) {
        if let Some(hearing) = Hearing::of_question(self, question, direction)
            && let Some(asked) = hearing.asked_of_the_peer()
        {
            say(hearing.subject, &asked);
        }
    }

    /// Policies that would select the pod and let it pass if they were in its namespace.
    fn in_other_namespaces(&self, direction: Direction, pod: &Subject, asked: &Asked<'_>) -> Vec<Advice> {
        let would = |policy: &&Arc<Compiled>| {
            policy.policy.name.namespace != pod.namespace && policy.would_allow(direction, pod, asked)
        };
        let named = |policy: &Arc<Compiled>| Advice::OtherNamespace {
            policy: policy.policy.name.clone(),
            namespace: Arc::clone(&pod.namespace),
        };
        self.policies.all().filter(would).map(named).take(MOST).collect()
    }

    /// Policies of the pod's namespace that select no pod: those that would let it pass if they did; or all.
    fn that_select_nothing(
        &self,
        direction: Direction,
        pod: &Subject,
        asked: Option<&Asked<'_>>,
    ) -> Vec<Advice> {
        let is_about = |policy: &&Arc<Compiled>| {
            let allows = |asked| matches!(policy.allowance(direction, asked), Ok(Some(_)));
            policy.policy.name.namespace == pod.namespace
                && policy.rules(direction).is_some()
                && asked.is_none_or(allows)
                && !self.policies.selects_any(policy)
        };
        let named = |policy: &Arc<Compiled>| Advice::SelectsNothing {
            policy: policy.policy.name.clone(),
            selector: policy.policy.selects.clone(),
        };
        self.policies.all().filter(is_about).map(named).take(MOST).collect()
    }

    fn replies_pass(&self, question: &Question, judgements: &[Judgement]) -> Option<Advice> {
        let passes = judgements.iter().all(Judgement::passes);
        let server = judgements.iter().find(|judgement| judgement.direction == Direction::Ingress)?;
        let subject = server.pod.subject.as_ref()?;
        let selecting = self.policies.selecting(subject, question.at)?;
        let policies: Vec<_> =
            selecting.about(Direction::Egress).map(|policy| policy.policy.name.clone()).take(MOST).collect();
        (passes && !policies.is_empty()).then(|| Advice::RepliesPass { pod: path(&server.pod), policies })
    }
}

fn both_must(judgements: &[Judgement]) -> Option<Advice> {
    let denied = judgements.iter().find(|judgement| judgement.ruling == Ruling::Denied)?;
    let other = judgements.iter().find(|judgement| judgement.direction != denied.direction)?;
    (other.ruling == Ruling::Allowed).then_some(Advice::BothMust { lacking: denied.direction })
}

fn would_allow(judgement: &Judgement, asked: &Asked<'_>) -> Advice {
    let party = asked.party;
    let labels = |subject: &Subject| match subject.labels.telling() {
        Some((key, value)) => format!("pods with {key}={value} in namespace {}", subject.namespace),
        None => format!("pods in namespace {}", subject.namespace),
    };
    let peer = match (party.endpoint.kind, &party.endpoint.subject) {
        (EndpointKind::Pod, Some(subject)) => labels(subject),
        _ => format!("the ipBlock {}", ipnet::IpNet::from(party.address)),
    };
    let port = format!("{} {}", asked.protocol, asked.port);
    Advice::WouldAllow { direction: judgement.direction, pod: path(&judgement.pod), peer, port }
}

/// Where one item of a rule is a namespaceSelector alone and another a podSelector alone, and one of them let it pass.
fn two_items(direction: Direction) -> impl Fn((&NetworkPolicy, Allowance)) -> Option<Advice> {
    move |(policy, allowance)| {
        let rules = match direction {
            Direction::Ingress => policy.ingress.as_ref(),
            Direction::Egress => policy.egress.as_ref(),
        };
        let peers = &rules?.get(allowance.rule)?.peers;
        let spaces = |peer: &Peer| matches!(peer, Peer::Pods { namespaces: Some(_), pods: None });
        let pods = |peer: &Peer| matches!(peer, Peer::Pods { namespaces: None, pods: Some(_) });
        let matched = peers.get(allowance.peer?)?;
        let is_one = spaces(matched) || pods(matched);
        (is_one && peers.iter().any(spaces) && peers.iter().any(pods))
            .then(|| Advice::TwoItems { policy: policy.name.clone(), rule: allowance.rule })
    }
}

fn path(pod: &Endpoint) -> String {
    format!("{}/{}", pod.namespace, pod.pod_name)
}

impl Display for Advice {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::WouldAllow { direction, pod, peer, port } => {
                let from = if *direction == Direction::Ingress { "from" } else { "to" };
                write!(
                    out,
                    "a policy that selects {pod} with an {direction} rule {from} {peer} on {port} would allow it"
                )
            }
            Self::NoDns { pod } => write!(
                out,
                "{pod} cannot look names up: its policies deny {} and {} to the DNS server, so calls by name fail before they begin",
                port(Protocol::Udp),
                port(Protocol::Tcp)
            ),
            Self::BothMust { lacking } => {
                let (other, end) = match lacking {
                    Direction::Egress => (Direction::Ingress, "client"),
                    Direction::Ingress => (Direction::Egress, "server"),
                };
                write!(out, "{other} allows it, but {lacking} of the {end} does not: both must")
            }
            Self::RepliesPass { pod, policies } => write!(
                out,
                "the answers of {pod} need no rule: they belong to the allowed connection, and what {} of its egress is not asked",
                say(policies)
            ),
            Self::TwoItems { policy, rule } => write!(
                out,
                "rule {rule} of {policy} lists a namespaceSelector and a podSelector as two items, so either is enough; if both \
                 must hold, make them one item"
            ),
            Self::OtherNamespace { policy, namespace } => write!(
                out,
                "{policy} would allow it if it were in namespace {namespace}: a policy selects pods of its own namespace only"
            ),
            Self::SelectsNothing { policy, selector } => write!(
                out,
                "{policy} selects no pod: namespace {} has none with {selector}",
                policy.namespace
            ),
        }
    }
}

fn port(protocol: Protocol) -> String {
    format!("{protocol} {DNS}")
}

fn say(policies: &[ObjectName]) -> String {
    let names: Vec<_> = policies.iter().map(ToString::to_string).collect();
    let verb = if names.len() == 1 { "says" } else { "say" };
    format!("{} {verb}", names.join(", "))
}
