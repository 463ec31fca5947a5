//! The thread: drains the ring at a steady pace, looks the table over for what rests, keeps devices and programs in step.
//!
//! The kernel wakes it once for an emptied ring that fills again, never for each record. A device is announced before programs
//! hang there, so that no frame is without a name.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::AsFd;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::attach::{Attached, Hook, Others, Refusal};
use super::clock::{Clock, monotonic_ns};
use super::object::EbpfError;
use super::pending::{Pending, Released};
use super::programs::{Programs, Watched, rests};
use super::{Counters, Settings, abi, control};
use crate::capture::links::{Device, Links, bypass_sentence, is_wanted};
use crate::capture::{Detail, Input, InterfaceId, Loss, Sink};
use crate::notice::Notices;
use crate::worker::Stop;

/// The ring is drained so often at most.
const CADENCE: Duration = Duration::from_millis(10);
/// A CPU takes no longer from a packet's time to its record in the ring.
const SETTLING_NS: u64 = 2_000_000;
/// What is older than so many bytes of frames leaves at once.
const HELD_BYTES: usize = 16 << 20;
/// Records read before others have their turn.
const TURN: usize = 1 << 16;
/// With nothing to do it says so often how far it has got.
const HEARTBEAT: Duration = Duration::from_millis(50);
/// Losses are told so often, and what failed is tried again.
const HOUSEKEEPING: Duration = Duration::from_millis(250);
/// The table is looked over so often,
const LOOK: Duration = Duration::from_secs(1);
/// or so many times less than the last look took, while there is room in the table.
const LOOK_SHARE: u32 = 100;
/// At the end the table is emptied; entries that cannot be told since the ring is full are tried again so often.
const LAST_LOOKS: usize = 64;

/// The kernel waits for all CPUs whenever a program is hung to a device, some 10 ms in which the ring is not read; other devices
/// wait for the next round.
const OPENED_AT_ONCE: usize = 1;

/// What others look at.
pub struct Shared {
    pub counters: Arc<Counters>,
    pub notices: Notices,
    pub watched: Arc<Mutex<Watched>>,
}

/// The thread's state.
pub struct Watching {
    programs: Programs,
    /// Conversations that have room in the table.
    table_room: u64,
    links: Links,
    shared: Shared,
    sink: Sink,
    hook: Hook,
    loopback: bool,
    attached: BTreeMap<InterfaceId, Attached>,
    /// Devices that could not be watched, which was said.
    refused: BTreeSet<InterfaceId>,
    /// Of which others it was told.
    told_of: Others,
    pending: Pending,
    clock: Clock,
    /// Frames lost in the kernel that were told.
    told_lost: u64,
    unreported: Loss,
    next_drain: Instant,
    next_housekeeping: Instant,
    next_look: Instant,
    /// Devices and programs may differ.
    out_of_step: bool,
}

impl Watching {
    /// Hangs programs to the devices there are.
    ///
    /// # Errors
    /// If they can be hung to none.
    pub fn start(
        settings: &Settings,
        programs: Programs,
        links: Links,
        shared: Shared,
        sink: Sink,
    ) -> Result<Self, EbpfError> {
        let now = Instant::now();
        let mut watching = Self {
            programs,
            table_room: settings.table_entries.into(),
            links,
            shared,
            sink,
            hook: settings.hook,
            loopback: settings.loopback,
            attached: BTreeMap::new(),
            refused: BTreeSet::new(),
            told_of: Others::default(),
            pending: Pending::default(),
            clock: Clock::default(),
            told_lost: 0,
            unreported: Loss::default(),
            next_drain: now,
            next_housekeeping: now + HOUSEKEEPING,
            next_look: now + LOOK,
            out_of_step: false,
        };
        watching.match_devices(usize::MAX);
        match watching.refused.first() {
            Some(_) if watching.attached.is_empty() => {
                let reasons = watching.shared.notices.take();
                Err(EbpfError::failed(
                    "hang programs to any device",
                    reasons.first().map_or("", String::as_str),
                ))
            }
            _ => Ok(watching),
        }
    }

    /// Watches until told to stop.
    pub fn run(mut self, stop: &Stop) {
        while !stop.requested() {
            if let Err(error) = self.round(stop) {
                self.shared.notices.say(format!("eBPF: ended: {error}"));
                break;
            }
        }
        self.finish();
    }

