//! Bytes from the fuzzer as a script: numbers and pieces read one after another, nothing once it is used up.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use weir_daemon::tuple::{IpProtocol, Tuple};

/// What is left of the fuzzer's bytes.
pub(crate) struct Script<'a>(&'a [u8]);

impl<'a> Script<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) const fn is_over(&self) -> bool {
        self.0.is_empty()
    }

    /// All that is left.
    pub(crate) fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }

    pub(crate) fn take(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        taken
    }

    pub(crate) fn u8(&mut self) -> u8 {
        self.take(1).first().copied().unwrap_or_default()
    }

    pub(crate) fn u16(&mut self) -> u16 {
        u16::from_be_bytes([self.u8(), self.u8()])
    }

    pub(crate) fn u32(&mut self) -> u32 {
        u32::from(self.u16()) << 16 | u32::from(self.u16())
    }

    pub(crate) fn u64(&mut self) -> u64 {
        u64::from(self.u32()) << 32 | u64::from(self.u32())
    }

    /// One of these.
    pub(crate) fn pick<T: Copy>(&mut self, of: &[T]) -> Option<T> {
        let at = usize::from(self.u8()).checked_rem(of.len())?;
        of.get(at).copied()
    }

    /// Up to 255 bytes, by a length before them.
    pub(crate) fn piece(&mut self) -> &'a [u8] {
        let len = usize::from(self.u8());
        self.take(len)
    }

    /// A tuple of few addresses and ports, so that two of them often meet.
    pub(crate) fn tuple(&mut self) -> Tuple {
        let protocols = [6, 17, 1, 58, 132, 4, 47, 50];
        let protocol = IpProtocol(self.pick(&protocols).unwrap_or(6));
        let wide = self.u8().is_multiple_of(4);
        let (source, destination) = (self.end(wide), self.end(wide));
        Tuple::new(protocol, (source.ip(), source.port()), (destination.ip(), destination.port()))
    }

    fn end(&mut self, wide: bool) -> SocketAddr {
        let (last, port) = (self.u8() % 8, self.u8() % 8);
        let ip = if wide {
            IpAddr::V6(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, last.into()))
        } else {
            IpAddr::V4(Ipv4Addr::new(10, 244, last % 2, last))
        };
        SocketAddr::new(ip, [53, 80, 8472, 4789, 40_000, 40_001, 0, 443][usize::from(port)])
    }
}
