//! One object as it comes from the API server -> the reduced one; what is not needed is dropped here, field by field.
//!
//! An object that cannot be read is no failure of its list: it says why, and the others go on.

use std::borrow::Cow;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use kube::core::DynamicResourceScope;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::kind::{KINDS, Kind};
use crate::manifest::convert::{FieldError, TypeName, object_of};
use crate::object::{Object, ObjectKey, ObjectName};

/// An object of the kind at index `K` of the table.
#[derive(Clone, Debug)]
pub(super) struct Watched<const K: usize> {
    /// Name, namespace and resource version alone.
    metadata: ObjectMeta,
    /// What it is for the cluster; nothing where it says nothing that is used.
    pub(super) object: Result<Option<Object>, FieldError>,
}

impl<const K: usize> Watched<K> {
    pub(super) const KIND: &'static Kind = &KINDS[K];

    /// What identifies it, read or not.
    pub(super) fn key(&self) -> ObjectKey {
        let namespace = self.metadata.namespace.as_deref().unwrap_or_default();
        let name = self.metadata.name.as_deref().unwrap_or_default();
        ObjectKey { kind: Self::KIND.object, name: ObjectName::new(namespace, name) }
    }

    /// Its resource version where that is a number, as it is in every API server that keeps its objects in etcd.
    pub(super) fn version(&self) -> Option<u128> {
        self.metadata.resource_version.as_deref()?.parse().ok()
    }

    fn of(value: Value) -> Self {
        let text = |key: &str| value.get("metadata")?.get(key)?.as_str().map(str::to_owned);
        let metadata = ObjectMeta {
            name: text("name"),
            namespace: text("namespace"),
            resource_version: text("resourceVersion"),
            ..ObjectMeta::default()
        };
        let name = TypeName::new(&Self::KIND.api_version(), Self::KIND.kind);
        Self { metadata, object: object_of(&name, value) }
    }
}

impl<'de, const K: usize> Deserialize<'de> for Watched<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Value::deserialize(deserializer).map(Self::of)
    }
}

impl<const K: usize> Resource for Watched<K> {
    type DynamicType = ();
    type Scope = DynamicResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        Self::KIND.kind.into()
    }

    fn group((): &()) -> Cow<'_, str> {
        Self::KIND.group.into()
    }

    fn version((): &()) -> Cow<'_, str> {
        Self::KIND.version.into()
    }

    fn plural((): &()) -> Cow<'_, str> {
        Self::KIND.plural.into()
    }

    fn metadata_api() -> bool {
        Self::KIND.metadata_only
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}
