//! A source that counts in the kernel tells the same truth as one that hands up every frame: in the last word on each connection,
//! field by field, but for what [`absent::ABSENT`] lists and what is about a single telling.

use std::collections::BTreeMap;
use std::path::Path;

use proptest::prelude::*;
use serde_json::Value;
use weir_daemon::capture::file::FileSource;
use weir_daemon::capture::record::Recorder;
use weir_daemon::capture::{Batch, Frame, Input, Item, absent};
use weir_proto::flow::Flow;
use weir_proto::json;
use weir_proto::observer::GetFlowsResponse;
use weir_proto::observer::get_flows_response::ResponseTypes;

use crate::kernel::Kernel;
use crate::node::{self, SECOND, Watched};
use crate::story::{Story, end_of, stories};

/// Of a single telling: when it was told and what since the one before.
const OF_ONE_TELLING: [&str; 6] =
    ["uuid", "time", "weir.delta", "weir.correction", "l4.TCP.flags", "Summary"];

/// What a source that counts cannot date once the clock was set back: what was counted before is told by the clock of now.
const TIMES: [&str; 6] = [
    "weir.first_packet",
    "weir.last_packet",
    "weir.path.first",
    "weir.path.last",
    "weir.evidence.time",
    "weir.tcp.zero_window_ns_forward",
];

/// So long is looked at what comes after the last packet.
const AFTERWARDS: u64 = 45 * SECOND;

/// What was handed up is read so often, and then in the order of time.
const DRAIN_NS: u64 = 10_000_000;
/// Nothing passes the whole node in so short a time: a drain does not fall between two devices of a packet's way.
const PASSAGE_NS: u64 = 50_000;

/// The same stream by both kinds of source.
struct Both {
    frames: Watched,
    tallies: Watched,
    kernel: Kernel,
    /// None: what is handed up is read at once, as where times are in no order.
    ring: Option<Ring>,
    now: u64,
    set_back: bool,
}

/// Handed up and not read.
#[derive(Default)]
struct Ring {
    batch: Batch,
    begun: u64,
    latest: u64,
}

impl Ring {
    fn take(&mut self) -> Batch {
        let mut items: Vec<Item<'_>> = self.batch.items().collect();
        items.sort_by_key(|item| match item {
            Item::Frame(frame) => frame.at,
            Item::Tally(tally) => tally.last,
        });
        let mut sorted = Batch::default();
        for item in items {
            match item {
                Item::Frame(frame) => assert!(sorted.push(&frame), "a batch has room for another's frames"),
                Item::Tally(tally) => sorted.push_tally(*tally),
            }
        }
        *self = Self::default();
        sorted
    }
}

impl Both {
    fn new(ring: Option<Ring>) -> Self {
        let (frames, tallies, kernel) = (Watched::new(), Watched::new(), Kernel::default());
        Self { frames, tallies, kernel, ring, now: 0, set_back: false }
    }

    /// What the kernel hands up.
    fn hands_up(&mut self, at: u64, from: impl FnOnce(&mut Kernel, &mut Batch)) {
        let mut at_once = Batch::default();
        let batch = self.ring.as_mut().map_or(&mut at_once, |ring| &mut ring.batch);
        from(&mut self.kernel, batch);
        match &mut self.ring {
            Some(ring) if !ring.batch.is_empty() => {
                ring.begun = if ring.begun == 0 { at } else { ring.begun };
                ring.latest = at;
            }
            Some(_) => {}
            None => self.tallies.take(&Input::Frames(at_once)),
        }
    }

    /// Reads what was handed up.
    fn drain(&mut self) {
        if let Some(batch) = self.ring.as_mut().map(Ring::take) {
            self.tallies.take(&Input::Frames(batch));
        }
    }

    /// Time passes, second by second, as it does where a table is looked over.
    fn advance(&mut self, now: u64) {
        self.set_back |= now + 10 * SECOND < self.now;
        if self.now == 0 || now < self.now {
            self.now = now;
        }
        let steps = (now - self.now) / SECOND;
        // Nothing is left to be looked over after so long.
        for step in (0..steps.min(AFTERWARDS / SECOND)).chain([steps]) {
            self.tick((self.now + step * SECOND).min(now));
        }
        self.tick(now);
        self.now = now;
    }

