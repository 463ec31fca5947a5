//! Whether an API server lets us do what the watch does: one small list and one short watch of each kind, for a preflight.

use std::time::Duration;

use futures_util::future::join_all;
use kube::api::{ListParams, WatchParams};
use kube::runtime::watcher;
use kube::{Api, Client};

use super::error::{Then, then, words};
use super::kind::{KINDS, Kind};
use super::watched::Watched;
use super::{Server, WatchError};

/// For one list and one watch.
const PATIENCE: Duration = Duration::from_secs(10);

/// What came of one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// As RBAC names it.
    pub resource: String,
    /// Whether the server has the kind, and one that weir can do without may be missing; or why it cannot be watched.
    pub outcome: Result<bool, String>,
}

/// Asks for a little of everything, in the order of the table.
///
/// # Errors
/// If no client can be made for the server.
pub async fn probe(server: Server) -> Result<Vec<Probe>, WatchError> {
    let client = server.client(PATIENCE)?;
    Ok(join_all(KINDS.iter().map(|kind| probed(&client, kind))).await)
}

/// The kind, or what stands in for it.
async fn probed(client: &Client, kind: &'static Kind) -> Probe {
    let mut probe = of_kind(client, kind).await;
    for other in kind.candidates().skip(1) {
        if probe.outcome != Ok(false) {
            break;
        }
        probe = of_kind(client, other).await;
    }
    probe
}

async fn of_kind(client: &Client, kind: &'static Kind) -> Probe {
    let asked = async {
        if kind.metadata_only { ask::<true>(client, kind).await } else { ask::<false>(client, kind).await }
    };
    let outcome = match tokio::time::timeout(PATIENCE, asked).await {
        Ok(Ok(())) => Ok(true),
        Ok(Err(error)) if then(&error, kind) == Then::Absent => Ok(false),
        Ok(Err(error)) => Err(words(&error, kind)),
        Err(_) => Err(format!("cannot list {}: no answer within {PATIENCE:?}", kind.resource())),
    };
    Probe { resource: kind.resource(), outcome }
}

async fn ask<const METADATA_ONLY: bool>(client: &Client, kind: &'static Kind) -> watcher::Result<()> {
    let api = Api::<Watched<METADATA_ONLY>>::all_with(client.clone(), &kind);
    let one = ListParams::default().limit(1);
    let list = api.list(&one).await.map_err(watcher::Error::InitialListFailed)?;
    let version = list.metadata.resource_version.unwrap_or_default();
    let short = WatchParams::default().timeout(1);
    api.watch(&short, &version).await.map(drop).map_err(watcher::Error::WatchStartFailed)
}
