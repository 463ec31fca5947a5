//! What a field of the language is, and how one is found by its name.

use std::fmt;

use super::ast::Test;
use super::fields::FIELDS;
use super::words::Words;
use crate::flow::{Flow, FlowFilter};
use crate::matching::End;

/// A field of the language: one line of the table in `fields`.
pub struct Field {
    /// As it is written and printed, without an end.
    pub name: &'static str,
    /// Other names that are understood.
    pub aliases: &'static [&'static str],
    /// Of an end, or of the whole flow.
    pub scope: Scope,
    /// What its values are and how they are compared.
    pub kind: Kind,
    /// What it is, in one line.
    pub help: &'static str,
    /// A term that uses it.
    pub example: &'static str,
    /// Gives everything that a flow carries under this name to the sink. A field of the whole flow ignores the end.
    pub(super) read: fn(&Flow, End, &mut Sink<'_>),
    /// The test as filters of which one must match, where Hubble's or weir's filter can say exactly the same; else none.
    pub(super) wire: fn(End, &Test) -> Vec<FlowFilter>,
}

/// What a field belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Each of the two ends: `src.` or `dst.` before its name chooses one.
    Ends,
    /// The whole flow.
    Flow,
}

/// What a field's values are, and what `=` means of them.
#[derive(Debug, Clone)]
pub enum Kind {
    /// Exact text.
    Text,
    /// Text in any case.
    AnyCase,
    /// Text found anywhere, in any case.
    Contains,
    /// `name` or `namespace/name`: the namespace is exact, the name may go on; `namespace/` is all of it.
    Prefix,
    /// A DNS name in which `*` stands for any run of letters, digits, dots and dashes.
    Glob,
    /// The same for a name that is asked for: in any case, and the dot at its end does not count.
    Question,
    /// A label selector as kubectl takes it.
    Labels,
    /// `name` or `kind/name`, exact.
    Workload,
    /// An address or a range of them.
    Address,
    /// A port, or a range of ports.
    Port,
    /// How many.
    Count,
    /// How many bytes.
    Bytes,
    /// How long, in nanoseconds.
    Duration,
    /// An identifier that is a number.
    Number,
    /// One of a list of words.
    Words(Words),
    /// It is so or it is not: no value.
    Flag,
}

/// One thing that a flow carries.
#[derive(Debug, Clone, Copy)]
pub(super) enum Datum<'a> {
    Text(&'a str),
    Number(u64),
    /// Namespace and name, or kind and name.
    Name(&'a str, &'a str),
    Labels(&'a [String]),
}

/// Takes what a field reads, until one of it passes a test.
pub(super) struct Sink<'t> {
    test: &'t mut dyn FnMut(Datum<'_>) -> bool,
    found: bool,
}

impl<'t> Sink<'t> {
    pub(super) fn new(test: &'t mut dyn FnMut(Datum<'_>) -> bool) -> Self {
        Self { test, found: false }
    }

    pub(super) const fn found(&self) -> bool {
        self.found
    }

    pub(super) fn take(&mut self, datum: Datum<'_>) {
        self.found = self.found || (self.test)(datum);
    }

    /// The empty text is none.
    pub(super) fn text(&mut self, text: &str) {
        if !text.is_empty() {
            self.take(Datum::Text(text));
        }
    }

    pub(super) fn texts(&mut self, texts: &[String]) {
        for text in texts {
            self.text(text);
        }
    }

    pub(super) fn number(&mut self, number: impl Into<u64>) {
        self.take(Datum::Number(number.into()));
    }

    /// A number of which 0 says that it is not known.
    pub(super) fn known(&mut self, number: impl Into<u64>) {
        let number = number.into();
        if number != 0 {
            self.take(Datum::Number(number));
        }
    }

    pub(super) fn word(&mut self, number: i32) {
        self.number(u64::try_from(number).unwrap_or(u64::MAX));
    }

    pub(super) fn flag(&mut self, is_so: bool) {
        if is_so {
            self.number(1u64);
        }
    }

    pub(super) fn name(&mut self, namespace: &str, name: &str) {
        if !(namespace.is_empty() && name.is_empty()) {
            self.take(Datum::Name(namespace, name));
        }
    }
}

