//! A second evaluator of NetworkPolicies, for the compiled one to be compared with: plain, slow, written from the API's text.
//!
//! It keeps a whole copy of the objects for each moment and walks all of them at each question. Of weir it knows the objects and
//! nothing else: none of the code that it is compared with. At each branch stands what asks for it: a field's text in
//! `k8s.io/api/networking/v1` (types.go), a paragraph of the documentation's page on network policies ("concept"), or a
//! sentence of weir's own where Kubernetes leaves it open ("weir").

mod owner;

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use weir_cluster::object::{
    ForeignPolicy, Namespace, NetworkPolicy, Node, ObjectName, Operator, Peer, Pod, PolicyPort, PortMatch,
    Rule, Selector, Service,
};
use weir_cluster::{Protocol, UnixNanos};

use owner::Party;

/// All objects of a moment.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    pub namespaces: Vec<Namespace>,
    pub nodes: Vec<Node>,
    pub services: Vec<Service>,
    pub policies: Vec<NetworkPolicy>,
    pub foreign: Vec<ForeignPolicy>,
    pub pods: Vec<Pod>,
}

/// The moments from which on the objects were these, oldest first.
#[derive(Debug, Default)]
pub struct Past {
    pub moments: Vec<(UnixNanos, Snapshot)>,
    /// Ranges that are the cluster's by its configuration.
    pub ranges: Vec<IpNet>,
}

/// A connection. There is no asking about its answers: they belong to it (concept, "the two sorts of pod isolation": replies to
/// allowed connections are allowed implicitly).
#[derive(Clone, Copy, Debug)]
pub struct Call {
    pub at: UnixNanos,
    pub protocol: Option<Protocol>,
    pub client: IpAddr,
    pub client_behind: IpAddr,
    pub called: SocketAddr,
    pub server: SocketAddr,
}

/// Whose policies are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Egress,
    Ingress,
}

/// What they say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Says {
    Open,
    /// By these policies, in the order of their names.
    Allowed(Vec<(ObjectName, Place)>),
    OwnNode,
    Itself,
    /// By these policies, in the order of their names.
    Denied(Vec<ObjectName>),
    Undecidable,
}

/// Where in a policy it is allowed: rule, peer and port; none where the list is empty.
pub type Place = (usize, Option<usize>, Option<usize>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Truth {
    Yes,
    No,
    Perhaps,
}

impl From<bool> for Truth {
    fn from(is: bool) -> Self {
        if is { Self::Yes } else { Self::No }
    }
}

impl Past {
    /// What the policies of that side say; none where it has no pod with an address of its own.
    pub fn says(&self, call: &Call, side: Side) -> Option<Says> {
        let address = match side {
            Side::Egress => call.client,
            Side::Ingress => call.server.ip(),
        };
        let now = self.at(call.at)?;
        match self.party(address, call.at) {
            Party::Pod(pod) => Some(Hearing { past: self, now, call, side, pod }.says()),
            // concept, "NetworkPolicy and hostNetwork pods": such a pod's traffic is its node's; nothing selects it.
            // networking/v1 NetworkPolicySpec.podSelector: pods are what a policy is about, and nothing else.
            Party::Node(_) | Party::Service | Party::Unknown | Party::Outside => None,
        }
    }
}

/// One pod, one side, one moment.
#[derive(Clone, Copy)]
struct Hearing<'a> {
    past: &'a Past,
    now: &'a Snapshot,
    call: &'a Call,
    side: Side,
    pod: &'a Pod,
}

