//! A term of a query -> the filters that say the same in fields of `flow.FlowFilter`, if there are such. One function a
//! field, named in the table of fields.

use super::ast::{Term, Test, Value};
use super::evaluate::{any_namespace, workload as kind_and_name};
use super::field::Kind;
use super::value;
use super::words::DENIED;
use crate::flow::{DropReason, EventTypeFilter, FlowFilter, HttpHeader, TcpFlags, Workload};
use crate::matching::End;
use crate::weir;

impl Term {
    /// The filters that say exactly what the term does: one of them must match. Nothing if no field can say it.
    pub(crate) fn filters(&self) -> Option<Vec<FlowFilter>> {
        let sides = self.field.sides(self.end);
        let filters: Vec<Vec<FlowFilter>> =
            sides.iter().map(|end| (self.field.wire)(*end, &self.test)).collect();
        let every = filters.iter().all(|filters| !filters.is_empty());
        every.then(|| filters.concat())
    }
}

/// The texts that a field is to be equal to one of.
fn texts(test: &Test) -> Option<Vec<String>> {
    let Test::AnyOf(values) = test else { return None };
    let text = |value: &Value| match value {
        Value::Text(text) => Some(text.clone()),
        Value::Network(network) => Some(value::print_network(network)),
        Value::Number(number) => Some(number.to_string()),
        Value::Range(..) => None,
    };
    values.iter().map(text).collect()
}

fn numbers<T: TryFrom<u64>>(test: &Test) -> Option<Vec<T>> {
    let Test::AnyOf(values) = test else { return None };
    let number = |value: &Value| match value {
        Value::Number(number) => T::try_from(*number).ok(),
        _ => None,
    };
    values.iter().map(number).collect()
}

/// A filter with one field set to values, none if the values can't be had.
fn with<T>(values: Option<T>, set: impl FnOnce(&mut FlowFilter, T)) -> Vec<FlowFilter> {
    let filter = values.map(|values| {
        let mut filter = FlowFilter::default();
        set(&mut filter, values);
        filter
    });
    filter.into_iter().collect()
}

/// One filter for an end: its field for the source, its field for the destination.
macro_rules! of_end {
    ($end:expr, $values:expr, $source:ident, $destination:ident) => {
        with($values, |filter, values| match $end {
            End::Source => filter.$source = values,
            End::Destination => filter.$destination = values,
        })
    };
}

fn names(test: &Test) -> Option<Vec<String>> {
    Some(texts(test)?.iter().map(|name| any_namespace(name)).collect())
}

pub(super) fn pod(end: End, test: &Test) -> Vec<FlowFilter> {
    of_end!(end, names(test), source_pod, destination_pod)
}

pub(super) fn service(end: End, test: &Test) -> Vec<FlowFilter> {
    of_end!(end, names(test), source_service, destination_service)
}

/// A name with a slash in it is no namespace, and would be read as one and a pod.
pub(super) fn namespace(end: End, test: &Test) -> Vec<FlowFilter> {
    let whole = || {
        let names = texts(test).filter(|names| names.iter().all(|name| !name.contains('/')));
        names.map(|names| names.iter().map(|name| format!("{name}/")).collect::<Vec<_>>())
    };
    let pods = of_end!(end, whole(), source_pod, destination_pod);
    [pods, of_end!(end, whole(), source_service, destination_service)].concat()
}

pub(super) fn workload(end: End, test: &Test) -> Vec<FlowFilter> {
    let workloads = texts(test).map(|texts| {
        let workload = |text: &String| {
            let (kind, name) = kind_and_name(text);
            Workload { name, kind }
        };
        texts.iter().map(workload).collect::<Vec<_>>()
    });
    of_end!(end, workloads, source_workload, destination_workload)
}

pub(super) fn labels(end: End, test: &Test) -> Vec<FlowFilter> {
    of_end!(end, texts(test), source_label, destination_label)
}

