//! Intervals and paired comparisons: how sure the numbers are.
//!
//! Two kinds of spread matter and are kept apart. *Over questions* (one trained model, other questions might have
//! been asked): the percentile bootstrap. *Over seeds* (the whole training run again): a t interval on paired
//! differences, because seeds are few. Every random draw comes from a ChaCha8 stream of the seed given, so the same
//! input gives the same interval everywhere.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Deserializer, Serialize};
use statrs::distribution::{ContinuousCDF, StudentsT};

/// How often the bootstrap resamples. The Monte Carlo error of a 95 % end point is then about a hundredth of the
/// interval's width.
pub const RESAMPLES: usize = 10_000;

/// A mean with an interval around it. Serialises as `{"mean", "lo", "hi"}`; a value that does not exist is NaN here
/// and `null` there.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// The point estimate.
    #[serde(deserialize_with = "null_is_nan")]
    pub mean: f64,
    /// Lower end.
    #[serde(deserialize_with = "null_is_nan")]
    pub lo: f64,
    /// Upper end.
    #[serde(deserialize_with = "null_is_nan")]
    pub hi: f64,
}

fn null_is_nan<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Ok(Option::<f64>::deserialize(deserializer)?.unwrap_or(f64::NAN))
}

impl Interval {
    /// No data: three NaNs.
    pub const NONE: Self = Self { mean: f64::NAN, lo: f64::NAN, hi: f64::NAN };

    /// A value without spread.
    pub fn point(value: f64) -> Self {
        Self { mean: value, lo: value, hi: value }
    }

    /// Whether this interval lies wholly above the other: "intervals apart".
    pub fn above(&self, other: &Self) -> bool {
        self.lo > other.hi
    }

    /// Whether `value` lies inside, ends included.
    pub fn contains(&self, value: f64) -> bool {
        self.lo <= value && value <= self.hi
    }
}

impl std::fmt::Display for Interval {
    /// `0.512 [0.480, 0.544]`; the precision asked for applies to all three.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let digits = f.precision().unwrap_or(3);
        write!(f, "{:.digits$} [{:.digits$}, {:.digits$}]", self.mean, self.lo, self.hi)
    }
}

