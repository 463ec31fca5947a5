//! What leaves for the queue: devices' names, frames in the order of their times, and losses before the frames after them.
//!
//! The queue never makes the capture wait. What it has no room for is dropped, newest first, counted, and told as soon as
//! there is room again.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use weir_cluster::UnixNanos;

use super::Counters;
use super::handle::RETIRE_MS;
use super::reorder::Reorder;
use crate::capture::{Frame, Input, Interface, InterfaceId, Loss, Sink};

/// A frame is on hold so long: the kernel may take twice the retire time to hand a block over, and we to read it.
const HOLD: Duration = Duration::from_millis(2 * RETIRE_MS as u64 + 5);
/// Batches leave so often, so that they are not of single frames.
pub const CADENCE: Duration = Duration::from_millis(10);
/// If the clock was set back, frames seem to be from the future: they are on hold no longer than this.
const LONGEST_HOLD: Duration = Duration::from_millis(250);
/// More on hold than this leaves at once.
const HELD_BYTES: usize = 16 << 20;

/// Everything on its way to the queue.
pub struct Outlet {
    sink: Sink,
    counters: Arc<Counters>,
    reorder: Reorder,
    unreported: Loss,
    /// Since when frames are on hold of which none could leave.
    held_since: Instant,
    next_release: Instant,
}

impl Outlet {
    /// With nothing on hold.
    pub fn new(sink: Sink, counters: Arc<Counters>) -> Self {
        let now = Instant::now();
        Self {
            sink,
            counters,
            reorder: Reorder::default(),
            unreported: Loss::default(),
            held_since: now,
            next_release: now,
        }
    }

    /// Announces a device. False if there is no room for it now.
    pub fn announce(&mut self, id: InterfaceId, interface: &Interface) -> bool {
        (self.sink)(Input::Interface(id, interface.clone()))
    }

    /// Takes a frame.
    pub fn hold(&mut self, frame: &Frame<'_>) {
        if !self.reorder.hold(frame) {
            self.counters.late.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// True if frames wait to leave.
    pub fn is_holding(&self) -> bool {
        self.reorder.len() > 0
    }

    /// So many frames were dropped by the kernel.
    pub fn lost_in_kernel(&mut self, frames: u64) {
        self.unreported.kernel += frames;
        self.counters.kernel_dropped.fetch_add(frames, Ordering::Relaxed);
    }

    /// So many frames could not be handed over.
    pub fn lost_for_the_queue(&mut self, frames: u64) {
        self.unreported.queue += frames;
        self.counters.queue_dropped.fetch_add(frames, Ordering::Relaxed);
    }

    /// Lets go what no older frame can come before. `clock` is the time before the rings were read; `all_read`: to their end.
    pub fn release_due(&mut self, now: Instant, clock: UnixNanos, all_read: bool) {
        let until = clock.saturating_sub(HOLD);
        if !self.is_holding() {
            self.held_since = now;
        } else if now.saturating_duration_since(self.held_since) >= LONGEST_HOLD {
            self.release(UnixNanos::MAX);
        } else if now >= self.next_release {
            self.release(until);
        } else {
            return;
        }
        if all_read {
            self.counters.horizon.note(until);
        }
    }

    /// Lets go everything, if there is too much of it.
    pub fn release_excess(&mut self) {
        if self.reorder.bytes() > HELD_BYTES {
            self.release(UnixNanos::MAX);
        }
    }

    /// Lets go everything, and tells what is still to be told.
    pub fn finish(&mut self) {
        self.release(UnixNanos::MAX);
        self.report_loss();
    }

    /// Tells of losses before the frames that come after them; if the queue is full, later.
    pub fn report_loss(&mut self) {
        let loss = self.unreported;
        if loss != Loss::default() && (self.sink)(Input::Lost(loss)) {
            self.unreported = Loss::default();
        }
    }

    fn release(&mut self, until: UnixNanos) {
        let batch = self.reorder.release(until);
        let now = Instant::now();
        self.next_release = now + CADENCE;
        if batch.is_empty() {
            return;
        }
        self.held_since = now;
        self.report_loss();
        let frames = batch.len() as u64;
        if (self.sink)(Input::Frames(batch)) {
            self.counters.frames.fetch_add(frames, Ordering::Relaxed);
            self.counters.batches.fetch_add(1, Ordering::Relaxed);
        } else {
            self.lost_for_the_queue(frames);
        }
    }
}
