//! Drawn messages survive JSON, and its peculiarities are those of the original.

use proptest::prelude::*;
use prost_reflect::Kind;
use prost_types::{Any, FieldMask, Timestamp};

use super::*;
use crate::flow::{Flow, FlowFilter, LostEvent, LostEventSource};
use crate::observer::get_flows_response::ResponseTypes;
use crate::observer::{GetFlowsRequest, ServerStatusResponse};
use crate::weir::v1::{ConnectionsResponse, FlowDetail, ServerStatus};

fn recorded(name: &str) -> Option<Vec<String>> {
    let Some(corpus) = std::env::var_os("WEIR_CORPUS") else {
        println!("skipped: json::{name}: WEIR_CORPUS is not set");
        return None;
    };
    let file = std::path::Path::new(&corpus).join("hubble").join(name);
    let text = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    Some(text.lines().map(str::to_owned).collect())
}

#[test]
fn recorded_flows_are_printed_byte_for_byte_as_hubble_does() {
    let (Some(flows), Some(printed)) = (recorded("flows.jsonl"), recorded("printed/json.txt")) else {
        return;
    };
    assert!(!flows.is_empty() && flows.len() == printed.len());
    for (flow, expected) in flows.iter().zip(&printed) {
        let response = from_json(flow).unwrap();
        assert_eq!(&to_json(&response), expected);
        assert_eq!(from_json(expected).unwrap(), response);
    }
}

fn of_flow(flow: Flow) -> String {
    to_json(&GetFlowsResponse {
        response_types: Some(ResponseTypes::Flow(flow)),
        ..GetFlowsResponse::default()
    })
}

#[test]
fn strings_are_escaped_as_go_does() {
    let flow = Flow { node_name: "a<b>&c\"\\\n\u{1b}\u{7f}\u{2028}é".to_owned(), ..Flow::default() };
    assert_eq!(
        of_flow(flow),
        "{\"flow\":{\"node_name\":\"a\\u003cb\\u003e\\u0026c\\\"\\\\\\n\\u001b\u{7f}\\u2028é\"}}"
    );
}

#[test]
fn weirs_own_message_hangs_under_its_name() {
    let detail = FlowDetail { connection_id: u64::MAX, state: 5, icmp_id: 7, ..FlowDetail::default() };
    let printed = of_flow(Flow { verdict: 1, weir: Some(detail), ..Flow::default() });
    let expected = r#"{"flow":{"verdict":"FORWARDED","weir":{"connection_id":"18446744073709551615","state":"CONNECTION_STATE_RESET","icmp_id":7}}}"#;
    assert_eq!(printed, expected);
    assert_eq!(to_json(&from_json(&printed).unwrap()), printed);
}

