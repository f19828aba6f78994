//! Objectives that weigh the log-probability with a constant: REINFORCE, CISPO, TOPR, DRO, VESPO.

use burn::prelude::*;
use serde::{Deserialize, Serialize};

use super::frame::Frame;
use super::{PerToken, RatioLevel};
use crate::bounds::Bounds;
use crate::error::{Result, require};
use crate::num::{choose, constant, expand};

/// REINFORCE: the log-probability weighed by the advantage. GPG [arXiv:2504.02546], equation 5, is this with
/// its own advantage.
///
/// `-A logp`. `old_logp` only serves the diagnostics. Arguments and errors as for [`objective`](super::objective).
///
/// ```
/// use burn::prelude::*;
/// use policy_gradient::objective::reinforce;
///
/// let device = Device::flex();
/// let logp = Tensor::<2>::from_data([[-1.0, -2.0]], &device);
/// let advantages = Tensor::<2>::from_data([[3.0]], &device);
/// let mask = Tensor::<2, Bool>::from_data([[true, true]], &device);
/// let out = reinforce(logp.clone(), logp, advantages, mask)?;
/// assert_eq!(out.loss.into_data().to_vec::<f32>().unwrap(), [3.0, 6.0]);
/// # Ok::<(), policy_gradient::Error>(())
/// ```
pub fn reinforce(
    logp: Tensor<2>,
    old_logp: Tensor<2>,
    advantages: Tensor<2>,
    mask: Tensor<2, Bool>,
) -> Result<PerToken> {
    let frame = Frame::new(logp, old_logp, advantages, mask)?;
    let slope = frame.advantages.clone().neg();
    let value = slope.clone() * frame.logp.clone();
    frame.finish(value, slope, &frame.carrier, frame.observe(frame.log_ratio.clone()))
}

/// Settings of [`cispo`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Cispo {
    /// The range of the weight: at most `1 + high` in open-instruct and with MiniMax's setting, an absolute cap in TRL
    /// (`epsilon_high`), `[1 - low, 1 + high]` in verl.
    pub ratio: Bounds,
    /// What the ratio is taken over.
    pub level: RatioLevel,
    /// The log-ratio is cut to this range before `exp`.
    pub log_ratio: Bounds,
}

impl Default for Cispo {
    /// An upper limit of 1.28 only.
    fn default() -> Self {
        Self { ratio: Bounds::at_most(1.28), level: RatioLevel::Token, log_ratio: Bounds::symmetric(20.0) }
    }
}

/// CISPO: a clipped importance weight on REINFORCE, so that no token's gradient is ever dropped.
///
/// `-sg[clip(r)] A logp`, [arXiv:2506.13585], equations 4 and 5. Arguments and errors as for
/// [`objective`](super::objective).
///
/// ```
/// use burn::prelude::*;
/// use policy_gradient::objective::{Cispo, cispo};
///
/// let device = Device::flex().autodiff();
/// let logp = Tensor::<2>::from_data([[-1.0]], &device).require_grad();
/// let old = Tensor::<2>::from_data([[-3.0]], &device); // ratio e²
/// let advantages = Tensor::<2>::from_data([[1.0]], &device);
/// let mask = Tensor::<2, Bool>::from_data([[true]], &device);
/// let out = cispo(logp.clone(), old, advantages, mask, &Cispo::default())?;
/// let grads = out.loss.sum().backward();
/// assert_eq!(logp.grad(&grads).unwrap().into_scalar::<f32>(), -1.28); // weight at the cap; PPO would give zero
/// # Ok::<(), policy_gradient::Error>(())
/// ```
pub fn cispo(
    logp: Tensor<2>,
    old_logp: Tensor<2>,
    advantages: Tensor<2>,
    mask: Tensor<2, Bool>,
    config: &Cispo,
) -> Result<PerToken> {
    config.ratio.check("ratio")?;
    config.log_ratio.check("log_ratio")?;
    let frame = Frame::new(logp, old_logp, advantages, mask)?;
    let at = frame.leveled(config.level);
    let ratio = Frame::ratio(&at.log_ratio, &config.log_ratio);
    let slope = (config.ratio.clamp(ratio.clone()) * frame.advantages.clone()).neg();
    let value = slope.clone() * frame.logp.clone();
    let mut observed = frame.observe(at.log_ratio);
    observed.clipped_low = config.ratio.low.map(|low| ratio.clone().lower_elem(low));
    observed.clipped_high = config.ratio.high.map(|high| ratio.greater_elem(high));
    frame.finish(value, slope, &frame.carrier, observed)
}

