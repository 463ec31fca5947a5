//! Fields about HTTP messages. Only flows of event type 129 (l7) carry one.

use std::borrow::Cow;

use super::{Conditions, FilterError, Predicate, Reason, pattern, predicate};
use crate::flow::layer7::Record;
use crate::flow::{Flow, FlowFilter, Http, HttpHeader};

/// The type number of L7 events.
const L7_EVENT: i32 = 129;

pub(crate) fn message(flow: &Flow) -> Option<&Http> {
    match flow.l7.as_ref()?.record.as_ref()? {
        Record::Http(http) => Some(http),
        _ => None,
    }
}

/// Refuses a filter that asks for HTTP and, by `event_type`, for events that never carry it.
pub(super) fn check_event_types(wire: &FlowFilter, at: &Conditions<'_>) -> Result<(), FilterError> {
    let types = &wire.event_type;
    if types.is_empty() || types.iter().any(|event| event.r#type == L7_EVENT) {
        return Ok(());
    }
    let fields = [
        ("http_status_code", wire.http_status_code.is_empty()),
        ("http_method", wire.http_method.is_empty()),
        ("http_path", wire.http_path.is_empty()),
        ("http_url", wire.http_url.is_empty()),
        ("http_header", wire.http_header.is_empty()),
    ];
    match fields.iter().find(|(_, unset)| !unset) {
        Some((field, _)) => Err(at.error(field, 0, Reason::NeedsL7Events)),
        None => Ok(()),
    }
}

/// `http_status_code`: `404` is that code, `5+` and `40+` every code that begins so.
pub(super) fn status_code(text: &str) -> Result<Predicate, Reason> {
    let prefix = text.strip_suffix('+');
    let digits = prefix.unwrap_or(text);
    let lengths = if prefix.is_some() { 1..=2 } else { 3..=3 };
    let well_formed = lengths.contains(&digits.len())
        && digits.starts_with(['1', '2', '3', '4', '5'])
        && digits.bytes().all(|byte| byte.is_ascii_digit());
    if !well_formed {
        return Err(Reason::HttpStatus(text.to_owned()));
    }
    let (digits, whole) = (digits.to_owned(), prefix.is_none());
    predicate(move |flow| {
        message(flow).is_some_and(|http| {
            let code = format!("{:03}", http.code);
            if whole { code == digits } else { code.starts_with(&digits) }
        })
    })
}

/// `http_method`: in any case.
pub(super) fn method(text: &str) -> Result<Predicate, Reason> {
    let wanted = text.to_owned();
    predicate(move |flow| message(flow).is_some_and(|http| http.method.eq_ignore_ascii_case(&wanted)))
}

/// `http_path`: a regular expression, found anywhere in the path of the URL.
pub(super) fn path(text: &str) -> Result<Predicate, Reason> {
    let wanted = pattern::compile(text)?;
    predicate(move |flow| {
        message(flow).and_then(|http| path_of(&http.url)).is_some_and(|path| wanted.is_match(&path))
    })
}

/// `http_url`: a regular expression, found anywhere in the URL.
pub(super) fn url(text: &str) -> Result<Predicate, Reason> {
    let wanted = pattern::compile(text)?;
    predicate(move |flow| message(flow).is_some_and(|http| wanted.is_match(&http.url)))
}

/// `http_header`: exactly this key, case included as in Hubble, with exactly this value.
pub(super) fn header(wanted: &HttpHeader) -> Result<Predicate, Reason> {
    let wanted = wanted.clone();
    predicate(move |flow| message(flow).is_some_and(|http| http.headers.contains(&wanted)))
}

/// The decoded path of a request target: an absolute URL or an absolute path (RFC 9112 section 3.2), without its query.
/// Nothing for what is neither.
pub(crate) fn path_of(url: &str) -> Option<Cow<'_, str>> {
    let target = url.split_once('?').map_or(url, |(target, _)| target);
    if target.starts_with('/') || target == "*" {
        return decode(target);
    }
    let (scheme, rest) = target.split_once(':')?;
    let scheme_like = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'));
    let after = rest.strip_prefix("//").filter(|_| scheme_like)?;
    decode(after.find('/').map_or("", |slash| &after[slash..]))
}

/// Percent-decoding (RFC 3986 section 2.1); nothing if an escape is malformed.
fn decode(path: &str) -> Option<Cow<'_, str>> {
    if !path.contains('%') {
        return Some(Cow::Borrowed(path));
    }
    let mut decoded = Vec::with_capacity(path.len());
    let mut bytes = path.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let high = char::from(bytes.next()?).to_digit(16)?;
            let low = char::from(bytes.next()?).to_digit(16)?;
            decoded.push(u8::try_from(high * 16 + low).ok()?);
        } else {
            decoded.push(byte);
        }
    }
    Some(Cow::Owned(String::from_utf8_lossy(&decoded).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::path_of;

    #[test]
    fn path_is_what_lies_between_authority_and_query() {
        for (url, path) in [
            ("/api/v1?x=/no", Some("/api/v1")),
            ("http://shop.example:8080/a/b?q", Some("/a/b")),
            ("http://shop.example", Some("")),
            ("/a%20b", Some("/a b")),
            ("/a%2", None),
            ("/a%zz", None),
            ("*", Some("*")),
            ("api/v1", None),
            ("", None),
            ("1http://x/y", None),
        ] {
            assert_eq!(path_of(url).as_deref(), path, "{url}");
        }
    }
}
