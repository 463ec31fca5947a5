//! A watch under way: what it tells next, and how it fails when told to.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use hyper::body::Frame;
use tokio::sync::watch;

use super::http::Wanted;
use super::{Fault, World, event, name, status_object, told};

/// How a watch goes on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    Goes,
    Ends,
    IsCut,
}

pub(super) struct Watching {
    pub(super) world: Arc<Mutex<World>>,
    pub(super) news: watch::Receiver<(u64, u64)>,
    pub(super) wanted: Wanted,
    pub(super) version: u64,
    pub(super) then: Then,
}

impl Watching {
    pub(super) async fn next(&mut self) -> Option<Result<Frame<Bytes>, io::Error>> {
        match self.then {
            Then::Goes => {}
            Then::Ends => return None,
            Then::IsCut => return Some(Err(io::Error::other("cut in the middle"))),
        }
        loop {
            self.news.mark_unchanged();
            if let Some(line) = self.line() {
                return Some(Ok(Frame::data(line.into())));
            }
            self.news.changed().await.ok()?;
        }
    }

    fn line(&mut self) -> Option<String> {
        let mut world = self.world.lock().unwrap();
        if self.version < world.compacted {
            self.version = world.compacted;
            return Some(event("ERROR", &status_object(410, "Expired")));
        }
        let (version, plural) = (self.version, name(self.wanted.kind));
        if let Some(fault) = world.faults.get(plural).and_then(VecDeque::front).copied()
            && let Fault::ErrorEvent(code, reason) = fault
        {
            world.fault_of_event(plural);
            return Some(event("ERROR", &status_object(code, reason)));
        }
        if world.faults.get(plural).and_then(VecDeque::front) == Some(&Fault::GarbageEvent) {
            world.fault_of_event(plural);
            // The event that it stands for is lost.
            self.version = world.version;
            return Some("{\"type\":\"MODIFIED\",\"object\":[]}\n".to_owned());
        }
        let from = world.log.partition_point(|(at, ..)| *at < version);
        let next = world.log[from..].iter().find(|(at, of, what, _)| {
            *of == plural && (*at > version || *what == "BOOKMARK" && *at == version)
        });
        let (at, _, what, object) = next.cloned()?;
        if what == "BOOKMARK" {
            world.log.retain(|(other, of, what, _)| (*other, *of, *what) != (at, plural, "BOOKMARK"));
            self.then = Then::Ends;
        }
        let line =
            if what == "BOOKMARK" { event(what, &object) } else { event(what, &told(&object, &self.wanted)) };
        if world.fault_of_event(plural) == Some(Fault::CutInEvent) {
            self.then = Then::IsCut;
            return Some(line[..line.len() / 2].to_owned());
        }
        self.version = at;
        Some(line)
    }
}
