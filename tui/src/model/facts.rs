//! A flow or a connection -> the facts that a filter looks at, in every form it has on its way.

use weir_proto::flow::layer4::Protocol;
use weir_proto::flow::layer7::Record;
use weir_proto::flow::{Endpoint, Flow};
use weir_proto::weir::v1::Connection;

use super::filter::{Facts, Field};
use crate::print::state;

/// What all sightings of a connection say.
#[must_use]
pub fn of_connection(connection: &Connection) -> Facts {
    let mut facts = Facts::default();
    for flow in connection.flow.iter().chain(&connection.sightings) {
        flow_facts(flow, &mut facts);
    }
    facts
}

/// What one flow says.
#[must_use]
pub fn of_flow(flow: &Flow) -> Facts {
    let mut facts = Facts::default();
    flow_facts(flow, &mut facts);
    facts
}

fn flow_facts(flow: &Flow, facts: &mut Facts) {
    for end in flow.source.iter().chain(&flow.destination) {
        endpoint(end, facts);
    }
    for service in flow.source_service.iter().chain(&flow.destination_service) {
        named(Field::Service, &service.namespace, &service.name, facts);
    }
    if let Some(ip) = &flow.ip {
        for address in [&ip.source, &ip.source_xlated, &ip.destination] {
            facts.add(Field::Address, address);
        }
    }
    transport(flow, facts);
    facts.add(Field::Verdict, flow.verdict().as_str_name());
    facts.add(Field::Node, &flow.node_name);
    for name in flow.source_names.iter().chain(&flow.destination_names) {
        facts.add(Field::Dns, name);
    }
    if let Some(Record::Dns(dns)) = flow.l7.as_ref().and_then(|l7| l7.record.as_ref()) {
        facts.add(Field::Dns, &dns.query);
    }
    detail(flow, facts);
}

fn detail(flow: &Flow, facts: &mut Facts) {
    let Some(detail) = &flow.weir else {
        return;
    };
    facts.add(Field::State, state(detail.state()));
    facts.add(Field::Key, &format!("{:016x}", detail.join_key));
    for service in &detail.services {
        named(Field::Service, &service.namespace, &service.name, facts);
    }
    if let Some(nat) = &detail.nat {
        facts.add(Field::Address, &nat.vip);
        facts.add(Field::Address, &nat.masquerade);
        for port in [nat.vip_port, nat.masquerade_port].into_iter().filter(|port| *port > 0) {
            facts.add(Field::Port, &port.to_string());
        }
    }
    for rule in &detail.rule_names {
        facts.add(Field::Text, rule);
    }
}

fn endpoint(end: &Endpoint, facts: &mut Facts) {
    facts.add(Field::Namespace, &end.namespace);
    if !end.pod_name.is_empty() {
        named(Field::Pod, &end.namespace, &end.pod_name, facts);
    }
}

fn named(field: Field, namespace: &str, name: &str, facts: &mut Facts) {
    facts.add(Field::Namespace, namespace);
    facts.add(field, &format!("{namespace}/{name}"));
}

fn transport(flow: &Flow, facts: &mut Facts) {
    let (name, ports) = match flow.l4.as_ref().and_then(|l4| l4.protocol.as_ref()) {
        Some(Protocol::Tcp(tcp)) => ("tcp", [tcp.source_port, tcp.destination_port]),
        Some(Protocol::Udp(udp)) => ("udp", [udp.source_port, udp.destination_port]),
        Some(Protocol::Sctp(sctp)) => ("sctp", [sctp.source_port, sctp.destination_port]),
        Some(Protocol::IcmPv4(_) | Protocol::IcmPv6(_)) => ("icmp", [0, 0]),
        _ => return,
    };
    facts.add(Field::Protocol, name);
    for port in ports.into_iter().filter(|port| *port > 0) {
        facts.add(Field::Port, &port.to_string());
    }
}
