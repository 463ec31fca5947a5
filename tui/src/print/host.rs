//! One end of a flow in words: pod, Service, names, address, in this order of preference.

use std::borrow::Cow;

use weir_proto::flow::layer4::Protocol;
use weir_proto::flow::{Endpoint, Flow, Service};

use super::style::{Paint, Tone, escape};
use crate::observe::names;

/// What is known of one end.
#[derive(Clone, Copy, Debug)]
pub struct Host<'a> {
    endpoint: Option<&'a Endpoint>,
    service: Option<&'a Service>,
    names: &'a [String],
    ip: &'a str,
    mac: &'a str,
    port: u32,
}

/// Source and destination of a flow.
#[must_use]
pub fn ends(flow: &Flow) -> (Host<'_>, Host<'_>) {
    let (source_port, destination_port) = ports(flow);
    let ip = flow.ip.as_ref();
    let mac = flow.ethernet.as_ref();
    let source = Host {
        endpoint: flow.source.as_ref(),
        service: flow.source_service.as_ref(),
        names: &flow.source_names,
        ip: ip.map_or("", |ip| &ip.source),
        mac: mac.map_or("", |mac| &mac.source),
        port: source_port,
    };
    let destination = Host {
        endpoint: flow.destination.as_ref(),
        service: flow.destination_service.as_ref(),
        names: &flow.destination_names,
        ip: ip.map_or("", |ip| &ip.destination),
        mac: mac.map_or("", |mac| &mac.destination),
        port: destination_port,
    };
    (source, destination)
}

fn ports(flow: &Flow) -> (u32, u32) {
    match flow.l4.as_ref().and_then(|l4| l4.protocol.as_ref()) {
        Some(Protocol::Tcp(tcp)) => (tcp.source_port, tcp.destination_port),
        Some(Protocol::Udp(udp)) => (udp.source_port, udp.destination_port),
        Some(Protocol::Sctp(sctp)) => (sctp.source_port, sctp.destination_port),
        _ => (0, 0),
    }
}

impl<'a> Host<'a> {
    /// Pod, Service, names or address.
    #[must_use]
    pub fn name(&self, numeric: bool) -> Cow<'a, str> {
        if self.ip.is_empty() {
            return escape(self.mac);
        }
        if numeric {
            return escape(self.ip);
        }
        let namespace = self.service.filter(|service| !service.namespace.is_empty());
        let namespace = namespace.map(|service| &service.namespace);
        let namespace =
            namespace.or(self.endpoint.map(|endpoint| &endpoint.namespace)).map_or("", String::as_str);
        let pod = self.endpoint.map_or("", |endpoint| &endpoint.pod_name);
        let service = self.service.map_or("", |service| &service.name);
        let name = [pod, service].into_iter().find(|name| !name.is_empty());
        match name {
            Some(name) if namespace.is_empty() => escape(name),
            Some(name) => escape(&format!("{namespace}/{name}")).into_owned().into(),
            None if self.names.is_empty() => escape(self.ip),
            None => escape(&self.names.join(",")).into_owned().into(),
        }
    }

    /// Name and port, in colours.
    #[must_use]
    pub fn with_port(&self, numeric: bool, paint: &Paint) -> String {
        let name = self.name(numeric);
        if self.port == 0 {
            return paint.paint(Tone::Host, name).into_owned();
        }
        // The address form of IPv6 keeps name and port apart.
        let name = if name == self.ip && name.contains(':') { format!("[{name}]").into() } else { name };
        let port = self.port.to_string();
        format!("{}:{}", paint.paint(Tone::Host, name), paint.paint(Tone::Port, port))
    }

    /// Its numeric identity in words: `(ID:1234)`, `(world)`.
    #[must_use]
    pub fn identity(&self, paint: &Paint) -> String {
        let number = self.endpoint.map_or(0, |endpoint| endpoint.identity);
        let words = match names::reserved_identity_name(number) {
            Some(name) => format!("({name})"),
            None => format!("(ID:{number})"),
        };
        paint.paint(Tone::Identity, words).into_owned()
    }
}
