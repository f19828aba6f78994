//! The baseline of least variance at every position.

use burn::prelude::*;
use burn::tensor::DType;
use serde::{Deserialize, Serialize};

use super::Groups;
use super::tokens::Returns;
use crate::error::{Result, require, same_length, same_shape};
use crate::num::{Word, from_host, from_words, mask_to_host, to_host, to_words};

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
/// `w = 1 - 2 p + sum_v p_v²`, the squared length of the score of a softmax (`p` the sampled token's probability). [arXiv:2602.07078],
/// the baseline with its logit-gradient proxy, as verl has it. Values outside the mask are never read. All tensors `[batch, time]`: `rewards` per token, `old_logp` (nats), `sum_p_squared` in `(0, 1]`, optional
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
    let shape @ [batch, _] = rewards.dims();
    same_shape("old_logp", old_logp.dims(), shape)?;
    same_shape("sum_p_squared", sum_p_squared.dims(), shape)?;
    same_shape("mask", mask.dims(), shape)?;
    same_length("groups", groups.len(), batch)?;
    require("eps", config.eps, "a finite number >= 0", |v| v >= 0.0 && v.is_finite())?;
    if let Some(weights) = &weights {
        same_shape("weights", weights.dims(), shape)?;
    }
    let groups = Groups::new(&vec![0.0; batch], groups)?;
    let rows = Rows { shape, counts: mask_to_host("mask", mask)?, groups, config };
    let like = rewards.clone();
    let inputs = [Some(&rewards), Some(&old_logp), Some(&sum_p_squared), weights.as_ref()];
    if inputs.into_iter().flatten().all(|tensor| tensor.dtype() == DType::F32) {
        // A million tokens are a matter of memory traffic: they stay as they are stored.
        let weights = weights.map(|weights| to_words("weights", weights)).transpose()?;
        let (logp, p2) = (to_words("old_logp", old_logp)?, to_words("sum_p_squared", sum_p_squared)?);
        let (advantages, returns) = rows.baseline::<f32>(to_words("rewards", rewards)?, logp, &p2, weights);
        let tensor = |words| from_words(words, shape, &like.device());
        return Ok(Returns { advantages: tensor(advantages), returns: tensor(returns) });
    }
    let weights = weights.map(|weights| to_host("weights", weights)).transpose()?;
    let (logp, p2) = (to_host("old_logp", old_logp)?, to_host("sum_p_squared", sum_p_squared)?);
    let (advantages, returns) = rows.baseline(to_host("rewards", rewards)?, logp, &p2, weights);
    Ok(Returns { advantages: from_host(advantages, shape, &like), returns: from_host(returns, shape, &like) })
}

/// What does not depend on how numbers are stored.
struct Rows<'a> {
    shape: [usize; 2],
    counts: Vec<bool>,
    groups: Groups,
    config: &'a OptimalTokenBaseline,
}

impl Rows<'_> {
    /// Advantages and returns, computed in f64 group by group. The returns take the place of `rewards`, the advantages that of `logp`.
    fn baseline<T: Word>(
        &self,
        mut rewards: Vec<T>,
        mut logp: Vec<T>,
        p2: &[T],
        weights: Option<Vec<T>>,
    ) -> (Vec<T>, Vec<T>) {
        let time = self.shape[1];
        let row = |b: usize| b * time..(b + 1) * time;
        let mut members = vec![Vec::new(); self.groups.ids.len()];
        for (b, g) in self.groups.index().enumerate() {
            members[g].push(b);
        }
        let mut sums = vec![(0.0, 0.0); time];
        // The group's returns to go, and squared scores gathered so far; zero where no token counts.
        let (mut to_go, mut gathered) = (Vec::new(), Vec::new());
        for group in members {
            to_go.clear();
            gathered.clear();
            to_go.resize(group.len() * time, 0.0);
            gathered.resize(group.len() * time, 0.0);
            for (nth, &b) in group.iter().enumerate() {
                let mut sum = 0.0;
                let places = to_go[row(nth)].iter_mut().zip(&rewards[row(b)]).zip(&self.counts[row(b)]);
                for ((to_go, reward), _) in places.rev().filter(|(_, counts)| **counts) {
                    sum += reward.wide();
                    *to_go = sum;
                }
                let mut energy = 0.0;
                let gathered = &mut gathered[row(nth)];
                for t in (0..time).filter(|t| self.counts[b * time + t]) {
                    let at = b * time + t;
                    let w = 1.0 - 2.0 * logp[at].wide().exp() + p2[at].wide();
                    energy += w * weights.as_ref().map_or(1.0, |weights| weights[at].wide().powi(2));
                    gathered[t] = energy;
                }
            }

            let lengths: Vec<usize> =
                group.iter().map(|&b| self.counts[row(b)].iter().filter(|counts| **counts).count()).collect();
            let takes_part = |length: usize| self.config.alignment == Alignment::Column || length > 0;
            let mut sorted: Vec<usize> =
                lengths.iter().copied().filter(|length| takes_part(*length)).collect();
            sorted.sort_unstable();
            let compared =
                if let [.., second, longest] = sorted[..] { Some((second, longest)) } else { None };
            if compared.is_some() {
                sums.fill((0.0, 0.0));
                for (nth, &b) in group.iter().enumerate() {
                    let (to_go, gathered) = (&to_go[row(nth)], &gathered[row(nth)]);
                    self.each(b, |t, at| {
                        sums[at].0 += to_go[t] * gathered[t];
                        sums[at].1 += gathered[t];
                    });
                }
            }
            for ((nth, &b), length) in group.iter().enumerate().zip(lengths) {
                let to_go = &to_go[row(nth)];
                let (returns, advantages) = (&mut rewards[row(b)], &mut logp[row(b)]);
                for ((ret, advantage), to_go) in returns.iter_mut().zip(&mut *advantages).zip(to_go) {
                    (*ret, *advantage) = (T::narrow(*to_go), T::narrow(*to_go));
                }
                let Some((second, longest)) = compared else { continue };
                let alone = self.config.tail == Tail::Zero && length == longest && longest > second;
                self.each(b, |t, at| {
                    if !(alone && at >= second) {
                        let baseline = sums[at].0 / (sums[at].1 + self.config.eps);
                        advantages[t] = T::narrow(to_go[t] - baseline);
                    }
                });
            }
        }
        (logp, rewards)
    }

    /// Calls `visit` for each counted token of a row with its place and the slot it is compared in.
    fn each(&self, b: usize, mut visit: impl FnMut(usize, usize)) {
        let counts = &self.counts[b * self.shape[1]..(b + 1) * self.shape[1]];
        let counted = (0..counts.len()).filter(|&t| counts[t]);
        match self.config.alignment {
            Alignment::Column => counted.for_each(|t| visit(t, t)),
            Alignment::Counted => counted.enumerate().for_each(|(nth, t)| visit(t, nth)),
        }
    }
}
