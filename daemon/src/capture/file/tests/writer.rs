//! Both formats, field by field, in both byte orders.

/// Writes fields in one byte order.
#[derive(Clone, Copy)]
pub(super) struct Writer {
    pub(super) big: bool,
}

impl Writer {
    pub(super) fn u16(self, value: u16) -> Vec<u8> {
        if self.big { value.to_be_bytes().to_vec() } else { value.to_le_bytes().to_vec() }
    }

    pub(super) fn u32(self, value: u32) -> Vec<u8> {
        if self.big { value.to_be_bytes().to_vec() } else { value.to_le_bytes().to_vec() }
    }

    pub(super) fn u64(self, value: u64) -> Vec<u8> {
        if self.big { value.to_be_bytes().to_vec() } else { value.to_le_bytes().to_vec() }
    }

    pub(super) fn words(self, words: &[u32]) -> Vec<u8> {
        words.iter().flat_map(|word| self.u32(*word)).collect()
    }

    pub(super) fn pcap(self, magic: u32, frames: &[(u32, u32, &[u8])]) -> Vec<u8> {
        let mut file = [self.u32(magic), self.u16(2), self.u16(4), self.words(&[0, 0, 262_144, 1])].concat();
        for (seconds, ticks, bytes) in frames {
            let len = u32::try_from(bytes.len()).unwrap();
            file.extend(self.words(&[*seconds, *ticks, len, len + 10]));
            file.extend(*bytes);
        }
        file
    }

    pub(super) fn block(self, kind: u32, body: &[u8]) -> Vec<u8> {
        let len = u32::try_from(body.len() + 12).unwrap();
        [self.words(&[kind, len]), body.to_vec(), self.u32(len)].concat()
    }

    pub(super) fn section(self) -> Vec<u8> {
        self.block(0x0a0d_0d0a, &[self.u32(0x1a2b_3c4d), self.u16(1), self.u16(0), vec![0xff; 8]].concat())
    }

    pub(super) fn option(self, code: u16, value: &[u8]) -> Vec<u8> {
        let mut padded = value.to_vec();
        padded.resize(value.len().next_multiple_of(4), 0);
        [self.u16(code), self.u16(u16::try_from(value.len()).unwrap()), padded].concat()
    }

    pub(super) fn interface(self, link: u16, snap_len: u32, options: &[Vec<u8>]) -> Vec<u8> {
        self.block(1, &[self.u16(link), self.u16(0), self.u32(snap_len), options.concat()].concat())
    }

    pub(super) fn packet(self, interface: u32, ticks: u64, bytes: &[u8], options: &[Vec<u8>]) -> Vec<u8> {
        let len = u32::try_from(bytes.len()).unwrap();
        let ticks = [u32::try_from(ticks >> 32).unwrap(), u32::try_from(ticks & 0xffff_ffff).unwrap()];
        let mut padded = bytes.to_vec();
        padded.resize(bytes.len().next_multiple_of(4), 0);
        let head = self.words(&[interface, ticks[0], ticks[1], len, len]);
        self.block(6, &[head, padded, options.concat()].concat())
    }
}

pub(super) const BOTH: [Writer; 2] = [Writer { big: false }, Writer { big: true }];
pub(super) const LITTLE: Writer = BOTH[0];
