//! What a value of a filter is matched by: the two ends of a flow, patterns of names, selectors, regular expressions.
//!
//! Filters ([`crate::filter`]) and queries ([`crate::query`]) mean the same by the same value because both are compiled
//! to what is here. Nothing here knows of either.

mod end;
mod error;
pub(crate) mod http;
mod name;
pub(crate) mod pattern;
pub(crate) mod protocol;
mod selector;

pub use end::End;
pub use error::Malformed;
pub(crate) use name::{Glob, NamespacedPrefix};
pub(crate) use selector::Selector;
pub use selector::SelectorError;
