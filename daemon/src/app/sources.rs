//! The live sources of a node, started together: frames, conntrack, NFLOG, drops; and what they have to say.
//!
//! Frames are what the daemon is for: without them it does not run. The kernel's testimony may be missing, and then a
//! notice says so. All feed one bounded queue.

use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use weir_proto::weir::v1::{KernelDropStatus, Source};

use crate::capture::{Detail, Horizon, Input, Sink, sink};
use crate::config::CaptureArgs;
use crate::worker::StopError;
use crate::{conntrack, nflog};

use super::AppError;
use super::frames::Frames;
use super::kernel_drops::KernelDrops;

/// Inputs between sources and pipeline: a batch holds up to some milliseconds of frames.
const QUEUE: usize = 4096;

/// Running sources.
pub struct Sources {
    frames: Frames,
    queue: Sink,
    conntrack: Option<conntrack::Reader>,
    nflog: Option<nflog::Reader>,
    drops: Option<KernelDrops>,
    /// What could not be started, by topic.
    missing: Vec<(&'static str, String)>,
}

/// What the sources counted that the pipeline cannot know.
#[derive(Clone, Copy, Debug, Default)]
pub struct SourceCounts {
    /// Frames that the kernel dropped.
    pub kernel_dropped: u64,
    /// Frames that did not fit into the queue.
    pub queue_dropped: u64,
    /// Packets that were counted and not handed up to be followed.
    pub left_out: u64,
    /// Times that conntrack events were lost and its table was read anew.
    pub conntrack_overruns: u64,
    /// Packets that rules logged and that did not get here.
    pub logged_lost: u64,
    /// Packets that the kernel dropped and told of, and that did not get here.
    pub drops_lost: u64,
}

impl Sources {
    /// Starts what the flags ask for.
    ///
    /// # Errors
    /// If frames cannot be captured.
    pub fn start(args: &CaptureArgs) -> Result<(Self, Receiver<Input>), AppError> {
        let (queue, inputs) = sync_channel(QUEUE);
        let mut missing = Vec::new();
        let conntrack = if args.no_conntrack {
            None
        } else {
            noted(
                &mut missing,
                "conntrack",
                conntrack::start(conntrack::Settings::default(), sink(queue.clone())),
            )
        };
        let nflog = if args.nflog_groups.is_empty() {
            None
        } else {
            let settings =
                nflog::Settings { groups: args.nflog_groups.clone(), ..nflog::Settings::default() };
            noted(&mut missing, "nflog", nflog::start(&settings, sink(queue.clone())))
        };
        let frames = Frames::start(args, || sink(queue.clone()))?;
        let drops = if args.no_kernel_drops {
            None
        } else {
            noted(&mut missing, "kernel drops", KernelDrops::start(sink(queue.clone())))
        };
        Ok((Self { frames, queue: sink(queue), conntrack, nflog, drops, missing }, inputs))
    }

    /// False once frames come no more; a notice says why.
    #[must_use]
    pub fn is_capturing(&self) -> bool {
        self.frames.is_running()
    }

    /// From now on so much is looked at, in the kernel and behind the queue. False if the queue has no room to say so.
    pub fn set_detail(&mut self, detail: Detail) -> bool {
        let told = (self.queue)(Input::Detail(detail));
        if told {
            self.frames.set_detail(detail);
        }
        told
    }

    /// How far frames have got.
    #[must_use]
    pub fn horizon(&self) -> Horizon {
        self.frames.horizon()
    }

    /// Where frames come from.
    #[must_use]
    pub fn told(&self) -> Source {
        self.frames.told()
    }

    /// What was counted so far.
    #[must_use]
    pub fn counts(&self) -> SourceCounts {
        let dropped = self.frames.dropped();
        SourceCounts {
            kernel_dropped: dropped.kernel,
            queue_dropped: dropped.queue,
            left_out: self.frames.left_out(),
            conntrack_overruns: self.conntrack.as_ref().map_or(0, |reader| reader.stats().overruns),
            logged_lost: self
                .nflog
                .as_ref()
                .map_or(0, |reader| reader.stats().lost + reader.stats().queue_full),
            drops_lost: self.drops.as_ref().map_or(0, KernelDrops::lost),
        }
    }

    /// Packets that the kernel gave up, by reason.
    #[must_use]
    pub fn kernel_drops(&self) -> Vec<KernelDropStatus> {
        self.drops.as_ref().map(KernelDrops::counts).unwrap_or_default()
    }

    /// Takes the sentences for people that came since the last call, by topic.
    pub fn notices(&mut self) -> Vec<(&'static str, String)> {
        let mut notices = std::mem::take(&mut self.missing);
        let mut add = |topic, sentences: Vec<String>| {
            notices.extend(sentences.into_iter().map(|sentence| (topic, sentence)));
        };
        add("capture", self.frames.notices());
        add("conntrack", self.conntrack.as_ref().map(conntrack::Reader::notices).unwrap_or_default());
        add("nflog", self.nflog.as_ref().map(nflog::Reader::notices).unwrap_or_default());
        add("kernel drops", self.drops.as_ref().map(KernelDrops::notices).unwrap_or_default());
        notices
    }

    /// Stops all of them.
    ///
    /// # Errors
    /// The first that did not end in time.
    pub fn stop(self, deadline: Duration) -> Result<(), StopError> {
        let Self { frames, queue: _, conntrack, nflog, drops, missing: _ } = self;
        let ends = [
            frames.stop(deadline),
            conntrack.map_or(Ok(()), |reader| reader.stop(deadline)),
            nflog.map_or(Ok(()), |reader| reader.stop(deadline)),
            drops.map_or(Ok(()), |reader| reader.stop(deadline)),
        ];
        ends.into_iter().collect()
    }
}

fn noted<T, E: std::fmt::Display>(
    missing: &mut Vec<(&'static str, String)>,
    topic: &'static str,
    started: Result<T, E>,
) -> Option<T> {
    match started {
        Ok(reader) => Some(reader),
        Err(error) => {
            missing.push((topic, error.to_string()));
            None
        }
    }
}
