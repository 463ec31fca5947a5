//! How much of each connection is looked at: everything, or less where everything would cost the node too much.
//!
//! The order is declared once, here: each level leaves out what the one before it does, and one thing more. What is left out
//! is said on flows and in the status; packets and bytes of what is looked at stay exact on every level but the last.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use crate::tuple::Tuple;

/// A level, from everything to the least.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Detail {
    /// All that there is.
    #[default]
    Full,
    /// Messages of application protocols are not read.
    NoPayload,
    /// Nor is what single segments of TCP say: sent again, out of order, acknowledged twice, no room.
    NoTiming,
    /// Of new connections one in [`SAMPLE`] is followed, the others are counted as packets.
    Sampled,
    /// No connection is followed: packets are counted.
    CountersOnly,
}

/// On level [`Detail::Sampled`] one connection in so many is followed.
pub const SAMPLE: u32 = 16;

impl Detail {
    /// All of them, from everything to the least.
    pub const ALL: [Self; 5] =
        [Self::Full, Self::NoPayload, Self::NoTiming, Self::Sampled, Self::CountersOnly];

    /// Its number: 0 is everything. The programs in the kernel know it by this.
    #[must_use]
    pub const fn level(self) -> u32 {
        self as u32
    }

    /// Of its number; the least of everything for a greater one.
    #[must_use]
    pub fn of_level(level: u32) -> Self {
        let index = usize::try_from(level).unwrap_or(usize::MAX);
        Self::ALL.get(index).copied().unwrap_or(Self::CountersOnly)
    }

    /// The next one that costs less; itself where there is none.
    #[must_use]
    pub fn less(self) -> Self {
        Self::of_level(self.level() + 1)
    }

    /// The next one that tells more; itself where there is none.
    #[must_use]
    pub fn more(self) -> Self {
        Self::of_level(self.level().saturating_sub(1))
    }
}

impl fmt::Display for Detail {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => out.write_str("everything is looked at"),
            Self::NoPayload => out.write_str("messages of application protocols are not read"),
            Self::NoTiming => {
                out.write_str("neither messages nor retransmissions, order and windows of TCP are looked at")
            }
            Self::Sampled => {
                write!(out, "one new connection in {SAMPLE} is followed, the others are only counted")
            }
            Self::CountersOnly => out.write_str("no connection is followed, packets are only counted"),
        }
    }
}

/// True for a connection that is followed where only some are. By the end with the greater port, which is most often the
/// client, so that the forms of a connection before and behind a Service's address are judged alike, and on all nodes. The
/// programs in the kernel (`daemon/ebpf`) reckon the same.
#[must_use]
pub fn is_in_sample(tuple: Tuple) -> bool {
    let (source, destination) = (tuple.source, tuple.destination);
    let end = if (source.port(), destination.ip()) > (destination.port(), source.ip()) {
        source
    } else {
        destination
    };
    let hash = u32::from(end.port())
        .wrapping_mul(0x9e37_79b1)
        .wrapping_add(last_word(end).wrapping_mul(0x85eb_ca6b));
    hash >> (u32::BITS - SAMPLE.trailing_zeros()) == 0
}

/// The last four bytes of its address.
fn last_word(end: SocketAddr) -> u32 {
    match end.ip() {
        IpAddr::V4(address) => address.to_bits(),
        IpAddr::V6(address) => (address.to_bits() & u128::from(u32::MAX)) as u32,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_in_sixteen_is_followed_whichever_way_its_packet_goes_and_whoever_answers() {
        let mut followed = 0;
        for port in 30_000..40_000_u16 {
            let client = (IpAddr::from([10, 1, 2, 3]), port);
            let by_service =
                Tuple::new(crate::tuple::IpProtocol::TCP, client, (IpAddr::from([10, 96, 0, 1]), 80));
            let by_pod =
                Tuple::new(crate::tuple::IpProtocol::TCP, client, (IpAddr::from([10, 1, 7, 9]), 8080));
            let all = [by_service, by_service.reversed(), by_pod, by_pod.reversed()].map(is_in_sample);
            assert!(all.iter().all(|one| *one == all[0]), "{port}: {all:?}");
            followed += u32::from(all[0]);
        }
        assert!((500..=750).contains(&followed), "{followed} of 10,000");
    }

    #[test]
    fn levels_are_numbered_in_their_order() {
        for (level, detail) in (0..).zip(Detail::ALL) {
            assert_eq!((detail.level(), Detail::of_level(level)), (level, detail));
        }
        assert_eq!(Detail::Full.more(), Detail::Full);
        assert_eq!(Detail::CountersOnly.less(), Detail::CountersOnly);
        assert_eq!(Detail::NoTiming.less(), Detail::Sampled);
        assert_eq!(Detail::NoTiming.more(), Detail::NoPayload);
        assert_eq!(Detail::of_level(u32::MAX), Detail::CountersOnly);
    }
}
