//! Seeded numbers, so that what was found with them can be found again.

/// A seeded source of numbers: `SplitMix64` (Steele, Lea, Flood, OOPSLA 2014). Fast, and good
/// enough wherever nobody attacks.
#[derive(Clone, Debug)]
pub struct Dice(pub u64);

impl Dice {
    /// The next number.
    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`, which is not 0. Small ends, so that the remainder favours nobody
    /// noticeably.
    pub fn below(&mut self, end: u64) -> u64 {
        self.roll() % end
    }
}
