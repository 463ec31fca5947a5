//! Kubernetes label selectors: `app=api,tier!=data,zone in (a,b),!legacy`, on labels as flows carry them.
//!
//! The grammar is that of kubectl's `--selector` (all parts are joined by AND; `!=` and `notin` also hold where the label
//! is absent). A flow's label has a source before its key, `k8s:app=api`; a key in a selector may name one, and matches
//! labels of any source if it does not or if it names `any`.

use std::collections::BTreeSet;

use super::Malformed;

/// The source in a selector's key that stands for every source.
const ANY_SOURCE: &str = "any";

/// Longest name and longest value of a Kubernetes label.
const MAX_LENGTH: usize = 63;

/// Where and why a text is not a label selector. Positions count characters from 0.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelectorError {
    /// Something stands where something else should.
    #[error("found {found} at position {position}, expected {expected}")]
    Unexpected {
        /// Position of the first character of what was found.
        position: usize,
        /// What was found, quoted, or "the end".
        found: String,
        /// What could stand here.
        expected: &'static str,
    },
    /// A key that no label can have.
    #[error("{key:?} at position {position} can't be the key of a label")]
    Key {
        /// Position of its first character.
        position: usize,
        /// As it was sent.
        key: String,
    },
    /// A value that no label can have.
    #[error(
        "{value:?} at position {position} can't be the value of a label: at most 63 of A-Z a-z 0-9 - _ ."
    )]
    Value {
        /// Position of its first character.
        position: usize,
        /// As it was sent.
        value: String,
    },
    /// A comparison with what is no number.
    #[error("{value:?} at position {position} is not a whole number")]
    Number {
        /// Position of its first character.
        position: usize,
        /// As it was sent.
        value: String,
    },
}

/// A parsed label selector.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Selector(Vec<Requirement>);

#[derive(Debug, PartialEq, Eq)]
struct Requirement {
    /// Nothing: any source.
    source: Option<String>,
    key: String,
    test: Test,
}

#[derive(Debug, PartialEq, Eq)]
enum Test {
    Exists,
    Absent,
    In(BTreeSet<String>),
    NotIn(BTreeSet<String>),
    Above(i64),
    Below(i64),
}

impl Selector {
    /// Parses a selector; the empty one matches everything.
    pub(crate) fn parse(text: &str) -> Result<Self, Malformed> {
        Self::requirements(text).map_err(|error| Malformed::Selector { selector: text.to_owned(), error })
    }

    fn requirements(text: &str) -> Result<Self, SelectorError> {
        let mut parser = Parser { tokens: tokens(text), next: 0, end: text.chars().count() };
        let mut requirements = Vec::new();
        if parser.peek().is_none() {
            return Ok(Self(requirements));
        }
        loop {
            requirements.push(parser.requirement()?);
            match parser.take() {
                None => return Ok(Self(requirements)),
                Some(Token { text: ",", .. }) => {}
                Some(other) => return Err(other.unexpected("',' or the end")),
            }
        }
    }

    /// True if labels as flows carry them (`source:key=value`) meet every requirement.
    pub(crate) fn matches(&self, labels: &[String]) -> bool {
        self.0.iter().all(|requirement| requirement.matches(labels))
    }
}

impl Requirement {
    fn matches(&self, labels: &[String]) -> bool {
        let value = labels.iter().find_map(|label| self.value_in(label));
        let number = |value: &str| value.parse::<i64>().ok();
        match &self.test {
            Test::Exists => value.is_some(),
            Test::Absent => value.is_none(),
            Test::In(values) => value.is_some_and(|value| values.contains(value)),
            Test::NotIn(values) => value.is_none_or(|value| !values.contains(value)),
            Test::Above(bound) => value.and_then(number).is_some_and(|value| value > *bound),
            Test::Below(bound) => value.and_then(number).is_some_and(|value| value < *bound),
        }
    }

    /// The value of a label if it has this requirement's source and key.
    fn value_in<'a>(&self, label: &'a str) -> Option<&'a str> {
        let (name, value) = label.split_once('=').unwrap_or((label, ""));
        let (source, key) = match name.split_once(':') {
            Some((source, key)) => (Some(source), key),
            None => (None, name),
        };
        let same_source = self.source.is_none() || self.source.as_deref() == source;
        (same_source && key == self.key).then_some(value)
    }
}

