//! The thread that listens to ctnetlink: events as they come, a dump of the whole table at the start and now and then.
//!
//! Entries older than the listener send no event, and events are lost when the socket's buffer is full or weir's own queue
//! is; a dump heals all three, since it tells names and no counters. Dumps have a socket of their own, so that they cannot
//! push events out, and are read at a measured pace: the kernel waits with a dump, frames in the same queue do not.

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use netlink_packet_core::{NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage};
use netlink_packet_netfilter::conntrack::ConntrackMessage;
use netlink_packet_netfilter::{NetfilterHeader, NetfilterMessage, NetfilterProtoFamily};
use netlink_sys::protocols::NETLINK_NETFILTER;
use rustix::io::Errno;
use thiserror::Error;
use weir_cluster::UnixNanos;

use super::parse_message;
use crate::capture::{Input, Sink};
use crate::netlink::{Listener, Message, Messages, Received};
use crate::notice::Notices;
use crate::worker::{Stop, StopError, Worker};

/// `NFNLGRP_CONNTRACK_NEW`, `_UPDATE` and `_DESTROY` (linux/netfilter/nfnetlink_compat.h).
const GROUPS: [u32; 3] = [1, 2, 3];
/// A dump that heals a loss waits so long after the one before it, lest a flood of events become a flood of dumps.
const HEALING_PAUSE: Duration = Duration::from_millis(500);
/// Datagrams read in one go, so that the stop signal is seen under any load.
const BURST: usize = 256;
/// Entries of a dump that are handed over in one go, and the pause after them: 12,800 entries a second.
const DUMP_STEP: usize = 64;
const DUMP_PAUSE: Duration = Duration::from_millis(5);

/// How to listen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Receive buffer of the event socket, bytes: 8 MiB hold some 20,000 events.
    pub receive_buffer: usize,
    /// The whole table is read again after so long.
    pub redump: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self { receive_buffer: 8 << 20, redump: Duration::from_secs(30) }
    }
}

/// Why there is no listening. weir goes on without conntrack: NAT is then inferred from packets.
#[derive(Debug, Error)]
pub enum ConntrackError {
    /// Not allowed.
    #[error(
        "conntrack: no permission to listen to connection tracking: it needs CAP_NET_ADMIN in the node's network \
         namespace; run as root, `setcap cap_net_raw,cap_net_admin+ep` the binary, or add NET_ADMIN to \
         securityContext.capabilities"
    )]
    Permission,
    /// The kernel has none.
    #[error(
        "conntrack: not available in this kernel ({0}): is nf_conntrack_netlink loaded? (`modprobe nf_conntrack_netlink`)"
    )]
    Unavailable(io::Error),
    /// Anything else.
    #[error("conntrack: cannot listen: {0}")]
    Io(#[from] io::Error),
}

/// What was read since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Entries that events told of.
    pub events: u64,
    /// Dumps completed.
    pub dumps: u64,
    /// Entries that dumps told of.
    pub dumped: u64,
    /// Times that the kernel had no room for events. Each is followed by a dump.
    pub overruns: u64,
    /// Entries of events for which weir's queue had no room. A dump follows.
    pub queue_full: u64,
    /// Messages that are no whole entry.
    pub unreadable: u64,
}

#[derive(Debug, Default)]
struct Counters {
    events: AtomicU64,
    dumps: AtomicU64,
    dumped: AtomicU64,
    overruns: AtomicU64,
    queue_full: AtomicU64,
    unreadable: AtomicU64,
}

/// A running listener.
#[derive(Debug)]
pub struct Reader {
    worker: Worker,
    counters: Arc<Counters>,
    notices: Notices,
}

impl Reader {
    /// What was read since the start.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counters = &self.counters;
        Stats {
            events: get(&counters.events),
            dumps: get(&counters.dumps),
            dumped: get(&counters.dumped),
            overruns: get(&counters.overruns),
            queue_full: get(&counters.queue_full),
            unreadable: get(&counters.unreadable),
        }
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

    /// Ends the thread.
    ///
    /// # Errors
    /// See [`Worker::stop`].
    pub fn stop(self, deadline: Duration) -> Result<(), StopError> {
        self.worker.stop(deadline)
    }
}

