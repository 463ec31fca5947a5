//! The fields of an encoded protobuf message, one after the other, without decoding it.
//!
//! <https://protobuf.dev/programming-guides/encoding/>. Groups (wire types 3 and 4) are refused: proto3 has none.

use std::ops::Range;

use prost::encoding::decode_varint;

/// A field as it lies in the message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// Its number.
    pub number: u64,
    /// Key and value within the message.
    pub span: Range<usize>,
    /// Its value.
    pub value: Value<'a>,
}

/// A value by wire type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// Type 0.
    Varint(u64),
    /// Types 1 and 5, not looked into.
    Fixed,
    /// Type 2.
    Bytes(&'a [u8]),
}

/// The message ends within a field, or holds what proto3 has not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("protobuf message is cut short or corrupt at byte {at}")]
pub struct WireError {
    /// Where the field begins.
    pub at: usize,
}

/// Iterates over a message's fields; ends after the first error.
#[derive(Clone, Debug)]
pub struct Fields<'a> {
    message: &'a [u8],
    at: usize,
}

impl<'a> Fields<'a> {
    /// Over all fields of `message`.
    #[must_use]
    pub const fn of(message: &'a [u8]) -> Self {
        Self { message, at: 0 }
    }

    fn read(&mut self) -> Option<Field<'a>> {
        let mut rest = self.message.get(self.at..)?;
        let key = decode_varint(&mut rest).ok()?;
        let value = match key & 7 {
            0 => Value::Varint(decode_varint(&mut rest).ok()?),
            1 => {
                rest = rest.get(8..)?;
                Value::Fixed
            }
            2 => {
                let length = usize::try_from(decode_varint(&mut rest).ok()?).ok()?;
                let (bytes, after) = rest.split_at_checked(length)?;
                rest = after;
                Value::Bytes(bytes)
            }
            5 => {
                rest = rest.get(4..)?;
                Value::Fixed
            }
            _ => return None,
        };
        let span = self.at..self.message.len() - rest.len();
        self.at = span.end;
        Some(Field { number: key >> 3, span, value })
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<Field<'a>, WireError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.at >= self.message.len() {
            return None;
        }
        let at = self.at;
        let field = self.read();
        if field.is_none() {
            self.at = self.message.len();
        }
        Some(field.ok_or(WireError { at }))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_bytes_are_fields_without_gaps_or_one_error(message in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut end = 0;
            for field in Fields::of(&message) {
                match field {
                    Ok(field) => {
                        prop_assert_eq!(field.span.start, end);
                        end = field.span.end;
                    }
                    Err(error) => {
                        prop_assert_eq!(error.at, end);
                        end = message.len();
                    }
                }
            }
            prop_assert_eq!(end, message.len());
        }
    }
}
