//! The language means what its table says: each field changes what passes, printing and parsing agree, negation is the
//! complement, and a request's filters let pass what the text does.

use super::*;
use crate::filter::{Filter, Lists};
use crate::flow::Flow;
use crate::json;

mod drawn;
mod fields;
mod mistakes;

/// A flow that carries something for every field.
const RICH: &str = include_str!("tests/rich.json");

fn flow(text: &str) -> Flow {
    json::parse(text, json::UnknownFields::Refuse).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn query(text: &str) -> Query {
    Query::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn passes(text: &str, flow: &Flow) -> bool {
    query(text).matches(flow)
}

#[test]
fn the_grammar_by_example() {
    let rich = flow(RICH);
    for (text, printed, expected) in [
        ("", "", true),
        ("  ", "", true),
        ("ns=shop dst.svc=api verdict!=ok", "ns=shop dst.svc=api verdict!=ok", true),
        ("ns=shop and dst.svc=api AND verdict=ok", "ns=shop dst.svc=api verdict=ok", false),
        ("rtt>50ms", "rtt>50ms", true),
        ("rtt > 0.05s", "rtt>50ms", true),
        ("rtt>=1.5s", "rtt>=1500ms", false),
        ("port in 80,443 not host", "port in 80,443 not host", true),
        ("port in (80, 443)", "port in 80,443", true),
        ("port=22,8080", "port in 22,8080", true),
        ("port not in 80,443", "not port in 80,443", false),
        ("dst.port=8000-9000", "dst.port=8000-9000", true),
        ("port!=80", "port!=80", false),
        ("uuid=u-2 or uuid=u-1", "uuid=u-2 or uuid=u-1", true),
        ("uuid=u-2 or uuid=u-1 uuid=u-3", "uuid=u-2 or (uuid=u-1 uuid=u-3)", false),
        ("(uuid=u-2 or uuid=u-1) uuid=u-3", "(uuid=u-2 or uuid=u-1) uuid=u-3", false),
        ("not (host or uuid=u-1)", "not (host or uuid=u-1)", false),
        ("!host", "not host", true),
        ("not not host", "not not host", false),
        ("checkout", "checkout", false),
        ("API-7", "API-7", true),
        ("shop/web", "shop/web", true),
        ("10.2.0", "10.2.0", true),
        ("\"host\"", "\"host\"", false),
        ("'a \"b'", "\"a \\\"b\"", false),
        ("SRC.NS=shop", "src.ns=shop", true),
        ("namespace==shop", "ns=shop", true),
        ("reply=no", "not reply", true),
        ("reply!=no", "reply", false),
        ("http.path~^/api/(v1|v2)$", "http.path~\"^/api/(v1|v2)$\"", true),
        ("(http.path~^/api/(v1|v2)$)", "http.path~\"^/api/(v1|v2)$\"", true),
        ("http.path!~\"\\d\"", "http.path!~\"\\\\d\"", false),
        ("label=app=web", "label=app=web", true),
        ("label='app in (web,db)'", "label=\"app in (web,db)\"", true),
        ("src.label=!app", "src.label=\"!app\"", false),
        ("bytes>1k bytes<=2.5MB", "bytes>1000 bytes<=2500000", true),
        ("dst.ip=10.2.0.0/16", "dst.ip=10.2.0.0/16", true),
        ("dst.ip=10.2.0.7/32", "dst.ip=10.2.0.7", true),
        ("verdict=FORWARDED", "verdict=ok", false),
        ("drop.reason=POLICY_DENIED", "drop.reason=policy-denied", true),
        ("dns.rcode=99", "dns.rcode=99", false),
        ("join=0x6", "join=6", true),
    ] {
        let parsed = query(text);
        assert_eq!(parsed.to_string(), printed, "{text}");
        assert_eq!(query(printed).expr(), parsed.expr(), "{text}");
        assert_eq!(parsed.matches(&rich), expected, "{text}");
    }
}

#[test]
fn what_a_flow_lacks_is_equal_to_nothing_and_on_no_side_of_a_bound() {
    let bare = Flow::default();
    for text in [
        "rtt<1h",
        "rtt>0ns",
        "bytes<1",
        "src.ns=a",
        "port=0",
        "dns.rcode=noerror",
        "device~.*",
        "nat",
        "tunnel",
    ] {
        assert!(!passes(text, &bare), "{text}");
        assert!(passes(&format!("not {text}"), &bare), "{text}");
    }
    assert!(passes("src.ns!=a rtt!=1ms", &bare));
    assert!(passes("src.label=!app", &bare), "a selector may ask for the lack of a label");
}

#[test]
fn an_end_without_its_side_is_either() {
    let rich = flow(RICH);
    assert!(passes("pod=shop/web pod=shop/api", &rich) && !passes("src.pod=api", &rich));
    assert!(!passes("pod!=web", &rich) && passes("dst.pod!=web", &rich));
}

fn narrowed(text: &str) -> (Vec<String>, Vec<String>) {
    let Lists { whitelist, blacklist } = query(text).narrow(Lists::default());
    let print = |filters: Vec<crate::flow::FlowFilter>| filters.iter().map(json::print).collect();
    (print(whitelist), print(blacklist))
}

#[test]
fn a_request_says_in_fields_what_they_can() {
    let one = |text: &str| vec![text.to_owned()];
    assert_eq!(narrowed(""), (vec![], vec![]));
    assert_eq!(
        narrowed("src.pod=shop/web dst.port in 80,443 proto!=udp"),
        (
            one(r#"{"source_pod":["shop/web"],"destination_port":["80","443"]}"#),
            one(r#"{"protocol":["udp"]}"#)
        )
    );
    assert_eq!(
        narrowed("port=53 verdict=denied"),
        (
            vec![
                r#"{"source_port":["53"],"drop_reason_desc":["POLICY_DENIED","POLICY_DENY"]}"#.to_owned(),
                r#"{"destination_port":["53"],"drop_reason_desc":["POLICY_DENIED","POLICY_DENY"]}"#
                    .to_owned(),
            ],
            vec![]
        )
    );
    assert_eq!(
        narrowed("state=reset rtt>50ms not host"),
        (one(r#"{"weir":{"state":["CONNECTION_STATE_RESET"],"query":["rtt\u003e50ms not host"]}}"#), vec![])
    );
    assert_eq!(
        narrowed("src.ip=10.0.0.1 src.ip=10.0.0.0/8"),
        (one(r#"{"source_ip":["10.0.0.1"],"weir":{"query":["src.ip=10.0.0.0/8"]}}"#), vec![]),
        "values of one field are joined by OR, so the second is text"
    );
    assert_eq!(
        narrowed("type=drop http.method=GET"),
        (one(r#"{"event_type":[{"type":1}],"weir":{"query":["http.method=GET"]}}"#), vec![]),
        "what filters refuse together, text can say"
    );
}

#[test]
fn a_query_narrows_what_other_filters_ask() {
    let rich = flow(RICH);
    let filter = |text: &str| json::parse(text, json::UnknownFields::Refuse).unwrap();
    let given = |white: &str| Lists { whitelist: vec![filter(white)], blacklist: Vec::new() };
    for (white, text, expected) in [
        (r#"{"uuid":["u-1"]}"#, "uuid=u-1", true),
        (r#"{"uuid":["u-1"]}"#, "uuid=u-2", false),
        (r#"{"uuid":["u-2"]}"#, "uuid=u-1", false),
        (r#"{"weir":{"query":["rtt>1ms","rtt>9h"]}}"#, "bytes>1", true),
        (r#"{"weir":{"query":["rtt>9h"]}}"#, "bytes>1 or ns=shop", false),
        (r#"{"weir":{"query":["rtt>1ms"]}}"#, "bytes>1M or bytes<3", false),
    ] {
        let Lists { whitelist, blacklist } = query(text).narrow(given(white));
        let compiled = Filter::compile(&whitelist, &blacklist).unwrap();
        assert_eq!(compiled.matches(&rich), expected, "{white} and {text}");
    }
}

#[test]
fn servers_refuse_bad_texts_with_their_place_and_bound_patterns() {
    let compile = |queries: &[String]| {
        let weir = crate::weir::v1::FlowFilter { query: queries.to_vec(), ..Default::default() };
        let filter = crate::flow::FlowFilter { weir: Some(weir), ..Default::default() };
        Filter::compile(&[filter], &[])
    };
    let error = compile(&["ns=a".to_owned(), "rtt>50".to_owned()]).unwrap_err().to_string();
    assert!(error.starts_with("whitelist[0].weir.query[1]: position 4: \"50\" is not a duration"), "{error}");
    let patterns = vec!["device~x"; MAX_PATTERNS].join(" ");
    assert!(validate(&patterns).is_ok());
    assert_eq!(validate(&format!("{patterns} device~y")).unwrap_err().problem, Problem::TooManyPatterns);
    assert!(compile(&vec![patterns.clone(); 4]).is_ok());
    assert!(compile(&vec![patterns; 5]).is_err(), "of one request together");
}

#[test]
fn completion_knows_where_it_stands() {
    let offered = |text: &str| {
        let completion = complete(text, text.chars().count());
        let texts: Vec<String> = completion.candidates.into_iter().map(|candidate| candidate.text).collect();
        (completion.replaces.start, texts, completion.value_of.map(|field| field.name))
    };
    assert_eq!(offered("verd").1, ["verdict"]);
    assert_eq!(offered("ns=shop dst.sv"), (8, vec!["dst.svc".to_owned()], None));
    assert_eq!(offered("retrans").1[..3], ["retrans=", "retrans!=", "retrans in "]);
    assert_eq!(offered("(state=re"), (7, vec!["reset".to_owned(), "rejected".to_owned()], Some("state")));
    assert_eq!(offered("verdict in ok,den"), (14, vec!["denied".to_owned()], Some("verdict")));
    assert_eq!(offered("dst.pod="), (8, vec![], Some("pod")));
    assert_eq!(offered("pod ").1[..2], ["=", "!="]);
    assert!(offered("").1.len() > FIELDS.len());
    assert_eq!(complete("verd ns=a", 4).replaces, 0..4);
    let rich = flow(RICH);
    let live = |name: &str| live_values(Field::of_name(name).unwrap(), None, [&rich, &rich].into_iter(), 9);
    assert_eq!(live("pod"), ["shop/web-1", "shop/api-7"]);
    assert_eq!(live("rtt"), ["70ms"]);
}

#[test]
fn words_of_protocols_are_in_the_filters_order() {
    let known: Vec<&str> = crate::matching::protocol::PROTOCOLS.iter().map(|(name, _)| *name).collect();
    let words: Vec<String> = words::PROTOCOL.all().map(|(word, _)| word).collect();
    assert_eq!(words, known);
}

#[test]
fn the_help_is_the_table() {
    let help = help();
    assert!(FIELDS.iter().all(|field| help.contains(field.name) && help.contains(field.example)));
    assert!(GRAMMAR.lines().all(|line| help.contains(line)));
    assert!(help.lines().all(|line| line.chars().count() <= 120));
}
