//! From what reward functions say to the rewards an advantage is computed from.

use burn::prelude::*;
use serde::{Deserialize, Serialize};

use crate::advantage::RewardColumn;
use crate::bounds::Bounds;
use crate::error::{Error, Result, require, same_length, same_shape};
use crate::num::{from_host, from_host_on, mask_to_host, to_host};

/// The weighted sum of several reward functions, one value per response.
///
/// `R_i = sum_k w_k R_ik`. A NaN ("does not apply") leaves that function out for that response; a response that no
/// function could score stays NaN, which advantages take for "unscored" (as in TRL).
///
/// # Errors
/// [`Error::Missing`] without columns, [`Error::Shape`] when their lengths differ, [`Error::Value`] for a weight that is
/// not finite.
///
/// ```
/// use policy_gradient::advantage::RewardColumn;
/// use policy_gradient::reward::combine;
/// let right = RewardColumn { values: vec![1.0, f64::NAN, f64::NAN], weight: 1.0 };
/// let format = RewardColumn { values: vec![1.0, 1.0, f64::NAN], weight: 0.5 };
/// let rewards = combine(&[right, format])?;
/// assert_eq!(rewards[..2], [1.5, 0.5]);
/// assert!(rewards[2].is_nan());
/// # Ok::<(), policy_gradient::Error>(())
/// ```
pub fn combine(columns: &[RewardColumn]) -> Result<Vec<f64>> {
    let first = columns.first().ok_or(Error::Missing { argument: "columns", needed_by: "combine" })?;
    let mut sums = vec![f64::NAN; first.values.len()];
    for column in columns {
        require("weight", column.weight, "a finite number", f64::is_finite)?;
        same_length("columns", column.values.len(), sums.len())?;
        for (sum, &value) in sums.iter_mut().zip(&column.values).filter(|(_, v)| !v.is_nan()) {
            let so_far = if sum.is_nan() { 0.0 } else { *sum };
            *sum = so_far + column.weight * value;
        }
    }
    Ok(sums)
}

/// How rewards are shifted, scaled and clipped, in that order.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Shaping {
    /// Added first.
    pub shift: f64,
    /// Multiplied next.
    pub scale: f64,
    /// The range the result is cut to.
    pub clip: Bounds,
}

impl Default for Shaping {
    /// Leaves rewards as they are.
    fn default() -> Self {
        Self { shift: 0.0, scale: 1.0, clip: Bounds::NONE }
    }
}

/// Shifts, scales and clips rewards: `clip((R + shift) scale)`. NaN stays NaN.
///
/// # Errors
/// [`Error::Value`] for a shift or scale that is not finite, or bounds the wrong way round.
///
/// ```
/// use policy_gradient::{Bounds, reward::{Shaping, shape}};
/// let config = Shaping { shift: -0.5, scale: 4.0, clip: Bounds::symmetric(1.5) };
/// assert_eq!(shape(&[0.75, 1.0], &config)?, [1.0, 1.5]); // (0.75 - 0.5) * 4, and 2 clipped
/// # Ok::<(), policy_gradient::Error>(())
/// ```
pub fn shape(rewards: &[f64], config: &Shaping) -> Result<Vec<f64>> {
    require("shift", config.shift, "a finite number", f64::is_finite)?;
    require("scale", config.scale, "a finite number", f64::is_finite)?;
    config.clip.check("clip")?;
    Ok(rewards.iter().map(|r| config.clip.clamp_f64((r + config.shift) * config.scale)).collect())
}

/// What a response longer than the limit gets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Beyond {
    /// `-factor`, no matter how much longer (the paper, TRL, OpenRLHF).
    #[default]
    Floor,
    /// The line goes on downwards (verl).
    Growing,
}

/// Settings of [`overlong_penalty`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Overlong {
    /// The longest response allowed, in tokens.
    pub limit: usize,
    /// The last so many tokens before the limit are penalised.
    pub buffer: usize,
    /// The penalty at the limit.
    #[serde(default = "one")]
    pub factor: f64,
    /// What happens beyond the limit.
    #[serde(default)]
    pub beyond: Beyond,
}

