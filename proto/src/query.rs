//! The one filter language: text -> a checked expression -> a predicate in memory, or the filters of a request.
//!
//! Hubble's `FlowFilter` can't say a round-trip time, a negation beside other terms, or OR over different fields. A
//! message tree for those would be a second grammar that two programs must keep in step, so the text itself travels, in
//! `weir.v1.FlowFilter.query`: one parser serves the screen, the command line and the server, whose errors come back with
//! a position. What a field of `FlowFilter` says exactly is put there beside it ([`Query::narrow`]), so that foreign
//! servers do as much as they can. The parsed form ([`Expr`]) is typed and open, for a store to translate.
//! Nothing here does I/O. All fields are one table, in `fields`.
//!
//! ```text
#![doc = include_str!("query/grammar.txt")]
//! ```

use std::fmt;
use std::str::FromStr;

use crate::flow::Flow;

mod ast;
mod complete;
mod error;
mod evaluate;
mod field;
mod fields;
mod help;
mod parse;
mod read;
mod scan;
#[cfg(test)]
mod tests;
mod value;
mod wire;
mod words;

pub use ast::{Comparison, Expr, Term, Test, Value};
pub use complete::{Candidate, Completion, complete, live_values};
pub use error::{Problem, QueryError};
pub use field::{Field, Kind, Scope};
pub use fields::FIELDS;
pub use help::help;
pub use words::Words;

/// The grammar, as it is printed in the help.
pub const GRAMMAR: &str = include_str!("query/grammar.txt");
/// The most characters of a query.
pub const MAX_LENGTH: usize = 4096;
/// How deep `not` and parentheses may nest.
pub const MAX_DEPTH: usize = 48;
/// The most regular expressions of a query. Each may take up to 1 MiB of memory, and as much again for its cache.
pub const MAX_PATTERNS: usize = 16;

/// A query, parsed and compiled. Cheap to clone.
#[derive(Clone)]
pub struct Query {
    expr: Expr,
    predicate: evaluate::Predicate,
    patterns: usize,
}

impl Query {
    /// Parses and compiles a text. The empty text lets everything pass.
    ///
    /// # Errors
    /// What is wrong first, where, and what may have been meant.
    pub fn parse(text: &str) -> Result<Self, QueryError> {
        let expr = parse::Parser::new(text).query()?;
        let whole = |reason| QueryError {
            position: 0,
            length: text.chars().count(),
            problem: Problem::Refused(Box::new(reason)),
            suggestion: None,
        };
        let predicate = evaluate::predicate(&expr).map_err(whole)?;
        let patterns = patterns(&expr);
        Ok(Self { expr, predicate, patterns })
    }

    /// True if the flow passes.
    #[must_use]
    pub fn matches(&self, flow: &Flow) -> bool {
        (self.predicate)(flow)
    }

    /// What was parsed.
    #[must_use]
    pub const fn expr(&self) -> &Expr {
        &self.expr
    }

    /// True if every flow passes because nothing is asked.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        self.expr == Expr::And(Vec::new())
    }

    /// How many regular expressions it holds.
    #[must_use]
    pub const fn patterns(&self) -> usize {
        self.patterns
    }
}

/// Checks a text without keeping anything: for an input line that shows whether it is right.
///
/// # Errors
/// As of [`Query::parse`].
pub fn validate(text: &str) -> Result<(), QueryError> {
    Query::parse(text).map(drop)
}

fn patterns(expr: &Expr) -> usize {
    match expr {
        Expr::And(parts) | Expr::Or(parts) => parts.iter().map(patterns).sum(),
        Expr::Not(inner) => patterns(inner),
        Expr::Term(term) => term.test.patterns(),
    }
}

impl FromStr for Query {
    type Err = QueryError;

    fn from_str(text: &str) -> Result<Self, QueryError> {
        Self::parse(text)
    }
}

/// The canonical text.
impl fmt::Display for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.expr.fmt(f)
    }
}

impl fmt::Debug for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Query").field(&self.to_string()).finish()
    }
}
