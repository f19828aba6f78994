//! Losses per token (to be minimised), apart from how they are aggregated.

mod covariance;
mod frame;
mod ppo;
mod score;
mod soft;

use burn::prelude::*;
use serde::{Deserialize, Serialize};

pub use covariance::{ClipCov, KlCov, clip_cov, kl_cov};
pub use ppo::{Clip, PpoClip, RatioLevel, ppo_clip};
pub use score::{Cispo, Dro, Gamma, Topr, Vespo, cispo, dro, reinforce, topr, vespo};
pub use soft::{Divergence, Dppo, Gmpo, Sapo, Surrogate, dppo, gmpo, sapo};

use crate::diagnostics::Diagnostics;
use crate::error::{Result, same_shape};
use crate::num::{constant, expand, to_host, zero_outside};

/// A loss for every token and what happened on the way.
#[derive(Debug, Clone)]
pub struct PerToken {
    /// `[batch, time]`, with a graph through `logp`; zero outside the mask.
    pub loss: Tensor<2>,
    /// Detached sums over the counted tokens.
    pub diagnostics: Diagnostics,
    /// The mask the objective was computed with, without autodiff.
    mask: Tensor<2, Bool>,
}

impl PerToken {
    pub(crate) fn new(loss: Tensor<2>, diagnostics: Diagnostics, mask: Tensor<2, Bool>) -> Self {
        Self { loss, diagnostics, mask }
    }

    /// Multiplies each token's loss by a weight that is held constant, `[batch, 1]` or `[batch, time]`: the correction
    /// for a sampler that is not the trainer, for instance. Weights outside the mask are never read.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape) when the weights fit neither shape.
    ///
    /// ```
    /// use burn::prelude::*;
    /// use policy_gradient::{Objective, objective};
    ///
    /// let device = Device::flex();
    /// let row = |v: [f32; 2]| Tensor::<2>::from_data([v], &device);
    /// let (logp, mask) = (row([-1.0, -2.0]), Tensor::<2, Bool>::full([1, 2], true, &device));
    /// let advantages = Tensor::<2>::from_data([[3.0]], &device);
    /// let out = objective(logp.clone(), logp, advantages, mask, &Objective::Reinforce)?; // losses 3 and 6
    /// let out = out.weighted(row([0.5, 2.0]))?;
    /// assert_eq!(out.loss.into_data().to_vec::<f32>().unwrap(), [1.5, 12.0]);
    /// # Ok::<(), policy_gradient::Error>(())
    /// ```
    pub fn weighted(mut self, weights: Tensor<2>) -> Result<Self> {
        let weights = expand("weights", weights, self.loss.dims())?;
        let weights = constant(weights, &self.mask, self.loss.dtype());
        self.loss = self.loss * weights;
        Ok(self)
    }

    /// Adds `beta` times a KL term (nats, `[batch, time]`, with its graph, from [`kl`](crate::kl())): GRPO's penalty,
    /// [arXiv:2402.03300], equation 3. Values outside the mask are never read.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape) when the shapes differ.
    ///
    /// ```
    /// use burn::prelude::*;
    /// use policy_gradient::{Objective, objective};
    ///
    /// let device = Device::flex();
    /// let row = |v: [f32; 2]| Tensor::<2>::from_data([v], &device);
    /// let (logp, mask) = (row([-1.0, -2.0]), Tensor::<2, Bool>::full([1, 2], true, &device));
    /// let advantages = Tensor::<2>::from_data([[3.0]], &device);
    /// let out = objective(logp.clone(), logp, advantages, mask, &Objective::Reinforce)?; // losses 3 and 6
    /// let out = out.plus_kl(row([1.0, 2.0]), 0.5)?;
    /// assert_eq!(out.loss.into_data().to_vec::<f32>().unwrap(), [3.5, 7.0]);
    /// # Ok::<(), policy_gradient::Error>(())
    /// ```
    pub fn plus_kl(mut self, kl: Tensor<2>, beta: f64) -> Result<Self> {
        same_shape("kl", kl.dims(), self.loss.dims())?;
        let dtype = self.loss.dtype();
        self.loss = self.loss + zero_outside(kl.cast(dtype), &self.mask).mul_scalar(beta);
        Ok(self)
    }

