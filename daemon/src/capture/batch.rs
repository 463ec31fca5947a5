//! Frames and tallies in one buffer: what a source hands over at once, so that a thread change costs little a frame.
//!
//! In the order in which it happened; nothing is sorted or looked into here.

use weir_cluster::UnixNanos;

use super::{Direction, Frame, InterfaceId, LinkType, Tally};

/// One thing of a batch.
#[derive(Clone, Copy, Debug)]
pub enum Item<'a> {
    /// A frame that was handed up.
    Frame(Frame<'a>),
    /// Packets that were counted only.
    Tally(&'a Tally),
}

#[derive(Clone, Copy, Debug)]
struct Head {
    at: UnixNanos,
    interface: InterfaceId,
    direction: Direction,
    link: LinkType,
    original_len: u32,
    start: u32,
    len: u32,
}

#[derive(Clone, Copy, Debug)]
enum Entry {
    Frame(Head),
    /// Its place among the tallies.
    Tally(usize),
}

/// Frames in one buffer, and tallies between them.
#[derive(Debug, Default)]
pub struct Batch {
    bytes: Vec<u8>,
    entries: Vec<Entry>,
    tallies: Vec<Tally>,
}

impl Batch {
    /// An empty batch with room for so many bytes.
    #[must_use]
    pub fn with_capacity(bytes: usize) -> Self {
        Self {
            bytes: Vec::with_capacity(bytes),
            entries: Vec::with_capacity(bytes / 128),
            tallies: Vec::new(),
        }
    }

    /// Copies a frame in. False, and nothing done, if the batch would pass 4 GiB.
    pub fn push(&mut self, frame: &Frame<'_>) -> bool {
        let (Ok(start), Ok(len)) = (u32::try_from(self.bytes.len()), u32::try_from(frame.bytes.len())) else {
            return false;
        };
        self.bytes.extend_from_slice(frame.bytes);
        self.entries.push(Entry::Frame(Head {
            at: frame.at,
            interface: frame.interface,
            direction: frame.direction,
            link: frame.link,
            original_len: frame.original_len,
            start,
            len,
        }));
        true
    }

    /// Puts a tally behind what is there. One that comes with a frame belongs before it.
    pub fn push_tally(&mut self, tally: Tally) {
        self.entries.push(Entry::Tally(self.tallies.len()));
        self.tallies.push(tally);
    }

    /// Frames and tallies, in their order.
    pub fn items(&self) -> impl Iterator<Item = Item<'_>> {
        self.entries.iter().filter_map(|entry| match entry {
            Entry::Frame(head) => Some(Item::Frame(self.frame(head))),
            Entry::Tally(place) => self.tallies.get(*place).map(Item::Tally),
        })
    }

    /// The frames alone, oldest first.
    pub fn frames(&self) -> impl Iterator<Item = Frame<'_>> {
        self.entries.iter().filter_map(|entry| match entry {
            Entry::Frame(head) => Some(self.frame(head)),
            Entry::Tally(_) => None,
        })
    }

    fn frame(&self, head: &Head) -> Frame<'_> {
        let bytes = self.bytes.get(head.start as usize..).and_then(|rest| rest.get(..head.len as usize));
        Frame {
            at: head.at,
            interface: head.interface,
            direction: head.direction,
            link: head.link,
            original_len: head.original_len,
            bytes: bytes.unwrap_or_default(),
        }
    }

    /// Number of frames and tallies.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// True without frames and tallies.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes of frames held.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }
}
