//! How each field is read from a flow. What a flow does not carry is given to nobody.

use crate::flow::Flow;
use crate::weir::v1::FlowDetail;

mod connection;
mod ends;
mod message;
mod network;
mod verdict;

pub(super) use connection::{
    bytes, closed_by, community, connection, correction, counts, duration, incomplete, join, packets, reason,
    received, retransmissions, rtt, sent, state, syns, tcp_flags, trace, uuid,
};
pub(super) use ends::{
    any, cluster, host, identity, ip, labels, name, namespace, node, pod, port, service, workload, world,
};
pub(super) use message::{
    dns_answer, dns_latency, dns_query, dns_rcode, dns_type, http, http_header, http_latency, http_method,
    http_path, http_status, http_url,
};
pub(super) use network::{
    device, direction, encrypted, event_type, ip_version, nat, observer, point, protocol, reply, role, snat,
    tunnel, vip, vni,
};
pub(super) use verdict::{drop_reason, evidence, policy, rejected, rule, unanswered, verdict};

const fn detail(flow: &Flow) -> Option<&FlowDetail> {
    flow.weir.as_ref()
}
