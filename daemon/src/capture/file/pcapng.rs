//! pcapng: sections of blocks (draft-ietf-opsawg-pcapng). Devices, frames and counts of lost frames; other blocks are
//! skipped.

use std::collections::HashMap;

use weir_cluster::UnixNanos;

use super::fields::{Fields, Order};
use super::pcap::cut;
use super::stream::Stream;
use super::{Content, Fault, Head, Ids};
use crate::capture::record::{Dropped, Label, MAX_FRAME, Origin, code, tally};
use crate::capture::{Direction, Interface, InterfaceId, LinkType, Loss, Role, Tally};
use crate::testimony::{DroppedPacket, Testimony};

/// Devices of one section; more is damage.
const MAX_INTERFACES: usize = 1 << 16;
/// Longest block that is held: a frame, its header and its options.
const MAX_BLOCK: u32 = (MAX_FRAME as u32) + (1 << 20);

/// The section that is being read.
#[derive(Debug, Default)]
pub(super) struct Section {
    order: Option<Order>,
    interfaces: Vec<Described>,
    /// Ids in a recording, and those drawn here.
    recorded: HashMap<u32, InterfaceId>,
}

/// An interface description.
#[derive(Clone, Debug)]
struct Described {
    id: InterfaceId,
    link: LinkType,
    clock: Clock,
    snap_len: u32,
    label: Option<Label>,
    lost: Loss,
}

/// Unit and zero of an interface's times.
#[derive(Clone, Copy, Debug)]
struct Clock {
    ticks_per_second: u128,
    /// Where a tick is a whole number of nanoseconds: times of a usual unit are worth no division.
    nanos_per_tick: Option<u64>,
    offset_seconds: i64,
}

const NANOS: u128 = 1_000_000_000;

impl Default for Clock {
    fn default() -> Self {
        Self { ticks_per_second: 1_000_000, nanos_per_tick: Some(1000), offset_seconds: 0 }
    }
}

impl Clock {
    /// if_tsresol: the exponent of 10, or of 2 if the top bit is set. None beyond all sense.
    fn resolution(exponent: u8) -> Option<u128> {
        let base: u128 = if exponent & 0x80 == 0 { 10 } else { 2 };
        base.checked_pow(u32::from(exponent & 0x7f))
    }

    /// A time out of range becomes the nearest in it.
    fn time(self, ticks: u64) -> UnixNanos {
        if let (Some(nanos), 0) = (self.nanos_per_tick, self.offset_seconds) {
            return UnixNanos::from_nanos(ticks.saturating_mul(nanos));
        }
        let nanos = u128::from(ticks).saturating_mul(NANOS) / self.ticks_per_second;
        let nanos = i128::try_from(nanos).unwrap_or(i128::MAX);
        let nanos = nanos.saturating_add(i128::from(self.offset_seconds) * 1_000_000_000);
        UnixNanos::from_nanos(u64::try_from(nanos.max(0)).unwrap_or(u64::MAX))
    }
}

impl Section {
    /// Reads the block at `stream`, whose record was begun, and appends what it says.
    pub(super) fn block(
        &mut self,
        stream: &mut Stream,
        ids: &mut Ids<'_>,
        out: &mut Vec<Content>,
    ) -> Result<(), Fault> {
        cut(stream.more(8)?)?;
        if stream.record().starts_with(&code::SECTION.to_be_bytes()) {
            cut(stream.more(4)?)?;
            *self = Self { order: Some(order(stream.record())?), ..Self::default() };
        }
        let order = self.order.ok_or(Fault::Damaged("it does not begin with a section header"))?;
        let header_len = stream.record().len();
        let mut header = Fields::new(stream.record(), order);
        let (kind, len) = (header.u32().unwrap_or_default(), header.u32().unwrap_or_default());
        if len < 12 || !len.is_multiple_of(4) || (len as usize) < header_len + 4 {
            return Err(Fault::Damaged("a block's length is impossible"));
        }
        let held = matches!(
            kind,
            code::SECTION
                | code::INTERFACE
                | code::PACKET_OBSOLETE
                | code::PACKET_SIMPLE
                | code::STATISTICS
                | code::PACKET
        );
        if !held {
            return cut(stream.skip(u64::from(len) - 8)?);
        }
        if len > MAX_BLOCK {
            return Err(Fault::Damaged("a block claims to be longer than any frame"));
        }
        cut(stream.more(len as usize - header_len)?)?;
        let (body, trailer) = stream.record().split_at(len as usize - 4);
        if Fields::new(trailer, order).u32() != Some(len) {
            return Err(Fault::Damaged("a block's two lengths differ"));
        }
        let body = Fields::new(body.get(8..).unwrap_or_default(), order);
        self.read(kind, body, ids, out)
    }

