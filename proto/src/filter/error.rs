//! Why a filter was refused, and where in the request the wrong value stands.

use std::fmt;

use super::{MAX_PATTERNS, MAX_VALUES};
use crate::matching::Malformed;
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
    /// Not what values of its kind are written like.
    #[error(transparent)]
    Malformed(#[from] Malformed),
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
    /// A node pattern with more than one slash.
    #[error("{0:?} has more than one slash: write node, or cluster/node")]
    Slashes(String),
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
