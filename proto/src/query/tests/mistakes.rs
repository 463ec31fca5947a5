//! What is wrong with a text is said with its place, and with what may have been meant.

use std::fmt::Write as _;

use super::*;

/// The text with what is wrong underlined, and the message.
fn shown(text: &str) -> String {
    let error = Query::parse(text).expect_err(text);
    let mark = "^".repeat(error.length.clamp(1, 60));
    format!("{text}\n{:width$}{mark} {error}\n", "", width = error.position)
}

#[test]
fn mistakes_have_a_place_and_a_suggestion() {
    let mut all = String::new();
    for text in [
        "verdct=ok",
        "ns=shop dst.svv=api",
        "src.verdict=ok",
        "nonsense=1",
        "verdict=forwarde",
        "verdict=purple",
        "dns.rcode=NXDOMIAN",
        "rtt>50",
        "rtt>fast",
        "rtt>1.23456ns",
        "rtt~5",
        "pod>5",
        "verdict>ok",
        "port=99999",
        "port=90-80",
        "port in 80,",
        "port in (80,443",
        "port>80-90",
        "ip=10.0.0.300",
        "bytes>12q",
        "conn=-1",
        "label=a=b=c",
        "name=a_b!",
        "http.path~(",
        "http.path~",
        "ns=",
        "ns= ",
        "host=maybe",
        "host in true",
        "a && b",
        "a || b",
        "a and",
        "or b",
        "in",
        "not",
        "(a",
        "a)",
        "()",
        "\"abc",
        "a ; b",
        "=80",
        "é=1 ns=",
    ] {
        let _ = writeln!(all, "{}", shown(text));
    }
    insta::assert_snapshot!(all);
}

#[test]
fn nesting_and_length_are_bounded() {
    let nested = |depth: usize| format!("{}host{}", "(".repeat(depth), ")".repeat(depth));
    assert!(validate(&nested(MAX_DEPTH - 1)).is_ok());
    assert_eq!(validate(&nested(MAX_DEPTH)).unwrap_err().problem, Problem::TooDeep);
    assert_eq!(validate(&"!".repeat(4000)).unwrap_err().problem, Problem::TooDeep);
    assert_eq!(validate(&"a ".repeat(MAX_LENGTH)).unwrap_err().problem, Problem::TooLong);
}
