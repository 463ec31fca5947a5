//! NetworkPolicies: each trap of their text, and what the API server would refuse.

use super::*;
use crate::object::{NamedPort, NetworkPolicy, Operator, Peer, PolicyPort, PortMatch, Requirement, Selector};

fn text(spec: &str) -> String {
    format!(
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\n\
         metadata: {{name: p, namespace: shop, generation: 3, resourceVersion: '77'}}\nspec: {spec}\n"
    )
}

fn policy(spec: &str) -> NetworkPolicy {
    let mut objects = load(&text(spec)).unwrap().objects;
    let Some(Object::NetworkPolicy(policy)) = objects.pop() else { panic!("{spec}") };
    policy
}

/// What is said of a refused one, without the place.
fn refused(spec: &str) -> String {
    let error = error_of(&text(spec));
    let prefix = "manifest cluster.yaml, document 1 (NetworkPolicy shop/p): field ";
    error.strip_prefix(prefix).unwrap_or_else(|| panic!("{error}")).to_owned()
}

fn label(key: &str, value: &str) -> Requirement {
    Requirement { key: key.into(), operator: Operator::In(vec![value.into()]) }
}

fn labels(key: &str, value: &str) -> Selector {
    Selector { requirements: vec![label(key, value)] }
}

/// How many rules there are for what enters and for what leaves.
fn sides(spec: &str) -> (Option<usize>, Option<usize>) {
    let policy = policy(spec);
    (policy.ingress.map(|rules| rules.len()), policy.egress.map(|rules| rules.len()))
}

#[test]
fn a_policy_says_something_of_the_types_that_it_states_or_that_follow() {
    for (spec, expected) in [
        ("{podSelector: {}}", (Some(0), None)),
        ("{}", (Some(0), None)),
        ("{podSelector: {}, ingress: []}", (Some(0), None)),
        ("{podSelector: {}, ingress: null, egress: null}", (Some(0), None)),
        ("{podSelector: {}, egress: []}", (Some(0), None)),
        ("{podSelector: {}, egress: [{}]}", (Some(0), Some(1))),
        ("{podSelector: {}, egress: [{}], policyTypes: []}", (Some(0), Some(1))),
        ("{podSelector: {}, ingress: [{}, {}]}", (Some(2), None)),
        ("{podSelector: {}, policyTypes: [Egress]}", (None, Some(0))),
        ("{podSelector: {}, ingress: [{}], policyTypes: [Egress]}", (None, Some(0))),
        ("{podSelector: {}, egress: [{}], policyTypes: [Ingress]}", (Some(0), None)),
        ("{podSelector: {}, policyTypes: [Egress, Ingress]}", (Some(0), Some(0))),
    ] {
        assert_eq!(sides(spec), expected, "{spec}");
    }
}

#[test]
fn who_and_when_are_read() {
    let policy = policy("{podSelector: {matchLabels: {app: web}}}");
    assert_eq!((&*policy.name.namespace, &*policy.name.name), ("shop", "p"));
    assert_eq!((policy.generation, &*policy.resource_version), (3, "77"));
    assert_eq!(policy.selects, labels("app", "web"));
    assert_eq!(policy.unknown_field, None);
    let bare = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: p}\nspec: {}\n";
    let objects = load(bare).unwrap().objects;
    let [Object::NetworkPolicy(bare)] = objects.as_slice() else { panic!() };
    assert_eq!((&*bare.name.namespace, bare.generation, &*bare.resource_version), ("default", 0, ""));
}

#[test]
fn nobody_listed_is_everybody() {
    for rule in ["{}", "{from: [], ports: []}", "{from: null, ports: null}"] {
        let rules = policy(&format!("{{ingress: [{rule}]}}")).ingress.unwrap();
        assert_eq!((rules[0].peers.len(), rules[0].ports.len()), (0, 0), "{rule}");
    }
}

#[test]
fn peers_are_told_apart_by_what_they_have() {
    let spec = "{ingress: [{from: [{podSelector: {}}, {namespaceSelector: {}},
        {podSelector: {matchLabels: {app: web}}, namespaceSelector: {matchLabels: {team: shop}}},
        {ipBlock: {cidr: 10.0.0.7/8, except: [10.1.0.0/16, 10.2.0.0/32]}}]}],
        egress: [{to: [{ipBlock: {cidr: 'fd00::/8'}}]}]}";
    let policy = policy(spec);
    let all = Some(Selector::default());
    let block = |cidr: &str, except: &[&str]| Peer::Block {
        cidr: cidr.parse().unwrap(),
        except: except.iter().map(|range| range.parse().unwrap()).collect(),
    };
    assert_eq!(
        policy.ingress.unwrap()[0].peers,
        [
            Peer::Pods { namespaces: None, pods: all.clone() },
            Peer::Pods { namespaces: all, pods: None },
            Peer::Pods { namespaces: Some(labels("team", "shop")), pods: Some(labels("app", "web")) },
            block("10.0.0.0/8", &["10.1.0.0/16", "10.2.0.0/32"]),
        ]
    );
    assert_eq!(policy.egress.unwrap()[0].peers, [block("fd00::/8", &[])]);
}

