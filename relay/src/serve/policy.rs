//! The answer to `ExplainPolicy`: one daemon's, as they all know the same cluster.
//!
//! They are asked one after another, by name, until one answers; what it says of the question itself (an end that nobody
//! knows, a wrong port) is the answer too. One that hangs costs the next one nothing but time, of which there is a bound.

use std::fmt;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};
use tonic::transport::Channel;
use tonic::{Code, Status};
use weir_proto::weir::v1::weir_client::WeirClient;
use weir_proto::weir::v1::{ExplainPolicyRequest, ExplainPolicyResponse};

use crate::status::{Registry, State};

/// The question is answered within this, one way or the other.
const DEADLINE: Duration = Duration::from_secs(5);
/// The next daemon is asked when one has not answered for so long.
const ONE_DEADLINE: Duration = Duration::from_secs(2);
/// Daemons that an error names.
const NAMED: usize = 3;

/// Why one daemon gave no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Lack {
    /// It knows no such question: it is older than the relay.
    Method,
    /// It went away, or did not answer in time.
    Answer,
    /// It answers, and does not know the cluster.
    Cluster,
}

/// What the daemons said instead of an answer.
#[derive(Debug, Default)]
struct Refusals(Vec<(String, Lack, String)>);

/// Asks one connected daemon after another.
pub async fn explain(
    registry: &Registry,
    request: &ExplainPolicyRequest,
) -> Result<ExplainPolicyResponse, Status> {
    let deadline = Instant::now() + DEADLINE;
    let mut refusals = Refusals::default();
    for peer in registry.snapshot() {
        let State::Connected { channel, .. } = peer.state else { continue };
        if Instant::now() >= deadline {
            break;
        }
        let until = deadline.min(Instant::now() + ONE_DEADLINE);
        let status = match timeout_at(until, ask(channel, request.clone())).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(status)) => status,
            Err(_) => Status::deadline_exceeded("no answer in time"),
        };
        let Some(lack) = lack(&status) else { return Err(status) };
        refusals.0.push((peer.name, lack, status.message().to_owned()));
    }
    Err(refusals.status())
}

async fn ask(channel: Channel, request: ExplainPolicyRequest) -> Result<ExplainPolicyResponse, Status> {
    let answer = WeirClient::new(channel).explain_policy(request).await;
    answer.map(tonic::Response::into_inner)
}

/// What the daemon lacks to answer; nothing where it has answered the question by this.
fn lack(status: &Status) -> Option<Lack> {
    // Only what the transport made up itself has a cause; what a daemon says comes without.
    if std::error::Error::source(status).is_some() {
        return Some(Lack::Answer);
    }
    match status.code() {
        Code::FailedPrecondition => Some(Lack::Cluster),
        Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled | Code::ResourceExhausted => {
            Some(Lack::Answer)
        }
        Code::Unimplemented => Some(Lack::Method),
        _ => None,
    }
}

impl Refusals {
    /// What came nearest to an answer decides what is said.
    fn status(&self) -> Status {
        match self.0.iter().map(|(_, lack, _)| *lack).max() {
            None => Status::unavailable("no daemon is connected; `weir status` says why"),
            Some(Lack::Cluster) => Status::failed_precondition(format!(
                "no daemon knows the cluster: {}",
                self.of(Lack::Cluster)
            )),
            Some(Lack::Answer) => {
                Status::unavailable(format!("no daemon answered: {}", self.of(Lack::Answer)))
            }
            Some(Lack::Method) => Status::unimplemented(format!(
                "no daemon knows this question, which takes weir-daemons of the relay's version: {}",
                self.of(Lack::Method)
            )),
        }
    }

    /// The first of those that lack it, with what they said.
    fn of(&self, wanted: Lack) -> impl fmt::Display {
        let lacking: Vec<_> = self.0.iter().filter(|(_, lack, _)| *lack == wanted).collect();
        let said = |(name, lack, why): &&(String, Lack, String)| match lack {
            Lack::Method => name.clone(),
            _ => format!("{name}: {why}"),
        };
        let named: Vec<_> = lacking.iter().take(NAMED).map(said).collect();
        match lacking.len().saturating_sub(NAMED) {
            0 => named.join("; "),
            more => format!("{}; and {more} more", named.join("; ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(all: &[(&str, Status)]) -> (Code, String) {
        let refusal = |(name, status): &(&str, Status)| {
            ((*name).to_owned(), lack(status).unwrap(), status.message().to_owned())
        };
        let status = Refusals(all.iter().map(refusal).collect()).status();
        (status.code(), status.message().to_owned())
    }

    #[test]
    fn what_came_nearest_to_an_answer_is_said() {
        assert_eq!(refused(&[]).1, "no daemon is connected; `weir status` says why");
        let (old, gone) = (Status::unimplemented("x"), Status::unavailable("gone"));
        let blind = Status::failed_precondition("it was given no cluster");
        let (code, said) = refused(&[("n1", old.clone()), ("n2", old.clone())]);
        assert_eq!((code, said.ends_with("version: n1; n2")), (Code::Unimplemented, true), "{said}");
        let (code, said) = refused(&[("n1", old), ("n2", gone.clone()), ("n3", gone)]);
        assert_eq!((code, said.as_str()), (Code::Unavailable, "no daemon answered: n2: gone; n3: gone"));
        let all: Vec<_> = ["n1", "n2", "n3", "n4", "n5"].map(|name| (name, blind.clone())).into();
        let (code, said) = refused(&all);
        assert_eq!(code, Code::FailedPrecondition);
        assert!(said.starts_with("no daemon knows the cluster: n1: it was given no cluster; n2: "), "{said}");
        assert!(said.ends_with("; and 2 more"), "{said}");
    }

    #[test]
    fn what_a_daemon_says_of_the_question_is_the_answer() {
        for status in [Status::not_found("no pod shop/web-9"), Status::invalid_argument("port")] {
            assert_eq!(lack(&status), None);
        }
    }
}