    fn read(
        &mut self,
        kind: u32,
        body: Fields<'_>,
        ids: &mut Ids<'_>,
        out: &mut Vec<Content>,
    ) -> Result<(), Fault> {
        match kind {
            code::SECTION => section(body, out),
            code::INTERFACE => self.interface(body, ids, out),
            code::STATISTICS => self.statistics(body, out),
            code::PACKET => self.packet(body, ids, out),
            code::PACKET_OBSOLETE => self.obsolete_packet(body, out),
            _ => self.simple_packet(body, out),
        }
    }

    fn interface(
        &mut self,
        mut body: Fields<'_>,
        ids: &mut Ids<'_>,
        out: &mut Vec<Content>,
    ) -> Result<(), Fault> {
        if self.interfaces.len() >= MAX_INTERFACES {
            return Err(Fault::Damaged("it describes more than 65536 interfaces"));
        }
        let (Some(link), Some(_), Some(snap_len)) = (body.u16(), body.u16(), body.u32()) else {
            return Err(Fault::Damaged("an interface description is short"));
        };
        let (mut name, mut label, mut clock) = (None, None, Clock::default());
        for (option, mut value) in body.options() {
            match option {
                code::IF_NAME => name = Some(String::from_utf8_lossy(value.rest()).into_owned()),
                code::IF_DESCRIPTION => {
                    label = std::str::from_utf8(value.rest()).ok().and_then(|text| text.parse().ok());
                }
                code::IF_TSRESOL => {
                    let exponent = value.rest().first().copied().unwrap_or(6);
                    let ticks = Clock::resolution(exponent)
                        .ok_or(Fault::Damaged("an interface's time resolution is impossible"))?;
                    clock.ticks_per_second = ticks;
                    clock.nanos_per_tick =
                        u64::try_from(NANOS / ticks).ok().filter(|_| NANOS.is_multiple_of(ticks));
                }
                code::IF_TSOFFSET => clock.offset_seconds = value.u64().unwrap_or_default().cast_signed(),
                _ => {}
            }
        }
        let id = self.draw(label, ids);
        let described = Described { id, link: LinkType(link), clock, snap_len, label, lost: Loss::default() };
        out.extend(announcement(&described, name, self.interfaces.len(), ids));
        self.interfaces.push(described);
        Ok(())
    }

    /// Another description of a recorded device is the same device.
    fn draw(&mut self, label: Option<Label>, ids: &mut Ids<'_>) -> InterfaceId {
        match label {
            Some(Label::Device { id, .. } | Label::More { id }) => {
                *self.recorded.entry(id).or_insert_with(|| ids.draw())
            }
            Some(Label::Losses | Label::Testimony | Label::Drops | Label::Tallies | Label::Detail(_)) => {
                InterfaceId(u32::MAX)
            }
            None => ids.draw(),
        }
    }

    fn described(&mut self, number: u32) -> Result<&mut Described, Fault> {
        let found = self.interfaces.get_mut(number as usize);
        found.ok_or(Fault::Damaged("a block is of an interface that was not described"))
    }

