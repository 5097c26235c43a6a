//! Random numbers that repeat: `SplitMix64` (Steele, Lea and Flood, 2014), from a seed.

pub struct Draw(u64);

impl Draw {
    pub fn new(seed: u64, stream: u64) -> Self {
        let mut draw = Self(seed ^ stream.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        draw.next();
        draw
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `bound`, which is small: what that leaves uneven is beyond measuring.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_draw_repeats_and_streams_differ() {
        let five = |stream| {
            let mut draw = Draw::new(7, stream);
            [0; 5].map(|_| draw.below(1_000))
        };
        assert_eq!(five(1), five(1));
        assert_ne!(five(1), five(2));
    }
}
