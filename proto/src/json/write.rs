//! Writes a message as one line of protojson, in Go's manner.

use std::fmt::Write as _;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use prost::Message as _;
use prost_reflect::{DynamicMessage, Kind, MessageDescriptor, ReflectMessage as _, Value};
use prost_types::{Any, FieldMask, Timestamp};

use super::POOL;

/// The seconds from the year 1 to the year 9999, which is what a time in JSON may show.
const YEARS_OF_FOUR_DIGITS: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;

/// A message without a line end.
pub(super) fn line(message: &DynamicMessage) -> String {
    let mut out = String::with_capacity(1024);
    write_message(&mut out, message);
    out
}

fn write_message(out: &mut String, message: &DynamicMessage) {
    if !write_well_known(out, message) {
        out.push('{');
        write_fields(out, message, true);
        out.push('}');
    }
}

/// The fields that are set, in the order of their declaration. `first`: nothing stands before them.
fn write_fields(out: &mut String, message: &DynamicMessage, mut first: bool) {
    let descriptor = message.descriptor();
    for declared in &descriptor.descriptor_proto().field {
        let number = declared.number().unsigned_abs();
        let Some(field) = descriptor.get_field(number).filter(|field| message.has_field(field)) else {
            continue;
        };
        if !first {
            out.push(',');
        }
        first = false;
        write_string(out, field.name());
        out.push(':');
        match message.get_field(&field).as_ref() {
            Value::List(items) => write_list(out, &field.kind(), items),
            single => write_value(out, &field.kind(), single),
        }
    }
}

fn write_list(out: &mut String, kind: &Kind, items: &[Value]) {
    out.push('[');
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        write_value(out, kind, item);
    }
    out.push(']');
}

fn write_value(out: &mut String, kind: &Kind, value: &Value) {
    // Writing to a string can't fail.
    let _ = match value {
        Value::Bool(value) => write!(out, "{value}"),
        Value::I32(value) => write!(out, "{value}"),
        Value::U32(value) => write!(out, "{value}"),
        Value::I64(value) => write!(out, "\"{value}\""),
        Value::U64(value) => write!(out, "\"{value}\""),
        Value::F32(value) => write!(out, "{}", number(f64::from(*value), value)),
        Value::F64(value) => write!(out, "{}", number(*value, value)),
        Value::String(text) => return write_string(out, text),
        Value::Bytes(bytes) => write!(out, "\"{}\"", BASE64_STANDARD.encode(bytes)),
        Value::EnumNumber(number) => return write_enum(out, kind, *number),
        Value::Message(message) => return write_message(out, message),
        // No field of the wire is a map, which a test holds; lists have been dealt with.
        Value::List(_) | Value::Map(_) => Ok(()),
    };
}

/// An enum's value by name, or by number if this program does not know it.
fn write_enum(out: &mut String, kind: &Kind, number: i32) {
    match kind.as_enum().and_then(|descriptor| descriptor.get_value(number)) {
        Some(value) => write_string(out, value.name()),
        None => {
            let _ = write!(out, "{number}");
        }
    }
}

/// The shortest text that reads back as the same number, with an exponent where Go writes one.
fn number<F: std::fmt::Display + std::fmt::LowerExp>(size: f64, exact: &F) -> String {
    let size = size.abs();
    if size.is_nan() {
        return "\"NaN\"".to_owned();
    }
    if size.is_infinite() {
        let sign = if exact.to_string().starts_with('-') { "-" } else { "" };
        return format!("\"{sign}Infinity\"");
    }
    if size == 0.0 || (1e-6..1e21).contains(&size) {
        return exact.to_string();
    }
    let text = format!("{exact:e}");
    if text.contains("e-") { text } else { text.replace('e', "e+") }
}

/// A string as Go's encoder writes it: everything that could end a script or a line is escaped.
fn write_string(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\0'..='\u{1f}' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            _ => out.push(c),
        }
    }
    out.push('"');
}

/// Messages of `google.protobuf` that have a form of their own in JSON. False: this is none of them.
fn write_well_known(out: &mut String, message: &DynamicMessage) -> bool {
    let descriptor = message.descriptor();
    let Some(name) = descriptor.full_name().strip_prefix("google.protobuf.") else { return false };
    match name {
        "Timestamp" => return write_timestamp(out, message),
        "FieldMask" => write_field_mask(out, &message.transcode_to().unwrap_or_default()),
        "Any" => write_any(out, &message.transcode_to().unwrap_or_default()),
        _ if name.ends_with("Value") => write_wrapped(out, &descriptor, message),
        _ => return false,
    }
    true
}

/// RFC 3339 with 0, 3, 6 or 9 digits of a second. What is no time in four-digit years is written field by field instead.
fn write_timestamp(out: &mut String, message: &DynamicMessage) -> bool {
    let time: Timestamp = message.transcode_to().unwrap_or_default();
    let valid = YEARS_OF_FOUR_DIGITS.contains(&time.seconds) && (0..1_000_000_000).contains(&time.nanos);
    if valid {
        let _ = write!(out, "\"{time}\"");
    }
    valid
}

/// `BoolValue` and its like: the bare value.
fn write_wrapped(out: &mut String, descriptor: &MessageDescriptor, message: &DynamicMessage) {
    match descriptor.get_field(1) {
        Some(field) => write_value(out, &field.kind(), &message.get_field(&field)),
        None => out.push_str("null"),
    }
}

/// Paths in lowerCamelCase, joined by commas.
fn write_field_mask(out: &mut String, mask: &FieldMask) {
    let mut text = String::new();
    for (index, path) in mask.paths.iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        let mut after_underscore = false;
        for c in path.chars() {
            match c {
                '_' => after_underscore = true,
                _ if after_underscore => {
                    text.push(c.to_ascii_uppercase());
                    after_underscore = false;
                }
                _ => text.push(c),
            }
        }
    }
    write_string(out, &text);
}

/// The message inside with its type; as base64 where the type is not one of the wire.
fn write_any(out: &mut String, any: &Any) {
    out.push_str("{\"@type\":");
    write_string(out, &any.type_url);
    let name = any.type_url.rsplit('/').next().unwrap_or_default();
    let inside = POOL.get_message_by_name(name).and_then(|descriptor| {
        let mut inside = DynamicMessage::new(descriptor);
        inside.merge(any.value.as_slice()).ok().map(|()| inside)
    });
    match inside {
        Some(inside) if name.starts_with("google.protobuf.") => {
            out.push_str(",\"value\":");
            write_message(out, &inside);
        }
        Some(inside) => write_fields(out, &inside, false),
        None => {
            let _ = write!(out, ",\"value\":\"{}\"", BASE64_STANDARD.encode(&any.value));
        }
    }
    out.push('}');
}
