//! The format of libpcap: one header, then frames. Micro- and nanoseconds, both byte orders, and the variant of old Linux
//! kernels with eight bytes more a frame (draft-ietf-opsawg-pcap; libpcap's savefile.c names the magic numbers).

use weir_cluster::UnixNanos;

use super::fields::{Fields, Order};
use super::stream::{Filled, Stream};
use super::{Fault, Head};
use crate::capture::record::MAX_FRAME;
use crate::capture::{Direction, InterfaceId, LinkType};

/// What the file header says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pcap {
    order: Order,
    nanos_per_tick: u32,
    record_header: usize,
    link: LinkType,
    interface: InterfaceId,
}

/// Bytes of the file header behind its magic number.
pub(super) const HEADER_REST: usize = 20;

impl Pcap {
    /// From the magic number; None if it is another format's.
    pub(super) fn recognise(magic: [u8; 4], interface: InterfaceId) -> Option<Self> {
        let (order, nanos_per_tick, record_header) = match magic {
            [0xd4, 0xc3, 0xb2, 0xa1] => (Order::Little, 1000, 16),
            [0xa1, 0xb2, 0xc3, 0xd4] => (Order::Big, 1000, 16),
            [0x4d, 0x3c, 0xb2, 0xa1] => (Order::Little, 1, 16),
            [0xa1, 0xb2, 0x3c, 0x4d] => (Order::Big, 1, 16),
            [0x34, 0xcd, 0xb2, 0xa1] => (Order::Little, 1000, 24),
            [0xa1, 0xb2, 0xcd, 0x34] => (Order::Big, 1000, 24),
            _ => return None,
        };
        Some(Self { order, nanos_per_tick, record_header, link: LinkType(0), interface })
    }

    /// Reads the rest of the file header: the link type is in the lower half of its last word.
    pub(super) fn header(&mut self, rest: &[u8]) -> Result<(), Fault> {
        let mut fields = Fields::new(rest, self.order);
        let link = fields.take(16).and_then(|_| fields.u32()).ok_or(Fault::Damaged("its header is short"))?;
        self.link = LinkType(u16::try_from(link & 0xffff).unwrap_or_default());
        Ok(())
    }

    /// Reads the frame at `stream`, whose record was begun.
    pub(super) fn frame(&self, stream: &mut Stream) -> Result<Head, Fault> {
        cut(stream.more(self.record_header)?)?;
        let mut fields = Fields::new(stream.record(), self.order);
        let (Some(seconds), Some(ticks), Some(len), Some(original_len)) =
            (fields.u32(), fields.u32(), fields.u32(), fields.u32())
        else {
            return Err(Fault::Damaged("a frame's header is short"));
        };
        let len = len as usize;
        if len > MAX_FRAME {
            return Err(Fault::Damaged("a frame claims to be longer than any network's"));
        }
        cut(stream.more(len)?)?;
        Ok(Head {
            at: UnixNanos::from_parts(u64::from(seconds), ticks.saturating_mul(self.nanos_per_tick)),
            interface: self.interface,
            direction: Direction::Unknown,
            link: self.link,
            original_len,
            start: self.record_header,
            len,
        })
    }

    /// Link type of all frames.
    pub(super) const fn link(&self) -> LinkType {
        self.link
    }
}

/// A record that was cut is the end of the file.
pub(super) fn cut(filled: Filled) -> Result<(), Fault> {
    match filled {
        Filled::Whole => Ok(()),
        Filled::Cut(missing) => Err(Fault::Cut { missing }),
    }
}
