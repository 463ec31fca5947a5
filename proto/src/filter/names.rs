//! Fields about DNS: the names that an end is known by, and the name that a query asks for.

use super::ends::End;
use super::{Predicate, Reason, pattern, predicate};
use crate::flow::layer7::Record;

/// A pattern of a DNS name: `*` stands for any run of `-`, `.`, digits and lower-case letters, as in Hubble; it does not
/// reach over an underscore. The whole name must match.
pub(crate) struct Glob {
    /// Lower case, without the dot at the end.
    pattern: Vec<u8>,
}

impl Glob {
    /// Matches every name that a `*` can stand for.
    pub(crate) fn any() -> Self {
        Self { pattern: b"*".to_vec() }
    }

    pub(crate) fn parse(text: &str) -> Result<Self, Reason> {
        let shown = text.trim_start();
        let indent = text.chars().count() - shown.chars().count();
        let name = shown.trim_end();
        let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        if name.is_empty() {
            return Err(Reason::Empty);
        }
        if name.ends_with('.') {
            return Err(Reason::TrailingDots(text.to_owned()));
        }
        let wrong = |c: &char| !matches!(c, 'a'..='z' | '0'..='9' | '-' | '_' | '.' | '*');
        if let Some((at, character)) = name.chars().enumerate().find(|(_, c)| wrong(c)) {
            return Err(Reason::NameCharacter { pattern: text.to_owned(), character, position: indent + at });
        }
        Ok(Self { pattern: name.into_bytes() })
    }

    /// Steps through pattern and name together; at a mismatch the latest `*` takes one byte more. No earlier `*` need be
    /// tried: what stopped the latest, a byte that no `*` takes, would stop an earlier one too.
    pub(crate) fn matches(&self, name: &str) -> bool {
        let (name, pattern) = (name.as_bytes(), self.pattern.as_slice());
        let (mut at, mut of) = (0, 0);
        let mut star: Option<(usize, usize)> = None;
        while at < name.len() {
            match pattern.get(of) {
                Some(b'*') => {
                    star = Some((of, at));
                    of += 1;
                }
                Some(byte) if *byte == name[at] => {
                    at += 1;
                    of += 1;
                }
                _ => {
                    let Some((star_at, taken)) = star else { return false };
                    if !matches!(name[taken], b'-' | b'.' | b'0'..=b'9' | b'a'..=b'z') {
                        return false;
                    }
                    star = Some((star_at, taken + 1));
                    at = taken + 1;
                    of = star_at + 1;
                }
            }
        }
        pattern[of..].iter().all(|byte| *byte == b'*')
    }
}

/// `source_fqdn`, `destination_fqdn`: a pattern for one of the end's names.
pub(super) fn fqdn(end: End, text: &str) -> Result<Predicate, Reason> {
    let wanted = Glob::parse(text)?;
    predicate(move |flow| end.names(flow).iter().any(|name| wanted.matches(name)))
}

/// `dns_query`: a regular expression, found anywhere in the name that is asked for.
pub(super) fn dns_query(text: &str) -> Result<Predicate, Reason> {
    let wanted = pattern::compile(text)?;
    predicate(move |flow| match flow.l7.as_ref().and_then(|l7| l7.record.as_ref()) {
        Some(Record::Dns(dns)) => wanted.is_match(&dns.query),
        _ => false,
    })
}
