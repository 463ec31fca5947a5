//! Numbers that look drawn: the same from run to run and from machine to machine.

use std::ops::Range;

/// SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014).
pub struct Draw(u64);

impl Draw {
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Evenly from a range.
    pub const fn within(&mut self, range: Range<u64>) -> u64 {
        range.start + self.next() % (range.end - range.start)
    }

    /// Mostly little and seldom much (Pareto, exponent 1), between `least` and `most`.
    pub fn heavy(&mut self, least: u32, most: u32) -> u32 {
        let share = (self.next() >> 40) as u32 + 1;
        let drawn = u64::from(least) * (1 << 24) / u64::from(share);
        drawn.min(u64::from(most)) as u32
    }
}
