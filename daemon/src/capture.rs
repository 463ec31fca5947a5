//! Where frames come from: live by libpcap, or from capture files. All sources yield the same [`Input`].
//!
//! A source hands over batches, so that a thread change costs little a frame; the queue between a live source and the
//! pipeline is bounded in batches, and what does not fit is dropped newest first and counted. Frames are not decoded here.

pub mod absent;
mod batch;
pub mod detail;
#[cfg(feature = "ebpf")]
pub mod ebpf;
pub mod file;
mod horizon;
pub mod links;
pub mod live;
pub mod record;
mod tally;

use std::fmt;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use weir_cluster::UnixNanos;

use crate::testimony::Testimony;

pub use batch::{Batch, Item};
pub use detail::Detail;
pub use horizon::Horizon;
pub use tally::{Progress, Tally};

/// Number of a device within one run of one source: the ifindex live, drawn anew by the reader of files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InterfaceId(pub u32);

/// A device as it was when its frames were captured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// The kernel's index in the node's network namespace; 0 where a file does not tell.
    pub index: u32,
    /// Name, as `ip link` shows it.
    pub name: Arc<str>,
    /// What the device is for.
    pub role: Role,
}

/// What a device is for on its node. It decides which sighting of a packet counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// Unknown, as in a foreign capture file.
    Unknown,
    /// `lo`.
    Loopback,
    /// The node's own network, as eth0.
    Underlay,
    /// A bridge that pods hang on, as cni0.
    Bridge,
    /// A device that encapsulates, as flannel.1.
    Overlay,
    /// Host end of a pod's veth.
    PodVeth,
}

/// Which way a frame passed its device, from the node's point of view.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// The node received it there; on a pod's veth: it comes from the pod.
    Inbound,
    /// The node sent it there; on a pod's veth: it is delivered to the pod.
    Outbound,
    /// The source does not tell.
    Unknown,
}

/// How a frame's bytes begin (the LINKTYPE_ registry of pcap and pcapng).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LinkType(pub u16);

impl LinkType {
    /// Ethernet.
    pub const ETHERNET: Self = Self(1);
    /// BSD loopback.
    pub const NULL: Self = Self(0);
    /// Raw IP, version by its first nibble.
    pub const RAW: Self = Self(101);
    /// Raw IP as some systems write libpcap's own number into a file.
    pub const DLT_RAW: Self = Self(12);
    /// The same of OpenBSD.
    pub const DLT_RAW_OPENBSD: Self = Self(14);
    /// PPP, as it is on the line or without address and control.
    pub const PPP: Self = Self(9);
    /// PPP in HDLC-like framing.
    pub const PPP_HDLC: Self = Self(50);
    /// PPPoE without its Ethernet header.
    pub const PPP_ETHER: Self = Self(51);
    /// Cisco's HDLC.
    pub const CISCO_HDLC: Self = Self(104);
    /// MPLS without a link header.
    pub const MPLS: Self = Self(219);
    /// PPP behind a byte that tells the direction.
    pub const PPP_WITH_DIRECTION: Self = Self(204);
    /// OpenBSD loopback.
    pub const LOOP: Self = Self(108);
    /// Raw IPv4.
    pub const IPV4: Self = Self(228);
    /// Raw IPv6.
    pub const IPV6: Self = Self(229);
    /// Linux cooked, version 1.
    pub const LINUX_SLL: Self = Self(113);
    /// For private use, and nobody's.
    pub const USER0: Self = Self(147);
    /// NFLOG messages.
    pub const NFLOG: Self = Self(239);
    /// Netlink messages behind a cooked header.
    pub const NETLINK: Self = Self(253);
    /// Linux cooked, version 2: with the ifindex.
    pub const LINUX_SLL2: Self = Self(276);
}

impl fmt::Display for LinkType {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "linktype {}", self.0)
    }
}

/// One captured frame. Borrowed: it lives as long as its batch.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// When it was captured.
    pub at: UnixNanos,
    /// Device, to be looked up among the announced ones.
    pub interface: InterfaceId,
    /// Which way it passed.
    pub direction: Direction,
    /// How `bytes` begin.
    pub link: LinkType,
    /// Length on the device, bytes; `bytes` may be shorter.
    pub original_len: u32,
    /// What was captured.
    pub bytes: &'a [u8],
}

impl Frame<'_> {
    /// The ifindex in a Linux cooked header of version 2, which a capture on all devices at once has. None for others.
    #[must_use]
    pub fn cooked_ifindex(&self) -> Option<u32> {
        if self.link != LinkType::LINUX_SLL2 {
            return None;
        }
        Some(u32::from_be_bytes(*self.bytes.get(4..)?.first_chunk()?))
    }
}

/// What a source hands to the pipeline, in the order it happened.
#[derive(Debug)]
pub enum Input {
    /// Frames and tallies, oldest first.
    Frames(Batch),
    /// A device appeared or changed; announced before its first frame.
    Interface(InterfaceId, Interface),
    /// The kernel's testimony.
    Testimony(Testimony),
    /// So many frames were lost before this point.
    Lost(Loss),
    /// From here on so much is looked at.
    Detail(Detail),
}

/// Where a live source puts what it has. False: the queue was full and the input was dropped, which the source counts.
pub type Sink = Box<dyn FnMut(Input) -> bool + Send>;

/// The sink that feeds a bounded queue and never waits for it.
#[must_use]
pub fn sink(queue: SyncSender<Input>) -> Sink {
    Box::new(move |input| queue.try_send(input).is_ok())
}

/// Frames that were lost, by where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Loss {
    /// Dropped by the kernel: its buffer was full.
    pub kernel: u64,
    /// Dropped by weir: the queue to the pipeline was full.
    pub queue: u64,
}
