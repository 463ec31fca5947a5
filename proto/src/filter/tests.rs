//! No field of a filter is ignored, and each means what Hubble's does; what is wrong is named with its place.

use proptest::prelude::*;
use prost_reflect::{DescriptorPool, DeserializeOptions, DynamicMessage, MessageDescriptor};

use super::*;
use crate::DESCRIPTORS;
use crate::matching::Glob;

fn descriptor(name: &str) -> MessageDescriptor {
    let pool = DescriptorPool::decode(DESCRIPTORS).unwrap();
    pool.get_message_by_name(name).unwrap()
}

fn message<M: prost::Message + Default>(name: &str, json: &str) -> M {
    let mut json_reader = serde_json::Deserializer::from_str(json);
    let dynamic = DynamicMessage::deserialize_with_options(
        descriptor(name),
        &mut json_reader,
        &DeserializeOptions::new().deny_unknown_fields(true),
    );
    dynamic.unwrap_or_else(|error| panic!("{json}: {error}")).transcode_to().unwrap()
}

fn wire(json: &str) -> FlowFilter {
    message("flow.FlowFilter", json)
}

fn flow(json: &str) -> Flow {
    message("flow.Flow", json)
}

fn filter(json: &str) -> Filter {
    Filter::compile(&[wire(json)], &[]).unwrap_or_else(|error| panic!("{json}: {error}"))
}

fn refusal(json: &str) -> String {
    Filter::compile(&[wire(json)], &[]).unwrap_err().to_string()
}

/// A flow that carries something for every field of a filter.
const RICH: &str = r#"{"uuid":"u-1","verdict":"DROPPED","drop_reason_desc":"POLICY_DENIED","node_name":"lab/node-1",
    "node_labels":["zone=a"],"ip_trace_id":{"trace_id":"9"},"traffic_direction":"EGRESS","is_reply":false,
    "IP":{"source":"10.1.0.5","source_xlated":"192.0.2.9","destination":"10.2.0.7","ipVersion":"IPv4","encrypted":true},
    "l4":{"TCP":{"source_port":40000,"destination_port":8080,"flags":{"SYN":true,"ACK":true}}},
    "source":{"identity":300,"namespace":"shop","pod_name":"web-1","cluster_name":"lab","labels":["k8s:app=web"],
        "workloads":[{"name":"web","kind":"Deployment"}]},
    "destination":{"identity":301,"namespace":"shop","pod_name":"api-1","cluster_name":"far","labels":["k8s:app=api"],
        "workloads":[{"name":"api","kind":"StatefulSet"}]},
    "source_names":["web.example.com"],"destination_names":["api.example.com"],
    "source_service":{"name":"web","namespace":"shop"},"destination_service":{"name":"api","namespace":"shop"},
    "event_type":{"type":129,"sub_type":3},"interface":{"index":7,"name":"eth0"},
    "trace_context":{"parent":{"trace_id":"t-1"}},
    "l7":{"http":{"code":503,"method":"GET","url":"/api/v1?q=1","headers":[{"key":"Accept","value":"text/html"}]}},
    "weir":{"connection_id":"5","join_key":"6","state":"CONNECTION_STATE_RESET"}}"#;

