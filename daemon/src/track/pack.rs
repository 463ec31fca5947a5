//! Values as few bytes, and back: how a connection is kept while nothing happens to it.
//!
//! Numbers take as many bytes as they need, a time is told by its distance from the one before it, and what is one of a few things
//! takes a few bits of a byte that it shares with the next such. The bytes stay within the process: a version of the format is nobody's concern. What is packed is
//! listed by [`packed!`] beside its type, field by field; a field that is forgotten there does not compile.

use std::net::{IpAddr, SocketAddr};

use smallvec::{Array, SmallVec};
use weir_cluster::UnixNanos;

use crate::capture::{Direction, InterfaceId, Role};
use crate::decode::{Opaque, TcpFlags, Tunnel, TunnelProtocol, Vlans};
use crate::tuple::{IpProtocol, Tuple};

mod connection;

/// Takes bytes.
#[derive(Debug, Default)]
pub(crate) struct Packer {
    bytes: Vec<u8>,
    time: u64,
    /// Place of the byte that takes bits, and how many it has room for.
    bits_at: usize,
    bits_left: u32,
}

/// Gives them back, in the same order. Past the end there are zeros: what was packed whole is unpacked whole.
#[derive(Debug)]
pub(crate) struct Unpacker<'a> {
    bytes: &'a [u8],
    time: u64,
    /// The byte that bits are taken from, and how many are left in it.
    bits: u8,
    bits_left: u32,
}

impl Packer {
    /// Begins anew, in the same room.
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        (self.time, self.bits_left) = (0, 0);
    }

    /// What was packed.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn byte(&mut self, byte: u8) {
        self.bytes.push(byte);
    }

    /// One of two things. The byte that takes it stands where its first bit was packed.
    fn bit(&mut self, bit: bool) {
        if self.bits_left == 0 {
            (self.bits_at, self.bits_left) = (self.bytes.len(), u8::BITS);
            self.byte(0);
        }
        self.bits_left -= 1;
        if let Some(byte) = self.bytes.get_mut(self.bits_at) {
            *byte |= u8::from(bit) << self.bits_left;
        }
    }

    /// One of `of` things.
    pub(crate) fn choice(&mut self, number: usize, of: usize) {
        for place in 0..bits_for(of) {
            self.bit(number >> place & 1 != 0);
        }
    }

    /// Seven bits a byte, the lowest first; the top bit says that more follow.
    fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.byte(number as u8 | 0x80);
            number >>= 7;
        }
        self.byte(number as u8);
    }
}

impl<'a> Unpacker<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, time: 0, bits: 0, bits_left: 0 }
    }

    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.bytes.split_first() else { return 0 };
        self.bytes = rest;
        *first
    }

    fn bit(&mut self) -> bool {
        if self.bits_left == 0 {
            (self.bits, self.bits_left) = (self.byte(), u8::BITS);
        }
        self.bits_left -= 1;
        self.bits >> self.bits_left & 1 != 0
    }

    pub(crate) fn choice(&mut self, of: usize) -> usize {
        (0..bits_for(of)).fold(0, |number, place| number | usize::from(self.bit()) << place)
    }

    fn number(&mut self) -> u64 {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte();
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                break;
            }
        }
        number
    }
}

/// Bits that tell so many things apart.
const fn bits_for(things: usize) -> u32 {
    usize::BITS - things.saturating_sub(1).leading_zeros()
}

/// What can be packed.
pub(crate) trait Packed: Sized {
    /// Appends itself.
    fn pack(&self, to: &mut Packer);
    /// Takes itself back.
    fn unpack(from: &mut Unpacker<'_>) -> Self;
}

macro_rules! numbers {
    ($($number:ty),*) => {
        $(impl Packed for $number {
            fn pack(&self, to: &mut Packer) {
                to.number(*self as u64);
            }

            fn unpack(from: &mut Unpacker<'_>) -> Self {
                from.number() as $number
            }
        })*
    };
}
numbers!(u16, u32, u64, usize);

impl Packed for u8 {
    fn pack(&self, to: &mut Packer) {
        to.byte(*self);
    }

    fn unpack(from: &mut Unpacker<'_>) -> Self {
        from.byte()
    }
}

impl Packed for bool {
    fn pack(&self, to: &mut Packer) {
        to.bit(*self);
    }

