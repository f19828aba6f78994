//! Centred and normalised rewards of a group: GRPO, Dr. GRPO, MaxRL.

use serde::{Deserialize, Serialize};

use super::{Groups, Moments};
use crate::error::{Error, Result, require};

/// A standard deviation as a divisor: `sqrt(sum (x - mean)² / (n - ddof)) + eps`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Std {
    /// Subtracted from the number of values: 1 is the unbiased estimate (verl, TRL, OpenRLHF), 0 the biased one
    /// (open-instruct).
    pub ddof: u8,
    /// Added to the deviation: 1e-6 verl, 1e-4 TRL, 1e-9 OpenRLHF, 1e-8 open-instruct.
    pub eps: f64,
}

impl Default for Std {
    /// Unbiased, eps 1e-6.
    fn default() -> Self {
        Self { ddof: 1, eps: 1e-6 }
    }
}

impl Std {
    pub(crate) fn check(&self) -> Result<()> {
        require("eps", self.eps, "a finite number >= 0", |v| v >= 0.0 && v.is_finite())
    }
}

/// What a group of one response gets: it has no peers to compare with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Singleton {
    /// Zero: nothing is learned from it (TRL).
    #[default]
    Zero,
    /// The reward itself, as if the baseline were zero (verl).
    Raw,
    /// [`Error::Group`]: groups of one train nothing under [`Zero`](Self::Zero), silently; this says so.
    Error,
}

/// What the centred reward is divided by.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scale {
    /// Nothing (Dr. GRPO).
    None,
    /// The group's standard deviation (GRPO).
    Group(Std),
    /// The standard deviation of all rewards of the call (TRL's `scale_rewards="batch"`).
    Batch(Std),
    /// The group's mean; groups whose mean is not positive get zero (MaxRL).
    Mean,
}

/// Options of [`group`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GroupConfig {
    /// What the centred reward is divided by.
    pub scale: Scale,
    /// What a group of one gets.
    pub singleton: Singleton,
}

impl Default for GroupConfig {
    /// GRPO: `(R - mean) / (std + 1e-6)`, unbiased deviation, zero for groups of one.
    fn default() -> Self {
        Self { scale: Scale::Group(Std::default()), singleton: Singleton::Zero }
    }
}

impl GroupConfig {
    /// Dr. GRPO [arXiv:2503.20783], section 3.2: `R - mean`, without the deviation that weighs easy and hard prompts
    /// up.
    pub fn centred() -> Self {
        Self { scale: Scale::None, singleton: Singleton::Zero }
    }

    /// MaxRL [arXiv:2602.02710], Algorithm 1 (version 3): `(R - mean) / mean`.
    pub fn max_rl() -> Self {
        Self { scale: Scale::Mean, singleton: Singleton::Zero }
    }
}

/// Advantage of each response within its group, as in GRPO and Dr. GRPO.
///
/// `A_i = (R_i - mean_g) / (std_g + eps)`, [arXiv:2402.03300] section 4.1.2; [`Scale`] has the variants. Note that the
/// group mean contains the response itself: the gradient of the centred form is `(1 - 1/n)` times that of
/// [`rloo`](super::rloo), and dividing by the deviation weighs prompts by how rare their successes are.
///
/// `rewards` and `groups` have one entry per response; so has the result. A group of equal rewards gives exactly zero
/// whatever `eps` is. NaN rewards are left out of the statistics and get zero. An empty call returns nothing.
///
/// # Errors
/// [`Error::Shape`] when lengths differ; [`Error::Value`] for an infinite reward or a negative eps; [`Error::Group`] for
/// a group of one under [`Singleton::Error`].
///
/// ```
/// use policy_gradient::advantage::{GroupConfig, group};
///
/// let rewards = [1.0, 0.0, 3.0, 1.0]; // two prompts, interleaved
/// let prompts = [7, 9, 7, 9];
/// assert_eq!(group(&rewards, &prompts, &GroupConfig::centred())?, [-1.0, -0.5, 1.0, 0.5]);
/// let normalised = group(&rewards, &prompts, &GroupConfig::default())?;
/// assert!((normalised[2] - 1.0 / 2f64.sqrt()).abs() < 1e-5); // std of {1, 3} is sqrt(2)
/// # Ok::<(), policy_gradient::Error>(())
/// ```
pub fn group(rewards: &[f64], groups: &[u64], config: &GroupConfig) -> Result<Vec<f64>> {
    if let Scale::Group(std) | Scale::Batch(std) = &config.scale {
        std.check()?;
    }
    let by_group = Groups::new(rewards, groups)?;
    let moments = by_group.moments(rewards);
    singletons(&by_group, &moments, config.singleton)?;
    let batch = match config.scale {
        Scale::Batch(std) => Moments::of(rewards).std(std.ddof) + std.eps,
        _ => 1.0,
    };
    let mut advantages = Vec::with_capacity(rewards.len());
    by_group.for_each_run(rewards, |g, rewards| {
        let m = &moments[g];
        let divisor = match config.scale {
            Scale::None => 1.0,
            Scale::Group(std) => m.std(std.ddof) + std.eps,
            Scale::Batch(_) => batch,
            Scale::Mean => m.mean,
        };
        let nothing = config.scale == Scale::Mean && m.mean <= 0.0;
        advantages.extend(rewards.iter().map(|&reward| {
            let centred = reward - m.mean;
            if reward.is_nan() {
                0.0
            } else if m.count == 1 {
                if config.singleton == Singleton::Raw { reward } else { 0.0 }
            } else if centred == 0.0 || nothing {
                0.0
            } else {
                centred / divisor
            }
        }));
    });
    Ok(advantages)
}

/// Refuses groups of one where the configuration says so.
pub(crate) fn singletons(by_group: &Groups, moments: &[Moments], singleton: Singleton) -> Result<()> {
    if singleton == Singleton::Error
        && let Some(g) = moments.iter().position(|m| m.count == 1)
    {
        return Err(Error::Group { group: by_group.ids[g], expected: 2, found: 1 });
    }
    Ok(())
}
