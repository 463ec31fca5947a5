//! The thread that listens to NFLOG groups, all by one socket.
//!
//! A group has one listener in the whole network namespace. Where another program has it, weir says so, goes on with the
//! other groups and never takes it away. What the kernel could not deliver is counted from the gaps in its numbering.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use netlink_packet_netfilter::NetfilterProtoFamily;
use netlink_packet_netfilter::nflog::{
    ConfigCmd, ConfigFlags, ConfigMode, ConfigNla, Timeout, config_request,
};
use netlink_sys::protocols::NETLINK_NETFILTER;
use rustix::io::Errno;
use rustix::thread::{CapabilitySet, capabilities};
use thiserror::Error;
use weir_cluster::UnixNanos;

use super::codec::parse_numbered;
use crate::capture::{Input, Sink};
use crate::netlink::{Listener, Message, Received};
use crate::notice::Notices;
use crate::testimony::Testimony;
use crate::worker::{Stop, StopError, Worker};

/// `NFNL_SUBSYS_ULOG << 8 | NFULNL_MSG_PACKET`.
const PACKET: u16 = 0x0400;
/// Hundredths of a second after which the kernel hands over what it gathered.
const FLUSH: u32 = 1;
const BURST: usize = 256;
/// The thread wakes at least so often, which costs nothing.
const IDLE: Duration = Duration::from_secs(60);

/// How to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Groups, as rules name them in `--nflog-group`.
    pub groups: Vec<u16>,
    /// Bytes of each packet: 128 hold every header the tracker needs.
    pub snap_len: u32,
    /// Receive buffer, bytes.
    pub receive_buffer: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { groups: Vec::new(), snap_len: 128, receive_buffer: 2 << 20 }
    }
}

/// Why there is no listening, to one group or to any.
#[derive(Debug, Error)]
pub enum NflogError {
    /// Not allowed.
    #[error(
        "nflog: no permission to listen: it needs CAP_NET_ADMIN in the node's network namespace; run as root, \
         `setcap cap_net_raw,cap_net_admin+ep` the binary, or add NET_ADMIN to securityContext.capabilities"
    )]
    Permission,
    /// One listener a group.
    #[error(
        "nflog: another program (ulogd, calico-node, another weir-daemon) listens to group {group}, and a group has one \
         listener: give weir's rules another group or stop that program"
    )]
    Busy {
        /// The group.
        group: u16,
    },
    /// The kernel has none.
    #[error("nflog: not available in this kernel ({0}): is nfnetlink_log loaded? (`modprobe nfnetlink_log`)")]
    Unavailable(io::Error),
    /// Anything else.
    #[error("nflog: cannot listen to group {group}: {error}")]
    Group {
        /// The group.
        group: u16,
        /// What the kernel said.
        error: io::Error,
    },
    /// No socket or thread.
    #[error("nflog: cannot listen: {0}")]
    Io(#[from] io::Error),
}

/// What was read since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Packets that rules logged.
    pub packets: u64,
    /// Packets that were logged and never came, by the kernel's numbering.
    pub lost: u64,
    /// Times that the kernel had no room for messages.
    pub overruns: u64,
    /// Packets for which weir's queue had no room.
    pub queue_full: u64,
    /// Messages that are no whole packet.
    pub unreadable: u64,
}

#[derive(Debug, Default)]
struct Counters {
    packets: AtomicU64,
    lost: AtomicU64,
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
        Stats {
            packets: get(&self.counters.packets),
            lost: get(&self.counters.lost),
            overruns: get(&self.counters.overruns),
            queue_full: get(&self.counters.queue_full),
            unreadable: get(&self.counters.unreadable),
        }
    }

    /// Takes what there is to say to people, such as groups that others listen to.
    #[must_use]
    pub fn notices(&self) -> Vec<String> {
        self.notices.take()
    }

    /// False once the thread has ended; a notice says why.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.worker.is_running()
    }

    /// Ends the thread; the groups are free again.
    ///
    /// # Errors
    /// See [`Worker::stop`].
    pub fn stop(self, deadline: Duration) -> Result<(), StopError> {
        self.worker.stop(deadline)
    }
}

/// Binds the groups in this thread's network namespace and reads them in a thread of its own. A group that cannot be had
/// is a notice.
///
/// # Errors
/// [`NflogError`] if no group could be had: the first one's.
pub fn start(settings: &Settings, sink: Sink) -> Result<Reader, NflogError> {
    let mut listener = Listener::open(NETLINK_NETFILTER, &[], settings.receive_buffer)?;
    let notices = Notices::default();
    let (mut bound, mut first_error) = (0, None);
    for group in &settings.groups {
        match bind(&mut listener, *group, settings.snap_len) {
            Ok(()) => bound += 1,
            Err(error @ (NflogError::Permission | NflogError::Unavailable(_))) => return Err(error),
            Err(error) => {
                notices.say(error.to_string());
                first_error.get_or_insert(error);
            }
        }
    }
    if let (0, Some(error)) = (bound, first_error) {
        return Err(error);
    }
    let counters = Arc::new(Counters::default());
    let listening = Listening {
        listener,
        numbering: Numbering::default(),
        sink,
        counters: counters.clone(),
        notices: notices.clone(),
    };
    let worker = Worker::spawn("nflog", move |stop| listening.run(&stop))?;
    Ok(Reader { worker, counters, notices })
}

