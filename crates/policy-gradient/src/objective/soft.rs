//! Trust regions without PPO's corner: SAPO's gate, GMPO's geometric mean, DPPO's divergence mask.

use burn::prelude::*;
use serde::{Deserialize, Serialize};

use super::frame::Frame;
use super::{Clip, PerToken, RatioLevel};
use crate::bounds::Bounds;
use crate::error::{Result, require};
use crate::num::{choose, lengths, one_minus_exp, row_mean, zero_outside};

/// Settings of [`sapo`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Sapo {
    /// Temperature for positive advantages.
    pub tau_positive: f64,
    /// Temperature for the others: a little larger, so that pushing down decays faster.
    pub tau_negative: f64,
    /// What the ratio is taken over.
    pub level: RatioLevel,
    /// The log-ratio is cut to this range before `exp`, without gradient outside (verl: ±20).
    pub log_ratio: Bounds,
}

impl Default for Sapo {
    /// 1 and 1.05, as in the paper, verl and TRL.
    fn default() -> Self {
        Self {
            tau_positive: 1.0,
            tau_negative: 1.05,
            level: RatioLevel::Token,
            log_ratio: Bounds::symmetric(20.0),
        }
    }
}

/// SAPO: a smooth gate on the ratio instead of a clip.
///
/// `-A sigmoid(tau (r - 1)) 4 / tau`, [arXiv:2511.20347], equations 5 and 6; `tau` depends on the sign of the
/// advantage. Its gradient is REINFORCE's at `r = 1` and fades on both sides. Arguments and errors as for
/// [`objective`](super::objective).
///
/// ```
/// use burn::prelude::*;
/// use policy_gradient::objective::{Sapo, sapo};
///
/// let device = Device::flex().autodiff();
/// let logp = Tensor::<2>::from_data([[-1.0]], &device).require_grad();
/// let advantages = Tensor::<2>::from_data([[1.0]], &device);
/// let mask = Tensor::<2, Bool>::from_data([[true]], &device);
/// let out = sapo(logp.clone(), logp.clone().detach(), advantages, mask, &Sapo::default())?;
/// assert_eq!(out.loss.clone().into_scalar::<f32>(), -2.0); // sigmoid(0) * 4
/// let grads = out.loss.backward();
/// assert_eq!(logp.grad(&grads).unwrap().into_scalar::<f32>(), -1.0);
/// # Ok::<(), policy_gradient::Error>(())
/// ```
pub fn sapo(
    logp: Tensor<2>,
    old_logp: Tensor<2>,
    advantages: Tensor<2>,
    mask: Tensor<2, Bool>,
    config: &Sapo,
) -> Result<PerToken> {
    for (name, tau) in [("tau_positive", config.tau_positive), ("tau_negative", config.tau_negative)] {
        require(name, tau, "a positive number", |v| v > 0.0 && v.is_finite())?;
    }
    config.log_ratio.check("log_ratio")?;
    let frame = Frame::new(logp, old_logp, advantages, mask)?;
    let at = frame.leveled(config.level);
    let ratio = Frame::ratio(&at.log_ratio, &config.log_ratio);
    let tau =
        choose(frame.positive(), ratio.full_like(config.tau_positive), ratio.full_like(config.tau_negative));
    let gate = burn::tensor::activation::sigmoid(tau.clone() * ratio.clone().sub_scalar(1.0));
    let value = (frame.advantages.clone() * gate.clone()).mul_scalar(-4.0) / tau;
    let bend = gate.clone() * gate.neg().add_scalar(1.0);
    // Far out the gate is flat to the last bit while the ratio may be infinite.
    let bend = choose(bend.clone().equal_elem(0.0), bend.clone(), bend * ratio);
    let slope = (frame.advantages.clone() * bend).mul_scalar(-4.0);
    let slope = config.log_ratio.zero_outside(slope, &at.log_ratio);
    let mut observed = frame.observe(at.log_ratio.clone());
    observed.bounded = config.log_ratio.outside(&at.log_ratio);
    frame.finish(value, slope, &at.carrier, observed)
}

/// Settings of [`gmpo`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Gmpo {
    /// The range of each token's *log*-ratio: `[-low, high]`. The paper takes 0.4 and 0.4.
    pub clip: Clip,
}

impl Default for Gmpo {
    fn default() -> Self {
        Self { clip: Clip { low: 0.4, high: 0.4 } }
    }
}

