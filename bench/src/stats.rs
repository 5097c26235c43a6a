//! Medians and how sure they are.
//!
//! The interval of a median is made of order statistics: of n independent runs, the true median
//! lies between the k-th smallest and the k-th largest with a probability that is binomial and
//! takes nothing for granted about how the runs scatter. With few runs no interval reaches 95 %;
//! then it is the widest, and its confidence says so.

use serde::{Deserialize, Serialize};

/// What an interval aims at.
const CONFIDENCE: f64 = 0.95;

/// A median with the interval that it lies in.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Median {
    pub value: f64,
    pub low: f64,
    pub high: f64,
    /// The probability that the true median lies between `low` and `high`.
    pub confidence: f64,
}

impl Median {
    /// `None` of nothing.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<f64> = values.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let n = sorted.len();
        let middle = sorted.get(n / 2)?;
        let value = if n.is_multiple_of(2) {
            f64::midpoint(sorted[n / 2 - 1], *middle)
        } else {
            *middle
        };
        let (outside, confidence) = interval(n);
        Some(Self {
            value,
            low: sorted[outside],
            high: sorted[n - 1 - outside],
            confidence,
        })
    }
}

/// How many of `n` sorted values to leave out at each end, and the confidence of the rest.
fn interval(n: usize) -> (usize, f64) {
    // The true median is below the k-th smallest with the probability of fewer than k heads in n
    // tosses of a coin; likewise at the other end.
    let mut below = 0.0;
    let mut term = 0.5_f64.powi(i32::try_from(n).unwrap_or(i32::MAX));
    let mut best = None;
    for outside in 0..n.div_ceil(2) {
        below += term;
        let confidence = (1.0 - 2.0 * below).max(0.0);
        if best.is_none() || confidence >= CONFIDENCE {
            best = Some((outside, confidence));
        }
        term *= (n - outside) as f64 / (outside + 1) as f64;
    }
    best.unwrap_or((0, 0.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_odd_and_even_many() {
        let value = |values: &[f64]| Median::of(values.iter().copied()).unwrap().value;
        assert!((value(&[3.0, 1.0, 2.0]) - 2.0).abs() < 1e-9);
        assert!((value(&[4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < 1e-9);
        assert_eq!(Median::of([]), None);
    }

    #[test]
    fn few_runs_give_the_widest_interval_and_say_so() {
        let median = Median::of([1.0, 2.0, 3.0, 4.0, 5.0]).unwrap();
        assert_eq!((median.low, median.high), (1.0, 5.0));
        assert!((median.confidence - 0.9375).abs() < 1e-9);
        let one = Median::of([7.0]).unwrap();
        assert_eq!((one.low, one.high, one.confidence), (7.0, 7.0, 0.0));
    }

    #[test]
    fn intervals_are_those_of_the_tables() {
        // Order statistics for the median at 95 %, as printed in statistical tables.
        for (n, k) in [
            (6, 1),
            (8, 1),
            (9, 2),
            (12, 3),
            (15, 4),
            (20, 6),
            (25, 8),
            (30, 10),
        ] {
            let (outside, confidence) = interval(n);
            assert_eq!(outside + 1, k, "n = {n}");
            assert!(confidence >= CONFIDENCE);
        }
    }

    #[test]
    fn the_interval_holds_the_true_median_as_often_as_it_says() {
        // A small generator (Knuth's MMIX constants) with a fixed seed, squared to be skewed.
        let mut state = 42_u64;
        let mut next = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            ((state >> 11) as f64 / (1_u64 << 53) as f64).powi(2)
        };
        let hits = (0..4_000).filter(|_| {
            let median = Median::of((0..9).map(|_| next())).unwrap();
            (median.low..=median.high).contains(&0.25)
        });
        let share = hits.count() as f64 / 4_000.0;
        let said = Median::of((0..9).map(f64::from)).unwrap().confidence;
        assert!((share - said).abs() < 0.015, "{share} against {said}");
    }
}