/// Settings of [`topr`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Topr {
    /// The range of the weight of responses without a positive reward: `[0, 1]` in the paper.
    pub ratio: Bounds,
    /// What the ratio is taken over: the whole sequence in the paper, the token in ROLL.
    pub level: RatioLevel,
    /// Weight of responses with a positive reward.
    pub positive: f64,
    /// Weight of the others.
    pub negative: f64,
    /// The log-ratio is cut to this range before `exp`.
    pub log_ratio: Bounds,
}

impl Default for Topr {
    fn default() -> Self {
        Self {
            ratio: Bounds::between(0.0, 1.0),
            level: RatioLevel::SequenceSum,
            positive: 1.0,
            negative: 1.0,
            log_ratio: Bounds::symmetric(20.0),
        }
    }
}

/// TOPR: learn fully from what was rewarded, and with a tapered weight from what was not.
///
/// `-A logp` where the reward is positive, `-sg[clip(r, 0, 1)] A logp` elsewhere, [arXiv:2503.14286], equation 8.
/// `rewards` `[batch, 1]` or `[batch, time]` decides which is which; without it the sign of the advantage does.
/// The other arguments and errors as for [`objective`](super::objective).
///
/// ```
/// use burn::prelude::*;
/// use policy_gradient::objective::{Topr, topr};
///
/// let device = Device::flex();
/// let logp = Tensor::<2>::from_data([[-1.0], [-1.0]], &device);
/// let old = Tensor::<2>::from_data([[-1.0 + 2f32.ln()], [-1.0 + 2f32.ln()]], &device); // ratio 1/2
/// let advantages = Tensor::<2>::from_data([[1.0], [-1.0]], &device);
/// let mask = Tensor::<2, Bool>::from_data([[true], [true]], &device);
/// let out = topr(logp, old, advantages, None, mask, &Topr::default())?;
/// let loss = out.loss.into_data().to_vec::<f32>().unwrap();
/// assert_eq!(loss[0], 1.0); // -1 * -1
/// assert!((loss[1] + 0.5).abs() < 1e-6); // half of it
/// # Ok::<(), policy_gradient::Error>(())
/// ```
pub fn topr(
    logp: Tensor<2>,
    old_logp: Tensor<2>,
    advantages: Tensor<2>,
    rewards: Option<Tensor<2>>,
    mask: Tensor<2, Bool>,
    config: &Topr,
) -> Result<PerToken> {
    config.ratio.check("ratio")?;
    config.log_ratio.check("log_ratio")?;
    let frame = Frame::new(logp, old_logp, advantages, mask)?;
    let rewarded = match rewards {
        Some(rewards) => {
            constant(expand("rewards", rewards, frame.shape)?, &frame.mask, frame.dtype).greater_elem(0.0)
        }
        None => frame.positive(),
    };
    let at = frame.leveled(config.level);
    let ratio = Frame::ratio(&at.log_ratio, &config.log_ratio);
    let tapered = config.ratio.clamp(ratio.clone()).mul_scalar(config.negative);
    let weight = choose(rewarded.clone(), tapered.full_like(config.positive), tapered);
    let slope = (weight * frame.advantages.clone()).neg();
    let value = slope.clone() * frame.logp.clone();
    let mut observed = frame.observe(at.log_ratio);
    observed.capped = config.ratio.outside(&ratio).map(|outside| outside.bool_and(rewarded.bool_not()));
    frame.finish(value, slope, &frame.carrier, observed)
}

/// Settings of [`dro`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dro {
    /// The strength of the pull towards the old policy.
    pub beta: f64,
}

/// DRO: REINFORCE with a quadratic pull towards the policy that sampled; needs no clipping off policy.
///
/// `-(A logp - beta/2 (logp - old_logp)²)`, [arXiv:2405.19107], equation 8, with the value as baseline; also the
/// surrogate of Kimi k1.5 [arXiv:2501.12599], equation 3. Both papers square the log-ratio of the whole response; here, as in
/// verl, each token's is, and the pull is towards the policy that sampled (DRO's own is towards a reference). Arguments and errors as for [`objective`](super::objective).
///
/// ```
/// use burn::prelude::*;
/// use policy_gradient::objective::{Dro, dro};
///
/// let device = Device::flex();
/// let logp = Tensor::<2>::from_data([[-1.0]], &device);
/// let old = Tensor::<2>::from_data([[-3.0]], &device);
/// let advantages = Tensor::<2>::from_data([[0.5]], &device);
/// let mask = Tensor::<2, Bool>::from_data([[true]], &device);
/// let out = dro(logp, old, advantages, mask, &Dro { beta: 0.1 })?;
/// assert!((out.loss.into_scalar::<f32>() - 0.7).abs() < 1e-6); // 0.5 + 0.05 * 4
/// # Ok::<(), policy_gradient::Error>(())
/// ```
pub fn dro(
    logp: Tensor<2>,
    old_logp: Tensor<2>,
    advantages: Tensor<2>,
    mask: Tensor<2, Bool>,
    config: &Dro,
) -> Result<PerToken> {
    require("beta", config.beta, "a positive number", |v| v > 0.0 && v.is_finite())?;
    let frame = Frame::new(logp, old_logp, advantages, mask)?;
    let pull = frame.log_ratio.clone().mul_scalar(config.beta);
    let value = pull.clone() * frame.log_ratio.clone().mul_scalar(0.5)
        - frame.advantages.clone() * frame.logp.clone();
    let slope = pull - frame.advantages.clone();
    frame.finish(value, slope, &frame.carrier, frame.observe(frame.log_ratio.clone()))
}

