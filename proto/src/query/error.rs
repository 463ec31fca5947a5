//! Why a text is no query, where, and what may have been meant.

use std::fmt;

use crate::matching::Malformed;

/// What is wrong with a query, and where. Positions and lengths count characters, positions from 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueryError {
    /// First character of what is wrong; the text's length where something is missing at its end.
    pub position: usize,
    /// How many characters are wrong; 0 where something is missing.
    pub length: usize,
    /// What is wrong.
    pub problem: Problem,
    /// What could stand in place of the wrong characters.
    pub suggestion: Option<String>,
}

impl fmt::Display for QueryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "position {}: {}", self.position, self.problem)?;
        match &self.suggestion {
            Some(suggestion) => write!(f, "; did you mean {suggestion}?"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for QueryError {}

/// What can be wrong with a query.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// No field has this name.
    #[error("{0:?} is no field")]
    Field(String),
    /// `src.` or `dst.` before a field of the whole flow.
    #[error("{0} is of the whole flow and has no ends")]
    NoEnds(&'static str),
    /// An operator that the field can't be tested by.
    #[error("{field} can't be compared by {operator}")]
    Operator {
        /// Name of the field.
        field: &'static str,
        /// As it was typed.
        operator: &'static str,
    },
    /// Nothing stands where a value should.
    #[error("{0} needs a value")]
    NoValue(&'static str),
    /// Not one of the field's words.
    #[error("{value:?} is no {field}")]
    Word {
        /// Name of the field.
        field: &'static str,
        /// As it was typed.
        value: String,
    },
    /// Not a number of the field's kind.
    #[error("{value:?} is not {expected}")]
    Value {
        /// As it was typed.
        value: String,
        /// What is, with an example.
        expected: &'static str,
    },
    /// A value that the field refuses.
    #[error("{0}")]
    Refused(Box<Malformed>),
    /// A term should stand here.
    #[error("expected a term, found {0}")]
    NoTerm(String),
    /// A character that stands for nothing.
    #[error("{0:?} means nothing here")]
    Character(char),
    /// A quotation mark without its partner.
    #[error("this quotation mark is never closed")]
    Quote,
    /// A parenthesis without its partner.
    #[error("this parenthesis is never {0}")]
    Parenthesis(&'static str),
    /// Nested too deep.
    #[error("nested deeper than {}", super::MAX_DEPTH)]
    TooDeep,
    /// Longer than a query may be.
    #[error("longer than the {} characters a query may have", super::MAX_LENGTH)]
    TooLong,
    /// More regular expressions than a query may hold.
    #[error("one regular expression more than the {} a query may hold", super::MAX_PATTERNS)]
    TooManyPatterns,
}
