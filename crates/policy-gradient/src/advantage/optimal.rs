//! The baseline of least variance at every position.

use burn::prelude::*;
use serde::{Deserialize, Serialize};

use super::Groups;
use super::tokens::Returns;
use crate::error::{Result, require, same_length, same_shape};
use crate::num::{from_host, mask_to_host, to_host};

/// Which tokens of a group are compared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Alignment {
    /// Those in the same column.
    #[default]
    Column,
    /// The first counted ones, the second counted ones, and so on: for responses with tool output in between.
    Counted,
}

/// What the longest response of a group is compared with where no other reaches.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tail {
    /// With zero: alone, its baseline would be its own return and nothing would be learned.
    #[default]
    Zero,
    /// With itself.
    Own,
}

/// Settings of [`optimal_token_baseline`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OptimalTokenBaseline {
    /// Which tokens are compared.
    pub alignment: Alignment,
    /// What happens beyond the second-longest response.
    pub tail: Tail,
    /// Added to the denominator.
    pub eps: f64,
}

impl Default for OptimalTokenBaseline {
    fn default() -> Self {
        Self { alignment: Alignment::Column, tail: Tail::Zero, eps: 1e-8 }
    }
}

/// The optimal token baseline: at each position the group's returns, weighted by how much gradient each response has
/// gathered so far.
///
/// `A_t = G_t - B_t`, `B_t = sum_i G_it W_it / (sum_i W_it + eps)`, `W_it = sum_{s <= t} w_is`, with
/// `w = 1 - 2 p + sum_v p_v²`, the squared length of the score of a softmax (`p` the sampled token's probability). Y. Li et
/// al., "The Optimal Token Baseline", 2026 (PMLR 306), as verl has it. Values outside the mask are never read. All tensors `[batch, time]`: `rewards` per token, `old_logp` (nats), `sum_p_squared` in `(0, 1]`, optional
/// importance `weights` of the sampler, squared into `w`. Groups of one have baseline zero. Returns are undiscounted.
///
/// # Errors
/// [`Error::Shape`](crate::Error::Shape) when shapes differ.
///
/// ```
/// use burn::prelude::*;
/// use policy_gradient::advantage::{OptimalTokenBaseline, optimal_token_baseline};
///
/// let device = Device::flex();
/// let of = |v: [[f32; 1]; 2]| Tensor::<2>::from_data(v, &device);
/// let mask = Tensor::<2, Bool>::from_data([[true], [true]], &device);
/// // two words, p = 1/2 and p = 1/4: w = 1 - 1 + 1/2 = 1/2 and 1 - 1/2 + 10/16 = 9/8
/// let out = optimal_token_baseline(
///     of([[1.0], [0.0]]), of([[0.5f32.ln()], [0.25f32.ln()]]), of([[0.5], [0.625]]), None, &[0, 0], mask,
///     &OptimalTokenBaseline::default(),
/// )?;
/// let a = out.advantages.into_data().to_vec::<f32>().unwrap();
/// assert!((a[0] - (1.0 - 0.5 / 1.625)).abs() < 1e-6); // baseline 0.5 / (0.5 + 1.125)
/// # Ok::<(), policy_gradient::Error>(())
/// ```
pub fn optimal_token_baseline(
    rewards: Tensor<2>,
    old_logp: Tensor<2>,
    sum_p_squared: Tensor<2>,
    weights: Option<Tensor<2>>,
    groups: &[u64],
    mask: Tensor<2, Bool>,
    config: &OptimalTokenBaseline,
) -> Result<Returns> {
    let shape @ [batch, time] = rewards.dims();
    same_shape("old_logp", old_logp.dims(), shape)?;
    same_shape("sum_p_squared", sum_p_squared.dims(), shape)?;
    same_shape("mask", mask.dims(), shape)?;
    same_length("groups", groups.len(), batch)?;
    require("eps", config.eps, "a finite number >= 0", |v| v >= 0.0 && v.is_finite())?;
    let counts = mask_to_host("mask", mask)?;
    let r = to_host("rewards", rewards.clone())?;
    let logp = to_host("old_logp", old_logp)?;
    let p2 = to_host("sum_p_squared", sum_p_squared)?;
    let importance = match weights {
        Some(weights) => {
            same_shape("weights", weights.dims(), shape)?;
            Some(to_host("weights", weights)?)
        }
        None => None,
    };

    // Returns to go, and the gathered squared score, of each counted token.
    let mut to_go = vec![0.0; r.len()];
    let mut gathered = vec![0.0; r.len()];
    for b in 0..batch {
        let mut sum = 0.0;
        for t in (b * time..(b + 1) * time).rev() {
            if counts[t] {
                sum += r[t];
                to_go[t] = sum;
            }
        }
        let mut energy = 0.0;
        for t in b * time..(b + 1) * time {
            if counts[t] {
                let w = 1.0 - 2.0 * logp[t].exp() + p2[t];
                energy += w * importance.as_ref().map_or(1.0, |i| i[t] * i[t]);
                gathered[t] = energy;
            }
        }
    }

    // The slot a token is compared in.
    let slots: Vec<Vec<usize>> = (0..batch)
        .map(|b| {
            let counted = (b * time..(b + 1) * time).filter(|&t| counts[t]);
            counted.collect()
        })
        .collect();
    let slot = |b: usize, nth: usize, t: usize| match config.alignment {
        Alignment::Column => t - b * time,
        Alignment::Counted => nth,
    };
    let by_group = Groups::new(&vec![0.0; batch], groups)?;
    let mut members = vec![Vec::new(); by_group.ids.len()];
    for (b, g) in by_group.index().enumerate() {
        if config.alignment == Alignment::Column || !slots[b].is_empty() {
            members[g].push(b);
        }
    }
    let mut advantages = to_go.clone();
    for group in members.iter().filter(|g| g.len() > 1) {
        let mut sums = vec![(0.0, 0.0); time];
        for &b in group {
            for (nth, &t) in slots[b].iter().enumerate() {
                let (numerator, denominator) = &mut sums[slot(b, nth, t)];
                *numerator += to_go[t] * gathered[t];
                *denominator += gathered[t];
            }
        }
        let mut lengths: Vec<usize> = group.iter().map(|&b| slots[b].len()).collect();
        lengths.sort_unstable();
        let (longest, second) = (lengths[lengths.len() - 1], lengths[lengths.len() - 2]);
        for &b in group {
            let alone = config.tail == Tail::Zero && slots[b].len() == longest && longest > second;
            for (nth, &t) in slots[b].iter().enumerate() {
                let at = slot(b, nth, t);
                if !(alone && at >= second) {
                    advantages[t] -= sums[at].0 / (sums[at].1 + config.eps);
                }
            }
        }
    }
    Ok(Returns {
        advantages: from_host(advantages, shape, &rewards),
        returns: from_host(to_go, shape, &rewards),
    })
}
