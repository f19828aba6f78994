//! Correcting for a sampler that is not the trainer: importance weights, IcePop, rejection.
//!
//! An inference engine computes other probabilities than the trainer does, even with the same weights (other kernels,
//! other precision), and asynchronous training adds stale weights. With `d = old_logp - sampler_logp` the correction is a
//! weight `exp(d)`, bounded or masked, and a refusal of tokens or sequences that lie too far off.
//!
//! Both log-probabilities must be of the same distribution: a sampler's log-probabilities *after* top-p, top-k or a
//! penalty live on another support than the trainer's full softmax, and no weight makes up for that.

use burn::prelude::*;
use serde::{Deserialize, Serialize};

use crate::bounds::Bounds;
use crate::error::{Error, Result, same_shape};
use crate::num::{expand, from_host, mask_to_host, to_host};

/// What a weight or a measure is taken over.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Span {
    /// Each token alone.
    #[default]
    Token,
    /// The sum over the row's counted tokens; of log-ratios: the ratio of the whole sequence.
    SequenceSum,
    /// The mean over the row's counted tokens; of log-ratios: the geometric mean of the ratios.
    SequenceMean,
    /// The largest of the row's counted tokens; of log-ratios: the largest ratio.
    SequenceMax,
}

/// Whether weights are brought to mean one over the call.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Normalise {
    /// They stay as they are.
    #[default]
    Off,
    /// Divided by their mean over the counted tokens of this call, as long as that exceeds 1e-8.
    OverTokens,
    /// Divided by the mean over this call's non-empty rows of the rows' means, likewise.
    OverSequences,
}

/// The importance weight `exp(d)`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RolloutWeight {
    /// What it is taken over.
    pub over: Span,
    /// Each token's `d` is cut to this range first: ±10 in open-instruct.
    pub token_log_ratio: Bounds,
    /// The log-weight is cut to this range before `exp`: ±20 in verl.
    pub log_weight: Bounds,
    /// Weights outside this range become zero (IcePop; TRL's `*_mask`).
    pub keep: Bounds,
    /// Weights are then cut to this range (truncated importance sampling; TRL's `*_truncate`).
    pub clamp: Bounds,
    /// Whether the weights are brought to mean one afterwards.
    pub normalise: Normalise,
}

impl Default for RolloutWeight {
    /// Per token, at most 2.
    fn default() -> Self {
        Self {
            over: Span::Token,
            token_log_ratio: Bounds::NONE,
            log_weight: Bounds::symmetric(20.0),
            keep: Bounds::NONE,
            clamp: Bounds::at_most(2.0),
            normalise: Normalise::Off,
        }
    }
}

/// How far a token is from where the sampler had it; `p` is the sampler's probability of the token, `q` the trainer's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// `q / p`. Over a sequence: `exp` of the sum, mean or maximum of `d`.
    #[default]
    Ratio,
    /// `-d`: k1 of KL(sampler || trainer), in nats.
    K1,
    /// `d² / 2`, in nats.
    K2,
    /// `exp(d) - 1 - d`, in nats.
    K3,
    /// `p ln(p / q) + (1 - p) ln((1 - p) / (1 - q))`, both probabilities cut to `[1e-6, 1 - 1e-6]` (OpenRLHF).
    BinaryKl,
    /// `|p - q|`, both probabilities cut likewise (OpenRLHF).
    TotalVariation,
    /// `|q / p - 1|` (open-instruct's VACO mask).
    RatioDistance,
}

/// When a token outside the range is refused.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum When {
    /// Always.
    #[default]
    Always,
    /// Only where the advantage is negative: DeepSeek-V3.2's off-policy mask.
    NegativeAdvantage,
    /// Only where the update would carry the trainer further off, `A d > 0` (VACO).
    MovingAway,
}

/// One condition a token must meet.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Reject {
    /// What is measured.
    pub measure: Measure,
    /// Over what.
    pub over: Span,
    /// The range that is accepted, in the measure's unit.
    pub within: Bounds,
    /// `d` of each token is cut to this range before it is measured.
    pub log_ratio: Bounds,
    /// When a value outside the range counts.
    pub when: When,
}

