//! A relay under test, its clients, and what their streams give.

use super::*;

pub(super) struct Relay {
    pub(super) app: App,
    pub(super) channel: Channel,
}

impl Relay {
    pub(super) async fn start(peers: &[String], flags: &[&str]) -> Self {
        let own = ["weir-relay", "--listen", "127.0.0.1:0", "--unix", "none"].map(str::to_owned);
        let peers = peers.iter().flat_map(|peer| ["--peer".to_owned(), peer.clone()]);
        let flags = flags.iter().map(|flag| (*flag).to_owned());
        let config =
            Args::try_parse_from(own.into_iter().chain(peers).chain(flags)).unwrap().check().unwrap();
        let app = App::start(config).await.unwrap();
        let uri = format!("http://{}", app.address().unwrap());
        let channel = Channel::from_shared(uri).unwrap().connect().await.unwrap();
        Self { app, channel }
    }

    /// With all peers connected.
    pub(super) async fn with(daemons: &[&Daemon], flags: &[&str]) -> Self {
        let peers: Vec<_> = daemons.iter().map(|daemon| daemon.peer()).collect();
        let relay = Self::start(&peers, flags).await;
        relay
            .until(|status| {
                usize::try_from(status.num_connected_nodes.unwrap_or(0)).unwrap() == daemons.len()
            })
            .await;
        relay
    }

    pub(super) fn observer(&self) -> ObserverClient<Channel> {
        ObserverClient::new(self.channel.clone())
    }

    pub(super) async fn status(&self) -> ServerStatusResponse {
        self.observer().server_status(ServerStatusRequest {}).await.unwrap().into_inner()
    }

    /// Asks again and again until it is so.
    pub(super) async fn until(&self, is_so: impl Fn(&ServerStatusResponse) -> bool) -> ServerStatusResponse {
        soon(async {
            loop {
                let status = self.status().await;
                if is_so(&status) {
                    return status;
                }
                tokio::task::yield_now().await;
            }
        })
        .await
    }

    /// Until so many flows and other entries are in the history.
    pub(super) async fn until_told(&self, entries: u64) {
        self.until(|status| status.weir.as_ref().is_some_and(|weir| weir.seq >= entries)).await;
    }

    pub(super) async fn flows(&self, request: GetFlowsRequest) -> Flows {
        Flows(self.observer().get_flows(request).await.unwrap().into_inner())
    }

    pub(super) async fn all(&self, request: GetFlowsRequest) -> Vec<GetFlowsResponse> {
        self.flows(request).await.rest().await
    }

    pub(super) async fn connections(
        &self,
        request: ConnectionsRequest,
    ) -> Streaming<weir_proto::weir::v1::ConnectionsResponse> {
        WeirClient::new(self.channel.clone()).connections(request).await.unwrap().into_inner()
    }
}

pub(super) struct Flows(pub(super) Streaming<GetFlowsResponse>);

impl Flows {
    pub(super) async fn next(&mut self) -> GetFlowsResponse {
        soon(self.0.message()).await.unwrap().expect("goes on")
    }

    pub(super) async fn rest(&mut self) -> Vec<GetFlowsResponse> {
        let mut all = Vec::new();
        while let Some(message) = soon(self.0.message()).await.unwrap() {
            all.push(message);
        }
        all
    }

    /// The next flow's uuid, and what was lost before it.
    pub(super) async fn next_flow(&mut self) -> (String, u64) {
        let mut lost = 0;
        loop {
            match self.next().await.response_types {
                Some(ResponseTypes::Flow(flow)) => return (flow.uuid, lost),
                Some(ResponseTypes::LostEvents(event)) => lost += event.num_events_lost,
                _ => {}
            }
        }
    }

    pub(super) async fn next_status(&mut self) -> (NodeState, Vec<String>, String) {
        loop {
            if let Some(ResponseTypes::NodeStatus(event)) = self.next().await.response_types {
                return (event.state_change(), event.node_names.clone(), event.message);
            }
        }
    }
}
