//! pass@k: the chance that at least one of k samples is correct.

use serde::{Deserialize, Serialize};

use crate::intervals::{Interval, bootstrap_mean};

/// How many samples a question got and how many of them were correct.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Samples drawn.
    pub samples: usize,
    /// Samples whose verdict was `correct`.
    pub correct: usize,
}

impl Tally {
    /// Counts verdicts.
    pub fn of(verdicts: impl IntoIterator<Item = bool>) -> Self {
        verdicts.into_iter().fold(Self { samples: 0, correct: 0 }, |tally, correct| Self {
            samples: tally.samples + 1,
            correct: tally.correct + usize::from(correct),
        })
    }
}

/// The unbiased estimate of pass@k from `n` samples of which `c` are correct.
///
/// `1 - C(n - c, k) / C(n, k)`, computed as the product `1 - prod_{i = n-c+1}^{n} (1 - k / i)`, which neither
/// overflows nor cancels: Chen et al. 2021, "Evaluating Large Language Models Trained on Code", section 2.1
/// (<https://arxiv.org/abs/2107.03374>). With k = 1 it is `c / n`.
///
/// # Panics
/// If `k` is zero, `k > n` (no unbiased estimate exists), or `c > n`.
///
/// ```
/// // Of 4 samples 2 are correct. Of the 6 pairs, one holds no correct sample.
/// assert!((evaluation::pass_at_k(4, 2, 2) - 5.0 / 6.0).abs() < 1e-15);
/// ```
pub fn pass_at_k(n: usize, c: usize, k: usize) -> f64 {
    assert!(k >= 1, "pass@k needs k >= 1");
    assert!(k <= n, "pass@{k} has no unbiased estimate from {n} samples");
    assert!(c <= n, "{c} correct of {n} samples");
    if n - c < k {
        return 1.0;
    }
    if c == 0 {
        return 0.0;
    }
    1.0 - ((n - c + 1)..=n).map(|i| 1.0 - k as f64 / i as f64).product::<f64>()
}

/// pass@k of every question, in the order given: what the intervals of the `intervals` module resample.
///
/// # Panics
/// As [`pass_at_k`], for any of the questions.
pub fn pass_at_k_per_question(tallies: &[Tally], k: usize) -> Vec<f64> {
    tallies.iter().map(|tally| pass_at_k(tally.samples, tally.correct, k)).collect()
}

/// Mean pass@k over questions with a bootstrap interval over questions, for each of `ks`.
///
/// ```
/// use evaluation::{Tally, pass_curve};
/// let tallies = [Tally { samples: 4, correct: 1 }, Tally { samples: 4, correct: 3 }];
/// let curve = pass_curve(&tallies, &[1, 4], 0, 0.95);
/// assert_eq!(curve[0].0, 1);
/// assert_eq!(curve[0].1.mean, 0.5);
/// assert_eq!(curve[1].1.mean, 1.0);
/// ```
///
/// # Panics
/// As [`pass_at_k`].
pub fn pass_curve(tallies: &[Tally], ks: &[usize], seed: u64, level: f64) -> Vec<(usize, Interval)> {
    ks.iter().map(|&k| (k, bootstrap_mean(&pass_at_k_per_question(tallies, k), seed, level))).collect()
}

/// The powers of two up to `samples`, and `samples` itself: the usual points of a pass@k curve.
///
/// ```
/// assert_eq!(evaluation::usual_ks(12), [1, 2, 4, 8, 12]);
/// ```
pub fn usual_ks(samples: usize) -> Vec<usize> {
    let mut ks: Vec<usize> = (0..usize::BITS).map(|power| 1 << power).take_while(|&k| k <= samples).collect();
    if ks.last().is_some_and(|&last| last != samples) {
        ks.push(samples);
    }
    ks
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Every subset of size k counted by hand.
    fn by_enumeration(n: usize, c: usize, k: usize) -> f64 {
        let (mut hits, mut all) = (0u32, 0u32);
        for subset in 0u32..(1 << n) {
            if subset.count_ones() as usize == k {
                all += 1;
                hits += u32::from(subset & ((1 << c) - 1) != 0);
            }
        }
        f64::from(hits) / f64::from(all)
    }

    #[test]
    fn equals_enumeration_for_all_small_cases() {
        for n in 1..=9 {
            for c in 0..=n {
                for k in 1..=n {
                    assert!(
                        (pass_at_k(n, c, k) - by_enumeration(n, c, k)).abs() < 1e-12,
                        "n={n} c={c} k={k}: {} against {}",
                        pass_at_k(n, c, k),
                        by_enumeration(n, c, k)
                    );
                }
            }
        }
    }

    proptest! {
        #[test]
        fn grows_with_k_and_with_correct(n in 2usize..400, c in 0usize..400, k in 1usize..400) {
            let c = c % n;
            let k = k % (n - 1) + 1;
            let here = pass_at_k(n, c, k);
            prop_assert!((0.0..=1.0).contains(&here));
            prop_assert!(pass_at_k(n, c, k + 1) >= here);
            prop_assert!(pass_at_k(n, c + 1, k) >= here);
            prop_assert!((pass_at_k(n, c, 1) - c as f64 / n as f64).abs() < 1e-12);
        }
    }

    #[test]
    #[should_panic(expected = "no unbiased estimate")]
    fn refuses_more_draws_than_samples() {
        pass_at_k(4, 1, 5);
    }
}
