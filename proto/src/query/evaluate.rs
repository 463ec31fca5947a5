//! [`Expr`] -> a predicate over flows. Regular expressions, selectors and patterns are compiled once.

use std::sync::Arc;

use super::ast::{Expr, Term, Test, Value};
use super::field::{Datum, Field, Kind, Sink};
use crate::flow::Flow;
use crate::matching::{Glob, Malformed, NamespacedPrefix, Selector, pattern};

/// A compiled query.
pub(super) type Predicate = Arc<dyn Fn(&Flow) -> bool + Send + Sync>;
/// A test of one thing that a flow carries.
type Matcher = Box<dyn Fn(Datum<'_>) -> bool + Send + Sync>;

/// Compiles the whole.
pub(super) fn predicate(expr: &Expr) -> Result<Predicate, Malformed> {
    let all = |parts: &[Expr]| parts.iter().map(predicate).collect::<Result<Vec<_>, _>>();
    Ok(match expr {
        Expr::And(parts) => {
            let parts = all(parts)?;
            Arc::new(move |flow| parts.iter().all(|part| part(flow)))
        }
        Expr::Or(parts) => {
            let parts = all(parts)?;
            Arc::new(move |flow| parts.iter().any(|part| part(flow)))
        }
        Expr::Not(inner) => {
            let inner = predicate(inner)?;
            Arc::new(move |flow| !inner(flow))
        }
        Expr::Term(term) => term_predicate(term)?,
    })
}

fn term_predicate(term: &Term) -> Result<Predicate, Malformed> {
    let matcher = matcher(term.field, &term.test)?;
    let (read, sides) = (term.field.read, term.field.sides(term.end));
    Ok(Arc::new(move |flow| {
        sides.iter().any(|end| {
            let mut test = |datum: Datum<'_>| matcher(datum);
            let mut sink = Sink::new(&mut test);
            read(flow, *end, &mut sink);
            sink.found()
        })
    }))
}

/// Compiles one test.
pub(super) fn matcher(field: &'static Field, test: &Test) -> Result<Matcher, Malformed> {
    Ok(match test {
        Test::Present => {
            let zero_counts = matches!(&field.kind, Kind::Words(words) if words.zero_counts);
            Box::new(move |datum| match datum {
                Datum::Number(number) => zero_counts || number != 0,
                Datum::Labels(labels) => !labels.is_empty(),
                Datum::Text(_) | Datum::Name(..) => true,
            })
        }
        Test::Compare(comparison, bound) => {
            let (comparison, bound) = (*comparison, *bound);
            Box::new(move |datum| matches!(datum, Datum::Number(number) if comparison.holds(number, bound)))
        }
        Test::Matches(text) => {
            let regex = pattern::compile(text)?;
            Box::new(move |datum| match datum {
                Datum::Text(text) => regex.is_match(text),
                Datum::Number(_) => false,
                Datum::Name(namespace, name) => {
                    regex.is_match(name)
                        || !namespace.is_empty() && regex.is_match(&format!("{namespace}/{name}"))
                }
                Datum::Labels(labels) => labels.iter().any(|label| regex.is_match(label)),
            })
        }
        Test::AnyOf(values) => {
            let any = values.iter().map(|value| equal(field, value)).collect::<Result<Vec<_>, _>>()?;
            Box::new(move |datum| any.iter().any(|equal| equal(datum)))
        }
    })
}

/// What `=` means for a value of a kind.
fn equal(field: &'static Field, value: &Value) -> Result<Matcher, Malformed> {
    Ok(match value {
        Value::Number(wanted) => {
            let wanted = *wanted;
            Box::new(move |datum| matches!(datum, Datum::Number(number) if number == wanted))
        }
        Value::Range(from, to) => {
            let range = *from..=*to;
            Box::new(move |datum| matches!(datum, Datum::Number(number) if range.contains(&number)))
        }
        Value::Network(network) => {
            let network = *network;
            Box::new(move |datum| match datum {
                Datum::Text(text) => text.parse().is_ok_and(|ip: std::net::IpAddr| network.contains(&ip)),
                _ => false,
            })
        }
        Value::Text(text) => equal_text(field, text)?,
    })
}

fn equal_text(field: &'static Field, text: &str) -> Result<Matcher, Malformed> {
    let wanted = text.to_owned();
    Ok(match field.kind {
        Kind::AnyCase => {
            Box::new(move |datum| matches!(datum, Datum::Text(text) if text.eq_ignore_ascii_case(&wanted)))
        }
        Kind::Contains => contains(&wanted),
        Kind::Prefix => {
            let wanted = NamespacedPrefix::parse(&any_namespace(text))?;
            Box::new(
                move |datum| matches!(datum, Datum::Name(namespace, name) if wanted.matches(namespace, name)),
            )
        }
        Kind::Glob => {
            let wanted = Glob::parse(text)?;
            Box::new(move |datum| matches!(datum, Datum::Text(text) if wanted.matches(text)))
        }
        Kind::Question => {
            let wanted = Glob::parse(text)?;
            Box::new(move |datum| {
                let Datum::Text(text) = datum else { return false };
                wanted.matches(&text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase())
            })
        }
        Kind::Labels => {
            let wanted = Selector::parse(text)?;
            Box::new(move |datum| matches!(datum, Datum::Labels(labels) if wanted.matches(labels)))
        }
        Kind::Workload => {
            let (kind, name) = workload(text);
            if kind.is_empty() && name.is_empty() {
                return Err(Malformed::EmptyWorkload);
            }
            Box::new(move |datum| {
                let Datum::Name(seen_kind, seen_name) = datum else { return false };
                (kind.is_empty() || kind == seen_kind) && (name.is_empty() || name == seen_name)
            })
        }
        _ => Box::new(move |datum| matches!(datum, Datum::Text(text) if text == wanted)),
    })
}

/// A name without a namespace is of any.
pub(super) fn any_namespace(text: &str) -> String {
    if text.contains('/') { text.to_owned() } else { format!("/{text}") }
}

/// `kind/name` or `name`.
pub(super) fn workload(text: &str) -> (String, String) {
    let (kind, name) = text.split_once('/').unwrap_or(("", text));
    (kind.to_owned(), name.to_owned())
}

fn contains(wanted: &str) -> Matcher {
    let wanted = wanted.to_lowercase();
    let has = move |text: &str| text.to_lowercase().contains(&wanted);
    Box::new(move |datum| match datum {
        Datum::Text(text) => has(text),
        Datum::Name(namespace, name) => has(&format!("{namespace}/{name}")),
        Datum::Number(_) => false,
        Datum::Labels(labels) => labels.iter().any(|label| has(label)),
    })
}
