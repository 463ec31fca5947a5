//! Lines of JSON -> the flows that a request asks for, as a server that holds them would answer.
//!
//! A bad line is an error with its number; nothing after it is read.

use std::collections::VecDeque;
use std::io::BufRead;

use prost_types::Timestamp;
use weir_proto::filter::{Filter, FilterError};
use weir_proto::observer::get_flows_response::ResponseTypes;
use weir_proto::observer::{GetFlowsRequest, GetFlowsResponse};

/// What is wrong with a file of flows, or with the filters for it.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read.
    #[error("cannot read {file}, line {line}: {cause}")]
    Read {
        /// The file.
        file: String,
        /// Line, from 1.
        line: usize,
        /// What the system said.
        cause: std::io::Error,
    },
    /// A line is no flow.
    #[error("{file}, line {line}: not a flow in JSON: {cause}")]
    Line {
        /// The file.
        file: String,
        /// Line, from 1.
        line: usize,
        /// What is wrong with it.
        cause: weir_proto::json::JsonError,
    },
    /// A filter.
    #[error(transparent)]
    Filter(#[from] FilterError),
}

/// Reads what `request` asks for, in the file's order.
///
/// # Errors
/// A filter, a file or a line that cannot be used.
pub fn select(
    input: impl BufRead,
    file: &str,
    request: &GetFlowsRequest,
) -> Result<Vec<GetFlowsResponse>, FileError> {
    let filter = Filter::compile(&request.whitelist, &request.blacklist)?;
    let number = match request.number {
        0 => usize::MAX,
        number => usize::try_from(number).unwrap_or(usize::MAX),
    };
    let from_the_front = request.first || request.since.is_some();
    let mut kept = VecDeque::new();
    for (at, line) in input.lines().enumerate() {
        let at = || (file.to_owned(), at + 1);
        let line = line.map_err(|cause| {
            let (file, line) = at();
            FileError::Read { file, line, cause }
        })?;
        if line.trim().is_empty() {
            continue;
        }
        let response = weir_proto::json::from_json(&line).map_err(|cause| {
            let (file, line) = at();
            FileError::Line { file, line, cause }
        })?;
        if !passes(&response, &filter, request) {
            continue;
        }
        kept.push_back(response);
        if from_the_front && kept.len() == number {
            break;
        }
        if kept.len() > number {
            kept.pop_front();
        }
    }
    Ok(kept.into())
}

fn passes(response: &GetFlowsResponse, filter: &Filter, request: &GetFlowsRequest) -> bool {
    let Some(ResponseTypes::Flow(flow)) = &response.response_types else {
        return true;
    };
    let time = response.time.or(flow.time).map(order).unwrap_or_default();
    request.since.is_none_or(|since| time >= order(since))
        && request.until.is_none_or(|until| time <= order(until))
        && filter.matches(flow)
}

const fn order(time: Timestamp) -> (i64, i32) {
    (time.seconds, time.nanos)
}
