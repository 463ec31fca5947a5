//! How often the API server is asked: the client under the watchers, which makes their requests wait.
//!
//! A watcher that fails, or whose watch ends as soon as it begins, would ask again at once; a thousand nodes doing so bring
//! an API server down that has just come up. So a list or watch that follows soon upon the one before it waits, twice as
//! long each time, up to a bound, with jitter. The further pages of a list do not wait. Where the server itself says how long
//! to wait (Retry-After: API priority and fairness, or a server that is starting), the resource is not asked for until then.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::header::RETRY_AFTER;
use http::{Method, Request, Response, Uri};
use kube::Client;
use kube::client::Body;
use tokio::time::Instant;
use tower::service_fn;

use super::count::Counters;
use super::kind::{Kind, with_substitutes};

/// The longest that a server may ask to be left alone: what it says may be nonsense.
const LONGEST_HOLD: Duration = Duration::from_secs(300);
/// A page that is told to wait is asked for so often again before its list begins anew.
const PAGE_TRIES: usize = 5;

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

    fn not_before(self, held: Option<Instant>) -> Self {
        Self { begun: held.map_or(self.begun, |held| self.begun.max(held)), ..self }
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

/// When what was last asked for, and what must not be asked for yet.
#[derive(Debug, Default)]
struct Memory {
    paced: HashMap<(String, Asked), Paced>,
    held: HashMap<String, Instant>,
}

/// The client below, with the memory that makes its requests wait.
struct PacedClient {
    client: Client,
    pace: Pace,
    counters: Arc<Counters>,
    random: RandomState,
    memory: Mutex<Memory>,
}

/// The same client, whose requests are counted and wait for their time.
pub(super) fn paced(client: Client, pace: Pace, counters: Arc<Counters>) -> Client {
    let memory = Mutex::new(Memory::default());
    let paced = Arc::new(PacedClient { client, pace, counters, random: RandomState::new(), memory });
    let service = service_fn(move |request: Request<Body>| {
        let paced = Arc::clone(&paced);
        async move { paced.send(request).await }
    });
    Client::new(service, "default")
}

impl PacedClient {
    async fn send(&self, request: Request<Body>) -> kube::Result<Response<Body>> {
        let asked = Asked::of(request.uri());
        let kind = with_substitutes().find(|kind| is_of(request.uri(), kind));
        let path = request.uri().path().to_owned();
        tokio::time::sleep_until(self.begins(&path, asked)).await;
        let answer = match asked {
            Asked::Page => self.page(&path, request).await?,
            Asked::List | Asked::Watch => self.once(&path, asked, request).await?,
        };
        if let Some(kind) = kind.filter(|_| answer.status().is_success() && asked == Asked::Watch) {
            self.counters.settle(kind);
        }
        Ok(answer)
    }

    fn memory(&self) -> std::sync::MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begins(&self, path: &str, asked: Asked) -> Instant {
        let now = Instant::now();
        let mut memory = self.memory();
        let held = memory.held.get(path).copied();
        if asked == Asked::Page {
            return held.unwrap_or(now);
        }
        let key = (path.to_owned(), asked);
        let before = memory.paced.get(&key).copied();
        let paced = Paced::next(before, now, &self.pace, jitter(&self.random, now)).not_before(held);
        memory.paced.insert(key, paced);
        paced.begins()
    }

    async fn once(&self, path: &str, asked: Asked, request: Request<Body>) -> kube::Result<Response<Body>> {
        Counters::add(match asked {
            Asked::List => &self.counters.lists,
            Asked::Page => &self.counters.pages,
            Asked::Watch => &self.counters.watches,
        });
        let answer = self.client.send(request).await?;
        if let Some(wait) = told_to_wait(&answer) {
            self.memory().held.insert(path.to_owned(), Instant::now() + wait);
        }
        Ok(answer)
    }

    /// A page that the server is too busy for is asked for again when it said so: to begin the list anew would cost it more.
    async fn page(&self, path: &str, request: Request<Body>) -> kube::Result<Response<Body>> {
        let (method, uri, headers) =
            (request.method().clone(), request.uri().clone(), request.headers().clone());
        let again = || {
            let mut request = Request::new(Body::empty());
            *request.method_mut() = Method::clone(&method);
            *request.uri_mut() = Uri::clone(&uri);
            *request.headers_mut() = headers.clone();
            request
        };
        let mut answer = self.once(path, Asked::Page, request).await?;
        for _ in 1..PAGE_TRIES {
            if told_to_wait(&answer).is_none() {
                break;
            }
            tokio::time::sleep_until(self.begins(path, Asked::Page)).await;
            answer = self.once(path, Asked::Page, again()).await?;
        }
        Ok(answer)
    }
}

/// How long an answer asks to be left alone (RFC 9110, section 10.2.3; API servers send seconds).
fn told_to_wait(answer: &Response<Body>) -> Option<Duration> {
    if answer.status().is_success() {
        return None;
    }
    let seconds = answer.headers().get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(LONGEST_HOLD))
}

fn is_of(uri: &Uri, kind: &Kind) -> bool {
    uri.path().ends_with(&kind.path())
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

    #[test]
    fn a_server_says_how_long_it_wants_to_be_left_alone() {
        let wait = |status: u16, after: &str| {
            let answer = Response::builder().status(status).header(RETRY_AFTER, after);
            told_to_wait(&answer.body(Body::empty()).unwrap())
        };
        assert_eq!(wait(429, "7"), Some(Duration::from_secs(7)));
        assert_eq!(wait(503, "99999999"), Some(LONGEST_HOLD));
        assert_eq!(wait(200, "7"), None);
        assert_eq!(wait(429, "soon"), None);
    }
}