fn bind(listener: &mut Listener, group: u16, snap_len: u32) -> Result<(), NflogError> {
    let request = config_request(
        NetfilterProtoFamily::Unspec,
        group,
        vec![
            ConfigNla::from(ConfigCmd::Bind),
            ConfigNla::from(ConfigMode::new_packet(snap_len)),
            ConfigNla::from(Timeout::new(FLUSH)),
            ConfigNla::from(ConfigFlags::SEQ),
        ],
    );
    let mut bytes = vec![0; request.buffer_len()];
    request.serialize(&mut bytes);
    listener.send(&bytes)?;
    // The kernel answers within the send. Packets of groups bound before may stand in front of the answer; they are few
    // and from before the start.
    while let Received::Messages(messages) = listener.receive()? {
        for message in messages {
            if let Message::Answer { error, .. } = message {
                return error.map_or(Ok(()), |error| Err(refusal(group, error)));
            }
        }
    }
    Err(NflogError::Group { group, error: io::Error::from(io::ErrorKind::TimedOut) })
}

/// EBUSY is a group that is bound; EPERM is a group that is bound by another's socket, or a missing right.
fn refusal(group: u16, error: Errno) -> NflogError {
    match error {
        Errno::BUSY => NflogError::Busy { group },
        Errno::PERM if may_administer() => NflogError::Busy { group },
        Errno::PERM | Errno::ACCESS => NflogError::Permission,
        Errno::INVAL | Errno::OPNOTSUPP => NflogError::Unavailable(error.into()),
        error => NflogError::Group { group, error: error.into() },
    }
}

fn may_administer() -> bool {
    capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::NET_ADMIN))
}

struct Listening {
    listener: Listener,
    numbering: Numbering,
    sink: Sink,
    counters: Arc<Counters>,
    notices: Notices,
}

impl Listening {
    fn run(mut self, stop: &Stop) {
        while !stop.requested() {
            let round = stop.wait_for(&[self.listener.as_fd()], IDLE).and_then(|()| self.read());
            if let Err(error) = round {
                self.notices.say(format!("nflog: listening ended: {error}"));
                return;
            }
        }
    }

    fn read(&mut self) -> io::Result<()> {
        for _ in 0..BURST {
            match self.listener.receive()? {
                Received::Messages(messages) => {
                    let at = UnixNanos::from(SystemTime::now());
                    for message in messages {
                        if let Message::Data { kind: PACKET, whole } = message {
                            hand_over(whole, at, &mut self.numbering, &mut self.sink, &self.counters);
                        }
                    }
                }
                Received::Overrun => {
                    self.counters.overruns.fetch_add(1, Ordering::Relaxed);
                }
                Received::Nothing => break,
            }
        }
        Ok(())
    }
}

fn hand_over(whole: &[u8], at: UnixNanos, numbering: &mut Numbering, sink: &mut Sink, counters: &Counters) {
    let Some((packet, number)) = parse_numbered(Message::body(whole), at) else {
        counters.unreadable.fetch_add(1, Ordering::Relaxed);
        return;
    };
    if let Some(number) = number {
        counters.lost.fetch_add(numbering.gap_before(packet.group, number), Ordering::Relaxed);
    }
    let counter = if sink(Input::Testimony(Testimony::Logged(packet))) {
        &counters.packets
    } else {
        &counters.queue_full
    };
    counter.fetch_add(1, Ordering::Relaxed);
}

/// The kernel numbers the messages of each group from 0 on.
#[derive(Debug, Default)]
struct Numbering(BTreeMap<u16, u32>);

impl Numbering {
    /// How many messages of the group are missing before this one.
    fn gap_before(&mut self, group: u16, number: u32) -> u64 {
        let expected = self.0.insert(group, number.wrapping_add(1)).unwrap_or(number);
        let gap = number.wrapping_sub(expected);
        // A step back is the group bound anew.
        if gap > u32::MAX / 2 { 0 } else { u64::from(gap) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_counted_in_each_group() {
        let mut numbering = Numbering::default();
        let gaps: Vec<u64> = [(1, 0), (1, 1), (2, 40), (1, 5), (2, 41), (1, 0), (1, u32::MAX)]
            .into_iter()
            .map(|(group, number)| numbering.gap_before(group, number))
            .collect();
        assert_eq!(gaps, [0, 0, 0, 3, 0, 0, 0]);
        let mut wrapping = Numbering::default();
        assert_eq!(wrapping.gap_before(1, u32::MAX), 0);
        assert_eq!(wrapping.gap_before(1, 2), 2);
    }
}
