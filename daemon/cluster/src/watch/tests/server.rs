//! An API server that speaks list (with pages), watch, bookmarks and errors, and that fails when told to.
//!
//! It answers over real connections. What it holds is a log of changes, as etcd does: a watch from a version gets all that
//! came after it, unless that was compacted away.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http_body_util::combinators::BoxBody;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::super::kind::Kind;
use crate::object::ObjectKind;
use http::{Wanted, in_pieces, status, streamed, whole};

use watching::{Then, Watching};

mod http;
mod watching;

type Body = BoxBody<Bytes, io::Error>;

/// What a resource is called here: its plural, and more where several share that.
pub(super) fn name(kind: &Kind) -> &'static str {
    match (kind.group, kind.version, kind.plural) {
        ("crd.projectcalico.org", _, "networkpolicies") => "networkpolicies.crd",
        ("projectcalico.org", _, "networkpolicies") => "networkpolicies.v3",
        ("projectcalico.org", _, "globalnetworkpolicies") => "globalnetworkpolicies.v3",
        (_, "v1alpha2", "clusternetworkpolicies") => "clusternetworkpolicies.v1alpha2",
        (_, _, plural) => plural,
    }
}

/// What goes wrong with one request or connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The answer is this status, with a Status object of this reason.
    Status(u16, &'static str),
    /// No answer comes.
    Silent,
    /// The connection ends instead of an answer.
    Cut,
    /// A watch is answered, and ends at once.
    EndsAtOnce,
    /// A watch's next event is cut off in the middle.
    CutInEvent,
    /// A watch tells of this error instead of an event, and goes on.
    ErrorEvent(u16, &'static str),
    /// The answer comes in pieces of seven bytes.
    Slow,
    /// The server is busy and says for how many seconds it wants to be left alone, as API priority and fairness does.
    Busy(u64),
    /// What a list goes on from is forgotten: its next page is refused as a real server refuses it.
    PageGone,
    /// The answer is no JSON, as a proxy in between would give it.
    Garbage,
    /// A watch tells a line that is no event, and goes on behind it.
    GarbageEvent,
}

impl Fault {
    const fn is_of_request(self) -> bool {
        !matches!(self, Self::CutInEvent | Self::ErrorEvent(..) | Self::GarbageEvent)
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) lists: u64,
    pub(super) pages: u64,
    pub(super) watches: u64,
}

impl Asked {
    pub(super) const fn all(self) -> u64 {
        self.lists + self.pages + self.watches
    }
}

/// Namespace and name.
type Name = (String, String);

#[derive(Debug, Default)]
struct World {
    version: u64,
    /// A watch from before this version is told that it is gone.
    compacted: u64,
    objects: BTreeMap<&'static str, BTreeMap<Name, Value>>,
    log: Vec<(u64, &'static str, &'static str, Value)>,
    faults: HashMap<&'static str, VecDeque<Fault>>,
    /// What is wrong with every request for a resource.
    always: HashMap<&'static str, Fault>,
    /// A list's version, all of it as it was when the list began, and how far it was told.
    pages: HashMap<String, (u64, Arc<[Value]>, usize)>,
    asked: HashMap<&'static str, Asked>,
    /// When a resource that asked to be left alone was asked for next.
    busy_until: HashMap<&'static str, Instant>,
    violations: Vec<String>,
}

/// The server. Its tasks end with it.
pub(super) struct Server {
    world: Arc<Mutex<World>>,
    /// Rises at each change; its second part when connections are to end.
    news: Arc<watch::Sender<(u64, u64)>>,
    pub(super) address: SocketAddr,
    _tasks: JoinSet<()>,
}

impl Server {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let world = Arc::new(Mutex::new(World { version: 1000, ..World::default() }));
        let news = Arc::new(watch::channel((0, 0)).0);
        let mut tasks = JoinSet::new();
        let connections = Connections { world: Arc::clone(&world), news: Arc::clone(&news) };
        tasks.spawn(connections.accept(listener));
        Self { world, news, address, _tasks: tasks }
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    fn told(&self) {
        self.news.send_modify(|(changes, _)| *changes += 1);
    }

    /// Creates or changes an object.
    pub(super) fn put(&self, plural: &'static str, object: Value) {
        self.world().put(plural, object);
        self.told();
    }

    pub(super) fn delete(&self, plural: &'static str, namespace: &str, name: &str) {
        self.world().delete(plural, &(namespace.to_owned(), name.to_owned()));
        self.told();
    }

    /// Tells a watch of the present version, and ends it, as servers do after some minutes.
    pub(super) fn bookmark(&self, plural: &'static str) {
        let mut world = self.world();
        let version = world.version;
        let metadata = json!({ "resourceVersion": version.to_string() });
        let bookmark = json!({ "kind": "Bookmark", "apiVersion": "v1", "metadata": metadata });
        world.log.push((version, plural, "BOOKMARK", bookmark));
        drop(world);
        self.told();
    }

    /// Forgets all changes up to now.
    pub(super) fn compact(&self) {
        let mut world = self.world();
        world.compacted = world.version;
        world.log.clear();
    }

    /// Ends all connections, in the middle of what they say.
    pub(super) fn cut_connections(&self) {
        self.news.send_modify(|(_, cuts)| *cuts += 1);
    }

    /// Is put back to an older version, with these pods alone.
    pub(super) fn restore(&self, version: u64, pods: Vec<Value>) {
        let mut world = self.world();
        world.version = version;
        world.compacted = version;
        world.log.clear();
        world.objects.remove("pods");
        for mut pod in pods {
            pod["metadata"]["resourceVersion"] = version.to_string().into();
            let name = name_of(&pod);
            world.objects.entry("pods").or_default().insert(name, pod);
        }
        drop(world);
        self.cut_connections();
    }

    pub(super) fn fault(&self, plural: &'static str, fault: Fault) {
        self.world().faults.entry(plural).or_default().push_back(fault);
        self.told();
    }

    pub(super) fn always(&self, plural: &'static str, fault: Option<Fault>) {
        let mut world = self.world();
        match fault {
            Some(fault) => world.always.insert(plural, fault),
            None => world.always.remove(plural),
        };
    }

    pub(super) fn asked(&self, plural: &'static str) -> Asked {
        self.world().asked.get(plural).copied().unwrap_or_default()
    }

    /// What it holds of a resource.
    pub(super) fn objects(&self, plural: &'static str) -> Vec<Value> {
        self.world().objects.get(plural).into_iter().flat_map(BTreeMap::values).cloned().collect()
    }

    /// Requests that no watch of ours should make.
    pub(super) fn violations(&self) -> Vec<String> {
        self.world().violations.clone()
    }
}

fn name_of(object: &Value) -> Name {
    let text = |key: &str| object["metadata"][key].as_str().unwrap_or_default().to_owned();
    (text("namespace"), text("name"))
}

impl World {
    fn put(&mut self, plural: &'static str, mut object: Value) {
        self.version += 1;
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        let before = self.objects.entry(plural).or_default().insert(name_of(&object), object.clone());
        let event = if before.is_some() { "MODIFIED" } else { "ADDED" };
        self.log.push((self.version, plural, event, object));
    }

    fn delete(&mut self, plural: &'static str, name: &Name) {
        self.version += 1;
        let removed = self.objects.get_mut(plural).and_then(|objects| objects.remove(name));
        if let Some(mut object) = removed {
            object["metadata"]["resourceVersion"] = self.version.to_string().into();
            self.log.push((self.version, plural, "DELETED", object));
        }
    }

    /// Whether there is such a kind: what is not Kubernetes' own comes with its first object.
    fn has(&self, kind: &Kind) -> bool {
        !matches!(kind.object, ObjectKind::ForeignPolicy(_)) || self.objects.contains_key(name(kind))
    }

    fn fault_of_request(&mut self, plural: &'static str) -> Option<Fault> {
        if let Some(fault) = self.always.get(plural) {
            return Some(*fault);
        }
        let waiting = self.faults.get_mut(plural)?;
        waiting.front().is_some_and(|fault| fault.is_of_request()).then(|| waiting.pop_front())?
    }

    fn fault_of_event(&mut self, plural: &'static str) -> Option<Fault> {
        let waiting = self.faults.get_mut(plural)?;
        waiting.front().is_some_and(|fault| !fault.is_of_request()).then(|| waiting.pop_front())?
    }

    /// A page. Items of a list do not say what they are, except where only their metadata is given.
    fn list(&mut self, wanted: &Wanted) -> Value {
        let Wanted { kind, limit, token, .. } = wanted;
        let (version, all, from) = match token.as_ref().and_then(|token| self.pages.get(token)) {
            Some(page) => page.clone(),
            None => {
                let all = self.objects.get(name(kind)).into_iter().flat_map(BTreeMap::values);
                (self.version, all.cloned().collect(), 0)
            }
        };
        let to = from.saturating_add(*limit).min(all.len());
        let (rest, later) = (&all[from..to], all.len() - to);
        let mut metadata = json!({ "resourceVersion": version.to_string() });
        if later > 0 {
            let token = format!("{}/{version}+{later}=", name(kind));
            metadata["continue"] = token.clone().into();
            metadata["remainingItemCount"] = later.into();
            self.pages.insert(token, (version, Arc::clone(&all), to));
        }
        if wanted.metadata_only {
            let items: Vec<_> = rest.iter().map(metadata_of).collect();
            return json!({ "kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1",
                           "metadata": metadata, "items": items });
        }
        json!({ "kind": format!("{}List", kind.kind), "apiVersion": kind.api_version(), "metadata": metadata,
                "items": rest })
    }
}

fn metadata_of(object: &Value) -> Value {
    json!({ "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object["metadata"] })
}

/// An object as a watch tells it: with its kind, which objects in lists do not state.
fn told(object: &Value, wanted: &Wanted) -> Value {
    if wanted.metadata_only {
        return metadata_of(object);
    }
    let mut object = object.clone();
    object["kind"] = wanted.kind.kind.into();
    object["apiVersion"] = wanted.kind.api_version().into();
    object
}

#[derive(Clone)]
struct Connections {
    world: Arc<Mutex<World>>,
    news: Arc<watch::Sender<(u64, u64)>>,
}

impl Connections {
    async fn accept(self, listener: TcpListener) {
        let mut serving = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            let this = self.clone();
            let mut news = self.news.subscribe();
            let cuts = news.borrow().1;
            serving.spawn(async move {
                let answer = service_fn(move |request| this.clone().answer(request));
                let connection =
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer);
                tokio::select! {
                    _ = connection => {}
                    _ = news.wait_for(|news| news.1 != cuts) => {}
                }
            });
        }
    }

    async fn answer(self, request: Request<Incoming>) -> Result<Response<Body>, io::Error> {
        let (wanted, fault) = {
            let mut world = self.world.lock().unwrap();
            let wanted = world.understand(&request);
            let fault = wanted.as_ref().and_then(|wanted| world.fault_of_request(name(wanted.kind)));
            (wanted, fault)
        };
        let Some(wanted) = wanted else { return Ok(status(404, "NotFound")) };
        let has = self.world.lock().unwrap().has(wanted.kind);
        if !has && fault.is_none() {
            return Ok(whole("404 page not found\n".to_owned(), StatusCode::NOT_FOUND));
        }
        match fault {
            Some(Fault::Status(code, reason)) => return Ok(status(code, reason)),
            Some(Fault::Cut) => return Err(io::Error::other("cut")),
            Some(Fault::Silent) => std::future::pending().await,
            Some(Fault::EndsAtOnce) if wanted.watch => return Ok(whole(String::new(), StatusCode::OK)),
            Some(Fault::Garbage) => return Ok(whole("<html>busy</html>\n".to_owned(), StatusCode::OK)),
            Some(Fault::Busy(seconds)) => {
                let until = Instant::now() + Duration::from_secs(seconds);
                self.world.lock().unwrap().busy_until.insert(name(wanted.kind), until);
                let mut busy = status(429, "TooManyRequests");
                busy.headers_mut().insert("retry-after", seconds.into());
                return Ok(busy);
            }
            Some(Fault::PageGone) if wanted.token.is_some() => {
                let mut gone = status_object(410, "Expired");
                gone["metadata"]["continue"] = "inconsistent".into();
                return Ok(whole(gone.to_string(), StatusCode::GONE));
            }
            _ => {}
        }
        let answer = if wanted.watch { self.watch(&wanted) } else { self.list(&wanted) };
        Ok(if fault == Some(Fault::Slow) { in_pieces(answer) } else { answer })
    }

    fn list(&self, wanted: &Wanted) -> Response<Body> {
        let mut world = self.world.lock().unwrap();
        let list = world.list(wanted);
        whole(list.to_string(), StatusCode::OK)
    }

    fn watch(&self, wanted: &Wanted) -> Response<Body> {
        if wanted.version > self.world.lock().unwrap().version {
            return status(504, "Timeout");
        }
        let watching = Watching {
            world: Arc::clone(&self.world),
            news: self.news.subscribe(),
            wanted: wanted.clone(),
            version: wanted.version,
            then: Then::Goes,
        };
        let frames = stream::unfold(Some(watching), |watching| async move {
            let mut watching = watching?;
            let frame = watching.next().await;
            let on = frame.as_ref().is_some_and(Result::is_ok);
            Some((frame?, on.then_some(watching)))
        });
        Response::new(streamed(frames.boxed()))
    }
}

fn event(what: &str, object: &Value) -> String {
    format!("{}\n", json!({ "type": what, "object": object }))
}

fn status_object(code: u16, reason: &str) -> Value {
    let message = match code {
        504 => "Too large resource version: 9, current: 1".to_owned(),
        _ => format!("said by the test: {reason}"),
    };
    json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason,
            "message": message, "metadata": {} })
}
