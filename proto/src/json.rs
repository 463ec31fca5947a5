//! Messages as JSON and back: protojson with proto field names, as the `hubble` CLI prints it, one line a message.
//!
//! Fields that are not set are left out; 64-bit numbers are strings; enums are names; the order of the fields is that of
//! their declaration in the `.proto` files, which follows Hubble's; `<`, `>` and `&` are escaped as Go's encoder does.
//! weir's own message hangs under the key `weir`. [`write`] turns a message into text, the reader is `prost-reflect`'s.

use std::sync::LazyLock;

use prost::{Message, Name};
use prost_reflect::{DescriptorPool, DeserializeOptions, DynamicMessage, MessageDescriptor};

use crate::DESCRIPTORS;
use crate::observer::GetFlowsResponse;

mod write;

/// Every message of the wire. Empty only if the committed descriptors were damaged, which a test rules out.
pub(crate) static POOL: LazyLock<DescriptorPool> =
    LazyLock::new(|| DescriptorPool::decode(DESCRIPTORS).unwrap_or_default());

/// Why a text is not the JSON of a message.
#[derive(Debug, thiserror::Error)]
pub enum JsonError {
    /// The text is no JSON, or not of that message. The error says where and what.
    #[error("not a {message} in JSON: {source}")]
    Syntax {
        /// Full name of the message that was expected.
        message: String,
        /// Line, column and what is wrong.
        source: serde_json::Error,
    },
    /// A message of that name is not on the wire.
    #[error("no message is called {0:?}")]
    UnknownMessage(String),
    /// Bytes that are not that message.
    #[error("not a {message} in protobuf: {source}")]
    Bytes {
        /// Full name of the message that was expected.
        message: String,
        /// What is wrong.
        source: prost::DecodeError,
    },
}

/// What to do with fields that the message does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnknownFields {
    /// Leave them out, as for what a newer program wrote.
    Ignore,
    /// Refuse the text, as for what a person typed.
    Refuse,
}

/// An answer of `GetFlows` in one line, without a line end.
#[must_use]
pub fn to_json(response: &GetFlowsResponse) -> String {
    print(response)
}

/// Reads an answer of `GetFlows` from JSON, as [`to_json`] or `hubble observe -o json` wrote it.
///
/// # Errors
/// If the text is not that message. Fields it does not have are left out.
pub fn from_json(text: &str) -> Result<GetFlowsResponse, JsonError> {
    parse(text, UnknownFields::Ignore)
}

/// Any message of the wire in one line, without a line end.
#[must_use]
pub fn print<M: Message + Name>(message: &M) -> String {
    // The bytes are freshly encoded and the message has a descriptor, so there is no error to be had; were there one,
    // the reader would see it in place of the message.
    print_encoded(&M::full_name(), &message.encode_to_vec())
        .unwrap_or_else(|error| serde_json::Value::String(error.to_string()).to_string())
}

/// As [`print()`], for an encoded message of this full name (`flow.Flow`).
///
/// # Errors
/// If there is no such message, or the bytes are not one.
pub fn print_encoded(full_name: &str, encoded: &[u8]) -> Result<String, JsonError> {
    let mut message = DynamicMessage::new(descriptor(full_name)?);
    message.merge(encoded).map_err(|source| JsonError::Bytes { message: full_name.to_owned(), source })?;
    Ok(write::line(&message))
}

/// Reads any message of the wire from JSON. Both proto field names and their lowerCamelCase forms are understood.
///
/// # Errors
/// If the text is not that message; by the option, if it has fields that the message has not.
pub fn parse<M: Message + Name + Default>(text: &str, unknown: UnknownFields) -> Result<M, JsonError> {
    let name = M::full_name();
    let syntax = |source| JsonError::Syntax { message: M::full_name(), source };
    let options = DeserializeOptions::new().deny_unknown_fields(unknown == UnknownFields::Refuse);
    let mut reader = serde_json::Deserializer::from_str(text);
    let message = DynamicMessage::deserialize_with_options(descriptor(&name)?, &mut reader, &options);
    let message = message.map_err(syntax)?;
    reader.end().map_err(syntax)?;
    message.transcode_to().map_err(|source| JsonError::Bytes { message: name, source })
}

fn descriptor(full_name: &str) -> Result<MessageDescriptor, JsonError> {
    POOL.get_message_by_name(full_name).ok_or_else(|| JsonError::UnknownMessage(full_name.to_owned()))
}

#[cfg(test)]
mod tests;
