//! Text -> [`Expr`]: a recursive descent, bounded in depth. What it was reading when it stopped is
//! kept, which is what completion goes by.

use super::ast::{Comparison, Expr, Term, Test, Value};
use super::error::{Problem, QueryError};
use super::field::{Field, Kind, Scope, nearest};
use super::fields::{ANY, FIELDS};
use super::scan::{Parsed, Scanner, is_word};
use super::{MAX_DEPTH, MAX_LENGTH, MAX_PATTERNS, evaluate, value};
use crate::matching::End;

/// Words of the grammar itself.
pub(super) const KEYWORDS: [&str; 4] = ["and", "or", "not", "in"];

/// Operators, the longer before those they begin with.
const OPERATORS: [&str; 9] = ["!=", "!~", "==", "<=", ">=", "=", "~", "<", ">"];

/// What stands, or could stand, from a position on.
#[derive(Debug, Clone, Copy)]
pub(super) enum Place {
    /// A field, a word, `not` or a parenthesis.
    Term,
    /// After a whole term, the one named last if it may still get an operator.
    AfterTerm(Option<&'static Field>),
    /// A value of a field.
    Value(&'static Field),
}

pub(super) struct Parser {
    scan: Scanner,
    depth: usize,
    patterns: usize,
    /// What was read last, and from where.
    pub(super) place: (usize, Place),
}

/// True if a word is neither a field nor of the grammar.
pub(super) fn is_only_text(word: &str) -> bool {
    !KEYWORDS.iter().any(|keyword| keyword.eq_ignore_ascii_case(word)) && resolve(word).is_none()
}

/// The field of a name, with its end.
fn resolve(name: &str) -> Option<(Option<End>, &'static Field)> {
    let lower = name.to_ascii_lowercase();
    let ends = [("src.", End::Source), ("dst.", End::Destination)];
    for (prefix, end) in ends {
        if let Some(rest) = lower.strip_prefix(prefix) {
            return Field::of_name(rest)
                .filter(|field| field.scope == Scope::Ends)
                .map(|field| (Some(end), field));
        }
    }
    Field::of_name(name).map(|field| (None, field))
}

impl Parser {
    pub(super) fn new(text: &str) -> Self {
        Self { scan: Scanner::new(text), depth: 0, patterns: 0, place: (0, Place::Term) }
    }

    /// The whole text.
    pub(super) fn query(&mut self) -> Parsed<Expr> {
        if self.scan.text.len() > MAX_LENGTH {
            return Err(self.scan.error(MAX_LENGTH, Problem::TooLong));
        }
        self.scan.skip_space();
        self.place = (self.scan.at, Place::Term);
        if self.scan.at == self.scan.text.len() {
            return Ok(Expr::And(Vec::new()));
        }
        let parsed = self.or()?;
        match self.scan.peek() {
            None => Ok(parsed),
            Some(_) => Err(self.scan.error_over(self.scan.at, 1, Problem::Parenthesis("opened"))),
        }
    }

    fn or(&mut self) -> Parsed<Expr> {
        let mut any = vec![self.and()?];
        while self.scan.keyword("or") {
            any.push(self.and()?);
        }
        Ok(joined(any, Expr::Or))
    }

    fn and(&mut self) -> Parsed<Expr> {
        let mut all = vec![self.not()?];
        loop {
            let required = self.scan.keyword("and");
            let over = self.scan.peek().is_none_or(|c| c == ')') || self.scan.is_keyword("or");
            if over && !required {
                return Ok(joined(all, Expr::And));
            }
            all.push(self.not()?);
        }
    }

    fn not(&mut self) -> Parsed<Expr> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(self.scan.error(self.scan.at, Problem::TooDeep));
        }
        self.scan.skip_space();
        self.place = (self.scan.at, Place::Term);
        let negated = self.scan.keyword("not") || self.scan.symbol("!");
        let parsed = if negated { Expr::Not(Box::new(self.not()?)) } else { self.primary()? };
        self.depth -= 1;
        Ok(parsed)
    }

    fn primary(&mut self) -> Parsed<Expr> {
        let start = self.scan.at;
        match self.scan.peek() {
            Some('(') => {
                self.scan.at += 1;
                let inner = self.or()?;
                if !self.scan.symbol(")") {
                    return Err(self.scan.error_over(start, 1, Problem::Parenthesis("closed")));
                }
                Ok(inner)
            }
            Some('"' | '\'') => {
                let word = self.scan.quoted()?;
                self.after(None);
                Ok(anything(word))
            }
            Some(c) if is_word(c) => self.term(),
            _ => Err(self.no_term()),
        }
    }