fn one() -> f64 {
    1.0
}

/// DAPO's soft penalty on responses that come close to the limit, to be added to their rewards.
///
/// With `L` the limit and `b` the buffer: 0 up to `L - b` tokens, then linear to `-factor` at `L`; beyond it as
/// [`Beyond`] says. [arXiv:2503.14476], equation 13. With a buffer of zero it is a step behind the limit. A truncated
/// response has at most `L` tokens, so that it gets the whole penalty only if nothing was cut before `L`.
///
/// # Errors
/// [`Error::Value`] for a buffer longer than the limit, a factor that is negative, or a line without a buffer.
///
/// ```
/// use policy_gradient::reward::{Beyond, Overlong, overlong_penalty};
/// let config = Overlong { limit: 100, buffer: 20, factor: 1.0, beyond: Beyond::Floor };
/// assert_eq!(overlong_penalty(&[80, 90, 100, 110], &config)?, [0.0, -0.5, -1.0, -1.0]);
/// let growing = Overlong { beyond: Beyond::Growing, ..config };
/// assert_eq!(overlong_penalty(&[110], &growing)?, [-1.5]);
/// # Ok::<(), policy_gradient::Error>(())
/// ```
pub fn overlong_penalty(lengths: &[usize], config: &Overlong) -> Result<Vec<f64>> {
    let (limit, buffer) = (config.limit as f64, config.buffer as f64);
    require("buffer", buffer, "at most the limit", |b| b <= limit)?;
    require("factor", config.factor, "a finite number >= 0", |f| f >= 0.0 && f.is_finite())?;
    if config.beyond == Beyond::Growing {
        require("buffer", buffer, "at least one token for a growing penalty", |b| b >= 1.0)?;
    }
    Ok(lengths
        .iter()
        .map(|&length| {
            let over = length as f64 - (limit - buffer);
            match config.beyond {
                _ if over <= 0.0 => 0.0,
                Beyond::Floor if over >= buffer => -config.factor,
                _ => -over / buffer * config.factor,
            }
        })
        .collect())
}

/// What the reward of a truncated response becomes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Truncated {
    /// It stays.
    Keep,
    /// It is multiplied by a factor in `[0, 1]` (ProRL's "stop properly" penalty in OpenRLHF).
    Scale(f64),
    /// It is replaced (OpenRLHF with a negative coefficient).
    Replace(f64),
    /// It becomes NaN: unscored, so that it enters no statistic and its advantage is zero.
    Unscored,
}

/// Rewards with those of truncated responses changed. See [`drop_rows`](crate::drop_rows) for leaving such responses out
/// of the loss and its denominator instead.
///
/// # Errors
/// [`Error::Shape`] when lengths differ, [`Error::Value`] for a factor outside `[0, 1]`.
///
/// ```
/// use policy_gradient::reward::{Truncated, truncated};
/// assert_eq!(truncated(&[1.0, 1.0], &[false, true], Truncated::Scale(0.5))?, [1.0, 0.5]);
/// assert_eq!(truncated(&[1.0, 1.0], &[false, true], Truncated::Replace(-0.5))?, [1.0, -0.5]);
/// # Ok::<(), policy_gradient::Error>(())
/// ```
pub fn truncated(rewards: &[f64], is_truncated: &[bool], how: Truncated) -> Result<Vec<f64>> {
    same_length("is_truncated", is_truncated.len(), rewards.len())?;
    if let Truncated::Scale(factor) = how {
        require("factor", factor, "a number in [0, 1]", |f| (0.0..=1.0).contains(&f))?;
    }
    Ok(rewards
        .iter()
        .zip(is_truncated)
        .map(|(&reward, &cut)| match how {
            _ if !cut => reward,
            Truncated::Keep => reward,
            Truncated::Scale(factor) => reward * factor,
            Truncated::Replace(value) => value,
            Truncated::Unscored => f64::NAN,
        })
        .collect())
}

