//! How far a policy has moved from a reference, estimated from the sampled tokens alone.

use burn::prelude::*;
use serde::{Deserialize, Serialize};

use crate::bounds::Bounds;
use crate::error::{Error, Result, require, same_shape};
use crate::num::{attach, choose, constant, inner_mask, working, zero_outside};

/// Which estimator of KL(policy || reference), with `d = logp - ref_logp` of tokens drawn from the policy.
///
/// All are unbiased or nearly so as *values*: J. Schulman, "Approximating KL divergence", 2020,
/// <http://joschu.net/blog/kl-approx.html>. What they are as *losses* is another question: see [`KlGradient`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KlEstimator {
    /// `d`: unbiased, high variance, negative for some tokens.
    K1,
    /// `d² / 2`: biased, low variance.
    K2,
    /// `exp(-d) - 1 + d`: unbiased, never negative, zero only where the policies agree.
    #[default]
    K3,
    /// `|d|`.
    Abs,
}

/// Which gradient the KL term has when it is part of the loss.
///
/// For tokens drawn from the current policy, the gradient of k1 has expectation zero (it only adds noise), that of k2 is
/// the gradient of KL(policy || reference), and that of k3 is the gradient of KL(reference || policy). Off the policy
/// the latter two need an importance weight: see [`KlWeight`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KlGradient {
    /// The derivative of the estimator itself. With k3 this is what GRPO's paper, [arXiv:2402.03300], equation 4, and
    /// TRL do.
    #[default]
    OfEstimator,
    /// The derivative of k2, `d`, whatever the value: unbiased for KL(policy || reference). verl's `k1+`, `k3+`;
    /// OpenRLHF's `unbiased_gradient`.
    OfK2,
}

/// The importance weight `w = exp(logp - old_logp)` on the KL term, for tokens drawn from an older policy.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KlWeight {
    /// None: right when the tokens come from the current policy.
    #[default]
    None,
    /// `w` itself with its own gradient: `grad (w k3)` is an unbiased gradient of KL(policy || reference) (TRL's
    /// `use_bias_correction_kl`; DeepSeek-V3.2, [arXiv:2512.02556], equation 7; with k1, open-instruct's fourth
    /// estimator).
    Ratio,
    /// `w` averaged over the sequence in log space, with its gradient (TRL with sequence-level ratios).
    SequenceRatio,
    /// The gradient alone is multiplied by `min(w, cap)`, held constant (OpenRLHF, cap 10).
    DetachedOnGradient {
        /// The largest weight.
        cap: f64,
    },
}

/// The KL term per token.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Kl {
    /// The value.
    pub estimator: KlEstimator,
    /// The gradient.
    pub gradient: KlGradient,
    /// The importance weight.
    pub weight: KlWeight,
    /// `d` is cut to this range, without gradient outside: ±20 verl, ±40 open-instruct, [-10, inf) OpenRLHF's k3.
    pub log_ratio: Bounds,
    /// The value is cut to ± this, without gradient outside: 10 in verl's k3 and in OpenRLHF.
    pub value_bound: Option<f64>,
}

impl Kl {
    /// An estimator with its own gradient, unweighted and unbounded.
    pub fn new(estimator: KlEstimator) -> Self {
        Self { estimator, ..Self::default() }
    }

    /// k3 as a value with k2's gradient: never negative, and right as a loss on tokens of the current policy.
    ///
    /// ```
    /// use burn::prelude::*;
    /// use policy_gradient::{Kl, kl};
    ///
    /// let device = Device::flex().autodiff();
    /// let logp = Tensor::<2>::from_data([[-1.0]], &device).require_grad();
    /// let reference = Tensor::<2>::from_data([[-3.0]], &device);
    /// let mask = Tensor::<2, Bool>::full([1, 1], true, &device);
    /// let term = kl(logp.clone(), reference, None, mask, &Kl::unbiased())?;
    /// assert!((term.clone().into_scalar::<f32>() - ((-2f32).exp() + 1.0)).abs() < 1e-6); // e^-2 - 1 + 2
    /// assert_eq!(logp.grad(&term.sum().backward()).unwrap().into_scalar::<f32>(), 2.0); // d, not 1 - e^-2
    /// # Ok::<(), policy_gradient::Error>(())
    /// ```
    pub fn unbiased() -> Self {
        Self { gradient: KlGradient::OfK2, ..Self::default() }
    }
}

