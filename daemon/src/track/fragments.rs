//! The connection of a datagram's later pieces: only the first piece has ports, all share addresses and identification
//! (RFC 791 section 3.2, RFC 8200 section 4.5). Of a tunnel's datagram, the first piece has the packet inside.
//!
//! A piece that overtook the first one waits for it. Bounded: the datagram begun longest ago is forgotten, and so is the piece
//! that waited longest; it belongs to no connection then.

use std::collections::VecDeque;

use hashbrown::HashMap;
use weir_cluster::UnixNanos;

use super::SECOND;
use crate::capture::Role;
use crate::decode::{DatagramId, Packet, Transport, Tunnel, Wrappings};
use crate::tuple::Tuple;

/// Datagrams remembered.
const MAX_DATAGRAMS: usize = 4096;
/// Pieces that wait for their first.
const MAX_EARLY: usize = 1024;
/// Linux waits so long for the rest of a datagram (`net.ipv4.ipfrag_time`).
const LIFE_NS: u64 = 30 * SECOND;

/// What the first piece told.
#[derive(Clone, Copy, Debug)]
struct Begun {
    tuple: Tuple,
    tunnel: Option<Tunnel>,
    at: UnixNanos,
}

/// A piece that came before its first, without its bytes.
#[derive(Clone, Copy, Debug)]
struct Early {
    datagram: DatagramId,
    piece: Packet<'static>,
    role: Role,
}

/// Datagrams whose first piece was seen, and pieces whose first was not, oldest first.
#[derive(Debug, Default)]
pub(super) struct Fragments {
    begun: HashMap<DatagramId, Begun>,
    order: VecDeque<DatagramId>,
    early: VecDeque<Early>,
}

impl Fragments {
    /// Remembers the first piece of a packet itself. What its pieces came in is seen of each: they pass devices bare and in tunnels.
    pub(super) fn note(&mut self, first: &Packet<'_>, datagram: DatagramId) {
        self.remember(datagram, Begun { tuple: first.tuple, tunnel: None, at: first.at });
    }

    /// Remembers the first piece of a tunnel's datagram around a packet: only there the tunnel's header is.
    pub(super) fn note_around(&mut self, first: &Packet<'_>, datagram: DatagramId) {
        self.remember(datagram, Begun { tuple: first.tuple, tunnel: first.tunnel, at: first.at });
    }

    fn remember(&mut self, datagram: DatagramId, begun: Begun) {
        if self.begun.insert(datagram, begun).is_none() {
            self.order.push_back(datagram);
        }
        while self.order.len() > MAX_DATAGRAMS {
            if let Some(oldest) = self.order.pop_front() {
                self.begun.remove(&oldest);
            }
        }
    }

    /// The later piece as one of the connection that its first piece belongs to.
    pub(super) fn belonging<'a>(&self, later: &Packet<'a>) -> Option<Packet<'a>> {
        let begun = self.begun.get(&later.datagram()?)?;
        let alive = later.at.nanos_since(begun.at) <= LIFE_NS;
        alive.then_some(Packet { tuple: begun.tuple, tunnel: begun.tunnel.or(later.tunnel), ..*later })
    }

    /// Keeps a piece whose first has not come. How many pieces wait no longer: the oldest had to go.
    pub(super) fn wait(&mut self, later: &Packet<'_>, role: Role) -> u64 {
        let Some(datagram) = later.datagram() else {
            return 1;
        };
        self.early.push_back(Early { datagram, piece: without_bytes(later), role });
        if self.early.len() <= MAX_EARLY {
            return 0;
        }
        self.early.pop_front();
        1
    }

    /// Pieces of this datagram that came before.
    pub(super) fn arrived(&mut self, datagram: DatagramId, at: UnixNanos) -> Vec<(Packet<'static>, Role)> {
        let mut arrived = Vec::new();
        self.early.retain(|early| {
            let mine = early.datagram == datagram && at.nanos_since(early.piece.at) <= LIFE_NS;
            if mine {
                arrived.push((early.piece, early.role));
            }
            !mine
        });
        arrived
    }

    /// How many pieces have waited too long, and wait no longer.
    pub(super) fn expire(&mut self, now: UnixNanos) -> u64 {
        let mut expired = 0;
        while self.early.front().is_some_and(|early| now.nanos_since(early.piece.at) > LIFE_NS) {
            self.early.pop_front();
            expired += 1;
        }
        expired
    }
}

fn without_bytes(packet: &Packet<'_>) -> Packet<'static> {
    let payload_len = match packet.transport {
        Transport::Other { payload_len } => payload_len,
        _ => 0,
    };
    Packet {
        at: packet.at,
        interface: packet.interface,
        direction: packet.direction,
        frame_len: packet.frame_len,
        ethernet: packet.ethernet,
        tuple: packet.tuple,
        ip_len: packet.ip_len,
        ip_id: packet.ip_id,
        ttl: packet.ttl,
        fragment: packet.fragment,
        transport: Transport::Other { payload_len },
        vlans: packet.vlans,
        tunnel: packet.tunnel,
        wrappings: Wrappings::default(),
        opaque: packet.opaque,
        truncated: packet.truncated,
    }
}
