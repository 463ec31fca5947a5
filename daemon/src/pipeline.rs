//! The one loop: an input goes through decode, track and enrich, by plain calls in this order, and flows come out.
//!
//! The same for live traffic and for files. Pure like its stages: the time is that of the packets, or handed in while there
//! are none. What could not be decoded or was lost is counted here.

use weir_cluster::{Cluster, UnixNanos};
use weir_proto::flow::Flow;

use crate::capture::{Batch, Input, Loss, Role};
use crate::decode::{self, Undecodable};
use crate::enrich::{Enricher, Interfaces};
use crate::track::Tracker;

/// What comes out.
#[derive(Debug)]
pub enum Output {
    /// A flow.
    Flow(Box<Flow>),
    /// Frames were lost before this point.
    Lost(Loss),
}

/// What was counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Frames taken.
    pub frames: u64,
    /// Frames lost before they got here.
    pub lost: Loss,
    /// Frames that are about their link alone, or carry no IP: ARP, neighbour discovery, multicast membership. They are nobody's
    /// connection.
    pub link_only: u64,
    /// Frames that could not be decoded.
    pub undecodable: u64,
}

/// The stages between frames and flows.
#[derive(Debug)]
pub struct Pipeline {
    decode: decode::Settings,
    tracker: Tracker,
    enricher: Enricher,
    interfaces: Interfaces,
    counts: Counts,
}

impl Pipeline {
    /// The stages, ready to begin.
    #[must_use]
    pub fn new(decode: decode::Settings, tracker: Tracker, enricher: Enricher) -> Self {
        Self { decode, tracker, enricher, interfaces: Interfaces::new(), counts: Counts::default() }
    }

    /// What was counted so far.
    #[must_use]
    pub const fn counts(&self) -> Counts {
        self.counts
    }

    /// The connection table, for its counts.
    #[must_use]
    pub const fn tracker(&self) -> &Tracker {
        &self.tracker
    }

    /// Takes one input.
    pub fn take(&mut self, input: &Input, cluster: &Cluster, out: &mut dyn FnMut(Output)) {
        match input {
            Input::Frames(batch) => self.frames(batch, cluster, out),
            Input::Interface(id, interface) => {
                self.interfaces.insert(*id, interface.clone());
            }
            Input::Testimony(testimony) => {
                let Self { tracker, enricher, interfaces, .. } = self;
                tracker.testimony(testimony, &mut |event| {
                    out(Output::Flow(Box::new(enricher.enrich(&event, interfaces, cluster))));
                });
            }
            Input::Lost(loss) => {
                self.counts.lost.kernel += loss.kernel;
                self.counts.lost.queue += loss.queue;
                self.tracker.capture_lost();
                out(Output::Lost(*loss));
            }
        }
    }

    fn frames(&mut self, batch: &Batch, cluster: &Cluster, out: &mut dyn FnMut(Output)) {
        let Self { decode, tracker, enricher, interfaces, counts } = self;
        for frame in batch.frames() {
            counts.frames += 1;
            let packet = match decode::decode(&frame, decode) {
                Ok(packet) if !packet.is_about_the_link() => packet,
                Ok(_) | Err(Undecodable::Arp | Undecodable::NotIp) => {
                    counts.link_only += 1;
                    continue;
                }
                Err(_) => {
                    counts.undecodable += 1;
                    continue;
                }
            };
            let role = interfaces.get(&frame.interface).map_or(Role::Unknown, |interface| interface.role);
            tracker.packet(&packet, role, &mut |event| {
                out(Output::Flow(Box::new(enricher.enrich(&event, interfaces, cluster))));
            });
        }
    }

    /// Lets time pass where no packet brings it.
    pub fn advance(&mut self, now: UnixNanos, cluster: &Cluster, out: &mut dyn FnMut(Output)) {
        let Self { tracker, enricher, interfaces, .. } = self;
        tracker.advance(now, &mut |event| {
            out(Output::Flow(Box::new(enricher.enrich(&event, interfaces, cluster))));
        });
    }

    /// Tells what is still open: nothing more will come.
    pub fn finish(&mut self, cluster: &Cluster, out: &mut dyn FnMut(Output)) {
        let Self { tracker, enricher, interfaces, .. } = self;
        tracker.finish(&mut |event| {
            out(Output::Flow(Box::new(enricher.enrich(&event, interfaces, cluster))));
        });
    }
}
