//! The text of a value <-> the value, by the kind of its field: numbers with units, words, addresses, quoted texts.

use std::net::IpAddr;

use ipnet::IpNet;

use super::ast::Value;
use super::error::Problem;
use super::field::{Field, Kind};

/// Nanoseconds a unit of time stands for, longest first.
const TIMES: [(&str, u64); 7] = [
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("µs", 1_000),
    ("ns", 1),
];
/// What the letters after a count stand for; behind bytes a `B` may follow.
const SIZES: [(&str, u64); 8] = [
    ("k", 1_000),
    ("K", 1_000),
    ("M", 1_000_000),
    ("G", 1_000_000_000),
    ("T", 1_000_000_000_000),
    ("Ki", 1 << 10),
    ("Mi", 1 << 20),
    ("Gi", 1 << 30),
];

/// Reads a value for a field. The second of an error is what could stand there instead.
pub(super) fn parse(field: &'static Field, text: &str) -> Result<Value, (Problem, Option<String>)> {
    let wrong = |expected| Problem::Value { value: text.to_owned(), expected };
    match &field.kind {
        Kind::Words(words) => words.number(text).map(Value::Number).ok_or_else(|| {
            let all: Vec<String> = words.all().map(|(word, _)| word).collect();
            let nearest = super::field::nearest(text, all.iter().map(String::as_str)).map(str::to_owned);
            (Problem::Word { field: field.name, value: text.to_owned() }, nearest)
        }),
        Kind::Address => network(text)
            .map(Value::Network)
            .ok_or_else(|| (wrong("an address or a range, as 10.0.0.7 or fd00:1::/64"), None)),
        Kind::Number => {
            number(text).map(Value::Number).ok_or_else(|| (wrong("a whole number, as 42 or 0x2a"), None))
        }
        Kind::Port | Kind::Count | Kind::Bytes | Kind::Duration => {
            let range = text
                .split_once('-')
                .and_then(|(from, to)| Some((measure(&field.kind, from)?, measure(&field.kind, to)?)));
            let range = range.filter(|(from, to)| from <= to).map(|(from, to)| Value::Range(from, to));
            let one = || measure(&field.kind, text).map(Value::Number);
            range.or_else(one).ok_or_else(|| (wrong(expected(&field.kind)), better(&field.kind, text)))
        }
        _ => Ok(Value::Text(text.to_owned())),
    }
}

const fn expected(kind: &Kind) -> &'static str {
    match kind {
        Kind::Port => "a port from 0 to 65535, or a range of them as 8000-8080",
        Kind::Duration => "a duration with its unit, as 50ms, 1.5s or 2m",
        Kind::Bytes => "a size, as 1500, 64k, 1.5M or 2Gi",
        _ => "a count, as 3 or 10k",
    }
}

/// A duration without its unit is most likely meant in milliseconds.
fn better(kind: &Kind, text: &str) -> Option<String> {
    let bare = matches!(kind, Kind::Duration) && scaled(text, 1).is_some();
    bare.then(|| format!("{text}ms"))
}

/// The text of an address or a range.
pub(super) fn print_network(network: &IpNet) -> String {
    if network.prefix_len() == network.max_prefix_len() {
        network.addr().to_string()
    } else {
        network.to_string()
    }
}

/// An address, or a range.
fn network(text: &str) -> Option<IpNet> {
    text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
}

fn number(text: &str) -> Option<u64> {
    match text.strip_prefix("0x") {
        Some(digits) if !digits.starts_with('+') => u64::from_str_radix(digits, 16).ok(),
        Some(_) => None,
        None => scaled(text, 1),
    }
}

/// A number of the kind, in its smallest unit.
pub(super) fn measure(kind: &Kind, text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (figure, unit) = text.split_at(digits);
    let unit = match kind {
        Kind::Bytes => unit.strip_suffix('B').unwrap_or(unit),
        _ => unit,
    };
    let units: &[(&str, u64)] = match kind {
        Kind::Duration => &TIMES,
        Kind::Port => &[],
        _ => &SIZES,
    };
    let scale = match units.iter().find(|(known, _)| *known == unit) {
        Some((_, scale)) => *scale,
        // Nothing lasts so long that its unit would not matter, except no time at all.
        None if unit.is_empty() && (!matches!(kind, Kind::Duration) || figure == "0") => 1,
        None => return None,
    };
    let measured = scaled(figure, scale)?;
    (!matches!(kind, Kind::Port) || measured <= u64::from(u16::MAX)).then_some(measured)
}

/// A decimal number times a scale, if that is whole and fits.
fn scaled(text: &str, scale: u64) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(fraction) || text.ends_with('.') {
        return None;
    }
    let whole = whole.parse::<u64>().ok()?.checked_mul(scale)?;
    let mut rest = 0u64;
    let mut place = scale;
    for digit in fraction.bytes().map(|byte| u64::from(byte - b'0')) {
        if digit > 0 && !place.is_multiple_of(10) {
            return None;
        }
        place /= 10;
        rest = rest.checked_add(digit * place)?;
    }
    whole.checked_add(rest)
}

/// The text of a field's value.
pub(super) fn print(field: &Field, value: &Value) -> String {
    match (value, &field.kind) {
        (Value::Text(text), _) => quote(text),
        (Value::Number(number), Kind::Words(words)) => words.word(*number),
        (Value::Number(number), kind) => figure(kind, *number),
        (Value::Range(from, to), kind) => format!("{}-{}", figure(kind, *from), figure(kind, *to)),
        (Value::Network(network), _) => print_network(network),
    }
}

/// With the longest unit of time that leaves a whole number.
fn figure(kind: &Kind, number: u64) -> String {
    let unit =
        TIMES.iter().find(|(_, scale)| matches!(kind, Kind::Duration) && number.is_multiple_of(*scale));
    match unit {
        Some((unit, scale)) => format!("{}{unit}", number / scale),
        None => number.to_string(),
    }
}

/// A value as it may stand in a query; quoted where it must be.
pub(super) fn quote(text: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "._/:*+@%=-".contains(c);
    if !text.is_empty() && !text.starts_with('=') && text.chars().all(plain) {
        return text.to_owned();
    }
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// A word to look for; quoted where it would read as something else.
pub(super) fn print_word(text: &str) -> String {
    let quoted = quote(text);
    let bare = text.chars().all(super::scan::is_word) && super::parse::is_only_text(text);
    if bare || quoted.starts_with('"') { quoted } else { format!("\"{text}\"") }
}
