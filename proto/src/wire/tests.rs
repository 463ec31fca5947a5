//! Envelopes read off the bytes against decoding; damaged bytes never panic.

use proptest::prelude::*;
use prost::Message as _;

use super::*;
use crate::flow::{Flow, LostEvent};
use crate::observer::GetFlowsResponse;
use crate::observer::get_flows_response::ResponseTypes;
use crate::relay::NodeStatusEvent;
use crate::weir::v1::Place;

fn carried() -> impl Strategy<Value = Option<ResponseTypes>> {
    prop_oneof![
        Just(None),
        "[a-z]{0,8}".prop_map(|uuid| Some(ResponseTypes::Flow(Flow { uuid, ..Flow::default() }))),
        Just(Some(ResponseTypes::NodeStatus(NodeStatusEvent::default()))),
        any::<u64>().prop_map(|num_events_lost| {
            Some(ResponseTypes::LostEvents(LostEvent { num_events_lost, ..LostEvent::default() }))
        }),
    ]
}

fn place() -> impl Strategy<Value = Place> {
    (".{0,5}", any::<[u64; 4]>()).prop_map(|(node, [run, seq, previous_run, previous_seq])| Place {
        node,
        run,
        seq,
        previous_run,
        previous_seq,
    })
}

fn response() -> impl Strategy<Value = GetFlowsResponse> {
    let time = proptest::option::of((any::<i64>(), any::<i32>()));
    (carried(), ".{0,9}", time, proptest::option::of(place())).prop_map(
        |(response_types, node_name, time, weir)| GetFlowsResponse {
            node_name,
            time: time.map(|(seconds, nanos)| Timestamp { seconds, nanos }),
            weir,
            response_types,
        },
    )
}

/// What a full decoder makes of the bytes, in the shape of an envelope, and the flow.
fn decoded(bytes: &[u8]) -> Option<(GetFlowsResponse, Carries)> {
    let response = GetFlowsResponse::decode(bytes).ok()?;
    let carries = match response.response_types {
        None => Carries::Nothing,
        Some(ResponseTypes::Flow(_)) => Carries::Flow,
        Some(ResponseTypes::NodeStatus(_)) => Carries::NodeStatus,
        Some(ResponseTypes::LostEvents(_)) => Carries::LostEvents,
    };
    Some((response, carries))
}

fn agrees(bytes: &[u8], envelope: &Envelope<'_>) -> Result<(), TestCaseError> {
    let Some((response, carries)) = decoded(bytes) else { return Ok(()) };
    prop_assert_eq!(&response.time, &envelope.time);
    prop_assert_eq!(response.node_name.as_str(), envelope.node_name);
    prop_assert_eq!(carries, envelope.carries);
    prop_assert_eq!(envelope.flow.is_some(), carries == Carries::Flow);
    prop_assert_eq!(&response.weir, &envelope.place.map(PlaceRef::to_owned));
    Ok(())
}

proptest! {
    #[test]
    fn agrees_with_a_full_decoder(messages in proptest::collection::vec(response(), 1..4)) {
        // One message after another is an encoding of all merged.
        let bytes: Vec<u8> = messages.iter().flat_map(prost::Message::encode_to_vec).collect();
        let envelope = Envelope::read(&bytes).unwrap();
        agrees(&bytes, &envelope)?;
        if let ([GetFlowsResponse { response_types: Some(ResponseTypes::Flow(flow)), .. }], Some(range)) =
            (messages.as_slice(), envelope.flow)
        {
            prop_assert_eq!(&Flow::decode(&bytes[range.clone()]).unwrap(), flow);
            prop_assert_eq!(flows(&bytes).collect::<Vec<_>>(), vec![range]);
        }
    }

    #[test]
    fn garbage_is_read_as_a_full_decoder_does_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        if let Ok(envelope) = Envelope::read(&bytes) {
            agrees(&bytes, &envelope)?;
        } else {
            prop_assert!(GetFlowsResponse::decode(bytes.as_slice()).is_err());
        }
        flows(&bytes).for_each(drop);
    }

    #[test]
    fn damage_is_read_as_a_full_decoder_does_or_refused(
        message in response(), at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = message.encode_to_vec();
        if !bytes.is_empty() {
            let at = at.index(bytes.len());
            bytes[at] = byte;
            bytes.truncate(cut.index(bytes.len()) + 1);
        }
        if let Ok(envelope) = Envelope::read(&bytes) {
            agrees(&bytes, &envelope)?;
        } else {
            prop_assert!(GetFlowsResponse::decode(bytes.as_slice()).is_err());
        }
    }
}

#[test]
fn a_second_occurrence_belongs_to_the_flow() {
    let flow = |uuid: &str, verdict| GetFlowsResponse {
        response_types: Some(ResponseTypes::Flow(Flow { uuid: uuid.to_owned(), verdict, ..Flow::default() })),
        ..GetFlowsResponse::default()
    };
    let bytes = [flow("u", 0).encode_to_vec(), flow("", 2).encode_to_vec()].concat();
    let joined: Vec<u8> = flows(&bytes).flat_map(|range| bytes[range].to_vec()).collect();
    let merged = Flow::decode(joined.as_slice()).unwrap();
    assert_eq!((merged.uuid.as_str(), merged.verdict), ("u", 2));
}

#[test]
fn groups_are_stepped_over_and_must_end() {
    let ended = [0x0b, 0x08, 0x01, 0x13, 0x14, 0x0c, 0xc2, 0x3e, 0x01, b'n'];
    assert_eq!(Envelope::read(&ended[6..]).unwrap().node_name, "n");
    let fields: Vec<_> = Fields::of(&ended).collect();
    assert_eq!(fields[0], Ok(Field { number: 1, value: Value::Group, range: 0..6 }));
    assert_eq!(fields.len(), 2);
    for open in [&ended[..5], &[0x0b, 0x14], &[0x0c], &[0x0b; 400]] {
        assert!(Fields::of(open).any(|field| field.is_err()), "{open:?}");
    }
}