    fn tick(&mut self, now: u64) {
        let due = |ring: &Ring| now >= ring.begun + DRAIN_NS && now >= ring.latest + PASSAGE_NS;
        let drains = self.ring.as_ref().is_none_or(due);
        if drains {
            self.drain();
        }
        self.hands_up(now, |kernel, batch| kernel.advance(now, batch));
        self.frames.advance(now);
        // A pipeline's time follows what it was given.
        if drains {
            self.drain();
            self.tallies.advance(now);
        }
    }

    fn sees(&mut self, frame: &Frame<'_>) {
        self.advance(frame.at.as_nanos());
        let mut every = Batch::default();
        every.push(frame);
        self.frames.take(&Input::Frames(every));
        self.hands_up(frame.at.as_nanos(), |kernel, batch| kernel.sees(frame, batch));
    }

    fn take(&mut self, input: &Input) {
        match input {
            Input::Frames(batch) => batch.frames().for_each(|frame| self.sees(&frame)),
            other => {
                self.drain();
                self.frames.take(other);
                self.tallies.take(other);
            }
        }
    }

    fn finish(&mut self) {
        self.frames.finish();
        self.hands_up(self.now, Kernel::finish);
        self.drain();
        self.tallies.finish();
    }

    /// Where they differ and may not.
    fn differences(&self) -> Vec<String> {
        let (every, counted) = (last_words(&self.frames), last_words(&self.tallies));
        let mut found = Vec::new();
        for key in every.keys().chain(counted.keys().filter(|key| !every.contains_key(*key))) {
            match (every.get(key), counted.get(key)) {
                (Some(one), Some(other)) => differ("", one, other, &mut |path, one, other| {
                    if self.set_back && TIMES.contains(&path) {
                        return;
                    }
                    found.push(format!("{key}: {path} {one} by frames, {other} by tallies"));
                }),
                (Some(_), None) => found.push(format!("{key}: by frames only")),
                _ => found.push(format!("{key}: by tallies only")),
            }
        }
        let packets = |watched: &Watched| watched.pipeline.counts().packets();
        if packets(&self.frames) != packets(&self.tallies) {
            found.push(format!("{} packets, {}", packets(&self.frames), packets(&self.tallies)));
        }
        if messages(&self.frames) != messages(&self.tallies) {
            found.push("messages differ".to_owned());
        }
        found
    }
}

/// The last record of each connection, by its ends, whoever of them is the client, and how many there were before with the same.
fn last_words(watched: &Watched) -> BTreeMap<String, Value> {
    let mut words = BTreeMap::new();
    for flow in watched.connections() {
        let detail = flow.weir.as_ref().unwrap();
        let ip = flow.ip.as_ref().unwrap();
        let ends = detail.path.first().map(|point| (&point.source, &point.destination));
        let (one, other) = ends.unwrap_or((&ip.source, &ip.destination));
        let protocol = flow.l4.as_ref().and_then(|l4| l4.protocol.as_ref()).map(std::mem::discriminant);
        let ends = format!("{protocol:?} {} {}", one.min(other), one.max(other));
        let free = (0..).map(|number| format!("{ends} #{number}")).find(|key| !words.contains_key(key));
        words.insert(free.unwrap_or_default(), value(flow));
    }
    words
}

fn messages(watched: &Watched) -> Vec<String> {
    let told = watched.flows.iter().filter(|flow| flow.l7.is_some());
    let mut told: Vec<String> =
        told.map(|flow| format!("{} {:?}", flow.weir.as_ref().unwrap().dns_latency_ns, flow.l7)).collect();
    told.sort();
    told
}

fn value(flow: &Flow) -> Value {
    let answer = GetFlowsResponse {
        response_types: Some(ResponseTypes::Flow(flow.clone())),
        ..GetFlowsResponse::default()
    };
    let mut value: Value = serde_json::from_str(&json::to_json(&answer)).unwrap();
    value["flow"].take()
}

