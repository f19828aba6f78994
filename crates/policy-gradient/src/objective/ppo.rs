//! The clipped ratio of PPO and its relatives: GRPO, DAPO, dual clip, GSPO, RLOO with clipping.

use burn::prelude::*;
use serde::{Deserialize, Serialize};

use super::PerToken;
use super::frame::Frame;
use crate::bounds::Bounds;
use crate::error::{Result, require};
use crate::num::choose;

/// How far the ratio may move before its gradient is cut, as distances from one.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Clip {
    /// Below: the ratio is clipped at `1 - low`.
    pub low: f64,
    /// Above: the ratio is clipped at `1 + high`; DAPO's "clip-higher" takes 0.28.
    pub high: f64,
}

impl Default for Clip {
    /// PPO's 0.2 on both sides.
    fn default() -> Self {
        Self { low: 0.2, high: 0.2 }
    }
}

impl Clip {
    pub(crate) fn check(&self) -> Result<()> {
        require("low", self.low, "a number >= 0", |v| v >= 0.0)?;
        require("high", self.high, "a number >= 0", |v| v >= 0.0)
    }

    /// The ratio cut to the range.
    pub(crate) fn apply(&self, ratio: Tensor<2>) -> Tensor<2> {
        ratio.clamp_min(1.0 - self.low).clamp_max(1.0 + self.high)
    }
}

/// What the ratio is taken over.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RatioLevel {
    /// `exp(logp - old_logp)` of each token (PPO, GRPO).
    #[default]
    Token,
    /// `exp(mean over the sequence of logp - old_logp)`, with the gradient through the mean (GSPO, eq. 7).
    SequenceMean,
    /// The same value, with the gradient through the token's own `logp` (GSPO-token, eq. 14), which allows advantages
    /// that differ within a sequence. The same gradient as [`SequenceMean`](Self::SequenceMean) when they do not.
    SequenceMeanToken,
    /// `exp(sum over the sequence of logp - old_logp)`: the true sequence ratio (TRL's RLOO).
    SequenceSum,
}

/// Settings of [`ppo_clip`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PpoClip {
    /// The clip range.
    pub clip: Clip,
    /// What the ratio is taken over.
    pub level: RatioLevel,
    /// Dual clip [arXiv:1912.09729], equation 5, `c > 1`: for negative advantages the loss is at most `-c A`.
    pub dual: Option<f64>,
    /// Upper cap on the unclipped ratio (TRL's `delta`, two-sided clipping of [arXiv:2505.07291]).
    pub cap: Option<f64>,
    /// The log-ratio is cut to this range before `exp`, without gradient outside: ±20 in verl and OpenRLHF.
    pub log_ratio: Bounds,
}

impl Default for PpoClip {
    fn default() -> Self {
        Self {
            clip: Clip::default(),
            level: RatioLevel::Token,
            dual: None,
            cap: None,
            log_ratio: Bounds::symmetric(20.0),
        }
    }
}

/// PPO's clipped surrogate: the pessimistic of the ratio-weighted and the clipped advantage.
///
/// `max(-A r, -A clip(r, 1 - low, 1 + high))` with `r = exp(logp - old_logp)`, [arXiv:1707.06347], equation 7; different
/// ends after DAPO [arXiv:2503.14476], equation 10. At `r = 1` it is REINFORCE. The gradient is zero exactly where
/// `A > 0` and `r > 1 + high`, or `A < 0` and `r < 1 - low`; on the other side the token still learns. [`PpoClip`] has
/// the variants.
///
/// Arguments, masks and errors as for [`objective`](super::objective).
///
/// ```
/// use burn::prelude::*;
/// use policy_gradient::objective::{PpoClip, ppo_clip};
///
/// let device = Device::flex().autodiff();
/// let logp = Tensor::<2>::from_data([[-1.0, -1.0]], &device).require_grad();
/// let advantages = Tensor::<2>::from_data([[2.0]], &device);
/// let mask = Tensor::<2, Bool>::from_data([[true, true]], &device);
/// let out = ppo_clip(logp.clone(), logp.clone().detach(), advantages, mask, &PpoClip::default())?;
/// let grads = out.loss.sum().backward();
/// let grad = logp.grad(&grads).unwrap().into_data().to_vec::<f32>().unwrap();
/// assert_eq!(grad, [-2.0, -2.0]); // at ratio one: minus the advantage
/// # Ok::<(), policy_gradient::Error>(())
/// ```
pub fn ppo_clip(
    logp: Tensor<2>,
    old_logp: Tensor<2>,
    advantages: Tensor<2>,
    mask: Tensor<2, Bool>,
    config: &PpoClip,
) -> Result<PerToken> {
    config.clip.check()?;
    config.log_ratio.check("log_ratio")?;
    if let Some(dual) = config.dual {
        require("dual", dual, "a number > 1", |v| v > 1.0)?;
    }
    if let Some(cap) = config.cap {
        require("cap", cap, "a positive number", |v| v > 0.0)?;
    }
    let frame = Frame::new(logp, old_logp, advantages, mask)?;
    let at = frame.leveled(config.level);
    let ratio = Frame::ratio(&at.log_ratio, &config.log_ratio);
    let (negative, positive) = (frame.negative(), frame.positive());
    let loss = |ratio: Tensor<2>| (frame.advantages.clone() * ratio).neg();

    // Where a limit holds the ratio, the loss is constant.
    let bounded = config.log_ratio.outside(&at.log_ratio);
    let mut capped = config.cap.map(|cap| ratio.clone().greater_elem(cap));
    let free = config.cap.map_or(ratio.clone(), |cap| ratio.clone().clamp_max(cap));
    let unclipped = loss(free);
    let clipped = loss(config.clip.apply(ratio.clone()));
    let cut = clipped.clone().greater(unclipped.clone());
    let mut slope = unclipped.clone();
    for held in [&capped, &bounded].into_iter().flatten() {
        slope = slope.mask_fill(held.clone(), 0.0);
    }
    // With a cap inside the clip range the clipped side may win where it still moves.
    let still =
        ratio.clone().lower_elem(1.0 - config.clip.low).bool_or(ratio.greater_elem(1.0 + config.clip.high));
    let still = bounded.clone().into_iter().fold(still, Tensor::bool_or);
    slope = choose(cut.clone(), clipped.clone().mask_fill(still.clone(), 0.0), slope);
    let mut value = choose(cut.clone(), clipped, unclipped);
    let cut = cut.bool_and(still);
    if let Some(dual) = config.dual {
        let ceiling = frame.advantages.clone().mul_scalar(-dual);
        let over = negative.clone().bool_and(value.clone().greater(ceiling.clone()));
        slope = slope.mask_fill(over.clone(), 0.0);
        value = choose(over.clone(), ceiling, value);
        capped = Some(capped.map_or(over.clone(), |c| c.bool_or(over)));
    }
    let idle = frame.advantages.clone().equal_elem(0.0);
    let value = value.mask_fill(idle, 0.0); // even where the ratio is infinite
    let mut observed = frame.observe(at.log_ratio.clone());
    observed.clipped_low = Some(cut.clone().bool_and(negative));
    observed.clipped_high = Some(cut.bool_and(positive));
    observed.capped = capped;
    observed.bounded = bounded;
    frame.finish(value, slope, &at.carrier, observed)
}
