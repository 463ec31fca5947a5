//! The tunnels that a connection's packets came in at one point of their way, each way apart.
//!
//! The answer's tunnel is not the question's turned round: its outer ports are another hash, and some networks give each
//! sender an identifier of its own (Cilium: the sender's identity). Bounded: packets of more tunnels than are told apart are
//! counted together.

use smallvec::SmallVec;

use super::connection::Way;
use super::pack::packed;
use crate::decode::{Packet, Tunnel};

/// Tunnels told apart at one point; a connection has one each way.
const MAX_TUNNELS: usize = 16;

/// One tunnel, and what came in it.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Which way the packets went.
    pub way: Way,
    /// The innermost wrapping, outer ports of the latest packet.
    pub tunnel: Tunnel,
    /// Wrappings around that one, outermost first.
    pub around: Box<[Tunnel]>,
    /// Packets in it.
    pub packets: u64,
    /// Their frames' bytes.
    pub frame_bytes: u64,
}

/// All tunnels at one point, in the order of their first packets.
#[derive(Clone, Debug, Default)]
pub struct Tunnels {
    /// One each way has room in place: its packets allocate nothing.
    seen: SmallVec<[Seen; 2]>,
    more: u64,
    /// That of the latest packet, there and back.
    latest: (Option<usize>, Option<usize>),
}

impl Tunnels {
    /// Counts a packet, if it came in a tunnel.
    pub(super) fn note(&mut self, packet: &Packet<'_>, way: Way) {
        let Some(tunnel) = packet.tunnel else { return };
        let same = |seen: &Seen| seen.way == way && is_same(&seen.tunnel, &tunnel);
        let found = self.seen.iter().position(same).or_else(|| self.begin(packet, tunnel, way));
        *self.latest(way) = found;
        let Some(seen) = found.and_then(|place| self.seen.get_mut(place)) else {
            self.more += 1;
            return;
        };
        seen.tunnel = tunnel;
        seen.packets += 1;
        seen.frame_bytes += u64::from(packet.frame_len);
    }

    /// Counts packets of which is known only that they came in a tunnel: that of the latest packet that went the same way.
    pub(super) fn add(&mut self, way: Way, packets: u64, frame_bytes: u64) {
        let latest = *self.latest(way);
        match latest.and_then(|place| self.seen.get_mut(place)) {
            Some(seen) => {
                seen.packets = seen.packets.saturating_add(packets);
                seen.frame_bytes = seen.frame_bytes.saturating_add(frame_bytes);
            }
            None => self.more = self.more.saturating_add(packets),
        }
    }

    const fn latest(&mut self, way: Way) -> &mut Option<usize> {
        match way {
            Way::Forward => &mut self.latest.0,
            Way::Reverse => &mut self.latest.1,
        }
    }

    fn begin(&mut self, packet: &Packet<'_>, tunnel: Tunnel, way: Way) -> Option<usize> {
        if self.seen.len() >= MAX_TUNNELS {
            return None;
        }
        let beyond = packet.wrappings.len().saturating_sub(1);
        let around = packet.wrappings.tunnels().take(beyond).collect();
        self.seen.push(Seen { way, tunnel, around, packets: 0, frame_bytes: 0 });
        Some(self.seen.len() - 1)
    }

    /// True where packets came bare.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.seen.is_empty() && self.more == 0
    }

    /// The tunnels.
    #[must_use]
    pub fn seen(&self) -> &[Seen] {
        &self.seen
    }

    /// Packets of tunnels beyond those that are told apart.
    #[must_use]
    pub const fn more(&self) -> u64 {
        self.more
    }

    /// The forward way's newest tunnel. Where only the answer was seen: its addresses turned round, without ports.
    #[must_use]
    pub fn forward(&self) -> Option<Tunnel> {
        let newest = |way| self.seen.iter().rev().find(|seen| seen.way == way).map(|seen| seen.tunnel);
        newest(Way::Forward).or_else(|| {
            let answer = newest(Way::Reverse)?;
            let (source, destination) = (answer.destination, answer.source);
            Some(Tunnel { source, destination, source_port: 0, ..answer })
        })
    }

    /// The ends have changed places.
    pub(super) fn flip(&mut self) {
        std::mem::swap(&mut self.latest.0, &mut self.latest.1);
        for seen in &mut self.seen {
            seen.way = match seen.way {
                Way::Forward => Way::Reverse,
                Way::Reverse => Way::Forward,
            };
        }
    }
}

packed!(struct Seen { way, tunnel, around, packets, frame_bytes });
packed!(struct Tunnels { seen, more, latest });

/// Ports are a hash of what is inside, and tell no tunnels apart.
fn is_same(one: &Tunnel, other: &Tunnel) -> bool {
    one.protocol == other.protocol
        && one.vni == other.vni
        && one.source == other.source
        && one.destination == other.destination
}
