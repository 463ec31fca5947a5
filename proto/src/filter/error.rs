//! Why a filter was refused, and where in the request the wrong value stands.

use std::fmt;

use super::selector::SelectorError;
use super::{MAX_PATTERNS, MAX_VALUES};
use crate::query::QueryError;

/// A value in the filters of a request that can't be compiled: `whitelist[0].source_ip[2]: ...`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{list}[{filter}].{field}[{value}]: {reason}")]
pub struct FilterError {
    /// Which of the request's two lists.
    pub list: List,
    /// Which filter in that list, from 0.
    pub filter: usize,
    /// Name of the field as in `flow.FlowFilter`, dotted where it is nested.
    pub field: &'static str,
    /// Which value of the field, from 0.
    pub value: usize,
    /// What is wrong with it.
    pub reason: Reason,
}

/// The two lists of filters in a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum List {
    /// A flow must match one of these, if there are any.
    Whitelist,
    /// A flow must match none of these.
    Blacklist,
}

impl fmt::Display for List {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Whitelist => "whitelist",
            Self::Blacklist => "blacklist",
        })
    }
}

/// What can be wrong with one value of a filter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// The empty text where something must be named.
    #[error("is empty")]
    Empty,
    /// Not an address, nor a range of them.
    #[error("{0:?} is neither an IP address nor a CIDR, as 10.0.0.7 or fd00:1::/64")]
    Address(String),
    /// Not a port number.
    #[error("{0:?} is not a port number from 0 to 65535")]
    Port(String),
    /// No protocol of that name.
    #[error("{0:?} is not a protocol: one of {1}")]
    Protocol(String, String),
    /// Not a status code, nor a class of them.
    #[error("{0:?} is not an HTTP status code: three digits as 404, or a prefix as 5+ or 40+")]
    HttpStatus(String),
    /// HTTP fields beside an event type that never carries HTTP.
    #[error(
        "never matches beside an event_type filter without type 129 (l7): add that type, or leave event_type out"
    )]
    NeedsL7Events,
    /// Not a regular expression.
    #[error("{pattern:?} is not a usable regular expression: {why}")]
    Pattern {
        /// As it was sent.
        pattern: String,
        /// In one line, with the position where there is one.
        why: String,
    },
    /// A character that names don't have.
    #[error(
        "{pattern:?} has {character:?} at position {position}: a name pattern is made of a-z 0-9 - _ . and *"
    )]
    NameCharacter {
        /// As it was sent.
        pattern: String,
        /// The character.
        character: char,
        /// Which character it is, from 0.
        position: usize,
    },
    /// A name that ends in two dots.
    #[error("{0:?} ends in more than one dot")]
    TrailingDots(String),
    /// A node pattern with more than one slash.
    #[error("{0:?} has more than one slash: write node, or cluster/node")]
    Slashes(String),
    /// Not a label selector.
    #[error("{selector:?} is not a label selector: {error}")]
    Selector {
        /// As it was sent.
        selector: String,
        /// What and where.
        error: SelectorError,
    },
    /// A workload without any name.
    #[error("names neither a workload nor a kind")]
    EmptyWorkload,
    /// CEL is not understood.
    #[error("CEL expressions are not supported yet; use the other fields of the filter")]
    CelUnsupported,
    /// Not a query.
    #[error("{0}")]
    Query(Box<QueryError>),
    /// More values than one request may name.
    #[error("is one value more than the {MAX_VALUES} that one request may filter by")]
    TooManyValues,
    /// More regular expressions than one request may hold.
    #[error("is one regular expression more than the {MAX_PATTERNS} that one request may hold")]
    TooManyPatterns,
}
