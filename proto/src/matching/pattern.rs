//! Regular expressions as Hubble's clients write them (Go's RE2 dialect), compiled with the `regex` crate.
//!
//! Both engines run in linear time and share most of their syntax. [`translate`] rewrites what they read differently:
//! `\d \s \w \b` know ASCII only in Go, a brace that starts no repetition is an ordinary character there, as are `[`,
//! `&` and `~` within a class, and `\Q...\E` quotes.

use std::fmt::Write as _;

use regex::{Regex, RegexBuilder};

use super::Malformed;

/// Bound of the memory one compiled expression may take, in bytes, for its program and again for its cache.
const MAX_COMPILED_BYTES: usize = 1 << 20;

/// Compiles an expression of Go's dialect.
pub(crate) fn compile(pattern: &str) -> Result<Regex, Malformed> {
    RegexBuilder::new(&translate(pattern))
        .size_limit(MAX_COMPILED_BYTES)
        .dfa_size_limit(MAX_COMPILED_BYTES)
        .build()
        .map_err(|error| Malformed::Pattern { pattern: pattern.to_owned(), why: in_one_line(&error) })
}

/// The crate shows syntax errors as a picture of several lines; its last line says what is wrong.
fn in_one_line(error: &regex::Error) -> String {
    let text = error.to_string();
    let last = text.lines().last().unwrap_or_default();
    last.strip_prefix("error: ").unwrap_or(last).to_owned()
}

/// Rewrites an expression from Go's dialect to the crate's.
fn translate(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len() + 16);
    let mut rest = pattern;
    let mut class = false;
    while let Some(c) = rest.chars().next() {
        let after = &rest[c.len_utf8()..];
        rest = match c {
            '\\' => escape(after, class, &mut out),
            '[' if class && !after.starts_with(':') => literal('[', after, &mut out),
            '[' if class => posix_class(after, &mut out),
            '[' => {
                class = true;
                open_class(after, &mut out)
            }
            ']' => {
                class = false;
                out.push(']');
                after
            }
            '&' | '~' if class => literal(c, after, &mut out),
            '{' if !class && !is_repetition(after) => literal('{', after, &mut out),
            _ => {
                out.push(c);
                after
            }
        };
    }
    out
}

fn literal<'a>(c: char, after: &'a str, out: &mut String) -> &'a str {
    out.push('\\');
    out.push(c);
    after
}

/// A class up to its first ordinary item: `[`, `[^`, and a `]` that is meant literally because it comes first.
fn open_class<'a>(after: &'a str, out: &mut String) -> &'a str {
    out.push('[');
    let mut rest = after;
    if let Some(negated) = rest.strip_prefix('^') {
        out.push('^');
        rest = negated;
    }
    rest.strip_prefix(']').map_or(rest, |rest| literal(']', rest, out))
}

/// `[:alpha:]` within a class, copied whole so that its end does not end the class.
fn posix_class<'a>(after: &'a str, out: &mut String) -> &'a str {
    match after.split_once(":]") {
        Some((name, rest)) => {
            let _ = write!(out, "[{name}:]");
            rest
        }
        None => literal('[', after, out),
    }
}

/// What follows a backslash.
fn escape<'a>(after: &'a str, class: bool, out: &mut String) -> &'a str {
    let Some(c) = after.chars().next() else {
        out.push('\\');
        return after;
    };
    let rest = &after[c.len_utf8()..];
    if c == 'Q' {
        let (quoted, rest) = rest.split_once("\\E").unwrap_or((rest, ""));
        out.push_str(&regex::escape(quoted));
        return rest;
    }
    match (c, class) {
        ('d', _) => out.push_str("[0-9]"),
        ('D', _) => out.push_str("[^0-9]"),
        ('s', _) => out.push_str(r"[\t\n\f\r ]"),
        ('S', _) => out.push_str(r"[^\t\n\f\r ]"),
        ('w', _) => out.push_str("[0-9A-Za-z_]"),
        ('W', _) => out.push_str("[^0-9A-Za-z_]"),
        ('b', false) => out.push_str(r"(?-u:\b)"),
        _ => {
            out.push('\\');
            out.push(c);
        }
    }
    rest
}

/// True if a brace is followed by `n}`, `n,}` or `n,m}`.
fn is_repetition(after: &str) -> bool {
    let Some((counts, _)) = after.split_once('}') else { return false };
    let number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match counts.split_once(',') {
        Some((least, most)) => number(least) && (most.is_empty() || number(most)),
        None => number(counts),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_expressions_as_go_does() {
        for (pattern, text, expected) in [
            ("^/api", "/api/v1", true),
            ("orders$", "/orders", true),
            (r"^/api/\d+$", "/api/42", true),
            (r"^\d$", "٣", false),
            (r"^\w+$", "é", false),
            (r"^[\w-]+$", "a-b_c", true),
            (r"^\S+$", "é", true),
            ("/api/{id}", "/api/{id}", true),
            ("^a{2}$", "aa", true),
            ("^a{2,}$", "aaa", true),
            ("^a{,2}$", "a{,2}", true),
            ("[[]", "[", true),
            ("^[]a]+$", "]a", true),
            ("^[^]a]+$", "b", true),
            ("^[a&&b]$", "&", true),
            ("^[a~~b]$", "~", true),
            ("^[[:digit:]x]+$", "1x", true),
            (r"^\Qa.b\E$", "axb", false),
            (r"^\Qa.b\E$", "a.b", true),
            (r"\bfoo\b", "a foo b", true),
            (r"^\[x\]$", "[x]", true),
            ("(?i)GET", "get", true),
            ("^é$", "é", true),
        ] {
            let regex = compile(pattern).unwrap_or_else(|error| panic!("{pattern}: {error}"));
            assert_eq!(regex.is_match(text), expected, "{pattern} on {text}");
        }
    }

    #[test]
    fn refuses_what_is_no_expression_or_too_big() {
        for pattern in ["(", "[", "*", r"\", r"(\pL{900}){900}", "(?P<n"] {
            let error = compile(pattern).unwrap_err();
            let text = error.to_string();
            assert!(
                !text.contains('\n') && text.contains(pattern.escape_debug().to_string().as_str()),
                "{text}"
            );
        }
    }

    proptest! {
        #[test]
        fn never_panics(pattern in r"[a\\\[\]{}()*+?^$|QEdswb0-9,:&~é-]{0,16}") {
            let _ = compile(&pattern);
        }
    }
}
