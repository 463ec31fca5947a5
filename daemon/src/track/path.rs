//! A device on a connection's way through the node, and where along that way it lies.

use weir_cluster::UnixNanos;

use super::connection::{Counters, Way};
use super::pack::packed;
use super::tunnels::Tunnels;
use crate::capture::{Direction, InterfaceId, Role};
use crate::decode::{TcpFlags, Vlans};

/// A device where the connection was seen, in one form and one wrapping.
#[derive(Clone, Debug)]
pub struct PathPoint {
    /// The device.
    pub interface: InterfaceId,
    /// Its role.
    pub role: Role,
    /// Which form of the addresses, an index into [`Connection::forms`].
    pub form: usize,
    /// The encapsulations there; empty where packets came bare.
    pub tunnels: Tunnels,
    /// VLAN identifiers there, of the latest packet.
    pub vlans: Vlans,
    /// How the forward direction passes the device.
    pub forward_direction: Direction,
    /// How the reverse direction passes it: the opposite, but on loopback.
    pub reverse_direction: Direction,
    /// First packet here.
    pub first: UnixNanos,
    /// Last packet here.
    pub last: UnixNanos,
    /// What passed.
    pub counters: Counters,
    /// All TCP flags that passed, there and back.
    pub(super) flags: (TcpFlags, TcpFlags),
}

impl PathPoint {
    /// How far along the forward way through the node the point lies: by role and direction, never by the order of sight, which
    /// differs from run to run when two devices' frames come microseconds apart.
    #[must_use]
    pub const fn position(&self) -> u8 {
        match (self.forward_direction, self.role) {
            (Direction::Inbound, Role::Overlay) => 1,
            (Direction::Inbound, Role::Bridge) => 2,
            (Direction::Inbound, _) => 0,
            (Direction::Unknown, _) => UNKNOWN_POSITION,
            (Direction::Outbound, Role::Bridge) => 4,
            (Direction::Outbound, Role::Overlay) => 5,
            (Direction::Outbound, _) => 6,
        }
    }

    pub(super) const fn direction_of(&self, way: Way) -> Direction {
        match way {
            Way::Forward => self.forward_direction,
            Way::Reverse => self.reverse_direction,
        }
    }

    /// Takes a direction for a way of which no packet was seen here yet. False if one was.
    pub(super) const fn adopt(&mut self, way: Way, direction: Direction) -> bool {
        let (seen, known) = match way {
            Way::Forward => (self.counters.forward.packets, &mut self.forward_direction),
            Way::Reverse => (self.counters.reverse.packets, &mut self.reverse_direction),
        };
        if seen == 0 {
            *known = direction;
        }
        seen == 0
    }

    /// Order along the forward way; of equals, the earlier in time.
    #[must_use]
    pub const fn along(&self) -> (u8, UnixNanos) {
        (self.position(), self.first)
    }
}

/// Between what came in and what goes out: where the kernel's log stands.
pub(super) const UNKNOWN_POSITION: u8 = 3;

packed!(struct PathPoint {
    interface, role, form, tunnels, vlans, forward_direction, reverse_direction, first, last, counters, flags
});