/// Subscribes to the conntrack events of this thread's network namespace and reads them in a thread of its own.
///
/// # Errors
/// [`ConntrackError`]; none of them need stop the daemon.
pub fn start(settings: Settings, sink: Sink) -> Result<Reader, ConntrackError> {
    let events = Listener::open(NETLINK_NETFILTER, &GROUPS, settings.receive_buffer).map_err(refusal)?;
    let dump = Listener::open(NETLINK_NETFILTER, &[], settings.receive_buffer).map_err(refusal)?;
    dump.send(&dump_request()).map_err(refusal)?;
    let (counters, notices) = (Arc::new(Counters::default()), Notices::default());
    let now = Instant::now();
    let mut listening = Listening {
        events,
        dump,
        dumping: true,
        backlog: Backlog::default(),
        pace: Pace { next_step: now },
        next_dump: now + settings.redump,
        last_dump: now,
        settings,
        sink,
        counters: counters.clone(),
        notices: notices.clone(),
    };
    listening.first_answer()?;
    let worker = Worker::spawn("conntrack", move |stop| listening.run(&stop))?;
    Ok(Reader { worker, counters, notices })
}

fn refusal(error: io::Error) -> ConntrackError {
    match Errno::from_io_error(&error) {
        Some(Errno::PERM | Errno::ACCESS) => ConntrackError::Permission,
        Some(Errno::PROTONOSUPPORT | Errno::AFNOSUPPORT | Errno::INVAL | Errno::OPNOTSUPP) => {
            ConntrackError::Unavailable(error)
        }
        _ => ConntrackError::Io(error),
    }
}

fn dump_request() -> Vec<u8> {
    let header = NetfilterHeader::new(NetfilterProtoFamily::Unspec, 0, 0);
    let body = NetfilterMessage::new(header, ConntrackMessage::Get(Vec::new()));
    let mut head = NetlinkHeader::default();
    head.flags = NLM_F_REQUEST | NLM_F_DUMP;
    let mut message = NetlinkMessage::new(head, body.into());
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    bytes
}

struct Listening {
    events: Listener,
    dump: Listener,
    dumping: bool,
    backlog: Backlog,
    pace: Pace,
    next_dump: Instant,
    last_dump: Instant,
    settings: Settings,
    sink: Sink,
    counters: Arc<Counters>,
    notices: Notices,
}

impl Listening {
    /// The kernel answers a dump request within the send: so a kernel without conntrack is known at the start.
    fn first_answer(&mut self) -> Result<(), ConntrackError> {
        self.read_dump()?.map_or(Ok(()), |error| Err(refusal(error.into())))
    }

    fn run(mut self, stop: &Stop) {
        while !stop.requested() {
            if let Err(error) = self.round(stop) {
                self.notices.say(format!("conntrack: listening ended: {error}"));
                return;
            }
        }
    }

    fn round(&mut self, stop: &Stop) -> io::Result<()> {
        let now = Instant::now();
        let until_dump = self.next_dump.saturating_duration_since(now);
        let until_step = self.pace.until_step(now);
        if self.backlog.is_empty() && until_step.is_zero() {
            stop.wait_for(&[self.events.as_fd(), self.dump.as_fd()], until_dump)?;
        } else {
            stop.wait_for(&[self.events.as_fd()], until_step.min(until_dump))?;
        }
        self.read_events()?;
        if self.pace.may_step(Instant::now()) {
            self.step()?;
        }
        if Instant::now() >= self.next_dump {
            self.begin_dump()?;
        }
        Ok(())
    }

    /// Hands over the next entries of a dump. What only looks for some and finds none is no step.
    fn step(&mut self) -> io::Result<()> {
        if self.backlog.is_empty()
            && let Some(error) = self.read_dump()?
        {
            self.notices.say(format!("conntrack: the kernel refused a dump: {error}"));
        }
        if !self.backlog.is_empty() {
            self.pace.stepped(Instant::now());
        }
        let told = self.backlog.hand_over(DUMP_STEP, &mut self.sink, &self.counters);
        self.counters.dumped.fetch_add(told, Ordering::Relaxed);
        Ok(())
    }

    fn read_events(&mut self) -> io::Result<()> {
        let (mut read, mut lost) = (0, 0);
        for _ in 0..BURST {
            match self.events.receive()? {
                Received::Messages(messages) => {
                    let (told, dropped) = hand_over(messages, &mut self.sink, &self.counters);
                    read += told;
                    lost += dropped;
                }
                Received::Overrun => {
                    self.counters.overruns.fetch_add(1, Ordering::Relaxed);
                    lost += 1;
                }
                Received::Nothing => break,
            }
        }
        self.counters.events.fetch_add(read, Ordering::Relaxed);
        if lost > 0 {
            self.heal();
        }
        Ok(())
    }