impl<'a> Hearing<'a> {
    fn says(self) -> Says {
        // weir: where a policy of a kind that weir does not judge by may select the pod, nobody can say.
        if self.now.foreign.iter().any(|policy| self.is_under(policy)) {
            return Says::Undecidable;
        }
        let policies = self.policies();
        // NetworkPolicySpec.ingress, .egress; concept: a pod that no policy selects in a direction is not isolated in it.
        if policies.is_empty() {
            return Says::Open;
        }
        let call = self.call;
        if self.side == Side::Egress {
            return self.towards(&policies, call.server.ip(), Some(call.called.ip()));
        }
        // concept, "behavior of ipBlock": whether the client's address is seen before or after its translation is left open.
        let before = self.towards(&policies, call.client, None);
        let after = self.towards(&policies, call.client_behind, None);
        match (passes(&before), passes(&after)) {
            (Some(one), Some(other)) if one == other => before,
            _ => Says::Undecidable,
        }
    }

    /// The policies that select the pod for this direction, in the order of their names.
    fn policies(self) -> Vec<&'a NetworkPolicy> {
        let mut policies: Vec<_> = self.now.policies.iter().filter(|policy| self.isolates(policy)).collect();
        policies.sort_by(|one, other| one.name.cmp(&other.name));
        policies
    }

    fn isolates(self, policy: &NetworkPolicy) -> bool {
        // NetworkPolicySpec.podSelector: it selects pods of the policy's own namespace; an empty one all of them.
        policy.name.namespace == self.pod.name.namespace
            && selects(&policy.selects, |key| self.pod.labels.get(key).map(String::as_str)) == Truth::Yes
            // NetworkPolicySpec.policyTypes: a policy of other types says nothing of this direction.
            && self.rules(policy).is_some()
    }

    fn rules(self, policy: &NetworkPolicy) -> Option<&Vec<Rule>> {
        match self.side {
            Side::Egress => policy.egress.as_ref(),
            Side::Ingress => policy.ingress.as_ref(),
        }
    }

    fn is_under(self, policy: &ForeignPolicy) -> bool {
        let own = &policy.name.namespace;
        let here = match &policy.namespaces {
            None => (own.is_empty() || *own == self.pod.name.namespace).into(),
            Some(namespaces) => self.in_namespace(self.pod, namespaces),
        };
        let pods = policy.pods.as_ref();
        here != Truth::No && pods.is_none_or(|pods| is_pod(self.pod, pods) == Truth::Yes)
    }

    /// With that address at the other end.
    fn towards(self, policies: &[&NetworkPolicy], other: IpAddr, called: Option<IpAddr>) -> Says {
        let party = self.past.party(other, self.call.at);
        match party {
            // concept, "what you can't do": a pod cannot be kept from itself ...
            Party::Pod(pod) if pod.name == self.pod.name => return Says::Itself,
            // ... nor from its node, whatever stands in its policies.
            Party::Node(node) if !node.is_empty() && *node == *self.pod.node => return Says::OwnNode,
            _ => {}
        }
        // concept: the API is about TCP, UDP and SCTP; of other protocols it says that it is undefined.
        let Some(protocol) = self.call.protocol else { return Says::Undecidable };
        let asked = Asked { hearing: self, party, address: other.to_canonical(), called, protocol };
        asked.by_all(policies)
    }

    /// Whether the labels of the pod's namespace are as asked.
    fn in_namespace(self, pod: &Pod, selector: &Selector) -> Truth {
        let name = &pod.name.namespace;
        let known = self.now.namespaces.iter().find(|namespace| namespace.name == *name);
        let each = selector.requirements.iter().map(|requirement| {
            let key = &*requirement.key;
            let label = known.and_then(|namespace| namespace.labels.get(key)).map(String::as_str);
            match (label, known) {
                // core/v1 LabelMetadataName: the API server gives each namespace its name as a label.
                (None, _) if key == "kubernetes.io/metadata.name" => holds(&requirement.operator, Some(name)),
                // weir: a namespace whose object is not known has labels that are not known.
                (None, None) => Truth::Perhaps,
                (label, _) => holds(&requirement.operator, label),
            }
        });
        all(each)
    }
}

/// Whether it lets the connection pass; none where that is not known.
const fn passes(says: &Says) -> Option<bool> {
    match says {
        Says::Open | Says::Allowed(_) | Says::OwnNode | Says::Itself => Some(true),
        Says::Denied(_) => Some(false),
        Says::Undecidable => None,
    }
}

