//! What the real Hubble answered, asked again: same flows in the same order, refused where it refused.

use std::io::Write;
use std::path::PathBuf;

use prost::Message;
use tonic::Status;
use weir_proto::observer::observer_client::ObserverClient;
use weir_proto::observer::{GetFlowsRequest, get_flows_response::ResponseTypes};

use super::world::{connect, limits, loopback, node};
use crate::serve::{Clock, Server, preload};

/// Calls that are not answered alike, by their arguments, and why.
const DIFFERENT: [(&str, &str); 1] = [(
    "--all --cel-expression _flow.verdict == Verdict.DROPPED",
    "CEL is not evaluated, and refused in words",
)];

#[derive(serde::Deserialize)]
struct Call {
    args: Vec<String>,
    requests: Vec<Request>,
    exit: i32,
    uuids: Vec<String>,
}

#[derive(serde::Deserialize)]
struct Request {
    method: String,
    request_hex: String,
}

fn captures(test: &str) -> Option<PathBuf> {
    let corpus = std::env::var_os("WEIR_CORPUS");
    if corpus.is_none() {
        println!("skipped: {test}: WEIR_CORPUS is not set");
    }
    corpus.map(|corpus| PathBuf::from(corpus).join("hubble"))
}

fn unhex(hex: &str) -> Vec<u8> {
    hex.as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

/// A node that holds the recorded flows but the last, which the original keeps back.
async fn recorded_node(captures: &std::path::Path) -> (Server, ObserverClient<tonic::transport::Channel>) {
    let text = std::fs::read_to_string(captures.join("flows.jsonl")).unwrap();
    let lines: Vec<_> = text.lines().collect();
    let mut file = tempfile::NamedTempFile::new().unwrap();
    for line in &lines[..lines.len() - 1] {
        writeln!(file, "{line}").unwrap();
    }
    let loaded = preload(file.path(), limits(1000)).unwrap();
    assert_eq!((&*loaded.node, loaded.ring.stats().held), ("ref-node", 166));
    let server = Server::start(node(loaded.ring, Clock::NewestFlow).0, &loopback()).await.unwrap();
    let client = ObserverClient::new(connect(&server).await);
    (server, client)
}

async fn answer(
    client: &mut ObserverClient<tonic::transport::Channel>,
    request: GetFlowsRequest,
) -> Result<Vec<String>, Status> {
    let mut stream = client.get_flows(request).await?.into_inner();
    let mut uuids = Vec::new();
    while let Some(message) = stream.message().await? {
        let Some(ResponseTypes::Flow(flow)) = message.response_types else { panic!("only flows are held") };
        assert_eq!((&message.node_name, message.time), (&flow.node_name, flow.time));
        uuids.push(flow.uuid);
    }
    Ok(uuids)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_call_is_answered_as_hubble_does() {
    let Some(captures) = captures("every_call_is_answered_as_hubble_does") else { return };
    let (_server, mut client) = recorded_node(&captures).await;
    let calls = std::fs::read_to_string(captures.join("answers.jsonl")).unwrap();
    let mut asked = 0;
    let mut different = Vec::new();
    for call in calls.lines().map(|line| serde_json::from_str::<Call>(line).unwrap()) {
        let args = call.args.join(" ");
        let [request] = &call.requests[..] else {
            assert!(call.requests.is_empty() && call.exit != 0, "{args}: refused by the command line alone");
            continue;
        };
        assert_eq!(request.method, "/observer.Observer/GetFlows");
        asked += 1;
        let request = GetFlowsRequest::decode(&unhex(&request.request_hex)[..]).unwrap();
        let alike = match answer(&mut client, request).await {
            Ok(uuids) => call.exit == 0 && uuids == call.uuids,
            Err(status) => {
                assert_eq!(status.code(), tonic::Code::InvalidArgument, "{args}: {status}");
                call.exit != 0
            }
        };
        if !alike {
            different.push(args);
        }
    }
    assert_eq!(different, DIFFERENT.map(|(args, _)| args));
    assert_eq!(asked, 88);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_request_of_the_command_line_is_understood() {
    let Some(captures) = captures("every_request_of_the_command_line_is_understood") else { return };
    #[derive(serde::Deserialize)]
    struct Line {
        cmd: String,
        method: String,
        request_hex: String,
    }
    let (_server, mut client) = recorded_node(&captures).await;
    let requests = std::fs::read_to_string(captures.join("requests.jsonl")).unwrap();
    let mut asked = 0;
    for line in requests.lines().map(|line| serde_json::from_str::<Line>(line).unwrap()) {
        if line.method != "/observer.Observer/GetFlows" || line.cmd.contains("--cel-expression") {
            continue;
        }
        let request = GetFlowsRequest::decode(&unhex(&line.request_hex)[..]).unwrap();
        let mut stream = client
            .get_flows(request.clone())
            .await
            .unwrap_or_else(|e| panic!("{}: {e}", line.cmd))
            .into_inner();
        asked += 1;
        if !request.follow {
            while let Some(message) = stream.message().await.unwrap() {
                assert_eq!(message.node_name, "ref-node", "{}", line.cmd);
            }
        }
    }
    assert!(asked > 50, "{asked}");
}
