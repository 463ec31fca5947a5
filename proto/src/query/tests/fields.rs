//! For every field of the table: a term that a flow passes and one that it does not.

use super::*;

/// DNS stands where HTTP does; nodes and the outside where pods do; no answer where there is one.
const DNS: &str = r#"{"is_reply":true,"source":{"identity":1,"labels":["reserved:host"]},
    "destination":{"labels":["reserved:world"]},
    "l7":{"type":"RESPONSE","latency_ns":"5000000","dns":{"query":"API.example.com.","rcode":3,"qtypes":["AAAA"],
        "ips":["192.0.2.7"]}},
    "weir":{"state":"CONNECTION_STATE_UNANSWERED","dns_latency_ns":"7000000",
        "evidence":[{"observation":"OBSERVATION_ICMP_UNREACHABLE"}]}}"#;

/// Field, a term that passes, a term that does not.
const TERMS: &[(&str, &str, &str)] = &[
    ("pod", "src.pod=we", "dst.pod=other/api"),
    ("ns", "dst.ns=shop", "ns=sho"),
    ("svc", "dst.svc=shop/api", "src.svc=api"),
    ("workload", "workload=StatefulSet/api", "src.workload=api"),
    ("label", "src.label=app=web", "dst.label=app=web"),
    ("ip", "dst.ip=10.96.0.9", "src.ip=10.96.0.9"),
    ("port", "dst.port=80", "port=22"),
    ("name", "dst.name=*.example.com", "src.name=api.*"),
    ("identity", "src.identity=300", "identity=world"),
    ("node", "dst.node=node-2", "src.node=node-2"),
    ("cluster", "dst.cluster=far", "cluster=near"),
    ("host", "src.host", "dst.host"),
    ("world", "dst.world", "src.world"),
    ("any", "any=PI-7", "any=nobody"),
    ("verdict", "verdict=denied", "verdict=ok"),
    ("drop.reason", "drop.reason=policy-denied", "drop.reason=invalid-identity"),
    ("unanswered", "unanswered", "unanswered=no"),
    ("rejected", "rejected", "rejected=no"),
    ("evidence", "evidence=logged", "evidence=answered"),
    ("rule", "rule=SHOP/api", "rule=allow"),
    ("policy", "policy=shop/deny", "policy=other/deny"),
    (
        "policy.ruling",
        "policy.ruling=denied policy.ruling=undecidable",
        "policy.ruling in open,allowed,always",
    ),
    ("disagreement", "disagreement", "not disagreement"),
    ("proto", "proto=tcp", "proto=udp"),
    ("type", "type=l7", "type=drop"),
    ("point", "point=to-overlay", "point=to-endpoint"),
    ("dir", "dir=egress", "dir=in"),
    ("reply", "reply", "not reply"),
    ("ipversion", "ipversion=4", "ipversion=ipv6"),
    ("encrypted", "encrypted", "encrypted=false"),
    ("observer", "observer=node-*", "observer=node"),
    ("state", "state=reset", "state=closed"),
    ("reason", "reason=end", "reason=periodic"),
    ("vip", "vip=10.96.0.0/12", "vip=10.2.0.7"),
    ("snat", "snat=192.0.2.10", "snat=10.1.0.5"),
    ("nat", "nat=conntrack", "nat=join"),
    ("tunnel", "tunnel=VXLAN", "tunnel=geneve"),
    ("vni", "vni=1", "vni=2"),
    ("device", "device=flannel.1", "device=flannel"),
    ("role", "role=overlay", "role=underlay"),
    ("rtt", "rtt=70ms", "rtt<70ms"),
    ("rtt.server", "rtt.server=4ms", "rtt.server>4ms"),
    ("rtt.client", "rtt.client=300us", "rtt.client<300us"),
    ("rtt.max", "rtt.max=9ms", "rtt.max<9ms"),
    ("retrans", "retrans=3", "retrans>3"),
    ("outoforder", "outoforder=2", "outoforder>2"),
    ("dupacks", "dupacks=5", "dupacks<5"),
    ("zerowindows", "zerowindows=3", "zerowindows>3"),
    ("zerowindow.time", "zerowindow.time=502ms", "zerowindow.time<0.5s"),
    ("resets", "resets", "resets>1"),
    ("syns", "syns>1", "syns=1"),
    ("halfopen", "halfopen", "not halfopen"),
    ("closed.by", "closed.by=server", "closed.by=client"),
    ("closed.why", "closed.why=reset", "closed.why=fin"),
    ("unmeasured", "unmeasured=handshake-client", "unmeasured=syns"),
    ("tcp.flags", "tcp.flags=syn tcp.flags=ack", "tcp.flags=rst"),
    ("bytes", "bytes=2k", "bytes>2k"),
    ("sent", "sent=1200", "sent<1k"),
    ("received", "received=800", "received>1k"),
    ("packets", "packets=10", "packets>10"),
    ("duration", "duration=1.5m", "duration<90s"),
    ("incomplete", "incomplete=midstream", "incomplete=evicted"),
    ("correction", "correction", "not correction"),
    ("counts", "counts", "not counts"),
    ("dns.query", "dns.query=*.example.com", "dns.query=example.com"),
    ("dns.rcode", "dns.rcode=NXDOMAIN", "dns.rcode=noerror"),
    ("dns.type", "dns.type=aaaa", "dns.type=A"),
    ("dns.answer", "dns.answer=192.0.2.0/24", "dns.answer=10.0.0.0/8"),
    ("dns.latency", "dns.latency=7ms", "dns.latency<7ms"),
    ("http.status", "http.status>=500", "http.status=200"),
    ("http.method", "http.method=get", "http.method=POST"),
    ("http.path", "http.path=/api/v1", "http.path=/api"),
    ("http.url", "http.url~q=1$", "http.url~q=2"),
    ("http.header", "http.header=Accept:text/html", "http.header=accept:text/html"),
    ("http.latency", "http.latency>2ms", "http.latency>3ms"),
    ("http", "http", "http=no"),
    ("uuid", "uuid=u-1", "uuid=u"),
    ("conn", "conn=5", "conn=6"),
    ("join", "join=0x6", "join=5"),
    ("community", "community=1:abc=", "community=1:abd="),
    ("trace.id", "trace.id=t-1", "trace.id=t-2"),
];