    fn unpack(from: &mut Unpacker<'_>) -> Self {
        from.bit()
    }
}

/// The distance from the time before: a step back is told by the lowest bit.
impl Packed for UnixNanos {
    fn pack(&self, to: &mut Packer) {
        let step = self.as_nanos().wrapping_sub(to.time).cast_signed();
        to.time = self.as_nanos();
        to.number((step << 1 ^ step >> 63).cast_unsigned());
    }

    fn unpack(from: &mut Unpacker<'_>) -> Self {
        let told = from.number();
        let step = told >> 1 ^ (told & 1).wrapping_neg();
        from.time = from.time.wrapping_add(step);
        Self::from_nanos(from.time)
    }
}

impl<T: Packed> Packed for Option<T> {
    fn pack(&self, to: &mut Packer) {
        self.is_some().pack(to);
        if let Some(value) = self {
            value.pack(to);
        }
    }

    fn unpack(from: &mut Unpacker<'_>) -> Self {
        bool::unpack(from).then(|| T::unpack(from))
    }
}

impl<T: Packed> Packed for Box<T> {
    fn pack(&self, to: &mut Packer) {
        T::pack(self, to);
    }

    fn unpack(from: &mut Unpacker<'_>) -> Self {
        Self::new(T::unpack(from))
    }
}

impl<T: Packed> Packed for Vec<T> {
    fn pack(&self, to: &mut Packer) {
        self.len().pack(to);
        self.iter().for_each(|value| value.pack(to));
    }

    fn unpack(from: &mut Unpacker<'_>) -> Self {
        (0..usize::unpack(from)).map(|_| T::unpack(from)).collect()
    }
}

impl<A: Array<Item: Packed>> Packed for SmallVec<A> {
    fn pack(&self, to: &mut Packer) {
        self.len().pack(to);
        self.iter().for_each(|value| value.pack(to));
    }

    fn unpack(from: &mut Unpacker<'_>) -> Self {
        (0..usize::unpack(from)).map(|_| A::Item::unpack(from)).collect()
    }
}

impl<A: Packed, B: Packed> Packed for (A, B) {
    fn pack(&self, to: &mut Packer) {
        self.0.pack(to);
        self.1.pack(to);
    }

    fn unpack(from: &mut Unpacker<'_>) -> Self {
        (A::unpack(from), B::unpack(from))
    }
}

impl<const N: usize> Packed for [u8; N] {
    fn pack(&self, to: &mut Packer) {
        to.bytes.extend_from_slice(self);
    }

    fn unpack(from: &mut Unpacker<'_>) -> Self {
        std::array::from_fn(|_| from.byte())
    }
}

impl Packed for IpAddr {
    fn pack(&self, to: &mut Packer) {
        self.is_ipv6().pack(to);
        match self {
            Self::V4(address) => address.octets().pack(to),
            Self::V6(address) => address.octets().pack(to),
        }
    }

    fn unpack(from: &mut Unpacker<'_>) -> Self {
        if bool::unpack(from) { <[u8; 16]>::unpack(from).into() } else { <[u8; 4]>::unpack(from).into() }
    }
}

/// Addresses of packets have neither scope nor flow label.
impl Packed for SocketAddr {
    fn pack(&self, to: &mut Packer) {
        (self.ip(), self.port()).pack(to);
    }

    fn unpack(from: &mut Unpacker<'_>) -> Self {
        <(IpAddr, u16)>::unpack(from).into()
    }
}

/// Lists what of a type is packed: all fields of a `struct`, in their order, those behind a `;` not being kept; or all values of
/// an `enum`.
macro_rules! packed {
    (struct $name:ident { $($field:ident),* $(; $($left:ident),*)? }) => {
        impl $crate::track::pack::Packed for $name {
            fn pack(&self, to: &mut $crate::track::pack::Packer) {
                let Self { $($field,)* $($($left: _,)*)? } = self;
                $($crate::track::pack::Packed::pack($field, to);)*
            }

            fn unpack(from: &mut $crate::track::pack::Unpacker<'_>) -> Self {
                $(let $field = $crate::track::pack::Packed::unpack(from);)*
                Self { $($field,)* $($($left: Default::default(),)*)? }
            }
        }
    };
    (struct $name:ident(_)) => {
        impl $crate::track::pack::Packed for $name {
            fn pack(&self, to: &mut $crate::track::pack::Packer) {
                $crate::track::pack::Packed::pack(&self.0, to);
            }

            fn unpack(from: &mut $crate::track::pack::Unpacker<'_>) -> Self {
                Self($crate::track::pack::Packed::unpack(from))
            }
        }
    };
    (enum $name:ident { $first:ident $(, $value:ident)* $(,)? }) => {
        impl $crate::track::pack::Packed for $name {
            fn pack(&self, to: &mut $crate::track::pack::Packer) {
                // Exhaustive, so that no value is forgotten.
                match self {
                    Self::$first $(| Self::$value)* => {}
                }
                let all = [Self::$first $(, Self::$value)*];
                let number = all.iter().position(|value| *value as u8 == *self as u8);
                to.choice(number.unwrap_or(0), all.len());
            }

            fn unpack(from: &mut $crate::track::pack::Unpacker<'_>) -> Self {
                let all = [Self::$first $(, Self::$value)*];
                all.get(from.choice(all.len())).copied().unwrap_or(Self::$first)
            }
        }
    };
}
pub(crate) use packed;

impl Packed for Vlans {
    fn pack(&self, to: &mut Packer) {
        self.ids().len().pack(to);
        self.ids().iter().for_each(|id| id.pack(to));
    }

