//! [`Input`]s -> a pcapng recording, which `file` reads back as the same inputs in the same order.
//!
//! Everything goes in as it came: frames with direction, devices with index and role, losses as statistics, and the
//! kernel's testimony as the messages it came in, or as the packets that it dropped, so that any pcapng viewer shows it. Each input is written whole and
//! flushed: a recording that is killed is good up to its last whole block. Reads no clock.

use std::collections::HashMap;
use std::io::{self, Write};

use weir_cluster::UnixNanos;

use super::{Batch, Direction, Frame, Input, Interface, InterfaceId, LinkType, Loss};
use crate::testimony::{DroppedPacket, Testimony};
use crate::{conntrack, nflog};

mod block;
mod drop;
mod label;

#[cfg(test)]
mod tests;

pub(super) use drop::Dropped;
pub(super) use label::Label;
pub use label::{NotALabel, Origin};

use block::Block;

/// Types of blocks and options (draft-ietf-opsawg-pcapng sections 4 and 3.5).
pub(super) mod code {
    pub(in crate::capture) const SECTION: u32 = 0x0a0d_0d0a;
    pub(in crate::capture) const INTERFACE: u32 = 1;
    pub(in crate::capture) const PACKET_OBSOLETE: u32 = 2;
    pub(in crate::capture) const PACKET_SIMPLE: u32 = 3;
    pub(in crate::capture) const STATISTICS: u32 = 5;
    pub(in crate::capture) const PACKET: u32 = 6;
    pub(in crate::capture) const BYTE_ORDER: u32 = 0x1a2b_3c4d;

    pub(in crate::capture) const COMMENT: u16 = 1;
    pub(in crate::capture) const USER_APPLICATION: u16 = 4;
    pub(in crate::capture) const IF_NAME: u16 = 2;
    pub(in crate::capture) const IF_DESCRIPTION: u16 = 3;
    pub(in crate::capture) const IF_TSRESOL: u16 = 9;
    pub(in crate::capture) const IF_TSOFFSET: u16 = 14;
    pub(in crate::capture) const EPB_FLAGS: u16 = 2;
    pub(in crate::capture) const EPB_DROPCOUNT: u16 = 4;
    pub(in crate::capture) const ISB_IFDROP: u16 = 5;
    pub(in crate::capture) const ISB_OSDROP: u16 = 7;
}

/// Longest frame that is written, and read: twice the largest super-packet of the kernel's (GSO_MAX_SIZE, 512 KiB) is far
/// from it.
pub(super) const MAX_FRAME: usize = 16 << 20;

/// ARPHRD_NETLINK (linux/if_arp.h), in the cooked header of LINKTYPE_NETLINK.
pub(super) const ARPHRD_NETLINK: u16 = 824;
/// NETLINK_NETFILTER (linux/netlink.h).
pub(super) const NETLINK_NETFILTER: u16 = 12;
/// Packet type "from the kernel" (PACKET_KERNEL, linux/if_packet.h).
const PACKET_KERNEL: u16 = 7;

/// A recording that could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write the recording (is the disk full?): {source}")]
pub struct RecordError {
    /// What the system says.
    #[from]
    source: io::Error,
}

/// Writes a recording.
#[derive(Debug)]
pub struct Recorder<W> {
    out: W,
    /// Blocks of the input that is being written.
    blocks: Vec<u8>,
    /// Number of the interface in the file, by device and link type.
    interfaces: HashMap<(InterfaceId, LinkType), u32>,
    /// Link type that a device's frames had last: a second announcement is made with it.
    links: HashMap<InterfaceId, LinkType>,
    conntrack: Option<u32>,
    nflog: Option<u32>,
    drops: Option<u32>,
    losses: Option<u32>,
    lost: Loss,
    next_interface: u32,
    last: UnixNanos,
}

impl<W: Write> Recorder<W> {
    /// Begins a recording of this node's run of the daemon.
    ///
    /// # Errors
    /// The beginning cannot be written.
    pub fn new(out: W, node_name: &str, run: u64) -> Result<Self, RecordError> {
        let mut recorder = Self {
            out,
            blocks: Vec::new(),
            interfaces: HashMap::new(),
            links: HashMap::new(),
            conntrack: None,
            nflog: None,
            drops: None,
            losses: None,
            lost: Loss::default(),
            next_interface: 0,
            last: UnixNanos::ZERO,
        };
        let origin = Origin { node: node_name.to_owned(), run };
        let application = concat!("weir-daemon ", env!("CARGO_PKG_VERSION"));
        Block::begin(&mut recorder.blocks, code::SECTION)
            .u32(code::BYTE_ORDER)
            .u16(1)
            .u16(0)
            .u64(u64::MAX)
            .option(code::COMMENT, origin.to_string().as_bytes())
            .option(code::USER_APPLICATION, application.as_bytes())
            .end();
        recorder.flush()?;
        Ok(recorder)
    }

    /// Writes an input behind those before it.
    ///
    /// # Errors
    /// The input cannot be written, or not as a whole; the recording is then good up to the input before.
    pub fn record(&mut self, input: &Input) -> Result<(), RecordError> {
        match input {
            Input::Frames(batch) => self.frames(batch),
            Input::Interface(id, interface) => self.interface(*id, interface),
            Input::Testimony(testimony) => self.testimony(testimony),
            Input::Lost(loss) => self.lost(*loss),
            Input::Detail(detail) => {
                self.describe(LinkType::ETHERNET, "detail", Label::Detail(*detail));
            }
        }
        self.flush()
    }

    /// The writer, everything written.
    pub fn into_inner(self) -> W {
        self.out
    }

    fn flush(&mut self) -> Result<(), RecordError> {
        let written = self.out.write_all(&self.blocks).and_then(|()| self.out.flush());
        self.blocks.clear();
        Ok(written?)
    }

