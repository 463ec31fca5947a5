//! The eBPF source: counts connections in the kernel and takes up only the frames that carry news.
//!
//! Programs at every device (`daemon/ebpf/tcx.bpf.c`) pass up frames, which the same decoder reads, and tallies of the
//! packets between them. A packet is in one frame or in one tally, so both together are what a capture of every frame tells.
//! Programs decide nothing about packets, and nothing of them is left when the daemon ends, however it ends.
//!
//! Bounded: the ring by bytes (what finds no room is counted, and its packets stay in the table), the table by entries (what
//! finds no room is handed up frame by frame), the queue by its owner.

pub mod abi;
mod attach;
mod bpf;
pub mod clock;
pub mod object;
pub mod pending;
pub mod programs;
mod watching;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::links::Links;
use super::{Detail, Direction, Horizon, InterfaceId, Sink, detail};
use crate::notice::Notices;
use crate::worker::{StopError, Worker};
pub use attach::Hook;
pub use object::EbpfError;
use programs::{Programs, Watched};

/// How to watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Bytes of a frame that holds a message or that only the decoder can read; of other news 256 are taken.
    pub snap_len: u32,
    /// Watch `lo` as well.
    pub loopback: bool,
    /// Bytes of the ring through which frames and tallies come up: a power of two, whole pages.
    pub ring_bytes: u32,
    /// Conversations that are counted at once, each on each device that it passes; one takes some 330 bytes of the kernel's
    /// memory.
    pub table_entries: u32,
    /// UDP ports of VXLAN; at most eight.
    pub vxlan_ports: Vec<u16>,
    /// UDP ports of Geneve; at most eight.
    pub geneve_ports: Vec<u16>,
    /// UDP ports of WireGuard; at most eight.
    pub wireguard_ports: Vec<u16>,
    /// A conversation that carries traffic is told so often: half as often as flows are told of it.
    pub flush: Duration,
    /// How programs are hung to devices.
    pub hook: Hook,
    /// Programs compiled elsewhere, instead of those that were built in.
    pub object: Option<PathBuf>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            snap_len: 768,
            loopback: false,
            ring_bytes: 8 << 20,
            table_entries: 1 << 16,
            vxlan_ports: vec![8472, 4789, 6784],
            geneve_ports: vec![6081],
            wireguard_ports: vec![51_820, 51_821, 51_871],
            flush: Duration::from_millis(2500),
            hook: Hook::default(),
            object: None,
        }
    }
}

/// What was seen since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Packets that passed the programs.
    pub packets: u64,
    /// Frames handed to the queue.
    pub frames: u64,
    /// Tallies handed to the queue.
    pub tallies: u64,
    /// Packets in these tallies.
    pub tallied_packets: u64,
    /// Batches handed to the queue.
    pub batches: u64,
    /// Frames that found no room in the ring. Their packets are in a tally all the same, but for `uncounted`.
    pub kernel_dropped: u64,
    /// Packets that neither a frame nor a tally tells of.
    pub uncounted: u64,
    /// Tallies that found no room in the ring, and were kept for later.
    pub tallies_kept: u64,
    /// Frames, and packets of tallies, dropped since the queue was full.
    pub queue_dropped: u64,
    /// Packets handed up since their conversation found no room in the table.
    pub table_full: u64,
    /// Packets handed up since only the decoder can read them.
    pub unread: u64,
    /// Packets that were only added up, by [`Detail`].
    pub untracked: u64,
    /// Conversations in the table when it was last looked over.
    pub entries: u64,
    /// Devices watched now.
    pub devices: u64,
    /// Bytes of the ring.
    pub ring_bytes: u64,
    /// Most bytes of records that waited in it when it was read.
    pub ring_used: u64,
    /// Room in the table.
    pub table_entries: u64,
}

