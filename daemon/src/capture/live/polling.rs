//! The one thread that reads all rings: waits for any of them, keeps devices and handles in step, releases frames in order.
//!
//! A device that goes is read to its end before its handles are closed: the last frames of a pod are worth most.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;
use weir_cluster::UnixNanos;

use super::attached::{Attached, CLOSING, ring_of};
use super::budget::{RINGS_PER_DEVICE, SMALLEST, ring_bytes};
use super::handle::Refusal;
use super::outlet::{CADENCE, Outlet};
use super::{Counters, LiveError, Settings};
use crate::capture::links::{Device, Links, bypass_sentence, is_wanted};
use crate::capture::{Interface, InterfaceId, Sink};
use crate::notice::Notices;
use crate::worker::Stop;

/// With nothing to do it says so often how far it has got.
const HEARTBEAT: Duration = Duration::from_millis(50);
/// Drop counters are read so often, and what failed is tried again.
const HOUSEKEEPING: Duration = Duration::from_millis(250);
/// To open a device takes some 10 ms, in which no ring is read; other devices wait for the next round.
const OPENED_AT_ONCE: usize = 1;
/// Rings are read at most so often in one round before frames are released.
const READS_PER_ROUND: usize = 8;

const LINKS: u64 = u64::MAX;
const STOP: u64 = u64::MAX - 1;

/// The thread's state.
pub struct Polling {
    settings: Settings,
    links: Links,
    counters: Arc<Counters>,
    notices: Notices,
    epoll: OwnedFd,
    attached: BTreeMap<InterfaceId, Attached>,
    /// Devices that could not be captured on, which was said; tried again when something is closed.
    refused: BTreeSet<InterfaceId>,
    outlet: Outlet,
    next_housekeeping: Instant,
    /// Devices and handles may differ.
    out_of_step: bool,
}

impl Polling {
    /// Opens the devices there are.
    pub fn start(
        settings: Settings,
        links: Links,
        sink: Sink,
        counters: Arc<Counters>,
        notices: Notices,
    ) -> Result<Self, LiveError> {
        let io = |operation| move |error: Errno| LiveError::Io { operation, error: error.into() };
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(io("make an epoll instance"))?;
        epoll::add(&epoll, &links, epoll::EventData::new_u64(LINKS), epoll::EventFlags::IN)
            .map_err(io("wait for devices"))?;
        let mut polling = Self {
            settings,
            links,
            outlet: Outlet::new(sink, counters.clone()),
            counters,
            notices,
            epoll,
            attached: BTreeMap::new(),
            refused: BTreeSet::new(),
            next_housekeeping: Instant::now() + HOUSEKEEPING,
            out_of_step: false,
        };
        polling.match_devices(usize::MAX)?;
        Ok(polling)
    }

    /// Captures until told to stop.
    pub fn run(mut self, stop: &Stop) {
        let stop_event = epoll::EventData::new_u64(STOP);
        let mut outcome =
            epoll::add(&self.epoll, stop, stop_event, epoll::EventFlags::IN).map_err(std::io::Error::from);
        while outcome.is_ok() && !stop.requested() {
            outcome = self.round();
        }
        if let Err(error) = outcome {
            self.notices.say(format!("capture ended: {error}"));
        }
        let _ = epoll::delete(&self.epoll, stop);
        self.finish();
    }

    fn round(&mut self) -> std::io::Result<()> {
        let mut ready = self.wait(self.patience())?;
        let (now, clock) = (Instant::now(), UnixNanos::from(SystemTime::now()));
        // Read until no ring is ready: what is older than the hold is then in hand.
        let mut all_read = false;
        for _ in 0..READS_PER_ROUND {
            if !self.read_ready(&ready) {
                all_read = true;
                break;
            }
            ready = self.wait(Duration::ZERO)?;
        }
        self.close_due(now);
        if self.out_of_step {
            self.follow_links();
        }
        if now >= self.next_housekeeping {
            self.housekeeping(now);
        }
        self.outlet.release_due(now, clock, all_read);
        Ok(())
    }

    /// How long nothing can be due.
    fn patience(&self) -> Duration {
        let soon =
            self.out_of_step || self.outlet.is_holding() || self.attached.values().any(Attached::is_closing);
        if soon { CADENCE } else { HEARTBEAT }
    }

