//! Which groups, responses and tokens are trained on.

use burn::prelude::*;
use serde::{Deserialize, Serialize};

use crate::advantage::{Groups, Moments};
use crate::error::{Result, require, same_length, same_shape};
use crate::num::{mask_to_host, to_host};

/// Which groups are worth training on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum GroupFilter {
    /// Those whose rewards are not all equal: `max > min` (DAPO's dynamic sampling). Groups of one have no signal either.
    #[default]
    Varied,
    /// As [`Varied`](Self::Varied), but groups of one are kept (verl).
    VariedOrLone,
    /// Those whose mean reward lies strictly between two values (OpenRLHF).
    MeanBetween {
        /// The mean must be above this.
        low: f64,
        /// The mean must be below this.
        high: f64,
    },
}

/// Whether to keep each response, by what its group's rewards look like: DAPO's dynamic sampling.
///
/// [arXiv:2503.14476], section 3.2 (equation 11): a group whose responses all get the same reward has advantages of zero
/// and only adds noise to batch statistics; sample others in its place. Equality is tested exactly, as `max == min`: the
/// standard deviation of equal numbers need not be zero in floating point. NaN rewards are left out of the test, and a
/// group without any scored response is dropped.
///
/// # Errors
/// [`Error::Shape`](crate::Error::Shape) when lengths differ, [`Error::Value`](crate::Error::Value) for an infinite reward.
///
/// ```
/// use policy_gradient::{GroupFilter, keep_groups};
/// let rewards = [1.0, 1.0, 0.0, 1.0];
/// assert_eq!(keep_groups(&rewards, &[1, 1, 2, 2], GroupFilter::Varied)?, [false, false, true, true]);
/// # Ok::<(), policy_gradient::Error>(())
/// ```
pub fn keep_groups(rewards: &[f64], groups: &[u64], filter: GroupFilter) -> Result<Vec<bool>> {
    let by_group = Groups::new(rewards, groups)?;
    let keep: Vec<bool> = by_group
        .moments(rewards)
        .iter()
        .map(|m| match filter {
            _ if m.count == 0 => false,
            GroupFilter::Varied => !m.constant(),
            GroupFilter::VariedOrLone => !m.constant() || m.count == 1,
            GroupFilter::MeanBetween { low, high } => low < m.mean && m.mean < high,
        })
        .collect();
    Ok(by_group.index().map(|g| keep[g]).collect())
}

/// The mask with whole rows taken out: truncated responses, or those of groups without signal.
///
/// Count the *returned* mask for the loss's denominators, or the loss shrinks with the number of rows dropped.
///
/// # Errors
/// [`Error::Shape`](crate::Error::Shape) when `keep` does not have one entry per row.
///
/// ```
/// use burn::prelude::*;
/// let mask = Tensor::<2, Bool>::from_data([[true, true], [true, false]], &Device::flex());
/// let kept = policy_gradient::drop_rows(mask, &[false, true])?;
/// assert_eq!(kept.into_data().to_vec::<bool>().unwrap(), [false, false, true, false]);
/// # Ok::<(), policy_gradient::Error>(())
/// ```
pub fn drop_rows(mask: Tensor<2, Bool>, keep: &[bool]) -> Result<Tensor<2, Bool>> {
    let [batch, time] = mask.dims();
    same_length("keep", keep.len(), batch)?;
    let rows = Tensor::<2, Bool>::from_data(TensorData::new(keep.to_vec(), [batch, 1]), &mask.device());
    Ok(mask.bool_and(rows.expand([batch, time])))
}

/// The mask of the counted tokens with the highest entropy: those at forks, where learning happens.
///
/// Keeps tokens whose entropy is at least the `quantile` of all counted entropies of the call (linear interpolation
/// between the two nearest, as NumPy and PyTorch do): 0.8 keeps the top fifth, as in [arXiv:2506.01939], section 5.1
/// (equation 6), and TRL's `top_entropy_quantile`. `entropy` `[batch, time]`, nats.
///
/// # Errors
/// [`Error::Shape`](crate::Error::Shape) when shapes differ, [`Error::Value`](crate::Error::Value) for a quantile outside `[0, 1]`.
///
/// ```
/// use burn::prelude::*;
/// let device = Device::flex();
/// let entropy = Tensor::<2>::from_data([[0.1, 0.4, 0.3, f32::NAN]], &device);
/// let mask = Tensor::<2, Bool>::from_data([[true, true, true, false]], &device);
/// let kept = policy_gradient::high_entropy(entropy, mask, 0.5)?; // the median is 0.3
/// assert_eq!(kept.into_data().to_vec::<bool>().unwrap(), [false, true, true, false]);
/// # Ok::<(), policy_gradient::Error>(())
/// ```
pub fn high_entropy(entropy: Tensor<2>, mask: Tensor<2, Bool>, quantile: f64) -> Result<Tensor<2, Bool>> {
    let shape = entropy.dims();
    same_shape("mask", mask.dims(), shape)?;
    require("quantile", quantile, "a number in [0, 1]", |q| (0.0..=1.0).contains(&q))?;
    let counted = mask_to_host("mask", mask.clone())?;
    let values = to_host("entropy", entropy)?;
    let mut sorted: Vec<f64> = values.iter().zip(&counted).filter(|(_, c)| **c).map(|(v, _)| *v).collect();
    sorted.sort_by(f64::total_cmp);
    let threshold = match sorted.len() {
        0 => f64::INFINITY,
        n => {
            let place = quantile * (n - 1) as f64;
            let (below, above) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
            below + (above - below) * place.fract()
        }
    };
    let kept: Vec<bool> = values.iter().zip(&counted).map(|(v, &c)| c && *v >= threshold).collect();
    Ok(Tensor::from_data(TensorData::new(kept, shape), &mask.device().without_autodiff()))
}

