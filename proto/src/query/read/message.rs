//! What a message of layer 7 says.

use super::super::field::{Datum, Sink};
use super::detail;
use crate::flow::layer7::Record;
use crate::flow::{Dns, Flow};
use crate::matching::End;
use crate::matching::http::{message, path_of};

fn dns(flow: &Flow) -> Option<&Dns> {
    match flow.l7.as_ref()?.record.as_ref()? {
        Record::Dns(dns) => Some(dns),
        _ => None,
    }
}

pub(in crate::query) fn dns_query(flow: &Flow, _: End, sink: &mut Sink<'_>) {
    sink.text(dns(flow).map_or("", |dns| &dns.query));
}

/// Only an answer has one.
pub(in crate::query) fn dns_rcode(flow: &Flow, _: End, sink: &mut Sink<'_>) {
    let answer = flow.l7.as_ref().is_some_and(|l7| l7.r#type() == crate::flow::L7FlowType::Response);
    if let Some(dns) = dns(flow).filter(|_| answer) {
        sink.number(dns.rcode);
    }
}

pub(in crate::query) fn dns_type(flow: &Flow, _: End, sink: &mut Sink<'_>) {
    sink.texts(dns(flow).map_or(&[][..], |dns| &dns.qtypes));
}

pub(in crate::query) fn dns_answer(flow: &Flow, _: End, sink: &mut Sink<'_>) {
    sink.texts(dns(flow).map_or(&[][..], |dns| &dns.ips));
}

pub(in crate::query) fn dns_latency(flow: &Flow, _: End, sink: &mut Sink<'_>) {
    if dns(flow).is_some() {
        let told = detail(flow).map_or(0, |detail| detail.dns_latency_ns);
        sink.known(if told > 0 { told } else { flow.l7.as_ref().map_or(0, |l7| l7.latency_ns) });
    }
}

pub(in crate::query) fn http(flow: &Flow, _: End, sink: &mut Sink<'_>) {
    sink.flag(message(flow).is_some());
}

pub(in crate::query) fn http_status(flow: &Flow, _: End, sink: &mut Sink<'_>) {
    sink.known(message(flow).map_or(0, |http| http.code));
}

pub(in crate::query) fn http_method(flow: &Flow, _: End, sink: &mut Sink<'_>) {
    sink.text(message(flow).map_or("", |http| &http.method));
}

pub(in crate::query) fn http_path(flow: &Flow, _: End, sink: &mut Sink<'_>) {
    if let Some(path) = message(flow).and_then(|http| path_of(&http.url)) {
        sink.take(Datum::Text(&path));
    }
}

pub(in crate::query) fn http_url(flow: &Flow, _: End, sink: &mut Sink<'_>) {
    if let Some(http) = message(flow) {
        sink.take(Datum::Text(&http.url));
    }
}

pub(in crate::query) fn http_header(flow: &Flow, _: End, sink: &mut Sink<'_>) {
    for header in message(flow).map_or(&[][..], |http| &http.headers) {
        sink.text(&format!("{}:{}", header.key, header.value));
    }
}

pub(in crate::query) fn http_latency(flow: &Flow, _: End, sink: &mut Sink<'_>) {
    if message(flow).is_some() {
        sink.known(flow.l7.as_ref().map_or(0, |l7| l7.latency_ns));
    }
}