/// One branch of [`Vespo`]: `phi(w) = exp(lambda + k log w - lambda w)`, normalised to `phi(1) = 1`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gamma {
    /// The exponent of the weight.
    pub k: f64,
    /// The rate of decay.
    pub lambda: f64,
}

/// Settings of [`vespo`]; the defaults are TRL's.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Vespo {
    /// For advantages >= 0.
    pub positive: Gamma,
    /// For negative advantages.
    pub negative: Gamma,
}

impl Default for Vespo {
    fn default() -> Self {
        Self { positive: Gamma { k: 2.0, lambda: 3.0 }, negative: Gamma { k: 3.0, lambda: 2.0 } }
    }
}

/// VESPO: the whole sequence's importance weight, reshaped by a gamma-shaped kernel instead of clipped.
///
/// `-sg[phi(w)] A logp` with `w = exp(sum over the sequence of logp - old_logp)`, [arXiv:2602.10693], equation 20
/// (version 3), as TRL's loss type of that name. `log w` is cut to `[ln 1e-8, 20]`, each token's log-ratio to ±20.
/// `sampler_weights` `[batch, 1]` or `[batch, time]`, if given, are importance weights between the old policy and the
/// sampler and are multiplied into `w`. The other arguments and errors as for [`objective`](super::objective).
///
/// ```
/// use burn::prelude::*;
/// use policy_gradient::objective::{Vespo, vespo};
///
/// let device = Device::flex();
/// let logp = Tensor::<2>::from_data([[-1.0, -2.0]], &device);
/// let advantages = Tensor::<2>::from_data([[1.0]], &device);
/// let mask = Tensor::<2, Bool>::from_data([[true, true]], &device);
/// let out = vespo(logp.clone(), logp, advantages, None, mask, &Vespo::default())?; // w = 1, so phi = 1
/// assert_eq!(out.loss.into_data().to_vec::<f32>().unwrap(), [1.0, 2.0]);
/// # Ok::<(), policy_gradient::Error>(())
/// ```
pub fn vespo(
    logp: Tensor<2>,
    old_logp: Tensor<2>,
    advantages: Tensor<2>,
    sampler_weights: Option<Tensor<2>>,
    mask: Tensor<2, Bool>,
    config: &Vespo,
) -> Result<PerToken> {
    const LOWEST: f64 = -18.420_680_743_952_367; // ln 1e-8
    let frame = Frame::new(logp, old_logp, advantages, mask)?;
    let mut log_w = frame.log_ratio.clone().clamp(-20.0, 20.0).sum_dim(1);
    if let Some(weights) = sampler_weights {
        let per_row = weights.dims()[1] == 1 && frame.shape[1] != 1;
        let log = |w: Tensor<2>| w.log().clamp(LOWEST, 20.0);
        let weights = if per_row {
            let [rows, _] = weights.dims();
            expand("sampler_weights", weights.clone(), [frame.shape[0], 1])?;
            debug_assert_eq!(rows, frame.shape[0]);
            log(weights.without_autodiff().cast(frame.dtype))
        } else {
            let weights =
                constant(expand("sampler_weights", weights, frame.shape)?, &frame.mask, frame.dtype);
            // Ones outside the mask add nothing.
            log(weights.mask_fill(frame.mask.clone().bool_not(), 1.0)).sum_dim(1)
        };
        log_w = log_w + weights;
    }
    let log_w = log_w.clamp(LOWEST, 20.0).expand(frame.shape);
    let phi = |gamma: Gamma| {
        let lambda = gamma.lambda.max(1e-4);
        (log_w.clone().mul_scalar(gamma.k) - log_w.clone().exp().mul_scalar(lambda)).add_scalar(lambda).exp()
    };
    let phi = choose(frame.negative(), phi(config.negative), phi(config.positive));
    let phi = phi.clone().mask_fill(phi.is_finite().bool_not(), 0.0);
    let slope = (phi * frame.advantages.clone()).neg();
    let value = slope.clone() * frame.logp.clone();
    frame.finish(value, slope, &frame.carrier, frame.observe(frame.log_ratio.clone()))
}