#[test]
fn set_but_empty_and_unknown_values_are_told() {
    assert_eq!(
        of_flow(Flow { is_reply: Some(false), verdict: 99, ..Flow::default() }),
        r#"{"flow":{"verdict":99,"is_reply":false}}"#
    );
    assert_eq!(of_flow(Flow { ip: Some(Default::default()), ..Flow::default() }), r#"{"flow":{"IP":{}}}"#);
    let wrong = Timestamp { seconds: i64::MAX, nanos: 1 };
    let printed = of_flow(Flow { time: Some(wrong), ..Flow::default() });
    assert_eq!(printed, r#"{"flow":{"time":{"seconds":"9223372036854775807","nanos":1}}}"#);
}

#[test]
fn times_have_as_many_digits_as_they_need() {
    for (nanos, text) in [
        (0, "1970-01-01T00:00:01Z"),
        (196_000_000, "1970-01-01T00:00:01.196Z"),
        (196_000, "1970-01-01T00:00:01.000196Z"),
        (1, "1970-01-01T00:00:01.000000001Z"),
    ] {
        let flow = Flow { time: Some(Timestamp { seconds: 1, nanos }), ..Flow::default() };
        assert_eq!(of_flow(flow), format!(r#"{{"flow":{{"time":"{text}"}}}}"#));
    }
}

#[test]
fn every_other_message_is_printed_and_read_the_same_way() {
    let lost = LostEvent {
        source: LostEventSource::HubbleRingBuffer.into(),
        num_events_lost: 57,
        cpu: Some(0),
        ..LostEvent::default()
    };
    assert_eq!(print(&lost), r#"{"source":"HUBBLE_RING_BUFFER","num_events_lost":"57","cpu":0}"#);
    let status = ServerStatusResponse {
        num_flows: 1,
        num_connected_nodes: Some(2),
        flows_rate: 40.51,
        weir: Some(ServerStatus { node: "relay".to_owned(), ..ServerStatus::default() }),
        ..ServerStatusResponse::default()
    };
    let printed = print(&status);
    assert_eq!(
        printed,
        r#"{"num_flows":"1","num_connected_nodes":2,"flows_rate":40.51,"weir":{"node":"relay"}}"#
    );
    assert_eq!(parse::<ServerStatusResponse>(&printed, UnknownFields::Refuse).unwrap(), status);
    assert_eq!(print(&ConnectionsResponse::default()), "{}");
    let filter: FlowFilter =
        parse(r#"{"source_pod":["prod/"],"destinationPort":["8080"]}"#, UnknownFields::Refuse).unwrap();
    assert_eq!(print(&filter), r#"{"source_pod":["prod/"],"destination_port":["8080"]}"#);
    let paths = vec!["time".to_owned(), "source.pod_name".to_owned()];
    let request = GetFlowsRequest { field_mask: Some(FieldMask { paths }), ..GetFlowsRequest::default() };
    assert_eq!(print(&request), r#"{"field_mask":"time,source.podName"}"#);
}

#[test]
fn numbers_have_gos_exponents() {
    for (rate, text) in
        [(1.0, "1"), (1e20, "100000000000000000000"), (1e21, "1e+21"), (1.5e-7, "1.5e-7"), (-0.25, "-0.25")]
    {
        let status = ServerStatusResponse { flows_rate: rate, ..ServerStatusResponse::default() };
        assert_eq!(print(&status), format!(r#"{{"flows_rate":{text}}}"#));
    }
    let status = ServerStatusResponse { flows_rate: f64::NEG_INFINITY, ..ServerStatusResponse::default() };
    assert_eq!(print(&status), r#"{"flows_rate":"-Infinity"}"#);
}

#[test]
fn an_any_shows_what_is_inside_or_its_bytes() {
    let any = |type_url: &str, value: Vec<u8>| {
        of_flow(Flow { extensions: Some(Any { type_url: type_url.to_owned(), value }), ..Flow::default() })
    };
    let service = crate::flow::Service { name: "api".to_owned(), namespace: String::new() };
    assert_eq!(
        any("type.googleapis.com/flow.Service", service.encode_to_vec()),
        r#"{"flow":{"extensions":{"@type":"type.googleapis.com/flow.Service","name":"api"}}}"#
    );
    assert_eq!(any("x/y.Z", vec![1, 2, 3]), r#"{"flow":{"extensions":{"@type":"x/y.Z","value":"AQID"}}}"#);
    assert_eq!(
        any("x/google.protobuf.BoolValue", vec![8, 1]),
        r#"{"flow":{"extensions":{"@type":"x/google.protobuf.BoolValue","value":true}}}"#
    );
}

#[test]
fn errors_name_message_and_position() {
    let error = from_json("{\"flow\":{\"time\":\"yesterday\"}}").unwrap_err().to_string();
    assert!(
        error.starts_with("not a observer.GetFlowsResponse in JSON: ") && error.contains("column"),
        "{error}"
    );
    let typed =
        parse::<FlowFilter>(r#"{"sauce_ip":["1.2.3.4"]}"#, UnknownFields::Refuse).unwrap_err().to_string();
    assert!(typed.contains("sauce_ip"), "{typed}");
    assert!(parse::<FlowFilter>(r#"{"sauce_ip":["1.2.3.4"]}"#, UnknownFields::Ignore).is_ok());
    assert!(parse::<FlowFilter>("{} x", UnknownFields::Ignore).is_err());
    assert!(from_json("").is_err());
    assert!(matches!(print_encoded("flow.Nothing", &[]), Err(JsonError::UnknownMessage(_))));
    assert!(matches!(print_encoded("flow.Flow", &[0xff]), Err(JsonError::Bytes { .. })));
}

#[test]
fn no_message_of_the_wire_needs_what_the_writer_lacks() {
    assert!(POOL.get_message_by_name("observer.GetFlowsResponse").is_some());
    for message in POOL.all_messages() {
        assert!(!message.is_map_entry(), "{} is a map", message.full_name());
        for field in message.fields() {
            assert!(!field.is_group() && !field.is_map(), "{}", field.full_name());
            if let Kind::Enum(kind) = field.kind() {
                assert_ne!(kind.full_name(), "google.protobuf.NullValue");
            }
        }
    }
}

proptest! {
    #[test]
    fn what_is_printed_reads_back_as_the_same(entropy in proptest::collection::vec(any::<u8>(), 0..600)) {
        let descriptor = descriptor("observer.GetFlowsResponse").unwrap();
        let drawn = crate::drawn::draw(&descriptor, &mut entropy.into_iter(), 6);
        let mut response: GetFlowsResponse = drawn.transcode_to().unwrap();
        // What no program sends: an `Any` without a type.
        if let Some(ResponseTypes::Flow(flow)) = &mut response.response_types {
            flow.extensions = None;
        }
        let printed = to_json(&response);
        let read = from_json(&printed).unwrap_or_else(|error| panic!("{error}: {printed}"));
        prop_assert!(read == response, "{}\n{}", printed, to_json(&read));
    }

    #[test]
    fn any_text_prints_as_one_line_that_reads_back(node_name in ".*") {
        let response = GetFlowsResponse { node_name, ..GetFlowsResponse::default() };
        let printed = to_json(&response);
        let escaped = !printed.contains(['\n', '<', '>', '&', '\u{2028}']);
        prop_assert!(escaped, "{}", printed);
        prop_assert_eq!(from_json(&printed).unwrap(), response);
    }

    #[test]
    fn arbitrary_text_is_refused_without_panic(text in ".{0,64}") {
        let _ = from_json(&text);
    }
}
