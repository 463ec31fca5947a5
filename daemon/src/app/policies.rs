//! What the daemon says of policies for the node as a whole: whether anything here enforces them.

use weir_proto::weir::v1::PolicyStatus;

/// Fewer denied connections than this say nothing of a node.
const ENOUGH: u64 = 3;

/// The sentence that nothing enforces policies here, where that is what is seen: of the denied connections none was seen stopped, and
/// most were delivered. Of the others nothing was seen: nobody answered.
pub fn nobody_enforces(status: &PolicyStatus) -> Option<String> {
    let PolicyStatus { denied, denied_delivered, denied_dropped, disagreements, .. } = *status;
    let is_seen = denied_delivered >= ENOUGH
        && disagreements >= ENOUGH
        && denied_dropped == 0
        && denied_delivered > denied / 2;
    is_seen.then(|| {
        format!(
            "policies: nothing on this node enforces NetworkPolicy: of {denied} connections that they denied here {denied_delivered} \
             were delivered, and none was seen stopped; is the network plugin one that does, as Calico, Cilium or kube-router?"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(denied: u64, denied_delivered: u64, denied_dropped: u64, disagreements: u64) -> PolicyStatus {
        PolicyStatus { denied, denied_delivered, denied_dropped, disagreements, ..PolicyStatus::default() }
    }

    #[test]
    fn it_is_said_only_where_nothing_that_was_denied_was_seen_stopped() {
        assert!(
            nobody_enforces(&status(5, 5, 0, 4)).is_some() && nobody_enforces(&status(7, 5, 0, 5)).is_some()
        );
        let silent = [
            status(0, 0, 0, 0),
            status(2, 2, 0, 2),
            status(6, 5, 1, 4),
            status(5, 5, 0, 0),
            status(50, 5, 0, 5),
        ];
        for seen in silent {
            assert_eq!(nobody_enforces(&seen), None, "{seen:?}");
        }
    }
}