/// For every field of `flow.FlowFilter` and `weir.v1.FlowFilter`: a value that [`RICH`] has, and one that it has not.
const FIELDS: &[(&str, &str, &str)] = &[
    ("source_ip", r#""10.1.0.0/16""#, r#""10.2.0.7""#),
    ("source_pod", r#""shop/web""#, r#""shop/api""#),
    ("destination_ip", r#""10.2.0.7""#, r#""10.1.0.0/16""#),
    ("destination_pod", r#""/api""#, r#""api""#),
    ("verdict", r#""DROPPED""#, r#""FORWARDED""#),
    ("event_type", r#"{"type":129,"match_sub_type":true,"sub_type":3}"#, r#"{"type":4}"#),
    ("source_fqdn", r#""*.example.com""#, r#""api.example.com""#),
    ("destination_fqdn", r#""API.example.com.""#, r#""web.example.com""#),
    ("http_status_code", r#""50+""#, r#""404""#),
    ("source_label", r#""app=web""#, r#""app=api""#),
    ("destination_label", r#""app in (api)""#, r#""app!=api""#),
    ("protocol", r#""Tcp""#, r#""udp""#),
    ("source_port", r#""40000""#, r#""8080""#),
    ("destination_port", r#""8080""#, r#""40000""#),
    ("reply", "false", "true"),
    ("source_service", r#""shop/web""#, r#""shop/api""#),
    ("destination_service", r#""shop/""#, r#""other/""#),
    ("dns_query", "", r#""example""#),
    ("source_identity", "300", "301"),
    ("destination_identity", "301", "300"),
    ("http_method", r#""get""#, r#""POST""#),
    ("http_path", r#""v1$""#, r#""q=1""#),
    ("tcp_flags", r#"{"SYN":true}"#, r#"{"SYN":true,"FIN":true}"#),
    ("node_name", r#""node-*""#, r#""default/node-1""#),
    ("ip_version", r#""IPv4""#, r#""IPv6""#),
    ("source_workload", r#"{"name":"web"}"#, r#"{"name":"web","kind":"Job"}"#),
    ("destination_workload", r#"{"kind":"StatefulSet"}"#, r#"{"name":"web"}"#),
    ("trace_id", r#""t-1""#, r#""t-2""#),
    ("uuid", r#""u-1""#, r#""u-2""#),
    ("traffic_direction", r#""EGRESS""#, r#""INGRESS""#),
    ("http_url", r#""q=1""#, r#""q=2""#),
    ("http_header", r#"{"key":"Accept","value":"text/html"}"#, r#"{"key":"accept","value":"text/html"}"#),
    ("drop_reason_desc", r#""POLICY_DENIED""#, r#""POLICY_DENY""#),
    ("source_ip_xlated", r#""192.0.2.9""#, r#""10.1.0.5""#),
    ("interface", r#"{"name":"eth0"}"#, r#"{"index":7,"name":"eth1"}"#),
    ("node_labels", r#""zone""#, r#""zone!=a""#),
    ("source_cluster_name", r#""lab""#, r#""la*""#),
    ("destination_cluster_name", r#""far""#, r#""lab""#),
    ("ip_trace_id", r#""9""#, r#""10""#),
    ("encrypted", "true", "false"),
    ("weir.connection_id", r#""5""#, r#""6""#),
    ("weir.join_key", r#""6""#, r#""5""#),
    ("weir.state", r#""CONNECTION_STATE_RESET""#, r#""CONNECTION_STATE_CLOSED""#),
    ("weir.query", r#""state=reset src.port>80""#, r#""state=reset dst.port<80""#),
];

/// A filter with one field set to one value.
fn single(field: &str, value: &str) -> String {
    match field.split_once('.') {
        Some((outer, inner)) => format!(r#"{{"{outer}":{{"{inner}":[{value}]}}}}"#),
        None => format!(r#"{{"{field}":[{value}]}}"#),
    }
}

/// The paths of all fields that can be set in a `flow.FlowFilter`.
fn all_fields() -> Vec<String> {
    let names = |prefix: &str, message: &str| {
        let fields: Vec<String> =
            descriptor(message).fields().map(|field| format!("{prefix}{}", field.name())).collect();
        fields
    };
    let mut fields = names("", "flow.FlowFilter");
    fields.retain(|field| field != "experimental" && field != "weir");
    fields.extend(names("experimental.", "flow.FlowFilter.Experimental"));
    fields.extend(names("weir.", "weir.v1.FlowFilter"));
    fields
}

#[test]
fn no_field_is_silently_ignored() {
    let rich = flow(RICH);
    assert!(filter("{}").matches(&rich));
    for field in all_fields() {
        if field == "experimental.cel_expression" {
            let error = refusal(r#"{"experimental":{"cel_expression":["true"]}}"#);
            assert!(error.starts_with("whitelist[0].experimental.cel_expression[0]: CEL"), "{error}");
            continue;
        }
        let (_, fits, differs) = FIELDS
            .iter()
            .find(|(name, ..)| *name == field)
            .unwrap_or_else(|| panic!("{field} is not tested"));
        assert!(fits.is_empty() || filter(&single(&field, fits)).matches(&rich), "{field}: {fits}");
        assert!(!filter(&single(&field, differs)).matches(&rich), "{field}: {differs}");
        assert!(!filter(&single(&field, differs)).is_everything(), "{field}");
    }
}

#[test]
fn lists_fields_and_values_follow_the_algebra() {
    let rich = flow(RICH);
    let compiled = |white: &[&str], black: &[&str]| {
        let list = |texts: &[&str]| texts.iter().map(|text| wire(text)).collect::<Vec<_>>();
        Filter::compile(&list(white), &list(black)).unwrap()
    };
    let (yes, no) = (r#"{"uuid":["u-1"]}"#, r#"{"uuid":["u-2"]}"#);
    assert!(compiled(&[], &[]).matches(&rich));
    assert!(compiled(&[no, yes], &[no]).matches(&rich));
    assert!(!compiled(&[no], &[]).matches(&rich));
    assert!(!compiled(&[yes], &[no, yes]).matches(&rich));
    assert!(!compiled(&[], &["{}"]).matches(&rich));
    assert!(compiled(&[r#"{"uuid":["u-2","u-1"],"verdict":["DROPPED"]}"#], &[]).matches(&rich));
    assert!(!compiled(&[r#"{"uuid":["u-1"],"verdict":["FORWARDED"]}"#], &[]).matches(&rich));
    assert!(compiled(&[], &[]).is_everything() && compiled(&[no, "{}"], &[]).is_everything());
    assert!(!compiled(&["{}"], &[no]).is_everything() && !compiled(&[yes], &[]).is_everything());
}

#[test]
fn refusals_name_place_and_reason() {
    for (json, message) in [
        (
            r#"{"source_ip":["10.0.0.1","::/0","999.1.1.1"]}"#,
            r#"source_ip[2]: "999.1.1.1" is neither an IP address"#,
        ),
        (r#"{"destination_ip":["10.0.0.0/33"]}"#, "destination_ip[0]: "),
        (r#"{"source_ip_xlated":[""]}"#, "source_ip_xlated[0]: "),
        (r#"{"source_pod":[""]}"#, "source_pod[0]: is empty"),
        (r#"{"destination_service":[""]}"#, "destination_service[0]: is empty"),
        (r#"{"source_port":["65536"]}"#, "source_port[0]: \"65536\" is not a port number"),
        (r#"{"source_port":["+80"]}"#, "source_port[0]: "),
        (r#"{"protocol":["quic"]}"#, "protocol[0]: \"quic\" is not a protocol: one of icmp, icmpv4"),
        (r#"{"http_status_code":["600"]}"#, "http_status_code[0]: "),
        (r#"{"http_status_code":["404+"]}"#, "http_status_code[0]: "),
        (r#"{"http_method":["GET"],"event_type":[{"type":4}]}"#, "http_method[0]: never matches beside"),
        (r#"{"http_path":["("]}"#, "http_path[0]: \"(\" is not a usable regular expression"),
        (
            r#"{"source_label":["a=b=c"]}"#,
            r#"source_label[0]: "a=b=c" is not a label selector: found "=" at position 3"#,
        ),
        (r#"{"source_fqdn":["a b"]}"#, "source_fqdn[0]: \"a b\" has ' ' at position 1"),
        (r#"{"source_fqdn":["a.."]}"#, "source_fqdn[0]: \"a..\" ends in more than one dot"),
        (r#"{"node_name":["a/b/c"]}"#, "node_name[0]: \"a/b/c\" has more than one slash"),
        (r#"{"source_cluster_name":[""]}"#, "source_cluster_name[0]: is empty"),
        (r#"{"source_workload":[{}]}"#, "source_workload[0]: names neither"),
    ] {
        let error = refusal(json);
        assert!(error.starts_with(&format!("whitelist[0].{message}")), "{error}");
    }
    let error = Filter::compile(&[], &[FlowFilter::default(), wire(r#"{"source_ip":["x"]}"#)]).unwrap_err();
    assert!(error.to_string().starts_with("blacklist[1].source_ip[0]: \"x\""), "{error}");
}

#[test]
fn a_request_has_bounds() {
    let many = FlowFilter { uuid: vec!["u".to_owned(); MAX_VALUES], ..FlowFilter::default() };
    assert!(Filter::compile(std::slice::from_ref(&many), &[]).is_ok());
    let error = Filter::compile(&[many], &[wire(r#"{"uuid":["u"]}"#)]).unwrap_err();
    assert_eq!((error.list, error.reason), (List::Blacklist, Reason::TooManyValues));
    let patterns = FlowFilter { http_url: vec!["x".to_owned(); MAX_PATTERNS + 1], ..FlowFilter::default() };
    let error = Filter::compile(&[patterns], &[]).unwrap_err();
    assert_eq!((error.value, error.reason), (MAX_PATTERNS, Reason::TooManyPatterns));
}

#[test]
fn ends_match_in_every_form_that_the_flow_carries() {
    let told = r#""IP":{"source":"10.1.0.5","destination":"10.2.0.7"},
        "l4":{"TCP":{"source_port":40000,"destination_port":8080}},
        "weir":{"nat":{"vip":"10.96.0.9","vip_port":80,"masquerade":"192.0.2.9","masquerade_port":61000},
            "services":[{"name":"api","namespace":"shop"}]}"#;
    let forward = flow(&format!("{{{told}}}"));
    for json in [
        r#"{"destination_ip":["10.2.0.7"],"destination_port":["8080"]}"#,
        r#"{"destination_ip":["10.96.0.9"],"destination_port":["80"]}"#,
        r#"{"source_ip":["10.1.0.5"],"source_port":["40000"]}"#,
        r#"{"source_ip":["192.0.2.0/24"],"source_port":["61000"]}"#,
        r#"{"source_ip_xlated":["192.0.2.9"]}"#,
        r#"{"destination_service":["shop/api"]}"#,
    ] {
        assert!(filter(json).matches(&forward), "{json}");
    }
    for json in [
        r#"{"source_ip":["10.96.0.9"]}"#,
        r#"{"destination_port":["61000"]}"#,
        r#"{"source_service":["shop/api"]}"#,
        r#"{"destination_port":["0"]}"#,
    ] {
        assert!(!filter(json).matches(&forward), "{json}");
    }
    let answer = flow(&format!(r#"{{"is_reply":true,{told}}}"#));
    for json in [
        r#"{"source_ip":["10.96.0.9"],"source_port":["80"],"source_service":["shop/api"]}"#,
        r#"{"destination_ip":["192.0.2.9"],"destination_port":["61000"]}"#,
    ] {
        assert!(filter(json).matches(&answer), "{json}");
        assert!(!filter(json).matches(&forward), "{json}");
    }
}

#[test]
fn reply_of_unknown_direction_is_false_for_drops_and_nothing_else() {
    let dropped = flow(r#"{"verdict":"DROPPED"}"#);
    let forwarded = flow(r#"{"verdict":"FORWARDED"}"#);
    assert!(filter(r#"{"reply":[false]}"#).matches(&dropped));
    assert!(!filter(r#"{"reply":[true]}"#).matches(&dropped));
    assert!(!filter(r#"{"reply":[true,false]}"#).matches(&forwarded));
}

#[test]
fn dns_and_icmp_fields_need_their_messages() {
    let query = flow(r#"{"l4":{"ICMPv6":{"type":128}},"l7":{"dns":{"query":"api.example.com."}}}"#);
    assert!(filter(r#"{"dns_query":["^api\\."]}"#).matches(&query));
    assert!(!filter(r#"{"dns_query":["^www"]}"#).matches(&query));
    assert!(filter(r#"{"protocol":["icmp"]}"#).matches(&query));
    assert!(!filter(r#"{"protocol":["icmpv4"]}"#).matches(&query));
    assert!(!filter(r#"{"source_port":["0"]}"#).matches(&query));
}

#[test]
fn pods_are_named_by_namespace_and_prefix() {
    let pod = |namespace: &str, name: &str| {
        flow(&format!(r#"{{"source":{{"namespace":"{namespace}","pod_name":"{name}"}}}}"#))
    };
    for (text, namespace, name, expected) in [
        ("shop/", "shop", "web-1", true),
        ("shop/", "shop", "", true),
        ("/we", "other", "web-1", true),
        ("web", "default", "web-1", true),
        ("web", "shop", "web-1", false),
        ("shop/web/ignored", "shop", "web-1", true),
        ("shop/eb", "shop", "web-1", false),
        ("/", "", "", false),
        ("/", "shop", "", true),
    ] {
        let matches = filter(&single("source_pod", &format!("{text:?}"))).matches(&pod(namespace, name));
        assert_eq!(matches, expected, "{text} on {namespace}/{name}");
    }
}

#[test]
fn nodes_without_a_cluster_are_of_the_default_one() {
    let node = |name: &str| flow(&format!(r#"{{"node_name":"{name}"}}"#));
    for (text, name, expected) in [
        ("node-1", "lab/node-1", true),
        ("default/node-*", "node-1", true),
        ("/node-1", "lab/node-1", true),
        ("lab/", "lab/node-1", true),
        ("lab/", "node-1", false),
        ("node", "node-1", false),
    ] {
        let matches = filter(&single("node_name", &format!("{text:?}"))).matches(&node(name));
        assert_eq!(matches, expected, "{text} on {name}");
    }
}

proptest! {
    /// The star never takes an underscore, which is what makes the one-step-back match of a glob complete.
    #[test]
    fn globs_match_as_their_regular_expression_does(pattern in "[a_.*]{1,8}", name in "[a_.A]{0,10}") {
        let canonical = pattern.strip_suffix('.').unwrap_or(&pattern);
        prop_assume!(!canonical.is_empty() && !canonical.ends_with('.'));
        let reference: String = canonical
            .chars()
            .map(|c| if c == '*' { "[-.0-9a-z]*".to_owned() } else { regex::escape(&c.to_string()) })
            .collect();
        let reference = regex::Regex::new(&format!(r"\A(?:{reference})\z")).unwrap();
        prop_assert_eq!(Glob::parse(&pattern).unwrap().matches(&name), reference.is_match(&name));
    }
}