pub(super) fn ip(end: End, test: &Test) -> Vec<FlowFilter> {
    of_end!(end, texts(test), source_ip, destination_ip)
}

pub(super) fn port(end: End, test: &Test) -> Vec<FlowFilter> {
    of_end!(end, texts(test), source_port, destination_port)
}

pub(super) fn name(end: End, test: &Test) -> Vec<FlowFilter> {
    of_end!(end, texts(test), source_fqdn, destination_fqdn)
}

pub(super) fn identity(end: End, test: &Test) -> Vec<FlowFilter> {
    of_end!(end, numbers(test), source_identity, destination_identity)
}

pub(super) fn cluster(end: End, test: &Test) -> Vec<FlowFilter> {
    of_end!(end, texts(test), source_cluster_name, destination_cluster_name)
}

/// "Denied" is no verdict on the wire but a dropped flow with one of two reasons.
pub(super) fn verdict(_: End, test: &Test) -> Vec<FlowFilter> {
    let Some(wanted) = numbers::<u64>(test) else { return Vec::new() };
    let verdicts: Vec<i32> = wanted
        .iter()
        .filter(|number| **number != DENIED)
        .filter_map(|number| i32::try_from(*number).ok())
        .collect();
    let plain =
        with((!verdicts.is_empty()).then_some(verdicts), |filter, verdicts| filter.verdict = verdicts);
    let reasons = vec![DropReason::PolicyDenied.into(), DropReason::PolicyDeny.into()];
    let denied = with(wanted.contains(&DENIED).then_some(reasons), |filter, reasons| {
        filter.drop_reason_desc = reasons;
    });
    [plain, denied].concat()
}

pub(super) fn drop_reason(_: End, test: &Test) -> Vec<FlowFilter> {
    with(numbers(test), |filter, reasons| filter.drop_reason_desc = reasons)
}

pub(super) fn protocol(_: End, test: &Test) -> Vec<FlowFilter> {
    let words = numbers::<u64>(test);
    let names =
        words.map(|words| words.iter().map(|word| super::words::PROTOCOL.word(*word)).collect::<Vec<_>>());
    with(names, |filter, names| filter.protocol = names)
}

