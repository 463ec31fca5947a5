//! The fields that say whom a policy of another kind selects; all others are passed over.

use serde::Deserialize;

use super::super::selector::wire::Selector;
use super::super::wire::ObjectMeta;

#[derive(Debug, Deserialize)]
pub(in crate::manifest::convert) struct AdminSpec {
    pub(super) subject: Option<Subject>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Subject {
    pub(super) namespaces: Option<Selector>,
    pub(super) pods: Option<NamespacedPods>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct NamespacedPods {
    pub(super) namespace_selector: Option<Selector>,
    pub(super) pod_selector: Option<Selector>,
}

#[derive(Debug, Deserialize)]
pub(in crate::manifest::convert) struct Cilium {
    #[serde(default)]
    pub(super) metadata: ObjectMeta,
    pub(super) spec: Option<CiliumRule>,
    pub(super) specs: Option<Vec<CiliumRule>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CiliumRule {
    pub(super) endpoint_selector: Option<Selector>,
    pub(super) node_selector: Option<Selector>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::manifest::convert) struct CalicoSpec {
    pub(super) selector: Option<String>,
    pub(super) namespace_selector: Option<String>,
    pub(super) service_account_selector: Option<String>,
}
