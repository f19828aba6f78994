//! Clip-Cov and KL-Cov: the few tokens whose log-probability and advantage vary together collapse the entropy.

use burn::prelude::*;
use serde::{Deserialize, Serialize};

use super::frame::Frame;
use super::{Clip, PerToken};
use crate::error::{Result, require};
use crate::num::{choose, mask_to_host, to_host};

/// Settings of [`clip_cov`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClipCov {
    /// PPO's clip, which applies as well.
    pub clip: Clip,
    /// The share of the counted tokens that is cut, at least one token.
    pub share: f64,
    /// Only tokens with a covariance above this are candidates.
    pub low: f64,
    /// Only tokens with a covariance below this are candidates.
    pub high: f64,
    /// Seed of the draw among the candidates; use another one for every call.
    pub seed: u64,
}

impl Default for ClipCov {
    /// The paper's and verl's: 0.0002 of the tokens, covariance between 1 and 5.
    fn default() -> Self {
        Self { clip: Clip::default(), share: 2e-4, low: 1.0, high: 5.0, seed: 0 }
    }
}

/// Settings of [`kl_cov`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KlCov {
    /// The share of the counted tokens that is penalised, at least one token.
    pub share: f64,
    /// The strength of the penalty `|logp - old_logp|`.
    pub coefficient: f64,
}

impl Default for KlCov {
    /// The paper's: 0.0002 of the tokens, coefficient 1 (verl's configuration has 0.1).
    fn default() -> Self {
        Self { share: 2e-4, coefficient: 1.0 }
    }
}

/// Clip-Cov: PPO's clipped loss, from which a few tokens of high covariance are cut out.
///
/// Candidates are the tokens, not clipped already, whose covariance `(A - mean A) (logp - mean logp)` lies between the
/// limits; `share` of all counted tokens is drawn from them and gets loss and gradient zero, [arXiv:2505.22617],
/// equations 10 to 12. Means are over the tokens of this call. Arguments and errors as for
/// [`objective`](super::objective).
///
/// ```
/// use burn::prelude::*;
/// use policy_gradient::objective::{ClipCov, clip_cov};
///
/// let device = Device::flex();
/// let logp = Tensor::<2>::from_data([[-1.0], [-5.0]], &device);
/// let advantages = Tensor::<2>::from_data([[2.0], [0.0]], &device);
/// let mask = Tensor::<2, Bool>::from_data([[true], [true]], &device);
/// // Covariances are (2 - 1)(-1 + 3) = 2 and (0 - 1)(-5 + 3) = 2: two candidates, one of which is cut.
/// let out = clip_cov(logp.clone(), logp, advantages, mask, &ClipCov::default())?;
/// assert_eq!(out.diagnostics.capped, 1.0);
/// # Ok::<(), policy_gradient::Error>(())
/// ```
pub fn clip_cov(
    logp: Tensor<2>,
    old_logp: Tensor<2>,
    advantages: Tensor<2>,
    mask: Tensor<2, Bool>,
    config: &ClipCov,
) -> Result<PerToken> {
    config.clip.check()?;
    require("share", config.share, "a number in (0, 1]", |v| v > 0.0 && v <= 1.0)?;
    let frame = Frame::new(logp, old_logp, advantages, mask)?;
    let ratio = frame.log_ratio.clone().exp();
    let unclipped = (frame.advantages.clone() * ratio.clone()).neg();
    let clipped = (frame.advantages.clone() * config.clip.apply(ratio)).neg();
    let cut = clipped.clone().greater(unclipped.clone());

    let (covariance, mask) = covariances(&frame)?;
    let already = mask_to_host("mask", cut.clone())?;
    let counted = mask.iter().filter(|&&m| m).count();
    let number = ((config.share * counted as f64) as usize).max(1);
    let mut candidates: Vec<usize> = (0..mask.len())
        .filter(|&i| mask[i] && !already[i] && covariance[i] > config.low && covariance[i] < config.high)
        .collect();
    draw(&mut candidates, number, config.seed);
    let out = flags(&candidates, &frame);

    let slope = unclipped.clone().mask_fill(cut.clone(), 0.0).mask_fill(out.clone(), 0.0);
    let value = choose(cut.clone(), clipped, unclipped).mask_fill(out.clone(), 0.0);
    let mut observed = frame.observe(frame.log_ratio.clone());
    observed.clipped_low = Some(cut.clone().bool_and(frame.negative()));
    observed.clipped_high = Some(cut.bool_and(frame.positive()));
    observed.capped = Some(out);
    frame.finish(value, slope, &frame.carrier, observed)
}

