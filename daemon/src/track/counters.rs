//! Counts of packets and bytes, each way.
//!
//! Plain sums: which sighting of a packet is counted is decided by who adds.

use super::connection::Way;
use super::pack::packed;

/// Counts of one way through one point.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Packets as the device carried them.
    pub packets: u64,
    /// Packets on the wire that these stand for, by the segment size.
    pub wire_packets: u64,
    /// Bytes from the IP header on.
    pub ip_bytes: u64,
    /// Bytes of the whole frames.
    pub frame_bytes: u64,
    /// Bytes of transport payload.
    pub payload_bytes: u64,
}

impl Counts {
    /// Adds one packet's counts, or a tally's. A recording may claim any number: a sum stops at the greatest.
    pub const fn add(&mut self, more: &Self) {
        self.packets = self.packets.saturating_add(more.packets);
        self.wire_packets = self.wire_packets.saturating_add(more.wire_packets);
        self.ip_bytes = self.ip_bytes.saturating_add(more.ip_bytes);
        self.frame_bytes = self.frame_bytes.saturating_add(more.frame_bytes);
        self.payload_bytes = self.payload_bytes.saturating_add(more.payload_bytes);
    }

    /// The greater of each count.
    #[must_use]
    pub fn at_least(&self, least: &Self) -> Self {
        Self {
            packets: self.packets.max(least.packets),
            wire_packets: self.wire_packets.max(least.wire_packets),
            ip_bytes: self.ip_bytes.max(least.ip_bytes),
            frame_bytes: self.frame_bytes.max(least.frame_bytes),
            payload_bytes: self.payload_bytes.max(least.payload_bytes),
        }
    }

    /// True if any count is greater.
    #[must_use]
    pub const fn exceeds(&self, other: &Self) -> bool {
        self.packets > other.packets
            || self.wire_packets > other.wire_packets
            || self.ip_bytes > other.ip_bytes
            || self.frame_bytes > other.frame_bytes
            || self.payload_bytes > other.payload_bytes
    }

    /// What was counted since `earlier`; 0 where a changed measuring point made it less.
    #[must_use]
    pub const fn since(&self, earlier: &Self) -> Self {
        Self {
            packets: self.packets.saturating_sub(earlier.packets),
            wire_packets: self.wire_packets.saturating_sub(earlier.wire_packets),
            ip_bytes: self.ip_bytes.saturating_sub(earlier.ip_bytes),
            frame_bytes: self.frame_bytes.saturating_sub(earlier.frame_bytes),
            payload_bytes: self.payload_bytes.saturating_sub(earlier.payload_bytes),
        }
    }
}

/// Counts of both ways.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// From the client.
    pub forward: Counts,
    /// From the server.
    pub reverse: Counts,
}

impl Counters {
    /// The counts of one way, to add to.
    pub const fn way(&mut self, way: Way) -> &mut Counts {
        match way {
            Way::Forward => &mut self.forward,
            Way::Reverse => &mut self.reverse,
        }
    }

    /// The counts of one way.
    #[must_use]
    pub const fn of(&self, way: Way) -> &Counts {
        match way {
            Way::Forward => &self.forward,
            Way::Reverse => &self.reverse,
        }
    }

    /// See [`Counts::since`].
    #[must_use]
    pub const fn since(&self, earlier: &Self) -> Self {
        Self { forward: self.forward.since(&earlier.forward), reverse: self.reverse.since(&earlier.reverse) }
    }

    /// The greater of each count.
    #[must_use]
    pub fn at_least(&self, least: &Self) -> Self {
        Self {
            forward: self.forward.at_least(&least.forward),
            reverse: self.reverse.at_least(&least.reverse),
        }
    }

    /// True if any count of either way is greater.
    #[must_use]
    pub const fn exceeds(&self, other: &Self) -> bool {
        self.forward.exceeds(&other.forward) || self.reverse.exceeds(&other.reverse)
    }

    /// Swaps the ways, when the client turns out to be the other end.
    pub const fn flip(&mut self) {
        std::mem::swap(&mut self.forward, &mut self.reverse);
    }
}

packed!(struct Counts { packets, wire_packets, ip_bytes, frame_bytes, payload_bytes });
packed!(struct Counters { forward, reverse });

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_of_anything_stops_at_the_greatest() {
        let most = Counts { packets: u64::MAX, frame_bytes: 7, ..Counts::default() };
        let mut sum = Counts { packets: 3, frame_bytes: 1, ..Counts::default() };
        sum.add(&most);
        assert_eq!((sum.packets, sum.frame_bytes), (u64::MAX, 8));
    }
}
