//! Flows from a file into a ring, to be served as the node that saw them would.
//!
//! The file holds what `weir observe -o json` and `hubble observe -o json` print: a `GetFlowsResponse` in protojson on each
//! line. Flows keep their uuid, time and node. A line that is not one stops the reading and is named.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use weir_proto::json::{self, JsonError};
use weir_proto::observer::get_flows_response::ResponseTypes;

use crate::ring::{Limits, Ring, Writer, ring};

/// Longest line: far above any flow, far below what would exhaust memory.
const LONGEST_LINE: u64 = 1 << 20;

/// A ring filled from a file.
#[derive(Debug)]
pub struct Preload {
    /// The flows, the oldest forgotten where there were more than its limits.
    pub ring: Arc<Ring>,
    /// The ring's writing end; dropping it changes nothing.
    pub writer: Writer,
    /// Node of the first flow.
    pub node: Arc<str>,
}

/// Why a file of flows cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum PreloadError {
    /// It cannot be opened or read.
    #[error("reading flows from {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// A line is too long to be a flow.
    #[error("{}: line {line}: longer than {LONGEST_LINE} bytes, so no flow", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: u64,
    },
    /// A line is not even text.
    #[error("{}: line {line}: is no text (UTF-8), so no flow", path.display())]
    NotText {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: u64,
    },
    /// A line is no flow.
    #[error("{}: line {line}: {source}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: u64,
        /// What is wrong with it.
        source: JsonError,
    },
    /// Nothing in it.
    #[error("{}: holds no flow: expected lines as `weir observe -o json` prints them", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
}

/// Reads all flows of the file at `path`. Empty lines and a relay's tellings about its nodes are passed over.
///
/// # Errors
/// The file, the line, and what is wrong.
pub fn preload(path: &Path, limits: Limits) -> Result<Preload, PreloadError> {
    let unreadable = |source| PreloadError::Read { path: path.to_owned(), source };
    let mut lines = BufReader::new(File::open(path).map_err(unreadable)?);
    let (mut writer, ring) = ring(limits);
    let mut node = None;
    let mut bytes = Vec::new();
    for line in 1.. {
        bytes.clear();
        let length = lines.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut bytes).map_err(unreadable)?;
        if length == 0 {
            break;
        }
        if length as u64 == LONGEST_LINE {
            return Err(PreloadError::TooLong { path: path.to_owned(), line });
        }
        let text =
            std::str::from_utf8(&bytes).map_err(|_| PreloadError::NotText { path: path.to_owned(), line })?;
        if text.trim().is_empty() {
            continue;
        }
        let response = json::from_json(text.trim_end()).map_err(|source| PreloadError::Line {
            path: path.to_owned(),
            line,
            source,
        })?;
        match response.response_types {
            Some(ResponseTypes::Flow(mut flow)) => {
                // A mask may have left them to the envelope alone.
                flow.time = flow.time.or(response.time);
                if flow.node_name.is_empty() {
                    flow.node_name = response.node_name;
                }
                node.get_or_insert_with(|| Arc::from(flow.node_name.as_str()));
                writer.push(flow);
            }
            Some(ResponseTypes::LostEvents(lost)) => writer.push_lost(lost),
            Some(ResponseTypes::NodeStatus(_)) | None => {}
        }
    }
    let node = node.ok_or_else(|| PreloadError::Empty { path: path.to_owned() })?;
    Ok(Preload { ring, writer, node })
}
