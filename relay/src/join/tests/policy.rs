//! What the policies say of a connection, as the row of it tells.

use weir_proto::weir::v1::{
    PolicyConflict, PolicyDirection, PolicyDisagreement, PolicyJudgement, PolicyRuling,
};

use super::*;

fn judged(direction: PolicyDirection, ruling: PolicyRuling, why: &str) -> PolicyJudgement {
    PolicyJudgement {
        direction: direction.into(),
        ruling: ruling.into(),
        why: why.into(),
        ..PolicyJudgement::default()
    }
}

fn disagreement(direction: PolicyDirection, conflict: PolicyConflict, sentence: &str) -> PolicyDisagreement {
    PolicyDisagreement { direction: direction.into(), conflict: conflict.into(), sentence: sentence.into() }
}

#[test]
fn each_direction_is_as_the_node_of_its_pod_judges_it_once() {
    use PolicyConflict::DeniedButDelivered;
    use PolicyDirection::{Egress, Ingress};
    let client = with(seen_by("n1", 100, 0.0), |detail| {
        detail.policies = vec![
            judged(Egress, PolicyRuling::Allowed, "n1"),
            judged(Ingress, PolicyRuling::Undecidable, "n1"),
        ];
        detail.disagreements = vec![disagreement(Ingress, DeniedButDelivered, "n1")];
    });
    let server = with(seen_by("n2", 100, 0.001), |detail| {
        detail.policies = vec![judged(Ingress, PolicyRuling::Denied, "n2")];
        detail.disagreements = vec![disagreement(Ingress, DeniedButDelivered, "n2")];
    });
    for order in [["n1", "n2"], ["n2", "n1"]] {
        let mut nodes = Nodes::default();
        for node in order {
            nodes.tell(node, 3, if node == "n1" { client.clone() } else { server.clone() });
        }
        let detail = nodes.only().flow.unwrap().weir.unwrap();
        let told: Vec<_> = detail.policies.iter().map(|it| (it.direction(), it.ruling(), &*it.why)).collect();
        assert_eq!(
            told,
            [(Egress, PolicyRuling::Allowed, "n1"), (Ingress, PolicyRuling::Denied, "n2")],
            "{order:?}"
        );
        let told: Vec<_> = detail.disagreements.iter().map(|it| (it.conflict(), &*it.sentence)).collect();
        assert_eq!(told, [(DeniedButDelivered, "n2")], "{order:?}");
    }
}

#[test]
fn what_one_direction_allows_and_the_other_denies_was_rightly_dropped() {
    use PolicyDirection::{Egress, Ingress, Unspecified};
    for (ingress, told) in [(PolicyRuling::Open, 1), (PolicyRuling::Denied, 0)] {
        let mut nodes = Nodes::default();
        let client = with(seen_by("n1", 100, 0.0), |detail| {
            detail.policies = vec![judged(Egress, PolicyRuling::Allowed, "")];
            let conflict = PolicyConflict::AllowedButDropped;
            detail.disagreements =
                vec![disagreement(Unspecified, conflict, "egress is allowed, and yet ...")];
        });
        nodes.tell("n1", 3, client);
        nodes.tell(
            "n2",
            3,
            with(seen_by("n2", 100, 0.001), |detail| {
                detail.policies = vec![judged(Ingress, ingress, "")];
            }),
        );
        let detail = nodes.only().flow.unwrap().weir.unwrap();
        assert_eq!((detail.policies.len(), detail.disagreements.len()), (2, told), "{ingress:?}");
    }
}

#[test]
fn a_verdict_of_the_policies_is_no_later_state_of_its_connection() {
    let mut nodes = Nodes::default();
    let state = with(seen_by("n1", 100, 0.0), |detail| {
        detail.policies = vec![judged(PolicyDirection::Egress, PolicyRuling::Denied, "")];
    });
    let verdict = with(seen_by("n1", 100, 0.0), |detail| {
        detail.reason = Reason::Policy.into();
        detail.state = ConnectionState::Opening.into();
    });
    let verdict = Flow { verdict: Verdict::Dropped.into(), ..verdict };
    nodes.tell("n1", 1, verdict.clone());
    assert!(nodes.rows().is_empty(), "by itself it makes no row");
    assert_eq!(nodes.join().unattached(), 0, "and is no message without one");
    nodes.tell("n1", 1, state);
    let before = nodes.only();
    nodes.tell("n1", 1, verdict);
    let after = nodes.only();
    assert_eq!(after, before);
    assert_eq!(after.flow.unwrap().weir.unwrap().policies.len(), 1);
}
