//! What could stand at the cursor: fields, operators, words of the grammar and of enumerated fields. Values that live
//! flows carry are the caller's to add, by [`Field::values`] of the field that is told.

use std::ops::Range;

use super::field::{Field, Kind, Scope};
use super::fields::FIELDS;
use super::parse::{Parser, Place};
use crate::matching::End;

/// What could stand at the cursor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Completion {
    /// The characters that a candidate replaces.
    pub replaces: Range<usize>,
    /// The best first.
    pub candidates: Vec<Candidate>,
    /// The field whose value stands at the cursor, if one does.
    pub value_of: Option<&'static Field>,
}

/// One thing that could stand there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// As it would stand in the query.
    pub text: String,
    /// What it is, in one line; empty where the text says it.
    pub help: &'static str,
}

/// Completes a text at the cursor, which stands before the character of that number.
#[must_use]
pub fn complete(text: &str, cursor: usize) -> Completion {
    let before: String = text.chars().take(cursor).collect();
    let end = before.chars().count();
    let mut parser = Parser::new(&before);
    // A text that is not yet a query is what there is to complete.
    let _ = parser.query();
    let (start, place) = parser.place;
    let start = start.min(end);
    let typed: String = before.chars().skip(start).collect();
    let (mut candidates, value_of) = match place {
        Place::Term => (terms(&typed), None),
        Place::AfterTerm(last) => (connectives(last), None),
        Place::Value(field) => (words(field), Some(field)),
    };
    let wanted = typed.to_lowercase();
    candidates.retain(|candidate| candidate.text.to_lowercase().starts_with(&wanted));
    Completion { replaces: start..end, candidates, value_of }
}

fn candidate(text: impl Into<String>, help: &'static str) -> Candidate {
    Candidate { text: text.into(), help }
}

/// Fields; of a field that is typed whole, what can follow it.
fn terms(typed: &str) -> Vec<Candidate> {
    let side = ["src.", "dst."].into_iter().find(|side| typed.to_lowercase().starts_with(side)).unwrap_or("");
    let mut candidates = Vec::new();
    for field in FIELDS.iter().filter(|field| side.is_empty() || field.scope == Scope::Ends) {
        let name = format!("{side}{}", field.name);
        if name.eq_ignore_ascii_case(typed) {
            let operators = operators(field).into_iter();
            candidates.extend(operators.map(|(operator, help)| candidate(format!("{name}{operator}"), help)));
        }
        candidates.push(candidate(name, field.help));
    }
    if side.is_empty() {
        candidates.push(candidate("src.", "the end it comes from"));
        candidates.push(candidate("dst.", "the end it goes to"));
        candidates.push(candidate("not ", "the next term does not hold"));
    }
    candidates
}

fn connectives(last: Option<&'static Field>) -> Vec<Candidate> {
    let mut candidates = terms("");
    if let Some(field) = last {
        let operators = operators(field).into_iter();
        candidates.splice(0..0, operators.map(|(operator, help)| candidate(operator.trim_start(), help)));
    }
    candidates.push(candidate("or ", "one of both sides"));
    candidates.push(candidate("and ", "both sides, as if it were left out"));
    candidates
}

/// Operators that a field takes.
fn operators(field: &Field) -> Vec<(&'static str, &'static str)> {
    if matches!(field.kind, Kind::Flag) {
        return Vec::new();
    }
    let mut operators = vec![("=", "is"), ("!=", "is not"), (" in ", "is one of a list")];
    if field.kind.is_ordered() {
        operators.extend([(">", "more than"), (">=", "at least"), ("<", "less than"), ("<=", "at most")]);
    }
    if field.kind.is_text() {
        operators.extend([("~", "a regular expression is found in it"), ("!~", "none is")]);
    }
    operators
}

fn words(field: &Field) -> Vec<Candidate> {
    match &field.kind {
        Kind::Words(words) => {
            words.all().map(|(word, _)| candidate(word, "")).fold(Vec::new(), |mut all, word| {
                if !all.contains(&word) {
                    all.push(word);
                }
                all
            })
        }
        Kind::Flag => vec![candidate("true", ""), candidate("false", "")],
        _ => Vec::new(),
    }
}

/// Live values that begin with what is typed at the cursor, without repetition: for a caller that keeps recent flows.
#[must_use]
pub fn live_values<'a>(
    field: &'static Field,
    end: Option<End>,
    flows: impl Iterator<Item = &'a crate::flow::Flow>,
    most: usize,
) -> Vec<String> {
    let mut values: Vec<String> = Vec::new();
    for value in flows.flat_map(|flow| field.values(end, flow)) {
        if values.len() == most {
            break;
        }
        if !values.contains(&value) {
            values.push(value);
        }
    }
    values
}
