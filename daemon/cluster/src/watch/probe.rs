//! Whether an API server lets us do what the watch does: one small list and one short watch of each kind, for a preflight.

use std::time::Duration;

use futures_util::future::{BoxFuture, join_all};
use kube::api::{ListParams, WatchParams};
use kube::runtime::watcher;
use kube::{Api, Client};

use super::error::words;
use super::kind::KINDS;
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

type Probing = BoxFuture<'static, Probe>;

/// One for each row of the table.
const PROBES: [fn(Client) -> Probing; KINDS.len()] = [
    |client| Box::pin(of_kind::<0>(client)),
    |client| Box::pin(of_kind::<1>(client)),
    |client| Box::pin(of_kind::<2>(client)),
    |client| Box::pin(of_kind::<3>(client)),
    |client| Box::pin(of_kind::<4>(client)),
    |client| Box::pin(of_kind::<5>(client)),
    |client| Box::pin(of_kind::<6>(client)),
    |client| Box::pin(of_kind::<7>(client)),
];

/// Asks for a little of everything, in the order of the table.
///
/// # Errors
/// If no client can be made for the server.
pub async fn probe(server: Server) -> Result<Vec<Probe>, WatchError> {
    let client = server.client(PATIENCE)?;
    Ok(join_all(PROBES.map(|probe| probe(client.clone()))).await)
}

async fn of_kind<const K: usize>(client: Client) -> Probe {
    let kind = Watched::<K>::KIND;
    let api = Api::<Watched<K>>::all(client);
    let asked = async {
        api.list(&ListParams::default().limit(1)).await.map_err(watcher::Error::InitialListFailed)?;
        let short = WatchParams::default().timeout(1);
        api.watch(&short, "0").await.map(drop).map_err(watcher::Error::WatchStartFailed)
    };
    let outcome = match tokio::time::timeout(PATIENCE, asked).await {
        Ok(Ok(())) => Ok(true),
        Ok(Err(watcher::Error::InitialListFailed(kube::Error::Api(status))))
            if status.code == 404 && kind.optional =>
        {
            Ok(false)
        }
        Ok(Err(error)) => Err(words(&error, kind)),
        Err(_) => Err(format!("cannot list {}: no answer within {PATIENCE:?}", kind.resource())),
    };
    Probe { resource: kind.resource(), outcome }
}