impl Default for Reject {
    /// The token's ratio, `d` cut to ±20, no limit yet.
    fn default() -> Self {
        Self {
            measure: Measure::Ratio,
            over: Span::Token,
            within: Bounds::NONE,
            log_ratio: Bounds::symmetric(20.0),
            when: When::Always,
        }
    }
}

/// What becomes of refused tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rejected {
    /// They leave the mask, so that they are in no denominator either (verl). Count the returned mask.
    #[default]
    LeaveMask,
    /// Their weight is zero, and they stay in the denominator (OpenRLHF, TRL, open-instruct).
    ZeroWeight,
}

/// Settings of [`rollout_correction`].
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RolloutCorrection {
    /// The importance weight; `None` leaves all weights at one.
    pub weight: Option<RolloutWeight>,
    /// A token is refused when it fails any of these.
    pub reject: Vec<Reject>,
    /// What becomes of refused tokens.
    pub rejected: Rejected,
}

impl RolloutCorrection {
    /// Truncated importance sampling: each token's weight, at most `cap` (2 in verl and open-instruct, 3 in TRL).
    pub fn tis(cap: f64) -> Self {
        let weight = RolloutWeight { clamp: Bounds::at_most(cap), ..RolloutWeight::default() };
        Self { weight: Some(weight), ..Self::default() }
    }

    /// The whole sequence's weight at each of its tokens, at most `cap`.
    pub fn sequence_tis(cap: f64) -> Self {
        let weight = RolloutWeight {
            over: Span::SequenceSum,
            clamp: Bounds::at_most(cap),
            ..RolloutWeight::default()
        };
        Self { weight: Some(weight), ..Self::default() }
    }

    /// IcePop [arXiv:2510.18855], equations 1 and 2: a token's weight within `[low, high]`, and zero outside (0.5 and 5
    /// in the paper).
    pub fn icepop(low: f64, high: f64) -> Self {
        let weight = RolloutWeight {
            keep: Bounds::between(low, high),
            clamp: Bounds::NONE,
            ..RolloutWeight::default()
        };
        Self { weight: Some(weight), ..Self::default() }
    }

    /// DeepSeek-V3.2's off-policy sequence mask [arXiv:2512.02556], equation 9: sequences with a negative advantage are
    /// dropped when the mean of `sampler_logp - old_logp` exceeds `threshold` nats. Pass the *current*
    /// log-probabilities as `old_logp`.
    ///
    /// ```
    /// use burn::prelude::*;
    /// use policy_gradient::{RolloutCorrection, rollout_correction};
    ///
    /// let device = Device::flex();
    /// let of = |v: f32| Tensor::<2>::from_data([[v], [v]], &device);
    /// let advantages = Tensor::<2>::from_data([[1.0], [-1.0]], &device);
    /// let mask = Tensor::<2, Bool>::full([2, 1], true, &device);
    /// let config = RolloutCorrection::off_policy_mask(0.5);
    /// let out = rollout_correction(of(-3.0), of(-1.0), Some(advantages), mask, &config)?; // 2 nats off
    /// assert_eq!(out.weights.into_data().to_vec::<f32>().unwrap(), [1.0, 0.0]); // the good response stays
    /// # Ok::<(), policy_gradient::Error>(())
    /// ```
    pub fn off_policy_mask(threshold: f64) -> Self {
        let reject = Reject {
            measure: Measure::K1,
            over: Span::SequenceMean,
            within: Bounds::at_most(threshold),
            log_ratio: Bounds::NONE,
            when: When::NegativeAdvantage,
        };
        Self { reject: vec![reject], rejected: Rejected::ZeroWeight, ..Self::default() }
    }

