//! The thread that takes records from the ring and makes testimony of them; and the counts, for who asks.

use std::io;
use std::net::UdpSocket;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aya::Ebpf;
use aya::maps::{MapData, PerCpuArray, RingBuf};
use rustix::net::netdevice::index_to_name;

use super::abi::{Count, CountOfCpu, Fixed, Record};
use super::names::Names;
use super::program::{DropsError, Program, Way, missed};
use super::uplinks::{self, Uplinks};
use crate::capture::ebpf::clock::Clock;
use crate::capture::{Input, Sink};
use crate::notice::Notices;
use crate::testimony::{Device, DropSite, DroppedPacket, Owner, Testimony};
use crate::worker::{Stop, StopError, Worker};

const SECOND: u64 = 1_000_000_000;
/// The thread wakes at least so often, which costs nothing.
const IDLE: Duration = Duration::from_secs(60);
/// Records taken before the stop signal is looked at again.
const BURST: usize = 1024;

/// How much is told one by one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Packets of one reason that are told of in a second. At least 1.
    pub per_second: u64,
    /// As many of one reason are told of at once, if there were none before. At least 1.
    pub burst: u64,
    /// Room for records, bytes: a power of two, and whole pages. A record has some 200.
    pub ring_bytes: u32,
    /// Ways to the tracepoint: the first that works is taken.
    pub ways: Vec<Way>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            per_second: 1000,
            burst: 1000,
            ring_bytes: 1 << 20,
            ways: vec![Way::Types, Way::Raw, Way::Event],
        }
    }
}

impl Settings {
    pub(super) fn fixed(&self, node: u64) -> Fixed {
        let interval = SECOND / self.per_second.clamp(1, SECOND);
        [interval, interval.saturating_mul(self.burst.max(1) - 1), node]
    }
}

/// Packets that the kernel gave up for one reason, since the start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReasonCount {
    /// The kernel's name for the reason.
    pub reason: Arc<str>,
    /// All of them.
    pub packets: u64,
    /// Those that were told of one by one. The rest was too many at once, or had no IP header.
    pub told: u64,
}

/// What was seen since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// By reason; those without any are left out.
    pub reasons: Vec<ReasonCount>,
    /// Packets without an IP header that could be read.
    pub unread: u64,
    /// Packets that found no room in the ring.
    pub ring_full: u64,
    /// Packets for which weir's queue had no room.
    pub queue_full: u64,
    /// Records that are none.
    pub unreadable: u64,
    /// Packets that were freed while the same CPU was looking at another: nobody knows of what reason, and whether they were lost
    /// at all.
    pub missed: u64,
}

#[derive(Debug, Default)]
struct Counters {
    queue_full: AtomicU64,
    unreadable: AtomicU64,
}

/// A running reader.
pub struct Reader {
    worker: Worker,
    descriptor: OwnedFd,
    counts: PerCpuArray<MapData, CountOfCpu>,
    sum: PerCpuArray<MapData, u64>,
    /// What was read last, and the sum then: a call for each of some hundred reasons is made again only if there is news.
    latest: Mutex<(u64, Stats)>,
    names: Names,
    counted: Vec<u32>,
    counters: Arc<Counters>,
    notices: Notices,
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Reader").field("worker", &self.worker).finish_non_exhaustive()
    }
}

impl Reader {
    /// What was seen since the start.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        let sum = self.sum.get(&0, 0).map_or(u64::MAX, |cpus| cpus.iter().sum());
        if latest.0 != sum {
            *latest = (sum, self.read());
        }
        Stats {
            queue_full: self.counters.queue_full.load(Ordering::Relaxed),
            unreadable: self.counters.unreadable.load(Ordering::Relaxed),
            missed: missed(&self.descriptor),
            ..latest.1.clone()
        }
    }

    /// What the kernel has counted, by reason.
    fn read(&self) -> Stats {
        let mut stats = Stats::default();
        for slot in &self.counted {
            let Ok(cpus) = self.counts.get(slot, 0) else { continue };
            let Count { packets, told, unread, full } = Count::sum(cpus.iter());
            stats.unread += unread;
            stats.ring_full += full;
            if packets > 0 {
                stats.reasons.push(ReasonCount { reason: self.names.of(*slot), packets, told });
            }
        }
        stats
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

    /// Ends the thread, and with it the program.
    ///
    /// # Errors
    /// See [`Worker::stop`].
    pub fn stop(self, deadline: Duration) -> Result<(), StopError> {
        self.worker.stop(deadline)
    }
}