/// Each response's reward at its last counted token, zero elsewhere, `[batch, time]`: what
/// [`gae`](crate::advantage::gae) and [`reinforce_pp`](crate::advantage::reinforce_pp) start from.
///
/// A row without counted tokens has nowhere to put its reward and stays zero, and so does an unscored one (NaN).
///
/// # Errors
/// [`Error::Shape`] when lengths differ.
///
/// ```
/// use burn::prelude::*;
/// let mask = Tensor::<2, Bool>::from_data([[true, true, false]], &Device::flex());
/// let tokens = policy_gradient::reward::at_last_token(&[2.0], mask)?;
/// assert_eq!(tokens.into_data().to_vec::<f32>().unwrap(), [0.0, 2.0, 0.0]);
/// # Ok::<(), policy_gradient::Error>(())
/// ```
pub fn at_last_token(rewards: &[f64], mask: Tensor<2, Bool>) -> Result<Tensor<2>> {
    let shape @ [batch, time] = mask.dims();
    same_length("rewards", rewards.len(), batch)?;
    let counted = mask_to_host("mask", mask.clone())?;
    let mut tokens = vec![0.0; batch * time];
    for (b, &reward) in rewards.iter().enumerate().filter(|(_, r)| !r.is_nan()) {
        if let Some(last) = (b * time..(b + 1) * time).rev().find(|&i| counted[i]) {
            tokens[last] = reward;
        }
    }
    Ok(from_host_on(tokens, shape, &mask.device()))
}

/// Token rewards less the KL penalty of each token, `[batch, time]`, without a graph.
///
/// `r_t - beta kl_t`, [arXiv:2203.02155], equation 2 per token. `rewards` and `kl` `[batch, time]`, `kl` (nats) from
/// [`kl`](crate::kl()) between the policy that sampled and the reference; zero outside the mask. With one reward per
/// response, start from [`at_last_token`]. In the reward, k1 is right: its expectation under the sampling policy is the KL,
/// and the policy gradient takes the derivative.
///
/// # Errors
/// [`Error::Shape`] when shapes differ, [`Error::Value`] for a negative beta.
///
/// ```
/// use burn::prelude::*;
/// use policy_gradient::reward::{at_last_token, less_kl};
/// let device = Device::flex();
/// let mask = Tensor::<2, Bool>::from_data([[true, true]], &device);
/// let kl = Tensor::<2>::from_data([[0.5, 1.0]], &device);
/// let rewards = less_kl(at_last_token(&[2.0], mask.clone())?, kl, mask, 0.5)?;
/// assert_eq!(rewards.into_data().to_vec::<f32>().unwrap(), [-0.25, 1.5]);
/// # Ok::<(), policy_gradient::Error>(())
/// ```
pub fn less_kl(rewards: Tensor<2>, kl: Tensor<2>, mask: Tensor<2, Bool>, beta: f64) -> Result<Tensor<2>> {
    let shape = rewards.dims();
    same_shape("kl", kl.dims(), shape)?;
    same_shape("mask", mask.dims(), shape)?;
    require("beta", beta, "a finite number >= 0", |b| b >= 0.0 && b.is_finite())?;
    let counted = mask_to_host("mask", mask)?;
    let (r, k) = (to_host("rewards", rewards.clone())?, to_host("kl", kl)?);
    let values = (0..r.len()).map(|i| if counted[i] { r[i] - beta * k[i] } else { 0.0 }).collect();
    Ok(from_host(values, shape, &rewards))
}