#[test]
fn ports_are_numbers_ranges_names_or_all() {
    let spec = "{ingress: [{ports: [{}, {protocol: UDP}, {port: 53, protocol: UDP}, {port: 80, endPort: 90},
        {port: 7, endPort: 7}, {port: http}, {port: web-2, protocol: SCTP}]}]}";
    let port = |protocol, port| PolicyPort { protocol, port };
    assert_eq!(
        policy(spec).ingress.unwrap()[0].ports,
        [
            port(Protocol::Tcp, PortMatch::Every),
            port(Protocol::Udp, PortMatch::Every),
            port(Protocol::Udp, PortMatch::Numbers(53..=53)),
            port(Protocol::Tcp, PortMatch::Numbers(80..=90)),
            port(Protocol::Tcp, PortMatch::Numbers(7..=7)),
            port(Protocol::Tcp, PortMatch::Named("http".into())),
            port(Protocol::Sctp, PortMatch::Named("web-2".into())),
        ]
    );
}

#[test]
fn all_of_a_selector_must_hold() {
    let spec = "{podSelector: {matchLabels: {b: '2', a: '1'}, matchExpressions: [
        {key: c, operator: In, values: [x, z]}, {key: d, operator: NotIn, values: ['']},
        {key: e, operator: Exists}, {key: f, operator: DoesNotExist, values: []}]}}";
    let of = |key: &str, operator| Requirement { key: key.into(), operator };
    assert_eq!(
        policy(spec).selects.requirements,
        [
            label("a", "1"),
            label("b", "2"),
            of("c", Operator::In(vec!["x".into(), "z".into()])),
            of("d", Operator::NotIn(vec!["".into()])),
            of("e", Operator::Exists),
            of("f", Operator::DoesNotExist),
        ]
    );
}

#[test]
fn peers_that_the_api_server_would_refuse_are_refused_with_their_path() {
    let from = |peer: &str| format!("{{ingress: [{{}}, {{from: [{peer}]}}]}}");
    for (spec, expected) in [
        (
            from("{}"),
            "spec.ingress[1].from[0]: names nobody; a peer has podSelector, namespaceSelector or ipBlock"
                .to_owned(),
        ),
        (
            from("{podSelector: {}, ipBlock: {cidr: 10.0.0.0/8}}"),
            "spec.ingress[1].from[0]: has an ipBlock beside a selector; a peer is one or the other"
                .to_owned(),
        ),
        (
            from("{ipBlock: {cidr: 10.0.0.1}}"),
            "spec.ingress[1].from[0].ipBlock.cidr: \"10.0.0.1\" is not an IP range".to_owned(),
        ),
        (
            from("{ipBlock: {cidr: 10.0.0.0/8, except: [10.0.0.0/9, 11.0.0.0/16]}}"),
            "spec.ingress[1].from[0].ipBlock.except[1]: 11.0.0.0/16 is no part of 10.0.0.0/8".to_owned(),
        ),
        (
            from("{ipBlock: {cidr: 10.0.0.0/8, except: [10.0.0.0/8]}}"),
            "spec.ingress[1].from[0].ipBlock.except[0]: 10.0.0.0/8 is no part of 10.0.0.0/8".to_owned(),
        ),
        (
            from("{ipBlock: {cidr: 10.0.0.0/8, except: ['fd00::/16']}}"),
            "spec.ingress[1].from[0].ipBlock.except[0]: fd00::/16 is no part of 10.0.0.0/8".to_owned(),
        ),
    ] {
        assert_eq!(refused(&spec), expected, "{spec}");
    }
    // An ignored list is checked all the same.
    assert!(refused("{policyTypes: [Egress], ingress: [{from: [{}]}]}").contains("names nobody"));
    let without = text("{}").replace("spec: {}", "");
    assert!(error_of(&without).ends_with("field spec: is missing; is the file complete?"));
}

