//! What can be wrong between a watcher and the API server, in words, and what to do about it.

use kube::core::Status;
use kube::runtime::watcher;
use thiserror::Error;

use super::kind::{Absent, Kind};

/// Why the watch cannot begin.
#[derive(Debug, Error)]
pub enum WatchError {
    /// There is nothing that says where the API server is.
    #[error(
        "cannot find the API server: {0}; in a pod this needs the service account's token, elsewhere --kubeconfig or KUBECONFIG"
    )]
    NoServer(String),
    /// The kubeconfig.
    #[error("cannot use kubeconfig {file}: {why}")]
    Kubeconfig {
        /// File, as it was named.
        file: String,
        /// What is wrong with it.
        why: String,
    },
    /// Certificates, keys or credentials.
    #[error("cannot make a client for the API server at {server}: {why}")]
    Client {
        /// Its address.
        server: String,
        /// What is wrong.
        why: String,
    },
}

/// How a watcher goes on after an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    /// Where it was.
    Retry,
    /// By a new list, which it begins by itself.
    Lists,
    /// By a new list that it must be told to begin: the server does not know the state any more that the watch began from.
    Relist,
    /// Much later: the server has no such kind.
    Absent,
}

pub(super) fn then(error: &watcher::Error, kind: &Kind) -> Then {
    // The watcher would go on behind an event that cannot be read, and what it told would be missed.
    if let watcher::Error::WatchFailed(kube::Error::SerdeError(_)) | watcher::Error::NoResourceVersion = error
    {
        return Then::Relist;
    }
    let Some(status) = status_of(error) else { return Then::Retry };
    let begun = !matches!(error, watcher::Error::InitialListFailed(_));
    match status.code {
        404 if kind.absent != Absent::Never => Then::Absent,
        410 if matches!(error, watcher::Error::WatchError(_)) => Then::Lists,
        404 | 410 if begun => Then::Relist,
        _ if begun && is_of_the_future(status) => Then::Relist,
        _ => Then::Retry,
    }
}

/// Whether the server would not list it for us.
pub(super) fn is_refused(error: &watcher::Error) -> bool {
    matches!(error, watcher::Error::InitialListFailed(_))
        && status_of(error).is_some_and(|status| status.code == 403)
}

/// What a server says that is younger than what is asked for, as after a restore
/// (`k8s.io/apimachinery/pkg/api/errors`, `NewTimeoutError` with the cause `ResourceVersionTooLarge`).
fn is_of_the_future(status: &Status) -> bool {
    let causes = status.details.iter().flat_map(|details| &details.causes);
    causes.map(|cause| cause.reason.as_str()).any(|reason| reason == "ResourceVersionTooLarge")
        || status.message.starts_with("Too large resource version")
}

fn status_of(error: &watcher::Error) -> Option<&Status> {
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status))
        | watcher::Error::WatchFailed(kube::Error::Api(status))
        | watcher::Error::WatchError(status) => Some(status),
        _ => None,
    }
}

/// One sentence about one kind.
pub(super) fn words(error: &watcher::Error, kind: &Kind) -> String {
    let resource = kind.resource();
    let verb = if matches!(error, watcher::Error::InitialListFailed(_)) { "list" } else { "watch" };
    let cause = match (status_of(error), error) {
        (Some(status), _) => return refused(status, verb, &resource),
        (
            None,
            watcher::Error::InitialListFailed(cause)
            | watcher::Error::WatchStartFailed(cause)
            | watcher::Error::WatchFailed(cause),
        ) => chain(cause),
        (None, other) => chain(other),
    };
    format!("cannot {verb} {resource}: {cause}; what was known of them stays and may be old")
}

fn refused(status: &Status, verb: &str, resource: &str) -> String {
    match status.code {
        401 => format!(
            "cannot {verb} {resource}: the API server does not accept the credentials (401); \
             is the service account's token mounted and current?"
        ),
        403 => format!(
            "cannot {verb} {resource}: forbidden (403); the service account lacks the verb {verb} on {resource}: \
             apply the ClusterRole of deploy/weir.yaml"
        ),
        code => format!(
            "cannot {verb} {resource}: the API server answers {code} {}: {}; what was known of them stays and may be old",
            status.reason, status.message
        ),
    }
}

/// An error and its causes, outermost first, each said once.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut said: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let words = error.to_string();
        if !said.iter().any(|before| before.contains(&words)) {
            said.push(words);
        }
        next = error.source();
    }
    said.join(": ")
}
