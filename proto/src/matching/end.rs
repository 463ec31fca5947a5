//! The two ends of a flow, in every form that it carries.
//!
//! A flow may carry more than one form of an end: the true one in `IP` and `l4`, and what NAT made of it in `weir.nat`.

use crate::flow::layer4::Protocol;
use crate::flow::{Endpoint, Flow, Service};
use crate::weir::v1::{Nat, ServiceRef};

/// Which end of a flow a field is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Where it comes from.
    Source,
    /// Where it goes.
    Destination,
}

impl End {
    pub(crate) fn endpoint(self, flow: &Flow) -> Option<&Endpoint> {
        match self {
            Self::Source => flow.source.as_ref(),
            Self::Destination => flow.destination.as_ref(),
        }
    }

    pub(crate) fn service(self, flow: &Flow) -> Option<&Service> {
        match self {
            Self::Source => flow.source_service.as_ref(),
            Self::Destination => flow.destination_service.as_ref(),
        }
    }

    pub(crate) fn names(self, flow: &Flow) -> &[String] {
        match self {
            Self::Source => &flow.source_names,
            Self::Destination => &flow.destination_names,
        }
    }

    /// True if this end is the connection's server: NAT and Services are told of client and server, and a flow that
    /// tells of an answer has the server as its source.
    fn is_server(self, flow: &Flow) -> bool {
        (self == Self::Destination) != (flow.is_reply == Some(true))
    }

    /// The Services that weir found this end to stand for.
    pub(crate) fn found_services(self, flow: &Flow) -> &[ServiceRef] {
        match &flow.weir {
            Some(detail) if self.is_server(flow) => &detail.services,
            _ => &[],
        }
    }

    /// Address and port that NAT put in place of this end, if any.
    pub(crate) fn translated(self, flow: &Flow) -> Option<(&str, u32)> {
        let Nat { vip, vip_port, masquerade, masquerade_port, .. } = flow.weir.as_ref()?.nat.as_ref()?;
        let (address, port) =
            if self.is_server(flow) { (vip, *vip_port) } else { (masquerade, *masquerade_port) };
        (!address.is_empty()).then_some((address.as_str(), port))
    }

    pub(crate) fn address(self, flow: &Flow) -> Option<&str> {
        let ip = flow.ip.as_ref()?;
        Some(match self {
            Self::Source => &ip.source,
            Self::Destination => &ip.destination,
        })
    }

    /// The port on the wire; only TCP, UDP and SCTP have one.
    pub(crate) fn port(self, flow: &Flow) -> Option<u32> {
        let (source, destination) = match flow.l4.as_ref()?.protocol.as_ref()? {
            Protocol::Tcp(tcp) => (tcp.source_port, tcp.destination_port),
            Protocol::Udp(udp) => (udp.source_port, udp.destination_port),
            Protocol::Sctp(sctp) => (sctp.source_port, sctp.destination_port),
            Protocol::IcmPv4(_) | Protocol::IcmPv6(_) | Protocol::Vrrp(_) | Protocol::Igmp(_) => return None,
        };
        Some(if self == Self::Source { source } else { destination })
    }
}
