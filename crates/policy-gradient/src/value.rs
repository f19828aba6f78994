//! Losses and diagnostics of a critic.

use burn::prelude::*;
use serde::{Deserialize, Serialize};

use crate::error::{Result, require, same_shape};
use crate::num::{attach, choose, constant, inner_mask, mask_to_host, to_host, working, zero_outside};

/// How a critic is kept near its old values.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ValueClip {
    /// Not at all.
    #[default]
    Off,
    /// The larger of the errors with and without clipping to `old ± range` (PPO's reference code, verl, OpenRLHF,
    /// torchtune, CleanRL).
    Pessimistic(f64),
    /// The error of the clipped value alone (stable-baselines3): no gradient once it has moved by `range`.
    Plain(f64),
}

impl ValueClip {
    /// Checks that the range is positive. [`value_loss`] does it too.
    ///
    /// # Errors
    /// [`Error::Value`](crate::Error::Value) otherwise.
    pub fn check(&self) -> Result<()> {
        match *self {
            Self::Off => Ok(()),
            Self::Pessimistic(range) | Self::Plain(range) => {
                require("range", range, "a positive number", |r| r > 0.0)
            }
        }
    }
}

/// A critic's loss per token and what happened on the way.
#[derive(Debug, Clone)]
pub struct ValueLoss {
    /// `[batch, time]`, with a graph through `values`; zero outside the mask.
    pub loss: Tensor<2>,
    /// The share of the counted tokens where the clipped error was the larger one (`Pessimistic`), or where the value was
    /// clipped (`Plain`).
    pub clip_fraction: f64,
}

/// The critic's squared error, clipped around its old values.
///
/// `0.5 max((v - R)², (clip(v, v_old ± c) - R)²)`, the value term of [arXiv:1707.06347], equation 9, with the clipping of
/// its reference code. All `[batch, time]`: `values` with a graph, `old_values` (needed for clipping), `returns` as
/// [`gae`](crate::advantage::gae) gives them. Reduce with [`aggregate`](crate::aggregate()). Values outside the mask are never
/// read.
///
/// # Errors
/// [`Error::Shape`](crate::Error::Shape) when shapes differ, [`Error::Value`](crate::Error::Value) for a range that is not
/// positive.
///
/// ```
/// use burn::prelude::*;
/// use policy_gradient::{ValueClip, value_loss};
///
/// let device = Device::flex();
/// let of = |v: f32| Tensor::<2>::from_data([[v]], &device);
/// let mask = Tensor::<2, Bool>::from_data([[true]], &device);
/// let by = |clip| value_loss(of(3.0), of(0.0), of(3.0), mask.clone(), clip).map(|l| l.loss.into_scalar::<f32>());
/// assert_eq!(by(ValueClip::Off)?, 0.0);
/// assert_eq!(by(ValueClip::Pessimistic(1.0))?, 2.0); // (1 - 3)² / 2
/// # Ok::<(), policy_gradient::Error>(())
/// ```
pub fn value_loss(
    values: Tensor<2>,
    old_values: Tensor<2>,
    returns: Tensor<2>,
    mask: Tensor<2, Bool>,
    clip: ValueClip,
) -> Result<ValueLoss> {
    clip.check()?;
    let shape = values.dims();
    same_shape("old_values", old_values.dims(), shape)?;
    same_shape("returns", returns.dims(), shape)?;
    same_shape("mask", mask.dims(), shape)?;
    let dtype = working(values.dtype());
    let mask = inner_mask(mask);
    let carrier = zero_outside(values, &mask);
    let now = constant(carrier.clone(), &mask, dtype);
    let old = constant(old_values, &mask, dtype);
    let returns = constant(returns, &mask, dtype);
    let error = now.clone() - returns.clone();
    let free = error.clone().square();
    let limited = |range: f64| {
        let moved = now.clone() - old.clone();
        let over = moved.clone().abs().greater_elem(range);
        // Within the range the value itself, to the last bit: rounding must not count as clipping.
        let clipped = choose(over.clone(), old.clone() + moved.clamp(-range, range), now.clone());
        ((clipped - returns.clone()).square(), over)
    };
    let (value, cut) = match clip {
        ValueClip::Off => {
            let never = free.clone().lower_elem(0.0);
            (free, never)
        }
        ValueClip::Pessimistic(range) => {
            let (clipped, _) = limited(range);
            let cut = clipped.clone().greater(free.clone());
            (choose(cut.clone(), clipped, free), cut)
        }
        ValueClip::Plain(range) => limited(range),
    };
    let slope = error.mask_fill(cut.clone(), 0.0);
    let clipped = to_host("values", cut.bool_and(mask.clone()).int().sum().float())?[0];
    let tokens = to_host("mask", mask.clone().int().sum().float())?[0];
    Ok(ValueLoss {
        loss: zero_outside(attach(value.mul_scalar(0.5), slope, &carrier), &mask),
        clip_fraction: if tokens > 0.0 { clipped / tokens } else { 0.0 },
    })
}

/// The share of the returns' variance that the critic's values explain: 1 is perfect, 0 no better than a constant,
/// negative worse.
///
/// `1 - Var(R - v) / Var(R)` over the counted tokens, biased variances, as in stable-baselines3 and CleanRL. `None` where
/// the returns do not vary.
///
/// # Errors
/// [`Error::Shape`](crate::Error::Shape) when shapes differ.
///
/// ```
/// use burn::prelude::*;
/// use policy_gradient::explained_variance;
///
/// let device = Device::flex();
/// let returns = Tensor::<2>::from_data([[0.0, 2.0, f32::NAN]], &device);
/// let values = Tensor::<2>::from_data([[0.0, 1.0, 0.0]], &device);
/// let mask = Tensor::<2, Bool>::from_data([[true, true, false]], &device);
/// assert_eq!(explained_variance(values, returns, mask)?, Some(0.75)); // 1 - 0.25 / 1
/// # Ok::<(), policy_gradient::Error>(())
/// ```
pub fn explained_variance(
    values: Tensor<2>,
    returns: Tensor<2>,
    mask: Tensor<2, Bool>,
) -> Result<Option<f64>> {
    let shape = values.dims();
    same_shape("returns", returns.dims(), shape)?;
    same_shape("mask", mask.dims(), shape)?;
    let counted = mask_to_host("mask", mask)?;
    let (v, r) = (to_host("values", values)?, to_host("returns", returns)?);
    let pick = |f: &dyn Fn(usize) -> f64| (0..v.len()).filter(|&i| counted[i]).map(f).collect::<Vec<f64>>();
    let spread = crate::advantage::Moments::of(&pick(&|i| r[i]));
    if spread.count == 0 || spread.constant() {
        return Ok(None);
    }
    let left = crate::advantage::Moments::of(&pick(&|i| r[i] - v[i])).std(0);
    Ok(Some(1.0 - (left / spread.std(0)).powi(2)))
}
