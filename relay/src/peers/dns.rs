//! Daemons found in DNS: each address of a name is a daemon; the set follows the name.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::net::lookup_host;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::{Address, DnsName, Sources, Target, Targets};

/// A look-up that takes longer has failed.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);

/// Keeps the set current until nobody listens to it any more.
pub async fn follow(sources: Sources, targets: watch::Sender<Targets>) {
    if sources.names.is_empty() {
        return targets.closed().await;
    }
    let mut ticks = interval(sources.interval.max(Duration::from_secs(1)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut found = BTreeMap::new();
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = targets.closed() => return,
        }
        for (index, name) in sources.names.iter().enumerate() {
            let resolved = tokio::select! {
                resolved = resolve(name) => resolved,
                () = targets.closed() => return,
            };
            match resolved {
                Ok(set) => {
                    found.insert(index, set);
                }
                Err(error) => {
                    tracing::warn!("{error}; keeping the {} daemons it last named", known(&found, index));
                }
            }
        }
        let set: Targets = sources.list.iter().cloned().chain(found.values().flatten().cloned()).collect();
        targets.send_if_modified(|current| {
            let changed = *current != set;
            if changed {
                *current = set;
            }
            changed
        });
    }
}

fn known(found: &BTreeMap<usize, Targets>, index: usize) -> usize {
    found.get(&index).map_or(0, Targets::len)
}

/// The look-up failed.
#[derive(Debug, thiserror::Error)]
#[error("resolving {host}: {cause} (is it a headless Service, and is the DNS server reachable?)")]
struct LookupError {
    host: String,
    cause: String,
}

async fn resolve(name: &DnsName) -> Result<Targets, LookupError> {
    let failed = |cause: String| LookupError { host: name.host.clone(), cause };
    let looked_up = timeout(LOOKUP_TIMEOUT, lookup_host((name.host.as_str(), name.port))).await;
    let addresses =
        looked_up.map_err(|_| failed("no answer in 5 s".to_owned()))?.map_err(|e| failed(e.to_string()))?;
    Ok(addresses
        .map(|address| {
            let address = Address::from(address);
            Target { label: address.to_string(), address }
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_address_of_a_name_is_a_daemon() {
        let listed: Target = "n1=unix:///run/n1.sock".parse().unwrap();
        let sources = Sources {
            list: vec![listed.clone()],
            names: vec!["localhost:4244".parse().unwrap()],
            interval: Duration::from_secs(60),
        };
        let targets = super::super::listed(&sources);
        let mut seen = targets.subscribe();
        let task = tokio::spawn(follow(sources, targets));
        let set = timeout(LOOKUP_TIMEOUT, seen.wait_for(|set| set.len() > 1)).await.unwrap().unwrap().clone();
        assert!(set.contains(&listed));
        assert!(
            set.iter()
                .any(|t| matches!(&t.address, Address::Tcp(ip, 4244) if ip == "127.0.0.1" || ip == "::1"))
        );
        drop(seen);
        timeout(LOOKUP_TIMEOUT, task).await.unwrap().unwrap();
    }
}