    fn frames(&mut self, batch: &Batch) {
        for frame in batch.frames() {
            let interface = self.interface_of(frame.interface, frame.link);
            self.frame(interface, &frame);
        }
    }

    fn frame(&mut self, interface: u32, frame: &Frame<'_>) {
        self.packet(interface, frame, None);
    }

    /// A frame with a comment, where it has one.
    fn packet(&mut self, interface: u32, frame: &Frame<'_>, comment: Option<&str>) {
        self.last = self.last.max(frame.at);
        let flags: u32 = match frame.direction {
            Direction::Unknown => 0,
            Direction::Inbound => 1,
            Direction::Outbound => 2,
        };
        let bytes = frame.bytes.get(..MAX_FRAME).unwrap_or(frame.bytes);
        let mut block = Block::begin(&mut self.blocks, code::PACKET)
            .u32(interface)
            .time(frame.at)
            .u32(u32::try_from(bytes.len()).unwrap_or(u32::MAX))
            .u32(frame.original_len)
            .padded(bytes);
        if let Some(comment) = comment {
            block = block.option(code::COMMENT, comment.as_bytes());
        }
        if flags != 0 {
            block = block.option(code::EPB_FLAGS, &flags.to_ne_bytes());
        }
        block.end();
    }

    fn interface_of(&mut self, id: InterfaceId, link: LinkType) -> u32 {
        if let Some(known) = self.interfaces.get(&(id, link)) {
            return *known;
        }
        let number = self.describe(link, "", Label::More { id: id.0 });
        self.interfaces.insert((id, link), number);
        self.links.insert(id, link);
        number
    }

    fn interface(&mut self, id: InterfaceId, interface: &Interface) {
        let link = self.links.get(&id).copied().unwrap_or(LinkType::ETHERNET);
        let label = Label::Device { id: id.0, ifindex: interface.index, role: interface.role };
        let number = self.describe(link, &interface.name, label);
        self.interfaces.insert((id, link), number);
    }

    /// Writes an interface and gives its number.
    fn describe(&mut self, link: LinkType, name: &str, label: Label) -> u32 {
        Block::begin(&mut self.blocks, code::INTERFACE)
            .u16(link.0)
            .u16(0)
            .u32(0)
            .option(code::IF_NAME, name.as_bytes())
            .option(code::IF_DESCRIPTION, label.to_string().as_bytes())
            .option(code::IF_TSRESOL, &[9])
            .end();
        let number = self.next_interface;
        self.next_interface += 1;
        number
    }

    fn testimony(&mut self, testimony: &Testimony) {
        let (at, link, message) = match testimony {
            Testimony::Tracked(entry) => {
                (entry.at, LinkType::NETLINK, cooked(&conntrack::emit_message(entry, false)))
            }
            Testimony::Untracked(entry) => {
                (entry.at, LinkType::NETLINK, cooked(&conntrack::emit_message(entry, true)))
            }
            Testimony::Logged(packet) => (packet.at, LinkType::NFLOG, nflog::emit_packet(packet)),
            Testimony::Dropped(dropped) => return self.dropped(dropped),
        };
        let interface = self.testimony_interface(link);
        self.frame(interface, &without_device(at, link, &message));
    }

    /// The packet as it was, its reason and place as a comment.
    fn dropped(&mut self, dropped: &DroppedPacket) {
        let interface = match self.drops {
            Some(known) => known,
            None => self.describe(LinkType::RAW, "drops", Label::Drops),
        };
        self.drops = Some(interface);
        let DroppedPacket { at, reason, site, packet } = dropped;
        let comment = Dropped { reason: reason.clone(), site: site.clone() }.to_string();
        self.packet(interface, &without_device(*at, LinkType::RAW, packet), Some(&comment));
    }

    fn testimony_interface(&mut self, link: LinkType) -> u32 {
        let (known, name) = match link {
            LinkType::NFLOG => (self.nflog, "nflog"),
            _ => (self.conntrack, "conntrack"),
        };
        if let Some(known) = known {
            return known;
        }
        let number = self.describe(link, name, Label::Testimony);
        match link {
            LinkType::NFLOG => self.nflog = Some(number),
            _ => self.conntrack = Some(number),
        }
        number
    }

    /// Statistics count from the beginning: the reader takes the difference.
    fn lost(&mut self, loss: Loss) {
        self.lost.kernel = self.lost.kernel.wrapping_add(loss.kernel);
        self.lost.queue = self.lost.queue.wrapping_add(loss.queue);
        let interface = match self.losses {
            Some(known) => known,
            None => self.describe(LinkType::ETHERNET, "losses", Label::Losses),
        };
        self.losses = Some(interface);
        Block::begin(&mut self.blocks, code::STATISTICS)
            .u32(interface)
            .time(self.last)
            .option(code::ISB_IFDROP, &self.lost.queue.to_ne_bytes())
            .option(code::ISB_OSDROP, &self.lost.kernel.to_ne_bytes())
            .end();
    }
}

/// What came from the kernel itself.
fn without_device(at: UnixNanos, link: LinkType, bytes: &[u8]) -> Frame<'_> {
    let original_len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    Frame { at, interface: InterfaceId(0), direction: Direction::Unknown, link, original_len, bytes }
}

/// A netlink message behind the header of LINKTYPE_NETLINK: packet type, ARPHRD, ten unused bytes, family.
fn cooked(nlmsg: &[u8]) -> Vec<u8> {
    let (kind, device, family) =
        (PACKET_KERNEL.to_be_bytes(), ARPHRD_NETLINK.to_be_bytes(), NETLINK_NETFILTER.to_be_bytes());
    [&kind[..], &device, &[0; 10], &family, nlmsg].concat()
}
