//! The one loop: an input goes through decode, track and enrich, by plain calls in this order, and flows come out.
//!
//! The same for live traffic and for files. Pure like its stages: the time is that of the packets, or handed in while there
//! are none. What could not be decoded or was lost is counted here.

use std::collections::BTreeMap;

use weir_cluster::{Cluster, UnixNanos};
use weir_proto::flow::Flow;
use weir_proto::weir::v1::PolicyStatus;

use crate::capture::{Batch, Detail, Frame, Input, InterfaceId, Item, Loss, Role, Tally};
use crate::decode::{self, LinkMatter, Packet, Undecodable};
use crate::enrich::{Enricher, Interfaces};
use crate::track::Tracker;
use crate::track::event::Event;

/// What comes out.
#[derive(Debug)]
pub enum Output<'a> {
    /// A flow, until the next one.
    Flow(&'a Flow),
    /// Frames were lost before this point.
    Lost(Loss),
}

/// What was counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Frames taken.
    pub frames: u64,
    /// Packets that were counted where they passed, and of which no frame came.
    pub tallied: u64,
    /// Frames lost before they got here.
    pub lost: Loss,
    /// Frames that are nobody's connection, on all devices.
    pub link: LinkCounts,
    /// Frames that could not be decoded.
    pub undecodable: u64,
    /// Packets that were counted and not looked at.
    pub left_out: u64,
}

impl Counts {
    /// Packets seen, as frames or not.
    #[must_use]
    pub const fn packets(&self) -> u64 {
        self.frames.saturating_add(self.tallied)
    }
}

/// Frames that are about their link alone, or carry no IP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkCounts {
    /// ARP, in tunnels too.
    pub arp: u64,
    /// Neighbour and router discovery of IPv6.
    pub neighbours: u64,
    /// Multicast memberships.
    pub memberships: u64,
    /// Network protocols other than IP.
    pub not_ip: u64,
}

impl LinkCounts {
    /// All of them.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.arp + self.neighbours + self.memberships + self.not_ip
    }

    /// The count that such a frame belongs to; None for one that is a connection's, or is damaged.
    const fn of(&mut self, decoded: &Result<Packet<'_>, Undecodable>) -> Option<&mut u64> {
        match decoded {
            Ok(packet) => match packet.about_the_link() {
                Some(LinkMatter::Neighbours) => Some(&mut self.neighbours),
                Some(LinkMatter::Memberships) => Some(&mut self.memberships),
                None => None,
            },
            Err(Undecodable::Arp) => Some(&mut self.arp),
            Err(Undecodable::NotIp) => Some(&mut self.not_ip),
            Err(_) => None,
        }
    }
}

/// Devices whose own counts are kept; frames of more are counted in all.
const MAX_DEVICES: usize = 4096;

/// The stages between frames and flows.
#[derive(Debug)]
pub struct Pipeline {
    links: BTreeMap<InterfaceId, LinkCounts>,
    detail: Detail,
    decode: decode::Settings,
    tracker: Tracker,
    enricher: Enricher,
    interfaces: Interfaces,
    counts: Counts,
}

impl Pipeline {
    /// The stages, ready to begin.
    #[must_use]
    pub fn new(decode: decode::Settings, mut tracker: Tracker, enricher: Enricher) -> Self {
        tracker.decode_as(decode.clone());
        Self {
            links: BTreeMap::new(),
            detail: Detail::Full,
            decode,
            tracker,
            enricher,
            interfaces: Interfaces::new(),
            counts: Counts::default(),
        }
    }

    /// What was counted so far.
    #[must_use]
    pub const fn counts(&self) -> Counts {
        self.counts
    }

    /// Frames that are nobody's connection, by the device's name.
    pub fn links(&self) -> impl Iterator<Item = (&str, LinkCounts)> {
        self.links.iter().map(|(id, counts)| {
            let name = self.interfaces.get(id).map_or("", |interface| &interface.name);
            (name, *counts)
        })
    }

    /// The connection table, for its counts.
    #[must_use]
    pub const fn tracker(&self) -> &Tracker {
        &self.tracker
    }

