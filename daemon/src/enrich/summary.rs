//! `Flow.Summary`: one line about a flow, in the form that Hubble's printers show unchanged.

use std::fmt::Write as _;

use weir_proto::flow::{Dns, IcmPv4, IcmPv6, L7FlowType, Layer4, Layer7, TcpFlags, layer4, layer7};

use super::text;
use crate::track::connection::{KernelDrop, Way};

/// `stopped_by` is what the kernel did to it, on a flow that is about the connection.
pub(super) fn write(
    room: &mut String,
    l4: Option<&Layer4>,
    l7: Option<&Layer7>,
    stopped_by: Option<&KernelDrop>,
) {
    if let Some(l7) = l7
        && let Some(layer7::Record::Dns(dns)) = &l7.record
    {
        *room = if l7.r#type == i32::from(L7FlowType::Request) { query(dns) } else { answer(dns) };
        return;
    }
    write_protocol(room, l4);
    if let Some(drop) = stopped_by {
        let before = if room.is_empty() { "" } else { "; " };
        let what = if drop.way == Way::Reverse { "answer " } else { "" };
        // Writing into a text cannot fail.
        let _ = write!(room, "{before}{what}dropped by the kernel: {}", drop.cause);
    }
}

fn write_protocol(room: &mut String, l4: Option<&Layer4>) {
    match l4.and_then(|l4| l4.protocol.as_ref()) {
        Some(layer4::Protocol::Tcp(tcp)) => tcp_flags(room, &tcp.flags.unwrap_or_default()),
        Some(layer4::Protocol::Udp(_)) => text::set(room, "UDP"),
        Some(layer4::Protocol::Sctp(_)) => text::set(room, "SCTP"),
        Some(layer4::Protocol::IcmPv4(icmp)) => text::write(room, &format_args!("ICMPv4 {}", icmpv4(icmp))),
        Some(layer4::Protocol::IcmPv6(icmp)) => text::write(room, &format_args!("ICMPv6 {}", icmpv6(icmp))),
        _ => room.clear(),
    }
}

fn tcp_flags(room: &mut String, flags: &TcpFlags) {
    let table = [
        (flags.syn, "SYN"),
        (flags.ack, "ACK"),
        (flags.rst, "RST"),
        (flags.fin, "FIN"),
        (flags.psh, "PSH"),
        (flags.urg, "URG"),
        (flags.ece, "ECE"),
        (flags.cwr, "CWR"),
        (flags.ns, "NS"),
    ];
    text::set(room, "TCP");
    let mut before = " Flags: ";
    for (_, name) in table.iter().filter(|(set, _)| *set) {
        room.push_str(before);
        room.push_str(name);
        before = ", ";
    }
}

fn query(dns: &Dns) -> String {
    format!("DNS Query {} {}", dns.query, dns.qtypes.join(","))
}

fn answer(dns: &Dns) -> String {
    let mut parts = Vec::new();
    if dns.rcode == 0 {
        if !dns.ips.is_empty() {
            parts.push(format!("\"{}\"", dns.ips.join(",")));
        }
        if !dns.cnames.is_empty() {
            parts.push(format!("CNAMEs: \"{}\"", dns.cnames.join(",")));
        }
    } else {
        parts.push(format!("RCode: {}", rcode(dns.rcode)));
    }
    parts.push(format!("TTL: {}", dns.ttl));
    format!("DNS Answer {} (Query {} {})", parts.join(" "), dns.query, dns.qtypes.join(","))
}

/// Response codes (IANA "DNS RCODEs") in the words that Hubble prints.
fn rcode(code: u32) -> String {
    let name = match code {
        1 => "Format Error",
        2 => "Server Failure",
        3 => "Non-Existent Domain",
        4 => "Not Implemented",
        5 => "Query Refused",
        6 => "Name Exists when it should not",
        7 => "RR Set Exists when it should not",
        8 => "RR Set that should exist does not",
        9 => "Server Not Authoritative for zone",
        10 => "Name not contained in zone",
        _ => return code.to_string(),
    };
    name.to_owned()
}

