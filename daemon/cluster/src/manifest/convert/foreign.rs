//! Policies of kinds that weir does not judge by: whom they select, as far as that is a label selector.
//!
//! What cannot be told selects all that it might: a verdict that is undecidable is no lie, and one that leaves a policy out
//! is. So nothing of these kinds is refused for what it says, a part that is not understood is left out of the selector.

mod wire;

use std::sync::Arc;

use super::FieldError;
use super::field::{name, namespaced};
use super::selector::{self, Unknown};
use super::wire::{ObjectMeta, Whole};
use crate::object::{ForeignKind, ForeignPolicy, Object, ObjectName, Operator, Requirement, Selector};

/// The label that the API server gives every namespace.
const NAMESPACE_NAME: &str = "kubernetes.io/metadata.name";
/// What Cilium calls the namespace of a pod among the pod's own labels (`pkg/k8s/apis/cilium.io/const.go`).
const CILIUM_NAMESPACE: &str = "io.kubernetes.pod.namespace";
/// Before a label of that namespace.
const CILIUM_NAMESPACE_LABEL: &str = "io.cilium.k8s.namespace.labels.";
/// Before what Cilium adds to a pod's labels by itself, as its service account.
const CILIUM_OWN: &str = "io.cilium.k8s.";
/// How the API server of Calico names what is a Kubernetes NetworkPolicy and no policy of its own.
const CALICO_KUBERNETES: &str = "knp.";

pub(super) type Admin = Whole<wire::AdminSpec>;

/// AdminNetworkPolicy, BaselineAdminNetworkPolicy and ClusterNetworkPolicy (`network-policy-api`, `apis`): one subject.
pub(super) fn admin(policy: &Admin, kind: ForeignKind) -> Result<Option<Object>, FieldError> {
    let subject = policy.spec.as_ref().and_then(|spec| spec.subject.as_ref());
    let (namespaces, pods) = match subject {
        Some(wire::Subject { namespaces: Some(namespaces), .. }) => {
            (told(Some(namespaces)), Some(Selector::default()))
        }
        Some(wire::Subject { pods: Some(pods), .. }) => {
            (told(pods.namespace_selector.as_ref()), told(pods.pod_selector.as_ref()))
        }
        _ => (None, None),
    };
    foreign(kind, cluster_wide(&policy.metadata)?, namespaces, pods)
}

/// The selector, if it is one and all of it is understood.
fn told(of: Option<&selector::wire::Selector>) -> Option<Selector> {
    let mut unknown = Unknown::default();
    let selector = selector::selector(of?, "", &mut unknown).ok()?;
    unknown.first().is_none().then_some(selector)
}

fn cluster_wide(metadata: &ObjectMeta) -> Result<ObjectName, FieldError> {
    Ok(ObjectName { namespace: "".into(), name: name(metadata)? })
}

fn foreign(
    kind: ForeignKind,
    name: ObjectName,
    namespaces: Option<Selector>,
    pods: Option<Selector>,
) -> Result<Option<Object>, FieldError> {
    Ok(Some(Object::ForeignPolicy(ForeignPolicy { kind, name, namespaces, pods })))
}

/// CiliumNetworkPolicy and CiliumClusterwideNetworkPolicy (`pkg/policy/api`, `rule.go`): one rule or several, each for
/// endpoints or for nodes.
pub(super) fn cilium(policy: &wire::Cilium, kind: ForeignKind) -> Result<Option<Object>, FieldError> {
    let name = match kind {
        ForeignKind::CiliumNetworkPolicy => namespaced(&policy.metadata)?,
        _ => cluster_wide(&policy.metadata)?,
    };
    let rules = policy.spec.iter().chain(policy.specs.iter().flatten());
    let mut selected = Vec::new();
    for rule in rules.filter(|rule| rule.endpoint_selector.is_some() || rule.node_selector.is_none()) {
        let Some(selector) = told(rule.endpoint_selector.as_ref()) else {
            return foreign(kind, name, None, None);
        };
        selected.extend(of_cilium(&selector).filter(|of| !selected.contains(of)));
    }
    match <[Selected; 1]>::try_from(selected) {
        Ok([Selected { namespaces, pods }]) => {
            let everywhere = namespaces.requirements.is_empty();
            foreign(kind, name, (!everywhere).then_some(namespaces), Some(pods))
        }
        // About hosts alone.
        Err(selected) if selected.is_empty() => Ok(None),
        // Several selectors are no selector.
        Err(_) => foreign(kind, name, None, None),
    }
}

/// What a selector of Cilium's says of a pod and of its namespace.
#[derive(Debug, Default, PartialEq, Eq)]
struct Selected {
    namespaces: Selector,
    pods: Selector,
}

/// Nothing where it is about what is no pod.
fn of_cilium(selector: &Selector) -> Option<Selected> {
    let mut selected = Selected::default();
    for Requirement { key, operator } in &selector.requirements {
        let key = match key.split_once(':') {
            None => key,
            Some(("k8s" | "any", key)) => key,
            Some(("reserved", _)) if matches!(operator, Operator::In(_) | Operator::Exists) => return None,
            Some(_) => continue,
        };
        let (of, key) = if key == CILIUM_NAMESPACE {
            (&mut selected.namespaces, NAMESPACE_NAME)
        } else if let Some(label) = key.strip_prefix(CILIUM_NAMESPACE_LABEL) {
            (&mut selected.namespaces, label)
        } else if key.starts_with(CILIUM_OWN) {
            continue;
        } else {
            (&mut selected.pods, key)
        };
        of.requirements.push(Requirement { key: Arc::from(key), operator: operator.clone() });
    }
    Some(selected)
}

pub(super) type Calico = Whole<wire::CalicoSpec>;

/// Calico's NetworkPolicy and GlobalNetworkPolicy (`api/pkg/apis/projectcalico/v3`): their selectors are expressions, of
/// which only that for all is read.
pub(super) fn calico(policy: &Calico, kind: ForeignKind) -> Result<Option<Object>, FieldError> {
    let name = match kind {
        ForeignKind::CalicoNetworkPolicy => namespaced(&policy.metadata)?,
        _ => cluster_wide(&policy.metadata)?,
    };
    if name.name.starts_with(CALICO_KUBERNETES) {
        return Ok(None);
    }
    let all = policy.spec.as_ref().is_none_or(|spec| {
        [&spec.selector, &spec.namespace_selector, &spec.service_account_selector].into_iter().all(is_for_all)
    });
    foreign(kind, name, None, all.then(Selector::default))
}

fn is_for_all(expression: &Option<String>) -> bool {
    matches!(expression.as_deref().map(str::trim), None | Some("" | "all()"))
}
