//! A seed turned into choices: the same seed, the same clusters and questions.
//!
//! SplitMix64 (Steele, Lea, Flood 2014): small, well mixed, and nobody's secret depends on it.

use std::time::{SystemTime, UNIX_EPOCH};

/// A source of choices.
#[derive(Debug)]
pub struct Draw {
    state: u64,
}

/// The seed of this run: `WEIR_SEED`, or the clock's nanoseconds, short enough to be typed.
pub fn chosen() -> u64 {
    std::env::var("WEIR_SEED").map_or_else(|_| fresh(), |seed| seed.parse().expect("WEIR_SEED is no number"))
}

fn fresh() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::from(since.subsec_nanos()) ^ (since.as_secs() & 0xf_ffff)
}

impl Draw {
    pub const fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// The next number.
    pub const fn number(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number in `0..limit`.
    pub fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.number() % limit as u64).unwrap()
    }

    /// True in so many of a hundred cases.
    pub fn chance(&mut self, of_hundred: usize) -> bool {
        self.below(100) < of_hundred
    }

    /// One of a list.
    pub fn one<T: Clone>(&mut self, list: &[T]) -> T {
        list[self.below(list.len())].clone()
    }

    /// One or two of a list, two different ones.
    pub fn few<T: Clone + PartialEq>(&mut self, list: &[T]) -> Vec<T> {
        let mut few = vec![self.one(list)];
        let other = self.one(list);
        if self.chance(40) && !few.contains(&other) {
            few.push(other);
        }
        few
    }
}
