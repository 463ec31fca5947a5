//! Policies of other kinds: whom they select, and never fewer than that.

use super::*;
use crate::object::{ForeignKind, ForeignPolicy, Operator, Requirement, Selector};

fn foreign(version: &str, kind: &str, spec: &str) -> Option<ForeignPolicy> {
    let text =
        format!("apiVersion: {version}\nkind: {kind}\nmetadata: {{name: p, namespace: shop}}\n{spec}\n");
    let mut objects = load(&text).unwrap().objects;
    objects.pop().map(|object| match object {
        Object::ForeignPolicy(policy) => policy,
        other => panic!("{other:?}"),
    })
}

/// Namespaces and pods, in short.
fn selected(policy: &ForeignPolicy) -> (Option<String>, Option<String>) {
    let short = |selector: &Selector| {
        let requirements = selector.requirements.iter().map(|Requirement { key, operator }| match operator {
            Operator::In(values) => format!("{key}={}", values.join("|")),
            Operator::NotIn(values) => format!("{key}!={}", values.join("|")),
            Operator::Exists => key.to_string(),
            Operator::DoesNotExist => format!("!{key}"),
        });
        requirements.collect::<Vec<_>>().join(",")
    };
    (policy.namespaces.as_ref().map(short), policy.pods.as_ref().map(short))
}

fn of(version: &str, kind: &str, spec: &str) -> (Option<String>, Option<String>) {
    selected(&foreign(version, kind, spec).unwrap())
}

fn told(namespaces: &str, pods: &str) -> (Option<String>, Option<String>) {
    (Some(namespaces.to_owned()), Some(pods.to_owned()))
}

#[test]
fn every_kind_is_read_under_every_name_it_has() {
    use ForeignKind as Is;
    for (version, kind, expected, namespace) in [
        ("policy.networking.k8s.io/v1alpha1", "AdminNetworkPolicy", Is::AdminNetworkPolicy, ""),
        (
            "policy.networking.k8s.io/v1alpha1",
            "BaselineAdminNetworkPolicy",
            Is::BaselineAdminNetworkPolicy,
            "",
        ),
        ("policy.networking.k8s.io/v1alpha2", "ClusterNetworkPolicy", Is::ClusterNetworkPolicy, ""),
        ("policy.networking.k8s.io/v1beta1", "ClusterNetworkPolicy", Is::ClusterNetworkPolicy, ""),
        ("cilium.io/v2", "CiliumNetworkPolicy", Is::CiliumNetworkPolicy, "shop"),
        ("cilium.io/v2", "CiliumClusterwideNetworkPolicy", Is::CiliumClusterwideNetworkPolicy, ""),
        ("crd.projectcalico.org/v1", "NetworkPolicy", Is::CalicoNetworkPolicy, "shop"),
        ("projectcalico.org/v3", "NetworkPolicy", Is::CalicoNetworkPolicy, "shop"),
        ("crd.projectcalico.org/v1", "GlobalNetworkPolicy", Is::CalicoGlobalNetworkPolicy, ""),
        ("projectcalico.org/v3", "GlobalNetworkPolicy", Is::CalicoGlobalNetworkPolicy, ""),
    ] {
        let policy = foreign(version, kind, "spec: {endpointSelector: {}}").unwrap();
        assert_eq!((policy.kind, &*policy.name.namespace), (expected, namespace), "{version} {kind}");
    }
}

#[test]
fn a_subject_is_namespaces_or_pods_in_them() {
    let of = |subject: &str| {
        of(
            "policy.networking.k8s.io/v1alpha1",
            "AdminNetworkPolicy",
            &format!("spec: {{subject: {subject}}}"),
        )
    };
    assert_eq!(of("{namespaces: {matchLabels: {team: shop}}}"), told("team=shop", ""));
    assert_eq!(of("{namespaces: {}}"), told("", ""));
    assert_eq!(
        of("{pods: {namespaceSelector: {}, podSelector: {matchLabels: {app: web}}}}"),
        told("", "app=web")
    );
    assert_eq!(of("{services: {}}"), (None, None));
    // A selector that says more than is understood selects all.
    assert_eq!(of("{namespaces: {matchNames: [a]}}"), (None, Some(String::new())));
}

#[test]
fn ciliums_keys_bear_where_a_label_is_from() {
    let of = |spec: &str| of("cilium.io/v2", "CiliumNetworkPolicy", spec);
    let pods = |pods: &str| (None, Some(pods.to_owned()));
    assert_eq!(of("spec: {endpointSelector: {}}"), pods(""));
    let prefixed = "spec: {endpointSelector: {matchLabels: {'any:app': web, 'k8s:tier': front, zone: a}}}";
    assert_eq!(of(prefixed), pods("app=web,tier=front,zone=a"));
    let namespaced = "spec: {endpointSelector: {matchExpressions: [
        {key: 'k8s:io.kubernetes.pod.namespace', operator: In, values: [a, b]},
        {key: io.cilium.k8s.namespace.labels.team, operator: Exists},
        {key: 'k8s:io.cilium.k8s.policy.serviceaccount', operator: Exists},
        {key: 'container:x', operator: Exists}, {key: app, operator: NotIn, values: [x]}]}}";
    assert_eq!(of(namespaced), told("kubernetes.io/metadata.name=a|b,team", "app!=x"));
}

#[test]
fn several_rules_of_ciliums_are_one_selector_or_none() {
    let of = |spec: &str| foreign("cilium.io/v2", "CiliumClusterwideNetworkPolicy", spec);
    let rule = |app: &str| format!("{{endpointSelector: {{matchLabels: {{app: {app}}}}}}}");
    let hosts = "{nodeSelector: {matchLabels: {a: b}}}";
    let one = of(&format!("specs: [{}, {hosts}, {}]", rule("web"), rule("web"))).unwrap();
    assert_eq!(selected(&one), (None, Some("app=web".to_owned())));
    let two = of(&format!("spec: {}\nspecs: [{}]", rule("web"), rule("db"))).unwrap();
    assert_eq!(selected(&two), (None, None));
    assert_eq!(of(&format!("spec: {hosts}")), None);
    assert_eq!(of("spec: {endpointSelector: {matchLabels: {'reserved:ingress': ''}}}"), None);
    assert_eq!(of(""), None);
    let neither = of("spec: {}").unwrap();
    assert_eq!(selected(&neither), (None, None));
}

#[test]
fn calicos_selectors_are_for_all_or_cannot_be_told() {
    let of = |spec: &str| of("crd.projectcalico.org/v1", "GlobalNetworkPolicy", spec).1;
    for all in
        ["", "spec: {}", "spec: {selector: all()}", "spec: {selector: ' all() ', namespaceSelector: ''}"]
    {
        assert_eq!(of(all), Some(String::new()), "{all}");
    }
    for some in ["selector: app == 'web'", "namespaceSelector: global()", "serviceAccountSelector: has(a)"] {
        assert_eq!(of(&format!("spec: {{{some}}}")), None, "{some}");
    }
    let kubernetes = "apiVersion: projectcalico.org/v3\nkind: NetworkPolicy\n\
                      metadata: {name: knp.default.deny, namespace: shop}\nspec: {selector: all()}\n";
    assert_eq!(load(kubernetes).unwrap().objects, []);
}
