//! What clients and servers send each other: queries, filters, JSON, field masks, records.

use prost::Message;
use prost::bytes::{Bytes, BytesMut};
use weir_proto::filter::Filter;
use weir_proto::flow::{Flow, FlowFilter};
use weir_proto::mask::Mask;
use weir_proto::observer::{GetFlowsRequest, GetFlowsResponse};
use weir_proto::query::Query;
use weir_proto::{json, mask, wire};

use crate::script::Script;

/// A query as somebody types it. What it prints is a query that says the same.
pub(crate) fn query(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match Query::parse(text) {
        Ok(query) => {
            let printed = query.expr().to_string();
            let again = Query::parse(&printed);
            assert_eq!(again.map(|again| again.expr().to_string()).as_ref(), Ok(&printed), "of {text:?}");
            let _ = query.matches(&Flow::default());
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// A filter and a flow, both from the wire.
pub(crate) fn filter(bytes: &[u8]) {
    let mut script = Script::new(bytes);
    let (white, black) = (script.piece(), script.piece());
    let lists = [white, black].map(|list| FlowFilter::decode(list).map(|filter| vec![filter]));
    let ([Ok(white), Ok(black)], Ok(flow)) = (lists, Flow::decode(script.rest())) else { return };
    if let Ok(filter) = Filter::compile(&white, &black) {
        let _ = (filter.matches(&flow), filter.is_everything());
    }
}

/// JSON to an answer and back, and an answer from the wire to JSON and back.
pub(crate) fn json(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Ok(answer) = json::from_json(text)
    {
        let printed = json::to_json(&answer);
        assert_eq!(json::from_json(&printed).map(|again| json::to_json(&again)).ok(), Some(printed));
    }
    if let Ok(answer) = GetFlowsResponse::decode(bytes) {
        let _ = json::to_json(&answer);
    }
}

/// A field mask on an encoded flow, by walking it.
pub(crate) fn mask(bytes: &[u8]) {
    let mut script = Script::new(bytes);
    let request = GetFlowsRequest::decode(script.piece()).unwrap_or_default();
    let Some(Ok(mask)) = mask::requested(&request).map(Mask::compile) else { return };
    let flow = script.rest();
    let mut out = BytesMut::new();
    mask.apply(flow, &mut out);
    if Flow::decode(flow).is_ok() {
        assert!(Flow::decode(out.freeze()).is_ok(), "a mask broke a flow");
    }
    let mut out = BytesMut::new();
    mask.apply_to_response(flow, &mut out);
}

/// An answer of a peer, as the relay reads it.
pub(crate) fn record(bytes: &[u8]) {
    if let Ok(envelope) = wire::Envelope::read(bytes) {
        assert!(envelope.flow.is_none_or(|flow| bytes.get(flow).is_some()), "a flow beyond its answer");
    }
    let node = weir_relay::node::NodeName::from("node");
    if let Ok(weir_relay::peer::Answer::Flow(record, _)) =
        weir_relay::peer::read(&node, &Bytes::copy_from_slice(bytes))
    {
        let _ = record.decode_flow();
    }
}
