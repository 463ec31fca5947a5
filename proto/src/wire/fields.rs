//! Walks the fields of an encoded message without knowing its type
//! (<https://protobuf.dev/programming-guides/encoding/>).
//!
//! Nothing is copied and nothing is trusted: bytes that are no message end the walk with [`Malformed`].

use std::fmt;
use std::ops::Range;

/// Deepest nesting of groups that is stepped over, as deep as prost decodes messages.
const MAX_GROUP_DEPTH: usize = 100;

/// The bytes are not an encoded message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub struct Malformed {
    /// Offset of the field that could not be read, in bytes.
    pub offset: usize,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no protobuf field at byte {}", self.offset)
    }
}

/// What a field holds, by its wire type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value<'a> {
    /// Wire type 0.
    Varint(u64),
    /// Wire type 1.
    Fixed64(u64),
    /// Wire type 2: a string, bytes, a message or packed numbers.
    Length(&'a [u8]),
    /// Wire type 3: obsolete groups are stepped over.
    Group,
    /// Wire type 5.
    Fixed32(u32),
}

/// One occurrence of a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field<'a> {
    /// Its number, never 0.
    pub number: u32,
    /// What it holds.
    pub value: Value<'a>,
    /// Where it stands in the message, key included.
    pub range: Range<usize>,
}

/// The fields of an encoded message in the order of the bytes; ends after the first error.
#[derive(Debug, Clone)]
pub struct Fields<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Fields<'a> {
    /// Starts at the first field.
    #[must_use]
    pub const fn of(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    fn field(&mut self) -> Option<Field<'a>> {
        let start = self.at;
        let (number, wire_type) = self.key()?;
        let value = match wire_type {
            3 => self.group(number)?,
            _ => self.value(wire_type)?,
        };
        Some(Field { number, value, range: start..self.at })
    }

    /// Number and wire type.
    fn key(&mut self) -> Option<(u32, u8)> {
        let key = u32::try_from(self.varint()?).ok()?;
        let wire_type = u8::try_from(key & 7).ok()?;
        (key >> 3 != 0).then_some((key >> 3, wire_type))
    }

    /// A value that is no group.
    fn value(&mut self, wire_type: u8) -> Option<Value<'a>> {
        Some(match wire_type {
            0 => Value::Varint(self.varint()?),
            1 => Value::Fixed64(u64::from_le_bytes(self.take(8)?.try_into().ok()?)),
            2 => {
                let length = usize::try_from(self.varint()?).ok()?;
                Value::Length(self.take(length)?)
            }
            5 => Value::Fixed32(u32::from_le_bytes(self.take(4)?.try_into().ok()?)),
            _ => return None,
        })
    }

    /// Steps over a group to the end that belongs to it.
    fn group(&mut self, number: u32) -> Option<Value<'a>> {
        let mut open = vec![number];
        while let Some(innermost) = open.last() {
            match self.key()? {
                (number, 3) if open.len() < MAX_GROUP_DEPTH => open.push(number),
                (number, 4) if number == *innermost => {
                    open.pop();
                }
                (_, wire_type) => {
                    self.value(wire_type)?;
                }
            }
        }
        Some(Value::Group)
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let taken = self.bytes.get(self.at..)?.get(..length)?;
        self.at += length;
        Some(taken)
    }

    /// Up to ten bytes of seven bits, least significant first; the tenth holds one bit.
    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..u64::BITS).step_by(7) {
            let byte = *self.bytes.get(self.at)?;
            self.at += 1;
            if shift == 63 && byte > 1 {
                return None;
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<Field<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.at >= self.bytes.len() {
            return None;
        }
        let offset = self.at;
        let field = self.field();
        if field.is_none() {
            self.at = self.bytes.len();
        }
        Some(field.ok_or(Malformed { offset }))
    }
}