    fn packet(
        &mut self,
        mut body: Fields<'_>,
        ids: &mut Ids<'_>,
        out: &mut Vec<Content>,
    ) -> Result<(), Fault> {
        const SHORT: Fault = Fault::Damaged("a packet block is shorter than its frame");
        let (Some(number), Some(ticks), Some(len), Some(original_len)) =
            (body.u32(), body.time(), body.u32(), body.u32())
        else {
            return Err(SHORT);
        };
        let bytes = body.padded(len as usize).ok_or(SHORT)?;
        let described = self.described(number)?;
        if described.label == Some(Label::Drops)
            && let Some(testimony) = given_up(described.clock.time(ticks), bytes, body)
        {
            out.push(testimony);
            return Ok(());
        }
        if described.label == Some(Label::Tallies)
            && let Some(tally) = tally::parse(described.clock.time(ticks), bytes)
        {
            let interface = *self.recorded.entry(tally.interface.0).or_insert_with(|| ids.draw());
            out.push(Content::Tally(Box::new(Tally { interface, ..tally })));
            return Ok(());
        }
        let (mut direction, mut dropped) = (Direction::Unknown, 0);
        for (option, mut value) in body.options() {
            match option {
                code::EPB_FLAGS => direction = direction_of(value.u32().unwrap_or_default()),
                code::EPB_DROPCOUNT => dropped = value.u64().unwrap_or_default(),
                _ => {}
            }
        }
        if dropped > 0 {
            out.push(Content::Lost(Loss { kernel: dropped, queue: 0 }));
        }
        out.push(Content::Frame(described.head(ticks, direction, original_len, 28, len as usize)));
        Ok(())
    }

    /// Interface and drop count of 16 bits each; 65535 is "not known".
    fn obsolete_packet(&mut self, mut body: Fields<'_>, out: &mut Vec<Content>) -> Result<(), Fault> {
        const SHORT: Fault = Fault::Damaged("a packet block is shorter than its frame");
        let (Some(number), Some(dropped), Some(ticks)) = (body.u16(), body.u16(), body.time()) else {
            return Err(SHORT);
        };
        let (Some(len), Some(original_len)) = (body.u32(), body.u32()) else {
            return Err(SHORT);
        };
        body.padded(len as usize).ok_or(SHORT)?;
        let described = self.described(u32::from(number))?;
        let flags = body.options().find(|(option, _)| *option == code::EPB_FLAGS);
        let direction = flags.and_then(|(_, mut value)| value.u32()).map_or(Direction::Unknown, direction_of);
        if !matches!(dropped, 0 | u16::MAX) {
            out.push(Content::Lost(Loss { kernel: u64::from(dropped), queue: 0 }));
        }
        out.push(Content::Frame(described.head(ticks, direction, original_len, 28, len as usize)));
        Ok(())
    }

    /// A frame of the first interface, without a time of its own: that of the frame before it.
    fn simple_packet(&mut self, mut body: Fields<'_>, out: &mut Vec<Content>) -> Result<(), Fault> {
        const SHORT: Fault = Fault::Damaged("a packet block is shorter than its frame");
        let original_len = body.u32().ok_or(SHORT)?;
        let described = self.described(0)?;
        let snap_len = if described.snap_len == 0 { u32::MAX } else { described.snap_len };
        let len = original_len.min(snap_len) as usize;
        body.take(len).ok_or(SHORT)?;
        out.push(Content::Timeless(described.head(0, Direction::Unknown, original_len, 12, len)));
        Ok(())
    }