    fn no_term(&self) -> QueryError {
        let rest: String = self.scan.text[self.scan.at..].iter().take(2).collect();
        let suggestion = [("&&", "and"), ("||", "or")].iter().find(|(symbol, _)| *symbol == rest);
        if let Some((_, word)) = suggestion {
            let mut error = self.scan.error_over(self.scan.at, 2, Problem::NoTerm(format!("{rest:?}")));
            error.suggestion = Some((*word).to_owned());
            return error;
        }
        match self.scan.text.get(self.scan.at) {
            None => self.scan.error_over(self.scan.at, 0, Problem::NoTerm("the end".to_owned())),
            Some(c) if "=!~<>),(".contains(*c) => {
                self.scan.error_over(self.scan.at, 1, Problem::NoTerm(format!("{:?}", c.to_string())))
            }
            Some(c) => self.scan.error_over(self.scan.at, 1, Problem::Character(*c)),
        }
    }

    /// From a word on.
    fn term(&mut self) -> Parsed<Expr> {
        let start = self.scan.at;
        let word = self.scan.word();
        let end = self.scan.at;
        if KEYWORDS.iter().any(|keyword| keyword.eq_ignore_ascii_case(&word)) {
            self.scan.at = start;
            return Err(self.scan.error_over(start, end - start, Problem::NoTerm(format!("{word:?}"))));
        }
        let list = self.list_operator();
        let operator = if list.is_some() { None } else { self.operator() };
        if list.is_none() && operator.is_none() {
            let found = resolve(&word);
            self.after(found.map(|(_, field)| field));
            return Ok(match found {
                Some((end, field)) => Expr::Term(Term { end, field, test: Test::Present }),
                None => anything(word),
            });
        }
        let (side, field) = resolve(&word).ok_or_else(|| self.no_field(start, end, &word))?;
        let term = |test| Expr::Term(Term { end: side, field, test });
        let (expr, negated) = match (list, operator) {
            (Some(negated), _) => (term(Test::AnyOf(self.list(field)?)), negated),
            (None, Some(operator)) => {
                let (test, negated) = self.test(field, operator, end)?;
                let test = if matches!(field.kind, Kind::Flag) { Test::Present } else { test };
                (term(test), negated)
            }
            (None, None) => (term(Test::Present), false),
        };
        self.after(None);
        Ok(if negated { Expr::Not(Box::new(expr)) } else { expr })
    }

    /// `in` (false) or `not in` (true), if it stands here.
    fn list_operator(&mut self) -> Option<bool> {
        let before = self.scan.at;
        if self.scan.keyword("in") {
            return Some(false);
        }
        if self.scan.keyword("not") && self.scan.keyword("in") {
            return Some(true);
        }
        self.scan.at = before;
        None
    }

