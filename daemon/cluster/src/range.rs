//! The ranges that are the cluster's own: pod CIDRs, Service CIDRs and what the configuration adds.
//!
//! They tell a stranger outside from an address inside whose owner is not known. A range stays the cluster's when the
//! node it was given to goes: packets to its pods may still be under way, and the next node will get it.

use std::collections::{BTreeSet, HashSet};
use std::net::IpAddr;

use ipnet::IpNet;

/// More ranges than any cluster has nodes; beyond it further ones are counted and left out.
const MAX_RANGES: usize = 65_536;

/// A set of ranges.
#[derive(Debug, Default)]
pub(crate) struct Ranges {
    nets: HashSet<IpNet>,
    /// The prefix lengths that occur, by address family: few, so a look-up tries each.
    lengths: BTreeSet<(bool, u8)>,
    refused: u64,
}

impl Ranges {
    pub(crate) fn add(&mut self, net: IpNet) {
        let net = net.trunc();
        if self.nets.contains(&net) {
            return;
        }
        if self.nets.len() >= MAX_RANGES {
            self.refused += 1;
            return;
        }
        self.lengths.insert((net.addr().is_ipv4(), net.prefix_len()));
        self.nets.insert(net);
    }

    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        self.lengths
            .iter()
            .filter(|(is_ipv4, _)| *is_ipv4 == address.is_ipv4())
            .filter_map(|(_, length)| IpNet::new(address, *length).ok())
            .any(|net| self.nets.contains(&net.trunc()))
    }

    pub(crate) fn refused(&self) -> u64 {
        self.refused
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_found_in_ranges_of_different_lengths_and_families() {
        let mut ranges = Ranges::default();
        for net in ["10.244.1.0/24", "10.96.0.0/12", "fd00:1::/64"] {
            ranges.add(net.parse().unwrap());
        }
        for inside in ["10.244.1.255", "10.96.0.1", "10.111.255.255", "fd00:1::9"] {
            assert!(ranges.contains(inside.parse().unwrap()), "{inside}");
        }
        for outside in ["10.244.2.0", "10.112.0.0", "fd00:2::9", "::10.96.0.1"] {
            assert!(!ranges.contains(outside.parse().unwrap()), "{outside}");
        }
    }
}
