//! The names of protocols of layers 3, 4 and 7, and which flow carries one.

use crate::flow::Flow;
use crate::flow::layer4::Protocol;
use crate::flow::layer7::Record;

/// Whether a flow carries a protocol.
pub(crate) type CarriedBy = fn(&Flow) -> bool;

/// The protocols that `protocol` names, and what a flow of each carries.
#[expect(deprecated, reason = "old flows may still carry Kafka")]
pub(crate) const PROTOCOLS: [(&str, CarriedBy); 11] = [
    ("icmp", |flow| matches!(l4(flow), Some(Protocol::IcmPv4(_) | Protocol::IcmPv6(_)))),
    ("icmpv4", |flow| matches!(l4(flow), Some(Protocol::IcmPv4(_)))),
    ("icmpv6", |flow| matches!(l4(flow), Some(Protocol::IcmPv6(_)))),
    ("tcp", |flow| matches!(l4(flow), Some(Protocol::Tcp(_)))),
    ("udp", |flow| matches!(l4(flow), Some(Protocol::Udp(_)))),
    ("sctp", |flow| matches!(l4(flow), Some(Protocol::Sctp(_)))),
    ("vrrp", |flow| matches!(l4(flow), Some(Protocol::Vrrp(_)))),
    ("igmp", |flow| matches!(l4(flow), Some(Protocol::Igmp(_)))),
    ("dns", |flow| matches!(l7(flow), Some(Record::Dns(_)))),
    ("http", |flow| matches!(l7(flow), Some(Record::Http(_)))),
    ("kafka", |flow| matches!(l7(flow), Some(Record::Kafka(_)))),
];

/// What layer 4 says.
pub(crate) fn l4(flow: &Flow) -> Option<&Protocol> {
    flow.l4.as_ref()?.protocol.as_ref()
}

fn l7(flow: &Flow) -> Option<&Record> {
    flow.l7.as_ref()?.record.as_ref()
}
