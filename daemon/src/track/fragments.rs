//! The ports of a datagram's later pieces: only the first piece has them, all share addresses and identification
//! (RFC 791 section 3.2, RFC 8200 section 4.5).
//!
//! Bounded: the datagram begun longest ago is forgotten. A piece that overtook the first one finds nothing, and is counted as
//! belonging nowhere.

use std::collections::VecDeque;
use std::net::IpAddr;

use hashbrown::HashMap;
use weir_cluster::UnixNanos;

use super::SECOND;
use crate::decode::Packet;
use crate::tuple::{IpProtocol, Tuple};

/// Datagrams remembered.
const MAX_DATAGRAMS: usize = 4096;
/// Linux waits so long for the rest of a datagram (`net.ipv4.ipfrag_time`).
const LIFE_NS: u64 = 30 * SECOND;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Datagram {
    protocol: IpProtocol,
    source: IpAddr,
    destination: IpAddr,
    id: u32,
}

impl Datagram {
    fn of(packet: &Packet<'_>) -> Option<Self> {
        let Tuple { protocol, source, destination } = packet.tuple;
        Some(Self { protocol, source: source.ip(), destination: destination.ip(), id: packet.ip_id? })
    }
}

/// Datagrams whose first piece was seen, oldest first.
#[derive(Debug, Default)]
pub(super) struct Fragments {
    begun: HashMap<Datagram, (Tuple, UnixNanos)>,
    order: VecDeque<Datagram>,
}

impl Fragments {
    /// Remembers a first piece.
    pub(super) fn note(&mut self, first: &Packet<'_>) {
        let Some(datagram) = Datagram::of(first) else { return };
        if self.begun.insert(datagram, (first.tuple, first.at)).is_none() {
            self.order.push_back(datagram);
        }
        while self.order.len() > MAX_DATAGRAMS {
            if let Some(oldest) = self.order.pop_front() {
                self.begun.remove(&oldest);
            }
        }
    }

    /// Addresses and ports of the datagram that a later piece belongs to.
    pub(super) fn tuple_of(&self, later: &Packet<'_>) -> Option<Tuple> {
        let (tuple, at) = self.begun.get(&Datagram::of(later)?)?;
        (later.at.nanos_since(*at) <= LIFE_NS).then_some(*tuple)
    }
}
