//! What the daemon says of policies for the node as a whole: whether anything here enforces them.

use weir_proto::weir::v1::PolicyStatus;

/// Fewer denied connections than this say nothing of a node.
const ENOUGH: u64 = 3;

/// The sentence that nothing enforces policies here, where that is what is seen: connections were denied, and every one of them was
/// delivered.
pub fn nobody_enforces(status: &PolicyStatus) -> Option<String> {
    let PolicyStatus { denied, denied_delivered, disagreements, .. } = *status;
    let is_seen = denied_delivered >= ENOUGH && denied == denied_delivered && disagreements >= ENOUGH;
    is_seen.then(|| {
        format!(
            "policies: nothing on this node enforces NetworkPolicy: they denied {denied} connections here, and all of them were \
             delivered; is the network plugin one that does, as Calico, Cilium or kube-router?"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(denied: u64, denied_delivered: u64, disagreements: u64) -> PolicyStatus {
        PolicyStatus { denied, denied_delivered, disagreements, ..PolicyStatus::default() }
    }

    #[test]
    fn it_is_said_only_where_all_that_was_denied_came_through() {
        assert!(nobody_enforces(&status(5, 5, 4)).is_some());
        for seen in [status(0, 0, 0), status(2, 2, 2), status(5, 4, 4), status(5, 5, 0)] {
            assert_eq!(nobody_enforces(&seen), None, "{seen:?}");
        }
    }
}
