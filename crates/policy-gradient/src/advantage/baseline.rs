//! Other baselines for whole responses: ReMax, OPO, GPG, pass@k, GDPO.

use burn::prelude::*;
use serde::{Deserialize, Serialize};

use super::group::singletons;
use super::tokens::{Masked, Returns, Whiten, returns, whiten_rows};
use super::{GroupConfig, Groups, Moments, Scale, Singleton, Std, group, scorable};
use crate::error::{Error, Result, require, same_length};
use crate::num::from_host;

/// ReMax: the reward minus that of the greedy response to the same prompt.
///
/// `A_i = R_i - R_greedy`, [arXiv:2310.10505], Algorithm 1. Both slices have one entry per response.
///
/// # Errors
/// [`Error::Shape`] when lengths differ, [`Error::Value`] for an infinite reward.
///
/// ```
/// use policy_gradient::advantage::remax;
/// assert_eq!(remax(&[1.0, 0.0], &[0.25, 0.25])?, [0.75, -0.25]);
/// # Ok::<(), policy_gradient::Error>(())
/// ```
pub fn remax(rewards: &[f64], greedy_rewards: &[f64]) -> Result<Vec<f64>> {
    same_length("greedy_rewards", greedy_rewards.len(), rewards.len())?;
    scorable("rewards", rewards)?;
    scorable("greedy_rewards", greedy_rewards)?;
    Ok(rewards
        .iter()
        .zip(greedy_rewards)
        .map(|(r, g)| if r.is_nan() || g.is_nan() { 0.0 } else { r - g })
        .collect())
}

/// [`remax`] with rewards per token (a KL penalty, say): returns to go, less the greedy response's reward.
///
/// `A_t = sum_{s >= t} r_s - R_greedy` at counted tokens, undiscounted, as in verl. `rewards` `[batch, time]`, one
/// `greedy_rewards` per row; values outside the mask are never read.
///
/// # Errors
/// [`Error::Shape`] when shapes differ.
///
/// ```
/// use burn::prelude::*;
/// use policy_gradient::advantage::remax_tokens;
/// let rewards = Tensor::<2>::from_data([[-0.25, 1.0]], &Device::flex());
/// let mask = Tensor::<2, Bool>::from_data([[true, true]], &Device::flex());
/// let out = remax_tokens(rewards, &[0.5], mask)?;
/// assert_eq!(out.returns.into_data().to_vec::<f32>().unwrap(), [0.75, 1.0]);
/// assert_eq!(out.advantages.into_data().to_vec::<f32>().unwrap(), [0.25, 0.5]);
/// # Ok::<(), policy_gradient::Error>(())
/// ```
pub fn remax_tokens(rewards: Tensor<2>, greedy_rewards: &[f64], mask: Tensor<2, Bool>) -> Result<Returns> {
    let [batch, time] = rewards.dims();
    same_length("greedy_rewards", greedy_rewards.len(), batch)?;
    scorable("greedy_rewards", greedy_rewards)?;
    let returns = returns(rewards.clone(), mask.clone(), 1.0, Masked::Skip)?;
    let greedy = from_host(greedy_rewards.to_vec(), [batch, 1], &rewards).expand([batch, time]);
    let outside = mask.without_autodiff().bool_not();
    Ok(Returns { advantages: (returns.clone() - greedy).mask_fill(outside, 0.0), returns })
}

/// OPO: the reward minus the length-weighted mean reward of the group, the baseline of least variance when every token
/// contributes alike.
///
/// `A_i = R_i - sum_j l_j R_j / sum_j l_j`, [arXiv:2505.23585], the length-weighted form of its optimal baseline. `lengths` are the responses' counted tokens.
/// Groups of one follow `singleton` (verl: the reward). Where all lengths are zero so is the advantage.
///
/// # Errors
/// As [`group`](super::group()).
///
/// ```
/// use policy_gradient::advantage::{Singleton, opo};
/// // baseline (1 * 1 + 3 * 0) / 4
/// assert_eq!(opo(&[1.0, 0.0], &[1, 3], &[0, 0], Singleton::Raw)?, [0.75, -0.25]);
/// # Ok::<(), policy_gradient::Error>(())
/// ```
pub fn opo(rewards: &[f64], lengths: &[usize], groups: &[u64], singleton: Singleton) -> Result<Vec<f64>> {
    same_length("lengths", lengths.len(), rewards.len())?;
    let by_group = Groups::new(rewards, groups)?;
    let moments = by_group.moments(rewards);
    singletons(&by_group, &moments, singleton)?;
    let mut sums = vec![(0.0, 0.0); by_group.ids.len()];
    for ((&reward, &length), g) in rewards.iter().zip(lengths).zip(by_group.index()) {
        if !reward.is_nan() {
            sums[g].0 += length as f64 * reward;
            sums[g].1 += length as f64;
        }
    }
    Ok(rewards
        .iter()
        .zip(by_group.index())
        .map(|(&reward, g)| match (moments[g].count, sums[g]) {
            _ if reward.is_nan() || moments[g].constant() && moments[g].count > 1 => 0.0,
            (1, _) => {
                if singleton == Singleton::Raw {
                    reward
                } else {
                    0.0
                }
            }
            (_, (_, 0.0)) => 0.0,
            (_, (weighted, length)) => reward - weighted / length,
        })
        .collect())
}

