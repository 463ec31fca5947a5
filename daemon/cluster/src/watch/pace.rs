//! How often the API server is asked: the client under the watchers, which makes their requests wait.
//!
//! A watcher that fails, or whose watch ends as soon as it begins, would ask again at once; a thousand nodes doing so bring
//! an API server down that has just come up. So a list or watch that follows soon upon the one before it waits, twice as
//! long each time, up to a bound, with jitter. The further pages of a list do not wait.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Uri};
use kube::Client;
use kube::client::Body;
use tokio::time::Instant;
use tower::service_fn;

use super::count::Counters;
use super::kind::KINDS;

/// How long requests wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// The first wait; jitter makes it between half as long and as long.
    pub first: Duration,
    /// The longest.
    pub longest: Duration,
    /// What lasted so long was no failure.
    pub calm: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            first: Duration::from_secs(1),
            longest: Duration::from_secs(30),
            calm: Duration::from_secs(60),
        }
    }
}

/// When one resource was last asked for, and how long the next time must wait.
#[derive(Clone, Copy, Debug)]
pub(super) struct Paced {
    begun: Instant,
    wait: Duration,
}

impl Paced {
    /// When the next request may begin, and what is to be remembered of it. `jitter` is from 0 to 1.
    pub(super) fn next(before: Option<Self>, now: Instant, pace: &Pace, jitter: f64) -> Self {
        let Some(Self { begun, wait }) = before else { return Self { begun: now, wait: pace.first } };
        let earliest = begun + wait.mul_f64(0.5 + jitter / 2.0);
        let begins = now.max(earliest);
        let wait = if begins - begun > pace.calm { pace.first } else { (wait * 2).min(pace.longest) };
        Self { begun: begins, wait }
    }

    pub(super) const fn begins(self) -> Instant {
        self.begun
    }
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Asked {
    List,
    Page,
    Watch,
}

impl Asked {
    fn of(uri: &Uri) -> Self {
        let query = uri.query().unwrap_or_default();
        let has = |key: &str| query.split('&').any(|term| term.starts_with(key));
        if has("watch=") {
            Self::Watch
        } else if has("continue=") {
            Self::Page
        } else {
            Self::List
        }
    }
}

/// The same client, whose requests are counted and wait for their time.
pub(super) fn paced(client: Client, pace: Pace, counters: Arc<Counters>) -> Client {
    let mut state: HashMap<(String, Asked), Paced> = HashMap::new();
    let random = RandomState::new();
    let service = service_fn(move |request: Request<Body>| {
        let asked = Asked::of(request.uri());
        let begins = match asked {
            Asked::Page => None,
            Asked::List | Asked::Watch => {
                let key = (request.uri().path().to_owned(), asked);
                let now = Instant::now();
                let paced = Paced::next(state.get(&key).copied(), now, &pace, jitter(&random, now));
                state.insert(key, paced);
                Some(paced.begins())
            }
        };
        let (client, counters) = (client.clone(), Arc::clone(&counters));
        async move {
            if let Some(begins) = begins {
                tokio::time::sleep_until(begins).await;
            }
            match asked {
                Asked::List => Counters::add(&counters.lists),
                Asked::Page => Counters::add(&counters.pages),
                Asked::Watch => Counters::add(&counters.watches),
            }
            let kind = KINDS.iter().find(|kind| has_path(request.uri().path(), kind.plural));
            let answer = client.send(request).await?;
            if let Some(kind) = kind.filter(|_| answer.status().is_success() && asked == Asked::Watch) {
                counters.settle(kind);
            }
            Ok::<_, kube::Error>(answer)
        }
    });
    Client::new(service, "default")
}

fn has_path(path: &str, plural: &str) -> bool {
    path.rsplit_once('/').is_some_and(|(_, last)| last == plural)
}

fn jitter(random: &RandomState, now: Instant) -> f64 {
    let hash = u32::try_from(random.hash_one(now) >> 32).unwrap_or(u32::MAX);
    f64::from(hash) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many requests begin within an hour when each fails at once.
    fn in_an_hour_of_failures(jitter: f64) -> usize {
        let start = Instant::now();
        let next =
            |before: &Paced| Some(Paced::next(Some(*before), before.begins(), &Pace::default(), jitter));
        let first = Paced::next(None, start, &Pace::default(), jitter);
        let hour = Duration::from_secs(3600);
        std::iter::successors(Some(first), next).take_while(|at| at.begins() - start < hour).count()
    }

    #[test]
    fn what_always_fails_is_asked_for_ever_less_often() {
        assert_eq!(in_an_hour_of_failures(1.0), 124);
        assert_eq!(in_an_hour_of_failures(0.0), 244);
    }

    #[test]
    fn what_lasted_does_not_wait() {
        let pace = Pace::default();
        let start = Instant::now();
        let mut paced = Paced::next(None, start, &pace, 1.0);
        for _ in 0..10 {
            paced = Paced::next(Some(paced), paced.begins(), &pace, 1.0);
        }
        let later = paced.begins() + Duration::from_secs(290);
        let after = Paced::next(Some(paced), later, &pace, 1.0);
        assert_eq!((after.begins(), after.wait), (later, pace.first));
    }

    #[test]
    fn pages_are_told_from_lists_and_watches() {
        let of = |uri: &'static str| Asked::of(&Uri::from_static(uri));
        assert_eq!(of("/api/v1/pods?&limit=500"), Asked::List);
        assert_eq!(of("/api/v1/pods?&limit=500&continue=abc"), Asked::Page);
        assert_eq!(of("/api/v1/pods?&watch=true&timeoutSeconds=290"), Asked::Watch);
    }
}
