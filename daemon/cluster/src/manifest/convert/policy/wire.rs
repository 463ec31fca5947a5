//! The fields of a NetworkPolicy, all that there are: what else is in its text is kept by name.

use serde::Deserialize;

use super::super::selector::Fields;
use super::super::selector::wire::Selector;
use super::super::wire::NumberOrName;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::manifest::convert) struct Spec {
    pub(super) pod_selector: Option<Selector>,
    pub(super) ingress: Option<Vec<Rule>>,
    pub(super) egress: Option<Vec<Rule>>,
    pub(super) policy_types: Option<Vec<String>>,
    #[serde(flatten)]
    pub(super) unknown: Fields,
}

/// A rule of either list.
#[derive(Debug, Deserialize)]
pub(super) struct Rule {
    pub(super) from: Option<Vec<Peer>>,
    pub(super) to: Option<Vec<Peer>>,
    pub(super) ports: Option<Vec<Port>>,
    #[serde(flatten)]
    pub(super) unknown: Fields,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Peer {
    pub(super) pod_selector: Option<Selector>,
    pub(super) namespace_selector: Option<Selector>,
    pub(super) ip_block: Option<Block>,
    #[serde(flatten)]
    pub(super) unknown: Fields,
}

#[derive(Debug, Deserialize)]
pub(super) struct Block {
    pub(super) cidr: String,
    pub(super) except: Option<Vec<String>>,
    #[serde(flatten)]
    pub(super) unknown: Fields,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Port {
    pub(super) protocol: Option<String>,
    pub(super) port: Option<NumberOrName>,
    pub(super) end_port: Option<i32>,
    #[serde(flatten)]
    pub(super) unknown: Fields,
}