/// Rewards of whole responses less the KL penalty summed over their tokens (RLOO in TRL).
///
/// `R - beta sum_t kl_t`, [arXiv:2402.14740], equation 3. `kl` `[batch, time]`, nats. NaN rewards stay NaN.
///
/// # Errors
/// As [`less_kl`].
///
/// ```
/// use burn::prelude::*;
/// let device = Device::flex();
/// let mask = Tensor::<2, Bool>::from_data([[true, true]], &device);
/// let kl = Tensor::<2>::from_data([[0.5, 1.0]], &device);
/// assert_eq!(policy_gradient::reward::less_summed_kl(&[2.0], kl, mask, 0.5)?, [1.25]);
/// # Ok::<(), policy_gradient::Error>(())
/// ```
pub fn less_summed_kl(rewards: &[f64], kl: Tensor<2>, mask: Tensor<2, Bool>, beta: f64) -> Result<Vec<f64>> {
    let [batch, time] = mask.dims();
    same_length("rewards", rewards.len(), batch)?;
    same_shape("kl", kl.dims(), [batch, time])?;
    require("beta", beta, "a finite number >= 0", |b| b >= 0.0 && b.is_finite())?;
    let counted = mask_to_host("mask", mask)?;
    let k = to_host("kl", kl)?;
    let sum = |b: usize| (b * time..(b + 1) * time).filter(|&i| counted[i]).map(|i| k[i]).sum::<f64>();
    Ok(rewards.iter().enumerate().map(|(b, r)| r - beta * sum(b)).collect())
}

/// The mean over rows of the rows' mean KL, what [`AdaptiveKl`] is steered by (verl); empty rows count as zero.
///
/// # Errors
/// [`Error::Shape`] when shapes differ.
///
/// ```
/// use burn::prelude::*;
/// let device = Device::flex();
/// let mask = Tensor::<2, Bool>::from_data([[true, true], [true, false]], &device);
/// let kl = Tensor::<2>::from_data([[1.0, 2.0], [0.5, f32::NAN]], &device);
/// assert_eq!(policy_gradient::reward::mean_kl(kl, mask)?, 1.0); // (1.5 + 0.5) / 2
/// # Ok::<(), policy_gradient::Error>(())
/// ```
pub fn mean_kl(kl: Tensor<2>, mask: Tensor<2, Bool>) -> Result<f64> {
    let [batch, time] = kl.dims();
    same_shape("mask", mask.dims(), [batch, time])?;
    let counted = mask_to_host("mask", mask)?;
    let k = to_host("kl", kl)?;
    let mean = |b: usize| {
        let row: Vec<f64> = (b * time..(b + 1) * time).filter(|&i| counted[i]).map(|i| k[i]).collect();
        row.iter().sum::<f64>() / row.len().max(1) as f64
    };
    Ok((0..batch).map(mean).sum::<f64>() / batch.max(1) as f64)
}

/// A KL coefficient that follows a target.
///
/// `beta <- beta (1 + clip(kl / target - 1, ±0.2) n / horizon)`, [arXiv:1909.08593], section 2.2. The state is this
/// value: [`updated`](Self::updated) returns the next one.
///
/// ```
/// use policy_gradient::reward::AdaptiveKl;
/// let control = AdaptiveKl::new(0.1, 6.0, 100.0)?;
/// assert_eq!(control.updated(12.0, 50.0).beta, 0.1 * 1.1); // clip(1, ±0.2) * 50 / 100 = 0.1
/// # Ok::<(), policy_gradient::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdaptiveKl {
    /// The coefficient now.
    pub beta: f64,
    /// The KL it aims for, nats.
    pub target: f64,
    /// The number of samples over which the error counts in full.
    pub horizon: f64,
}

impl AdaptiveKl {
    /// # Errors
    /// [`Error::Value`] for a beta that is negative, or a target or horizon that is not positive.
    pub fn new(beta: f64, target: f64, horizon: f64) -> Result<Self> {
        require("beta", beta, "a finite number >= 0", |v| v >= 0.0 && v.is_finite())?;
        require("target", target, "a positive number", |v| v > 0.0 && v.is_finite())?;
        require("horizon", horizon, "a positive number", |v| v > 0.0 && v.is_finite())?;
        Ok(Self { beta, target, horizon })
    }

    /// The controller after `samples` samples whose mean KL was `kl`.
    pub fn updated(self, kl: f64, samples: f64) -> Self {
        let error = (kl / self.target - 1.0).clamp(-0.2, 0.2);
        Self { beta: self.beta * (1.0 + error * samples / self.horizon), ..self }
    }
}