    fn wait(&self, timeout: Duration) -> std::io::Result<Vec<u64>> {
        let mut events = Vec::with_capacity(64);
        let timeout = Timespec {
            tv_sec: timeout.as_secs().try_into().unwrap_or(i64::MAX),
            tv_nsec: timeout.subsec_nanos().into(),
        };
        match epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => Ok(events.iter().map(|event| event.data.u64()).collect()),
            Err(error) => Err(error.into()),
        }
    }

    /// Reads what is ready. False if no ring was.
    fn read_ready(&mut self, ready: &[u64]) -> bool {
        let mut any = false;
        for token in ready {
            match *token {
                STOP => {}
                LINKS => self.out_of_step |= self.links.disturbed().unwrap_or(true),
                ring => {
                    any = true;
                    self.read_ring(ring);
                }
            }
        }
        any
    }

    fn read_ring(&mut self, token: u64) {
        let (id, handle) = ring_of(token);
        let Some(device) = self.attached.get_mut(&id) else {
            return;
        };
        if let Err(error) = device.read(handle, &mut self.outlet) {
            // Down or gone, which the links will tell too.
            if let Refusal::Other(reason) = error.into() {
                self.notices.say(format!("capture on {} interrupted: {reason}", device.interface.name));
            }
            device.begin_close(&self.epoll);
        }
        self.outlet.release_excess();
    }

    fn close_due(&mut self, now: Instant) {
        let due = self.attached.extract_if(.., |_, device| device.is_to_close(now));
        for (_, device) in due {
            device.close(&mut self.outlet);
            self.refused.clear();
            // The same device may be up again.
            self.out_of_step = true;
        }
        self.count_devices();
    }

    fn follow_links(&mut self) {
        self.out_of_step = false;
        if let Err(error) = self.links.refresh() {
            self.notices
                .say(format!("capture: the devices could not be listed and are listed again soon: {error}"));
            return;
        }
        if let Err(error) = self.match_devices(OPENED_AT_ONCE) {
            self.notices.say(error.to_string());
        }
    }

    /// Brings handles in step with devices, opening at most so many.
    fn match_devices(&mut self, most: usize) -> Result<(), LiveError> {
        if let Some(sentence) = bypass_sentence(self.links.bypass()) {
            self.notices.say(sentence);
        }
        let loopback = self.settings.loopback;
        let wanted: BTreeMap<InterfaceId, Device> = self
            .links
            .snapshot()
            .filter(|device| is_wanted(device, loopback))
            .map(|device| (device.id, device.clone()))
            .collect();
        for (id, device) in &mut self.attached {
            if !wanted.contains_key(id) {
                device.begin_close(&self.epoll);
            }
        }
        self.refused.retain(|id| wanted.contains_key(id));
        let (mut outcome, mut opened) = (Ok(()), 0);
        for (id, device) in wanted {
            if let Some(attached) = self.attached.get_mut(&id) {
                attached.interface = device.interface;
            } else if opened < most && !self.refused.contains(&id) {
                opened += 1;
                outcome = outcome.and(self.open(device));
            } else {
                self.out_of_step |= !self.refused.contains(&id);
            }
        }
        self.announce();
        self.count_devices();
        outcome
    }

    fn open(&mut self, device: Device) -> Result<(), LiveError> {
        let Device { id, interface, why, .. } = device;
        let Some(ring) = self.room(&interface) else {
            self.refused.insert(id);
            return Ok(());
        };
        let name = interface.name.clone();
        tracing::debug!(device = %name, role = ?interface.role, why, ring, "capturing");
        match Attached::open(id, interface, ring, &self.settings) {
            Ok(attached) => {
                self.attached.insert(id, attached);
            }
            // The links will tell.
            Err(Refusal::Gone) => {}
            Err(Refusal::Permission) => {
                self.refused.insert(id);
                return Err(LiveError::Permission { device: name.to_string() });
            }
            Err(Refusal::Other(reason)) => {
                self.refused.insert(id);
                self.notices.say(format!("capture on {name}: not captured: {reason}"));
            }
        }
        Ok(())
    }

    fn room(&self, interface: &Interface) -> Option<usize> {
        let (budget, used, devices) = (self.settings.buffer_budget, self.used(), self.attached.len());
        let ring = ring_bytes(budget, used, devices, interface.role);
        if ring.is_none() {
            self.notices.say(format!(
                "capture on {}: not captured: the buffer budget of {budget} bytes is used up by {devices} devices; raise \
                 it to at least {}",
                interface.name,
                used + RINGS_PER_DEVICE * SMALLEST,
            ));
        }
        ring
    }

    /// Announces what the queue does not know yet.
    fn announce(&mut self) {
        for device in self.attached.values_mut() {
            if let Err(error) = device.announce(&mut self.outlet, &self.epoll) {
                self.notices
                    .say(format!("capture on {}: cannot wait for frames: {error}", device.interface.name));
            }
        }
    }

    fn used(&self) -> usize {
        self.attached.values().map(|device| device.ring_bytes).sum()
    }

    fn count_devices(&self) {
        let (devices, ring_bytes) = (self.attached.len() as u64, self.used() as u64);
        self.counters.devices.store(devices, Ordering::Relaxed);
        self.counters.ring_bytes.store(ring_bytes, Ordering::Relaxed);
    }

    fn housekeeping(&mut self, now: Instant) {
        self.next_housekeeping = now + HOUSEKEEPING;
        for device in self.attached.values_mut() {
            device.count_dropped(&mut self.outlet);
        }
        self.outlet.report_loss();
        self.announce();
    }

    /// Reads what the rings hold once the kernel has handed it over.
    fn finish(&mut self) {
        for device in self.attached.values_mut() {
            device.begin_close(&self.epoll);
        }
        let _ = epoll::delete(&self.epoll, &self.links);
        // Nothing is left in the set, so this is the whole time.
        let _ = self.wait(CLOSING);
        self.announce();
        for (_, device) in std::mem::take(&mut self.attached) {
            device.close(&mut self.outlet);
        }
        self.outlet.finish();
        self.count_devices();
    }
}
