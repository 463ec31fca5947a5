//! The filter flags of `weir observe`, one line each: name, help, and what it sets in a [`FlowFilter`].
//!
//! Parser, help and completion come from [`FLAGS`]. A flag about an end of the flow is three flags: `--pod` asks for either
//! end, `--from-pod` and `--to-pod` for one. Nothing here knows of requests or servers.

use weir_proto::flow::{
    DropReason, EventTypeFilter, FlowFilter, HttpHeader, IpVersion, NetworkInterface, TcpFlags,
    TrafficDirection, Verdict, Workload,
};

use super::names;

/// An end of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Where it comes from.
    Source,
    /// Where it goes.
    Destination,
}

/// Sets a field of a filter, or says what is wrong with the value.
type Set = fn(&mut FlowFilter, &str) -> Result<(), String>;
/// The same for the field of one end.
type SetEnd = fn(&mut FlowFilter, End, &str) -> Result<(), String>;

/// What a flag is about.
#[derive(Clone, Copy, Debug)]
pub enum Subject {
    /// The whole flow; the flag takes a value.
    Flow(Set),
    /// The whole flow; the flag stands for a value.
    Switch(Set, &'static str),
    /// One end or either.
    Ends {
        /// Flag for the source.
        from: &'static str,
        /// Flag for the destination.
        to: &'static str,
        /// What it sets.
        set: SetEnd,
    },
    /// The namespace of one end or either: it is folded into the pod and Service names.
    Namespace {
        /// Flag for the source.
        from: &'static str,
        /// Flag for the destination.
        to: &'static str,
        /// Stands for any namespace, and takes no value.
        any: bool,
    },
}

/// A filter flag.
#[derive(Clone, Copy, Debug)]
pub struct Flag {
    /// Long name without dashes.
    pub name: &'static str,
    /// Short name, if any.
    pub short: Option<char>,
    /// Name of the value in the help.
    pub value: &'static str,
    /// Help.
    pub help: &'static str,
    /// What it is about.
    pub subject: Subject,
}

macro_rules! ends {
    ($name:literal, $value:literal, $help:literal, $set:expr) => {
        Flag {
            name: $name,
            short: None,
            value: $value,
            help: $help,
            subject: Subject::Ends { from: concat!("from-", $name), to: concat!("to-", $name), set: $set },
        }
    };
}

const fn flow(name: &'static str, value: &'static str, help: &'static str, set: Set) -> Flag {
    Flag { name, short: None, value, help, subject: Subject::Flow(set) }
}

const fn switch(name: &'static str, stands_for: &'static str, help: &'static str, set: Set) -> Flag {
    Flag { name, short: None, value: "", help, subject: Subject::Switch(set, stands_for) }
}

const fn namespace(
    (name, from, to): (&'static str, &'static str, &'static str),
    any: bool,
    help: &'static str,
) -> Flag {
    Flag { name, short: None, value: "NAMESPACE", help, subject: Subject::Namespace { from, to, any } }
}

impl Flag {
    const fn short(mut self, letter: char) -> Self {
        self.short = Some(letter);
        self
    }
}

/// Every filter flag.
pub const FLAGS: &[Flag] = &[
    ends!(
        "pod",
        "[NAMESPACE/]POD",
        "pods whose name begins so; `ns/` is a whole namespace",
        |filter, end, value| { push(end, [&mut filter.source_pod, &mut filter.destination_pod], value) }
    ),
    namespace(("namespace", "from-namespace", "to-namespace"), false, "pods and Services of a namespace")
        .short('n'),
    namespace(
        ("all-namespaces", "from-all-namespaces", "to-all-namespaces"),
        true,
        "names without a namespace mean any namespace",
    )
    .short('A'),
    ends!("service", "[NAMESPACE/]SERVICE", "Services whose name begins so", |filter, end, value| {
        push(end, [&mut filter.source_service, &mut filter.destination_service], value)
    }),
    ends!("label", "SELECTOR", "labels, in the syntax of kubectl's selectors", |filter, end, value| {
        push(end, [&mut filter.source_label, &mut filter.destination_label], value)
    })
    .short('l'),
    ends!("workload", "[KIND/]NAME", "pods of a workload", |filter, end, value| {
        let ends = [&mut filter.source_workload, &mut filter.destination_workload];
        push_value(end, ends, workload(value))
    }),
    ends!(
        "identity",
        "NUMBER|NAME",
        "a numeric identity, or a reserved one by name: world",
        |filter, end, value| {
            let ends = [&mut filter.source_identity, &mut filter.destination_identity];
            push_value(end, ends, identity(value)?)
        }
    ),
    ends!("ip", "ADDRESS|CIDR", "an address or a range", |filter, end, value| {
        push(end, [&mut filter.source_ip, &mut filter.destination_ip], value)
    }),
    flow("snat-ip", "ADDRESS|CIDR", "the address that replaced the source's", |filter, value| {
        filter.source_ip_xlated.push(value.to_owned());
        Ok(())
    }),
    ends!("port", "PORT", "a TCP, UDP or SCTP port", |filter, end, value| {
        value.parse::<u16>().map_err(|_| "not a port, 0 to 65535".to_owned())?;
        push(end, [&mut filter.source_port, &mut filter.destination_port], value)
    }),
    ends!(
        "fqdn",
        "PATTERN",
        "DNS names, `*` stands for any run of letters, digits, dots, dashes",
        |filter, end, value| { push(end, [&mut filter.source_fqdn, &mut filter.destination_fqdn], value) }
    ),
    ends!("cluster", "NAME", "the name of the cluster", |filter, end, value| {
        push(end, [&mut filter.source_cluster_name, &mut filter.destination_cluster_name], value)
    }),
    flow(
        "protocol",
        "NAME",
        "tcp, udp, sctp, icmp, icmpv4, icmpv6, vrrp, igmp; dns, http, kafka",
        |filter, value| {
            filter.protocol.push(value.to_owned());
            Ok(())
        },
    ),
    flow(
        "verdict",
        "VERDICT",
        "FORWARDED, DROPPED, TRACED, AUDIT, REDIRECTED, ERROR, TRANSLATED",
        |filter, value| {
            let verdict = Verdict::from_str_name(value).ok_or_else(|| one_of(verdicts()))?;
            filter.verdict.push(verdict.into());
            Ok(())
        },
    ),
    flow("drop-reason-desc", "REASON", "why it was dropped: POLICY_DENIED", |filter, value| {
        let reason = DropReason::from_str_name(value).ok_or("not a drop reason, as POLICY_DENIED")?;
        filter.drop_reason_desc.push(reason.into());
        Ok(())
    }),
    flow(
        "type",
        "TYPE[:SUBTYPE]",
        "trace, drop, l7, policy-verdict, trace-sock, capture",
        |filter, value| {
            filter.event_type.push(event_type(value)?);
            Ok(())
        },
    )
    .short('t'),
    flow("traffic-direction", "DIRECTION", "ingress or egress", |filter, value| {
        let direction = match value.to_ascii_lowercase().as_str() {
            "ingress" => TrafficDirection::Ingress,
            "egress" => TrafficDirection::Egress,
            _ => return Err("neither ingress nor egress".to_owned()),
        };
        filter.traffic_direction.push(direction.into());
        Ok(())
    }),
    flow(
        "reply",
        "true|false",
        "only what goes back to the client, or only what does not",
        |filter, value| {
            filter.reply.push(value.parse().map_err(|_| "neither true nor false".to_owned())?);
            Ok(())
        },
    ),
    flow("ip-version", "4|6", "the version of IP", ip_version),
    switch("ipv4", "4", "only IPv4", ip_version).short('4'),
    switch("ipv6", "6", "only IPv6", ip_version).short('6'),
    flow("tcp-flags", "FLAGS", "TCP segments with all of these flags: SYN,ACK", |filter, value| {
        filter.tcp_flags.push(tcp_flags(value)?);
        Ok(())
    }),
    flow("node-name", "[CLUSTER/]PATTERN", "flows that these nodes saw", |filter, value| {
        filter.node_name.push(value.to_owned());
        Ok(())
    }),
    flow("node-label", "SELECTOR", "flows that nodes with these labels saw", |filter, value| {
        filter.node_labels.push(value.to_owned());
        Ok(())
    }),
    flow("interface", "NAME", "a network device", |filter, value| {
        filter.interface.push(NetworkInterface { index: 0, name: value.to_owned() });
        Ok(())
    }),
    flow("dns-query", "REGEX", "the name asked for", |filter, value| {
        filter.dns_query.push(value.to_owned());
        Ok(())
    }),
    flow("http-status", "CODE", "404, or a class of them: 5+", |filter, value| {
        filter.http_status_code.push(value.to_owned());
        Ok(())
    }),
    flow("http-method", "METHOD", "GET, POST, ...", |filter, value| {
        filter.http_method.push(value.to_owned());
        Ok(())
    }),
    flow("http-path", "REGEX", "the path of the URL", |filter, value| {
        filter.http_path.push(value.to_owned());
        Ok(())
    }),
    flow("http-url", "REGEX", "the whole URL", |filter, value| {
        filter.http_url.push(value.to_owned());
        Ok(())
    }),
    flow("http-header", "NAME:VALUE", "a header", |filter, value| {
        let (key, value) = value.split_once(':').ok_or("not of the form NAME:VALUE")?;
        filter.http_header.push(HttpHeader { key: key.to_owned(), value: value.to_owned() });
        Ok(())
    }),
    flow("trace-id", "ID", "a W3C trace id", |filter, value| {
        filter.trace_id.push(value.to_owned());
        Ok(())
    }),
    flow("ip-trace-id", "NUMBER", "an id carried in an IP option", |filter, value| {
        filter.ip_trace_id.push(value.parse().map_err(|_| "not a number".to_owned())?);
        Ok(())
    }),
    flow("uuid", "UUID", "one flow", |filter, value| {
        filter.uuid.push(value.to_owned());
        Ok(())
    }),
    flow(
        "cel-expression",
        "EXPRESSION",
        "a CEL expression over `_flow`, where the server knows CEL",
        |filter, value| {
            let experimental = filter.experimental.get_or_insert_default();
            experimental.cel_expression.push(value.to_owned());
            Ok(())
        },
    ),
    switch("encrypted", "true", "only what was encrypted on the way", encrypted),
    switch("unencrypted", "false", "only what was not", encrypted),
];

fn push(end: End, fields: [&mut Vec<String>; 2], value: &str) -> Result<(), String> {
    push_value(end, fields, value.to_owned())
}

fn push_value<T>(end: End, [source, destination]: [&mut Vec<T>; 2], value: T) -> Result<(), String> {
    match end {
        End::Source => source.push(value),
        End::Destination => destination.push(value),
    }
    Ok(())
}

fn one_of(names: impl Iterator<Item = &'static str>) -> String {
    format!("not one of {}", names.collect::<Vec<_>>().join(", "))
}

fn verdicts() -> impl Iterator<Item = &'static str> {
    (0..).map_while(|number| Verdict::try_from(number).ok()).map(|verdict| verdict.as_str_name())
}

fn ip_version(filter: &mut FlowFilter, value: &str) -> Result<(), String> {
    let version = match value {
        "4" | "v4" => IpVersion::IPv4,
        "6" | "v6" => IpVersion::IPv6,
        _ => return Err("neither 4 nor 6".to_owned()),
    };
    filter.ip_version.push(version.into());
    Ok(())
}

fn encrypted(filter: &mut FlowFilter, value: &str) -> Result<(), String> {
    filter.encrypted.push(value == "true");
    Ok(())
}

fn workload(value: &str) -> Workload {
    let (kind, name) = value.split_once('/').unwrap_or(("", value));
    Workload { name: name.to_owned(), kind: kind.to_owned() }
}

fn identity(value: &str) -> Result<u32, String> {
    names::reserved_identity(value)
        .or_else(|| value.parse().ok())
        .ok_or_else(|| "neither a number nor the name of a reserved identity, as world".to_owned())
}

fn event_type(value: &str) -> Result<EventTypeFilter, String> {
    let (kind, sub) = match value.split_once(':') {
        Some((kind, sub)) => (kind, Some(sub)),
        None => (value, None),
    };
    let number = names::event_type(kind)
        .or_else(|| kind.parse().ok())
        .ok_or_else(|| one_of(names::EVENT_TYPES.iter().map(|(name, _)| *name)))?;
    let sub_type = sub.map(|sub| sub_type(number, sub)).transpose()?;
    Ok(EventTypeFilter {
        r#type: number,
        match_sub_type: sub_type.is_some(),
        sub_type: sub_type.unwrap_or_default(),
    })
}

fn sub_type(event: i32, value: &str) -> Result<i32, String> {
    let named = if event == names::TRACE { names::trace_point(value) } else { None };
    let reason = || DropReason::from_str_name(value).map(i32::from).filter(|_| event == names::DROP);
    named
        .or_else(reason)
        .or_else(|| value.parse().ok())
        .ok_or_else(|| format!("{value} is neither a number nor a known subtype, as trace:to-endpoint"))
}

fn tcp_flags(value: &str) -> Result<TcpFlags, String> {
    let mut flags = TcpFlags::default();
    for name in value.split(',') {
        let flag = match name.trim().to_ascii_uppercase().as_str() {
            "SYN" => &mut flags.syn,
            "ACK" => &mut flags.ack,
            "RST" => &mut flags.rst,
            "FIN" => &mut flags.fin,
            "PSH" => &mut flags.psh,
            "URG" => &mut flags.urg,
            "ECE" => &mut flags.ece,
            "CWR" => &mut flags.cwr,
            "NS" => &mut flags.ns,
            _ => return Err(format!("{name} is no TCP flag: SYN, ACK, RST, FIN, PSH, URG, ECE, CWR, NS")),
        };
        *flag = true;
    }
    Ok(flags)
}