fn check_level(level: f64) {
    assert!(level > 0.0 && level < 1.0, "an interval's level lies strictly between 0 and 1, found {level}");
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Linear interpolation between order statistics (R's type 7, NumPy's default). `sorted` is ascending, not empty.
fn quantile(sorted: &[f64], q: f64) -> f64 {
    let position = q * (sorted.len() - 1) as f64;
    let below = position.floor() as usize;
    let above = (below + 1).min(sorted.len() - 1);
    sorted[below] + (position - below as f64) * (sorted[above] - sorted[below])
}

fn percentiles(estimate: f64, mut resampled: Vec<f64>, level: f64) -> Interval {
    resampled.sort_by(f64::total_cmp);
    let tail = (1.0 - level) / 2.0;
    Interval { mean: estimate, lo: quantile(&resampled, tail), hi: quantile(&resampled, 1.0 - tail) }
}

/// The mean of one value per question with a percentile bootstrap interval over questions.
///
/// [`RESAMPLES`] resamples of all questions with replacement; the ends are the `(1 - level) / 2` quantiles of their
/// means (the percentile method: Efron and Tibshirani 1993, chapter 13). It says nothing about the spread over
/// training seeds. Empty input gives [`Interval::NONE`]; equal values an interval of width zero.
///
/// ```
/// use evaluation::bootstrap_mean;
/// let per_question = [1.0, 0.0, 0.5, 1.0, 0.0, 0.5, 1.0, 0.0];
/// let interval = bootstrap_mean(&per_question, 7, 0.95);
/// assert_eq!(interval.mean, 0.5);
/// assert!(interval.lo > 0.15 && interval.lo < 0.5 && interval.hi < 0.85);
/// assert_eq!(interval, bootstrap_mean(&per_question, 7, 0.95));
/// ```
///
/// # Panics
/// If `level` is not strictly between 0 and 1.
pub fn bootstrap_mean(per_question: &[f64], seed: u64, level: f64) -> Interval {
    check_level(level);
    if per_question.is_empty() {
        return Interval::NONE;
    }
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let n = per_question.len();
    let resampled = (0..RESAMPLES)
        .map(|_| (0..n).map(|_| per_question[random.random_range(0..n)]).sum::<f64>() / n as f64)
        .collect();
    percentiles(mean(per_question), resampled, level)
}

/// A share of pooled events, such as "combining solutions among the correct ones", with a percentile bootstrap
/// interval over questions.
///
/// Each item is one question's `(numerator, denominator)`; the estimate is sum over sum, and questions are resampled
/// as wholes, so that several samples of one question do not pass for independent ones. [`Interval::NONE`] when the
/// denominators sum to zero; resamples with a zero denominator are left out.
///
/// # Panics
/// If `level` is not strictly between 0 and 1.
pub fn bootstrap_ratio(per_question: &[(f64, f64)], seed: u64, level: f64) -> Interval {
    check_level(level);
    let ratio = |(top, bottom): (f64, f64)| if bottom == 0.0 { f64::NAN } else { top / bottom };
    let add = |sum: (f64, f64), item: &(f64, f64)| (sum.0 + item.0, sum.1 + item.1);
    let estimate = ratio(per_question.iter().fold((0.0, 0.0), add));
    if estimate.is_nan() {
        return Interval::NONE;
    }
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let n = per_question.len();
    let resampled: Vec<f64> = (0..RESAMPLES)
        .map(|_| ratio((0..n).fold((0.0, 0.0), |sum, _| add(sum, &per_question[random.random_range(0..n)]))))
        .filter(|value| value.is_finite())
        .collect();
    percentiles(estimate, resampled, level)
}

/// A paired difference, resampled over questions. See [`paired_bootstrap`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct PairedBootstrap {
    /// The mean difference `a - b` and its interval.
    #[serde(flatten)]
    pub difference: Interval,
    /// Two-sided bootstrap p value: twice the smaller share of resampled means at or beyond zero, at most 1.
    pub p: f64,
}

/// The difference of two systems on the same questions, with a percentile bootstrap interval over questions.
///
/// `a[i]` and `b[i]` belong to the same question; pairing removes the spread in difficulty. Empty input gives NaNs.
/// The p value is `2 (1 + #{beyond zero}) / (1 + RESAMPLES)`, never exactly zero.
///
/// # Panics
/// If the lengths differ, or `level` is not strictly between 0 and 1.
///
/// ```
/// let a = [0.9, 0.8, 0.7, 0.9];
/// let b = [0.5, 0.5, 0.5, 0.5];
/// let paired = evaluation::paired_bootstrap(&a, &b, 1, 0.95);
/// assert!((paired.difference.mean - 0.325).abs() < 1e-12);
/// assert!(paired.difference.lo > 0.0 && paired.p < 0.01);
/// ```
pub fn paired_bootstrap(a: &[f64], b: &[f64], seed: u64, level: f64) -> PairedBootstrap {
    check_level(level);
    assert_eq!(a.len(), b.len(), "paired values must come in pairs");
    let differences: Vec<f64> = a.iter().zip(b).map(|(a, b)| a - b).collect();
    let n = differences.len();
    if n == 0 {
        return PairedBootstrap { difference: Interval::NONE, p: f64::NAN };
    }
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let resampled: Vec<f64> = (0..RESAMPLES)
        .map(|_| (0..n).map(|_| differences[random.random_range(0..n)]).sum::<f64>() / n as f64)
        .collect();
    let at_most = resampled.iter().filter(|&&value| value <= 0.0).count();
    let at_least = resampled.iter().filter(|&&value| value >= 0.0).count();
    let p = (2.0 * (1 + at_most.min(at_least)) as f64 / (1 + RESAMPLES) as f64).min(1.0);
    PairedBootstrap { difference: percentiles(mean(&differences), resampled, level), p }
}

