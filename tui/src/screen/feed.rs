//! The server's side of the screen: three questions asked over one channel, and asked again when the server went away.
//!
//! Everything goes into one bounded queue. A full queue makes the server wait; it then skips by its own rules and says so.

use std::time::Duration;

use tokio::sync::mpsc::Sender;
use tonic::transport::Channel;
use tonic::{Code, Status};
use weir_proto::observer::observer_client::ObserverClient;
use weir_proto::observer::{GetFlowsRequest, ServerStatusRequest};
use weir_proto::weir::v1::ConnectionsRequest;
use weir_proto::weir::v1::connections_response::Response;
use weir_proto::weir::v1::weir_client::WeirClient;

use crate::client::{self, MAX_MESSAGE_BYTES};
use crate::model::Told;

/// Flows asked for of the past.
const PAST_FLOWS: u64 = 2000;
/// Time between two questions after the status.
const STATUS_EVERY: Duration = Duration::from_secs(1);
/// A server that does not answer these in time is as good as away.
const STATUS_WITHIN: Duration = Duration::from_secs(10);
const FIRST_RETRY_MS: u64 = 250;
const LONGEST_RETRY_MS: u64 = 5000;

/// Goes on until the screen leaves.
pub async fn run(server: String, timeout: Duration, tell: Sender<Told>) {
    let mut retry_ms = FIRST_RETRY_MS;
    loop {
        let why = match client::connect(&server, timeout).await {
            Ok(channel) => {
                let why = session(channel, &tell, &mut retry_ms).await;
                // The server itself went away: its words are better than the transport's where it had any.
                if why.message().is_empty() {
                    why.code().description().to_owned()
                } else {
                    why.message().to_owned()
                }
            }
            Err(error) => error.to_string(),
        };
        if tell.send(Told::Away { why, retry_ms }).await.is_err() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(retry_ms)).await;
        retry_ms = next_retry(retry_ms);
    }
}

const fn next_retry(retry_ms: u64) -> u64 {
    let doubled = retry_ms * 2;
    if doubled < LONGEST_RETRY_MS { doubled } else { LONGEST_RETRY_MS }
}

/// Until the server goes away; tells how it went.
async fn session(channel: Channel, tell: &Sender<Told>, retry_ms: &mut u64) -> Status {
    let mut observer = ObserverClient::new(channel.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES);
    // A port that answers is not yet a server.
    let status = tokio::time::timeout(STATUS_WITHIN, observer.server_status(ServerStatusRequest {})).await;
    match status {
        Ok(Ok(status)) => {
            *retry_ms = FIRST_RETRY_MS;
            let first = [Told::Connected, Told::Status(Box::new(status.into_inner()))];
            for told in first {
                let _ = tell.send(told).await;
            }
        }
        Ok(Err(status)) => return status,
        Err(_) => return Status::deadline_exceeded("no answer to the question how it is"),
    }
    tokio::select! {
        status = connections(channel, tell) => status,
        status = flows(observer.clone(), tell) => status,
        status = statuses(observer, tell) => status,
    }
}

fn ended() -> Status {
    Status::unavailable("the server ended the stream")
}

async fn connections(channel: Channel, tell: &Sender<Told>) -> Status {
    let mut weir = WeirClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES);
    let request = ConnectionsRequest { follow: true, ..Default::default() };
    let mut stream = match weir.connections(request).await {
        Ok(response) => response.into_inner(),
        Err(status) if status.code() == Code::Unimplemented => {
            let what = "this server knows no connections (that takes a weir-relay); flows are in view 2";
            let _ = tell.send(Told::Cannot(what.to_owned())).await;
            return std::future::pending().await;
        }
        Err(status) => return status,
    };
    loop {
        let told = match stream.message().await {
            Ok(Some(response)) => match response.response {
                Some(Response::Connection(connection)) => Told::Connection(Box::new(connection)),
                Some(Response::Notice(notice)) => Told::Notice(notice),
                None => continue,
            },
            Ok(None) => return ended(),
            Err(status) => return status,
        };
        if tell.send(told).await.is_err() {
            return ended();
        }
    }
}

async fn flows(mut observer: ObserverClient<Channel>, tell: &Sender<Told>) -> Status {
    let request = GetFlowsRequest { number: PAST_FLOWS, follow: true, ..Default::default() };
    let mut stream = match observer.get_flows(request).await {
        Ok(response) => response.into_inner(),
        Err(status) => return status,
    };
    loop {
        match stream.message().await {
            Ok(Some(response)) => {
                if tell.send(Told::Flow(Box::new(response))).await.is_err() {
                    return ended();
                }
            }
            Ok(None) => return ended(),
            Err(status) => return status,
        }
    }
}

async fn statuses(mut observer: ObserverClient<Channel>, tell: &Sender<Told>) -> Status {
    loop {
        tokio::time::sleep(STATUS_EVERY).await;
        match tokio::time::timeout(STATUS_WITHIN, observer.server_status(ServerStatusRequest {})).await {
            Ok(Ok(status)) => {
                if tell.send(Told::Status(Box::new(status.into_inner()))).await.is_err() {
                    return ended();
                }
            }
            Ok(Err(status)) => return status,
            Err(_) => return Status::deadline_exceeded("no answer to the question how it is"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_waits_grow_to_a_bound() {
        let waits: Vec<u64> =
            std::iter::successors(Some(FIRST_RETRY_MS), |wait| Some(next_retry(*wait))).take(7).collect();
        assert_eq!(waits, [250, 500, 1000, 2000, 4000, 5000, 5000]);
    }
}
