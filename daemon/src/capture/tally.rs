//! What a source tells of packets that it counted and did not hand up: the sum of one way of one connection on one device.
//!
//! A source that counts in the kernel hands up the frames that carry news alone. Every packet is in a frame or in exactly one
//! tally, so that sums stay exact; what a tally cannot say is listed in [`super::absent`].

use weir_cluster::UnixNanos;

use super::{Direction, InterfaceId};
use crate::tuple::Tuple;

/// Packets of one connection that passed one device one way and were counted, not handed up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tally {
    /// As those packets had it: from their source to their destination. Of a tunnel's packets, the inner one.
    pub tuple: Tuple,
    /// The device.
    pub interface: InterfaceId,
    /// Which way they passed it.
    pub direction: Direction,
    /// They were wrapped there.
    pub tunnelled: bool,
    /// When the first of them was captured.
    pub first: UnixNanos,
    /// When the last of them was.
    pub last: UnixNanos,
    /// Packets as the device carried them.
    pub packets: u64,
    /// Packets on the wire that these stand for.
    pub wire_packets: u64,
    /// Bytes from the (inner) IP header on.
    pub ip_bytes: u64,
    /// Bytes of the whole frames.
    pub frame_bytes: u64,
    /// Bytes of transport payload, as the decoder counts it.
    pub payload_bytes: u64,
    /// How far TCP came; None for other protocols.
    pub tcp: Option<Progress>,
}

/// Where the sender of a tally's segments stands after the last of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The sequence number that follows all it has sent.
    pub next: u32,
    /// When it got there by payload, which may be before the tally began.
    pub next_at: UnixNanos,
    /// What it acknowledged last, if `flags` have ACK.
    pub acknowledgement: u32,
    /// The window that it gave with that, as sent.
    pub window: u16,
    /// All flags of all the segments, as on the wire: FIN 1, SYN 2, RST 4, PSH 8, ACK 16 and so on.
    pub flags: u16,
}
