//! Writes the Services as kube-proxy does, in the language that the world's kind asks for: text for `iptables-restore` or
//! `nft`, one for each family. Pure.

mod iptables;
mod nft;

use crate::kinds::Rules;
use crate::netns::Netns;
use crate::plan::{Node, Plan};
use crate::policies;
use anyhow::Result;

pub use iptables::affinity_list;
pub use nft::affinity_set;

/// Gives a node its rules: Services, masquerade, policies.
pub fn install(netns: &Netns, plan: &Plan, node: &Node) -> Result<()> {
    for family in plan.families() {
        match plan.kinds.services {
            Rules::Iptables => {
                netns.restore_rules(*family, &iptables::nat_rules(plan, node, *family))?;
                let policies = policies::iptables(plan, node, *family);
                netns.restore_rules(*family, &iptables::filter_rules(plan, &policies, *family))?;
            }
            Rules::Nft => {
                netns.load_nft(&nft::rules(plan, node, *family))?;
                netns.load_nft(&policies::nft(plan, node, *family))?;
            }
        }
    }
    Ok(())
}

/// FNV-1a, 64 bits, with a byte in front that makes several hashes of one text.
pub fn fnv(text: &str, salt: u8) -> u64 {
    std::iter::once(salt)
        .chain(text.bytes())
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// 16 letters of base 32 for a name, 80 bits of two rounds of FNV-1a: the form of kube-proxy's hashes.
fn letters(of: &str) -> String {
    const LETTERS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let (high, low) = (fnv(of, 0), fnv(of, 1));
    let mut bits = (u128::from(high) << 64) | u128::from(low);
    let mut name = String::new();
    for _ in 0..16 {
        let at = usize::try_from(bits & 31).unwrap_or(0);
        name.push(LETTERS.get(at).copied().map_or('A', char::from));
        bits >>= 5;
    }
    name
}