/// What the rewards of a step look like.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RewardStatistics {
    /// Responses that were scored.
    pub responses: usize,
    /// Groups with a scored response.
    pub groups: usize,
    /// Mean reward of the scored responses.
    pub mean: f64,
    /// Their unbiased standard deviation.
    pub std: f64,
    /// The share of the groups whose rewards are all equal, lone responses included: they teach nothing.
    pub frac_reward_zero_std: f64,
    /// The mean over groups of two or more of their unbiased standard deviation.
    pub group_std: f64,
}

/// Mean, spread and the share of groups without signal.
///
/// # Errors
/// As [`keep_groups`].
///
/// ```
/// use policy_gradient::reward_statistics;
/// let s = reward_statistics(&[1.0, 1.0, 0.0, 1.0], &[1, 1, 2, 2])?;
/// assert_eq!((s.mean, s.groups, s.frac_reward_zero_std), (0.75, 2, 0.5));
/// # Ok::<(), policy_gradient::Error>(())
/// ```
pub fn reward_statistics(rewards: &[f64], groups: &[u64]) -> Result<RewardStatistics> {
    let by_group = Groups::new(rewards, groups)?;
    let moments: Vec<Moments> = by_group.moments(rewards).into_iter().filter(|m| m.count > 0).collect();
    let all = Moments::of(rewards);
    let share = |n: usize, of: usize| if of == 0 { 0.0 } else { n as f64 / of as f64 };
    let several: Vec<f64> = moments.iter().filter(|m| m.count > 1).map(|m| m.std(1)).collect();
    Ok(RewardStatistics {
        responses: all.count,
        groups: moments.len(),
        mean: all.mean,
        std: all.std(1),
        frac_reward_zero_std: share(moments.iter().filter(|m| m.constant()).count(), moments.len()),
        group_std: several.iter().sum::<f64>() / several.len().max(1) as f64,
    })
}

/// How long the responses of a step are.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LengthStatistics {
    /// Mean length, tokens.
    pub mean: f64,
    /// Shortest, tokens.
    pub min: usize,
    /// Longest, tokens.
    pub max: usize,
    /// The share that was cut off at the limit.
    pub truncated: f64,
    /// Mean length of those that were not, tokens; zero where there are none.
    pub finished_mean: f64,
}

/// Lengths and the truncated share; zeros for an empty step.
///
/// # Errors
/// [`Error::Shape`](crate::Error::Shape) when lengths differ.
///
/// ```
/// use policy_gradient::length_statistics;
/// let s = length_statistics(&[2, 8], &[false, true])?;
/// assert_eq!((s.mean, s.max, s.truncated, s.finished_mean), (5.0, 8, 0.5, 2.0));
/// # Ok::<(), policy_gradient::Error>(())
/// ```
pub fn length_statistics(lengths: &[usize], is_truncated: &[bool]) -> Result<LengthStatistics> {
    same_length("is_truncated", is_truncated.len(), lengths.len())?;
    let mean = |values: &[usize]| values.iter().sum::<usize>() as f64 / values.len().max(1) as f64;
    let finished: Vec<usize> =
        lengths.iter().zip(is_truncated).filter(|(_, cut)| !**cut).map(|(l, _)| *l).collect();
    Ok(LengthStatistics {
        mean: mean(lengths),
        min: lengths.iter().copied().min().unwrap_or(0),
        max: lengths.iter().copied().max().unwrap_or(0),
        truncated: (lengths.len() - finished.len()) as f64 / lengths.len().max(1) as f64,
        finished_mean: mean(&finished),
    })
}
