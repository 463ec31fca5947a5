//! What is typed behind `/` -> a filter of rows.
//!
//! Words are joined by AND. A word alone is looked for in every fact of a row; `field=value` and `field!=value` look at one
//! field, `a,b` are alternatives, `not` or `!` before a term turns it round. Case does not count. Everything that knows
//! this language is in this file.

use std::fmt;

/// What a fact is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// A pod, as `namespace/name`.
    Pod,
    /// A namespace.
    Namespace,
    /// A Service, as `namespace/name`.
    Service,
    /// An address, in any of the forms it has on the way.
    Address,
    /// A port, likewise.
    Port,
    /// Transport protocol.
    Protocol,
    /// The verdict.
    Verdict,
    /// The state of the conversation.
    State,
    /// A DNS name.
    Dns,
    /// A node that saw it.
    Node,
    /// The key that both nodes compute alike.
    Key,
    /// Any other text of the row.
    Text,
}

/// Names of the fields as they are typed.
const FIELDS: &[(&str, Field)] = &[
    ("pod", Field::Pod),
    ("ns", Field::Namespace),
    ("svc", Field::Service),
    ("ip", Field::Address),
    ("port", Field::Port),
    ("proto", Field::Protocol),
    ("verdict", Field::Verdict),
    ("state", Field::State),
    ("dns", Field::Dns),
    ("node", Field::Node),
    ("key", Field::Key),
];

/// What is known of a row, in small letters.
#[derive(Clone, Debug, Default)]
pub struct Facts(Vec<(Field, String)>);

impl Facts {
    /// Adds a fact; empty ones and those known already are left out.
    pub fn add(&mut self, field: Field, value: &str) {
        let is_known = |(known, text): &(Field, String)| *known == field && text.eq_ignore_ascii_case(value);
        if value.is_empty() || self.0.iter().any(is_known) {
            return;
        }
        self.0.push((field, value.to_lowercase()));
    }

    /// The values of one field.
    pub fn of(&self, field: Field) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(known, _)| *known == field).map(|(_, text)| text.as_str())
    }
}

/// What is wrong with a filter's text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("at {at}: {problem}")]
pub struct FilterError {
    /// Which character, from 1.
    pub at: usize,
    /// In words, with a suggestion.
    pub problem: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Term {
    negated: bool,
    field: Option<Field>,
    values: Vec<String>,
}

impl Term {
    fn matches(&self, facts: &Facts) -> bool {
        let found = facts.0.iter().any(|(field, text)| match self.field {
            None => self.values.iter().any(|value| text.contains(value.as_str())),
            Some(wanted) => wanted == *field && self.values.iter().any(|value| is_value(wanted, text, value)),
        });
        found != self.negated
    }
}

/// Numbers are compared as a whole; a name also by its part behind the namespace, or its beginning up to a `-`.
fn is_value(field: Field, text: &str, value: &str) -> bool {
    if text == value {
        return true;
    }
    match field {
        Field::Pod | Field::Service | Field::Node => {
            let name = text.rsplit_once('/').map_or(text, |(_, name)| name);
            let name = if value.contains('/') { text } else { name };
            name == value
                || name.strip_prefix(value).is_some_and(|rest| rest.starts_with('-') || value.ends_with('/'))
        }
        Field::Address => text.strip_prefix(value).is_some_and(|_| value.ends_with(['.', ':'])),
        Field::Dns => text.trim_end_matches('.') == value.trim_end_matches('.'),
        _ => false,
    }
}

/// A filter that was understood; the empty one lets everything pass.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    terms: Vec<Term>,
}

impl Filter {
    /// Reads what was typed.
    ///
    /// # Errors
    /// An unknown field, or a field without a value, with its place.
    pub fn parse(text: &str) -> Result<Self, FilterError> {
        let mut terms = Vec::new();
        let mut negated = false;
        let mut at = 1;
        for word in text.split(' ') {
            let start = at;
            at += word.chars().count() + 1;
            match word {
                "" => {}
                "not" => negated = !negated,
                word => {
                    terms.push(term(word, start, negated)?);
                    negated = false;
                }
            }
        }
        if negated {
            return Err(FilterError { at: at - 1, problem: "nothing follows not".to_owned() });
        }
        Ok(Self { terms })
    }

    /// The flags of `weir observe` that ask for the same, as far as there are any; the rest as a remark.
    #[must_use]
    pub fn flags(&self) -> String {
        let mut flags = String::new();
        let mut beyond = Vec::new();
        for term in &self.terms {
            let flag = match term.field {
                Some(Field::Pod) => "pod",
                Some(Field::Namespace) => "namespace",
                Some(Field::Service) => "service",
                Some(Field::Address) => "ip",
                Some(Field::Port) => "port",
                Some(Field::Protocol) => "protocol",
                Some(Field::Verdict) => "verdict",
                Some(Field::Dns) => "fqdn",
                Some(Field::Node) => "node-name",
                Some(Field::State | Field::Key | Field::Text) | None => "",
            };
            if flag.is_empty() {
                beyond.push(term.values.join(","));
                continue;
            }
            for value in &term.values {
                let value = if flag == "verdict" { value.to_uppercase() } else { value.clone() };
                let not = if term.negated { " --not" } else { "" };
                flags.push_str(&format!("{not} --{flag} {}", super::export::shell_word(&value)));
            }
        }
        if !beyond.is_empty() {
            flags.push_str(&format!(" # further filtered by: {}", beyond.join(" ")));
        }
        flags
    }