#[test]
fn every_field_changes_what_passes() {
    let flows = [flow(RICH), flow(DNS)];
    for field in FIELDS {
        let (_, fits, differs) = TERMS
            .iter()
            .find(|(name, ..)| *name == field.name)
            .unwrap_or_else(|| panic!("{} is not tested", field.name));
        let told = flows.iter().find(|flow| passes(fits, flow));
        let told = told.unwrap_or_else(|| panic!("no flow passes {fits}"));
        assert!(!passes(differs, told), "{differs}");
        assert!(!passes(fits, &Flow::default()), "{fits} of a flow without anything");
    }
    assert_eq!(TERMS.len(), FIELDS.len());
}

#[test]
fn a_policy_is_found_by_the_rule_that_the_kernels_log_named() {
    let rule = |kind: &str| {
        let rule = format!(r#"{{"writer":"calico","kind":"{kind}","namespace":"shop","name":"deny-all"}}"#);
        flow(&format!(r#"{{"weir":{{"logged_rules":[{rule}]}}}}"#))
    };
    assert!(passes("policy=shop/deny", &rule("NetworkPolicy")) && passes("policy=shop/deny", &rule("")));
    assert!(!passes("policy=other/deny", &rule("NetworkPolicy")));
    assert!(!passes("policy=shop/deny", &rule("Tier")) && !passes("policy=shop/deny", &rule("Profile")));
    assert!(!passes("policy=shop/", &flow(r#"{"weir":{"logged_rules":[{"writer":"kube-router"}]}}"#)));
}

#[test]
fn a_policy_is_found_where_it_decides() {
    let rich = flow(RICH);
    assert!(passes("policy=shop/lacking", &rich), "it selects the pod, and nobody lets it pass");
    assert!(!passes("policy=unknowable", &rich) && !passes("policy=beside", &rich), "nobody can say");
    let allowed = flow(
        r#"{"weir":{"policies":[{"ruling":"POLICY_RULING_ALLOWED","opinions":[
            {"namespace":"shop","name":"lets","outcome":"POLICY_OUTCOME_ALLOWS"},
            {"namespace":"shop","name":"lacking","outcome":"POLICY_OUTCOME_MISSES"}]}]}}"#,
    );
    assert!(passes("policy=shop/lets policy.ruling=allowed not disagreement", &allowed));
    assert!(!passes("policy=lacking", &allowed), "policies add up: it forbids nothing");
}

#[test]
fn what_was_not_measured_is_no_number() {
    let tcp = |absent: &str| flow(&format!(r#"{{"weir":{{"tcp":{{"absent":[{absent}]}}}}}}"#));
    let (seen, syns, half, none) = (
        tcp(""),
        tcp(r#""TCP_MEASURE_SYNS""#),
        tcp(r#""TCP_MEASURE_REVERSE""#),
        tcp(r#""TCP_MEASURE_FORWARD","TCP_MEASURE_REVERSE""#),
    );
    for name in ["retrans", "outoforder", "dupacks", "zerowindows", "resets"] {
        let zero = format!("{name}=0");
        assert!(passes(&zero, &seen) && passes(&zero, &half), "{zero}: one side was seen");
        assert!(!passes(&zero, &none), "{zero}: nothing was seen");
        assert!(!passes(name, &seen), "{name}: none of it");
    }
    assert!(passes("zerowindow.time<1ms", &seen) && !passes("zerowindow.time<1ms", &none));
    assert!(passes("syns=0", &seen) && !passes("syns=0", &syns));
    assert!(!passes("rtt.max<1h", &seen) && !passes("rtt.server<1h", &seen));
}

#[test]
fn examples_are_of_their_fields_and_names_are_of_one() {
    let mut names: Vec<&str> =
        FIELDS.iter().flat_map(|field| field.aliases.iter().chain([&field.name])).copied().collect();
    for field in FIELDS {
        let example = query(field.example);
        let first = match example.expr() {
            Expr::Term(term) => term.field,
            Expr::Not(inner) => match inner.as_ref() {
                Expr::Term(term) => term.field,
                other => panic!("{other}"),
            },
            other => panic!("{other}"),
        };
        assert_eq!(first, field, "{}", field.example);
    }
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count, "a name is of one field");
    assert!(names.iter().all(|name| parse::is_only_text(&format!("{name}x"))));
}
