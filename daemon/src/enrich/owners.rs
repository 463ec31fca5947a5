//! Owners of addresses in Hubble's form, each written once and lent to the flows that name it.
//!
//! An owner has some twenty texts, and the same few pods talk all the time. So its form is moved into the latest flow and taken
//! back by the next. A fixed number of places, each for the owners whose address in memory leads there: one that finds another in
//! its place is written over it. Who holds an [`Arc`] of an owner keeps its address from being another's.

use std::sync::Arc;

use weir_cluster::{Endpoint, EndpointKind};
use weir_proto::flow;

use super::text;

/// Places, a power of two.
const PLACES: usize = 1 << PLACE_BITS;
const PLACE_BITS: u32 = 10;

/// One owner.
#[derive(Debug, Default)]
struct Place {
    owner: Option<Arc<Endpoint>>,
    /// None while it is lent.
    shown: Option<flow::Endpoint>,
}

/// All of them.
#[derive(Debug)]
pub(super) struct Owners {
    places: Box<[Place]>,
    cluster_name: String,
    /// Where the latest flow's source and destination belong; nowhere if their place was lent already.
    lent: [Option<usize>; 2],
}

impl Owners {
    /// None is known yet.
    pub(super) fn new(cluster_name: &str) -> Self {
        Self {
            places: (0..PLACES).map(|_| Place::default()).collect(),
            cluster_name: cluster_name.to_owned(),
            lent: [None; 2],
        }
    }

    /// Gives a flow its ends.
    pub(super) fn lend(
        &mut self,
        flow: &mut flow::Flow,
        source: &Arc<Endpoint>,
        destination: &Arc<Endpoint>,
    ) {
        let (source, destination) = (self.take(source), self.take(destination));
        self.lent = [source.1, destination.1];
        (flow.source, flow.destination) = (Some(source.0), Some(destination.0));
    }

    /// Takes the ends of the latest flow back. `turned` says that it has them the other way round.
    pub(super) fn take_back(&mut self, flow: &mut flow::Flow, turned: bool) {
        let mut ends = [flow.source.take(), flow.destination.take()];
        if turned {
            ends.reverse();
        }
        for (shown, place) in ends.into_iter().zip(self.lent) {
            if let Some(place) = place.and_then(|place| self.places.get_mut(place)) {
                place.shown = shown;
            }
        }
        self.lent = [None; 2];
    }

    /// An owner's form, and its place, unless the other end has it.
    fn take(&mut self, owner: &Arc<Endpoint>) -> (flow::Endpoint, Option<usize>) {
        let number = place_of(owner);
        let place =
            self.places.get_mut(number).filter(|place| place.shown.is_some() || place.owner.is_none());
        let Some(place) = place else {
            return (written(flow::Endpoint::default(), owner, &self.cluster_name), None);
        };
        let known = place.owner.as_ref().is_some_and(|known| Arc::ptr_eq(known, owner));
        let mut shown = place.shown.take().unwrap_or_default();
        if !known {
            shown = written(shown, owner, &self.cluster_name);
            place.owner = Some(Arc::clone(owner));
        }
        (shown, Some(number))
    }
}

/// Fibonacci hashing (Knuth, The Art of Computer Programming, section 6.4) of the address; its lowest bits are always 0.
fn place_of(owner: &Arc<Endpoint>) -> usize {
    let address = Arc::as_ptr(owner).addr() as u64;
    (address.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (u64::BITS - PLACE_BITS)) as usize
}

fn written(mut room: flow::Endpoint, owner: &Endpoint, cluster_name: &str) -> flow::Endpoint {
    let outside = owner.kind == EndpointKind::World;
    room.identity = owner.identity.0;
    text::set(&mut room.namespace, &owner.namespace);
    text::list(&mut room.labels, owner.labels.iter(), |label, room| text::set(room, label));
    text::set(&mut room.pod_name, &owner.pod_name);
    text::list(&mut room.workloads, owner.workload.iter(), |workload, room: &mut flow::Workload| {
        text::set(&mut room.name, &workload.name);
        text::set(&mut room.kind, &workload.kind);
    });
    text::set(&mut room.cluster_name, if outside { "" } else { cluster_name });
    room
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use weir_cluster::{Identity, Workload};

    use super::*;

    fn owner(number: u32) -> Arc<Endpoint> {
        Arc::new(Endpoint {
            kind: if number.is_multiple_of(7) { EndpointKind::World } else { EndpointKind::Pod },
            identity: Identity(number),
            namespace: format!("ns-{number}").into(),
            pod_name: format!("pod-{number}").into(),
            labels: (0..number % 5).map(|label| format!("k8s:l{label}={number}")).collect(),
            workload: number
                .is_multiple_of(3)
                .then(|| Workload { kind: "Deployment".into(), name: format!("{number}").into() }),
            node: "".into(),
            subject: None,
        })
    }

    fn anew(owner: &Endpoint) -> flow::Endpoint {
        written(flow::Endpoint::default(), owner, "lab")
    }

    proptest! {
        /// More owners than places, some of them gone in between, both ends the same, ends turned round.
        #[test]
        fn a_flow_is_lent_what_its_owners_are(calls in prop::collection::vec((0..3000_u32, 0..3000_u32, 0..10_u8), 1..400)) {
            let (mut owners, mut flow) = (Owners::new("lab"), flow::Flow::default());
            let mut alive: Vec<Arc<Endpoint>> = (0..3000).map(owner).collect();
            let mut turned = false;
            for (source, destination, fate) in calls {
                let destination = if fate == 0 { source } else { destination };
                let ends = [source, destination].map(|end| Arc::clone(&alive[end as usize]));
                owners.take_back(&mut flow, turned);
                owners.lend(&mut flow, &ends[0], &ends[1]);
                prop_assert_eq!(flow.source.as_ref(), Some(&anew(&ends[0])));
                prop_assert_eq!(flow.destination.as_ref(), Some(&anew(&ends[1])));
                turned = fate % 3 == 1;
                if turned {
                    let flow::Flow { source, destination, .. } = &mut flow;
                    std::mem::swap(source, destination);
                }
                if fate == 2 {
                    alive[source as usize] = owner(source + 7);
                }
            }
        }
    }
}