/// GMPO: the geometric mean of the tokens' ratios, each clipped on the side where it would run away.
///
/// `-A exp(1/n sum_t c_t)` with `c_t = min(l, clip(l, -low, high))` for positive and the maximum of the two for negative
/// advantages, `l = logp - old_logp`, [arXiv:2507.20673], equation 4 (version 3). The loss of a sequence stands at each
/// of its tokens: aggregate with [`SequenceMeanTokenMean`](crate::Aggregation::SequenceMeanTokenMean) (verl and TRL
/// count empty rows). The advantage is the mean over the row's tokens. Other arguments and errors as for
/// [`objective`](super::objective).
///
/// ```
/// use burn::prelude::*;
/// use policy_gradient::objective::{Gmpo, gmpo};
///
/// let device = Device::flex();
/// let logp = Tensor::<2>::from_data([[-1.0, -1.0]], &device);
/// let old = Tensor::<2>::from_data([[-1.2, -2.0]], &device); // log-ratios 0.2 and 1
/// let advantages = Tensor::<2>::from_data([[1.0]], &device);
/// let mask = Tensor::<2, Bool>::from_data([[true, true]], &device);
/// let out = gmpo(logp, old, advantages, mask, &Gmpo::default())?;
/// let loss = out.loss.into_data().to_vec::<f32>().unwrap();
/// assert!((loss[0] + 0.3f32.exp()).abs() < 1e-6); // the mean of 0.2 and 0.4
/// # Ok::<(), policy_gradient::Error>(())
/// ```
pub fn gmpo(
    logp: Tensor<2>,
    old_logp: Tensor<2>,
    advantages: Tensor<2>,
    mask: Tensor<2, Bool>,
    config: &Gmpo,
) -> Result<PerToken> {
    config.clip.check()?;
    let frame = Frame::new(logp, old_logp, advantages, mask)?;
    let lengths = lengths(&frame.mask, frame.dtype);
    let l = frame.log_ratio.clone();
    let (positive, negative) = (frame.positive(), frame.negative());
    let high = positive.clone().bool_and(l.clone().greater_elem(config.clip.high));
    let low = negative.clone().bool_and(l.clone().lower_elem(-config.clip.low));
    let idle = positive.bool_or(negative).bool_not();
    let clipped = l.mask_fill(high.clone(), config.clip.high).mask_fill(low.clone(), -config.clip.low);
    let clipped = clipped.mask_fill(idle.clone(), 0.0);
    let ratio = row_mean(clipped, &lengths).exp();
    let advantage = row_mean(frame.advantages.clone(), &lengths);
    let value = (advantage * ratio).neg().expand(frame.shape);
    let stopped = high.clone().bool_or(low.clone()).bool_or(idle);
    let carrier = row_mean(frame.carrier.clone().mask_fill(stopped, 0.0), &lengths).expand(frame.shape);
    let mut observed = frame.observe(frame.log_ratio.clone());
    observed.clipped_low = Some(low);
    observed.clipped_high = Some(high);
    let value = zero_outside(value, &frame.mask);
    frame.finish(value.clone(), value, &carrier, observed)
}

/// How DPPO measures that a token's probability has moved too far: [arXiv:2602.04879], equations 13 and 14 (version 3).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Divergence {
    /// `|p - p_old|`: total variation of the binary event "this token".
    #[default]
    TotalVariation,
    /// `p_old ln(p_old / p) + (1 - p_old) ln((1 - p_old) / (1 - p))`: its KL divergence.
    Kl,
}

/// Which surrogate DPPO masks. Their gradients agree until the cap binds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Surrogate {
    /// `-A r` (the paper, prime-rl).
    #[default]
    Ratio,
    /// `-A sg[min(r, cap)] logp` (verl, cap 20).
    Score {
        /// The largest weight.
        cap: f64,
    },
}

/// Settings of [`dppo`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Dppo {
    /// The measure.
    pub divergence: Divergence,
    /// Limit for tokens pushed down that became rarer.
    pub low: f64,
    /// Limit for tokens pushed up that became more frequent.
    pub high: f64,
    /// What is masked.
    pub surrogate: Surrogate,
    /// The log-ratio is cut to this range before `exp` (verl: ±20).
    pub log_ratio: Bounds,
}

impl Default for Dppo {
    /// Total variation with 0.2 on both sides.
    fn default() -> Self {
        Self {
            divergence: Divergence::TotalVariation,
            low: 0.2,
            high: 0.2,
            surrogate: Surrogate::Ratio,
            log_ratio: Bounds::symmetric(20.0),
        }
    }
}