    fn round(&mut self, stop: &Stop) -> std::io::Result<()> {
        let patience = if self.out_of_step || !self.pending.is_empty() { CADENCE } else { HEARTBEAT };
        stop.wait_for(&[self.programs.ring(), self.links.as_fd()], patience)?;
        let now = Instant::now();
        if now < self.next_drain {
            // Only the stop signal is worth less than a full pace.
            stop.wait_for(&[], self.next_drain - now)?;
        }
        self.out_of_step |= self.links.disturbed().unwrap_or(true);
        if self.out_of_step {
            self.follow_links();
        }
        self.drain();
        let now = Instant::now();
        self.next_drain = now + CADENCE;
        if now >= self.next_look {
            self.look_over(now);
        }
        if now >= self.next_housekeeping {
            self.housekeeping(now);
        }
        Ok(())
    }

    /// Reads the ring, and hands over what is old enough to be in order.
    fn drain(&mut self) {
        self.clock.look();
        let settled = monotonic_ns().saturating_sub(SETTLING_NS);
        let all_read = self.read_ring();
        let until = if self.pending.bytes() > HELD_BYTES { u64::MAX } else { settled };
        self.release(until);
        if all_read {
            self.shared.counters.horizon.note(self.clock.wall(settled));
        }
    }

    /// True if it was read to its end.
    fn read_ring(&mut self) -> bool {
        let (mut bytes, mut all_read) = (0, false);
        for _ in 0..TURN {
            let another = self.programs.next_record(|record| {
                bytes += abi::in_ring(record.len());
                self.pending.take(record);
            });
            if !another {
                all_read = true;
                break;
            }
        }
        self.shared.counters.ring_used.fetch_max(bytes, Ordering::Relaxed);
        all_read
    }

    fn release(&mut self, until_ns: u64) {
        let Released { batch, frames, tallies, tallied_packets } =
            self.pending.release(until_ns, &self.clock);
        if batch.is_empty() {
            return;
        }
        self.report_loss();
        let counters = &self.shared.counters;
        if (self.sink)(Input::Frames(batch)) {
            counters.frames.fetch_add(frames, Ordering::Relaxed);
            counters.tallies.fetch_add(tallies, Ordering::Relaxed);
            counters.tallied_packets.fetch_add(tallied_packets, Ordering::Relaxed);
            counters.batches.fetch_add(1, Ordering::Relaxed);
        } else {
            let lost = frames + tallied_packets;
            self.unreported.queue += lost;
            counters.queue_dropped.fetch_add(lost, Ordering::Relaxed);
        }
    }

    /// Has told what rests.
    fn look_over(&mut self, now: Instant) {
        let kernel_now = monotonic_ns();
        match self.programs.look_over(|entry| rests(entry, kernel_now)) {
            Ok((keys, entries)) => {
                self.next_look = now + until_next_look(now.elapsed(), entries, self.table_room);
                self.shared.counters.entries.store(entries, Ordering::Relaxed);
                self.take(&keys, false);
            }
            Err(error) => {
                self.next_look = now + LOOK;
                self.shared.notices.say(error.to_string());
            }
        }
    }

    fn take(&mut self, keys: &[abi::Key], all: bool) {
        for some in keys.chunks(abi::TAKEN) {
            if let Err(error) = self.programs.take(some, all) {
                self.shared.notices.say(error.to_string());
                return;
            }
            // What they told is in the ring, which need not have room for all.
            self.read_ring();
        }
    }

    fn follow_links(&mut self) {
        self.out_of_step = false;
        if let Err(error) = self.links.refresh() {
            let notices = &self.shared.notices;
            notices.say(format!("eBPF: the devices could not be listed and are listed again soon: {error}"));
            return;
        }
        self.match_devices(OPENED_AT_ONCE);
    }

    /// Brings programs in step with devices, hanging them to at most so many new ones.
    fn match_devices(&mut self, most: usize) {
        if let Some(sentence) = bypass_sentence(self.links.bypass()) {
            self.shared.notices.say(sentence);
        }
        let wanted: BTreeMap<InterfaceId, Device> = self
            .links
            .snapshot()
            .filter(|device| is_wanted(device, self.loopback))
            .map(|device| (device.id, device.clone()))
            .collect();
        self.attached.retain(|id, _| wanted.contains_key(id));
        self.refused.retain(|id| wanted.contains_key(id));
        let mut opened = 0;
        for (id, device) in wanted {
            match self.attached.get_mut(&id) {
                Some(attached) if attached.interface == device.interface => {}
                Some(attached) => {
                    // Another name or role.
                    if (self.sink)(Input::Interface(id, device.interface.clone())) {
                        attached.interface = device.interface;
                    } else {
                        self.out_of_step = true;
                    }
                }
                None if self.refused.contains(&id) => {}
                None if opened < most => {
                    opened += 1;
                    self.open(&device);
                }
                None => self.out_of_step = true,
            }
        }
        self.shared.counters.devices.store(self.attached.len() as u64, Ordering::Relaxed);
    }