#[derive(Debug, Clone, Copy)]
struct Token<'a> {
    text: &'a str,
    position: usize,
}

impl Token<'_> {
    fn is_symbol(self) -> bool {
        self.text.starts_with(is_special)
    }

    fn unexpected(self, expected: &'static str) -> SelectorError {
        SelectorError::Unexpected { position: self.position, found: format!("{:?}", self.text), expected }
    }
}

fn is_special(c: char) -> bool {
    matches!(c, '=' | '!' | '(' | ')' | ',' | '<' | '>')
}

/// Cuts a text into `==`, `!=`, single symbols and words.
fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let (mut rest, mut position) = (text, 0);
    while let Some(first) = rest.chars().next() {
        let bytes = match first {
            c if c.is_whitespace() => first.len_utf8(),
            '=' | '!' if rest[1..].starts_with('=') => 2,
            c if is_special(c) => 1,
            _ => rest.find(|c: char| is_special(c) || c.is_whitespace()).unwrap_or(rest.len()),
        };
        let (token, after) = rest.split_at(bytes);
        if !first.is_whitespace() {
            tokens.push(Token { text: token, position });
        }
        position += token.chars().count();
        rest = after;
    }
    tokens
}

struct Parser<'a> {
    tokens: Vec<Token<'a>>,
    next: usize,
    /// Position behind the last character.
    end: usize,
}

impl<'a> Parser<'a> {
    fn peek(&self) -> Option<Token<'a>> {
        self.tokens.get(self.next).copied()
    }

    fn take(&mut self) -> Option<Token<'a>> {
        let token = self.peek();
        self.next += 1;
        token
    }

    fn take_if(&mut self, text: &str) -> Option<Token<'a>> {
        let token = self.peek().filter(|token| token.text == text)?;
        self.next += 1;
        Some(token)
    }

    fn unexpected(&self, expected: &'static str) -> SelectorError {
        match self.peek() {
            Some(token) => token.unexpected(expected),
            None => SelectorError::Unexpected { position: self.end, found: "the end".to_owned(), expected },
        }
    }

    fn requirement(&mut self) -> Result<Requirement, SelectorError> {
        if self.take_if("!").is_some() {
            let (source, key) = self.key()?;
            return Ok(Requirement { source, key, test: Test::Absent });
        }
        let (source, key) = self.key()?;
        let test = match self.peek().map(|token| token.text) {
            None | Some(",") => Test::Exists,
            Some("=" | "==") => Test::In(self.single()?),
            Some("!=") => Test::NotIn(self.single()?),
            Some("in") => Test::In(self.set()?),
            Some("notin") => Test::NotIn(self.set()?),
            Some(">") => Test::Above(self.number()?),
            Some("<") => Test::Below(self.number()?),
            Some(_) => return Err(self.unexpected("one of = == != in notin < > , or the end")),
        };
        Ok(Requirement { source, key, test })
    }

    /// A key and its source.
    fn key(&mut self) -> Result<(Option<String>, String), SelectorError> {
        let Some(token) = self.peek().filter(|token| !token.is_symbol()) else {
            return Err(self.unexpected("the key of a label"));
        };
        self.next += 1;
        let (source, key) = match token.text.split_once(':') {
            Some((source, key)) => (Some(source), key),
            None => (None, token.text),
        };
        if source == Some("") || !is_key(key) {
            return Err(SelectorError::Key { position: token.position, key: token.text.to_owned() });
        }
        Ok((source.filter(|source| *source != ANY_SOURCE).map(str::to_owned), key.to_owned()))
    }

    /// The value after an operator; none at all is the empty value.
    fn single(&mut self) -> Result<BTreeSet<String>, SelectorError> {
        self.next += 1;
        Ok(BTreeSet::from([self.value()?]))
    }

    /// `in (a, b)`; nothing between two commas is the empty value.
    fn set(&mut self) -> Result<BTreeSet<String>, SelectorError> {
        self.next += 1;
        if self.take_if("(").is_none() {
            return Err(self.unexpected("'('"));
        }
        let mut values = BTreeSet::new();
        loop {
            values.insert(self.value()?);
            if self.take_if(")").is_some() {
                return Ok(values);
            }
            if self.take_if(",").is_none() {
                return Err(self.unexpected("',' or ')'"));
            }
        }
    }

    fn value(&mut self) -> Result<String, SelectorError> {
        let Some(token) = self.peek().filter(|token| !token.is_symbol()) else {
            return Ok(String::new());
        };
        self.next += 1;
        if is_label_text(token.text) {
            return Ok(token.text.to_owned());
        }
        Err(SelectorError::Value { position: token.position, value: token.text.to_owned() })
    }

    fn number(&mut self) -> Result<i64, SelectorError> {
        self.next += 1;
        let Some(token) = self.peek().filter(|token| !token.is_symbol()) else {
            return Err(self.unexpected("a whole number"));
        };
        self.next += 1;
        let wrong = |_| SelectorError::Number { position: token.position, value: token.text.to_owned() };
        token.text.parse().map_err(wrong)
    }
}