    fn operator(&mut self) -> Option<&'static str> {
        let before = self.scan.at;
        self.scan.skip_space();
        let found = OPERATORS.into_iter().find(|operator| self.scan.symbol(operator));
        if found.is_none() {
            self.scan.at = before;
        }
        found
    }

    /// What follows a field and an operator; true: it is to be negated.
    fn test(&mut self, field: &'static Field, operator: &'static str, after: usize) -> Parsed<(Test, bool)> {
        let comparison = match operator {
            "<" => Some(Comparison::Below),
            "<=" => Some(Comparison::AtMost),
            ">" => Some(Comparison::Above),
            ">=" => Some(Comparison::AtLeast),
            _ => None,
        };
        let fits = match (comparison, operator) {
            (Some(_), _) => field.kind.is_ordered(),
            (None, "~" | "!~") => field.kind.is_text(),
            _ => true,
        };
        if !fits {
            let problem = Problem::Operator { field: field.name, operator };
            let start = self.scan.at - operator.len();
            let mut error = self.scan.error_over(start.max(after), operator.len(), problem);
            error.suggestion = Some("=".to_owned());
            return Err(error);
        }
        if operator == "~" || operator == "!~" {
            return Ok((self.pattern(field)?, operator == "!~"));
        }
        let Some(comparison) = comparison else { return self.equal(field, operator == "!=") };
        let (start, bound) = self.value(field)?;
        match bound {
            Value::Number(bound) => Ok((Test::Compare(comparison, bound), false)),
            _ => Err(self.scan.error_over(
                start,
                self.scan.at - start,
                Problem::Operator { field: field.name, operator },
            )),
        }
    }

    /// `=` takes a list as `in` does; of a flag it takes yes and no.
    fn equal(&mut self, field: &'static Field, negated: bool) -> Parsed<(Test, bool)> {
        if !matches!(field.kind, Kind::Flag) {
            return Ok((Test::AnyOf(self.values(field)?), negated));
        }
        let (start, value) = self.value(field)?;
        match value {
            Value::Text(word) if ["true", "yes"].contains(&word.as_str()) => Ok((Test::Present, negated)),
            Value::Text(word) if ["false", "no"].contains(&word.as_str()) => Ok((Test::Present, !negated)),
            _ => {
                let value: String = self.scan.text[start..self.scan.at].iter().collect();
                let expected = "true or false";
                Err(self.scan.error_over(start, self.scan.at - start, Problem::Value { value, expected }))
            }
        }
    }

    fn pattern(&mut self, field: &'static Field) -> Parsed<Test> {
        self.begin_value(field);
        let start = self.scan.at;
        let pattern = match self.scan.text.get(self.scan.at) {
            Some('"' | '\'') => self.scan.quoted()?,
            _ => self.scan.raw_pattern(),
        };
        self.patterns += 1;
        if pattern.is_empty() {
            return Err(self.scan.error_over(start, self.scan.at - start, Problem::NoValue(field.name)));
        }
        if self.patterns > MAX_PATTERNS {
            return Err(self.scan.error_over(start, self.scan.at - start, Problem::TooManyPatterns));
        }
        self.checked(field, Test::Matches(pattern), start)
    }

    /// A list in parentheses or without.
    fn list(&mut self, field: &'static Field) -> Parsed<Vec<Value>> {
        self.scan.skip_space();
        let start = self.scan.at;
        if !self.scan.symbol("(") {
            return self.values(field);
        }
        let values = self.values(field)?;
        if self.scan.symbol(")") {
            Ok(values)
        } else {
            Err(self.scan.error_over(start, 1, Problem::Parenthesis("closed")))
        }
    }

    fn values(&mut self, field: &'static Field) -> Parsed<Vec<Value>> {
        if matches!(field.kind, Kind::Flag) {
            let problem = Problem::Operator { field: field.name, operator: "in" };
            return Err(self.scan.error(self.scan.at, problem));
        }
        let mut values = Vec::new();
        loop {
            values.push(self.value(field)?.1);
            let before = self.scan.at;
            if !self.scan.symbol(",") {
                self.scan.at = before;
                return Ok(values);
            }
        }
    }

    /// One value and where it starts.
    fn value(&mut self, field: &'static Field) -> Parsed<(usize, Value)> {
        self.begin_value(field);
        let start = self.scan.at;
        let text = match self.scan.text.get(self.scan.at) {
            Some('"' | '\'') => self.scan.quoted()?,
            _ => self.scan.take_while(|c| !c.is_whitespace() && c != ',' && c != ')'),
        };
        if text.is_empty() {
            return Err(self.scan.error_over(start, self.scan.at - start, Problem::NoValue(field.name)));
        }
        let value = value::parse(field, &text).map_err(|(problem, suggestion)| {
            let mut error = self.scan.error_over(start, self.scan.at - start, problem);
            error.suggestion = suggestion;
            error
        })?;
        let test = self.checked(field, Test::AnyOf(vec![value]), start)?;
        match test {
            Test::AnyOf(mut values) if !values.is_empty() => Ok((start, values.remove(0))),
            _ => Err(self.scan.error(start, Problem::NoValue(field.name))),
        }
    }

    /// The test, if it compiles.
    fn checked(&self, field: &'static Field, test: Test, start: usize) -> Parsed<Test> {
        match evaluate::matcher(field, &test) {
            Ok(_) => Ok(test),
            Err(reason) => {
                Err(self.scan.error_over(start, self.scan.at - start, Problem::Refused(Box::new(reason))))
            }
        }
    }

    fn no_field(&self, start: usize, end: usize, word: &str) -> QueryError {
        let (prefix, name) = match word.get(..4).map(str::to_ascii_lowercase).as_deref() {
            Some("src.") => ("src.", &word[4..]),
            Some("dst.") => ("dst.", &word[4..]),
            _ => ("", word),
        };
        if let Some(field) = Field::of_name(name) {
            let mut error = self.scan.error_over(start, end - start, Problem::NoEnds(field.name));
            error.suggestion = Some(field.name.to_owned());
            return error;
        }
        let names = FIELDS.iter().filter(|field| prefix.is_empty() || field.scope == Scope::Ends);
        let names = names.flat_map(|field| std::iter::once(&field.name).chain(field.aliases));
        let mut error = self.scan.error_over(start, end - start, Problem::Field(word.to_owned()));
        error.suggestion = nearest(name, names.copied()).map(|near| format!("{prefix}{near}"));
        error
    }

    fn begin_value(&mut self, field: &'static Field) {
        self.scan.skip_space();
        self.place = (self.scan.at, Place::Value(field));
    }

    /// Notes that a term is over, once a space follows it.
    fn after(&mut self, last: Option<&'static Field>) {
        let before = self.scan.at;
        self.scan.skip_space();
        if self.scan.at > before && self.scan.at == self.scan.text.len() {
            self.place = (self.scan.at, Place::AfterTerm(last));
        }
    }
}

fn joined(mut parts: Vec<Expr>, join: fn(Vec<Expr>) -> Expr) -> Expr {
    match parts.pop() {
        Some(only) if parts.is_empty() => only,
        Some(last) => {
            parts.push(last);
            join(parts)
        }
        None => Expr::And(parts),
    }
}

/// A word that is looked for in all names.
fn anything(word: String) -> Expr {
    let test = Test::AnyOf(vec![Value::Text(word)]);
    let field = Field::of_name(ANY).unwrap_or(&FIELDS[0]);
    Expr::Term(Term { end: None, field, test })
}
