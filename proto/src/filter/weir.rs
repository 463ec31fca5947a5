//! Fields of `weir.v1.FlowFilter`: what only weir's own flows carry. A flow without `weir` never matches them.

use super::{Conditions, FilterError, predicate};
use crate::weir::v1::FlowFilter;

/// The table of all fields of `weir.v1.FlowFilter`.
pub(super) fn conditions(wire: &FlowFilter, into: &mut Conditions<'_>) -> Result<(), FilterError> {
    let FlowFilter { connection_id, join_key, state } = wire;
    into.any_of("weir.connection_id", connection_id, |wanted| {
        let wanted = *wanted;
        predicate(move |flow| flow.weir.as_ref().is_some_and(|detail| detail.connection_id == wanted))
    })?;
    into.any_of("weir.join_key", join_key, |wanted| {
        let wanted = *wanted;
        predicate(move |flow| flow.weir.as_ref().is_some_and(|detail| detail.join_key == wanted))
    })?;
    into.any_of("weir.state", state, |wanted| {
        let wanted = *wanted;
        predicate(move |flow| flow.weir.as_ref().is_some_and(|detail| detail.state == wanted))
    })
}
