//! `weir.v1.Weir` as a daemon answers it: what policies say. Connections are the relay's to tell.
//!
//! The cluster's state belongs to the pipeline, so questions go there by a bounded queue and are answered between two packets;
//! when it is full, the asker is told to come again.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio_stream::Empty;
use tonic::{Request, Response, Status};
use weir_proto::weir::v1::weir_server::Weir;
use weir_proto::weir::v1::{
    ConnectionsRequest, ConnectionsResponse, ExplainPolicyRequest, ExplainPolicyResponse,
};

use crate::explain::{ExplainError, explain};

/// Questions that wait, at most.
const QUEUE: usize = 16;
/// A question is answered within this, or not at all.
const PATIENCE: Duration = Duration::from_secs(5);

/// A question on its way to who has the cluster's state.
#[derive(Debug)]
pub struct Question {
    request: ExplainPolicyRequest,
    answer: oneshot::Sender<Result<ExplainPolicyResponse, ExplainError>>,
}

impl Question {
    /// Answers it, if somebody still waits for that.
    pub fn answer(self, cluster: &weir_cluster::Cluster, node: &str) {
        if !self.answer.is_closed() {
            // Whoever asked may have left meanwhile.
            let _ = self.answer.send(explain(&self.request, cluster, node));
        }
    }
}

/// Where questions are put.
pub type Asker = mpsc::Sender<Question>;

/// Both ends of the way of questions.
#[must_use]
pub fn questions() -> (Asker, mpsc::Receiver<Question>) {
    mpsc::channel(QUEUE)
}

/// The service.
#[derive(Debug)]
pub(super) struct Policies {
    pub(super) asker: Asker,
}

#[tonic::async_trait]
impl Weir for Policies {
    type ConnectionsStream = Empty<Result<ConnectionsResponse, Status>>;

    async fn connections(
        &self,
        _: Request<ConnectionsRequest>,
    ) -> Result<Response<Self::ConnectionsStream>, Status> {
        Err(Status::unimplemented(
            "a node's daemon has one view of each connection: ask a relay, which joins them",
        ))
    }

    async fn explain_policy(
        &self,
        request: Request<ExplainPolicyRequest>,
    ) -> Result<Response<ExplainPolicyResponse>, Status> {
        let (answer, answered) = oneshot::channel();
        let question = Question { request: request.into_inner(), answer };
        self.asker.try_send(question).map_err(|_| {
            Status::resource_exhausted("the daemon has many such questions or is ending: ask again")
        })?;
        match tokio::time::timeout(PATIENCE, answered).await {
            Ok(Ok(Ok(answer))) => Ok(Response::new(answer)),
            Ok(Ok(Err(error))) => Err(refusal(&error)),
            Ok(Err(_)) => Err(Status::unavailable("the daemon is ending")),
            Err(_) => Err(Status::deadline_exceeded("the pipeline did not come to it: the node is too busy")),
        }
    }
}

fn refusal(error: &ExplainError) -> Status {
    let text = error.to_string();
    match error {
        ExplainError::End(_) => Status::not_found(text),
        ExplainError::Protocol(_) | ExplainError::Port(_) => Status::invalid_argument(text),
        ExplainError::NoCluster => Status::failed_precondition(text),
    }
}
