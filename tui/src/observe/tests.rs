//! What is typed becomes the request that Hubble's own command line sends.

use jiff::Timestamp;
use prost::Message as _;
use weir_proto::observer::GetFlowsRequest;

use super::{Ask, UsageError, command, read};

fn ask(args: &[&str]) -> Result<Ask, UsageError> {
    let matches = command().try_get_matches_from([&["observe"], args].concat()).unwrap();
    read(&matches, Timestamp::from_second(1_795_000_000).unwrap())
}

fn request(args: &[&str]) -> GetFlowsRequest {
    ask(args).unwrap().request
}

fn bytes(hex: &str) -> Vec<u8> {
    hex.as_bytes()
        .chunks(2)
        .map(|digits| u8::from_str_radix(std::str::from_utf8(digits).unwrap(), 16).unwrap())
        .collect()
}

/// Splits a recorded command as a shell would have; none of them needs more than spaces that belong to a selector.
fn words(command: &str) -> Vec<String> {
    command
        .replace("app in (api,web)", "app\u{a0}in\u{a0}(api,web)")
        .split(' ')
        .map(|word| word.replace('\u{a0}', " "))
        .collect()
}

#[test]
fn requests_are_hubbles() {
    let Some(corpus) = std::env::var_os("WEIR_CORPUS") else {
        println!("skipped: requests_are_hubbles: WEIR_CORPUS is not set");
        return;
    };
    let text = std::fs::read_to_string(std::path::Path::new(&corpus).join("hubble/requests.jsonl")).unwrap();
    let mut compared = 0;
    for line in text.lines() {
        let call: serde_json::Value = serde_json::from_str(line).unwrap();
        let command = call["cmd"].as_str().unwrap();
        let Some(args) = command.strip_prefix("hubble observe") else {
            continue;
        };
        let unknown_here = args.contains("agent-events")
            || args.contains("debug-events")
            || args.contains("default-field-masks");
        if unknown_here {
            continue;
        }
        let args = words(args);
        let args: Vec<&str> = args.iter().map(String::as_str).filter(|word| !word.is_empty()).collect();
        let mut expected =
            GetFlowsRequest::decode(bytes(call["request_hex"].as_str().unwrap()).as_slice()).unwrap();
        let mut made = request(&args);
        if args.contains(&"--field-mask") {
            assert_eq!(made.field_mask, expected.field_mask, "{command}");
        }
        // The fields that lines are made of are derived from the lines, and a time ago depends on the present.
        (made.field_mask, expected.field_mask) = (None, None);
        if args.iter().any(|word| ["5m", "1h"].contains(word)) {
            assert_eq!(made.since.is_some(), expected.since.is_some());
            (made.since, expected.since) = (None, None);
        }
        assert_eq!(made, expected, "{command}");
        compared += 1;
    }
    assert!(compared > 60, "{compared}");
}

#[test]
fn a_flag_is_turned_around_once() {
    let made = request(&["--not", "--pod", "a", "--port", "53"]);
    assert_eq!(made.blacklist.len(), 2);
    assert_eq!(made.whitelist[0].source_port, ["53"]);
    let made = request(&["--not", "-4", "--not", "--not", "--verdict", "DROPPED"]);
    assert_eq!((made.blacklist.len(), made.whitelist.len()), (1, 1), "twice turned is not turned");
}

#[test]
fn queries_and_flags_are_joined_by_and() {
    let made = request(&["--verdict", "DROPPED", "-q", "src.ns=shop rtt>50ms", "--query", "not host"]);
    let texts = |at: usize| made.whitelist[at].weir.as_ref().map(|weir| weir.query.clone());
    assert_eq!(made.whitelist.len(), 2, "a namespace is a pod's or a Service's");
    assert_eq!(made.whitelist[0].source_pod, ["shop/"]);
    assert!(made.whitelist.iter().all(|filter| filter.verdict == [2]));
    assert_eq!(texts(0), Some(vec!["((rtt>50ms)) (not host)".to_owned()]));
    assert_eq!(request(&["-q", "dst.pod=shop/api"]), request(&["--to-pod", "shop/api"]));
    assert_eq!(
        ask(&["-q", "ns=a rtt>50"]).unwrap_err().to_string(),
        "--query, position 9: \"50\" is not a duration with its unit, as 50ms, 1.5s or 2m; did you mean 50ms?\n  \
         ns=a rtt>50\n           ^^"
    );
}

#[test]
fn what_is_wrong_is_said_with_its_flag() {
    let said = |args: &[&str]| ask(args).unwrap_err().to_string();
    assert!(
        said(&["--verdict", "forwarded"])
            .contains("--verdict: not one of VERDICT_UNKNOWN, FORWARDED, DROPPED")
    );
    assert!(said(&["--port", "99999"]).contains("--port: not a port"));
    assert!(said(&["-n", "a", "--pod", "b/c"]).contains("another namespace"));
    assert!(said(&["--first", "1", "-f"]).contains("cannot set both --first and --follow"));
    assert!(said(&["-f", "-o", "table"]).contains("cannot set both"));
    assert!(said(&["--connections", "--first", "1"]).contains("cannot set both --connections and --first"));
    assert!(ask(&["--connections", "-o", "dict"]).unwrap().connections, "it prints all of each connection");
    assert!(said(&["--since", "soon"]).contains("5m"));
    assert!(said(&["--allowlist", "{\"source_pood\":[]}"]).contains("source_pood"));
}

#[test]
fn every_flag_sets_something() {
    use super::flags::{FLAGS, Subject};
    for flag in FLAGS {
        let name = format!("--{}", flag.name);
        let made = match flag.subject {
            Subject::Switch(..) | Subject::Namespace { any: true, .. } => request(&[&name]),
            _ => {
                let value =
                    ["DROPPED", "POLICY_DENIED", "l7", "ingress", "true", "4", "SYN", "a:b", "1", "x/y"];
                let taken = value.iter().find_map(|value| ask(&[&name, value]).ok());
                taken.unwrap_or_else(|| panic!("{name} takes none of the values")).request
            }
        };
        assert!(made.whitelist.iter().all(|filter| *filter != Default::default()), "{name}");
    }
}