/// IANA "ICMP Type Numbers", named as Hubble names them.
fn icmpv4(icmp: &IcmPv4) -> String {
    let name = match (icmp.r#type, icmp.code) {
        (0, _) => "EchoReply",
        (3, 0) => "DestinationUnreachable(Net)",
        (3, 1) => "DestinationUnreachable(Host)",
        (3, 2) => "DestinationUnreachable(Protocol)",
        (3, 3) => "DestinationUnreachable(Port)",
        (3, 4) => "DestinationUnreachable(FragmentationNeeded)",
        (3, _) => "DestinationUnreachable",
        (4, _) => "SourceQuench",
        (5, _) => "Redirect",
        (8, _) => "EchoRequest",
        (9, _) => "RouterAdvertisement",
        (10, _) => "RouterSolicitation",
        (11, 0) => "TimeExceeded(TTLExceeded)",
        (11, 1) => "TimeExceeded(FragmentReassemblyTimeExceeded)",
        (11, _) => "TimeExceeded",
        (12, _) => "ParameterProblem",
        (13, _) => "TimestampRequest",
        (14, _) => "TimestampReply",
        _ => return numbers(icmp.r#type, icmp.code),
    };
    name.to_owned()
}

/// IANA "ICMPv6 type Numbers", named as Hubble names them.
fn icmpv6(icmp: &IcmPv6) -> String {
    let name = match (icmp.r#type, icmp.code) {
        (1, 0) => "DestinationUnreachable(NoRouteToDst)",
        (1, 1) => "DestinationUnreachable(AdminProhibited)",
        (1, 3) => "DestinationUnreachable(Address)",
        (1, 4) => "DestinationUnreachable(Port)",
        (1, _) => "DestinationUnreachable",
        (2, _) => "PacketTooBig",
        (3, 0) => "TimeExceeded(HopLimitExceeded)",
        (3, _) => "TimeExceeded",
        (4, _) => "ParameterProblem",
        (128, _) => "EchoRequest",
        (129, _) => "EchoReply",
        (133, _) => "RouterSolicitation",
        (134, _) => "RouterAdvertisement",
        (135, _) => "NeighborSolicitation",
        (136, _) => "NeighborAdvertisement",
        (137, _) => "Redirect",
        _ => return numbers(icmp.r#type, icmp.code),
    };
    name.to_owned()
}

fn numbers(kind: u32, code: u32) -> String {
    format!("{kind}({code})")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_come_in_hubbles_order() {
        let all = TcpFlags {
            fin: true,
            syn: true,
            rst: true,
            psh: true,
            ack: true,
            urg: true,
            ece: true,
            cwr: true,
            ns: true,
        };
        let mut summary = "before".to_owned();
        tcp_flags(&mut summary, &all);
        assert_eq!(summary, "TCP Flags: SYN, ACK, RST, FIN, PSH, URG, ECE, CWR, NS");
        tcp_flags(&mut summary, &TcpFlags::default());
        assert_eq!(summary, "TCP");
    }

    #[test]
    fn an_answer_names_addresses_or_the_error() {
        let dns = Dns {
            query: "example.org.".to_owned(),
            qtypes: vec!["A".to_owned()],
            ips: vec!["192.0.2.1".to_owned(), "192.0.2.2".to_owned()],
            ttl: 30,
            ..Dns::default()
        };
        assert_eq!(query(&dns), "DNS Query example.org. A");
        assert_eq!(answer(&dns), "DNS Answer \"192.0.2.1,192.0.2.2\" TTL: 30 (Query example.org. A)");
        let none = Dns { rcode: 3, ips: Vec::new(), ttl: 0, ..dns };
        assert_eq!(answer(&none), "DNS Answer RCode: Non-Existent Domain TTL: 0 (Query example.org. A)");
    }
}
