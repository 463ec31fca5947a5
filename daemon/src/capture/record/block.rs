//! Fields -> one pcapng block with its length before and behind it, in the machine's byte order.
//!
//! Netlink messages are in that order too, and a viewer assumes the section's for them.

use weir_cluster::UnixNanos;

/// A block being written at the end of a buffer.
pub(super) struct Block<'a> {
    out: &'a mut Vec<u8>,
    start: usize,
    options: bool,
}

impl<'a> Block<'a> {
    pub(super) fn begin(out: &'a mut Vec<u8>, kind: u32) -> Self {
        let start = out.len();
        Self { out, start, options: false }.u32(kind).u32(0)
    }

    fn bytes(self, bytes: &[u8]) -> Self {
        self.out.extend_from_slice(bytes);
        self
    }

    pub(super) fn u16(self, value: u16) -> Self {
        self.bytes(&value.to_ne_bytes())
    }

    pub(super) fn u32(self, value: u32) -> Self {
        self.bytes(&value.to_ne_bytes())
    }

    pub(super) fn u64(self, value: u64) -> Self {
        self.bytes(&value.to_ne_bytes())
    }

    /// A time of nanosecond resolution: upper half first, whatever the byte order.
    pub(super) fn time(self, at: UnixNanos) -> Self {
        let nanos = at.as_nanos();
        let half = |shift: u32| u32::try_from(nanos >> shift & u64::from(u32::MAX)).unwrap_or_default();
        self.u32(half(32)).u32(half(0))
    }

    /// Bytes, filled up to a multiple of four.
    pub(super) fn padded(self, bytes: &[u8]) -> Self {
        let padding = bytes.len().next_multiple_of(4) - bytes.len();
        self.bytes(bytes).bytes(&[0; 3][..padding])
    }

    /// An option; cut at the 65535 bytes that it can hold.
    pub(super) fn option(mut self, code: u16, value: &[u8]) -> Self {
        self.options = true;
        let len = u16::try_from(value.len()).unwrap_or(u16::MAX);
        self.u16(code).u16(len).padded(&value[..usize::from(len)])
    }

    /// Ends the options, and writes the length.
    pub(super) fn end(self) {
        let block = if self.options { self.u16(0).u16(0) } else { self };
        let len = u32::try_from(block.out.len() - block.start + 4).unwrap_or(u32::MAX).to_ne_bytes();
        if let Some(place) = block.out.get_mut(block.start + 4..block.start + 8) {
            place.copy_from_slice(&len);
        }
        block.out.extend_from_slice(&len);
    }
}