/// A paired t test with its interval. See [`paired_t`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct PairedT {
    /// Mean difference.
    #[serde(deserialize_with = "null_is_nan")]
    pub mean: f64,
    /// Lower end of the interval.
    #[serde(deserialize_with = "null_is_nan")]
    pub lo: f64,
    /// Upper end of the interval.
    #[serde(deserialize_with = "null_is_nan")]
    pub hi: f64,
    /// `mean / (sd / sqrt(n))`.
    #[serde(deserialize_with = "null_is_nan")]
    pub t: f64,
    /// Two-sided p value of the hypothesis that the mean difference is zero.
    #[serde(deserialize_with = "null_is_nan")]
    pub p: f64,
    /// Degrees of freedom, `n - 1`.
    pub df: usize,
}

impl PairedT {
    /// The interval alone.
    pub fn interval(&self) -> Interval {
        Interval { mean: self.mean, lo: self.lo, hi: self.hi }
    }
}

/// [`paired_t_at`] with a 95 % interval.
///
/// ```
/// // Differences 1..5: mean 3, sd sqrt(2.5), t = 3 / sqrt(0.5), 4 degrees of freedom.
/// let test = evaluation::paired_t(&[1.0, 2.0, 3.0, 4.0, 5.0]);
/// assert!((test.t - 3.0 / 0.5f64.sqrt()).abs() < 1e-12);
/// assert_eq!(test.df, 4);
/// assert!((test.hi - 4.963243).abs() < 1e-5); // 3 + 2.776445 * 0.707107
/// ```
pub fn paired_t(differences: &[f64]) -> PairedT {
    paired_t_at(differences, 0.95)
}

/// Student's t interval and test for the mean of paired differences, one per seed.
///
/// `mean +- t_{n-1} sd / sqrt(n)` with the sample standard deviation (n - 1). It takes the differences to be normal;
/// with five seeds show the points beside it. With fewer than two differences everything but the mean is NaN. Equal,
/// non-zero differences give an interval of width zero, an infinite t and p = 0; all zero gives t NaN and p = 1.
///
/// # Panics
/// If `level` is not strictly between 0 and 1.
pub fn paired_t_at(differences: &[f64], level: f64) -> PairedT {
    check_level(level);
    let n = differences.len();
    let (nan, df) = (f64::NAN, n.saturating_sub(1));
    if n < 2 {
        let mean = if n == 1 { differences[0] } else { nan };
        return PairedT { mean, lo: nan, hi: nan, t: nan, p: nan, df };
    }
    let mean = mean(differences);
    let variance = differences.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / df as f64;
    let error = (variance / n as f64).sqrt();
    // Equal values differ from their computed mean by rounding; that is no spread.
    let scale = differences.iter().fold(0.0f64, |scale, value| scale.max(value.abs()));
    if error <= 1e-14 * scale {
        let (t, p) = if mean == 0.0 { (nan, 1.0) } else { (f64::INFINITY.copysign(mean), 0.0) };
        return PairedT { mean, lo: mean, hi: mean, t, p, df };
    }
    let student = StudentsT::new(0.0, 1.0, df as f64).expect("one or more degrees of freedom");
    let half = student.inverse_cdf(0.5 + level / 2.0) * error;
    let t = mean / error;
    PairedT { mean, lo: mean - half, hi: mean + half, t, p: 2.0 * student.cdf(-t.abs()), df }
}

/// A t interval for the mean of a few independent values, such as one result per seed.
///
/// # Panics
/// If `level` is not strictly between 0 and 1.
pub fn t_interval(values: &[f64], level: f64) -> Interval {
    paired_t_at(values, level).interval()
}

/// A straight line through points. See [`linear_fit`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Fit {
    /// Change of y per unit of x.
    pub slope: f64,
    /// y at x = 0.
    pub intercept: f64,
    /// Share of y's variance the line explains.
    pub r2: f64,
}

