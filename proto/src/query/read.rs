//! How each field is read from a flow. What a flow does not carry is given to nobody.

use crate::flow::Flow;
use crate::weir::v1::FlowDetail;

mod connection;
mod ends;
mod message;
mod network;
mod tcp;
mod verdict;

pub(super) use connection::{
    bytes, community, connection, correction, counts, duration, incomplete, join, packets, reason, received,
    sent, state, trace, uuid,
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
pub(super) use tcp::{
    close_reason, closed_by, duplicate_acks, half_open, out_of_order, resets, retransmissions, rtt,
    rtt_client, rtt_greatest, rtt_server, syns, tcp_flags, unmeasured, zero_window_time, zero_windows,
};
pub(super) use verdict::{
    disagreement, drop_reason, evidence, policy, rejected, rule, ruling, unanswered, verdict,
};

const fn detail(flow: &Flow) -> Option<&FlowDetail> {
    flow.weir.as_ref()
}
