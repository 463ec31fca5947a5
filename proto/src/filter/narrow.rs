//! A query -> the filters of a request. What a field of `flow.FlowFilter` says exactly goes there, so that servers of
//! Hubble's understand it and a server need not decode for it; the rest travels as text in `weir.v1.FlowFilter.query`.
//!
//! Filters of a whitelist are joined by OR, so a conjunct about either end doubles them; that is done up to
//! [`MAX_FILTERS`]. A field's values are joined by OR too, so a second conjunct on the same field stays text.

use prost::Message as _;

use super::Filter;
use crate::flow::FlowFilter;
use crate::query::{Expr, Query};
use crate::wire::Fields;

/// The most filters that one query is made into.
const MAX_FILTERS: usize = 16;

/// The two lists of a request. A flow passes if a filter of `whitelist` matches, or that is empty, and none of
/// `blacklist` does.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Lists {
    /// What is wanted.
    pub whitelist: Vec<FlowFilter>,
    /// What is not.
    pub blacklist: Vec<FlowFilter>,
}

impl Lists {
    /// True if only a server of weir's understands them: others ignore the text that they hold.
    #[must_use]
    pub fn needs_weir(&self) -> bool {
        let text = |filter: &FlowFilter| filter.weir.as_ref().is_some_and(|weir| !weir.query.is_empty());
        self.whitelist.iter().chain(&self.blacklist).any(text)
    }
}

impl Query {
    /// The filters that let pass what both the given ones and this query do.
    #[must_use]
    pub fn narrow(&self, lists: Lists) -> Lists {
        narrow(self.expr(), lists)
    }
}

fn narrow(expr: &Expr, mut lists: Lists) -> Lists {
    let mut rest = Vec::new();
    for conjunct in conjuncts(expr) {
        if !put(conjunct, &mut lists) {
            rest.push(conjunct.clone());
        }
    }
    let text = match rest.as_slice() {
        [] => return lists,
        [only] => only.to_string(),
        _ => Expr::And(rest).to_string(),
    };
    if lists.whitelist.is_empty() {
        lists.whitelist.push(FlowFilter::default());
    }
    for filter in &mut lists.whitelist {
        let queries = &mut filter.weir.get_or_insert_default().query;
        let before: Vec<String> = queries.drain(..).map(|query| format!("({query})")).collect();
        let everything = before.iter().any(|query| query == "()");
        let both = if before.is_empty() || everything {
            text.clone()
        } else {
            format!("({}) ({text})", before.join(" or "))
        };
        queries.push(both);
    }
    lists
}

fn conjuncts(expr: &Expr) -> Vec<&Expr> {
    match expr {
        Expr::And(all) => all.iter().flat_map(conjuncts).collect(),
        other => vec![other],
    }
}

/// Puts a conjunct into the lists' fields; false if they can't say it.
fn put(conjunct: &Expr, lists: &mut Lists) -> bool {
    let mut tried = lists.clone();
    match conjunct {
        Expr::Not(inner) => {
            let Some(filters) = alternatives(inner) else { return false };
            tried.blacklist.extend(filters);
        }
        _ => {
            let Some(filters) = alternatives(conjunct) else { return false };
            let Some(whitelist) = product(&tried.whitelist, &filters) else { return false };
            tried.whitelist = whitelist;
        }
    }
    // What the filters refuse together, as HTTP beside other events, the text can still say.
    let possible =
        tried.blacklist.len() <= MAX_FILTERS && Filter::compile(&tried.whitelist, &tried.blacklist).is_ok();
    if possible {
        *lists = tried;
    }
    possible
}

/// Filters of which one must match.
fn alternatives(expr: &Expr) -> Option<Vec<FlowFilter>> {
    match expr {
        Expr::Term(term) => term.filters(),
        Expr::Or(any) => {
            let filters = any.iter().map(alternatives).collect::<Option<Vec<_>>>()?.concat();
            (filters.len() <= MAX_FILTERS).then_some(filters)
        }
        Expr::And(_) | Expr::Not(_) => None,
    }
}

/// Each filter with each other one; nothing if that is too many, or a field is set in both.
fn product(these: &[FlowFilter], those: &[FlowFilter]) -> Option<Vec<FlowFilter>> {
    if these.is_empty() {
        return Some(those.to_vec());
    }
    if these.len() * those.len() > MAX_FILTERS {
        return None;
    }
    these.iter().flat_map(|this| those.iter().map(move |that| merged(this, that))).collect()
}

fn merged(this: &FlowFilter, that: &FlowFilter) -> Option<FlowFilter> {
    let (this, that) = (this.encode_to_vec(), that.encode_to_vec());
    let numbers = |encoded| Fields::of(encoded).filter_map(Result::ok).map(|field| field.number);
    let set: Vec<u32> = numbers(&this).collect();
    if numbers(&that).any(|number| set.contains(&number)) {
        return None;
    }
    FlowFilter::decode([this, that].concat().as_slice()).ok()
}
