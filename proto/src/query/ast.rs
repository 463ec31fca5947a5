//! A parsed query: what a store translates and what is printed. Printing gives a text that parses to the same.

use std::fmt;

use ipnet::IpNet;

use super::field::{Field, Kind};
use super::value;
use crate::matching::End;

/// A query or a part of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expr {
    /// All hold; of none, everything.
    And(Vec<Expr>),
    /// One holds at least.
    Or(Vec<Expr>),
    /// It does not hold. The exact complement: what a flow does not carry is not equal to anything.
    Not(Box<Expr>),
    /// One test of one field.
    Term(Term),
}

/// One test of one field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Term {
    /// The end it is about; nothing: either, or the field is of the whole flow.
    pub end: Option<End>,
    /// What is tested.
    pub field: &'static Field,
    /// How.
    pub test: Test,
}

/// How a field is tested. It holds if it holds of one of the things that a flow carries under the field's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Test {
    /// The flow carries any.
    Present,
    /// Equal, as the field's kind compares, to one of these.
    AnyOf(Vec<Value>),
    /// A number on one side of a bound.
    Compare(Comparison, u64),
    /// A regular expression in Go's dialect, found anywhere in the text.
    Matches(String),
}

/// On which side of the bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// Less than the bound.
    Below,
    /// Not more than it.
    AtMost,
    /// More than it.
    Above,
    /// Not less than it.
    AtLeast,
}

impl Comparison {
    /// As it is written.
    #[must_use]
    pub const fn symbol(self) -> &'static str {
        match self {
            Self::Below => "<",
            Self::AtMost => "<=",
            Self::Above => ">",
            Self::AtLeast => ">=",
        }
    }

    /// True if the number is on that side.
    #[must_use]
    pub const fn holds(self, number: u64, bound: u64) -> bool {
        match self {
            Self::Below => number < bound,
            Self::AtMost => number <= bound,
            Self::Above => number > bound,
            Self::AtLeast => number >= bound,
        }
    }
}

/// A value of the type that its field's kind says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// Text, pattern, name or selector.
    Text(String),
    /// A count, a port, bytes, nanoseconds, or the number of a word.
    Number(u64),
    /// From the first to the second, both included.
    Range(u64, u64),
    /// An address is the range of itself alone.
    Network(IpNet),
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::And(all) => list(f, all, " "),
            Self::Or(any) => list(f, any, " or "),
            Self::Not(inner) => negation(f, inner),
            Self::Term(term) => write!(f, "{term}"),
        }
    }
}

fn list(f: &mut fmt::Formatter<'_>, parts: &[Expr], between: &str) -> fmt::Result {
    for (at, part) in parts.iter().enumerate() {
        if at > 0 {
            f.write_str(between)?;
        }
        inner(f, part)?;
    }
    Ok(())
}

/// In parentheses where it is not one term.
fn inner(f: &mut fmt::Formatter<'_>, part: &Expr) -> fmt::Result {
    match part {
        Expr::And(_) | Expr::Or(_) => write!(f, "({part})"),
        Expr::Not(_) | Expr::Term(_) => write!(f, "{part}"),
    }
}

fn negation(f: &mut fmt::Formatter<'_>, of: &Expr) -> fmt::Result {
    match of {
        Expr::Term(term) if !term.is_bare_word() => match &term.test {
            Test::AnyOf(values) if values.len() == 1 => term.write(f, "!"),
            Test::Matches(_) => term.write(f, "!"),
            _ => write!(f, "not {term}"),
        },
        _ => {
            f.write_str("not ")?;
            inner(f, of)
        }
    }
}

impl Term {
    /// The name with its end.
    #[must_use]
    pub fn name(&self) -> String {
        let end = match self.end {
            None => "",
            Some(End::Source) => "src.",
            Some(End::Destination) => "dst.",
        };
        format!("{end}{}", self.field.name)
    }

    /// True for a text that is looked for in all names.
    fn is_bare_word(&self) -> bool {
        self.field.name == super::fields::ANY
            && matches!(&self.test, Test::AnyOf(values) if matches!(values[..], [Value::Text(_)]))
    }

    fn write(&self, f: &mut fmt::Formatter<'_>, not: &str) -> fmt::Result {
        let name = self.name();
        let shown = |value: &Value| value::print(self.field, value);
        match &self.test {
            Test::AnyOf(values) if self.is_bare_word() => match &values[..] {
                [Value::Text(word)] => f.write_str(&value::print_word(word)),
                _ => Ok(()),
            },
            Test::Present => f.write_str(&name),
            Test::AnyOf(values) if values.len() == 1 => {
                let values: String = values.iter().map(shown).collect();
                write!(f, "{name}{not}={values}")
            }
            Test::AnyOf(values) => {
                let values: Vec<String> = values.iter().map(shown).collect();
                write!(f, "{name} in {}", values.join(","))
            }
            Test::Compare(comparison, bound) => {
                write!(f, "{name}{}{}", comparison.symbol(), shown(&Value::Number(*bound)))
            }
            Test::Matches(pattern) => write!(f, "{name}{not}~{}", value::quote(pattern)),
        }
    }
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, "")
    }
}

impl Test {
    /// How many regular expressions it holds.
    #[must_use]
    pub const fn patterns(&self) -> usize {
        matches!(self, Self::Matches(_)) as usize
    }
}

impl Kind {
    /// True if there is a more and a less.
    #[must_use]
    pub const fn is_ordered(&self) -> bool {
        matches!(self, Self::Port | Self::Count | Self::Bytes | Self::Duration)
    }

    /// True if regular expressions make sense.
    #[must_use]
    pub const fn is_text(&self) -> bool {
        !self.is_ordered() && !matches!(self, Self::Words(_) | Self::Flag | Self::Number)
    }
}
