//! What is typed behind `/` -> a query of the one filter language, and how far the rows have been judged by it.
//!
//! The streams stay unfiltered and the query is put to them here: a filtered stream cannot say that a row no longer
//! passes, would start anew with each letter that is typed, and would hide how much it hides. A connection passes if its
//! joined flow does, as the server would have it; a line of Services or names stands for the connections or messages that
//! pass.

use prost::Message as _;
use weir_proto::flow::Flow;
use weir_proto::query::{Query, QueryError};

/// The query that is in force.
#[derive(Clone, Debug)]
pub struct Filter {
    /// As it was typed.
    pub text: String,
    /// Understood.
    pub query: Query,
    /// Grows with each change: what was judged under another number is judged again.
    pub generation: u32,
}

impl Filter {
    /// Everything passes.
    ///
    /// # Errors
    /// None: the empty text is a query.
    pub fn new(text: &str) -> Result<Self, QueryError> {
        Ok(Self { text: text.to_owned(), query: Query::parse(text)?, generation: 0 })
    }

    /// Another text takes its place.
    ///
    /// # Errors
    /// If it is no query; nothing changes then.
    pub fn set(&mut self, text: &str) -> Result<(), QueryError> {
        let query = Query::parse(text)?;
        let generation = self.generation.wrapping_add(1);
        *self = Self { text: text.to_owned(), query, generation };
        Ok(())
    }

    /// True if a flow passes.
    #[must_use]
    pub fn passes(&self, flow: &Flow) -> bool {
        self.query.is_everything() || self.query.matches(flow)
    }

    /// The same of an encoded flow; what cannot be read passes nothing but the empty filter.
    #[must_use]
    pub fn passes_encoded(&self, flow: &[u8]) -> bool {
        self.query.is_everything() || Flow::decode(flow).is_ok_and(|flow| self.query.matches(&flow))
    }
}

/// Both queries at once, as text.
#[must_use]
pub fn both(one: &str, other: &str) -> String {
    let grouped = |text: &str| {
        let is_or = text.split_whitespace().any(|word| word.eq_ignore_ascii_case("or"));
        if is_or { format!("({text})") } else { text.to_owned() }
    };
    match (one.trim(), other.trim()) {
        ("", only) | (only, "") => only.to_owned(),
        (one, other) => format!("{} {}", grouped(one), grouped(other)),
    }
}

/// A value as it may stand in a query.
#[must_use]
pub fn quoted(value: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "./-_*:^$".contains(c);
    if !value.is_empty() && value.chars().all(plain) {
        value.to_owned()
    } else {
        format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_joined_and_values_quoted() {
        assert_eq!(both("", "ns=shop"), "ns=shop");
        assert_eq!(both("ns=shop or host", "port=80"), "(ns=shop or host) port=80");
        assert_eq!(quoted("a b\"c"), "\"a b\\\"c\"");
        for text in [both("ns=shop or host", "port=80"), quoted("a b\"c")] {
            Query::parse(&text).unwrap();
        }
    }
}