    /// Subtracts `coefficient` times the entropy (nats, `[batch, time]`, with its graph): the bonus for exploration,
    /// the last term of [arXiv:1707.06347], equation 9. The entropy enters the diagnostics, with a coefficient of zero
    /// too. Values outside the mask are never read.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape) when the shapes differ.
    ///
    /// ```
    /// use burn::prelude::*;
    /// use policy_gradient::{Objective, objective};
    ///
    /// let device = Device::flex();
    /// let row = |v: [f32; 2]| Tensor::<2>::from_data([v], &device);
    /// let (logp, mask) = (row([-1.0, -2.0]), Tensor::<2, Bool>::full([1, 2], true, &device));
    /// let advantages = Tensor::<2>::from_data([[3.0]], &device);
    /// let out = objective(logp.clone(), logp, advantages, mask, &Objective::Reinforce)?; // losses 3 and 6
    /// let out = out.minus_entropy(row([1.0, 2.0]), 0.5)?;
    /// assert_eq!(out.loss.into_data().to_vec::<f32>().unwrap(), [2.5, 5.0]);
    /// assert_eq!(out.diagnostics.entropy, 3.0);
    /// # Ok::<(), policy_gradient::Error>(())
    /// ```
    pub fn minus_entropy(mut self, entropy: Tensor<2>, coefficient: f64) -> Result<Self> {
        same_shape("entropy", entropy.dims(), self.loss.dims())?;
        let dtype = self.loss.dtype();
        let entropy = zero_outside(entropy.cast(dtype), &self.mask);
        self.diagnostics.entropy += to_host("entropy", entropy.clone().sum())?[0];
        self.diagnostics.entropy_tokens += self.diagnostics.tokens;
        if coefficient != 0.0 {
            self.loss = self.loss - entropy.mul_scalar(coefficient);
        }
        Ok(self)
    }
}

/// An objective by name and with its settings; [`objective`] computes it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Objective {
    /// [`ppo_clip`]: PPO, GRPO, Dr. GRPO, DAPO, dual clip, GSPO, RLOO with clipping.
    PpoClip(PpoClip),
    /// [`reinforce`]: REINFORCE, RLOO, ReMax, GPG.
    Reinforce,
    /// [`cispo`].
    Cispo(Cispo),
    /// [`sapo`].
    Sapo(Sapo),
    /// [`gmpo`].
    Gmpo(Gmpo),
    /// [`dppo`].
    Dppo(Dppo),
    /// [`topr`], with the sign of the advantage in place of the reward's.
    Topr(Topr),
    /// [`dro`].
    Dro(Dro),
    /// [`clip_cov`].
    ClipCov(ClipCov),
    /// [`kl_cov`].
    KlCov(KlCov),
    /// [`vespo`], without sampler weights.
    Vespo(Vespo),
}

impl Objective {
    /// PPO's clipped ratio with a lower and an upper clip: 0.2 and 0.2 in PPO and GRPO, 0.2 and 0.28 in DAPO.
    pub fn ppo_clip(low: f64, high: f64) -> Self {
        Self::PpoClip(PpoClip { clip: Clip { low, high }, ..PpoClip::default() })
    }

