//! Which source frames come from: eBPF programs or libpcap, as asked for and as the kernel takes it.
//!
//! Left to choose, the daemon takes eBPF where it loads, and says why where it does not. One face for both: counts for the
//! status, notices, the detail that the governor wants, and the end.

use std::time::Duration;

use weir_proto::weir::v1::{Source, SourceKind};

use crate::capture::live::{self, LiveCapture};
use crate::capture::{Detail, Horizon, Sink};
use crate::config::{CaptureArgs, FrameSource};
use crate::worker::StopError;

use super::AppError;

#[cfg(feature = "ebpf")]
use crate::capture::ebpf::{self, EbpfCapture};

/// A running source of frames.
#[derive(Debug)]
pub struct Frames {
    by: By,
    /// Why it is not the cheaper one.
    why: String,
}

#[derive(Debug)]
enum By {
    Pcap(LiveCapture),
    #[cfg(feature = "ebpf")]
    Ebpf(EbpfCapture),
}

/// Frames that were lost, by where.
#[derive(Clone, Copy, Debug, Default)]
pub struct Dropped {
    /// By the kernel: its buffer was full.
    pub kernel: u64,
    /// For a full queue to the pipeline.
    pub queue: u64,
}

impl Frames {
    /// Starts what the flags ask for.
    ///
    /// # Errors
    /// Why frames cannot be captured.
    pub fn start(args: &CaptureArgs, sink: impl Fn() -> Sink) -> Result<Self, AppError> {
        if args.source == FrameSource::Pcap {
            return Ok(Self { by: pcap(args, sink())?, why: String::new() });
        }
        match (ebpf(args, &sink), args.source) {
            (Ok(by), _) => Ok(Self { by, why: String::new() }),
            (Err(why), FrameSource::Ebpf) => Err(AppError::Ebpf(why)),
            (Err(why), _) => {
                let by = pcap(args, sink())?;
                tracing::info!("frames come by libpcap: {why}");
                Ok(Self { by, why })
            }
        }
    }

    /// False once frames come no more.
    #[must_use]
    pub fn is_running(&self) -> bool {
        match &self.by {
            By::Pcap(capture) => capture.is_running(),
            #[cfg(feature = "ebpf")]
            By::Ebpf(capture) => capture.is_running(),
        }
    }

    /// How far it has got.
    #[must_use]
    pub fn horizon(&self) -> Horizon {
        match &self.by {
            By::Pcap(capture) => capture.horizon(),
            #[cfg(feature = "ebpf")]
            By::Ebpf(capture) => capture.horizon(),
        }
    }

    /// What was lost so far.
    #[must_use]
    pub fn dropped(&self) -> Dropped {
        match &self.by {
            By::Pcap(capture) => {
                let stats = capture.stats();
                Dropped { kernel: stats.kernel_dropped, queue: stats.queue_dropped }
            }
            #[cfg(feature = "ebpf")]
            By::Ebpf(capture) => {
                let stats = capture.stats();
                Dropped { kernel: stats.kernel_dropped, queue: stats.queue_dropped }
            }
        }
    }

    /// Packets that the source counted and did not hand up to be followed.
    #[must_use]
    pub fn left_out(&self) -> u64 {
        match &self.by {
            By::Pcap(_) => 0,
            #[cfg(feature = "ebpf")]
            By::Ebpf(capture) => capture.stats().untracked,
        }
    }

    /// From now on it hands up so much. libpcap hands up everything: what is left out then is left out behind it.
    pub fn set_detail(&self, detail: Detail) {
        match &self.by {
            By::Pcap(_) => {}
            #[cfg(feature = "ebpf")]
            By::Ebpf(capture) => capture.set_detail(detail),
        }
    }

    /// As the status tells it.
    #[must_use]
    pub fn told(&self) -> Source {
        let why = self.why.clone();
        match &self.by {
            By::Pcap(capture) => Source {
                kind: SourceKind::Pcap.into(),
                why,
                devices: u32::try_from(capture.stats().devices).unwrap_or(u32::MAX),
                ring_room: capture.stats().ring_bytes,
                ..Source::default()
            },
            #[cfg(feature = "ebpf")]
            By::Ebpf(capture) => {
                let stats = capture.stats();
                Source {
                    kind: SourceKind::Ebpf.into(),
                    why,
                    devices: u32::try_from(stats.devices).unwrap_or(u32::MAX),
                    table_used: stats.entries,
                    table_room: stats.table_entries,
                    table_full: stats.table_full,
                    ring_used: stats.ring_used,
                    ring_room: stats.ring_bytes,
                    tallied: stats.tallied_packets,
                }
            }
        }
    }

    /// Takes what there is to say to people.
    #[must_use]
    pub fn notices(&self) -> Vec<String> {
        match &self.by {
            By::Pcap(capture) => capture.notices(),
            #[cfg(feature = "ebpf")]
            By::Ebpf(capture) => capture.notices(),
        }
    }

    /// Hands over what it still has and ends.
    ///
    /// # Errors
    /// If it did not end in time.
    pub fn stop(self, deadline: Duration) -> Result<(), StopError> {
        match self.by {
            By::Pcap(capture) => capture.stop(deadline),
            #[cfg(feature = "ebpf")]
            By::Ebpf(capture) => capture.stop(deadline),
        }
    }
}

fn pcap(args: &CaptureArgs, sink: Sink) -> Result<By, AppError> {
    let settings = live::Settings {
        snap_len: args.snaplen,
        buffer_budget: usize::try_from(args.buffer_bytes()).unwrap_or(usize::MAX),
        filter: args.capture_filter.clone(),
        loopback: args.loopback,
    };
    Ok(By::Pcap(live::start(settings, sink)?))
}

/// The cheaper source, or in a sentence why not.
#[cfg(feature = "ebpf")]
fn ebpf(args: &CaptureArgs, sink: &impl Fn() -> Sink) -> Result<By, String> {
    if args.capture_filter.as_ref().is_some_and(|filter| !filter.trim().is_empty()) {
        return Err("ebpf: --capture-filter is in libpcap's language, which only libpcap reads".to_owned());
    }
    let settings = ebpf::Settings {
        snap_len: args.snaplen,
        loopback: args.loopback,
        ring_bytes: ring_bytes(args.buffer_bytes()),
        table_entries: args.kernel_connections,
        vxlan_ports: args.tunnels.vxlan_ports.clone(),
        geneve_ports: args.tunnels.geneve_ports.clone(),
        wireguard_ports: args.tunnels.wireguard_ports.clone(),
        object: args.ebpf_object.clone(),
        ..ebpf::Settings::default()
    };
    ebpf::start(&settings, sink()).map(By::Ebpf).map_err(|error| error.to_string())
}

/// Of what libpcap's rings of all devices have: only news goes through the ring of eBPF. A power of two, as the kernel wants it.
#[cfg(feature = "ebpf")]
fn ring_bytes(buffers: u64) -> u32 {
    const LEAST: u32 = 1 << 16;
    let part = u32::try_from(buffers / RING_PART).unwrap_or(1 << 31).max(LEAST);
    1 << part.ilog2()
}

#[cfg(feature = "ebpf")]
const RING_PART: u64 = 10;

#[cfg(not(feature = "ebpf"))]
fn ebpf(_: &CaptureArgs, _: &impl Fn() -> Sink) -> Result<By, String> {
    Err("ebpf: this weir-daemon was built without it (cargo feature `ebpf`)".to_owned())
}
