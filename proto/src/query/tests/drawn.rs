//! Properties over drawn expressions, texts and flows.

use proptest::prelude::*;

use super::*;
use crate::flow::FlowFilter;
use crate::matching::End;

/// Values that the drawn flows may carry, by kind.
fn value(field: &'static Field) -> BoxedStrategy<Value> {
    let text = |texts: &'static [&'static str]| {
        prop::sample::select(texts).prop_map(|text| Value::Text(text.to_owned())).boxed()
    };
    let odd = "[a-z\"'\\\\ ,()=~é/-]{1,6}".prop_map(Value::Text);
    match &field.kind {
        Kind::Words(words) => {
            let numbers: Vec<u64> = words.all().map(|(_, number)| number).collect();
            prop::sample::select(numbers).prop_map(Value::Number).boxed()
        }
        Kind::Address => prop::sample::select(&["10.1.0.5", "10.0.0.0/8", "10.96.0.9", "fd00::/8"][..])
            .prop_map(move |text| value::parse(field, text).unwrap())
            .boxed(),
        Kind::Port => prop_oneof![
            prop::sample::select(&[80u64, 8080, 40000][..]).prop_map(Value::Number),
            (0u64..9000, 0u64..9000).prop_map(|(from, more)| Value::Range(from, from + more)),
        ]
        .boxed(),
        Kind::Count | Kind::Bytes | Kind::Duration | Kind::Number => {
            prop_oneof![0u64..2000, any::<u64>()].prop_map(Value::Number).boxed()
        }
        Kind::Glob | Kind::Question => text(&["*.example.com", "api.example.com", "node-1", "*"]),
        Kind::Labels => text(&["app=web", "!app", "app in (web,api)", "app!=api"]),
        Kind::Prefix | Kind::Workload => text(&["web", "shop/web", "shop/", "/api", "Deployment/web"]),
        _ => prop_oneof![text(&["shop", "u-1", "GET", "vxlan", "web", "Accept:text/html"]), odd].boxed(),
    }
}

fn test(field: &'static Field) -> BoxedStrategy<Test> {
    if matches!(field.kind, Kind::Flag) {
        return Just(Test::Present).boxed();
    }
    let any_of = prop::collection::vec(value(field), 1..4).prop_map(Test::AnyOf);
    if field.name == crate::query::fields::ANY {
        return any_of.boxed();
    }
    let present = Just(Test::Present);
    if field.kind.is_ordered() {
        let sides = [Comparison::Below, Comparison::AtMost, Comparison::Above, Comparison::AtLeast];
        let bound = (prop::sample::select(sides.to_vec()), 0u64..60_000);
        return prop_oneof![any_of, present, bound.prop_map(|(side, bound)| Test::Compare(side, bound))]
            .boxed();
    }
    if field.kind.is_text() {
        let patterns = ["^shop", "web|api", r"\d+$", "a.b", "(x y)"];
        let matches = prop::sample::select(patterns.to_vec()).prop_map(|text| Test::Matches(text.to_owned()));
        return prop_oneof![any_of, present, matches].boxed();
    }
    prop_oneof![any_of, present].boxed()
}

fn term() -> impl Strategy<Value = Expr> {
    let end = prop::sample::select(&[None, Some(End::Source), Some(End::Destination)][..]);
    (0..FIELDS.len(), end).prop_flat_map(|(at, end)| {
        let field = &FIELDS[at];
        let end = end.filter(|_| field.scope == Scope::Ends);
        test(field).prop_map(move |test| Expr::Term(Term { end, field, test }))
    })
}

fn expr() -> impl Strategy<Value = Expr> {
    term().prop_recursive(3, 12, 3, |inner| {
        let several = prop::collection::vec(inner.clone(), 2..4);
        prop_oneof![
            several.clone().prop_map(Expr::And),
            several.prop_map(Expr::Or),
            inner.prop_map(|inner| Expr::Not(Box::new(inner))),
        ]
    })
}