    /// True if a row passes.
    #[must_use]
    pub fn matches(&self, facts: &Facts) -> bool {
        self.terms.iter().all(|term| term.matches(facts))
    }
}

fn term(word: &str, at: usize, negated: bool) -> Result<Term, FilterError> {
    let (negated, word) = match word.strip_prefix('!') {
        Some(rest) if !rest.is_empty() => (!negated, rest),
        _ => (negated, word),
    };
    let Some((name, value)) = word.split_once('=') else {
        return Ok(Term { negated, field: None, values: vec![word.to_lowercase()] });
    };
    let (name, negated) = name.strip_suffix('!').map_or((name, negated), |name| (name, !negated));
    let Some((_, field)) = FIELDS.iter().find(|(known, _)| *known == name) else {
        return Err(FilterError { at, problem: format!("no field is called {name}: {Names}") });
    };
    let values: Vec<String> =
        value.split(',').filter(|value| !value.is_empty()).map(str::to_lowercase).collect();
    if values.is_empty() {
        return Err(FilterError { at: at + word.chars().count(), problem: format!("{name}= needs a value") });
    }
    Ok(Term { negated, field: Some(*field), values })
}

struct Names;

impl fmt::Display for Names {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (name, _)) in FIELDS.iter().enumerate() {
            write!(out, "{}{name}", if at == 0 { "" } else { " " })?;
        }
        Ok(())
    }
}

/// The text with its last word completed: to a field's name, or to a value that a row has now.
#[must_use]
pub fn complete<'a>(text: &str, rows: impl Iterator<Item = &'a Facts>) -> Option<String> {
    let start = text.rfind([' ', ',']).map_or(0, |at| at + 1);
    let start = if text[start..].contains('=') { start } else { text.rfind(' ').map_or(0, |at| at + 1) };
    let (before, word) = text.split_at(start);
    let word = word.to_lowercase();
    let Some((name, value)) = word.split_once('=') else {
        let (name, _) = FIELDS.iter().find(|(name, _)| !word.is_empty() && name.starts_with(&word))?;
        return Some(format!("{before}{name}="));
    };
    let bare = name.trim_start_matches('!').trim_end_matches('!');
    let (_, field) = FIELDS.iter().find(|(known, _)| *known == bare)?;
    let typed = value.rsplit(',').next().unwrap_or_default();
    let mut found: Option<&str> = None;
    for candidate in rows.flat_map(|facts| facts.of(*field)) {
        let longer = candidate.len() > typed.len() && candidate.starts_with(typed);
        if longer && found.is_none_or(|best| candidate < best) {
            found = Some(candidate);
        }
    }
    found.map(|value| format!("{before}{}{value}", &word[..word.len() - typed.len()]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> Facts {
        let mut facts = Facts::default();
        facts.add(Field::Pod, "shop/web-5d8f-x2x4q");
        facts.add(Field::Namespace, "shop");
        facts.add(Field::Service, "shop/api");
        facts.add(Field::Address, "10.244.1.5");
        facts.add(Field::Port, "8080");
        facts.add(Field::Verdict, "DROPPED");
        facts
    }

    #[test]
    fn words_and_fields() {
        let passes = |text: &str| Filter::parse(text).unwrap().matches(&facts());
        for text in [
            "",
            "web",
            "WEB dropped",
            "ns=shop",
            "pod=web",
            "pod=shop/web-5d8f-x2x4q",
            "port=80,8080",
            "svc=api",
            "verdict!=forwarded",
            "not ns=bank",
            "!bank",
            "ip=10.244.",
        ] {
            assert!(passes(text), "{text}");
        }
        for text in ["bank", "ns=sho", "port=808", "verdict!=dropped", "not web", "svc=ap", "ip=10.244.1.50"]
        {
            assert!(!passes(text), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        let wrong = |text: &str| Filter::parse(text).unwrap_err().to_string();
        assert_eq!(
            wrong("web nss=shop"),
            "at 5: no field is called nss: pod ns svc ip port proto verdict state dns node key"
        );
        assert_eq!(wrong("ns="), "at 4: ns= needs a value");
        assert_eq!(wrong("web not"), "at 8: nothing follows not");
    }

    #[test]
    fn completes_from_what_is_there() {
        let facts = facts();
        let completed = |text: &str| complete(text, std::iter::once(&facts));
        assert_eq!(completed("x ver").as_deref(), Some("x verdict="));
        assert_eq!(completed("verdict=dr").as_deref(), Some("verdict=dropped"));
        assert_eq!(completed("port=80,80").as_deref(), Some("port=80,8080"));
        assert_eq!(completed("nothing=").as_deref(), None);
    }

    proptest::proptest! {
        #[test]
        fn no_text_breaks_it(text in "\\PC{0,40}") {
            let _ = Filter::parse(&text).map(|filter| filter.matches(&facts()));
            let _ = complete(&text, std::iter::once(&facts()));
        }
    }
}
