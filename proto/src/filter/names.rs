//! Fields about DNS: the names that an end is known by, and the name that a query asks for.

use super::{Predicate, Reason, predicate};
use crate::flow::layer7::Record;
use crate::matching::{End, Glob, pattern};

/// `source_fqdn`, `destination_fqdn`: a pattern for one of the end's names.
pub(super) fn fqdn(end: End, text: &str) -> Result<Predicate, Reason> {
    let wanted = Glob::parse(text)?;
    predicate(move |flow| end.names(flow).iter().any(|name| wanted.matches(name)))
}

/// `dns_query`: a regular expression, found anywhere in the name that is asked for.
pub(super) fn dns_query(text: &str) -> Result<Predicate, Reason> {
    let wanted = pattern::compile(text)?;
    predicate(move |flow| match flow.l7.as_ref().and_then(|l7| l7.record.as_ref()) {
        Some(Record::Dns(dns)) => wanted.is_match(&dns.query),
        _ => false,
    })
}
