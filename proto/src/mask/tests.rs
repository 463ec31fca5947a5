//! Masks on encoded bytes against masks on decoded messages; damaged bytes never panic.

use proptest::prelude::*;
use prost::Message as _;
use prost_reflect::{DynamicMessage, ReflectMessage as _};

use super::*;
use crate::drawn::draw;
use crate::json::print_encoded;
use crate::observer::GetFlowsResponse;
use crate::observer::get_flows_request::Experimental;
use crate::observer::get_flows_response::ResponseTypes;

fn mask(paths: &[&str]) -> FieldMask {
    FieldMask { paths: paths.iter().map(|path| (*path).to_owned()).collect() }
}

fn compiled(paths: &[&str]) -> Mask {
    Mask::compile(&mask(paths)).unwrap()
}

fn apply(mask: &Mask, encoded: &[u8]) -> Vec<u8> {
    let mut out = BytesMut::new();
    mask.apply(encoded, &mut out);
    out.to_vec()
}

fn descriptor() -> MessageDescriptor {
    POOL.get_message_by_name("flow.Flow").unwrap()
}

/// Every path that a mask over a flow can name.
fn all_paths(message: &MessageDescriptor, prefix: &str, paths: &mut Vec<String>) {
    for field in message.fields() {
        let path = format!("{prefix}{}", field.name());
        if let (Kind::Message(below), false) = (field.kind(), field.is_list()) {
            all_paths(&below, &format!("{path}."), paths);
        }
        paths.push(path);
    }
}

fn paths() -> impl Strategy<Value = Vec<String>> {
    let mut all = Vec::new();
    all_paths(&descriptor(), "", &mut all);
    proptest::collection::vec(prop::sample::select(all), 1..8)
}

/// The specification: clears what no path keeps in a decoded message.
fn clear(message: &mut DynamicMessage, paths: &[&str]) {
    for field in message.descriptor().fields().collect::<Vec<_>>() {
        let below: Vec<&str> = paths
            .iter()
            .filter_map(|path| path.strip_prefix(field.name()))
            .filter(|rest| rest.is_empty() || rest.starts_with('.'))
            .collect();
        if below.is_empty() {
            message.clear_field(&field);
        } else if !below.contains(&"") && message.has_field(&field) {
            let rests: Vec<&str> = below.iter().map(|rest| &rest[1..]).collect();
            if let Some(inside) = message.get_field_mut(&field).as_message_mut() {
                clear(inside, &rests);
            }
        }
    }
}

/// Two encodings of the same flow, unknown fields included.
fn same_flow(kept: &[u8], expected: &[u8]) -> Result<(), TestCaseError> {
    let decode = |bytes: &[u8]| DynamicMessage::decode(descriptor(), bytes).unwrap();
    let show = |bytes: &[u8]| print_encoded("flow.Flow", bytes).unwrap();
    prop_assert!(decode(kept) == decode(expected), "{}\n{}", show(kept), show(expected));
    Ok(())
}

fn entropy() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(any::<u8>(), 0..600)
}