/// A flow of a few parts, each there or not.
fn drawn_flow() -> impl Strategy<Value = Flow> {
    let parts: [&[&str]; 9] = [
        &["", r#""verdict":"FORWARDED","#, r#""verdict":"DROPPED","drop_reason_desc":"POLICY_DENIED","#],
        &["", r#""IP":{"source":"10.1.0.5","destination":"10.96.0.9","ipVersion":"IPv4"},"#],
        &[
            "",
            r#""l4":{"TCP":{"source_port":40000,"destination_port":80,"flags":{"SYN":true}}},"#,
            r#""l4":{"UDP":{"source_port":53,"destination_port":8080}},"#,
        ],
        &[
            "",
            r#""source":{"identity":2,"namespace":"shop","pod_name":"web-1","labels":["k8s:app=web"],
                "workloads":[{"name":"web","kind":"Deployment"}]},"#,
            r#""source":{"identity":1,"labels":["reserved:host"]},"#,
        ],
        &["", r#""destination":{"namespace":"shop","pod_name":"api-1","labels":["k8s:app=api"]},"#],
        &["", r#""is_reply":true,"#, r#""is_reply":false,"#],
        &[
            "",
            r#""event_type":{"type":129},"l7":{"type":"RESPONSE","dns":{"query":"api.example.com.","rcode":3}},"#,
            r#""event_type":{"type":129},"l7":{"http":{"code":404,"method":"GET","url":"/shop/a.b"}},"#,
            r#""event_type":{"type":4},"#,
        ],
        &[
            "",
            r#""destination_names":["api.example.com"],"destination_service":{"name":"api","namespace":"shop"},"#,
        ],
        &[
            "",
            r#""weir":{"state":"CONNECTION_STATE_RESET","tcp":{"handshake_server_ns":"900"},
                "services":[{"name":"web","namespace":"shop"}],"total":{"packets_forward":"7"},
                "nat":{"vip":"10.96.0.9","vip_port":80,"source":"NAT_SOURCE_CONNTRACK"}},"#,
        ],
    ];
    let parts: Vec<_> = parts.into_iter().map(prop::sample::select).collect();
    parts.prop_map(|parts| flow(&format!("{{{}\"uuid\":\"u-1\"}}", parts.concat())))
}

/// What an expression says, term by term.
fn naive(expr: &Expr, flow: &Flow) -> bool {
    match expr {
        Expr::And(all) => all.iter().all(|part| naive(part, flow)),
        Expr::Or(any) => any.iter().any(|part| naive(part, flow)),
        Expr::Not(inner) => !naive(inner, flow),
        Expr::Term(term) => passes(&term.to_string(), flow),
    }
}

/// Texts that the fields refuse are no expressions.
fn valid(expr: &Expr) -> bool {
    evaluate::predicate(expr).is_ok()
}

proptest! {
    #[test]
    fn printing_and_parsing_agree(expr in expr()) {
        prop_assume!(valid(&expr));
        let printed = expr.to_string();
        let parsed = Query::parse(&printed);
        prop_assert!(parsed.is_ok(), "{}: {}", printed, parsed.unwrap_err());
        let parsed = parsed.unwrap();
        prop_assert_eq!(parsed.expr(), &expr, "{}", printed);
    }

    #[test]
    fn a_query_means_what_its_terms_do_and_not_is_the_complement(expr in expr(), flow in drawn_flow()) {
        prop_assume!(valid(&expr));
        let text = expr.to_string();
        prop_assert_eq!(passes(&text, &flow), naive(&expr, &flow), "{}", text);
        prop_assert_ne!(passes(&text, &flow), passes(&format!("not ({text})"), &flow), "{}", text);
    }

    #[test]
    fn a_requests_filters_let_pass_what_the_text_does(expr in expr(), flow in drawn_flow()) {
        prop_assume!(valid(&expr));
        let query = query(&expr.to_string());
        let Lists { whitelist, blacklist } = query.narrow(Lists::default());
        let filter = Filter::compile(&whitelist, &blacklist).unwrap();
        prop_assert_eq!(filter.matches(&flow), query.matches(&flow), "{} as {:?} {:?}", query, whitelist, blacklist);
    }

    #[test]
    fn a_term_that_a_filter_has_a_field_for_means_that_field(term in term(), flow in drawn_flow()) {
        prop_assume!(valid(&term));
        let Expr::Term(term) = &term else { unreachable!() };
        let Some(filters) = term.filters() else { return Ok(()) };
        prop_assert!(filters.iter().all(|filter| *filter != FlowFilter::default()));
        let filter = Filter::compile(&filters, &[]).unwrap();
        prop_assert_eq!(filter.matches(&flow), passes(&term.to_string(), &flow), "{} as {:?}", term, filters);
    }

    #[test]
    fn no_text_makes_it_panic(text in r#"([a-z.]{1,6}|[=!~<>()"',.\\ é0-9]|port|rtt|src\.|verdict| in | not | or ){0,12}"#,
                              cursor in 0usize..40) {
        let _ = validate(&text);
        let completion = complete(&text, cursor);
        prop_assert!(completion.replaces.end <= text.chars().count());
    }

    #[test]
    fn errors_point_into_the_text(text in "[a-z=!~<>()\"', é0-9]{0,20}") {
        if let Err(error) = validate(&text) {
            prop_assert!(error.position + error.length <= text.chars().count(), "{}: {:?}", text, error);
        }
    }
}
