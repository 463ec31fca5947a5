//! Where an answer goes on, and what it says of what is no longer remembered.

use tokio_stream::StreamExt;
use weir_proto::flow::Flow;
use weir_proto::observer::GetFlowsRequest;
use weir_proto::weir::v1::{GetFlowsOptions, Place as WirePlace};

use super::*;
use crate::history::Settings;

const RUN: u64 = 7;

fn flow(node: &str, seq: u64) -> Entry {
    let at = i64::try_from(seq).unwrap();
    let flow = Flow { time: Some(UnixNanos(at).to_timestamp()), ..Flow::default() };
    Entry::Flow(Record::of_flow(node, Place { run: RUN, seq }, &flow))
}

/// A history of four entries: flows 3 and 4 of `a`, 1 and 2 of `b`.
fn history() -> Arc<History> {
    let history = History::new(Settings { entries: 4, ..Settings::default() });
    history.append((1..=4).map(|seq| flow("a", seq)).chain((1..=2).map(|seq| flow("b", seq))));
    Arc::new(history)
}

/// The answer in short: places of flows, counts of what is lost, and whether the rest is said to be unknown.
async fn after(node: &str, run: u64, seq: u64) -> Vec<String> {
    let place = WirePlace { node: node.to_owned(), run, seq, ..WirePlace::default() };
    let options = GetFlowsOptions { places: true, resume_after: Some(place) };
    let question =
        Question::compile(&GetFlowsRequest { weir: Some(options), ..GetFlowsRequest::default() }).unwrap();
    let (_stopper, stop) = crate::stop::channel();
    let stream = FlowStream::open(question, "relay", Vec::new(), history(), stop).await;
    let told = stream.map(|message| GetFlowsResponse::decode(message.unwrap()).unwrap());
    let told: Vec<GetFlowsResponse> = told.collect().await;
    told.into_iter()
        .map(|message| match (message.response_types, message.weir) {
            (Some(ResponseTypes::LostEvents(lost)), _) => {
                format!("{} lost {}", message.node_name, lost.num_events_lost)
            }
            (Some(ResponseTypes::NodeStatus(status)), _) => {
                assert_eq!(status.message, FORGOTTEN);
                "unknown".to_owned()
            }
            (_, place) => {
                let place = place.unwrap();
                format!("{}{}", place.node, place.seq)
            }
        })
        .collect()
}

#[tokio::test]
async fn an_answer_goes_on_behind_the_flow_that_the_client_knows() {
    assert_eq!(after("a", RUN, 4).await, ["b1", "b2"]);
    assert_eq!(after("b", RUN, 2).await, [""; 0]);
}

#[tokio::test]
async fn what_is_forgotten_is_counted_where_it_can_be_and_said_where_not() {
    assert_eq!(after("a", RUN, 1).await, ["a lost 1", "unknown", "a3", "a4", "b1", "b2"]);
    assert_eq!(after("a", RUN, 2).await, ["unknown", "a3", "a4", "b1", "b2"]);
    assert_eq!(after("a", RUN + 1, 1).await, ["unknown", "a3", "a4", "b1", "b2"], "another run");
    assert_eq!(after("c", RUN, 1).await, ["unknown", "a3", "a4", "b1", "b2"], "no such node");
}