/// A name, or a DNS name, `/` and a name. `cidr:10.0.0.0/8` has that shape too.
fn is_key(key: &str) -> bool {
    let (prefix, name) = match key.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, key),
    };
    let is_prefix = |prefix: &str| {
        !prefix.is_empty()
            && prefix.len() <= 253
            && prefix.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.'))
    };
    prefix.is_none_or(is_prefix) && is_label_text(name)
}

/// What a label's name or value is made of: at most 63 letters, digits, `-`, `_` and `.`, at the ends a letter or digit.
fn is_label_text(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    text.len() <= MAX_LENGTH
        && text.bytes().all(inner)
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.ends_with(|c: char| c.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn labels() -> Vec<String> {
        [
            "k8s:app=api",
            "k8s:tier=backend",
            "k8s:weight=7",
            "k8s:flag",
            "reserved:world",
            "cidr:10.0.0.0/8",
            "plain=1",
        ]
        .map(str::to_owned)
        .to_vec()
    }

    #[test]
    fn every_operator_means_what_it_means_to_kubectl() {
        for (text, expected) in [
            ("", true),
            ("app=api", true),
            ("app==api", true),
            (" app = api , tier = backend ", true),
            ("app=web", false),
            ("app!=web", true),
            ("app!=api", false),
            ("absent!=x", true),
            ("app in (web, api)", true),
            ("app in (web)", false),
            ("absent in (x)", false),
            ("app notin (web)", true),
            ("app notin (api,web)", false),
            ("absent notin (x)", true),
            ("app", true),
            ("absent", false),
            ("!absent", true),
            ("! app", false),
            ("flag=", true),
            ("flag in (,x)", true),
            ("flag in ()", true),
            ("weight>6", true),
            ("weight > 7", false),
            ("weight<8", true),
            ("app<8", false),
            ("k8s:app=api", true),
            ("any:app=api", true),
            ("cidr:app=api", false),
            ("reserved:world", true),
            ("k8s:world", false),
            ("world", true),
            ("cidr:10.0.0.0/8", true),
            ("plain=1", true),
            ("k8s:plain", false),
        ] {
            let selector = Selector::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(selector.matches(&labels()), expected, "{text}");
        }
    }

    #[test]
    fn errors_name_the_position() {
        for (text, message) in [
            ("a=b=c", "found \"=\" at position 3, expected ',' or the end"),
            ("a,", "found the end at position 2, expected the key of a label"),
            (",a", "found \",\" at position 0, expected the key of a label"),
            ("a b", "found \"b\" at position 2, expected one of = == != in notin < > , or the end"),
            ("a in b", "found \"b\" at position 5, expected '('"),
            ("a in (b", "found the end at position 7, expected ',' or ')'"),
            ("a in (b c)", "found \"c\" at position 8, expected ',' or ')'"),
            ("é=b", "\"é\" at position 0 can't be the key of a label"),
            ("a=é!", "\"é\" at position 2 can't be the value of a label: at most 63 of A-Z a-z 0-9 - _ ."),
            ("a>b", "\"b\" at position 2 is not a whole number"),
            ("a>", "found the end at position 2, expected a whole number"),
            (":a", "\":a\" at position 0 can't be the key of a label"),
            ("!", "found the end at position 1, expected the key of a label"),
        ] {
            assert_eq!(Selector::requirements(text).unwrap_err().to_string(), message, "{text}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in "[a-z:=!()<>, /.é]{0,20}") {
            if let Ok(selector) = Selector::parse(&text) {
                selector.matches(&labels());
            }
        }
    }
}
