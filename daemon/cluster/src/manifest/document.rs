//! From text to objects, one at a time: a List of 100,000 pods never exists as a whole, only its text and what is kept.
//!
//! A text that begins with `{` is JSON (one document or several after each other), any other is YAML. The YAML parser
//! works within a budget, so that nesting or aliases ("billion laughs") end in an error and not in memory.

use std::fmt;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::convert::{self, FieldError, TypeName};
use super::error::{ManifestError, Place};
use super::file::Contents;
use crate::object::Object;

/// What was found in a file, in its order.
pub(super) enum Found {
    Object(Box<Object>, Place),
    /// An object of a kind that is not looked at.
    Ignored(String),
}

type Sink<'a> = &'a mut dyn FnMut(Found) -> Result<(), ManifestError>;

pub(super) fn parse(file: &Contents, sink: Sink<'_>) -> Result<(), ManifestError> {
    let documents = if file.text.trim_start().starts_with('{') {
        parse_json(file, sink)?
    } else {
        parse_yaml(file, sink)?
    };
    if documents == 0 {
        return Err(ManifestError::Empty { file: file.file.clone() });
    }
    Ok(())
}

fn parse_json(file: &Contents, sink: Sink<'_>) -> Result<usize, ManifestError> {
    let mut count = 0;
    for document in serde_json::Deserializer::from_str(&file.text).into_iter::<Document>() {
        count += 1;
        hand_over(document.map_err(|error| error.to_string()), file, count, sink)?;
    }
    Ok(count)
}

fn parse_yaml(file: &Contents, sink: Sink<'_>) -> Result<usize, ManifestError> {
    let mut count = 0;
    let mut reader = file.text.as_bytes();
    for document in serde_saphyr::read_with_options::<_, Document>(&mut reader, yaml_options()) {
        count += 1;
        hand_over(document.map_err(|error| one_line(&error)), file, count, sink)?;
    }
    Ok(count)
}

/// Size is bounded by the file; what is left to bound is what a small file can blow up to.
fn yaml_options() -> serde_saphyr::Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_reader_input_bytes: None,
            max_events: usize::MAX,
            max_nodes: usize::MAX,
            max_total_scalar_bytes: usize::MAX,
            max_total_comment_bytes: usize::MAX,
            max_documents: usize::MAX,
            max_aliases: 10_000,
            max_anchors: 10_000,
        },
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: 100_000 },
        with_snippet: false,
        emit_comments: false,
    }
}

fn one_line(error: &serde_saphyr::Error) -> String {
    error.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
}

fn hand_over(
    document: Result<Document, String>,
    file: &Contents,
    number: usize,
    sink: Sink<'_>,
) -> Result<(), ManifestError> {
    let place = |item| Place { file: file.file.clone(), document: number, item };
    let document = document.map_err(|why| ManifestError::Syntax { place: place(None), why })?;
    for (item, found) in document.found {
        match found {
            Item::Object(object) => sink(Found::Object(object, place(item)))?,
            Item::Ignored(kind) => sink(Found::Ignored(kind))?,
            Item::Wrong(FieldError { object, field, why }) => {
                return Err(ManifestError::Field { place: place(item), object, field, why });
            }
        }
    }
    Ok(())
}

enum Item {
    Object(Box<Object>),
    Ignored(String),
    Wrong(FieldError),
}

impl Item {
    fn of(value: Value, in_list: &TypeName) -> Self {
        let name = TypeName::of(&value).or(in_list);
        match convert::object_of(&name, value) {
            Ok(Some(object)) => Self::Object(Box::new(object)),
            Ok(None) => Self::Ignored(name.to_string()),
            Err(error) => Self::Wrong(error),
        }
    }
}

/// One document: an object, or a list of objects, converted while it is read.
struct Document {
    found: Vec<(Option<usize>, Item)>,
}

impl<'de> Deserialize<'de> for Document {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(DocumentVisitor)
    }
}

struct DocumentVisitor;

impl<'de> Visitor<'de> for DocumentVisitor {
    type Value = Document;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a Kubernetes object or a List of them")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Document, A::Error> {
        let mut fields = Map::new();
        let mut items = Items::default();
        let mut has_items = false;
        while let Some(key) = map.next_key::<String>()? {
            if key == "items" {
                has_items = true;
                items.list = TypeName::of_fields(&fields);
                map.next_value_seed(&mut items)?;
            } else {
                fields.insert(key, map.next_value()?);
            }
        }
        let name = TypeName::of_fields(&fields);
        if has_items && name.is_list() {
            return Ok(Document { found: items.finish(&name) });
        }
        let item = if name.is_list() {
            Item::Wrong(FieldError::missing(name.to_string(), "items"))
        } else {
            Item::of(Value::Object(fields), &TypeName::default())
        };
        Ok(Document { found: vec![(None, item)] })
    }
}

/// The items of a list. Those of a typed list have no kind of their own; where the list's comes after them (keys are in
/// the order of the alphabet), they wait for it.
#[derive(Default)]
struct Items {
    list: TypeName,
    found: Vec<(Option<usize>, Item)>,
    waiting: Vec<(usize, Value)>,
}

impl Items {
    fn add(&mut self, index: usize, value: Value) {
        if TypeName::of(&value).is_empty() && !self.list.is_list() {
            self.waiting.push((index, value));
        } else {
            let item = Item::of(value, &self.list.of_items());
            self.found.push((Some(index), item));
        }
    }

    fn is_wrong(&self) -> bool {
        matches!(self.found.last(), Some((_, Item::Wrong(_))))
    }

    fn finish(self, list: &TypeName) -> Vec<(Option<usize>, Item)> {
        let Self { list: _, mut found, waiting } = self;
        let of_items = list.of_items();
        found.extend(waiting.into_iter().map(|(index, value)| (Some(index), Item::of(value, &of_items))));
        found
    }
}

impl<'de> DeserializeSeed<'de> for &mut Items {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for &mut Items {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of Kubernetes objects")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let mut index = 0;
        while !self.is_wrong() {
            let Some(value) = items.next_element()? else { return Ok(()) };
            self.add(index, value);
            index += 1;
        }
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }

    /// Go prints a list without items so.
    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}