/// Every leaf that differs, as path and both values.
fn differ(path: &str, one: &Value, other: &Value, found: &mut dyn FnMut(&str, &Value, &Value)) {
    let listed = absent::of(absent::Source::Tallies).any(|absent| absent.field == path);
    if one == other || listed || OF_ONE_TELLING.contains(&path) {
        return;
    }
    match (one, other) {
        (Value::Object(ours), Value::Object(theirs)) => {
            for key in ours.keys().chain(theirs.keys().filter(|key| !ours.contains_key(*key))) {
                let inner = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                let side =
                    |fields: &serde_json::Map<String, Value>| fields.get(key).cloned().unwrap_or_default();
                differ(&inner, &side(ours), &side(theirs), found);
            }
        }
        (Value::Array(ours), Value::Array(theirs)) if ours.len() == theirs.len() => {
            ours.iter().zip(theirs).for_each(|(one, other)| differ(path, one, other, found));
        }
        _ => found(path, one, other),
    }
}

/// What both kinds of source make of these stories.
fn told(stories: &[Story]) -> Both {
    let mut sights: Vec<_> = stories.iter().flat_map(Story::sights).collect();
    sights.sort_by_key(|sight| sight.at);
    let mut testimony: Vec<_> = stories.iter().filter_map(Story::testimony).collect();
    testimony.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
    let mut both = Both::new(Some(Ring::default()));
    for sight in &sights {
        while let Some((_, told)) = testimony.pop_if(|(at, _)| *at <= sight.at) {
            both.take(&Input::Testimony(told));
        }
        both.sees(&sight.frame(sight.at));
    }
    both.advance(end_of(&sights) + AFTERWARDS);
    both.finish();
    both
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn tallies_tell_the_same_as_frames(stories in stories()) {
        let both = told(&stories);
        let differences = both.differences();
        prop_assert!(differences.is_empty(), "{}", differences.join("\n"));
    }
}

/// What came in, recorded, and read again.
fn recorded(inputs: &[Input]) -> Vec<Input> {
    let file = tempfile::NamedTempFile::new().unwrap();
    let mut recorder = Recorder::new(file.reopen().unwrap(), "node", 1).unwrap();
    inputs.iter().for_each(|input| recorder.record(input).unwrap());
    FileSource::open(&[file.path()]).unwrap().collect::<Result<_, _>>().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// To the byte, whatever numbers the devices have then.
    #[test]
    fn a_recording_of_tallies_tells_the_same_again(stories in stories()) {
        let mut sights: Vec<_> = stories.iter().flat_map(Story::sights).collect();
        sights.sort_by_key(|sight| sight.at);
        let (mut kernel, mut inputs) = (Kernel::default(), node::devices());
        for sight in &sights {
            let mut batch = Batch::default();
            kernel.sees(&sight.frame(sight.at), &mut batch);
            inputs.push(Input::Frames(batch));
        }
        let told = |inputs: &[Input]| {
            let mut watched = Watched::new();
            inputs.iter().for_each(|input| watched.take(input));
            watched.finish();
            watched.flows
        };
        prop_assert!(kernel.counted > 0 || sights.len() < 1000);
        prop_assert_eq!(told(&recorded(&inputs)), told(&inputs));
    }
}

#[test]
fn tallies_tell_the_same_of_every_capture() {
    let name = "tallies_tell_the_same_of_every_capture";
    let Some(corpus) = weir_tests::corpus(name) else { return };
    let (mut counted, mut differences) = (0, Vec::new());
    for capture in crate::prefix::captures(&corpus) {
        let both = read(&capture);
        counted += both.kernel.counted;
        let about = |difference| format!("{}: {difference}", capture.display());
        differences.extend(both.differences().into_iter().map(about));
    }
    assert!(differences.is_empty(), "{} differ:\n{}", differences.len(), differences.join("\n"));
    assert!(counted > 10_000, "{counted} packets were counted");
}

fn read(capture: &Path) -> Both {
    let mut both = Both::new(None);
    for input in FileSource::open(&[capture]).into_iter().flatten().flatten() {
        both.take(&input);
    }
    both.advance(both.now + AFTERWARDS);
    both.finish();
    both
}
