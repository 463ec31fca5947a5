//! IP, transport and application layer of a flow, in Hubble's messages.

use std::net::SocketAddr;

use weir_proto::flow::{
    Dns, Flow, IcmPv4, IcmPv6, Ip, IpVersion, L7FlowType, Layer4, Layer7, Sctp, Tcp, TcpFlags, Udp, layer4,
    layer7,
};

use super::{Scene, text};
use crate::decode;
use crate::track::event::{Content, Message};
use crate::tuple::IpProtocol;

/// Where weir's DNS messages come from: `DNS.observation_source`.
const OBSERVATION_SOURCE: &str = "packet";

pub(super) fn fill(flow: &mut Flow, scene: &Scene<'_>) {
    let (client, server) = (scene.ends.client, scene.ends.server);
    let masquerade = scene.ends.masquerade.map(|address| address.ip()).filter(|ip| *ip != client.ip());
    let ip = flow.ip.get_or_insert_with(Ip::default);
    text::address(&mut ip.source, client.ip());
    text::address(&mut ip.destination, server.ip());
    ip.ip_version = version(client).into();
    match masquerade {
        Some(address) => text::address(&mut ip.source_xlated, address),
        None => ip.source_xlated.clear(),
    }
    let connection = scene.event.connection;
    flow.l4 = transport(scene.ends.protocol, client, server, connection.flags_forward, connection.icmp);
    flow.l7 = scene.event.message.map(application);
}

const fn version(address: SocketAddr) -> IpVersion {
    if address.is_ipv4() { IpVersion::IPv4 } else { IpVersion::IPv6 }
}

fn transport(
    protocol: IpProtocol,
    client: SocketAddr,
    server: SocketAddr,
    flags: decode::TcpFlags,
    icmp: Option<(u8, u8)>,
) -> Option<Layer4> {
    let (source_port, destination_port) = (u32::from(client.port()), u32::from(server.port()));
    let (kind, code) = icmp.unwrap_or_default();
    let (kind, code) = (u32::from(kind), u32::from(code));
    let layer = match protocol {
        IpProtocol::TCP => {
            layer4::Protocol::Tcp(Tcp { source_port, destination_port, flags: Some(tcp_flags(flags)) })
        }
        IpProtocol::UDP => layer4::Protocol::Udp(Udp { source_port, destination_port }),
        IpProtocol::SCTP => layer4::Protocol::Sctp(Sctp { source_port, destination_port }),
        IpProtocol::ICMP => layer4::Protocol::IcmPv4(IcmPv4 { r#type: kind, code }),
        IpProtocol::ICMPV6 => layer4::Protocol::IcmPv6(IcmPv6 { r#type: kind, code }),
        _ => return None,
    };
    Some(Layer4 { protocol: Some(layer) })
}

const fn tcp_flags(flags: decode::TcpFlags) -> TcpFlags {
    use decode::TcpFlags as Flag;
    TcpFlags {
        fin: flags.has(Flag::FIN),
        syn: flags.has(Flag::SYN),
        rst: flags.has(Flag::RST),
        psh: flags.has(Flag::PSH),
        ack: flags.has(Flag::ACK),
        urg: flags.has(Flag::URG),
        ece: flags.has(Flag::ECE),
        cwr: flags.has(Flag::CWR),
        ns: flags.has(Flag::NS),
    }
}

fn application(message: &Message) -> Layer7 {
    match &message.content {
        Content::Dns { message, latency_ns } => Layer7 {
            r#type: if message.response { L7FlowType::Response } else { L7FlowType::Request }.into(),
            latency_ns: latency_ns.unwrap_or(0),
            record: Some(layer7::Record::Dns(Dns {
                query: message.name.clone(),
                ips: message.ips.iter().map(ToString::to_string).collect(),
                ttl: message.ttl,
                cnames: message.cnames.clone(),
                observation_source: OBSERVATION_SOURCE.to_owned(),
                rcode: u32::from(message.rcode),
                qtypes: vec![message.qtype.clone()],
                rrtypes: message.rrtypes.clone(),
            })),
        },
    }
}

/// From the server to the client. The translated source belongs to the client and is told in `Flow.weir` alone.
pub(super) fn turn_round(flow: &mut Flow) {
    if let Some(ip) = &mut flow.ip {
        std::mem::swap(&mut ip.source, &mut ip.destination);
        ip.source_xlated.clear();
    }
    if let Some(ethernet) = &mut flow.ethernet {
        std::mem::swap(&mut ethernet.source, &mut ethernet.destination);
    }
    match flow.l4.as_mut().and_then(|l4| l4.protocol.as_mut()) {
        Some(layer4::Protocol::Udp(udp)) => {
            std::mem::swap(&mut udp.source_port, &mut udp.destination_port);
        }
        Some(layer4::Protocol::Tcp(tcp)) => {
            std::mem::swap(&mut tcp.source_port, &mut tcp.destination_port);
        }
        _ => {}
    }
}
