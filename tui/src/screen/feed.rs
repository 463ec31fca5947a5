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

use crate::client::{self, MAX_MESSAGE_BYTES, stream};
use crate::model::{Stream, Told};

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
        status = connections(channel.clone(), tell) => status,
        status = flows(channel, tell) => status,
        status = statuses(observer, tell) => status,
    }
}

fn ended() -> Status {
    Status::unavailable("the server ended the stream")
}

async fn connections(channel: Channel, tell: &Sender<Told>) -> Status {
    let request = ConnectionsRequest { follow: true, ..Default::default() };
    let mut answers = match stream::connections(channel, request).await {
        Ok(answers) => answers,
        Err(status) => return not_told(status, Stream::Connections, tell).await,
    };
    loop {
        let answer = match answers.message().await {
            Ok(Some(answer)) => answer,
            Ok(None) => return ended(),
            Err(status) => return not_told(status, Stream::Connections, tell).await,
        };
        let connection = stream::merged(answer.connection).map(Told::Connection);
        for told in connection.into_iter().chain(answer.notice.map(Told::Notice)) {
            if tell.send(told).await.is_err() {
                return ended();
            }
        }
    }
}

async fn flows(channel: Channel, tell: &Sender<Told>) -> Status {
    let request = GetFlowsRequest { number: PAST_FLOWS, follow: true, ..Default::default() };
    let mut answers = match stream::flows(channel, request).await {
        Ok(answers) => answers,
        Err(status) => return not_told(status, Stream::Flows, tell).await,
    };
    loop {
        let answer = match answers.message().await {
            Ok(Some(answer)) => answer,
            Ok(None) => return ended(),
            Err(status) => return not_told(status, Stream::Flows, tell).await,
        };
        let time = answer.time.as_ref().map_or(0, weir_proto::time::unix_nanos);
        let node = answer.node_name;
        let flow = stream::merged(answer.flow).map(|flow| Told::Flow(flow, time, node));
        let lost = answer.lost.map(|lost| Told::Lost(lost.num_events_lost));
        for told in flow.into_iter().chain(lost) {
            if tell.send(told).await.is_err() {
                return ended();
            }
        }
    }
}

/// What a server cannot or may not tell is said once and not asked for again: the other questions go on. All else ends
/// the session.
async fn not_told(status: Status, what: Stream, tell: &Sender<Told>) -> Status {
    let asked = if what == Stream::Flows { "flows" } else { "connections" };
    let why = match status.code() {
        Code::Unimplemented if what == Stream::Connections => {
            "this server knows no connections (that takes a weir-relay); flows are in view 2".to_owned()
        }
        Code::Unimplemented => format!("this server knows no {asked}"),
        Code::PermissionDenied | Code::Unauthenticated => {
            format!("not permitted to see {asked}: {}", status.message())
        }
        _ => return status,
    };
    let _ = tell.send(Told::Cannot(what, why)).await;
    std::future::pending().await
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