    fn check(&self) -> Result<()> {
        if let Some(weight) = &self.weight {
            weight.token_log_ratio.check("token_log_ratio")?;
            weight.log_weight.check("log_weight")?;
            weight.keep.check("keep")?;
            weight.clamp.check("clamp")?;
        }
        for reject in &self.reject {
            reject.within.check("within")?;
            reject.log_ratio.check("log_ratio")?;
        }
        Ok(())
    }
}

/// What [`rollout_correction`] returns; nothing of it has a graph.
#[derive(Debug, Clone)]
pub struct RolloutCorrected {
    /// `[batch, time]`, zero outside the mask: for [`PerToken::weighted`](crate::PerToken::weighted).
    pub weights: Tensor<2>,
    /// `[batch, time]`: the mask to go on with.
    pub mask: Tensor<2, Bool>,
    /// How far apart sampler and trainer were.
    pub diagnostics: RolloutDiagnostics,
}

/// How far apart sampler and trainer are, over the tokens and non-empty rows of one call; zeros where there are none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct RolloutDiagnostics {
    /// Counted tokens.
    pub tokens: f64,
    /// Mean of `-d`: k1 of KL(sampler || trainer), nats.
    pub kl_k1: f64,
    /// Mean of `exp(d) - 1 - d`, nats.
    pub kl_k3: f64,
    /// Mean of `exp(2 d)`, less one, `d` cut to ±20: chi-squared divergence of tokens.
    pub chi_squared: f64,
    /// The same over whole sequences.
    pub chi_squared_sequences: f64,
    /// Mean over rows of `exp(-mean old_logp)`.
    pub trainer_perplexity: f64,
    /// Mean over rows of `exp(-mean sampler_logp)`.
    pub sampler_perplexity: f64,
    /// Mean weight of the tokens, after limits and before normalising.
    pub weight_mean: f64,
    /// Smallest weight.
    pub weight_min: f64,
    /// Largest weight.
    pub weight_max: f64,
    /// `(sum w)² / (n sum w²)`: the share of the tokens that effectively counts.
    pub effective_sample_size: f64,
    /// Share of tokens whose weight was clamped or zeroed for being too low.
    pub below: f64,
    /// Share of tokens whose weight was clamped or zeroed for being too high.
    pub above: f64,
    /// Share of tokens refused by [`RolloutCorrection::reject`].
    pub rejected: f64,
}

