//! Messages with arbitrary content for property tests, drawn from their descriptors.

use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, Value};

/// A message with arbitrary content, drawn from a string of bytes.
pub(crate) fn draw(
    descriptor: &MessageDescriptor,
    entropy: &mut impl Iterator<Item = u8>,
    depth: usize,
) -> DynamicMessage {
    let mut message = DynamicMessage::new(descriptor.clone());
    for field in descriptor.fields() {
        let set = entropy.next().is_some_and(|byte| byte % 3 == 0);
        let other_member = field
            .containing_oneof()
            .is_some_and(|oneof| oneof.fields().any(|other| message.has_field(&other)));
        if set && !other_member {
            let value = if field.is_list() {
                let count = entropy.next().unwrap_or(0) % 3;
                Value::List((0..count).filter_map(|_| draw_value(&field, entropy, depth)).collect())
            } else if let Some(value) = draw_value(&field, entropy, depth) {
                value
            } else {
                continue;
            };
            message.set_field(&field, value);
        }
    }
    message
}

fn draw_value(
    field: &FieldDescriptor,
    entropy: &mut impl Iterator<Item = u8>,
    depth: usize,
) -> Option<Value> {
    let byte = entropy.next().unwrap_or(0);
    Some(match field.kind() {
        Kind::Message(_) if depth == 0 => return None,
        Kind::Message(below) => Value::Message(draw(&below, entropy, depth - 1)),
        Kind::Enum(_) => Value::EnumNumber(i32::from(byte % 4)),
        Kind::Bool => Value::Bool(byte % 2 == 1),
        Kind::String => Value::String("x".repeat(usize::from(byte))),
        Kind::Bytes => Value::Bytes(vec![byte; 3].into()),
        Kind::Double => Value::F64(f64::from(byte)),
        // Not negative, so that times are valid.
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => Value::I32(i32::from(byte)),
        Kind::Uint32 | Kind::Fixed32 => Value::U32(u32::from(byte)),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => Value::I64(-i64::from(byte)),
        Kind::Uint64 | Kind::Fixed64 => Value::U64(u64::from(byte) << 40),
        Kind::Float => return None,
    })
}
