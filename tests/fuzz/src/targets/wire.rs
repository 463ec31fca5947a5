//! What clients and servers send each other: queries, filters, JSON, field masks, records.

use std::sync::LazyLock;

use prost::Message;
use prost::bytes::{Bytes, BytesMut};
use weir_proto::filter::{Filter, Lists};
use weir_proto::flow::{Flow, FlowFilter};
use weir_proto::mask::Mask;
use weir_proto::observer::{GetFlowsRequest, GetFlowsResponse};
use weir_proto::query::{Query, complete};
use weir_proto::{json, mask, wire};

use crate::script::Script;

/// A flow that carries something for every field of the query language; empty if its text is no flow, which a test would tell.
static RICH: LazyLock<Flow> = LazyLock::new(|| {
    let text = include_str!("../../../../proto/src/query/tests/rich.json");
    json::parse(text, json::UnknownFields::Refuse).unwrap_or_default()
});

/// A query as somebody types it, whole or not yet. What it prints is a query that says the same of every flow.
pub(crate) fn query(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match Query::parse(text) {
        Ok(query) => {
            let printed = query.expr().to_string();
            let again = Query::parse(&printed);
            let lists = query.narrow(Lists::default());
            let filter = Filter::compile(&lists.whitelist, &lists.blacklist);
            for flow in [&Flow::default(), &*RICH] {
                let passes = query.matches(flow);
                assert_eq!(again.as_ref().map(|again| again.matches(flow)), Ok(passes), "of {text:?}");
                // A filter has fewer patterns than a text may have.
                let differs = filter.as_ref().is_ok_and(|filter| filter.matches(flow) != passes);
                assert!(!differs, "of {text:?}");
            }
            assert_eq!(again.map(|again| again.expr().to_string()).as_ref(), Ok(&printed), "of {text:?}");
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    let completion = complete(text, text.chars().count());
    assert!(completion.replaces.end <= text.chars().count(), "a place behind the text");
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