/// GPG: the centred reward, scaled up by how many responses carry no reward.
///
/// `A_i = alpha (R_i - mean_g)` with `alpha = B / (number of non-zero rewards)` over all responses of the call, as
/// in verl; [arXiv:2504.02546], equations 6 and 7, counts the responses of groups with unequal rewards instead. Groups
/// of one follow `singleton` (verl: the reward).
///
/// # Errors
/// As [`group`](super::group()).
///
/// ```
/// use policy_gradient::advantage::{Singleton, gpg};
/// // one of two rewards is not zero, so alpha is 2
/// assert_eq!(gpg(&[1.0, 0.0], &[0, 0], Singleton::Raw)?, [1.0, -1.0]);
/// # Ok::<(), policy_gradient::Error>(())
/// ```
pub fn gpg(rewards: &[f64], groups: &[u64], singleton: Singleton) -> Result<Vec<f64>> {
    let centred = group(rewards, groups, &GroupConfig { scale: Scale::None, singleton })?;
    let scored = rewards.iter().filter(|r| !r.is_nan());
    let paid = scored.clone().filter(|r| **r != 0.0).count().max(1);
    let alpha = scored.count() as f64 / paid as f64;
    Ok(centred.into_iter().map(|a| alpha * a).collect())
}

/// Pass@k training: only the best response of a group gets anything, namely its lead over the second.
///
/// `A_best = (r_1 - r_2) / (std + eps)`, 0 for the others, [arXiv:2503.19595], the leave-one-out estimate of the maximum,
/// as verl has it. `scale` [`Scale::None`] or
/// [`Scale::Group`]. Among equal best responses the lead is zero.
///
/// # Errors
/// [`Error::Group`] for a group with fewer than two scored responses, [`Error::Value`] for another scale; else as
/// [`group`](super::group()).
///
/// ```
/// use policy_gradient::advantage::{Scale, pass_at_k};
/// assert_eq!(pass_at_k(&[0.5, 2.0, 1.0], &[0, 0, 0], Scale::None)?, [0.0, 1.0, 0.0]);
/// # Ok::<(), policy_gradient::Error>(())
/// ```
pub fn pass_at_k(rewards: &[f64], groups: &[u64], scale: Scale) -> Result<Vec<f64>> {
    let divisor = match scale {
        Scale::None => None,
        Scale::Group(std) => {
            std.check()?;
            Some(std)
        }
        Scale::Batch(_) | Scale::Mean => {
            return Err(Error::Value { argument: "scale", expected: "none or group", found: f64::NAN });
        }
    };
    let by_group = Groups::new(rewards, groups)?;
    let moments = by_group.moments(rewards);
    if let Some(g) = moments.iter().position(|m| m.count < 2) {
        return Err(Error::Group { group: by_group.ids[g], expected: 2, found: moments[g].count });
    }
    let mut best = vec![(usize::MAX, f64::NEG_INFINITY, f64::NEG_INFINITY); by_group.ids.len()];
    for (i, (&reward, g)) in rewards.iter().zip(by_group.index()).enumerate() {
        if reward > best[g].1 {
            best[g] = (i, reward, best[g].1);
        } else if reward > best[g].2 {
            best[g].2 = reward;
        }
    }
    let mut advantages = vec![0.0; rewards.len()];
    for (m, (winner, first, second)) in moments.iter().zip(best) {
        let lead = first - second;
        advantages[winner] = match divisor {
            Some(std) if lead > 0.0 => lead / (m.std(std.ddof) + std.eps),
            _ => lead,
        };
    }
    Ok(advantages)
}

