//! The leave-one-out baseline.

use serde::{Deserialize, Serialize};

use super::group::singletons;
use super::{Groups, Moments, Singleton, Std};
use crate::error::Result;

/// Options of [`rloo`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RlooConfig {
    /// What a group of one gets: zero (verl's vectorised form, TRL) or the reward (verl's loop).
    pub singleton: Singleton,
    /// Normalise over all responses of the call afterwards (TRL's `normalize_advantages`, eps 1e-4). Dividing by the
    /// *group's* deviation is deliberately not offered: the residue of equal rewards would blow up.
    pub normalise: Option<Std>,
}

/// Advantage against the mean of the *other* responses of the group; an unbiased baseline.
///
/// `A_i = R_i - sum_{j != i} R_j / (n - 1) = n/(n-1) (R_i - mean)`, [arXiv:2402.14740], section 2.3. Responses to
/// one prompt share an id in `groups`; sizes may differ. Sums to zero in every group. NaN rewards are left out and get
/// zero.
///
/// # Errors
/// As [`group`](super::group()).
///
/// ```
/// use policy_gradient::advantage::{RlooConfig, rloo};
///
/// // 3 against the mean of {0, 0}, and twice 0 against the mean of {3, 0}
/// assert_eq!(rloo(&[3.0, 0.0, 0.0], &[1, 1, 1], &RlooConfig::default())?, [3.0, -1.5, -1.5]);
/// # Ok::<(), policy_gradient::Error>(())
/// ```
pub fn rloo(rewards: &[f64], groups: &[u64], config: &RlooConfig) -> Result<Vec<f64>> {
    if let Some(std) = &config.normalise {
        std.check()?;
    }
    let by_group = Groups::new(rewards, groups)?;
    let moments = by_group.moments(rewards);
    singletons(&by_group, &moments, config.singleton)?;
    let lone = |reward: f64| if config.singleton == Singleton::Raw { reward } else { 0.0 };
    let mut advantages: Vec<f64> = rewards
        .iter()
        .zip(by_group.index())
        .map(|(&reward, g)| {
            let m = &moments[g];
            let n = m.count as f64;
            match m.count {
                _ if reward.is_nan() => 0.0,
                1 => lone(reward),
                _ => (reward - m.mean) * (n / (n - 1.0)),
            }
        })
        .collect();
    if let Some(std) = config.normalise {
        // Unscored responses and, as in TRL, lone ones have no advantage to normalise.
        let scored: Vec<f64> = advantages
            .iter()
            .zip(rewards)
            .zip(by_group.index())
            .filter(|((_, r), g)| !r.is_nan() && moments[*g].count > 1)
            .map(|((&a, _), _)| a)
            .collect();
        let m = Moments::of(&scored);
        let divisor = m.std(std.ddof) + std.eps;
        for ((a, r), g) in advantages.iter_mut().zip(rewards).zip(by_group.index()) {
            if !r.is_nan() && moments[g].count > 1 {
                *a = if *a == m.mean { 0.0 } else { (*a - m.mean) / divisor };
            }
        }
    }
    Ok(advantages)
}
