//! What a real Hubble answered to real filters, held against ours: the corpus's `answers.jsonl` has the requests of its
//! CLI, the flows that passed, and what the server refused. Start, count and time rules of a request are the server's
//! and are not looked at here.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test may fail by panic, and says what it skips"
)]

use std::path::{Path, PathBuf};

use prost::Message as _;
use serde::Deserialize;
use weir_proto::filter::{Filter, FilterError};
use weir_proto::flow::Flow;
use weir_proto::json::from_json;
use weir_proto::observer::GetFlowsRequest;
use weir_proto::observer::get_flows_response::ResponseTypes;

#[derive(Deserialize)]
struct Answer {
    args: Vec<String>,
    requests: Vec<Request>,
    error: String,
    uuids: Vec<String>,
}

#[derive(Deserialize)]
struct Request {
    method: String,
    request_hex: String,
}

impl Request {
    fn decode(&self) -> GetFlowsRequest {
        assert_eq!(self.method, "/observer.Observer/GetFlows");
        let digits = self.request_hex.as_bytes().chunks(2);
        let bytes: Vec<u8> =
            digits.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect();
        GetFlowsRequest::decode(bytes.as_slice()).unwrap()
    }
}

fn corpus(name: &str) -> Option<PathBuf> {
    let corpus = std::env::var_os("WEIR_CORPUS");
    if corpus.is_none() {
        println!("skipped: {name}: WEIR_CORPUS is not set");
    }
    corpus.map(|corpus| PathBuf::from(corpus).join("hubble"))
}

fn lines(file: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    text.lines().map(str::to_owned).collect()
}

/// The flows that the node held, without the sentinel at the end, which no answer contains.
fn flows(hubble: &Path) -> Vec<Flow> {
    let mut flows: Vec<Flow> = lines(&hubble.join("flows.jsonl"))
        .iter()
        .map(|line| match from_json(line).unwrap().response_types {
            Some(ResponseTypes::Flow(flow)) => flow,
            other => panic!("no flow: {other:?}"),
        })
        .collect();
    flows.pop();
    flows
}

fn compile(request: &GetFlowsRequest) -> Result<Filter, FilterError> {
    Filter::compile(&request.whitelist, &request.blacklist)
}

fn uses_cel(request: &GetFlowsRequest) -> bool {
    request.whitelist.iter().chain(&request.blacklist).any(|filter| filter.experimental.is_some())
}

/// Flows that pass the filters of a request, in order, by their uuids; those within its times only.
fn passing<'a>(flows: &'a [Flow], request: &GetFlowsRequest, filter: &Filter) -> Vec<&'a str> {
    let nanos = |time: &Option<prost_types::Timestamp>| time.as_ref().map(weir_proto::time::unix_nanos);
    let (since, until) = (nanos(&request.since), nanos(&request.until));
    let within = |flow: &Flow| {
        let time = nanos(&flow.time);
        since.is_none_or(|since| time >= Some(since)) && until.is_none_or(|until| time <= Some(until))
    };
    let wanted = flows.iter().filter(|flow| within(flow) && filter.matches(flow));
    wanted.map(|flow| flow.uuid.as_str()).collect()
}

/// Holds one recorded call against our filters.
fn check(answer: &Answer, request: &GetFlowsRequest, flows: &[Flow]) {
    let args = &answer.args;
    if uses_cel(request) {
        let error = compile(request).unwrap_err().to_string();
        assert!(error.contains("experimental.cel_expression[0]"), "{args:?}: {error}");
        return;
    }
    if !answer.error.is_empty() {
        let error = compile(request).unwrap_err().to_string();
        assert!(error.starts_with("whitelist["), "{args:?}: {error}");
        return;
    }
    let filter = compile(request).unwrap_or_else(|error| panic!("{args:?}: {error}"));
    let mut passing = passing(flows, request, &filter);
    // Of what passes, `--first n` takes the beginning and `--last n` the end.
    let wanted = usize::try_from(request.number).unwrap_or(usize::MAX);
    if request.first {
        passing.truncate(wanted);
    } else if wanted > 0 {
        passing.drain(..passing.len().saturating_sub(wanted));
    }
    assert_eq!(passing, answer.uuids, "{args:?}");
}

#[test]
fn filters_answer_and_refuse_as_hubble_did() {
    let Some(hubble) = corpus("answers::filters_answer_and_refuse_as_hubble_did") else { return };
    let flows = flows(&hubble);
    let mut checked = 0;
    for line in lines(&hubble.join("answers.jsonl")) {
        let answer: Answer = serde_json::from_str(&line).unwrap();
        // Without a request the CLI itself refused.
        for request in &answer.requests {
            check(&answer, &request.decode(), &flows);
            checked += 1;
        }
    }
    assert!(checked > 80, "only {checked} requests in the corpus");
}

#[test]
fn every_filter_of_the_cli_compiles() {
    let Some(hubble) = corpus("answers::every_filter_of_the_cli_compiles") else { return };
    let mut checked = 0;
    for line in lines(&hubble.join("requests.jsonl")) {
        let request: Request = serde_json::from_str(&line).unwrap();
        if request.method != "/observer.Observer/GetFlows" {
            continue;
        }
        let request = request.decode();
        if let Err(error) = compile(&request) {
            assert!(uses_cel(&request), "{line}: {error}");
        }
        if let Some(mask) = weir_proto::mask::requested(&request) {
            weir_proto::mask::Mask::compile(mask).unwrap();
        }
        checked += 1;
    }
    assert!(checked > 0);
}
