//! Label selectors as Kubernetes writes them, and the names of fields that nobody here knows.

pub(super) mod wire;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::de::IgnoredAny;

use super::FieldError;
use crate::object::{Operator, Requirement, Selector};

/// The fields of an object that are not known.
pub(super) type Fields = BTreeMap<String, IgnoredAny>;

/// Paths of fields that are not known.
#[derive(Debug, Default)]
pub(super) struct Unknown {
    paths: Vec<String>,
}

impl Unknown {
    /// Those of the object at that path.
    pub(super) fn note(&mut self, path: &str, fields: &Fields) {
        self.paths.extend(fields.keys().map(|field| format!("{path}.{field}")));
    }

    pub(super) fn add(&mut self, path: String) {
        self.paths.push(path);
    }

    pub(super) fn first(self) -> Option<Arc<str>> {
        self.paths.into_iter().next().map(Arc::from)
    }
}

/// A selector, checked as the API server does (`k8s.io/apimachinery/pkg/apis/meta/v1/validation`).
pub(super) fn selector(
    selector: &wire::Selector,
    path: &str,
    unknown: &mut Unknown,
) -> Result<Selector, FieldError> {
    unknown.note(path, &selector.unknown);
    let labels = selector.match_labels.iter().flatten();
    let labels = labels.map(|(key, value)| {
        let operator = Operator::In(vec![value.as_str().into()]);
        Ok(Requirement { key: key_of(key, &format!("{path}.matchLabels"))?, operator })
    });
    let expressions = selector.match_expressions.iter().flatten().enumerate();
    let expressions = expressions.map(|(index, expression)| {
        let path = format!("{path}.matchExpressions[{index}]");
        unknown.note(&path, &expression.unknown);
        requirement(expression, &path)
    });
    Ok(Selector { requirements: labels.chain(expressions).collect::<Result<_, _>>()? })
}

fn key_of(key: &str, path: &str) -> Result<Arc<str>, FieldError> {
    if key.is_empty() {
        return Err(FieldError::at(path, "has a label without a name"));
    }
    Ok(key.into())
}

fn requirement(of: &wire::Expression, path: &str) -> Result<Requirement, FieldError> {
    let values: Vec<Arc<str>> = of.values.iter().flatten().map(|value| value.as_str().into()).collect();
    let wrong = |field: &str, why: String| Err(FieldError::at(format!("{path}.{field}"), why));
    let operator = match (of.operator.as_str(), values.is_empty()) {
        ("In", false) => Operator::In(values),
        ("NotIn", false) => Operator::NotIn(values),
        ("Exists", true) => Operator::Exists,
        ("DoesNotExist", true) => Operator::DoesNotExist,
        (operator @ ("In" | "NotIn"), true) => {
            return wrong("values", format!("must not be empty for {operator}"));
        }
        (operator @ ("Exists" | "DoesNotExist"), false) => {
            return wrong("values", format!("must be empty for {operator}"));
        }
        (other, _) => {
            return wrong("operator", format!("{other:?} is none of In, NotIn, Exists and DoesNotExist"));
        }
    };
    Ok(Requirement { key: key_of(&of.key, &format!("{path}.key"))?, operator })
}
