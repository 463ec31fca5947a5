//! What a person reads about policies.

use weir_proto::weir::v1::{
    ExplainPolicyResponse, PolicyConflict, PolicyDisagreement, PolicyEnd, PolicyExplanation,
};

use super::explain::{all_pass, print_explanation};
use super::*;
use crate::print::Paint;

fn opinion(name: &str, outcome: PolicyOutcome, rule: Option<u32>, why: &str) -> PolicyOpinion {
    PolicyOpinion {
        kind: "NetworkPolicy".to_owned(),
        namespace: "shop".to_owned(),
        name: name.to_owned(),
        outcome: outcome.into(),
        rule,
        why: why.to_owned(),
        ..PolicyOpinion::default()
    }
}

fn judged(direction: PolicyDirection, ruling: PolicyRuling, opinions: Vec<PolicyOpinion>) -> PolicyJudgement {
    PolicyJudgement {
        direction: direction.into(),
        ruling: ruling.into(),
        opinions,
        why: String::new(),
        ..PolicyJudgement::default()
    }
}

fn pod(name: &str, address: &str, node: &str) -> Option<PolicyEnd> {
    Some(PolicyEnd {
        kind: "pod".to_owned(),
        address: address.to_owned(),
        namespace: "shop".to_owned(),
        name: name.to_owned(),
        node: node.to_owned(),
    })
}

fn allowed() -> PolicyJudgement {
    let lets = PolicyOpinion {
        peer: Some(1),
        port: Some(0),
        generation: 3,
        ..opinion("web-egress", PolicyOutcome::Allows, Some(0), "")
    };
    judged(PolicyDirection::Egress, PolicyRuling::Allowed, vec![lets])
}

fn denied() -> PolicyJudgement {
    let opinions = vec![
        opinion(
            "deny-all",
            PolicyOutcome::Misses,
            None,
            "has no rule for it: by itself it lets nothing pass",
        ),
        opinion("from-gw", PolicyOutcome::Misses, Some(1), "rule 1 means this peer, but only on TCP 80"),
    ];
    judged(PolicyDirection::Ingress, PolicyRuling::Denied, opinions)
}

fn explanation(passes: Option<bool>, judgements: Vec<PolicyJudgement>) -> PolicyExplanation {
    PolicyExplanation {
        source: pod("web-1", "10.244.1.5", "birch"),
        destination: pod("api-1", "10.244.2.7", "elm"),
        port: 8080,
        protocol: "tcp".to_owned(),
        passes,
        judgements,
        ..PolicyExplanation::default()
    }
}

fn printed(response: &ExplainPolicyResponse) -> String {
    let mut out = Vec::new();
    print_explanation(response, &Paint::new(false), &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn the_answer_comes_first_then_each_direction_then_what_helps() {
    let mut denied = explanation(Some(false), vec![allowed(), denied()]);
    denied.advice = vec!["a policy that selects shop/api-1 would allow it".to_owned()];
    denied.alike = 2;
    let world = PolicyEnd { kind: "world".to_owned(), address: "192.0.2.9".to_owned(), ..Default::default() };
    let undecidable = PolicyJudgement {
        why: "the labels of namespace shop are not known".to_owned(),
        ..judged(
            PolicyDirection::Egress,
            PolicyRuling::Undecidable,
            vec![opinion(
                "web-egress",
                PolicyOutcome::Maybe,
                Some(2),
                "it has a field that weir does not know",
            )],
        )
    };
    let unsure = PolicyExplanation { destination: Some(world), ..explanation(None, vec![undecidable]) };
    let open = explanation(Some(true), vec![judged(PolicyDirection::Egress, PolicyRuling::Open, vec![])]);
    let node = PolicyEnd {
        kind: "node".to_owned(),
        address: "192.168.9.1".to_owned(),
        node: "birch".to_owned(),
        ..Default::default()
    };
    let nobodys = PolicyExplanation {
        source: Some(node),
        answer: "policies are about pods, and neither end is one".to_owned(),
        ..explanation(Some(true), vec![])
    };
    let response = ExplainPolicyResponse {
        explanations: vec![denied, unsure, open, nobodys],
        node: "birch".to_owned(),
        notes: vec!["policies of kind AdminNetworkPolicy are not read".to_owned()],
    };
    insta::assert_snapshot!(printed(&response));
}

#[test]
fn nothing_of_the_wire_steers_the_terminal() {
    let mut hostile = explanation(Some(false), vec![denied()]);
    hostile.judgements[0].why = "\u{1b}[2J".to_owned();
    hostile.judgements[0].opinions[0].name = "a\u{1b}b".to_owned();
    hostile.judgements[0].opinions[1].why = "\nc".to_owned();
    hostile.advice = vec!["\u{1b}d".to_owned()];
    hostile.source = pod("web\u{1b}", "10\n", "n\u{7}");
    let response = ExplainPolicyResponse {
        explanations: vec![hostile],
        node: "\u{1b}".to_owned(),
        notes: vec!["\r".to_owned()],
    };
    assert!(printed(&response).chars().all(|c| c == '\n' || !c.is_control()), "{}", printed(&response));
    assert_eq!(printed(&response).lines().count(), 9);
}

#[test]
fn all_of_it_passes_where_each_does() {
    let of = |all: &[Option<bool>]| {
        let explanations = all.iter().map(|passes| explanation(*passes, vec![])).collect();
        all_pass(&ExplainPolicyResponse { explanations, ..Default::default() })
    };
    assert_eq!(of(&[Some(true), Some(true)]), Some(true));
    assert_eq!(of(&[Some(true), None]), None);
    assert_eq!(of(&[None, Some(false), Some(true)]), Some(false));
    assert_eq!(of(&[]), None, "no answer is no yes");
}

fn detail(policies: Vec<PolicyJudgement>, disagreements: Vec<PolicyDisagreement>) -> FlowDetail {
    FlowDetail { policies, disagreements, ..FlowDetail::default() }
}

#[test]
fn a_cell_names_who_denies_or_says_what_contradicts_it() {
    let delivered = PolicyDisagreement {
        direction: PolicyDirection::Ingress.into(),
        conflict: PolicyConflict::DeniedButDelivered.into(),
        sentence: "denied, and delivered".to_owned(),
    };
    let plain = detail(vec![allowed(), denied()], vec![]);
    assert_eq!(policy_clauses(&plain), ["ingress denied: shop/deny-all, shop/from-gw"]);
    assert_eq!(denying_rules(&plain), ["shop/deny-all", "shop/from-gw rule 1"]);
    let contradicted = detail(vec![allowed(), denied()], vec![delivered]);
    assert_eq!(policy_clauses(&contradicted), ["≠ denied, and delivered"]);
    let mut many = denied();
    many.opinions.extend(denied().opinions);
    many.opinions.extend(denied().opinions);
    let clause = &policy_clauses(&detail(vec![many], vec![]))[0];
    assert!(clause.ends_with("shop/deny-all, shop/from-gw, shop/deny-all, 3 more"), "{clause}");
    let flow = Flow { weir: Some(contradicted), ..Flow::default() };
    let lines: Vec<_> = policy_lines(&flow).into_iter().map(|line| line.text).collect();
    assert_eq!(lines[1], "allowed by shop/web-egress (generation 3): rule 0, to 1, port 0");
    assert_eq!(lines.last().unwrap(), "≠ denied, and delivered");
}
