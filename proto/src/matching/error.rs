//! Why a text is no pattern, selector or name.

use super::selector::SelectorError;

/// A value that is not written as values of its kind are.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The empty text where something must be named.
    #[error("is empty")]
    Empty,
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
}