/// The KL estimate of every token, `[batch, time]`, in nats, with a graph through `logp`.
///
/// `logp` and `ref_logp` `[batch, time]`: log-probabilities (nats) of the sampled tokens under the policy and the
/// reference; `ref_logp` is held constant. `old_logp` is needed for weights other than [`KlWeight::None`]. `mask` true =
/// counts; outside it the result is zero and NaN does not leak. Add it to a loss with
/// [`PerToken::plus_kl`](crate::PerToken::plus_kl).
///
/// # Errors
/// [`Error::Shape`] for a tensor of another shape, [`Error::Missing`] for a weight without `old_logp`.
///
/// ```
/// use burn::prelude::*;
/// use policy_gradient::{Kl, KlEstimator, kl};
///
/// let device = Device::flex();
/// let logp = Tensor::<2>::from_data([[-1.0, -2.0]], &device);
/// let reference = Tensor::<2>::from_data([[-1.0, -1.0]], &device);
/// let mask = Tensor::<2, Bool>::from_data([[true, true]], &device);
/// let at = |e| kl(logp.clone(), reference.clone(), None, mask.clone(), &Kl::new(e));
/// let values = |e| at(e).map(|t| t.into_data().to_vec::<f32>().unwrap());
/// assert_eq!(values(KlEstimator::K1)?, [0.0, -1.0]);
/// assert_eq!(values(KlEstimator::K2)?, [0.0, 0.5]);
/// assert!((values(KlEstimator::K3)?[1] - (1f32.exp() - 2.0)).abs() < 1e-6); // e^1 - 1 + (-1)
/// # Ok::<(), policy_gradient::Error>(())
/// ```
pub fn kl(
    logp: Tensor<2>,
    ref_logp: Tensor<2>,
    old_logp: Option<Tensor<2>>,
    mask: Tensor<2, Bool>,
    config: &Kl,
) -> Result<Tensor<2>> {
    let shape = logp.dims();
    same_shape("ref_logp", ref_logp.dims(), shape)?;
    same_shape("mask", mask.dims(), shape)?;
    config.log_ratio.check("log_ratio")?;
    if let Some(bound) = config.value_bound {
        require("value_bound", bound, "a positive number", |v| v > 0.0)?;
    }
    if let KlWeight::DetachedOnGradient { cap } = config.weight {
        require("cap", cap, "a positive number", |v| v > 0.0)?;
    }
    let dtype = working(logp.dtype());
    let mask = inner_mask(mask);
    let carrier = zero_outside(logp, &mask);
    let now = constant(carrier.clone(), &mask, dtype);
    let d = now.clone() - constant(ref_logp, &mask, dtype);
    let (mut value, mut slope) = estimate(d, config);

    if config.weight == KlWeight::None {
        return Ok(zero_outside(attach(value, slope, &carrier), &mask));
    }
    let old = old_logp.ok_or(Error::Missing { argument: "old_logp", needed_by: "a weighted KL" })?;
    same_shape("old_logp", old.dims(), shape)?;
    let old = constant(old, &mask, dtype);
    match config.weight {
        KlWeight::None => unreachable!("returned above"),
        KlWeight::DetachedOnGradient { cap } => {
            let w = (now - old).exp().clamp_max(cap);
            Ok(zero_outside(attach(value, slope * w, &carrier), &mask))
        }
        KlWeight::Ratio => {
            let w = (now - old).exp();
            slope = (slope + value.clone()) * w.clone();
            value = value * w;
            Ok(zero_outside(attach(value, slope, &carrier), &mask))
        }
        KlWeight::SequenceRatio => {
            let lengths = crate::num::lengths(&mask, dtype);
            let mean = crate::num::row_mean(carrier.clone(), &lengths);
            let w = ((now - old).sum_dim(1) / lengths).exp().expand(shape);
            value = value * w.clone();
            let own = attach(value.clone(), slope * w, &carrier);
            let shared = attach(value.zeros_like(), value, &mean.expand(shape));
            Ok(zero_outside(own + shared, &mask))
        }
    }
}

/// Value and derivative of the estimator with respect to `logp`.
fn estimate(d: Tensor<2>, config: &Kl) -> (Tensor<2>, Tensor<2>) {
    let bounded = config.log_ratio.clamp(d.clone());
    let (value, own) = match config.estimator {
        KlEstimator::K1 => (bounded.clone(), bounded.ones_like()),
        KlEstimator::K2 => (bounded.clone().square().mul_scalar(0.5), bounded.clone()),
        KlEstimator::K3 => (k3(bounded.clone()), bounded.clone().neg().exp().neg().add_scalar(1.0)),
        KlEstimator::Abs => (bounded.clone().abs(), bounded.clone().sign()),
    };
    let mut slope = config.log_ratio.zero_outside(own, &d);
    let value = match config.value_bound {
        Some(bound) => {
            slope = slope.mask_fill(value.clone().abs().greater_elem(bound), 0.0);
            value.clamp(-bound, bound)
        }
        None => value,
    };
    let slope = match config.gradient {
        KlGradient::OfEstimator => slope,
        KlGradient::OfK2 => d,
    };
    (value, slope)
}

/// `exp(-d) - 1 + d`; by its series near zero, where the closed form would round to zero or below.
fn k3(d: Tensor<2>) -> Tensor<2> {
    let mut series = d.ones_like();
    for n in [7.0, 6.0, 5.0, 4.0, 3.0] {
        series = (series * d.clone()).div_scalar(-n).add_scalar(1.0);
    }
    let series = series * d.clone().square().mul_scalar(0.5);
    let closed = d.clone().neg().exp().sub_scalar(1.0) + d.clone();
    choose(d.abs().lower_elem(0.25), series, closed)
}