/// Sees what is given up in this thread's network namespace, which is the node's, and in its pods', from now on.
///
/// # Errors
/// [`DropsError`]
pub fn start(settings: &Settings, sink: Sink) -> Result<Reader, DropsError> {
    // Asks for devices' names in the node's namespace, whatever thread it is used in.
    let socket = UdpSocket::bind(("127.0.0.1", 0))
        .or_else(|_| UdpSocket::bind(("0.0.0.0", 0)))
        .map_err(|error| DropsError::Io { operation: "open a socket", error })?;
    let Program { attached, descriptor, ring, uplinks, notice, counts, sum, names, counted } =
        Program::attach(settings)?;
    let (counters, notices) = (Arc::new(Counters::default()), Notices::default());
    notice.into_iter().for_each(|sentence| notices.say(sentence));
    let reading = Reading {
        _attached: attached,
        ring,
        uplinks: Some(uplinks),
        names: names.clone(),
        socket,
        clock: Clock::default(),
        sink,
        counters: counters.clone(),
        notices: notices.clone(),
    };
    let worker = Worker::spawn("drops", move |stop| reading.run(&stop))
        .map_err(|error| DropsError::Io { operation: "start a thread", error })?;
    let latest = Mutex::default();
    Ok(Reader { worker, descriptor, counts, sum, latest, names, counted, counters, notices })
}

struct Reading {
    _attached: Ebpf,
    ring: RingBuf<MapData>,
    uplinks: Option<(Uplinks, uplinks::Map<MapData>)>,
    names: Names,
    socket: UdpSocket,
    clock: Clock,
    sink: Sink,
    counters: Arc<Counters>,
    notices: Notices,
}

impl Reading {
    fn run(mut self, stop: &Stop) {
        while !stop.requested() {
            if let Err(error) = self.round(stop) {
                self.notices.say(format!("kernel drops are told no more: {error}"));
                return;
            }
        }
    }

    fn round(&mut self, stop: &Stop) -> io::Result<()> {
        let devices = self.uplinks.iter().map(|(uplinks, _)| uplinks.as_fd());
        let sources: Vec<_> = devices.chain([self.ring.as_fd()]).collect();
        stop.wait_for(&sources, IDLE)?;
        self.follow_uplinks();
        self.clock.look();
        let Self { ring, names, socket, clock, sink, counters, .. } = self;
        for _ in 0..BURST {
            let Some(bytes) = ring.next() else { break };
            let Some(record) = Record::read(&bytes) else {
                counters.unreadable.fetch_add(1, Ordering::Relaxed);
                continue;
            };
            if !sink(Input::Testimony(Testimony::Dropped(dropped(&record, names, socket, clock)))) {
                counters.queue_full.fetch_add(1, Ordering::Relaxed);
            }
        }
        Ok(())
    }
}

impl Reading {
    /// Without news of them the devices are taken to be what they were.
    fn follow_uplinks(&mut self) {
        let Some((uplinks, map)) = &mut self.uplinks else { return };
        match uplinks.follow(map) {
            Ok(notice) => notice.into_iter().for_each(|sentence| self.notices.say(sentence)),
            Err(error) => {
                self.notices
                    .say(format!("kernel drops: the node's devices are not watched any more: {error}"));
                self.uplinks = None;
            }
        }
    }
}

fn dropped(record: &Record<'_>, names: &Names, socket: &UdpSocket, clock: &Clock) -> DroppedPacket {
    let host = (record.host_ifindex != 0).then(|| device(record.host_ifindex, record.host_device));
    let mut own = (record.ifindex != 0).then(|| device(record.ifindex, record.device));
    if let (None, Some(own)) = (&host, &mut own)
        && own.name.is_empty()
    {
        let name = index_to_name(socket, own.ifindex);
        own.name = name.unwrap_or_else(|_| format!("if{}", own.ifindex)).into();
    }
    DroppedPacket {
        at: clock.wall(record.at_ns),
        reason: names.of(record.slot),
        site: DropSite {
            owner: host.map_or(Owner::Node, Owner::Pod),
            device: own.filter(|device| !device.name.is_empty()),
        },
        packet: record.packet.to_vec(),
    }
}

/// A name is bytes to the kernel: a space or what is no UTF-8 has no place in it here.
fn device(ifindex: u32, name: &[u8]) -> Device {
    Device { ifindex, name: String::from_utf8_lossy(name).into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bucket_holds_a_burst() {
        let settings = Settings::default();
        assert_eq!(settings.fixed(7), [1_000_000, 999_000_000, 7]);
        let least = Settings { per_second: 0, burst: 0, ..settings };
        assert_eq!(least.fixed(7), [SECOND, 0, 7]);
    }
}
