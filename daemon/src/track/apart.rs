//! What keeps two connections two, although a packet of the one looks like one of the other.
//!
//! Equal packets are found among a connection's first by [`super::nat`]; two servers may give equal answers to one question, and a
//! scanner's packets are all alike. Where both connections passed says what one packet cannot.

use super::Tracker;
use super::connection::{PathPoint, Way};
use super::join::opposed;
use crate::capture::{Direction, Role};

impl Tracker {
    /// True if all that was seen of two connections says that they are two, whatever one packet says: one call enters a node by one
    /// pod's device, and passes no device the same way in two forms. Two servers may give equal answers.
    pub(super) fn are_apart(&self, one: usize, other: usize) -> bool {
        let (Some(one), Some(other)) = (self.connections.get(one), self.connections.get(other)) else {
            return true;
        };
        let turned = opposed(&one.forms, &other.forms);
        one.path.iter().any(|point| other.path.iter().any(|another| passes_apart(point, another, turned)))
    }
}

/// True if no call passes both points. `turned` says that the second one's connection has its ends the other way round.
fn passes_apart(one: &PathPoint, other: &PathPoint, turned: bool) -> bool {
    let same_device = one.interface == other.interface && one.tunnels.is_empty() == other.tunnels.is_empty();
    let both_pods = one.role == Role::PodVeth && other.role == Role::PodVeth;
    [Way::Forward, Way::Reverse].into_iter().any(|way| {
        let its = if turned { way.opposite() } else { way };
        let passed = one.counters.of(way).packets > 0 && other.counters.of(its).packets > 0;
        let direction = one.direction_of(way);
        let known = direction != Direction::Unknown && direction == other.direction_of(its);
        passed && known && (same_device || both_pods)
    })
}
