//! From an object as Kubernetes writes it to the reduced and validated one; the edge where everything is checked once.
//!
//! `OBJECTS` is the table of what is understood. `wire` says which fields are read and of what type they must be;
//! the rest of this folder reads addresses and fills in the API server's defaults.

mod endpoints;
mod field;
mod foreign;
mod node;
mod pod;
mod policy;
mod selector;
mod service;
mod wire;

use std::fmt;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::object::{ForeignKind, Object};
pub(crate) use field::FieldError;

/// apiVersion and kind, as an object states them; either may be empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TypeName {
    version: String,
    kind: String,
}

impl TypeName {
    /// A kind of object by its group and version, as `apps/v1`, and its name.
    pub(crate) fn new(version: &str, kind: &str) -> Self {
        Self { version: version.to_owned(), kind: kind.to_owned() }
    }

    pub(super) fn of(value: &Value) -> Self {
        value.as_object().map(Self::of_fields).unwrap_or_default()
    }

    pub(super) fn of_fields(fields: &Map<String, Value>) -> Self {
        let text = |key| fields.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        Self { version: text("apiVersion"), kind: text("kind") }
    }

    /// This, or the other where nothing is stated here.
    pub(super) fn or(self, other: &Self) -> Self {
        if self.is_empty() { other.clone() } else { self }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.kind.is_empty()
    }

    pub(super) fn is_list(&self) -> bool {
        self.kind.ends_with("List")
    }

    /// What the items of a typed list are; nothing for a `List` of anything.
    pub(super) fn of_items(&self) -> Self {
        match self.kind.strip_suffix("List") {
            Some(kind) if !kind.is_empty() => Self { version: self.version.clone(), kind: kind.to_owned() },
            Some(_) | None => Self::default(),
        }
    }
}

impl fmt::Display for TypeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let separator = if self.version.is_empty() { "" } else { " " };
        write!(f, "{}{separator}{}", self.version, self.kind)
    }
}

/// Reads a value as one kind of object; none if it says nothing weir could use (a slice that belongs to no Service).
type Convert = fn(Value) -> Result<Option<Object>, FieldError>;

/// All that is understood: apiVersion, kind, and how it is read.
const OBJECTS: &[(&str, &str, Convert)] = &[
    ("v1", "Namespace", |value| typed(value, node::namespace)),
    ("v1", "Node", |value| typed(value, node::node)),
    ("v1", "Pod", |value| typed(value, pod::pod)),
    ("v1", "Service", |value| typed(value, service::service)),
    ("v1", "Endpoints", |value| typed(value, endpoints::endpoints)),
    ("discovery.k8s.io/v1", "EndpointSlice", |value| typed(value, endpoints::endpoint_slice)),
    ("networking.k8s.io/v1", "ServiceCIDR", |value| typed(value, service::service_cidr)),
    ("apps/v1", "ReplicaSet", |value| typed(value, pod::replica_set)),
    ("batch/v1", "Job", |value| typed(value, pod::job)),
    ("networking.k8s.io/v1", "NetworkPolicy", |value| typed(value, policy::network_policy)),
    ("policy.networking.k8s.io/v1alpha1", "AdminNetworkPolicy", |value| {
        typed(value, |policy| foreign::admin(policy, ForeignKind::AdminNetworkPolicy))
    }),
    ("policy.networking.k8s.io/v1alpha1", "BaselineAdminNetworkPolicy", |value| {
        typed(value, |policy| foreign::admin(policy, ForeignKind::BaselineAdminNetworkPolicy))
    }),
    ("policy.networking.k8s.io/v1alpha2", "ClusterNetworkPolicy", CLUSTER_NETWORK_POLICY),
    ("policy.networking.k8s.io/v1beta1", "ClusterNetworkPolicy", CLUSTER_NETWORK_POLICY),
    ("cilium.io/v2", "CiliumNetworkPolicy", |value| {
        typed(value, |policy| foreign::cilium(policy, ForeignKind::CiliumNetworkPolicy))
    }),
    ("cilium.io/v2", "CiliumClusterwideNetworkPolicy", |value| {
        typed(value, |policy| foreign::cilium(policy, ForeignKind::CiliumClusterwideNetworkPolicy))
    }),
    ("crd.projectcalico.org/v1", "NetworkPolicy", CALICO_NETWORK_POLICY),
    ("projectcalico.org/v3", "NetworkPolicy", CALICO_NETWORK_POLICY),
    ("crd.projectcalico.org/v1", "GlobalNetworkPolicy", CALICO_GLOBAL_NETWORK_POLICY),
    ("projectcalico.org/v3", "GlobalNetworkPolicy", CALICO_GLOBAL_NETWORK_POLICY),
];

const CLUSTER_NETWORK_POLICY: Convert =
    |value| typed(value, |policy| foreign::admin(policy, ForeignKind::ClusterNetworkPolicy));
const CALICO_NETWORK_POLICY: Convert =
    |value| typed(value, |policy| foreign::calico(policy, ForeignKind::CalicoNetworkPolicy));
const CALICO_GLOBAL_NETWORK_POLICY: Convert =
    |value| typed(value, |policy| foreign::calico(policy, ForeignKind::CalicoGlobalNetworkPolicy));

/// The object, or none if its kind is not looked at.
pub(crate) fn object_of(name: &TypeName, value: Value) -> Result<Option<Object>, FieldError> {
    let called = called(name, &value);
    let Some(fields) = value.as_object() else {
        return Err(FieldError { object: called, field: ".".into(), why: "is not an object".into() });
    };
    for field in ["kind", "apiVersion"] {
        let stated = fields.get(field).is_some_and(|value| !value.is_string());
        if stated {
            return Err(FieldError { object: called, field: field.into(), why: "is not a string".into() });
        }
    }
    if name.kind.is_empty() {
        return Err(FieldError::missing(called, "kind"));
    }
    if name.version.is_empty() {
        return Err(FieldError::missing(called, "apiVersion"));
    }
    let known = OBJECTS.iter().find(|(version, kind, _)| *version == name.version && *kind == name.kind);
    let Some((_, _, convert)) = known else { return Ok(None) };
    convert(value).map_err(|error| FieldError { object: called, ..error })
}

/// Kind and name as far as they are there, for messages.
fn called(name: &TypeName, value: &Value) -> String {
    let kind = if name.kind.is_empty() { "object of unknown kind" } else { &name.kind };
    let of_metadata = |key: &str| value.get("metadata")?.get(key)?.as_str();
    match (of_metadata("namespace"), of_metadata("name")) {
        (Some(namespace), Some(name)) => format!("{kind} {namespace}/{name}"),
        (None, Some(name)) => format!("{kind} {name}"),
        (_, None) => kind.to_owned(),
    }
}

fn typed<T: DeserializeOwned>(
    value: Value,
    convert: impl FnOnce(&T) -> Result<Option<Object>, FieldError>,
) -> Result<Option<Object>, FieldError> {
    let typed = serde_path_to_error::deserialize(value)
        .map_err(|error| FieldError::at(error.path().to_string(), error.inner().to_string()))?;
    convert(&typed)
}
