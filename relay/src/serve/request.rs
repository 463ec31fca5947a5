//! A request for flows, checked and compiled once; what is wrong with it is said in one sentence.

use tonic::Status;
use weir_proto::filter::Filter;
use weir_proto::mask::{Mask, requested};
use weir_proto::observer::GetFlowsRequest;

use crate::moment::UnixNanos;
use crate::node::{NodeName, Place};

/// What a client wants to be told.
#[derive(Debug)]
pub struct Question {
    /// Which flows.
    pub filter: Filter,
    /// Which of their fields; all without one.
    pub mask: Option<Mask>,
    /// Go on with what is still to come.
    pub follow: bool,
    /// Where to begin.
    pub start: Start,
    /// At most so many flows of each node (not with `follow`).
    pub limit: Option<u64>,
    /// None older, none younger.
    pub since: Option<UnixNanos>,
    /// See `since`.
    pub until: Option<UnixNanos>,
    /// Tell each flow's place.
    pub places: bool,
}

/// Where an answer begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// With what comes from now on.
    Newest,
    /// With all that is remembered.
    Oldest,
    /// With the newest so many of each node.
    Last(u64),
    /// After a flow that the client knows.
    After(NodeName, Place),
}

impl Question {
    /// Checks and compiles a request.
    ///
    /// # Errors
    /// `InvalidArgument`, naming what is wrong and where.
    pub fn compile(request: &GetFlowsRequest) -> Result<Self, Status> {
        if request.first && request.follow {
            return Err(Status::invalid_argument(
                "first and follow exclude each other: nothing is last in a stream that goes on",
            ));
        }
        let filter = Filter::compile(&request.whitelist, &request.blacklist)
            .map_err(|error| Status::invalid_argument(error.to_string()))?;
        let mask = requested(request).map(Mask::compile).transpose();
        let mask = mask.map_err(|error| Status::invalid_argument(error.to_string()))?;
        let options = request.weir.clone().unwrap_or_default();
        Ok(Self {
            filter,
            mask: mask.filter(|mask| !mask.is_everything()),
            follow: request.follow,
            start: start(request),
            limit: (request.number > 0 && !request.follow).then_some(request.number),
            since: request.since.as_ref().map(UnixNanos::from),
            until: request.until.as_ref().map(UnixNanos::from),
            places: options.places,
        })
    }
}

/// A place wins over a time, a time over a number.
fn start(request: &GetFlowsRequest) -> Start {
    if let Some(place) = request.weir.as_ref().and_then(|options| options.resume_after.as_ref()) {
        return Start::After(place.node.as_str().into(), Place { run: place.run, seq: place.seq });
    }
    if request.since.is_some() || request.first {
        return Start::Oldest;
    }
    match request.number {
        0 if request.follow => Start::Newest,
        0 => Start::Oldest,
        number => Start::Last(number),
    }
}