/// What the rules are asked.
struct Asked<'a> {
    hearing: Hearing<'a>,
    party: Party<'a>,
    address: IpAddr,
    called: Option<IpAddr>,
    protocol: Protocol,
}

impl Asked<'_> {
    /// concept: policies do not conflict, they add up; what any one of them allows is allowed, in whatever order.
    fn by_all(&self, policies: &[&NetworkPolicy]) -> Says {
        let mut allowed = Vec::new();
        let mut perhaps = false;
        for policy in policies {
            match self.by(policy) {
                (Truth::Yes, place) => allowed.push((policy.name.clone(), place)),
                (Truth::Perhaps, _) => perhaps = true,
                (Truth::No, _) => {}
            }
        }
        match (allowed.is_empty(), perhaps) {
            (false, _) => Says::Allowed(allowed),
            (true, true) => Says::Undecidable,
            (true, false) => Says::Denied(policies.iter().map(|policy| policy.name.clone()).collect()),
        }
    }

    fn by(&self, policy: &NetworkPolicy) -> (Truth, Place) {
        // weir: what a field that is not known means is not known.
        if policy.unknown_field.is_some() {
            return (Truth::Perhaps, Place::default());
        }
        let own = &policy.name.namespace;
        let mut truth = Truth::No;
        // NetworkPolicySpec.ingress: traffic is allowed if it matches at least one rule; no rule: nothing is allowed.
        for (index, rule) in self.hearing.rules(policy).into_iter().flatten().enumerate() {
            // NetworkPolicyIngressRule: it must match both the ports and the peers.
            let (port, port_at) = any(&rule.ports, |port| self.is_port(port));
            let (peer, peer_at) = any(&rule.peers, |peer| self.is_peer(peer, own));
            match all([port, peer]) {
                Truth::Yes => return (Truth::Yes, (index, peer_at, port_at)),
                Truth::Perhaps => truth = Truth::Perhaps,
                Truth::No => {}
            }
        }
        (truth, Place::default())
    }

    fn is_port(&self, port: &PolicyPort) -> Truth {
        // NetworkPolicyPort.protocol: TCP, UDP or SCTP, and TCP where it is not said.
        if port.protocol != self.protocol {
            return Truth::No;
        }
        let number = self.hearing.call.server.port();
        match &port.port {
            // NetworkPolicyPort.port: where it is not said, all names and numbers.
            PortMatch::Every => Truth::Yes,
            // weir: which pod answers for the Service is not known, so neither is the port that it answers on.
            _ if self.is_unanswered() => Truth::Perhaps,
            // NetworkPolicyPort.port, .endPort: the whole range from the one to the other, both of them in it.
            PortMatch::Numbers(numbers) => (*numbers.start() <= number && number <= *numbers.end()).into(),
            PortMatch::Named(name) => self.is_named(name, number),
        }
    }

    /// NetworkPolicyPort.port: a name is that of a port of the pod that is called, with the rule's protocol.
    fn is_named(&self, name: &str, number: u16) -> Truth {
        let pod = match (self.hearing.side, self.party) {
            (Side::Ingress, _) => self.hearing.pod,
            (Side::Egress, Party::Pod(pod)) => pod,
            // weir: a pod that is not known may call its port so.
            (Side::Egress, Party::Unknown) => return Truth::Perhaps,
            (Side::Egress, _) => return Truth::No,
        };
        let mut ports = pod.named_ports.iter();
        let named = ports.find(|port| *port.name == *name && port.protocol == self.protocol);
        named.is_some_and(|port| port.port == number).into()
    }

    fn is_peer(&self, peer: &Peer, own: &str) -> Truth {
        match peer {
            // weir: which pod answers for the Service is not known, so neither are its labels and its address.
            _ if self.is_unanswered() => Truth::Perhaps,
            // IPBlock.cidr, .except: in the range and in none of those that are excepted.
            Peer::Block { cidr, except } => {
                let inside =
                    |address| cidr.contains(&address) && except.iter().all(|range| !range.contains(&address));
                let here = inside(self.address);
                // concept, "behavior of ipBlock": whether it is compared with the address before or after a Service's
                // translation is left open.
                match self.called.map(|called| called.to_canonical()) {
                    Some(called) if inside(called) != here => Truth::Perhaps,
                    _ => here.into(),
                }
            }
            Peer::Pods { namespaces, pods } => match self.party {
                Party::Pod(pod) => self.is_selected(pod, namespaces.as_ref(), pods.as_ref(), own),
                // weir: nobody knows who has the address.
                Party::Unknown => Truth::Perhaps,
                // NetworkPolicyPeer.podSelector, .namespaceSelector: they select pods; concept: a host-network pod is its node.
                Party::Node(_) | Party::Service | Party::Outside => Truth::No,
            },
        }
    }

    fn is_selected(
        &self,
        pod: &Pod,
        namespaces: Option<&Selector>,
        pods: Option<&Selector>,
        own: &str,
    ) -> Truth {
        let namespace = match namespaces {
            // NetworkPolicyPeer.podSelector: without a namespaceSelector the pods of the policy's own namespace.
            None => (*pod.name.namespace == *own).into(),
            // NetworkPolicyPeer.namespaceSelector: an empty one selects all namespaces.
            Some(selector) => self.hearing.in_namespace(pod, selector),
        };
        // NetworkPolicyPeer.namespaceSelector: without a podSelector all pods there; with one, those that both select.
        let labels = pods.map_or(Truth::Yes, |selector| is_pod(pod, selector));
        all([namespace, labels])
    }

    fn is_unanswered(&self) -> bool {
        self.hearing.side == Side::Egress && self.party == Party::Service
    }
}