#[test]
fn so_are_ports_selectors_and_types() {
    let ports = |port: &str| format!("{{egress: [{{ports: [{port}]}}]}}");
    let selects = |expression: &str| format!("{{podSelector: {{matchExpressions: [{expression}]}}}}");
    let expression = "spec.podSelector.matchExpressions[0]";
    for (spec, expected) in [
        (
            "{policyTypes: [Ingress, Both]}".to_owned(),
            "spec.policyTypes[1]: \"Both\" is neither Ingress nor Egress".to_owned(),
        ),
        (
            ports("{endPort: 90}"),
            "spec.egress[0].ports[0].endPort: is without a port to begin with".to_owned(),
        ),
        (
            ports("{port: http, endPort: 90}"),
            "spec.egress[0].ports[0].endPort: is beside a port that is a name and not a number".to_owned(),
        ),
        (
            ports("{port: 80, endPort: 79}"),
            "spec.egress[0].ports[0].endPort: 79 is less than the port 80".to_owned(),
        ),
        (ports("{port: 0}"), "spec.egress[0].ports[0].port: 0 is not a port from 1 to 65535".to_owned()),
        (
            ports("{port: '80'}"),
            "spec.egress[0].ports[0].port: \"80\" is neither a number nor the name of a port".to_owned(),
        ),
        (
            ports("{protocol: ICMP}"),
            "spec.egress[0].ports[0].protocol: \"ICMP\" is none of TCP, UDP and SCTP".to_owned(),
        ),
        (selects("{key: a, operator: In}"), format!("{expression}.values: must not be empty for In")),
        (
            selects("{key: a, operator: Exists, values: [b]}"),
            format!("{expression}.values: must be empty for Exists"),
        ),
        (
            selects("{key: a, operator: Gt, values: ['1']}"),
            format!("{expression}.operator: \"Gt\" is none of In, NotIn, Exists and DoesNotExist"),
        ),
        (
            "{ingress: [{ports: [{port: [80]}]}]}".to_owned(),
            "spec.ingress[0].ports[0].port: a number or a name".to_owned(),
        ),
    ] {
        assert_eq!(refused(&spec), expected, "{spec}");
    }
}

#[test]
fn a_field_that_is_not_known_is_told_and_is_no_error() {
    for (spec, path) in [
        ("{priority: 5}", "spec.priority"),
        ("{podSelector: {matchFields: {}}}", "spec.podSelector.matchFields"),
        (
            "{podSelector: {matchExpressions: [{key: a, operator: Exists, fold: true}]}}",
            "spec.podSelector.matchExpressions[0].fold",
        ),
        ("{ingress: [{}, {action: Deny}]}", "spec.ingress[1].action"),
        ("{egress: [{from: [{podSelector: {}}]}]}", "spec.egress[0].from"),
        ("{ingress: [{from: [{podSelector: {}, name: a}]}]}", "spec.ingress[0].from[0].name"),
        // A peer in words that came later.
        ("{ingress: [{from: [{serviceAccounts: {}}]}]}", "spec.ingress[0].from[0].serviceAccounts"),
        (
            "{ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/8, zone: a}}]}]}",
            "spec.ingress[0].from[0].ipBlock.zone",
        ),
        ("{egress: [{ports: [{port: 1, icmp: 8}]}]}", "spec.egress[0].ports[0].icmp"),
    ] {
        assert_eq!(policy(spec).unknown_field.as_deref(), Some(path), "{spec}");
    }
    let status = format!("{}status: {{conditions: []}}\n", text("{}"));
    let objects = load(&status).unwrap().objects;
    assert!(matches!(&objects[..], [Object::NetworkPolicy(policy)] if policy.unknown_field.is_none()));
}

#[test]
fn ports_have_the_names_that_running_containers_give_them() {
    let pod = "
apiVersion: v1
kind: Pod
metadata: {name: web}
spec:
  containers:
  - ports: [{name: http, containerPort: 8080}, {containerPort: 9}, {name: dns, containerPort: 53, protocol: UDP}]
  - {name: without}
  initContainers:
  - ports: [{name: over, containerPort: 1}]
  - {restartPolicy: Always, ports: [{name: proxy, containerPort: 15001}]}
";
    let objects = load(pod).unwrap().objects;
    let [Object::Pod(pod)] = objects.as_slice() else { panic!() };
    let port = |name: &str, protocol, port| NamedPort { name: name.into(), protocol, port };
    assert_eq!(
        pod.named_ports,
        [
            port("http", Protocol::Tcp, 8080),
            port("dns", Protocol::Udp, 53),
            port("proxy", Protocol::Tcp, 15001)
        ]
    );
    let wrong = "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\n\
                 spec: {containers: [{ports: [{name: http, containerPort: 70000}]}]}\n";
    assert!(
        error_of(wrong).ends_with(
            "field spec.containers[0].ports[0].containerPort: 70000 is not a port from 1 to 65535"
        )
    );
}