/// One reward function's verdicts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RewardColumn {
    /// One value per response; NaN where the function does not apply.
    pub values: Vec<f64>,
    /// Its weight in the sum.
    pub weight: f64,
}

/// Settings of [`gdpo`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GdpoConfig {
    /// How each reward is normalised within its group.
    pub group: GroupConfig,
    /// Normalise the weighted sum over all responses of the call (TRL, with eps 1e-4). verl whitens over tokens
    /// instead: see [`gdpo_tokens`].
    pub batch: Option<Std>,
}

impl Default for GdpoConfig {
    fn default() -> Self {
        Self { group: GroupConfig::default(), batch: Some(Std::default()) }
    }
}

/// GDPO: every reward is normalised within its group on its own, so that none drowns the others; then weighted, summed
/// and normalised over the batch.
///
/// `A = norm_batch(sum_k w_k (R_k - mean_g) / (std_g + eps))`, [arXiv:2601.05242], equations 4, 6 and 7. A NaN in one
/// column leaves that column out for that response; responses without any value get zero.
///
/// # Errors
/// As [`group`](super::group()); [`Error::Shape`] when columns differ in length; [`Error::Missing`] without columns.
///
/// ```
/// use policy_gradient::advantage::{GdpoConfig, GroupConfig, RewardColumn, gdpo};
/// let right = RewardColumn { values: vec![1.0, 0.0], weight: 1.0 };
/// let short = RewardColumn { values: vec![0.0, 4.0], weight: 0.5 };
/// let config = GdpoConfig { group: GroupConfig::centred(), batch: None };
/// // 0.5 - 0.5 * 2 and -0.5 + 0.5 * 2
/// assert_eq!(gdpo(&[right, short], &[0, 0], &config)?, [-0.5, 0.5]);
/// # Ok::<(), policy_gradient::Error>(())
/// ```
pub fn gdpo(columns: &[RewardColumn], groups: &[u64], config: &GdpoConfig) -> Result<Vec<f64>> {
    if columns.is_empty() {
        return Err(Error::Missing { argument: "columns", needed_by: "gdpo" });
    }
    let mut sum = vec![0.0; groups.len()];
    let mut scored = vec![false; groups.len()];
    for column in columns {
        require("weight", column.weight, "a finite number", f64::is_finite)?;
        same_length("columns", column.values.len(), groups.len())?;
        let normalised = group(&column.values, groups, &config.group)?;
        for (i, a) in normalised.into_iter().enumerate() {
            sum[i] += column.weight * a;
            scored[i] |= !column.values[i].is_nan();
        }
    }
    if let Some(std) = config.batch {
        std.check()?;
        let known: Vec<f64> = sum.iter().zip(&scored).filter(|(_, s)| **s).map(|(v, _)| *v).collect();
        let m = Moments::of(&known);
        let divisor = m.std(std.ddof) + std.eps;
        for (v, _) in sum.iter_mut().zip(&scored).filter(|(_, s)| **s) {
            *v = if m.constant() { 0.0 } else { (*v - m.mean) / divisor };
        }
    }
    Ok(sum)
}

/// [`gdpo`] whitened over the batch's tokens, as in verl, `[batch, time]`; `config.batch` should be `None` then.
///
/// # Errors
/// As [`gdpo`] and [`whiten`](super::whiten).
///
/// ```
/// use burn::prelude::*;
/// use policy_gradient::advantage::{GdpoConfig, GroupConfig, RewardColumn, Whiten, gdpo_tokens};
/// let right = RewardColumn { values: vec![1.0, 0.0], weight: 1.0 };
/// let mask = Tensor::<2, Bool>::from_data([[true, true], [true, true]], &Device::flex());
/// let config = GdpoConfig { group: GroupConfig::centred(), batch: None };
/// let a = gdpo_tokens(&[right], &[0, 0], mask, &config, &Whiten::default())?;
/// assert_eq!(a.dims(), [2, 2]);
/// # Ok::<(), policy_gradient::Error>(())
/// ```
pub fn gdpo_tokens(
    columns: &[RewardColumn],
    groups: &[u64],
    mask: Tensor<2, Bool>,
    config: &GdpoConfig,
    whiten: &Whiten,
) -> Result<Tensor<2>> {
    whiten_rows(&gdpo(columns, groups, config)?, mask, whiten)
}