    /// Takes one input.
    pub fn take(&mut self, input: &Input, cluster: &Cluster, out: &mut dyn FnMut(Output<'_>)) {
        match input {
            Input::Frames(batch) => self.frames(batch, cluster, out),
            Input::Interface(id, interface) => {
                self.interfaces.insert(*id, interface.clone());
            }
            Input::Testimony(testimony) => {
                let Self { tracker, enricher, interfaces, .. } = self;
                tracker.testimony(testimony, &mut |event| tell(enricher, &event, interfaces, cluster, out));
            }
            Input::Lost(loss) => {
                let lost = &mut self.counts.lost;
                lost.kernel = lost.kernel.saturating_add(loss.kernel);
                lost.queue = lost.queue.saturating_add(loss.queue);
                self.tracker.capture_lost();
                out(Output::Lost(*loss));
            }
            Input::Detail(detail) => {
                self.detail = *detail;
                self.tracker.look_at(*detail);
            }
        }
    }

    fn frames(&mut self, batch: &Batch, cluster: &Cluster, out: &mut dyn FnMut(Output<'_>)) {
        for item in batch.items() {
            match item {
                Item::Frame(frame) => self.frame(&frame, cluster, out),
                Item::Tally(tally) => self.tally(tally, cluster, out),
            }
        }
    }

    fn frame(&mut self, frame: &Frame<'_>, cluster: &Cluster, out: &mut dyn FnMut(Output<'_>)) {
        if self.detail == Detail::CountersOnly {
            self.counts.frames += 1;
            self.counts.left_out += 1;
            return;
        }
        let Some((packet, role)) = self.decoded(frame) else { return };
        self.review(packet.at, cluster, out);
        let Self { tracker, enricher, interfaces, .. } = self;
        tracker.packet(&packet, role, &mut |event| tell(enricher, &event, interfaces, cluster, out));
    }

    fn tally(&mut self, tally: &Tally, cluster: &Cluster, out: &mut dyn FnMut(Output<'_>)) {
        self.counts.tallied = self.counts.tallied.saturating_add(tally.packets);
        let role = self.role(tally.interface);
        let Self { tracker, enricher, interfaces, .. } = self;
        tracker.tally(tally, role, &mut |event| tell(enricher, &event, interfaces, cluster, out));
    }

    fn role(&self, interface: InterfaceId) -> Role {
        self.interfaces.get(&interface).map_or(Role::Unknown, |interface| interface.role)
    }

    /// The packet in a frame, and the role of its device. What is nobody's connection is counted here.
    fn decoded<'a>(&mut self, frame: &Frame<'a>) -> Option<(Packet<'a>, Role)> {
        let Self { decode, counts, links, .. } = self;
        counts.frames += 1;
        let decoded = decode::decode(frame, decode);
        if let Some(count) = counts.link.of(&decoded) {
            *count += 1;
            let has_room = links.len() < MAX_DEVICES || links.contains_key(&frame.interface);
            let device = has_room.then(|| links.entry(frame.interface).or_default());
            if let Some(count) = device.and_then(|device| device.of(&decoded)) {
                *count += 1;
            }
            return None;
        }
        let Ok(packet) = decoded else {
            counts.undecodable += 1;
            return None;
        };
        Some((packet, self.role(frame.interface)))
    }

    /// Lets time pass where no packet brings it.
    pub fn advance(&mut self, now: UnixNanos, cluster: &Cluster, out: &mut dyn FnMut(Output<'_>)) {
        self.review(now, cluster, out);
        let Self { tracker, enricher, interfaces, .. } = self;
        tracker.advance(now, &mut |event| tell(enricher, &event, interfaces, cluster, out));
    }

    /// Tells again of connections that contradict their policies, each when it is due, until `now`: then a replay tells the same
    /// as a live run.
    fn review(&mut self, now: UnixNanos, cluster: &Cluster, out: &mut dyn FnMut(Output<'_>)) {
        while let Some(due) = self.enricher.review_due(now) {
            let Self { tracker, enricher, interfaces, .. } = self;
            tracker.advance(due, &mut |event| tell(enricher, &event, interfaces, cluster, out));
            while let Some(id) = enricher.to_review(due) {
                let connection = tracker.find(id);
                if connection.is_some_and(|it| enricher.contradicts(it, due, cluster)) {
                    tracker.tell_again(id, &mut |event| tell(enricher, &event, interfaces, cluster, out));
                }
            }
        }
    }

    /// Nothing of the cluster will change any more, as behind a recording: contradictions are told without waiting.
    pub fn settle_policies(&mut self, cluster: &Cluster, out: &mut dyn FnMut(Output<'_>)) {
        self.enricher.settle_policies();
        self.review(self.tracker.now(), cluster, out);
    }

    /// What policies said, and how that went.
    #[must_use]
    pub fn policy_stats(&self) -> PolicyStatus {
        self.enricher.policy_stats()
    }

    /// Tells what is still open: nothing more will come.
    pub fn finish(&mut self, cluster: &Cluster, out: &mut dyn FnMut(Output<'_>)) {
        let Self { tracker, enricher, interfaces, .. } = self;
        tracker.finish(&mut |event| tell(enricher, &event, interfaces, cluster, out));
    }
}

/// The flow of an event, and the policy verdicts that follow it.
fn tell(
    enricher: &mut Enricher,
    event: &Event<'_>,
    interfaces: &Interfaces,
    cluster: &Cluster,
    out: &mut dyn FnMut(Output<'_>),
) {
    out(Output::Flow(enricher.enrich(event, interfaces, cluster)));
    while let Some(verdict) = enricher.verdict() {
        out(Output::Flow(&verdict));
    }
}

#[cfg(test)]
mod tests;
