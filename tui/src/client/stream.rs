//! Answers of the two large streams, left encoded: the screen keeps thousands and reads few.

use bytes::Bytes;
use http::uri::PathAndQuery;
use tonic::transport::Channel;
use tonic::{Request, Status, Streaming};
use weir_proto::flow::LostEvent;
use weir_proto::observer::GetFlowsRequest;
use weir_proto::weir::v1::{ConnectionsRequest, Notice};

use super::MAX_MESSAGE_BYTES;

/// `weir.v1.ConnectionsResponse`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ConnectionsAnswer {
    /// A connection; more than one occurrence stands for their merger, which is their concatenation.
    #[prost(bytes = "bytes", repeated, tag = "1")]
    pub connection: Vec<Bytes>,
    /// Something about the stream.
    #[prost(message, optional, tag = "2")]
    pub notice: Option<Notice>,
}

/// `observer.GetFlowsResponse`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct FlowsAnswer {
    /// A flow, occurrences as above: what a relay adds is one of its own.
    #[prost(bytes = "bytes", repeated, tag = "1")]
    pub flow: Vec<Bytes>,
    /// Flows that were lost.
    #[prost(message, optional, tag = "3")]
    pub lost: Option<LostEvent>,
    /// Who saw it.
    #[prost(string, tag = "1000")]
    pub node_name: String,
    /// When.
    #[prost(message, optional, tag = "1001")]
    pub time: Option<prost_types::Timestamp>,
}

/// The occurrences of a message as one; nothing where there is none.
#[must_use]
pub fn merged(mut occurrences: Vec<Bytes>) -> Option<Bytes> {
    match occurrences.len() {
        0 | 1 => occurrences.pop(),
        _ => Some(occurrences.concat().into()),
    }
}

/// Asks for flows.
///
/// # Errors
/// What the server or the way to it answers.
pub async fn flows(channel: Channel, request: GetFlowsRequest) -> Result<Streaming<FlowsAnswer>, Status> {
    ask(channel, request, "/observer.Observer/GetFlows").await
}

/// Asks for connections.
///
/// # Errors
/// What the server or the way to it answers.
pub async fn connections(
    channel: Channel,
    request: ConnectionsRequest,
) -> Result<Streaming<ConnectionsAnswer>, Status> {
    ask(channel, request, "/weir.v1.Weir/Connections").await
}

async fn ask<Q, A>(channel: Channel, request: Q, path: &'static str) -> Result<Streaming<A>, Status>
where
    Q: prost::Message + Send + Sync + 'static,
    A: prost::Message + Default + Send + Sync + 'static,
{
    let mut grpc = tonic::client::Grpc::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES);
    grpc.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
    let codec = tonic_prost::ProstCodec::<Q, A>::default();
    let path = PathAndQuery::from_static(path);
    Ok(grpc.server_streaming(Request::new(request), path, codec).await?.into_inner())
}

#[cfg(test)]
mod tests {
    use prost::Message as _;
    use weir_proto::flow::Flow;
    use weir_proto::observer::GetFlowsResponse;
    use weir_proto::observer::get_flows_response::ResponseTypes;

    use super::*;

    #[test]
    fn what_a_relay_appends_is_merged() {
        let part = |flow: Flow| {
            GetFlowsResponse { response_types: Some(ResponseTypes::Flow(flow)), ..Default::default() }
                .encode_to_vec()
        };
        let told = Flow { node_name: "birch".to_owned(), uuid: "1".to_owned(), ..Default::default() };
        let added = Flow { uuid: "2".to_owned(), ..Default::default() };
        let encoded = [part(told), part(added)].concat();
        let answer = FlowsAnswer::decode(&encoded[..]).unwrap();
        let flow = Flow::decode(merged(answer.flow).unwrap()).unwrap();
        assert_eq!((flow.node_name.as_str(), flow.uuid.as_str()), ("birch", "2"));
        assert_eq!(merged(Vec::new()), None);
    }
}
