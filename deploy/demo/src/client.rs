//! Asks weir over gRPC, as any client would: by a unix socket, with Hubble's services and weir's own.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tokio::time::timeout;
use tokio_stream::StreamExt;
use tonic::transport::{Channel, Endpoint};
use weir_proto::flow::{Flow, FlowFilter};
use weir_proto::observer::observer_client::ObserverClient;
use weir_proto::observer::{
    GetFlowsRequest, GetFlowsResponse, ServerStatusRequest, ServerStatusResponse,
    get_flows_response::ResponseTypes,
};
use weir_proto::weir::v1::connections_response::Response;
use weir_proto::weir::v1::weir_client::WeirClient;
use weir_proto::weir::v1::{Connection, ConnectionsRequest, GetFlowsOptions, Place};

/// How long an answer may take.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// A connection to a daemon or a relay.
#[derive(Clone, Debug)]
pub struct Client {
    channel: Channel,
}

impl Client {
    /// Connects when the first question is asked, and again when the server was away.
    pub fn new(socket: &Path) -> Self {
        let socket: PathBuf = socket.to_owned();
        let connector = tower::service_fn(move |_| {
            let socket = socket.clone();
            async move { UnixStream::connect(socket).await.map(TokioIo::new) }
        });
        // The name is for the Host header alone: the connector knows the way.
        let channel = Endpoint::from_static("http://weir.local").connect_with_connector_lazy(connector);
        Self { channel }
    }

    pub async fn status(&self) -> Result<ServerStatusResponse> {
        let answer = ObserverClient::new(self.channel.clone()).server_status(ServerStatusRequest {}).await;
        Ok(answer.context("ServerStatus was refused")?.into_inner())
    }

    /// All connections known now that pass the filter.
    pub async fn connections(&self, filter: FlowFilter) -> Result<Vec<Connection>> {
        let request = ConnectionsRequest { whitelist: vec![filter], ..ConnectionsRequest::default() };
        let ask = async {
            let answer = WeirClient::new(self.channel.clone()).connections(request).await;
            let mut stream = answer.context("Connections was refused")?.into_inner();
            let mut connections = Vec::new();
            while let Some(item) = stream.next().await {
                if let Some(Response::Connection(row)) = item.context("Connections broke off")?.response {
                    connections.push(row);
                }
            }
            anyhow::Ok(latest(connections))
        };
        timeout(ANSWER_LIMIT, ask).await.context("Connections did not end in time")?
    }

    /// All flows in memory that pass the filter, oldest first.
    pub async fn flows(&self, filter: FlowFilter) -> Result<Vec<Flow>> {
        let request = GetFlowsRequest {
            number: u64::MAX,
            first: true,
            whitelist: vec![filter],
            ..GetFlowsRequest::default()
        };
        let ask = async {
            let mut stream = self.open(request).await?;
            let mut flows = Vec::new();
            while let Some(item) = stream.next().await {
                if let Some(ResponseTypes::Flow(flow)) = item.context("GetFlows broke off")?.response_types {
                    flows.push(flow);
                }
            }
            anyhow::Ok(flows)
        };
        timeout(ANSWER_LIMIT, ask).await.context("GetFlows did not end in time")?
    }

    /// What comes from now on, each flow with its place.
    pub async fn follow(&self) -> Result<tonic::Streaming<GetFlowsResponse>> {
        let options = GetFlowsOptions { places: true, ..GetFlowsOptions::default() };
        self.open(GetFlowsRequest { follow: true, weir: Some(options), ..GetFlowsRequest::default() }).await
    }

    /// Place of the oldest flow in memory, which also tells of the run before.
    pub async fn first_place(&self) -> Result<Place> {
        let options = GetFlowsOptions { places: true, ..GetFlowsOptions::default() };
        let request =
            GetFlowsRequest { number: 1, first: true, weir: Some(options), ..GetFlowsRequest::default() };
        let ask = async {
            let mut stream = self.open(request).await?;
            while let Some(item) = stream.next().await {
                if let Some(place) = item.context("GetFlows broke off")?.weir {
                    return Ok(place);
                }
            }
            bail!("GetFlows gave no flow with a place")
        };
        timeout(ANSWER_LIMIT, ask).await.context("GetFlows did not end in time")?
    }

    async fn open(&self, request: GetFlowsRequest) -> Result<tonic::Streaming<GetFlowsResponse>> {
        let answer = ObserverClient::new(self.channel.clone()).get_flows(request).await;
        Ok(answer.context("GetFlows was refused")?.into_inner())
    }
}

/// The newest revision of each connection, in the order of first mention.
fn latest(told: Vec<Connection>) -> Vec<Connection> {
    let mut rows: Vec<Connection> = Vec::new();
    for row in told {
        match rows.iter_mut().find(|known| known.id == row.id) {
            Some(known) => *known = row,
            None => rows.push(row),
        }
    }
    rows
}
