//! The fields of a label selector.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::Fields;

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::manifest::convert) struct Selector {
    pub(super) match_labels: Option<BTreeMap<String, String>>,
    pub(super) match_expressions: Option<Vec<Expression>>,
    #[serde(flatten)]
    pub(super) unknown: Fields,
}

#[derive(Debug, Deserialize)]
pub(in crate::manifest::convert) struct Expression {
    pub(super) key: String,
    pub(super) operator: String,
    pub(super) values: Option<Vec<String>>,
    #[serde(flatten)]
    pub(super) unknown: Fields,
}
