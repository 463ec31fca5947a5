//! A YAML file -> keys and values with their lines. What they mean is not asked here.

use std::fmt;
use std::path::Path;

use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_saphyr::{DuplicateKeyPolicy, Spanned};

use super::SettingsError;

/// Larger is no configuration.
const MAX_BYTES: u64 = 1 << 20;

/// Keys, the lines they stand in, and their values, in the file's order.
pub(super) type Entries = Vec<(String, u64, Node)>;

/// A value.
#[derive(Debug)]
pub(super) enum Node {
    /// Nothing, or `null`.
    Nothing,
    /// One value, as text.
    Scalar(String),
    /// Several.
    List(Vec<Node>),
    /// Keys with values.
    Map(Entries),
}

impl Node {
    /// One value, or those of a list; nothing if they are no plain values.
    pub(super) fn into_values(self) -> Option<Vec<String>> {
        match self {
            Self::Scalar(text) => Some(vec![text]),
            Self::List(nodes) if !nodes.is_empty() => nodes.into_iter().map(Self::into_scalar).collect(),
            Self::List(_) | Self::Nothing | Self::Map(_) => None,
        }
    }

    fn into_scalar(self) -> Option<String> {
        match self {
            Self::Scalar(text) => Some(text),
            Self::Nothing | Self::List(_) | Self::Map(_) => None,
        }
    }
}

/// The file's entries; none for an empty file.
pub(super) fn read(path: &Path) -> Result<Entries, SettingsError> {
    let wrong = |line, why: String| SettingsError::File { file: path.to_owned(), line, why };
    let cannot = |error: std::io::Error| wrong(None, error.to_string());
    let size = std::fs::metadata(path).map_err(cannot)?.len();
    if size > MAX_BYTES {
        return Err(wrong(None, format!("{size} bytes are no configuration")));
    }
    let text = std::fs::read_to_string(path).map_err(cannot)?;
    // A key that stands twice is told with both its lines, by who knows what it means.
    let options = serde_saphyr::options! { duplicate_keys: DuplicateKeyPolicy::PassThrough };
    match serde_saphyr::from_str_with_options(&text, options) {
        Ok(Node::Map(entries)) => Ok(entries),
        Ok(Node::Nothing) => Ok(Vec::new()),
        Ok(Node::Scalar(_) | Node::List(_)) => {
            Err(wrong(Some(1), "the file is a mapping: flag: value".to_owned()))
        }
        Err(error) => {
            let line = error.location().map(|location| location.line());
            let why = error.without_snippet().to_string();
            let why = why.split_once(" at line ").map_or(why.as_str(), |(why, _)| why);
            Err(wrong(line, why.split_whitespace().collect::<Vec<_>>().join(" ")))
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("flags with their values")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Scalar(value.to_string()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Scalar(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Scalar(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Node, E> {
        Ok(Node::Scalar(value.to_string()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Scalar(value.to_owned()))
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Nothing)
    }

    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(Node::Nothing)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        Node::deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
        let mut nodes = Vec::new();
        while let Some(node) = items.next_element()? {
            nodes.push(node);
        }
        Ok(Node::List(nodes))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
        let mut entries = Entries::new();
        while let Some(key) = map.next_key::<Spanned<String>>()? {
            let line = key.referenced.line();
            entries.push((key.value, line, map.next_value()?));
        }
        Ok(Node::Map(entries))
    }
}