    /// Reads one datagram of a dump into the backlog. Returns the error by which the kernel refused one.
    fn read_dump(&mut self) -> io::Result<Option<Errno>> {
        let messages = match self.dump.receive()? {
            Received::Messages(messages) => messages,
            // The kernel waits with a dump until there is room; this is the end of one that could not.
            Received::Overrun => {
                self.dumping = false;
                self.heal();
                return Ok(None);
            }
            Received::Nothing => return Ok(None),
        };
        let mut refused = None;
        for message in messages {
            match message {
                Message::Data { whole, .. } => self.backlog.push(whole),
                Message::Done => {
                    self.dumping = false;
                    self.counters.dumps.fetch_add(1, Ordering::Relaxed);
                }
                Message::Answer { error, .. } => {
                    self.dumping = false;
                    refused = error;
                }
            }
        }
        Ok(refused)
    }

    /// Dumps again soon: names were lost.
    fn heal(&mut self) {
        let soon = (self.last_dump + HEALING_PAUSE).max(Instant::now());
        self.next_dump = self.next_dump.min(soon);
    }

    fn begin_dump(&mut self) -> io::Result<()> {
        let now = Instant::now();
        // One that still runs has to end first: what was lost meanwhile may be in the part already read.
        if self.dumping {
            self.next_dump = now + HEALING_PAUSE;
            return Ok(());
        }
        self.dump.send(&dump_request())?;
        self.dumping = true;
        self.last_dump = now;
        self.next_dump = now + self.settings.redump;
        Ok(())
    }
}

/// When the next part of a dump may be handed over, however often events wake the thread.
#[derive(Debug)]
struct Pace {
    next_step: Instant,
}

impl Pace {
    fn until_step(&self, now: Instant) -> Duration {
        self.next_step.saturating_duration_since(now)
    }

    fn may_step(&self, now: Instant) -> bool {
        now >= self.next_step
    }

    fn stepped(&mut self, now: Instant) {
        self.next_step = now + DUMP_PAUSE;
    }
}

/// Messages of one datagram of a dump, not yet handed over.
#[derive(Debug, Default)]
struct Backlog {
    bytes: Vec<u8>,
    taken: usize,
}

impl Backlog {
    fn is_empty(&self) -> bool {
        self.taken >= self.bytes.len()
    }

    fn push(&mut self, message: &[u8]) {
        if self.is_empty() {
            self.bytes.clear();
            self.taken = 0;
        }
        self.bytes.extend_from_slice(message);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    /// Hands over at most so many entries, and stops at the first that the sink has no room for: it comes again. Returns
    /// how many it took.
    fn hand_over(&mut self, most: usize, sink: &mut Sink, counters: &Counters) -> u64 {
        let at = UnixNanos::from(SystemTime::now());
        let mut told = 0;
        for message in Messages::new(self.bytes.get(self.taken..).unwrap_or_default()).take(most) {
            let Message::Data { whole, .. } = message else {
                continue;
            };
            if let Some(testimony) = parse_message(whole, at) {
                if !sink(Input::Testimony(testimony)) {
                    break;
                }
                told += 1;
            } else {
                counters.unreadable.fetch_add(1, Ordering::Relaxed);
            }
            self.taken += whole.len().next_multiple_of(4);
        }
        told
    }
}

/// Hands entries to the sink: how many it took, and how many it had no room for.
fn hand_over<'a>(
    messages: impl Iterator<Item = Message<'a>>,
    sink: &mut Sink,
    counters: &Counters,
) -> (u64, u64) {
    let at = UnixNanos::from(SystemTime::now());
    let (mut told, mut dropped) = (0, 0);
    for message in messages {
        let Message::Data { whole, .. } = message else {
            continue;
        };
        let Some(testimony) = parse_message(whole, at) else {
            counters.unreadable.fetch_add(1, Ordering::Relaxed);
            continue;
        };
        if sink(Input::Testimony(testimony)) {
            told += 1;
        } else {
            dropped += 1;
        }
    }
    counters.queue_full.fetch_add(dropped, Ordering::Relaxed);
    (told, dropped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dump_keeps_its_pace_however_often_events_wake_the_thread() {
        let begun = Instant::now();
        let mut pace = Pace { next_step: begun };
        // An event every 100 microseconds, for a second.
        let rounds = (0..10_000).map(|number| begun + number * Duration::from_micros(100));
        let mut steps = 0;
        for now in rounds {
            if pace.may_step(now) {
                pace.stepped(now);
                steps += 1;
            } else {
                assert!(pace.until_step(now) <= DUMP_PAUSE);
            }
        }
        assert_eq!(steps, 200);
    }
}