/// No filter says the same.
pub(super) fn only_here(_: End, _: &Test) -> Vec<FlowFilter> {
    Vec::new()
}

impl Field {
    pub(super) const fn ends(
        name: &'static str,
        kind: Kind,
        help: &'static str,
        example: &'static str,
        read: fn(&Flow, End, &mut Sink<'_>),
    ) -> Self {
        Self { name, aliases: &[], scope: Scope::Ends, kind, help, example, read, wire: only_here }
    }

    pub(super) const fn flow(
        name: &'static str,
        kind: Kind,
        help: &'static str,
        example: &'static str,
        read: fn(&Flow, End, &mut Sink<'_>),
    ) -> Self {
        Self { name, aliases: &[], scope: Scope::Flow, kind, help, example, read, wire: only_here }
    }

    pub(super) const fn or(mut self, aliases: &'static [&'static str]) -> Self {
        self.aliases = aliases;
        self
    }

    pub(super) const fn wire(mut self, wire: fn(End, &Test) -> Vec<FlowFilter>) -> Self {
        self.wire = wire;
        self
    }

    /// The field of a name without an end, in any case.
    #[must_use]
    pub fn of_name(name: &str) -> Option<&'static Self> {
        let is = |known: &&str| known.eq_ignore_ascii_case(name);
        FIELDS.iter().find(|field| is(&field.name) || field.aliases.iter().any(&is))
    }

    /// What a flow carries under this name, as values that may stand in a query: for completion from live flows.
    #[must_use]
    pub fn values(&self, end: Option<End>, flow: &Flow) -> Vec<String> {
        let mut values = Vec::new();
        for end in self.sides(end) {
            let mut keep = |datum: Datum<'_>| {
                match datum {
                    Datum::Text(text) => values.push(super::value::quote(text)),
                    Datum::Number(number) => {
                        values.push(super::value::print(self, &super::ast::Value::Number(number)));
                    }
                    Datum::Name("", name) => values.push(super::value::quote(name)),
                    Datum::Name(namespace, name) => {
                        values.push(super::value::quote(&format!("{namespace}/{name}")));
                    }
                    Datum::Labels(labels) => {
                        values.extend(labels.iter().map(|label| super::value::quote(label)));
                    }
                }
                false
            };
            (self.read)(flow, *end, &mut Sink::new(&mut keep));
        }
        values
    }

    /// The ends that a term about `end` reads.
    pub(super) const fn sides(&self, end: Option<End>) -> &'static [End] {
        match (self.scope, end) {
            (Scope::Ends, None) => &[End::Source, End::Destination],
            (Scope::Ends, Some(End::Destination)) => &[End::Destination],
            _ => &[End::Source],
        }
    }
}

impl fmt::Debug for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// A name stands for one field.
impl PartialEq for Field {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Field {}

/// The candidate that a word was most likely meant to be, if any is near.
pub(super) fn nearest<'a>(word: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_ascii_lowercase();
    let limit = (word.chars().count() / 3).clamp(1, 3);
    let near = candidates.map(|candidate| (distance(&word, candidate), candidate));
    near.filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, found)| found)
}

/// Insertions, deletions, replacements and swaps of neighbours that lead from one to the other.
fn distance(from: &str, to: &str) -> usize {
    let (from, to): (Vec<char>, Vec<char>) = (from.chars().collect(), to.chars().collect());
    let mut rows: Vec<Vec<usize>> = vec![(0..=to.len()).collect()];
    for i in 1..=from.len() {
        let mut row = vec![i];
        for j in 1..=to.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(from[i - 1] != to[j - 1]);
            let mut least = replaced.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && from[i - 1] == to[j - 2] && from[i - 2] == to[j - 1] {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[from.len()][to.len()]
}