    fn unpack(from: &mut Unpacker<'_>) -> Self {
        let mut vlans = Self::default();
        (0..usize::unpack(from)).for_each(|_| vlans.push(u16::unpack(from)));
        vlans
    }
}

impl<T: Packed> Packed for Box<[T]> {
    fn pack(&self, to: &mut Packer) {
        self.len().pack(to);
        self.iter().for_each(|value| value.pack(to));
    }

    fn unpack(from: &mut Unpacker<'_>) -> Self {
        Vec::unpack(from).into()
    }
}

packed!(struct IpProtocol(_));
packed!(struct Tuple { protocol, source, destination });
packed!(struct InterfaceId(_));
packed!(
    enum Role {
        Unknown,
        Loopback,
        Underlay,
        Bridge,
        Overlay,
        PodVeth,
    }
);
packed!(
    enum Direction {
        Inbound,
        Outbound,
        Unknown,
    }
);
packed!(struct TcpFlags(_));
packed!(
    enum TunnelProtocol {
        Vxlan,
        VxlanGpe,
        Geneve,
        Gre,
        Erspan,
        Mpls,
        IpIp,
        Sit,
        Ip6Ip6,
        IpIp6,
    }
);
packed!(
    enum Opaque {
        WireGuard,
        Esp,
    }
);
packed!(struct Tunnel { protocol, source, destination, source_port, destination_port, vni });

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn there_and_back<T: Packed>(value: &T) -> (T, usize) {
        let mut packer = Packer::default();
        value.pack(&mut packer);
        (T::unpack(&mut Unpacker::new(packer.bytes())), packer.bytes().len())
    }

    proptest! {
        #[test]
        fn what_is_packed_comes_back(
            numbers: Vec<u64>, times: Vec<u64>, ip: IpAddr, port: u16, maybe: Option<(u32, bool)>, mac: [u8; 6],
        ) {
            let times: Vec<UnixNanos> = times.into_iter().map(UnixNanos::from_nanos).collect();
            let end = SocketAddr::new(ip, port);
            let all = (((numbers, times), (end, maybe)), mac);
            prop_assert_eq!(&there_and_back(&all).0, &all);
        }
    }

    proptest! {
        #[test]
        fn choices_come_back_among_numbers(choices: Vec<(bool, u8, u64)>) {
            let mut packer = Packer::default();
            for (flag, choice, number) in &choices {
                flag.pack(&mut packer);
                packer.choice(usize::from(choice % 11), 11);
                number.pack(&mut packer);
            }
            let mut unpacker = Unpacker::new(packer.bytes());
            for (flag, choice, number) in choices {
                prop_assert_eq!(bool::unpack(&mut unpacker), flag);
                prop_assert_eq!(unpacker.choice(11), usize::from(choice % 11));
                prop_assert_eq!(u64::unpack(&mut unpacker), number);
            }
        }
    }

    #[test]
    fn things_take_the_bits_that_tell_them_apart() {
        assert_eq!([1, 2, 3, 4, 5, 9, 16, 17].map(bits_for), [0, 1, 2, 2, 3, 4, 4, 5]);
        assert_eq!(there_and_back(&vec![true; 16]).1, 1 + 2);
    }

    #[test]
    fn little_takes_little_room() {
        let at = UnixNanos::from_parts(1_700_000_000, 0);
        let times = vec![at, at, at.plus_nanos(1000), at];
        assert_eq!(there_and_back(&times).1, 1 + 9 + 1 + 2 + 2);
        assert_eq!(there_and_back(&(0_u64, None::<u64>)).1, 2);
    }
}