/// What the thread counts.
#[derive(Debug, Default)]
struct Counters {
    frames: AtomicU64,
    tallies: AtomicU64,
    tallied_packets: AtomicU64,
    batches: AtomicU64,
    queue_dropped: AtomicU64,
    entries: AtomicU64,
    devices: AtomicU64,
    ring_used: AtomicU64,
    horizon: Horizon,
}

/// A running watch.
#[derive(Debug)]
pub struct EbpfCapture {
    worker: Worker,
    counters: Arc<Counters>,
    watched: Arc<Mutex<Watched>>,
    ring_bytes: u64,
    table_entries: u64,
    notices: Notices,
}

impl EbpfCapture {
    /// What was seen since the start.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let totals = self.watched.lock().unwrap_or_else(PoisonError::into_inner).totals();
        let counters = &self.counters;
        Stats {
            packets: totals.packets,
            frames: get(&counters.frames),
            tallies: get(&counters.tallies),
            tallied_packets: get(&counters.tallied_packets),
            batches: get(&counters.batches),
            kernel_dropped: totals.frames_lost,
            uncounted: totals.uncounted,
            tallies_kept: totals.tallies_kept,
            queue_dropped: get(&counters.queue_dropped),
            table_full: totals.table_full,
            unread: totals.unread,
            untracked: totals.untracked,
            entries: get(&counters.entries),
            devices: get(&counters.devices),
            ring_bytes: self.ring_bytes,
            // While it is read it is filled again.
            ring_used: get(&counters.ring_used).min(self.ring_bytes),
            table_entries: self.table_entries,
        }
    }

    /// Packets that were only added up, by device and way.
    #[must_use]
    pub fn untracked(&self) -> Vec<(InterfaceId, Direction, abi::Sum)> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner).untracked()
    }

    /// Leaves out more or less, from the next packet on. What the kernel refuses is a notice.
    pub fn set_detail(&self, detail: Detail) {
        let set = self.watched.lock().unwrap_or_else(PoisonError::into_inner).set_control(control(detail));
        if let Err(error) = set {
            self.notices.say(error.to_string());
        }
    }

    /// How far it has got.
    #[must_use]
    pub fn horizon(&self) -> Horizon {
        self.counters.horizon.clone()
    }

    /// Takes what there is to say to people.
    #[must_use]
    pub fn notices(&self) -> Vec<String> {
        self.notices.take()
    }

    /// False once the thread has ended; a notice says why.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.worker.is_running()
    }

    /// Takes the programs off, hands over what ring and table still hold, and ends the thread.
    ///
    /// # Errors
    /// See [`Worker::stop`].
    pub fn stop(self, deadline: Duration) -> Result<(), StopError> {
        self.worker.stop(deadline)
    }
}

/// As the programs have it.
const fn control(detail: Detail) -> abi::Control {
    abi::Control { level: detail.level(), sample: detail::SAMPLE }
}

/// Watches the devices of this thread's network namespace, in a thread of its own, as they come and go.
///
/// # Errors
/// [`EbpfError`]. A single device that programs cannot be hung to is a notice.
pub fn start(settings: &Settings, sink: Sink) -> Result<EbpfCapture, EbpfError> {
    let other = settings.object.as_deref().map(object::read).transpose()?;
    let (programs, watched) = Programs::load(other.as_deref().unwrap_or(object::TCX), settings)?;
    let links = Links::open().map_err(|error| EbpfError::failed("list the devices", error))?;
    let (counters, notices) = (Arc::new(Counters::default()), Notices::default());
    let watched = Arc::new(Mutex::new(watched));
    let watching = watching::Watching::start(
        settings,
        programs,
        links,
        watching::Shared { counters: counters.clone(), notices: notices.clone(), watched: watched.clone() },
        sink,
    )?;
    let worker = Worker::spawn("ebpf", move |stop| watching.run(&stop))
        .map_err(|error| EbpfError::failed("start a thread", error))?;
    let (ring_bytes, table_entries) = (settings.ring_bytes.into(), settings.table_entries.into());
    Ok(EbpfCapture { worker, counters, watched, ring_bytes, table_entries, notices })
}