fn is_pod(pod: &Pod, selector: &Selector) -> Truth {
    selects(selector, |key| pod.labels.get(key).map(String::as_str))
}

/// meta/v1 LabelSelector: all requirements must hold; one without any selects everything.
fn selects<'a>(selector: &Selector, label: impl Fn(&str) -> Option<&'a str>) -> Truth {
    all(selector.requirements.iter().map(|it| holds(&it.operator, label(&it.key))))
}

/// meta/v1 LabelSelectorRequirement.operator; labels.Requirement: `NotIn` holds where the label is not there at all.
fn holds(operator: &Operator, label: Option<&str>) -> Truth {
    let listed = |values: &[std::sync::Arc<str>], label: &str| values.iter().any(|value| **value == *label);
    let is = match (operator, label) {
        (Operator::In(values), Some(label)) => listed(values, label),
        (Operator::NotIn(values), Some(label)) => !listed(values, label),
        (Operator::Exists, label) => label.is_some(),
        (Operator::In(_), None) | (Operator::DoesNotExist, Some(_)) => false,
        (Operator::NotIn(_), None) | (Operator::DoesNotExist, None) => true,
    };
    is.into()
}

fn all(truths: impl IntoIterator<Item = Truth>) -> Truth {
    let truths: Vec<Truth> = truths.into_iter().collect();
    match () {
        () if truths.contains(&Truth::No) => Truth::No,
        () if truths.contains(&Truth::Perhaps) => Truth::Perhaps,
        () => Truth::Yes,
    }
}

/// Whether one of a list is meant, and the first that surely is. NetworkPolicyIngressRule.ports, .from: a list that is empty or
/// absent means everything.
fn any<T>(list: &[T], is: impl Fn(&T) -> Truth) -> (Truth, Option<usize>) {
    if list.is_empty() {
        return (Truth::Yes, None);
    }
    let truths: Vec<Truth> = list.iter().map(is).collect();
    match truths.iter().position(|truth| *truth == Truth::Yes) {
        Some(place) => (Truth::Yes, Some(place)),
        None if truths.contains(&Truth::Perhaps) => (Truth::Perhaps, None),
        None => (Truth::No, None),
    }
}