    /// Counts since the capture began: what is new since the last statistics was lost here.
    fn statistics(&mut self, mut body: Fields<'_>, out: &mut Vec<Content>) -> Result<(), Fault> {
        let (Some(number), Some(_)) = (body.u32(), body.time()) else {
            return Err(Fault::Damaged("a statistics block is short"));
        };
        let described = self.described(number)?;
        let (mut interface, mut system) = (None, None);
        for (option, mut value) in body.options() {
            match option {
                code::ISB_IFDROP => interface = value.u64(),
                code::ISB_OSDROP => system = value.u64(),
                _ => {}
            }
        }
        let before = described.lost;
        let total =
            Loss { kernel: system.unwrap_or(before.kernel), queue: interface.unwrap_or(before.queue) };
        described.lost = total;
        if described.label == Some(Label::Losses) {
            out.push(Content::Lost(Loss {
                kernel: total.kernel.wrapping_sub(before.kernel),
                queue: total.queue.wrapping_sub(before.queue),
            }));
            return Ok(());
        }
        // Elsewhere both were lost before the capturing program: to weir that is the kernel.
        let kernel = (total.kernel.saturating_sub(before.kernel))
            .saturating_add(total.queue.saturating_sub(before.queue));
        out.extend((kernel > 0).then_some(Content::Lost(Loss { kernel, queue: 0 })));
        Ok(())
    }
}

impl Described {
    fn head(&self, ticks: u64, direction: Direction, original_len: u32, start: usize, len: usize) -> Head {
        let (at, interface, link) = (self.clock.time(ticks), self.id, self.link);
        Head { at, interface, direction, link, original_len, start, len }
    }
}

/// A packet that the kernel gave up, with its reason in the comment. None where that is none of weir's.
fn given_up(at: UnixNanos, packet: &[u8], body: Fields<'_>) -> Option<Content> {
    let (_, comment) = body.options().find(|(option, _)| *option == code::COMMENT)?;
    let Dropped { reason, site } = std::str::from_utf8(comment.rest()).ok()?.parse().ok()?;
    let dropped = DroppedPacket { at, reason, site, packet: packet.to_vec() };
    Some(Content::Testimony(at, Box::new(Testimony::Dropped(dropped))))
}

fn announcement(
    described: &Described,
    name: Option<String>,
    number: usize,
    ids: &Ids<'_>,
) -> Option<Content> {
    let (index, role) = match described.label {
        Some(Label::Device { ifindex, role, .. }) => (ifindex, role),
        Some(Label::Detail(detail)) => return Some(Content::Detail(detail)),
        Some(_) => return None,
        None if described.link == LinkType::NETLINK => return None,
        None => (0, Role::Unknown),
    };
    let name = name.unwrap_or_else(|| format!("{}#{number}", ids.file_name()));
    Some(Content::Interface(described.id, Interface { index, name: name.into(), role }))
}

/// Byte order by the section header's mark.
fn order(header: &[u8]) -> Result<Order, Fault> {
    match header.get(8..12) {
        Some([0x4d, 0x3c, 0x2b, 0x1a]) => Ok(Order::Little),
        Some([0x1a, 0x2b, 0x3c, 0x4d]) => Ok(Order::Big),
        _ => Err(Fault::Damaged("a section header has no byte-order mark")),
    }
}

/// A section of another major version is laid out otherwise (section 4.1 of the draft).
fn section(mut body: Fields<'_>, out: &mut Vec<Content>) -> Result<(), Fault> {
    let (Some(_), Some(major), Some(_)) = (body.u32(), body.u16(), body.take(10)) else {
        return Err(Fault::Damaged("a section header is short"));
    };
    if major != 1 {
        return Err(Fault::Damaged("a section is of a version of pcapng that weir does not know"));
    }
    out.push(Content::Section);
    let mut comments = body.options().filter(|(option, _)| *option == code::COMMENT);
    let origin =
        comments.find_map(|(_, value)| std::str::from_utf8(value.rest()).ok()?.parse::<Origin>().ok());
    out.extend(origin.map(Box::new).map(Content::Origin));
    Ok(())
}

/// The two lowest bits: 1 inbound, 2 outbound.
const fn direction_of(flags: u32) -> Direction {
    match flags & 3 {
        1 => Direction::Inbound,
        2 => Direction::Outbound,
        _ => Direction::Unknown,
    }
}
