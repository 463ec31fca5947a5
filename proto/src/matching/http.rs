//! The HTTP message that a flow tells of, and the path of its request target.

use std::borrow::Cow;

use crate::flow::layer7::Record;
use crate::flow::{Flow, Http};

/// The message, if there is one.
pub(crate) fn message(flow: &Flow) -> Option<&Http> {
    match flow.l7.as_ref()?.record.as_ref()? {
        Record::Http(http) => Some(http),
        _ => None,
    }
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
