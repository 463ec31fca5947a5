//! A seed turned into choices: names, addresses and ports that differ from run to run and are the same for the same seed.
//!
//! SplitMix64 (Steele, Lea, Flood 2014): small, well mixed, and nobody's secret depends on it.

use std::time::{SystemTime, UNIX_EPOCH};

/// Letters and digits that Kubernetes uses in generated names: no vowels, nothing that looks like something else.
const NAME_LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// A source of choices.
#[derive(Debug)]
pub struct Draw {
    state: u64,
}

/// A seed that no earlier run has had: the clock's nanoseconds, short enough to be typed.
pub fn fresh_seed() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Draw::new(u64::try_from(since.as_nanos() % u128::from(u64::MAX)).unwrap_or(1)).below(1_000_000_000)
}

impl Draw {
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number in `0..limit`; 0 where the limit is 0.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.next().checked_rem(limit).unwrap_or(0)
    }

    /// A number in `low..=high`.
    pub fn byte(&mut self, low: u8, high: u8) -> u8 {
        let span = u64::from(high.saturating_sub(low)) + 1;
        low.saturating_add(u8::try_from(self.below(span)).unwrap_or(0))
    }

    /// A port in `low..=high`.
    pub fn port(&mut self, low: u16, high: u16) -> u16 {
        let span = u64::from(high.saturating_sub(low)) + 1;
        low.saturating_add(u16::try_from(self.below(span)).unwrap_or(0))
    }

    /// So many different entries of a list, in drawn order; fewer where the list has fewer.
    pub fn several<T: Copy>(&mut self, list: &[T], count: usize) -> Vec<T> {
        let mut left = list.to_vec();
        let mut drawn = Vec::with_capacity(count);
        while drawn.len() < count && !left.is_empty() {
            let at = usize::try_from(self.below(left.len() as u64)).unwrap_or(0);
            drawn.push(left.swap_remove(at));
        }
        drawn
    }

    /// So many different numbers of `low..=high`.
    pub fn several_bytes(&mut self, low: u8, high: u8, count: usize) -> Vec<u8> {
        let all: Vec<u8> = (low..=high).collect();
        self.several(&all, count)
    }

    /// The random end of a generated Kubernetes name.
    pub fn name_suffix(&mut self, length: usize) -> String {
        (0..length)
            .map(|_| {
                let at = usize::try_from(self.below(NAME_LETTERS.len() as u64)).unwrap_or(0);
                NAME_LETTERS.get(at).copied().map_or('x', char::from)
            })
            .collect()
    }

    /// Hexadecimal digits, as CNI plugins name veths.
    pub fn hex(&mut self, length: usize) -> String {
        (0..length).map(|_| char::from_digit(u32::from(self.byte(0, 15)), 16).unwrap_or('0')).collect()
    }

    /// A locally administered unicast MAC address.
    pub fn mac(&mut self) -> String {
        let tail: Vec<String> = (0..5).map(|_| format!("{:02x}", self.byte(0, 255))).collect();
        format!("{:02x}:{}", (self.byte(0, 255) & 0xfc) | 0x02, tail.join(":"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_draws_the_same() {
        let (mut one, mut other) = (Draw::new(7), Draw::new(7));
        assert_eq!(one.name_suffix(20), other.name_suffix(20));
        assert_eq!(one.mac(), other.mac());
        assert_ne!(Draw::new(8).name_suffix(20), Draw::new(7).name_suffix(20));
    }

    #[test]
    fn several_are_different_ones_within_the_limits() {
        let mut drawn = Draw::new(1).several_bytes(10, 20, 11);
        drawn.sort_unstable();
        assert_eq!(drawn, (10..=20).collect::<Vec<u8>>());
    }
}
