//! Live capture: the devices of the node, by libpcap, as one stream of frames in the order of their times.
//!
//! Each device has two handles, one for each way a frame can pass. A cooked capture tells the way but Ethernet's does not,
//! and comparing MAC addresses is wrong behind a bridge; the kernel knows (`PACKET_OUTGOING`), and a filter asks it. A
//! handle's ring (TPACKET_V3) is handed over by the kernel some milliseconds after its first frame, each at its own moment.
//! Frames are therefore held until all rings must have been read past their times, then sorted across devices.
//!
//! Everything is bounded: the rings by one budget for all devices, frames on hold by bytes, the queue by its owner. What
//! does not fit is counted and told as [`Loss`](super::Loss).

mod attached;
mod budget;
mod handle;
mod outlet;
mod polling;
mod reorder;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use thiserror::Error;

use super::links::Links;
use super::{Horizon, Sink};
use crate::notice::Notices;
use crate::worker::{StopError, Worker};

/// How to capture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Bytes of each frame. The default holds a whole DNS message of 512 bytes (RFC 1035, section 2.3.4) behind the longest
    /// usual headers: Ethernet, VXLAN over IPv6, Ethernet, IPv6 and UDP are 132; what is left is for longer answers (EDNS)
    /// and the first bytes of a request.
    pub snap_len: u32,
    /// Bytes of kernel memory for the rings of all devices together. A device for which too little is left is not captured,
    /// which is said in a notice. The default holds 110 pods, kubelet's default limit.
    pub buffer_budget: usize,
    /// A filter in libpcap's language (pcap-filter(7)), blank for none, applied in the kernel to frames as they pass each device: on the
    /// underlay, what is in a tunnel is matched by the tunnel's own addresses and ports.
    pub filter: Option<String>,
    /// Capture on `lo` as well.
    pub loopback: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self { snap_len: 768, buffer_budget: 160 << 20, filter: None, loopback: false }
    }
}

/// Why there is no capture.
#[derive(Debug, Error)]
pub enum LiveError {
    /// Not allowed.
    #[error(
        "capture on {device}: no permission: it needs CAP_NET_RAW (and CAP_NET_ADMIN for conntrack and NFLOG); run as root, \
         `setcap cap_net_raw,cap_net_admin+ep` the binary, or add both to securityContext.capabilities"
    )]
    Permission {
        /// The first device that was refused.
        device: String,
    },
    /// The filter is not one.
    #[error(
        "capture filter {expression:?}: {reason}; the language is that of pcap-filter(7), as in \"tcp port 80\""
    )]
    Filter {
        /// As it was given.
        expression: String,
        /// What libpcap says.
        reason: String,
    },
    /// The snap length cuts every header or is beyond any frame.
    #[error("capture snap length {0}: it must be from 96 to 65535 bytes")]
    SnapLength(u32),
    /// The devices cannot be listed, or no thread or descriptor is left.
    #[error("capture: cannot {operation}: {error}")]
    Io {
        /// What was tried.
        operation: &'static str,
        /// What the kernel said.
        error: io::Error,
    },
}

/// What was captured since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Frames handed to the queue.
    pub frames: u64,
    /// Batches handed to the queue.
    pub batches: u64,
    /// Frames that the kernel dropped since a ring was full.
    pub kernel_dropped: u64,
    /// Frames dropped since the queue was full.
    pub queue_dropped: u64,
    /// Frames that came too late to be put in their order.
    pub late: u64,
    /// Devices captured on now.
    pub devices: u64,
    /// Bytes of rings now.
    pub ring_bytes: u64,
}

#[derive(Debug, Default)]
struct Counters {
    frames: AtomicU64,
    batches: AtomicU64,
    kernel_dropped: AtomicU64,
    queue_dropped: AtomicU64,
    late: AtomicU64,
    devices: AtomicU64,
    ring_bytes: AtomicU64,
    horizon: Horizon,
}

/// A running capture.
#[derive(Debug)]
pub struct LiveCapture {
    worker: Worker,
    counters: Arc<Counters>,
    notices: Notices,
}

impl LiveCapture {
    /// What was captured since the start.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counters = &self.counters;
        Stats {
            frames: get(&counters.frames),
            batches: get(&counters.batches),
            kernel_dropped: get(&counters.kernel_dropped),
            queue_dropped: get(&counters.queue_dropped),
            late: get(&counters.late),
            devices: get(&counters.devices),
            ring_bytes: get(&counters.ring_bytes),
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

    /// Reads what the rings still hold, hands it over and ends the thread.
    ///
    /// # Errors
    /// See [`Worker::stop`].
    pub fn stop(self, deadline: Duration) -> Result<(), StopError> {
        self.worker.stop(deadline)
    }
}

/// Captures on the devices of this thread's network namespace, in a thread of its own, as they come and go.
///
/// # Errors
/// [`LiveError`]. A single device that cannot be captured on is a notice.
pub fn start(mut settings: Settings, sink: Sink) -> Result<LiveCapture, LiveError> {
    if !(96..=65_535).contains(&settings.snap_len) {
        return Err(LiveError::SnapLength(settings.snap_len));
    }
    settings.filter = settings.filter.filter(|expression| !expression.trim().is_empty());
    if let Some(expression) = &settings.filter {
        handle::check_filter(expression)?;
    }
    let links = Links::open().map_err(|error| LiveError::Io { operation: "list the devices", error })?;
    let (counters, notices) = (Arc::new(Counters::default()), Notices::default());
    let polling = polling::Polling::start(settings, links, sink, counters.clone(), notices.clone())?;
    let worker = Worker::spawn("capture", move |stop| polling.run(&stop))
        .map_err(|error| LiveError::Io { operation: "start a thread", error })?;
    Ok(LiveCapture { worker, counters, notices })
}
