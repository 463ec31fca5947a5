//! DNS names of addresses outside the cluster, from the answers that each pod received.
//!
//! A name is what one pod was told about one address: another pod that talks to the same address may have asked for another
//! name. Bounded in pairs, oldest forgotten first and counted. Names of the cluster's own domain never come in, and names are
//! only given for the world's addresses: Hubble's UI hides flows whose in-cluster ends carry names.

use std::collections::VecDeque;
use std::net::IpAddr;

use hashbrown::HashMap;
use weir_cluster::{Endpoint, EndpointKind, UnixNanos};

use crate::track::event::{Content, Event};
use crate::track::l7::dns;

/// Names kept for one pair, newest last.
const NAMES_A_PAIR: usize = 4;
/// Addresses taken from one answer.
const ADDRESSES_AN_ANSWER: usize = 64;
/// An answer names its addresses at least so long: programs go on using an address after its time to live.
const MIN_LIFE_SECONDS: u32 = 3600;
const SECOND_NS: u64 = 1_000_000_000;

/// What the name cache counts of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Pairs of pod and address forgotten for lack of room.
    pub forgotten: u64,
}

/// Asker and address.
type Pair = (IpAddr, IpAddr);

#[derive(Debug)]
struct Known {
    names: Vec<(String, UnixNanos)>,
    /// Position in `order` that speaks for this pair.
    turn: u64,
}

#[derive(Debug)]
pub(super) struct Names {
    pairs: HashMap<Pair, Known>,
    order: VecDeque<(Pair, u64)>,
    turn: u64,
    capacity: usize,
    /// `.cluster.local`.
    own_domain: String,
    stats: Stats,
}

impl Names {
    pub(super) fn new(capacity: usize, cluster_domain: &str) -> Self {
        Self {
            pairs: HashMap::new(),
            order: VecDeque::new(),
            turn: 0,
            capacity: capacity.max(1),
            own_domain: format!(".{}", cluster_domain.trim_matches('.').to_ascii_lowercase()),
            stats: Stats::default(),
        }
    }

    pub(super) const fn stats(&self) -> Stats {
        self.stats
    }

    /// Remembers what an event's DNS answer says.
    pub(super) fn learn(&mut self, event: &Event<'_>) {
        let Some(message) = event.message else { return };
        let Content::Dns { message: answer, .. } = &message.content;
        if !answer.response || answer.rcode != 0 || answer.ips.is_empty() {
            return;
        }
        self.answered(event.connection.original_tuple().source.ip(), answer, message.at);
    }

    fn answered(&mut self, asker: IpAddr, answer: &dns::Message, at: UnixNanos) {
        let name = answer.name.trim_end_matches('.');
        if name.is_empty() || name.ends_with(&self.own_domain) {
            return;
        }
        let life = u64::from(answer.ttl.max(MIN_LIFE_SECONDS)) * SECOND_NS;
        for address in answer.ips.iter().take(ADDRESSES_AN_ANSWER) {
            self.remember((asker, *address), name, at.plus_nanos(life));
        }
    }

    fn remember(&mut self, pair: Pair, name: &str, until: UnixNanos) {
        self.turn += 1;
        let turn = self.turn;
        let known = self.pairs.entry(pair).or_insert_with(|| Known { names: Vec::new(), turn });
        known.turn = turn;
        known.names.retain(|(old, _)| old != name);
        if known.names.len() >= NAMES_A_PAIR {
            known.names.remove(0);
        }
        known.names.push((name.to_owned(), until));
        self.order.push_back((pair, turn));
        while self.pairs.len() > self.capacity {
            self.forget_oldest();
        }
        // Pairs that were answered again left their earlier turns behind.
        if self.order.len() > 2 * self.capacity {
            let pairs = &self.pairs;
            self.order.retain(|(pair, turn)| pairs.get(pair).is_some_and(|known| known.turn == *turn));
        }
    }

    fn forget_oldest(&mut self) {
        while let Some((pair, turn)) = self.order.pop_front() {
            if self.pairs.get(&pair).is_some_and(|known| known.turn == turn) {
                self.pairs.remove(&pair);
                self.stats.forgotten += 1;
                return;
            }
        }
    }

    /// The names under which `asker` knows `end`, if that is outside; sorted.
    pub(super) fn of(&self, asker: IpAddr, address: IpAddr, end: &Endpoint, at: UnixNanos) -> Vec<String> {
        if end.kind != EndpointKind::World {
            return Vec::new();
        }
        let Some(known) = self.pairs.get(&(asker, address)) else {
            return Vec::new();
        };
        let mut names: Vec<String> =
            known.names.iter().filter(|(_, until)| *until >= at).map(|(name, _)| name.clone()).collect();
        names.sort_unstable();
        names
    }
}

#[cfg(test)]
mod tests {
    use weir_cluster::Identity;

    use super::*;

    fn answer(name: &str, ip: &str, ttl: u32) -> dns::Message {
        dns::Message {
            id: 1,
            response: true,
            truncated: false,
            rcode: 0,
            name: name.to_owned(),
            qtype: "A".to_owned(),
            ips: vec![ip.parse().unwrap()],
            cnames: Vec::new(),
            rrtypes: vec!["A".to_owned()],
            ttl,
        }
    }

    fn owner(kind: EndpointKind) -> Endpoint {
        Endpoint {
            kind,
            identity: Identity(2),
            namespace: "".into(),
            pod_name: "".into(),
            labels: Vec::new().into(),
            workload: None,
            node: "".into(),
            subject: None,
        }
    }

    const POD: &str = "10.244.1.5";
    const SITE: &str = "192.0.2.1";

    fn names_of(names: &Names, asker: &str, kind: EndpointKind, seconds: u64) -> Vec<String> {
        let at = UnixNanos::from_parts(seconds, 0);
        names.of(asker.parse().unwrap(), SITE.parse().unwrap(), &owner(kind), at)
    }

    #[test]
    fn a_name_is_known_to_the_pod_that_asked_and_for_the_world_only() {
        let mut names = Names::new(8, "cluster.local");
        names.answered(POD.parse().unwrap(), &answer("example.org.", SITE, 30), UnixNanos::from_parts(10, 0));
        assert_eq!(names_of(&names, POD, EndpointKind::World, 11), ["example.org"]);
        assert!(names_of(&names, "10.244.1.6", EndpointKind::World, 11).is_empty());
        assert!(names_of(&names, POD, EndpointKind::Pod, 11).is_empty());
        assert!(names_of(&names, POD, EndpointKind::World, 10 + 3601).is_empty());
    }

    #[test]
    fn names_of_the_cluster_itself_never_come_in() {
        let mut names = Names::new(8, "cluster.local");
        for name in ["api.shop.svc.cluster.local.", "x.cluster.local."] {
            names.answered(POD.parse().unwrap(), &answer(name, SITE, 30), UnixNanos::ZERO);
        }
        assert!(names.pairs.is_empty());
    }

    #[test]
    fn the_cache_is_bounded_and_counts() {
        let mut names = Names::new(4, "cluster.local");
        for round in 0..3 {
            for host in 0..20 {
                let asker = format!("10.244.1.{host}").parse().unwrap();
                for name in 0..10 {
                    let answer = answer(&format!("n{name}.org."), SITE, 30);
                    names.answered(asker, &answer, UnixNanos::from_parts(round, 0));
                }
            }
        }
        assert_eq!(names.pairs.len(), 4);
        assert!(names.order.len() <= 8 + 1);
        assert_eq!(names.stats().forgotten, 56);
        assert!(names.pairs.values().all(|known| known.names.len() == NAMES_A_PAIR));
    }
}