    /// GSPO: the clipped ratio of the sequence's mean log-ratio, [arXiv:2507.18071], equations 5 and 7. The paper's range
    /// is 3e-4 below and 4e-4 above.
    ///
    /// ```
    /// use burn::prelude::*;
    /// use policy_gradient::{Objective, objective};
    ///
    /// let device = Device::flex();
    /// let row = |v: [f32; 2]| Tensor::<2>::from_data([v], &device);
    /// let mask = Tensor::<2, Bool>::full([1, 2], true, &device);
    /// // Log-ratios 0.5 and -0.25: their mean is 0.125, and exp(0.125) lies beyond the range.
    /// let (new, old) = (row([-1.0, -2.0]), row([-1.5, -1.75]));
    /// let out = objective(new, old, row([3.0, 3.0]), mask, &Objective::gspo(3e-4, 4e-4))?;
    /// let loss = out.loss.into_data().to_vec::<f32>().unwrap();
    /// assert!(loss.iter().all(|l| (l + 3.0 * 1.0004).abs() < 1e-5));
    /// # Ok::<(), policy_gradient::Error>(())
    /// ```
    pub fn gspo(low: f64, high: f64) -> Self {
        Self::PpoClip(PpoClip {
            clip: Clip { low, high },
            level: RatioLevel::SequenceMean,
            ..PpoClip::default()
        })
    }
}

/// The loss of every token under `config`.
///
/// `logp` `[batch, time]`: log-probabilities (nats) of the sampled tokens under the policy being trained, with a graph.
/// `old_logp` `[batch, time]`: the same under the policy that sampled them, or under the policy at the start of the
/// step. `advantages` `[batch, 1]` or `[batch, time]`. `mask` `[batch, time]`, true = counts. Everything but `logp` is
/// held constant. Values outside the mask are never read.
///
/// # Errors
/// [`Error::Shape`](crate::Error::Shape) when shapes differ, [`Error::Value`](crate::Error::Value) when a setting makes
/// no sense.
///
/// ```
/// use burn::prelude::*;
/// use policy_gradient::{Objective, objective};
///
/// let device = Device::flex();
/// let old = Tensor::<2>::from_data([[0.5f32.ln(), 0.5f32.ln()]], &device);
/// let new = Tensor::<2>::from_data([[0.75f32.ln(), 0.25f32.ln()]], &device); // ratios 1.5 and 0.5
/// let advantages = Tensor::<2>::from_data([[1.0]], &device);
/// let mask = Tensor::<2, Bool>::from_data([[true, true]], &device);
/// let out = objective(new, old, advantages, mask, &Objective::ppo_clip(0.2, 0.28))?;
/// let loss = out.loss.into_data().to_vec::<f32>().unwrap();
/// assert!((loss[0] + 1.28).abs() < 1e-6); // clipped from above
/// assert!((loss[1] + 0.5).abs() < 1e-6); // a good token that became rarer still learns
/// assert_eq!(out.diagnostics.clipped_high, 1.0);
/// # Ok::<(), policy_gradient::Error>(())
/// ```
pub fn objective(
    logp: Tensor<2>,
    old_logp: Tensor<2>,
    advantages: Tensor<2>,
    mask: Tensor<2, Bool>,
    config: &Objective,
) -> Result<PerToken> {
    match config {
        Objective::PpoClip(c) => ppo_clip(logp, old_logp, advantages, mask, c),
        Objective::Reinforce => reinforce(logp, old_logp, advantages, mask),
        Objective::Cispo(c) => cispo(logp, old_logp, advantages, mask, c),
        Objective::Sapo(c) => sapo(logp, old_logp, advantages, mask, c),
        Objective::Gmpo(c) => gmpo(logp, old_logp, advantages, mask, c),
        Objective::Dppo(c) => dppo(logp, old_logp, advantages, mask, c),
        Objective::Topr(c) => topr(logp, old_logp, advantages, None, mask, c),
        Objective::Dro(c) => dro(logp, old_logp, advantages, mask, c),
        Objective::ClipCov(c) => clip_cov(logp, old_logp, advantages, mask, c),
        Objective::KlCov(c) => kl_cov(logp, old_logp, advantages, mask, c),
        Objective::Vespo(c) => vespo(logp, old_logp, advantages, None, mask, c),
    }
}