/// DPPO: drop tokens whose *probability*, not ratio, has moved too far in the direction of the advantage.
///
/// [arXiv:2602.04879], equation 12 (version 3). A rare token may multiply its probability without leaving the trust
/// region; a frequent one may not. Dropped tokens have loss and gradient zero. Arguments and errors as for
/// [`objective`](super::objective).
///
/// ```
/// use burn::prelude::*;
/// use policy_gradient::objective::{Dppo, dppo};
///
/// let device = Device::flex();
/// let logp = Tensor::<2>::from_data([[0.02f32.ln(), 0.9f32.ln()]], &device);
/// let old = Tensor::<2>::from_data([[0.01f32.ln(), 0.6f32.ln()]], &device); // ratios 2 and 1.5
/// let advantages = Tensor::<2>::from_data([[1.0]], &device);
/// let mask = Tensor::<2, Bool>::from_data([[true, true]], &device);
/// let out = dppo(logp, old, advantages, mask, &Dppo::default())?;
/// let loss = out.loss.into_data().to_vec::<f32>().unwrap();
/// assert!((loss[0] + 2.0).abs() < 1e-5); // moved by 0.01: kept
/// assert_eq!(loss[1], 0.0); // moved by 0.3: dropped
/// # Ok::<(), policy_gradient::Error>(())
/// ```
pub fn dppo(
    logp: Tensor<2>,
    old_logp: Tensor<2>,
    advantages: Tensor<2>,
    mask: Tensor<2, Bool>,
    config: &Dppo,
) -> Result<PerToken> {
    require("low", config.low, "a number >= 0", |v| v >= 0.0)?;
    require("high", config.high, "a number >= 0", |v| v >= 0.0)?;
    config.log_ratio.check("log_ratio")?;
    let frame = Frame::new(logp, old_logp, advantages, mask)?;
    let (p, p_old) = (frame.logp.clone().exp(), frame.old_logp.clone().exp());
    let (too_low, too_high) = match config.divergence {
        Divergence::TotalVariation => {
            let moved = p - p_old;
            (moved.clone().lower_elem(-config.low), moved.greater_elem(config.high))
        }
        Divergence::Kl => {
            // The two additions stay apart: 1 + 1e-8 is 1 in f32.
            let rest = |logp: Tensor<2>| one_minus_exp(logp).add_scalar(1e-8);
            let (rest_old, rest_new) = (rest(frame.old_logp.clone()), rest(frame.logp.clone()));
            let kl = p_old.clone() * frame.log_ratio.clone().neg()
                + one_minus_exp(frame.old_logp.clone()) * (rest_old / rest_new).log();
            let fell = p.clone().lower(p_old.clone());
            let rose = p.greater(p_old);
            (
                kl.clone().lower_equal_elem(config.low).bool_not().bool_and(fell),
                kl.lower_equal_elem(config.high).bool_not().bool_and(rose),
            )
        }
    };
    let positive = frame.positive();
    let dropped_high = too_high.bool_and(positive.clone());
    let dropped_low = too_low.bool_and(positive.bool_not());
    let dropped = dropped_high.clone().bool_or(dropped_low.clone());
    let ratio = Frame::ratio(&frame.log_ratio, &config.log_ratio);
    let (value, slope, capped) = match config.surrogate {
        Surrogate::Ratio => {
            let surrogate = (frame.advantages.clone() * ratio).neg();
            let slope = config.log_ratio.zero_outside(surrogate.clone(), &frame.log_ratio);
            (surrogate, slope, None)
        }
        Surrogate::Score { cap } => {
            require("cap", cap, "a positive number", |v| v > 0.0)?;
            let slope = (ratio.clone().clamp_max(cap) * frame.advantages.clone()).neg();
            (slope.clone() * frame.logp.clone(), slope, Some(ratio.greater_elem(cap)))
        }
    };
    let mut observed = frame.observe(frame.log_ratio.clone());
    observed.clipped_low = Some(dropped_low);
    observed.clipped_high = Some(dropped_high);
    observed.capped = capped.map(|over: Tensor<2, Bool>| over.bool_and(dropped.clone().bool_not()));
    observed.bounded = config.log_ratio.outside(&frame.log_ratio);
    frame.finish(
        value.mask_fill(dropped.clone(), 0.0),
        slope.mask_fill(dropped, 0.0),
        &frame.carrier,
        observed,
    )
}
