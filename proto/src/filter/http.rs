//! Fields about HTTP messages. Only flows of event type 129 (l7) carry one.

use super::{Conditions, FilterError, Predicate, Reason, predicate};
use crate::flow::{FlowFilter, HttpHeader};
use crate::matching::http::{message, path_of};
use crate::matching::pattern;

/// The type number of L7 events.
const L7_EVENT: i32 = 129;

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
