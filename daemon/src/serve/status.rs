//! What the node says about itself: counters that the pipeline fills, and notices in words.
//!
//! Counters are atomics, written on the hot path and read when someone asks for the status. Notices say what does not work
//! here and why; each has a topic, so that what is mended can be taken back.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::{ArcSwap, ArcSwapOption};
use weir_proto::weir::v1::{
    ConntrackStatus, Cost, KernelDropStatus, LinkStatus, PolicyStatus, ServerStatus, Source, Untold,
};

use crate::pipeline::LinkCounts;

/// Counters and notices of a running daemon. Shared between the pipeline and the services.
#[derive(Debug, Default)]
pub struct Status {
    /// Frames read.
    pub frames: AtomicU64,
    /// Frames that the kernel dropped before they could be read.
    pub frames_dropped_kernel: AtomicU64,
    /// Frames dropped between capture and pipeline.
    pub frames_dropped_queue: AtomicU64,
    /// Connections now in the table.
    pub connections: AtomicU64,
    /// Connections that left the table for lack of room.
    pub connections_evicted: AtomicU64,
    /// Times that the kernel's connection tracking overran its socket.
    pub conntrack_overruns: AtomicU64,
    /// Frames that could not be decoded.
    pub undecodable: AtomicU64,
    /// Packets that were counted behind the queue and not followed, to stay within the budget.
    pub packets_left_out: AtomicU64,
    notices: ArcSwap<BTreeMap<&'static str, String>>,
    links: ArcSwap<Vec<LinkStatus>>,
    cost: ArcSwapOption<Cost>,
    source: ArcSwapOption<Source>,
    untold: ArcSwapOption<Untold>,
    policy: ArcSwapOption<PolicyStatus>,
    conntrack: ArcSwapOption<ConntrackStatus>,
    kernel_drops: ArcSwap<Vec<KernelDropStatus>>,
}

impl Status {
    /// Says what is wrong with `topic`, in a sentence for people; replaces what was said before.
    pub fn notice(&self, topic: &'static str, sentence: &str) {
        self.notices.rcu(|notices| {
            let mut notices = BTreeMap::clone(notices);
            notices.insert(topic, sentence.to_owned());
            notices
        });
    }

    /// Takes back what was said of `topic`.
    pub fn settle(&self, topic: &str) {
        self.notices.rcu(|notices| {
            let mut notices = BTreeMap::clone(notices);
            notices.remove(topic);
            notices
        });
    }

    /// Says which frames of each device were nobody's connection.
    pub fn tell_links<'a>(&self, links: impl Iterator<Item = (&'a str, LinkCounts)>) {
        let told = links.map(|(device, counts)| LinkStatus {
            device: device.to_owned(),
            arp: counts.arp,
            neighbours: counts.neighbours,
            memberships: counts.memberships,
            not_ip: counts.not_ip,
        });
        self.links.store(Arc::new(told.collect()));
    }

    /// Says what the daemon costs its node.
    pub fn tell_cost(&self, cost: Cost) {
        self.cost.store(Some(Arc::new(cost)));
    }

    /// Says what of the packets that came is in no flow.
    pub fn tell_untold(&self, untold: Untold) {
        self.untold.store(Some(Arc::new(untold)));
    }

    /// Says what policies said, and how that went.
    pub fn tell_policy(&self, policy: PolicyStatus) {
        self.policy.store(Some(Arc::new(policy)));
    }

    /// Says how the kernel's connection tracking is; None where there is none.
    pub fn tell_conntrack(&self, table: Option<ConntrackStatus>) {
        self.conntrack.store(table.map(Arc::new));
    }

    /// Says where frames come from.
    pub fn tell_source(&self, source: Source) {
        self.source.store(Some(Arc::new(source)));
    }

    /// What was said of the devices last.
    #[must_use]
    pub fn links(&self) -> Vec<LinkStatus> {
        self.links.load().to_vec()
    }

    /// Says how many packets the kernel gave up, by reason.
    pub fn tell_kernel_drops(&self, drops: Vec<KernelDropStatus>) {
        self.kernel_drops.store(Arc::new(drops));
    }

    /// As on the wire, without what the ring and the daemon's run know.
    pub(super) fn snapshot(&self) -> ServerStatus {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        ServerStatus {
            frames: read(&self.frames),
            frames_dropped_kernel: read(&self.frames_dropped_kernel),
            frames_dropped_queue: read(&self.frames_dropped_queue),
            connections: read(&self.connections),
            connections_evicted: read(&self.connections_evicted),
            conntrack_overruns: read(&self.conntrack_overruns),
            undecodable: read(&self.undecodable),
            notices: self.notices.load().values().cloned().collect(),
            links: self.links(),
            cost: self.cost.load().as_deref().copied(),
            source: self.source.load().as_deref().cloned(),
            untold: self.untold.load().as_deref().copied(),
            policy: self.policy.load().as_deref().copied(),
            conntrack: self.conntrack.load().as_deref().copied(),
            kernel_drops: self.kernel_drops.load().to_vec(),
            ..Default::default()
        }
    }
}
