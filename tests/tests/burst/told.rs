//! What the daemon told of the burst: asked by gRPC, since there is too much of it for JSON.

use std::collections::{HashMap, HashSet};
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use tokio_stream::StreamExt as _;
use tonic::transport::Endpoint;
use weir_proto::flow::layer4::Protocol;
use weir_proto::flow::{Flow, FlowFilter};
use weir_proto::observer::GetFlowsRequest;
use weir_proto::observer::get_flows_response::ResponseTypes;
use weir_proto::observer::observer_client::ObserverClient;
use weir_proto::weir::v1::{FlowDetail, Reason};

/// So long may it take until everything is through, on a machine of two cores that did the calls too.
pub const DRAINED: Duration = Duration::from_secs(120);
/// Without a new flow for so long, nothing more comes of the calls.
const STILL: Duration = Duration::from_secs(12);

/// A connection's last word.
#[derive(Clone, Debug)]
pub struct Connection {
    pub client_port: u16,
    pub server_port: u16,
    pub payload_forward: u64,
    pub payload_reverse: u64,
    over: bool,
    /// How it was seen, for whoever has to find out why it is wrong.
    pub seen: String,
}

/// All that was told.
#[derive(Debug, Default)]
pub struct Told {
    pub connections: HashMap<u64, Connection>,
    /// Connections whose end was not told yet.
    pub open: usize,
    pub lost_frames: u64,
    flows: u64,
}

impl Told {
    /// Reads what was told of this client's TCP.
    pub fn read(socket: &Path, client: Ipv4Addr) -> Result<Self> {
        let own = FlowFilter {
            source_ip: vec![client.to_string()],
            protocol: vec!["tcp".to_owned()],
            ..FlowFilter::default()
        };
        let mut told = Self::default();
        each(socket, own, |answer| match answer {
            ResponseTypes::Flow(flow) => told.take(&flow),
            ResponseTypes::LostEvents(lost) => told.lost_frames += lost.num_events_lost,
            _ => {}
        })?;
        told.open = told.connections.values().filter(|connection| !connection.over).count();
        Ok(told)
    }

    fn take(&mut self, flow: &Flow) {
        self.flows += 1;
        let (Some(detail), Some((client_port, server_port))) = (&flow.weir, ports(flow)) else { return };
        let total = detail.total.unwrap_or_default();
        let connection = Connection {
            client_port,
            server_port,
            payload_forward: total.payload_bytes_forward,
            payload_reverse: total.payload_bytes_reverse,
            over: detail.reason() == Reason::End,
            seen: seen(flow.time, detail),
        };
        self.connections.insert(detail.connection_id, connection);
    }

    /// True if there was nothing new for a while. `before`: how many flows there were when last looked at, and since when.
    pub fn is_still(&self, before: &mut Option<(u64, Instant)>) -> bool {
        match *before {
            Some((flows, since)) if flows == self.flows => since.elapsed() > STILL,
            _ => {
                *before = Some((self.flows, Instant::now()));
                false
            }
        }
    }
}

fn seen(told: Option<prost_types::Timestamp>, detail: &FlowDetail) -> String {
    let time = |time: Option<prost_types::Timestamp>| {
        time.map_or(0.0, |it| it.seconds as f64 + f64::from(it.nanos) / 1e9)
    };
    let mut seen = format!(
        "{:?} {:?} {:?} told {:.6}, from {:.6} to {:.6}",
        detail.reason(),
        detail.state(),
        detail.incomplete().collect::<Vec<_>>(),
        time(told),
        time(detail.first_packet),
        time(detail.last_packet)
    );
    for point in &detail.path {
        let counted = point.counters.unwrap_or_default();
        seen += &format!("; {} {} > < {}", point.device, counted.packets_forward, counted.packets_reverse);
    }
    seen
}

fn ports(flow: &Flow) -> Option<(u16, u16)> {
    match flow.l4.as_ref()?.protocol.as_ref()? {
        Protocol::Tcp(tcp) => Some((tcp.source_port.try_into().ok()?, tcp.destination_port.try_into().ok()?)),
        _ => None,
    }
}

/// Devices by which datagrams to this address were seen.
pub fn devices(socket: &Path, to: Ipv4Addr) -> Result<HashSet<String>> {
    let filter = FlowFilter {
        destination_ip: vec![to.to_string()],
        protocol: vec!["udp".to_owned()],
        ..FlowFilter::default()
    };
    let mut devices = HashSet::new();
    each(socket, filter, |answer| {
        if let ResponseTypes::Flow(flow) = answer {
            let path = flow.weir.map(|detail| detail.path).unwrap_or_default();
            devices.extend(path.into_iter().map(|point| point.device));
        }
    })?;
    Ok(devices)
}

fn each(socket: &Path, filter: FlowFilter, mut take: impl FnMut(ResponseTypes)) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let address = format!("unix://{}", socket.display());
        let channel =
            Endpoint::from_shared(address)?.connect().await.context("the daemon does not answer")?;
        let mut client = ObserverClient::new(channel);
        let request = GetFlowsRequest {
            number: u64::MAX,
            first: true,
            whitelist: vec![filter],
            ..GetFlowsRequest::default()
        };
        let mut answers = client.get_flows(request).await?.into_inner();
        while let Some(answer) = answers.next().await {
            if let Some(answer) = answer?.response_types {
                take(answer);
            }
        }
        Ok(())
    })
}