/// Weights and mask that correct for a sampler whose probabilities differ from the trainer's.
///
/// With `d = old_logp - sampler_logp`: weights `clamp(exp(d))` per token or sequence, and a mask without the tokens or
/// sequences that a [`Reject`] refuses. Truncated importance sampling: [F. Yao et al., 2025]; IcePop:
/// [arXiv:2510.18855], equations 1 and 2. All tensors `[batch, time]` (advantages `[batch, 1]` too), log-probabilities
/// in nats; nothing is differentiated. Values outside the mask are never read. A sampler log-probability of NaN means
/// that the engine could not say: its `d` is zero. `advantages` is needed only for [`When`] other than always.
///
/// # Errors
/// [`Error::Shape`] when shapes differ, [`Error::Value`] for bounds the wrong way round, [`Error::Missing`] for a
/// condition without advantages.
///
/// [F. Yao et al., 2025]: https://fengyao.notion.site/off-policy-rl
///
/// ```
/// use burn::prelude::*;
/// use policy_gradient::{RolloutCorrection, rollout_correction};
///
/// let device = Device::flex();
/// let sampler = Tensor::<2>::from_data([[0.1f32.ln(), 0.5f32.ln()]], &device);
/// let trainer = Tensor::<2>::from_data([[0.3f32.ln(), 0.25f32.ln()]], &device); // ratios 3 and 1/2
/// let mask = Tensor::<2, Bool>::from_data([[true, true]], &device);
/// let by = |config| rollout_correction(trainer.clone(), sampler.clone(), None, mask.clone(), &config);
/// let tis = by(RolloutCorrection::tis(2.0))?.weights.into_data().to_vec::<f32>().unwrap();
/// assert!((tis[0] - 2.0).abs() < 1e-6 && (tis[1] - 0.5).abs() < 1e-6);
/// let icepop = by(RolloutCorrection::icepop(0.4, 2.0))?.weights.into_data().to_vec::<f32>().unwrap();
/// assert!(icepop[0] == 0.0 && (icepop[1] - 0.5).abs() < 1e-6);
/// let whole = by(RolloutCorrection::sequence_tis(2.0))?.weights.into_data().to_vec::<f32>().unwrap();
/// assert!((whole[0] - 1.5).abs() < 1e-6 && whole[1] == whole[0]); // 3 * 1/2
/// # Ok::<(), policy_gradient::Error>(())
/// ```
pub fn rollout_correction(
    old_logp: Tensor<2>,
    sampler_logp: Tensor<2>,
    advantages: Option<Tensor<2>>,
    mask: Tensor<2, Bool>,
    config: &RolloutCorrection,
) -> Result<RolloutCorrected> {
    let shape @ [batch, time] = old_logp.dims();
    same_shape("sampler_logp", sampler_logp.dims(), shape)?;
    same_shape("mask", mask.dims(), shape)?;
    config.check()?;
    let advantages = match advantages {
        Some(advantages) => Some(to_host("advantages", expand("advantages", advantages, shape)?)?),
        None if config.reject.iter().all(|r| r.when == When::Always) => None,
        None => return Err(Error::Missing { argument: "advantages", needed_by: "a conditional rejection" }),
    };
    let counted = mask_to_host("mask", mask.clone())?;
    let trainer = to_host("old_logp", old_logp.clone())?;
    let sampler = to_host("sampler_logp", sampler_logp)?;
    let rows = Rows { batch, time, counted };
    let d: Vec<f64> = (0..batch * time)
        .map(|i| match rows.counted[i] {
            true if !sampler[i].is_nan() => trainer[i] - sampler[i],
            _ => 0.0,
        })
        .collect();

    let mut diagnostics = compare(&rows, &d, &trainer, &sampler);
    let mut weights: Vec<f64> = rows.counted.iter().map(|&c| f64::from(u8::from(c))).collect();
    if let Some(weight) = &config.weight {
        rows.weigh(&mut weights, &d, weight, &mut diagnostics);
    }
    let mut kept = rows.counted.clone();
    for reject in &config.reject {
        rows.reject(&mut kept, &d, &trainer, &sampler, advantages.as_deref(), reject);
    }
    diagnostics.rejected = rows.share(|i| !kept[i]);
    if config.rejected == Rejected::ZeroWeight {
        weights.iter_mut().zip(&kept).filter(|(_, kept)| !**kept).for_each(|(w, _)| *w = 0.0);
        kept.clone_from(&rows.counted);
    }
    rows.describe(&weights, &mut diagnostics);
    if let Some(weight) = &config.weight {
        rows.normalise(&mut weights, weight.normalise);
    }
    let device = mask.device().without_autodiff();
    Ok(RolloutCorrected {
        weights: from_host(weights, shape, &old_logp),
        mask: Tensor::from_data(TensorData::new(kept, shape), &device),
        diagnostics,
    })
}

/// The geometric mean of a row's weights at each of its tokens, `[batch, time]`, as verl applies weights to GMPO:
/// `exp(mean over counted tokens of ln(w + 1e-10))`.
///
/// ```
/// use burn::prelude::*;
/// let device = Device::flex();
/// let weights = Tensor::<2>::from_data([[4.0, 1.0]], &device);
/// let mask = Tensor::<2, Bool>::from_data([[true, true]], &device);
/// let mean = policy_gradient::geometric_mean_weights(weights, mask)?.into_data().to_vec::<f32>().unwrap();
/// assert!((mean[0] - 2.0).abs() < 1e-6); // sqrt(4 * 1)
/// # Ok::<(), policy_gradient::Error>(())
/// ```
///
/// # Errors
/// [`Error::Shape`] when the mask's shape differs.
pub fn geometric_mean_weights(weights: Tensor<2>, mask: Tensor<2, Bool>) -> Result<Tensor<2>> {
    let shape @ [batch, time] = weights.dims();
    same_shape("mask", mask.dims(), shape)?;
    let rows = Rows { batch, time, counted: mask_to_host("mask", mask)? };
    let logs: Vec<f64> = to_host("weights", weights.clone())?.iter().map(|w| (w + 1e-10).ln()).collect();
    let mean = rows.over(&logs, Span::SequenceMean);
    let values = (0..batch * time).map(|i| if rows.counted[i] { mean[i].exp() } else { 0.0 }).collect();
    Ok(from_host(values, shape, &weights))
}

