//! One object as it comes from the API server: what every kind has, and the rest until it is reduced.
//!
//! An object that cannot be read is no failure of its list: it says why, and the others go on. The two types differ only in
//! what the server is asked for, whole objects or their metadata; which kind it is says the table.

use std::borrow::Cow;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use kube::core::DynamicResourceScope;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::kind::Kind;
use crate::manifest::convert::{FieldError, TypeName, object_of};
use crate::object::{Object, ObjectKey, ObjectName};

/// An object of which only the metadata is asked for, or all of it.
#[derive(Clone, Debug)]
pub(super) struct Watched<const METADATA_ONLY: bool> {
    /// Name, namespace and resource version alone.
    metadata: ObjectMeta,
    /// As it came.
    value: Value,
}

impl<const METADATA_ONLY: bool> Watched<METADATA_ONLY> {
    /// What identifies it, read or not.
    pub(super) fn key(&self, kind: &Kind) -> ObjectKey {
        let namespace = self.metadata.namespace.as_deref().unwrap_or_default();
        let name = self.metadata.name.as_deref().unwrap_or_default();
        ObjectKey { kind: kind.object, name: ObjectName::new(namespace, name) }
    }

    /// Its resource version where that is a number, as it is in every API server that keeps its objects in etcd.
    pub(super) fn version(&self) -> Option<u128> {
        self.metadata.resource_version.as_deref()?.parse().ok()
    }

    /// What it is for the cluster; nothing where it says nothing that is used. All else of it ends here. What states that it
    /// is metadata (meta.k8s.io) is the kind that was asked for all the same.
    pub(super) fn reduced(self, kind: &Kind) -> Result<Option<Object>, FieldError> {
        object_of(&TypeName::new(&kind.api_version(), kind.kind), self.value)
    }
}

impl<'de, const METADATA_ONLY: bool> Deserialize<'de> for Watched<METADATA_ONLY> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let text = |key: &str| value.get("metadata")?.get(key)?.as_str().map(str::to_owned);
        let metadata = ObjectMeta {
            name: text("name"),
            namespace: text("namespace"),
            resource_version: text("resourceVersion"),
            ..ObjectMeta::default()
        };
        Ok(Self { metadata, value })
    }
}

impl<const METADATA_ONLY: bool> Resource for Watched<METADATA_ONLY> {
    type DynamicType = &'static Kind;
    type Scope = DynamicResourceScope;

    fn kind(kind: &&'static Kind) -> Cow<'static, str> {
        kind.kind.into()
    }

    fn group(kind: &&'static Kind) -> Cow<'static, str> {
        kind.group.into()
    }

    fn version(kind: &&'static Kind) -> Cow<'static, str> {
        kind.version.into()
    }

    fn plural(kind: &&'static Kind) -> Cow<'static, str> {
        kind.plural.into()
    }

    fn metadata_api() -> bool {
        METADATA_ONLY
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}
