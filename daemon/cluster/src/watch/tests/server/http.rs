//! Requests as they are understood, and answers as they go out.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::sync::Mutex;
use std::time::Instant;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::{Request, Response, StatusCode};

use super::super::super::kind::{Kind, with_substitutes};
use super::{Body, World, name, status_object};

/// One request, understood.
#[derive(Clone)]
pub(super) struct Wanted {
    pub(super) kind: &'static Kind,
    pub(super) metadata_only: bool,
    pub(super) watch: bool,
    pub(super) limit: usize,
    pub(super) token: Option<String>,
    pub(super) version: u64,
}

/// A body of these frames. A body must be shareable, though it is only polled by one at a time.
pub(super) fn streamed(frames: stream::BoxStream<'static, Result<Frame<Bytes>, io::Error>>) -> Body {
    let frames = Mutex::new(frames);
    let next = move |context: &mut std::task::Context<'_>| frames.lock().unwrap().poll_next_unpin(context);
    BodyExt::boxed(StreamBody::new(stream::poll_fn(next)))
}

pub(super) fn status(code: u16, reason: &str) -> Response<Body> {
    whole(status_object(code, reason).to_string(), StatusCode::from_u16(code).unwrap())
}

pub(super) fn whole(text: String, status: StatusCode) -> Response<Body> {
    let body = Full::new(Bytes::from(text)).map_err(|never: Infallible| match never {});
    let mut response = Response::new(BodyExt::boxed(body));
    *response.status_mut() = status;
    response
}

pub(super) fn in_pieces(response: Response<Body>) -> Response<Body> {
    let (parts, body) = response.into_parts();
    let frames = body.into_data_stream().flat_map(|bytes| {
        let pieces: Vec<_> = bytes.unwrap_or_default().chunks(7).map(Bytes::copy_from_slice).collect();
        stream::iter(pieces.into_iter().map(|piece| Ok(Frame::data(piece))))
    });
    Response::from_parts(parts, streamed(frames.boxed()))
}

impl World {
    pub(super) fn understand(&mut self, request: &Request<Incoming>) -> Option<Wanted> {
        let path = request.uri().path();
        let kind = with_substitutes().find(|kind| path == kind.path());
        let Some(kind) = kind else {
            self.violations.push(format!("asked for {path}"));
            return None;
        };
        let query: HashMap<_, _> = request
            .uri()
            .query()
            .unwrap_or_default()
            .split('&')
            .filter_map(|term| term.split_once('='))
            .collect();
        let number = |key: &str| query.get(key).and_then(|value| value.parse().ok());
        let watch = query.contains_key("watch");
        let header = |name| request.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        let accept = header("accept").unwrap_or_default();
        let metadata_only =
            ["as=PartialObjectMetadata", "g=meta.k8s.io", "v=v1"].iter().all(|it| accept.contains(it));
        if metadata_only != kind.metadata_only {
            self.violations.push(format!("{}: not as much as is needed: {accept}", name(kind)));
        }
        if self.busy_until.remove(name(kind)).is_some_and(|until| Instant::now() < until) {
            self.violations.push(format!("{}: asked for sooner than it said", name(kind)));
        }
        if watch && query.get("allowWatchBookmarks") != Some(&"true") {
            self.violations.push(format!("{}: a watch without bookmarks", name(kind)));
        }
        if !watch && number("limit").is_none() {
            self.violations.push(format!("{}: a list without pages", name(kind)));
        }
        let token = query.get("continue").map(|token| decoded(token));
        let asked = self.asked.entry(name(kind)).or_default();
        match (watch, &token) {
            (true, _) => asked.watches += 1,
            (false, Some(_)) => asked.pages += 1,
            (false, None) => asked.lists += 1,
        }
        Some(Wanted {
            kind,
            metadata_only,
            watch,
            limit: number("limit").and_then(|limit: u64| limit.try_into().ok()).unwrap_or(usize::MAX),
            token,
            version: number("resourceVersion").unwrap_or(0),
        })
    }
}

/// Percent-encoding undone (RFC 3986, section 2.1).
fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let digits: String =
            if byte == b'%' { rest.by_ref().take(2).map(char::from).collect() } else { String::new() };
        bytes.push(u8::from_str_radix(&digits, 16).unwrap_or(byte));
    }
    String::from_utf8(bytes).unwrap()
}