proptest! {
    #[test]
    fn keeps_what_decoding_clearing_and_encoding_keeps(bytes in entropy(), paths in paths()) {
        let flow = draw(&descriptor(), &mut bytes.into_iter(), 5);
        let borrowed: Vec<&str> = paths.iter().map(String::as_str).collect();
        let mut encoded = flow.encode_to_vec();
        // A field that nobody knows, 123456 = 7.
        encoded.extend([0x80, 0xa4, 0x3c, 0x07]);
        let kept = apply(&compiled(&borrowed), &encoded);
        let mut expected = flow;
        clear(&mut expected, &borrowed);
        same_flow(&kept, &expected.encode_to_vec())?;
    }

    #[test]
    fn the_mask_of_two_occurrences_is_the_mask_of_both_merged(
        first in entropy(), second in entropy(), paths in paths(),
    ) {
        let draw = |bytes: Vec<u8>| {
            let mut flow: Flow = draw(&descriptor(), &mut bytes.into_iter(), 5).transcode_to().unwrap();
            (flow.l4, flow.l7, flow.tunnel) = (None, None, None);
            flow
        };
        let borrowed: Vec<&str> = paths.iter().map(String::as_str).collect();
        let mask = compiled(&borrowed);
        let occurrences = [draw(first).encode_to_vec(), draw(second).encode_to_vec()].concat();
        let mut expected = DynamicMessage::decode(descriptor(), occurrences.as_slice()).unwrap();
        clear(&mut expected, &borrowed);
        same_flow(&apply(&mask, &occurrences), &expected.encode_to_vec())?;
    }

    #[test]
    fn malformed_bytes_end_quietly(
        mut bytes in entropy(), paths in paths(), garbage in proptest::collection::vec(any::<u8>(), 0..32),
        at in any::<prop::sample::Index>(),
    ) {
        let encoded = draw(&descriptor(), &mut bytes.drain(..), 5).encode_to_vec();
        let cut = at.index(encoded.len() + 1);
        let damaged = [&encoded[..cut], &garbage].concat();
        let borrowed: Vec<&str> = paths.iter().map(String::as_str).collect();
        let kept = apply(&compiled(&borrowed), &damaged);
        // What is kept is itself well formed: its fields can be walked to the end.
        prop_assert!(Fields::of(&kept).all(|field| field.is_ok()));
        prop_assert!(kept.len() <= damaged.len());
    }
}

#[test]
fn a_parent_swallows_its_children_in_any_order() {
    assert_eq!(compiled(&["source", "source.pod_name"]), compiled(&["source"]));
    assert_eq!(compiled(&["source.pod_name", "source"]), compiled(&["source"]));
    assert!(compiled(&[]).is_everything() && !compiled(&["time"]).is_everything());
}

#[test]
fn errors_name_path_and_position() {
    for (path, message) in [
        ("nonsense", r#"field_mask.paths[1]: "nonsense": flow.Flow has no field "nonsense", at position 0"#),
        (
            "source.pod",
            r#"field_mask.paths[1]: "source.pod": flow.Endpoint has no field "pod", at position 7"#,
        ),
        ("", r#"field_mask.paths[1]: "": flow.Flow has no field "", at position 0"#),
        ("source.", r#"field_mask.paths[1]: "source.": flow.Endpoint has no field "", at position 7"#),
        (
            "verdict.x",
            r#"field_mask.paths[1]: "verdict.x": flow.Flow.verdict is not a single message, so that nothing can follow it, at position 8"#,
        ),
        (
            "source.workloads.name",
            r#"field_mask.paths[1]: "source.workloads.name": flow.Endpoint.workloads is not a single message, so that nothing can follow it, at position 17"#,
        ),
    ] {
        assert_eq!(Mask::compile(&mask(&["time", path])).unwrap_err().to_string(), message);
    }
}

#[test]
fn the_envelope_of_a_response_stays() {
    let flow = Flow { uuid: "u".to_owned(), node_name: "n".to_owned(), ..Flow::default() };
    let mut response = GetFlowsResponse {
        node_name: "n".to_owned(),
        response_types: Some(ResponseTypes::Flow(flow)),
        ..GetFlowsResponse::default()
    };
    let mut out = BytesMut::new();
    compiled(&["uuid"]).apply_to_response(&response.encode_to_vec(), &mut out);
    if let Some(ResponseTypes::Flow(flow)) = &mut response.response_types {
        flow.node_name.clear();
    }
    assert_eq!(GetFlowsResponse::decode(out.freeze()).unwrap(), response);
}

#[test]
fn old_clients_put_the_mask_elsewhere() {
    // experimental { field_mask { paths: "time" } } as it was sent: 999 = { 1 = { 1 = "time" } }.
    let old = GetFlowsRequest::decode(
        [0xba, 0x3e, 0x08, 0x0a, 0x06, 0x0a, 0x04, b't', b'i', b'm', b'e'].as_slice(),
    );
    let mut request = old.unwrap();
    assert_eq!(requested(&request), Some(&mask(&["time"])));
    request.field_mask = Some(mask(&["verdict"]));
    assert_eq!(requested(&request), Some(&mask(&["verdict"])));
    request.experimental = Some(Experimental::default());
    request.field_mask = None;
    assert_eq!(requested(&request), None);
}
