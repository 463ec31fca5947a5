//! How large each ring is: at least the smallest, for as many devices as a node may have, and more while there is plenty.
//!
//! The smallest rings of 110 pods (kubelet's default limit) and of the devices that all traffic passes are set aside first.
//! Of what is to spare each device takes a part as it comes, the shared ones a larger part, so that a small node has large
//! rings and the last pod of a full one still has its own.
//!
//! The kernel hands over a block that has any frame in it when its time is over, full or not. So on a quiet device a ring of
//! so many blocks holds out so many retire times while the reader is kept from the CPU, however few the frames are: pods need
//! blocks rather than bytes, and devices that all traffic passes need bytes.

use crate::capture::Role;

/// A block of a TPACKET_V3 ring, as libpcap lays it out. A ring is a whole number of them.
pub const BLOCK: usize = 256 << 10;
/// While one block is read the kernel fills the other.
pub const SMALLEST: usize = 2 * BLOCK;
const LARGEST: usize = 8 << 20;
/// Two ways, two rings.
pub const RINGS_PER_DEVICE: usize = 2;
/// 110 pods, and an underlay, an overlay, a bridge and one more.
const EXPECTED_DEVICES: usize = 114;

/// Bytes of each of a device's two rings, when `devices` have taken `used` bytes; None if there is no room for it.
pub fn ring_bytes(budget: usize, used: usize, devices: usize, role: Role) -> Option<usize> {
    let left = budget.saturating_sub(used);
    let smallest = RINGS_PER_DEVICE * SMALLEST;
    let to_come = EXPECTED_DEVICES.saturating_sub(devices + 1);
    let spare = left.saturating_sub(smallest * (to_come + 1));
    let part = match role {
        Role::Underlay | Role::Overlay | Role::Bridge => 6,
        Role::PodVeth | Role::Loopback | Role::Unknown => 8,
    };
    let ring = (SMALLEST + spare / part / RINGS_PER_DEVICE).min(LARGEST) / BLOCK * BLOCK;
    (left >= smallest).then_some(ring)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEFAULT: usize = 160 << 20;

    #[test]
    fn the_default_budget_holds_a_full_node() {
        let roles = [Role::Underlay, Role::Overlay, Role::Bridge].into_iter().chain([Role::PodVeth; 111]);
        let mut used = 0;
        for (devices, role) in roles.enumerate() {
            let ring = ring_bytes(DEFAULT, used, devices, role).unwrap();
            assert!(ring >= SMALLEST && ring.is_multiple_of(BLOCK));
            used += RINGS_PER_DEVICE * ring;
        }
        assert!(used <= DEFAULT);
        assert!(ring_bytes(DEFAULT, 0, 0, Role::Underlay) > Some(4 << 20), "plenty for the first");
    }

    #[test]
    fn pods_of_a_small_node_hold_out_while_their_reader_waits_for_the_cpu() {
        let shared = [Role::Underlay, Role::Overlay, Role::Overlay, Role::Bridge];
        let mut used = 0;
        for (devices, role) in shared.into_iter().chain([Role::PodVeth; 10]).enumerate() {
            let ring = ring_bytes(DEFAULT, used, devices, role).unwrap();
            assert!(role != Role::PodVeth || ring >= 4 * BLOCK, "{ring} bytes for device {devices}");
            used += RINGS_PER_DEVICE * ring;
        }
    }

    #[test]
    fn the_budget_is_never_passed() {
        for budget in [0, BLOCK, SMALLEST, 1 << 20, 8 << 20, 1 << 30] {
            let (mut used, mut devices) = (0, 0);
            while let Some(ring) = ring_bytes(budget, used, devices, Role::Underlay) {
                used += RINGS_PER_DEVICE * ring;
                devices += 1;
            }
            assert!(used <= budget, "{used} of {budget}");
        }
        assert_eq!(ring_bytes(SMALLEST, 0, 0, Role::PodVeth), None);
    }
}
