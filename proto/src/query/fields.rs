//! The one table of all fields: name, other names, kind, help, example, how it is read from a flow, and the filter that
//! says the same where there is one. Parser, completion, help and evaluation come from it; a field is added here.
//!
//! Field and example must be proven by a line in the tests: there each field changes what passes.

use super::field::{Field, Kind};
use super::{read, wire, words};

/// The field of bare words.
pub(super) const ANY: &str = "any";

/// Every field, in the order of the help.
pub static FIELDS: &[Field] = &[
    Field::ends(
        "pod",
        Kind::Prefix,
        "pod, begins so; namespace/pod for one namespace",
        "src.pod=shop/web",
        read::pod,
    )
    .wire(wire::pod),
    Field::ends("ns", Kind::Text, "namespace of the pod or the Service", "ns=shop", read::namespace)
        .or(&["namespace"])
        .wire(wire::namespace),
    Field::ends("svc", Kind::Prefix, "Service, begins so; also one inferred", "dst.svc=api", read::service)
        .or(&["service"])
        .wire(wire::service),
    Field::ends(
        "workload",
        Kind::Workload,
        "owner of the pod, exact; kind/name",
        "dst.workload=Deployment/api",
        read::workload,
    )
    .or(&["deploy", "owner"])
    .wire(wire::workload),
    Field::ends("label", Kind::Labels, "label selector as kubectl's", "src.label=app=web", read::labels)
        .or(&["labels"])
        .wire(wire::labels),
    Field::ends(
        "ip",
        Kind::Address,
        "address or range, before or after NAT",
        "dst.ip=10.96.0.0/12",
        read::ip,
    )
    .or(&["address", "addr"])
    .wire(wire::ip),
    Field::ends(
        "port",
        Kind::Port,
        "TCP, UDP or SCTP port, before or after NAT",
        "port in 80,443,8000-8080",
        read::port,
    )
    .wire(wire::port),
    Field::ends(
        "name",
        Kind::Glob,
        "DNS name of an address outside, * for any run",
        "dst.name=*.example.com",
        read::name,
    )
    .or(&["fqdn"])
    .wire(wire::name),
    Field::ends(
        "identity",
        Kind::Words(words::IDENTITY),
        "security identity, number or reserved word",
        "dst.identity=world",
        read::identity,
    )
    .or(&["id"])
    .wire(wire::identity),
    Field::ends("node", Kind::Text, "node that the end lives on", "dst.node=worker-2", read::node),
    Field::ends("cluster", Kind::Text, "cluster of the end", "src.cluster=lab", read::cluster)
        .wire(wire::cluster),
    Field::ends("host", Kind::Flag, "the end is a node itself", "not host", read::host),
    Field::ends("world", Kind::Flag, "the end is outside the cluster", "dst.world", read::world),
    Field::flow(
        ANY,
        Kind::Contains,
        "any name or address, contains it; what a bare word looks for",
        "checkout",
        read::any,
    ),
    Field::flow(
        "verdict",
        Kind::Words(words::VERDICT),
        "what became of it; ok is forwarded, denied is dropped by policy",
        "verdict!=ok",
        read::verdict,
    )
    .wire(wire::verdict),
    Field::flow(
        "drop.reason",
        Kind::Words(words::DROP_REASON),
        "why it was dropped, in Hubble's words",
        "drop.reason=policy-denied",
        read::drop_reason,
    )
    .wire(wire::drop_reason),
    Field::flow("unanswered", Kind::Flag, "nobody answered", "unanswered", read::unanswered),
    Field::flow(
        "rejected",
        Kind::Flag,
        "refused by ICMP, or by a reset that no pod sent",
        "rejected",
        read::rejected,
    ),
    Field::flow(
        "evidence",
        Kind::Words(words::EVIDENCE),
        "an observation that the verdict rests on",
        "evidence=icmp-unreachable",
        read::evidence,
    ),
    Field::flow("rule", Kind::Contains, "name of a logged rule, contains it", "rule=deny", read::rule),
    Field::flow(
        "policy",
        Kind::Prefix,
        "policy that allows or denies it (by weir's judgement or the log), begins so",
        "policy=shop/deny-all",
        read::policy,
    ),
    Field::flow(
        "policy.ruling",
        Kind::Words(words::RULING),
        "what the policies say of a direction, by weir's own judgement",
        "policy.ruling=denied",
        read::ruling,
    ),
    Field::flow(
        "disagreement",
        Kind::Flag,
        "policies say one thing, and the packets did another",
        "disagreement",
        read::disagreement,
    ),
    Field::flow(
        "proto",
        Kind::Words(words::PROTOCOL),
        "protocol of layer 4 or 7",
        "proto=udp",
        read::protocol,
    )
    .or(&["protocol"])
    .wire(wire::protocol),
    Field::flow("type", Kind::Words(words::EVENT), "kind of record", "type=l7", read::event_type)
        .wire(wire::event_type),
    Field::flow(
        "point",
        Kind::Words(words::POINT),
        "where on the node it was seen",
        "point=to-overlay",
        read::point,
    ),
    Field::flow(
        "dir",
        Kind::Words(words::DIRECTION),
        "direction as its node sees it",
        "dir=ingress",
        read::direction,
    )
    .or(&["direction"])
    .wire(wire::direction),
    Field::flow("reply", Kind::Flag, "it tells of an answer", "not reply", read::reply).wire(wire::reply),
    Field::flow(
        "ipversion",
        Kind::Words(words::IP_VERSION),
        "version of IP",
        "ipversion=6",
        read::ip_version,
    )
    .or(&["ip.version"])
    .wire(wire::ip_version),
    Field::flow("encrypted", Kind::Flag, "it was encrypted on the way", "encrypted", read::encrypted)
        .wire(wire::encrypted),
    Field::flow(
        "observer",
        Kind::Glob,
        "node that saw it, * for any run",
        "observer=worker-*",
        read::observer,
    )
    .or(&["nodename", "seen"]),
    Field::flow("state", Kind::Words(words::STATE), "how far the connection is", "state=reset", read::state)
        .wire(wire::state),
    Field::flow("reason", Kind::Words(words::RECORD), "why the record was made", "reason=end", read::reason),
    Field::flow(
        "vip",
        Kind::Address,
        "address that was called, where DNAT replaced it",
        "vip=10.96.0.10",
        read::vip,
    ),
    Field::flow("snat", Kind::Address, "address that replaced the client's", "snat=192.0.2.9", read::snat)
        .or(&["masquerade"])
        .wire(wire::snat),
    Field::flow(
        "nat",
        Kind::Words(words::NAT),
        "its addresses were translated; how that was learnt",
        "nat=conntrack",
        read::nat,
    ),
    Field::flow("tunnel", Kind::AnyCase, "encapsulation on its way", "tunnel=vxlan", read::tunnel),
    Field::flow("vni", Kind::Number, "network identifier or key of an encapsulation", "vni=1", read::vni),
    Field::flow("device", Kind::Text, "device it was seen on", "device=flannel.1", read::device).or(&[
        "if",
        "interface",
        "dev",
    ]),
    Field::flow(
        "role",
        Kind::Words(words::ROLE),
        "role of a device it was seen on",
        "role=overlay",
        read::role,
    ),
    Field::flow(
        "rtt",
        Kind::Duration,
        "time of the handshake, client to server and back",
        "rtt>50ms",
        read::rtt,
    ),
    Field::flow(
        "rtt.server",
        Kind::Duration,
        "running round trip to the server, smoothed",
        "rtt.server>20ms",
        read::rtt_server,
    ),
    Field::flow(
        "rtt.client",
        Kind::Duration,
        "running round trip to the client, smoothed",
        "rtt.client>20ms",
        read::rtt_client,
    ),
    Field::flow(
        "rtt.max",
        Kind::Duration,
        "longest running round trip, of either",
        "rtt.max>1s",
        read::rtt_greatest,
    ),
    Field::flow(
        "retrans",
        Kind::Count,
        "segments sent again, both ways",
        "retrans>=3",
        read::retransmissions,
    )
    .or(&["retransmissions"]),
    Field::flow(
        "outoforder",
        Kind::Count,
        "segments overtaken by later ones, both ways",
        "outoforder>0",
        read::out_of_order,
    )
    .or(&["ooo"]),
    Field::flow(
        "dupacks",
        Kind::Count,
        "acknowledgements said twice while something lacked, both ways",
        "dupacks>=3",
        read::duplicate_acks,
    ),
    Field::flow(
        "zerowindows",
        Kind::Count,
        "how often a receive window closed, both ways",
        "zerowindows",
        read::zero_windows,
    ),
    Field::flow(
        "zerowindow.time",
        Kind::Duration,
        "how long receive windows were closed, both ways",
        "zerowindow.time>1s",
        read::zero_window_time,
    ),
    Field::flow("resets", Kind::Count, "resets, both ways", "resets", read::resets).or(&["rsts"]),
    Field::flow("syns", Kind::Count, "SYNs the client sent", "syns>1", read::syns),
    Field::flow("halfopen", Kind::Flag, "its handshake was not finished", "halfopen", read::half_open),
    Field::flow(
        "closed.by",
        Kind::Words(words::CLOSED_BY),
        "who ended it",
        "closed.by=server",
        read::closed_by,
    ),
    Field::flow(
        "closed.why",
        Kind::Words(words::CLOSE_REASON),
        "why it ended",
        "closed.why=half-open",
        read::close_reason,
    )
    .or(&["close.reason"]),
    Field::flow(
        "unmeasured",
        Kind::Words(words::MEASURE),
        "what of TCP could not be measured",
        "unmeasured=rtt-server",
        read::unmeasured,
    ),
    Field::flow(
        "tcp.flags",
        Kind::Words(words::TCP_FLAG),
        "a TCP flag that was set",
        "tcp.flags=rst",
        read::tcp_flags,
    )
    .or(&["flags"])
    .wire(wire::tcp_flags),
    Field::flow(
        "bytes",
        Kind::Bytes,
        "IP bytes of the connection so far, both ways",
        "bytes>1M",
        read::bytes,
    ),
    Field::flow("sent", Kind::Bytes, "the same from client to server", "sent>64k", read::sent),
    Field::flow("received", Kind::Bytes, "the same from server to client", "received<100", read::received),
    Field::flow(
        "packets",
        Kind::Count,
        "packets of the connection so far, both ways",
        "packets>10k",
        read::packets,
    ),
    Field::flow(
        "duration",
        Kind::Duration,
        "time from its first packet to its last",
        "duration>=1m",
        read::duration,
    )
    .or(&["age", "lasted"]),
    Field::flow(
        "incomplete",
        Kind::Words(words::INCOMPLETE),
        "what the record lacks",
        "incomplete=midstream",
        read::incomplete,
    ),
    Field::flow("correction", Kind::Flag, "it corrects an earlier record", "correction", read::correction),
    Field::flow(
        "counts",
        Kind::Flag,
        "its counters are the ones to sum over the cluster",
        "counts",
        read::counts,
    ),
    Field::flow(
        "dns.query",
        Kind::Question,
        "name asked for, * for any run",
        "dns.query=*.svc.cluster.local",
        read::dns_query,
    )
    .or(&["dns", "dns.name"])
    .wire(wire::dns_query),
    Field::flow(
        "dns.rcode",
        Kind::Words(words::RCODE),
        "response code",
        "dns.rcode=nxdomain",
        read::dns_rcode,
    )
    .or(&["rcode"]),
    Field::flow("dns.type", Kind::AnyCase, "record type asked for", "dns.type=AAAA", read::dns_type)
        .or(&["dns.qtype"]),
    Field::flow(
        "dns.answer",
        Kind::Address,
        "address in the answer",
        "dns.answer=192.0.2.0/24",
        read::dns_answer,
    )
    .or(&["dns.ip"]),
    Field::flow(
        "dns.latency",
        Kind::Duration,
        "time from the query to the answer",
        "dns.latency>100ms",
        read::dns_latency,
    ),
    Field::flow("http.status", Kind::Count, "status code", "http.status>=500", read::http_status)
        .or(&["http.code"])
        .wire(wire::http_status),
    Field::flow("http.method", Kind::AnyCase, "method", "http.method=POST", read::http_method)
        .wire(wire::http_method),
    Field::flow("http.path", Kind::Text, "path, decoded", "http.path~^/api/", read::http_path)
        .wire(wire::http_path),
    Field::flow("http.url", Kind::Text, "URL or target as it was sent", "http.url~debug=1", read::http_url)
        .wire(wire::http_url),
    Field::flow(
        "http.header",
        Kind::Text,
        "a header, as Key:value",
        "http.header=Accept:text/html",
        read::http_header,
    )
    .wire(wire::http_header),
    Field::flow(
        "http.latency",
        Kind::Duration,
        "time from request to response",
        "http.latency>1s",
        read::http_latency,
    ),
    Field::flow("http", Kind::Flag, "it is a message of HTTP", "http", read::http),
    Field::flow(
        "uuid",
        Kind::Text,
        "the flow's own id",
        "uuid=0195d1c2-6e1a-8000-8000-000000000001",
        read::uuid,
    )
    .wire(wire::uuid),
    Field::flow("conn", Kind::Number, "number of the connection on its node", "conn=17", read::connection)
        .or(&["connection", "conn.id"])
        .wire(wire::connection),
    Field::flow("join", Kind::Number, "key that is the same on every node", "join=0x2a", read::join)
        .or(&["join.key"])
        .wire(wire::join),
    Field::flow(
        "community",
        Kind::Text,
        "Community ID",
        "community=\"1:wCb3OG7yAFWelaUydu0D+125CLM=\"",
        read::community,
    ),
    Field::flow(
        "trace.id",
        Kind::Text,
        "distributed trace of its request",
        "trace.id=4bf92f3577b34da6a3ce929d0e0e4736",
        read::trace,
    )
    .or(&["trace"])
    .wire(wire::trace),
];