/// KL-Cov: the plain ratio, with a penalty on the tokens of highest covariance.
///
/// `-A r`, plus `coefficient |logp - old_logp|` for the `share` of the counted tokens with the highest covariance,
/// [arXiv:2505.22617], equations 10, 13 and 14. Arguments and errors as for [`objective`](super::objective).
///
/// ```
/// use burn::prelude::*;
/// use policy_gradient::objective::{KlCov, kl_cov};
///
/// let device = Device::flex();
/// let logp = Tensor::<2>::from_data([[-1.0], [-3.0]], &device);
/// let old = Tensor::<2>::from_data([[-1.0], [-3.0]], &device);
/// let advantages = Tensor::<2>::from_data([[1.0], [-1.0]], &device);
/// let mask = Tensor::<2, Bool>::from_data([[true], [true]], &device);
/// let out = kl_cov(logp, old, advantages, mask, &KlCov::default())?;
/// assert_eq!(out.diagnostics.capped, 1.0); // one token is penalised, by |0|
/// # Ok::<(), policy_gradient::Error>(())
/// ```
pub fn kl_cov(
    logp: Tensor<2>,
    old_logp: Tensor<2>,
    advantages: Tensor<2>,
    mask: Tensor<2, Bool>,
    config: &KlCov,
) -> Result<PerToken> {
    require("share", config.share, "a number in (0, 1]", |v| v > 0.0 && v <= 1.0)?;
    require("coefficient", config.coefficient, "a number >= 0", |v| v >= 0.0)?;
    let frame = Frame::new(logp, old_logp, advantages, mask)?;
    let (covariance, mask) = covariances(&frame)?;
    let mut order: Vec<usize> = (0..mask.len()).filter(|&i| mask[i]).collect();
    let number = ((config.share * order.len() as f64) as usize).max(1);
    order.sort_by(|&a, &b| covariance[b].total_cmp(&covariance[a]));
    order.truncate(number);
    let chosen = flags(&order, &frame);

    let spared = chosen.clone().bool_not();
    let surrogate = (frame.advantages.clone() * frame.log_ratio.clone().exp()).neg();
    let penalty = frame.log_ratio.clone().abs().mul_scalar(config.coefficient).mask_fill(spared.clone(), 0.0);
    let pull = frame.log_ratio.clone().sign().mul_scalar(config.coefficient).mask_fill(spared, 0.0);
    let mut observed = frame.observe(frame.log_ratio.clone());
    observed.capped = Some(chosen);
    frame.finish(surrogate.clone() + penalty, surrogate + pull, &frame.carrier, observed)
}

/// `(A - mean A) (logp - mean logp)` of every token and the mask, on the host.
fn covariances(frame: &Frame) -> Result<(Vec<f64>, Vec<bool>)> {
    let logp = to_host("logp", frame.logp.clone())?;
    let advantages = to_host("advantages", frame.advantages.clone())?;
    let mask = mask_to_host("mask", frame.mask.clone())?;
    let count = mask.iter().filter(|&&m| m).count().max(1) as f64;
    let mean =
        |values: &[f64]| values.iter().zip(&mask).filter(|(_, m)| **m).map(|(v, _)| v).sum::<f64>() / count;
    let (mean_logp, mean_advantage) = (mean(&logp), mean(&advantages));
    let covariance =
        logp.iter().zip(&advantages).map(|(l, a)| (a - mean_advantage) * (l - mean_logp)).collect();
    Ok((covariance, mask))
}

/// A `[batch, time]` tensor that is true at the given flat positions.
fn flags(positions: &[usize], frame: &Frame) -> Tensor<2, Bool> {
    let mut flags = vec![false; frame.shape[0] * frame.shape[1]];
    positions.iter().for_each(|&i| flags[i] = true);
    Tensor::from_data(TensorData::new(flags, frame.shape), &frame.mask.device())
}

/// Keeps `number` of the candidates, drawn without replacement by a counter-based stream (splitmix64).
fn draw(candidates: &mut Vec<usize>, number: usize, seed: u64) {
    if candidates.len() <= number {
        return;
    }
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    for i in 0..number {
        let rest = (candidates.len() - i) as u64;
        let j = i + (next() % rest) as usize;
        candidates.swap(i, j);
    }
    candidates.truncate(number);
}