/// Type 0 stands for any in a filter.
pub(super) fn event_type(_: End, test: &Test) -> Vec<FlowFilter> {
    let types = numbers::<i32>(test).filter(|types| !types.contains(&0)).map(|types| {
        types.iter().map(|number| EventTypeFilter { r#type: *number, ..Default::default() }).collect()
    });
    with(types, |filter, types: Vec<EventTypeFilter>| filter.event_type = types)
}

pub(super) fn direction(_: End, test: &Test) -> Vec<FlowFilter> {
    with(numbers(test), |filter, directions| filter.traffic_direction = directions)
}

pub(super) fn reply(_: End, test: &Test) -> Vec<FlowFilter> {
    with((*test == Test::Present).then(|| vec![true]), |filter, yes| filter.reply = yes)
}

pub(super) fn encrypted(_: End, test: &Test) -> Vec<FlowFilter> {
    with((*test == Test::Present).then(|| vec![true]), |filter, yes| filter.encrypted = yes)
}

pub(super) fn ip_version(_: End, test: &Test) -> Vec<FlowFilter> {
    with(numbers(test), |filter, versions| filter.ip_version = versions)
}

pub(super) fn snat(_: End, test: &Test) -> Vec<FlowFilter> {
    with(texts(test), |filter, addresses| filter.source_ip_xlated = addresses)
}

pub(super) fn tcp_flags(_: End, test: &Test) -> Vec<FlowFilter> {
    let flags = numbers::<u64>(test).map(|bits| {
        let flags = |bit: &u64| TcpFlags {
            fin: *bit == 0,
            syn: *bit == 1,
            rst: *bit == 2,
            psh: *bit == 3,
            ack: *bit == 4,
            urg: *bit == 5,
            ece: *bit == 6,
            cwr: *bit == 7,
            ns: *bit == 8,
        };
        bits.iter().map(flags).collect::<Vec<_>>()
    });
    with(flags, |filter, flags| filter.tcp_flags = flags)
}

fn pattern(test: &Test) -> Option<Vec<String>> {
    match test {
        Test::Matches(pattern) => Some(vec![pattern.clone()]),
        _ => None,
    }
}

/// The empty name is none here, and a name in a filter.
pub(super) fn dns_query(_: End, test: &Test) -> Vec<FlowFilter> {
    let pattern = pattern(test).filter(|patterns| !matches_empty(patterns));
    with(pattern, |filter, patterns| filter.dns_query = patterns)
}

fn matches_empty(patterns: &[String]) -> bool {
    patterns.iter().any(|text| crate::matching::pattern::compile(text).is_ok_and(|regex| regex.is_match("")))
}

/// Three digits from 100 to 599; the filter knows no others.
pub(super) fn http_status(_: End, test: &Test) -> Vec<FlowFilter> {
    let codes = numbers::<u64>(test).filter(|codes| codes.iter().all(|code| (100..600).contains(code)));
    let codes = codes.map(|codes| codes.iter().map(u64::to_string).collect::<Vec<_>>());
    with(codes, |filter, codes| filter.http_status_code = codes)
}

pub(super) fn http_method(_: End, test: &Test) -> Vec<FlowFilter> {
    with(texts(test), |filter, methods| filter.http_method = methods)
}

pub(super) fn http_path(_: End, test: &Test) -> Vec<FlowFilter> {
    with(pattern(test), |filter, patterns| filter.http_path = patterns)
}

pub(super) fn http_url(_: End, test: &Test) -> Vec<FlowFilter> {
    with(pattern(test), |filter, patterns| filter.http_url = patterns)
}

pub(super) fn http_header(_: End, test: &Test) -> Vec<FlowFilter> {
    let header = |text: &String| {
        let (key, value) = text.split_once(':')?;
        Some(HttpHeader { key: key.to_owned(), value: value.to_owned() })
    };
    let headers = texts(test).and_then(|texts| texts.iter().map(header).collect::<Option<Vec<_>>>());
    with(headers, |filter, headers| filter.http_header = headers)
}

pub(super) fn uuid(_: End, test: &Test) -> Vec<FlowFilter> {
    with(texts(test), |filter, ids| filter.uuid = ids)
}

pub(super) fn trace(_: End, test: &Test) -> Vec<FlowFilter> {
    with(texts(test), |filter, ids| filter.trace_id = ids)
}

fn with_weir<T>(values: Option<T>, set: impl FnOnce(&mut weir::v1::FlowFilter, T)) -> Vec<FlowFilter> {
    with(values, |filter, values| set(filter.weir.get_or_insert_default(), values))
}

pub(super) fn state(_: End, test: &Test) -> Vec<FlowFilter> {
    with_weir(numbers(test), |weir, states| weir.state = states)
}

pub(super) fn connection(_: End, test: &Test) -> Vec<FlowFilter> {
    with_weir(numbers(test), |weir, ids| weir.connection_id = ids)
}

pub(super) fn join(_: End, test: &Test) -> Vec<FlowFilter> {
    with_weir(numbers(test), |weir, keys| weir.join_key = keys)
}

impl Kind {
    /// In one word or two, for the help.
    #[must_use]
    pub const fn shown(&self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::AnyCase => "text, any case",
            Self::Contains => "part of text",
            Self::Prefix => "[ns/]prefix",
            Self::Glob | Self::Question => "name with *",
            Self::Labels => "selector",
            Self::Workload => "[kind/]name",
            Self::Address => "address, range",
            Self::Port => "port",
            Self::Count => "count",
            Self::Bytes => "size",
            Self::Duration => "duration",
            Self::Number => "number",
            Self::Words(_) => "word",
            Self::Flag => "no value",
        }
    }
}
