//! Fields of `weir.v1.FlowFilter`: what only weir's own flows carry. A flow without `weir` never matches them.

use super::{Conditions, FilterError, MAX_PATTERNS, Reason, predicate};
use crate::query::Query;
use crate::weir::v1::FlowFilter;

/// The table of all fields of `weir.v1.FlowFilter`.
pub(super) fn conditions(wire: &FlowFilter, into: &mut Conditions<'_>) -> Result<(), FilterError> {
    let FlowFilter { connection_id, join_key, state, query } = wire;
    let queries = queries(query, into)?;
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
    })?;
    into.any_of("weir.query", &queries, |query| {
        let query = query.clone();
        predicate(move |flow| query.matches(flow))
    })
}

/// The texts parsed, and their regular expressions counted with the request's.
fn queries(texts: &[String], into: &mut Conditions<'_>) -> Result<Vec<Query>, FilterError> {
    let mut queries = Vec::new();
    for (value, text) in texts.iter().enumerate() {
        let refused = |reason| into.error("weir.query", value, reason);
        let query = Query::parse(text).map_err(|error| refused(Reason::Query(Box::new(error))))?;
        if into.budget.patterns + query.patterns() > MAX_PATTERNS {
            return Err(refused(Reason::TooManyPatterns));
        }
        into.budget.patterns += query.patterns();
        queries.push(query);
    }
    Ok(queries)
}