/// Host rows with their counted tokens.
struct Rows {
    batch: usize,
    time: usize,
    counted: Vec<bool>,
}

impl Rows {
    fn row(&self, b: usize) -> impl Iterator<Item = usize> + Clone + '_ {
        (b * self.time..(b + 1) * self.time).filter(|&i| self.counted[i])
    }

    fn tokens(&self) -> impl Iterator<Item = usize> + Clone + '_ {
        (0..self.counted.len()).filter(|&i| self.counted[i])
    }

    fn mean(&self, value: impl Fn(usize) -> f64) -> f64 {
        let count = self.tokens().count();
        if count == 0 { 0.0 } else { self.tokens().map(value).sum::<f64>() / count as f64 }
    }

    fn share(&self, holds: impl Fn(usize) -> bool) -> f64 {
        self.mean(|i| f64::from(u8::from(holds(i))))
    }

    /// The mean over non-empty rows.
    fn row_mean(&self, value: impl Fn(&[usize]) -> f64) -> f64 {
        let rows: Vec<Vec<usize>> =
            (0..self.batch).map(|b| self.row(b).collect::<Vec<_>>()).filter(|r| !r.is_empty()).collect();
        let sum: f64 = rows.iter().map(|r| value(r)).sum();
        if rows.is_empty() { 0.0 } else { sum / rows.len() as f64 }
    }

    /// A value of every token, gathered over its row and spread again.
    fn over(&self, values: &[f64], span: Span) -> Vec<f64> {
        if span == Span::Token {
            return values.to_vec();
        }
        let mut spread = vec![0.0; values.len()];
        for b in 0..self.batch {
            let of = self.row(b).map(|i| values[i]);
            let count = of.clone().count().max(1) as f64;
            let gathered = match span {
                Span::Token => unreachable!("returned above"),
                Span::SequenceSum => of.sum(),
                Span::SequenceMean => of.sum::<f64>() / count,
                Span::SequenceMax => of.reduce(f64::max).unwrap_or(0.0),
            };
            spread[b * self.time..(b + 1) * self.time].fill(gathered);
        }
        spread
    }

    fn weigh(
        &self,
        weights: &mut [f64],
        d: &[f64],
        config: &RolloutWeight,
        diagnostics: &mut RolloutDiagnostics,
    ) {
        let d: Vec<f64> = d.iter().map(|&d| config.token_log_ratio.clamp_f64(d)).collect();
        let logs = self.over(&d, config.over);
        let raw: Vec<f64> = logs.iter().map(|&l| config.log_weight.clamp_f64(l).exp()).collect();
        let low = |b: Bounds, i: usize| b.low.is_some_and(|low| raw[i] < low);
        let high = |b: Bounds, i: usize| b.high.is_some_and(|high| raw[i] > high);
        diagnostics.below = self.share(|i| low(config.keep, i) || low(config.clamp, i));
        diagnostics.above = self.share(|i| high(config.keep, i) || high(config.clamp, i));
        for i in self.tokens() {
            let dropped = low(config.keep, i) || high(config.keep, i);
            weights[i] = if dropped { 0.0 } else { config.clamp.clamp_f64(raw[i]) };
        }
    }

    fn reject(
        &self,
        kept: &mut [bool],
        d: &[f64],
        trainer: &[f64],
        sampler: &[f64],
        advantages: Option<&[f64]>,
        config: &Reject,
    ) {
        let bounded: Vec<f64> = d.iter().map(|&d| config.log_ratio.clamp_f64(d)).collect();
        let probability = |logp: f64| logp.exp().clamp(1e-6, 1.0 - 1e-6);
        let at = |i: usize| {
            let d = bounded[i];
            // The sampler's side of an unscored token is the trainer's.
            let (p, q) = (
                probability(if sampler[i].is_nan() { trainer[i] } else { sampler[i] }),
                probability(trainer[i]),
            );
            match config.measure {
                Measure::Ratio => d,
                Measure::K1 => -d,
                Measure::K2 => d * d / 2.0,
                Measure::K3 => d.exp_m1() - d,
                Measure::BinaryKl => p * (p / q).ln() + (1.0 - p) * ((1.0 - p) / (1.0 - q)).ln(),
                Measure::TotalVariation => (p - q).abs(),
                Measure::RatioDistance => d.exp_m1().abs(),
            }
        };
        let values: Vec<f64> = (0..d.len()).map(|i| if self.counted[i] { at(i) } else { 0.0 }).collect();
        let mut measured = self.over(&values, config.over);
        if config.measure == Measure::Ratio {
            measured.iter_mut().for_each(|v| *v = v.exp());
        }
        for i in self.tokens() {
            let inside = config.within.contains(measured[i]);
            let advantage = advantages.map_or(0.0, |a| a[i]);
            let applies = match config.when {
                When::Always => true,
                When::NegativeAdvantage => advantage < 0.0,
                When::MovingAway => bounded[i] * advantage > 0.0,
            };
            if applies && !inside {
                kept[i] = false;
            }
        }
    }

    fn describe(&self, weights: &[f64], diagnostics: &mut RolloutDiagnostics) {
        let squares = self.mean(|i| weights[i] * weights[i]);
        diagnostics.weight_mean = self.mean(|i| weights[i]);
        diagnostics.weight_min = self.tokens().map(|i| weights[i]).reduce(f64::min).unwrap_or(0.0);
        diagnostics.weight_max = self.tokens().map(|i| weights[i]).reduce(f64::max).unwrap_or(0.0);
        if squares > 0.0 {
            diagnostics.effective_sample_size = diagnostics.weight_mean.powi(2) / squares;
        }
    }

    fn normalise(&self, weights: &mut [f64], how: Normalise) {
        let mean = match how {
            Normalise::Off => return,
            Normalise::OverTokens => self.mean(|i| weights[i]),
            Normalise::OverSequences => {
                self.row_mean(|row| row.iter().map(|&i| weights[i]).sum::<f64>() / row.len() as f64)
            }
        };
        if mean > 1e-8 {
            weights.iter_mut().for_each(|w| *w /= mean);
        }
    }
}