/// Least squares of y on x; with logarithms of both it measures a power law. `None` with fewer than two distinct x.
///
/// ```
/// let fit = evaluation::linear_fit(&[(0.0, 1.0), (1.0, 3.0), (2.0, 5.0)]).unwrap();
/// assert_eq!((fit.slope, fit.intercept, fit.r2), (2.0, 1.0, 1.0));
/// ```
pub fn linear_fit(points: &[(f64, f64)]) -> Option<Fit> {
    let n = points.len() as f64;
    let (mx, my) = points.iter().fold((0.0, 0.0), |sum, point| (sum.0 + point.0 / n, sum.1 + point.1 / n));
    let sxx: f64 = points.iter().map(|point| (point.0 - mx).powi(2)).sum();
    let sxy: f64 = points.iter().map(|point| (point.0 - mx) * (point.1 - my)).sum();
    let syy: f64 = points.iter().map(|point| (point.1 - my).powi(2)).sum();
    if points.len() < 2 || sxx.is_nan() || sxx <= 0.0 {
        return None;
    }
    let slope = sxy / sxx;
    let r2 = if syy > 0.0 { sxy * sxy / (sxx * syy) } else { 1.0 };
    Some(Fit { slope, intercept: my - slope * mx, r2 })
}

/// Spearman's rank correlation, ties given their mean rank. `None` when either side is constant or empty.
pub fn spearman(points: &[(f64, f64)]) -> Option<f64> {
    let ranks = |values: Vec<f64>| -> Vec<f64> {
        let rank = |value: f64| {
            let below = values.iter().filter(|&&other| other < value).count() as f64;
            let equal = values.iter().filter(|&&other| other == value).count() as f64;
            below + (equal + 1.0) / 2.0
        };
        values.iter().map(|&value| rank(value)).collect()
    };
    let x = ranks(points.iter().map(|point| point.0).collect());
    let y = ranks(points.iter().map(|point| point.1).collect());
    let spread = |ranks: &[f64]| ranks.iter().any(|&rank| rank != ranks[0]);
    if points.is_empty() || !spread(&x) || !spread(&y) {
        return None;
    }
    let fit = linear_fit(&x.into_iter().zip(y).collect::<Vec<_>>())?;
    Some(fit.r2.sqrt().copysign(fit.slope))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::Rng;

    use super::*;

    #[test]
    fn t_quantiles_equal_tables() {
        // Student's t, two-sided 95 %: 12.7062 (1), 2.7764 (4), 2.2622 (9).
        for (n, expected) in [(2usize, 12.7062), (5, 2.7764), (10, 2.2622)] {
            let values: Vec<f64> = (0..n).map(|i| i as f64).collect();
            let test = paired_t(&values);
            let error = test.mean / test.t;
            assert!(((test.hi - test.mean) / error - expected).abs() < 1e-4, "n = {n}");
        }
    }

    #[test]
    fn p_of_the_sleep_data() {
        // "Student" 1908: extra sleep under two drugs, ten patients; t = 4.0621, p = 0.002833 (R's t.test).
        let differences = [1.2, 2.4, 1.3, 1.3, 0.0, 1.0, 1.8, 0.8, 4.6, 1.4];
        let test = paired_t(&differences);
        assert!((test.t - 4.0621).abs() < 1e-4 && (test.p - 0.002833).abs() < 1e-6, "{test:?}");
        assert!((test.lo - 0.7001142).abs() < 1e-6 && (test.hi - 2.4598858).abs() < 1e-6, "{test:?}");
    }

    #[test]
    fn degenerate_differences() {
        assert!(paired_t(&[]).mean.is_nan());
        assert_eq!(paired_t(&[0.3]).mean, 0.3);
        assert!(paired_t(&[0.3]).hi.is_nan());
        let equal = paired_t(&[0.1; 5]);
        assert_eq!((equal.p, equal.t), (0.0, f64::INFINITY));
        assert!((equal.hi - 0.1).abs() < 1e-15);
        assert_eq!(paired_t(&[0.0; 5]).p, 1.0);
    }

    #[test]
    fn bootstrap_is_close_to_the_normal_interval_and_covers() {
        // 200 draws of a fair coin: half-width close to 1.96 * 0.5 / sqrt(200).
        let values: Vec<f64> = (0..200).map(|i| f64::from(i % 2)).collect();
        let interval = bootstrap_mean(&values, 3, 0.95);
        let expected = 1.96 * 0.5 / 200f64.sqrt();
        assert!(((interval.hi - interval.lo) / 2.0 - expected).abs() < 0.05 * expected, "{interval}");
        // Coverage over simulated data sets: near 95 %, certainly not 80 %.
        let mut random = ChaCha8Rng::seed_from_u64(11);
        let covered = (0..100u64)
            .filter(|&trial| {
                let sample: Vec<f64> =
                    (0..60).map(|_| if random.random_bool(0.3) { 1.0 } else { 0.0 }).collect();
                bootstrap_mean(&sample, trial, 0.95).contains(0.3)
            })
            .count();
        assert!((88..=100).contains(&covered), "{covered} of 100");
    }

    #[test]
    fn ratio_of_nothing_is_none_and_serialises_as_null() {
        let none = bootstrap_ratio(&[(0.0, 0.0), (0.0, 0.0)], 0, 0.95);
        assert!(none.mean.is_nan());
        let text = serde_json::to_string(&none).unwrap();
        assert_eq!(text, r#"{"mean":null,"lo":null,"hi":null}"#);
        assert!(serde_json::from_str::<Interval>(&text).unwrap().mean.is_nan());
        let some = bootstrap_ratio(&[(1.0, 4.0), (3.0, 4.0)], 0, 0.95);
        assert_eq!(some.mean, 0.5);
        assert_eq!((some.lo, some.hi), (0.25, 0.75));
    }

    #[test]
    fn paired_bootstrap_of_equal_systems_is_no_difference() {
        let same = paired_bootstrap(&[0.2, 0.9], &[0.2, 0.9], 5, 0.95);
        assert_eq!((same.difference.mean, same.p), (0.0, 1.0));
    }

    #[test]
    fn ranks_and_lines() {
        assert_eq!(spearman(&[(1.0, 10.0), (2.0, 100.0), (3.0, 1000.0)]), Some(1.0));
        assert!((spearman(&[(1.0, 3.0), (2.0, 2.0), (3.0, 1.0)]).unwrap() + 1.0).abs() < 1e-12);
        assert_eq!(spearman(&[(1.0, 3.0), (2.0, 3.0)]), None);
        assert_eq!(linear_fit(&[(1.0, 3.0), (1.0, 4.0)]), None);
    }

    proptest! {
        #[test]
        fn interval_holds_the_mean_and_ignores_scale(
            values in prop::collection::vec(-5.0f64..5.0, 1..40), shift in -3.0f64..3.0, seed in 0u64..50,
        ) {
            let interval = bootstrap_mean(&values, seed, 0.9);
            prop_assert!(interval.lo <= interval.mean + 1e-12 && interval.mean <= interval.hi + 1e-12);
            let moved: Vec<f64> = values.iter().map(|value| value + shift).collect();
            let other = bootstrap_mean(&moved, seed, 0.9);
            prop_assert!((other.lo - interval.lo - shift).abs() < 1e-9);
            let wider = bootstrap_mean(&values, seed, 0.99);
            prop_assert!(wider.lo <= interval.lo && wider.hi >= interval.hi);
        }

        #[test]
        fn t_interval_is_symmetric_and_its_p_agrees(values in prop::collection::vec(-5.0f64..5.0, 2..12)) {
            let test = paired_t(&values);
            prop_assert!(((test.hi - test.mean) - (test.mean - test.lo)).abs() < 1e-9);
            prop_assert_eq!(test.p < 0.05, test.interval().lo > 0.0 || test.interval().hi < 0.0);
        }
    }
}
