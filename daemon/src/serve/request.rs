//! A `GetFlowsRequest` as it is meant: what to select, and where to start. Anything wrong with it is found here.
//!
//! The start rules are Hubble's: `since` wins over `first` and `number`; a follower without any of them starts at the newest
//! flow; else the start is so far back that `number` matching flows follow, and `number` 0 means all. weir's own
//! `resume_after` wins over all of them.

use prost_types::Timestamp;
use weir_cluster::UnixNanos;
use weir_proto::filter::{Filter, FilterError};
use weir_proto::mask::{self, Mask, MaskError};
use weir_proto::observer::GetFlowsRequest;
use weir_proto::weir::v1::Place;

use super::Run;
use crate::ring::{Seq, time_of};

/// Why a request is refused.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// Contradiction.
    #[error(
        "first and follow exclude each other: the first flows are in the past, following goes into the future"
    )]
    FirstAndFollow,
    /// Not a time.
    #[error(
        "{field}: not a valid time: {seconds} s and {nanos} ns (nanoseconds must be 0 to 999999999, years 1 to 9999)"
    )]
    Time {
        /// Field of the request.
        field: &'static str,
        /// As given.
        seconds: i64,
        /// As given.
        nanos: i32,
    },
    /// A filter that means nothing.
    #[error(transparent)]
    Filter(#[from] FilterError),
    /// A mask that names no field.
    #[error(transparent)]
    Mask(#[from] MaskError),
}

impl From<RequestError> for tonic::Status {
    fn from(error: RequestError) -> Self {
        Self::invalid_argument(error.to_string())
    }
}

/// Where an answer starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// After the flow of this number of this run; 0 before all.
    After(Seq),
    /// At the first flow not older than this.
    Since(UnixNanos),
    Oldest,
    Newest,
    /// So far back that this many matching flows follow.
    Last(u64),
}

/// What an answer contains.
#[derive(Debug)]
pub(super) struct Selection {
    pub(super) start: Start,
    pub(super) filter: Filter,
    pub(super) mask: Option<Mask>,
    pub(super) since: UnixNanos,
    pub(super) until: UnixNanos,
    pub(super) follow: bool,
    /// Matching flows at most; followers have no such limit.
    pub(super) at_most: u64,
    /// Flows up to this number were read before.
    pub(super) known: Seq,
    pub(super) places: bool,
}

/// Latest second that a protobuf Timestamp may hold: 9999-12-31T23:59:59Z.
const LAST_SECOND: i64 = 253_402_300_799;
/// Earliest: 0001-01-01T00:00:00Z.
const FIRST_SECOND: i64 = -62_135_596_800;

impl Selection {
    /// # Errors
    /// What is wrong with the request, naming the field.
    pub(super) fn of(request: GetFlowsRequest, node: &str, run: &Run) -> Result<Self, RequestError> {
        if request.first && request.follow {
            return Err(RequestError::FirstAndFollow);
        }
        let since = time("since", request.since)?;
        let until = time("until", request.until)?;
        let mask = mask::requested(&request).map(Mask::compile).transpose()?;
        let options = request.weir.unwrap_or_default();
        let resume = options.resume_after.map(|place| resume_after(&place, node, run));
        let start = match (resume, since) {
            (Some(seq), _) => Start::After(seq),
            (None, Some(since)) => Start::Since(since),
            (None, None) if request.first || request.number == 0 && !request.follow => Start::Oldest,
            (None, None) if request.number == 0 => Start::Newest,
            (None, None) => Start::Last(request.number),
        };
        let limited = request.number > 0 && !request.follow;
        Ok(Self {
            start,
            filter: Filter::compile(&request.whitelist, &request.blacklist)?,
            mask: mask.filter(|mask| !mask.is_everything()),
            since: since.unwrap_or(UnixNanos::ZERO),
            until: until.unwrap_or(UnixNanos::MAX),
            follow: request.follow,
            at_most: if limited { request.number } else { u64::MAX },
            known: resume.unwrap_or_default(),
            places: options.places,
        })
    }
}

/// The number to go on after in this run. A place of another run, or of another node, says nothing about this one.
fn resume_after(place: &Place, node: &str, run: &Run) -> Seq {
    let here = (place.node.is_empty() || place.node == node) && place.run == run.id;
    Seq(if here { place.seq } else { 0 })
}

fn time(field: &'static str, time: Option<Timestamp>) -> Result<Option<UnixNanos>, RequestError> {
    let Some(time) = time else { return Ok(None) };
    let Timestamp { seconds, nanos } = time;
    if !(FIRST_SECOND..=LAST_SECOND).contains(&seconds) || !(0..1_000_000_000).contains(&nanos) {
        return Err(RequestError::Time { field, seconds, nanos });
    }
    Ok(Some(time_of(&time)))
}