    fn open(&mut self, device: &Device) {
        if !(self.sink)(Input::Interface(device.id, device.interface.clone())) {
            self.out_of_step = true;
            return;
        }
        let (name, notices) = (&device.interface.name, &self.shared.notices);
        tracing::debug!(device = %name, role = ?device.interface.role, why = device.why, "watching");
        match Attached::open(device, &mut self.programs, self.hook) {
            Ok(attached) => {
                tell_of_others(name, attached.others, &mut self.told_of, notices);
                self.attached.insert(device.id, attached);
            }
            // The links will tell.
            Err(Refusal::Gone) => {}
            Err(Refusal::Other(reason)) => {
                self.refused.insert(device.id);
                notices.say(format!("eBPF on {name}: not watched: {reason}"));
            }
        }
    }

    fn housekeeping(&mut self, now: Instant) {
        self.next_housekeeping = now + HOUSEKEEPING;
        self.count_lost();
        self.report_loss();
    }

    fn count_lost(&mut self) {
        let lost = self.watched().totals().frames_lost;
        self.unreported.kernel += lost.saturating_sub(self.told_lost);
        self.told_lost = lost;
    }

    /// Tells of losses before the frames that come after them; if the queue is full, later.
    fn report_loss(&mut self) {
        let loss = self.unreported;
        if loss != Loss::default() && (self.sink)(Input::Lost(loss)) {
            self.unreported = Loss::default();
        }
    }

    /// Hands over all that ring and table hold, and takes the programs off. That takes the kernel some 10 ms a program, so what
    /// there is to tell is told before; and once more after it, for who was in a program meanwhile.
    fn finish(&mut self) {
        let only_totals = self.watched().set_control(control(Detail::CountersOnly));
        if let Err(error) = only_totals {
            self.shared.notices.say(error.to_string());
        }
        self.hand_over_all();
        self.attached.clear();
        self.shared.counters.devices.store(0, Ordering::Relaxed);
        self.hand_over_all();
    }

    fn hand_over_all(&mut self) {
        self.clock.look();
        for _ in 0..LAST_LOOKS {
            self.read_ring();
            self.release(u64::MAX);
            match self.programs.look_over(|_| true) {
                Ok((keys, _)) if !keys.is_empty() => self.take(&keys, true),
                _ => break,
            }
        }
        self.read_ring();
        self.release(u64::MAX);
        self.count_lost();
        self.report_loss();
    }

    fn watched(&self) -> MutexGuard<'_, Watched> {
        self.shared.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// If a look takes long the next one is later. But what finds no room in the table is handed up packet by packet, which costs more
/// than any look: so one that fills up is looked over often, whatever it takes to make room there.
fn until_next_look(took: Duration, entries: u64, room: u64) -> Duration {
    let fills_up = entries > room / 2;
    if fills_up { LOOK } else { LOOK.max(took * LOOK_SHARE) }
}

/// Says it once, with the first device: a plugin's filters are on every pod's, and notices are few.
fn tell_of_others(name: &str, others: Others, told: &mut Others, notices: &Notices) {
    if others.before && !told.before {
        notices.say(format!(
            "eBPF: another program judges what devices send before weir sees it, on {name} and maybe more; what that one lets pass \
             by its own verdict is not seen"
        ));
    }
    if others.behind && !told.behind {
        notices.say(format!(
            "eBPF: filters of clsact judge what devices send after weir saw it, on {name} and maybe more; what they drop was seen \
             as sent"
        ));
    }
    told.before |= others.before;
    told.behind |= others.behind;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_that_fills_up_is_looked_over_however_long_that_takes() {
        let took = Duration::from_millis(200);
        assert_eq!(until_next_look(took, 1_000, 131_072), Duration::from_secs(20));
        assert_eq!(until_next_look(took, 100_000, 131_072), LOOK);
        assert_eq!(until_next_look(Duration::from_millis(1), 1_000, 131_072), LOOK);
    }

    #[test]
    fn who_else_judges_is_told_once_however_many_devices_have_it() {
        let (mut told, notices) = (Others::default(), Notices::default());
        for (name, before, behind) in
            [("a", false, true), ("b", false, true), ("c", true, true), ("d", true, false)]
        {
            tell_of_others(name, Others { before, behind }, &mut told, &notices);
        }
        let said = notices.take();
        assert_eq!(said.len(), 2, "{said:?}");
        assert!(
            said[0].contains("clsact") && said[0].contains("on a ") && said[1].contains("on c "),
            "{said:?}"
        );
    }
}