fn compare(rows: &Rows, d: &[f64], trainer: &[f64], sampler: &[f64]) -> RolloutDiagnostics {
    let bounded = |d: f64| d.clamp(-20.0, 20.0);
    let perplexity = |logp: &dyn Fn(usize) -> f64| {
        rows.row_mean(|row| (-row.iter().map(|&i| logp(i)).sum::<f64>() / row.len() as f64).exp())
    };
    let any = rows.tokens().next().is_some();
    let less_one = |mean: f64| if any { mean - 1.0 } else { 0.0 };
    RolloutDiagnostics {
        tokens: rows.tokens().count() as f64,
        kl_k1: rows.mean(|i| -d[i]),
        kl_k3: rows.mean(|i| d[i].exp_m1() - d[i]),
        chi_squared: less_one(rows.mean(|i| (2.0 * bounded(d[i])).exp())),
        chi_squared_sequences: less_one(
            rows.row_mean(|row| (2.0 * bounded(row.iter().map(|&i| d[i]).sum())).exp()),
        ),
        trainer_perplexity: perplexity(&|i| trainer[i]),
        sampler_perplexity: perplexity(&|i| if sampler[i].is_nan() { trainer[i] } else { sampler[i] }),
        ..RolloutDiagnostics::default()
    }
}
