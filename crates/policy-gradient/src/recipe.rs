//! A whole algorithm as data: which advantage, which objective, which reduction, which penalty.

use burn::prelude::*;
use serde::{Deserialize, Serialize};

use crate::advantage::{GroupConfig, RlooConfig, Scale, Singleton, gpg, group, opo, pass_at_k, rloo};
use crate::aggregate::{Aggregation, GlobalCounts, aggregate};
use crate::diagnostics::Diagnostics;
use crate::error::{Error, Result, require};
use crate::kl::{Kl, kl};
use crate::num::to_host;
use crate::objective::{Objective, objective, vespo};

/// How an algorithm gets from rewards to advantages.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Advantage {
    /// [`group`]: GRPO, Dr. GRPO, MaxRL.
    Group(GroupConfig),
    /// [`rloo`].
    Rloo(RlooConfig),
    /// [`opo`].
    Opo(Singleton),
    /// [`gpg`].
    Gpg(Singleton),
    /// [`pass_at_k`].
    PassAtK(Scale),
    /// From one of the functions that need more than one reward per response: [`gae`](crate::advantage::gae),
    /// [`reinforce_pp`](crate::advantage::reinforce_pp), [`remax`](crate::advantage::remax),
    /// [`gdpo`](crate::advantage::gdpo), [`optimal_token_baseline`](crate::advantage::optimal_token_baseline).
    Supplied,
}

/// A KL penalty as part of the loss.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KlTerm {
    /// The estimator, its gradient and its weight.
    pub kl: Kl,
    /// The coefficient.
    pub beta: f64,
}

/// An algorithm, to be copied and changed; [`preset`](crate::preset) has the named ones.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// From rewards to advantages.
    pub advantage: Advantage,
    /// The loss of a token.
    pub objective: Objective,
    /// From tokens to one loss.
    pub aggregation: Aggregation,
    /// The KL penalty in the loss, if any.
    #[serde(default)]
    pub kl: Option<KlTerm>,
    /// The coefficient of the entropy bonus.
    #[serde(default)]
    pub entropy: f64,
}

/// The token tensors of a (micro-)batch, all `[batch, time]` unless said otherwise; log-probabilities in nats.
#[derive(Debug, Clone)]
pub struct Tokens {
    /// Under the policy being trained, with a graph.
    pub logp: Tensor<2>,
    /// Under the policy at the start of the step.
    pub old_logp: Tensor<2>,
    /// `[batch, 1]` or `[batch, time]`.
    pub advantages: Tensor<2>,
    /// True = counts.
    pub mask: Tensor<2, Bool>,
    /// Under the reference, where the recipe has a KL penalty.
    pub ref_logp: Option<Tensor<2>>,
    /// With a graph, where the recipe has an entropy bonus; without one it only enters the diagnostics.
    pub entropy: Option<Tensor<2>>,
    /// Weights against the sampler, from [`rollout_correction`](crate::rollout_correction), `[batch, 1]` or
    /// `[batch, time]`. They weigh the objective, not the penalty or the bonus.
    pub weights: Option<Tensor<2>>,
}

impl Tokens {
    /// The four tensors that every recipe needs.
    pub fn new(logp: Tensor<2>, old_logp: Tensor<2>, advantages: Tensor<2>, mask: Tensor<2, Bool>) -> Self {
        Self { logp, old_logp, advantages, mask, ref_logp: None, entropy: None, weights: None }
    }
}

/// One loss and what happened on the way.
#[derive(Debug, Clone)]
pub struct Loss {
    /// `[1]`, with a graph: call `backward` on it.
    pub loss: Tensor<1>,
    /// Detached sums over the counted tokens.
    pub diagnostics: Diagnostics,
    /// The KL penalty before its coefficient, aggregated as the loss is; nats.
    pub kl: Option<f64>,
}

impl Recipe {
    /// Advantages of whole responses from their rewards; `lengths` (counted tokens) matter to OPO only.
    ///
    /// # Errors
    /// [`Error::Missing`] for [`Advantage::Supplied`]; else those of the advantage function.
    ///
    /// ```
    /// use policy_gradient::preset;
    /// assert_eq!(preset::rloo().advantages(&[1.0, 0.0], &[5, 7], &[0, 0])?, [1.0, -1.0]);
    /// # Ok::<(), policy_gradient::Error>(())
    /// ```
    pub fn advantages(&self, rewards: &[f64], lengths: &[usize], groups: &[u64]) -> Result<Vec<f64>> {
        match &self.advantage {
            Advantage::Group(config) => group(rewards, groups, config),
            Advantage::Rloo(config) => rloo(rewards, groups, config),
            Advantage::Opo(singleton) => opo(rewards, lengths, groups, *singleton),
            Advantage::Gpg(singleton) => gpg(rewards, groups, *singleton),
            Advantage::PassAtK(scale) => pass_at_k(rewards, groups, *scale),
            Advantage::Supplied => Err(Error::Missing {
                argument: "advantages",
                needed_by: "a recipe whose advantages need more than rewards",
            }),
        }
    }

    /// The loss of a micro-batch: objective, weights, KL penalty, entropy bonus, reduction, in that order.
    ///
    /// `counts` are those of the whole global batch, so that micro-batches and ranks add up.
    ///
    /// # Errors
    /// [`Error::Missing`] for a tensor that the recipe needs; else those of the parts.
    ///
    /// ```
    /// use burn::prelude::*;
    /// use policy_gradient::{GlobalCounts, Tokens, preset};
    ///
    /// let device = Device::flex();
    /// let logp = Tensor::<2>::from_data([[-1.0, -2.0]], &device);
    /// let advantages = Tensor::<2>::from_data([[3.0]], &device);
    /// let mask = Tensor::<2, Bool>::from_data([[true, true]], &device);
    /// let counts = GlobalCounts::of(&mask)?;
    /// let loss = preset::dapo().loss(Tokens::new(logp.clone(), logp, advantages, mask), &counts)?;
    /// assert_eq!(loss.loss.into_scalar::<f32>(), -3.0); // ratio one everywhere
    /// # Ok::<(), policy_gradient::Error>(())
    /// ```
    pub fn loss(&self, tokens: Tokens, counts: &GlobalCounts) -> Result<Loss> {
        require("entropy", self.entropy, "a finite number", f64::is_finite)?;
        let Tokens { logp, old_logp, advantages, mask, ref_logp, entropy, weights } = tokens;
        let mut per_token = match (&self.objective, weights) {
            // VESPO takes the sampler's weights into its own.
            (Objective::Vespo(config), weights @ Some(_)) => {
                vespo(logp.clone(), old_logp.clone(), advantages, weights, mask.clone(), config)?
            }
            (objective, weights) => {
                let plain =
                    self::objective(logp.clone(), old_logp.clone(), advantages, mask.clone(), objective)?;
                weights.map_or(Ok(plain.clone()), |weights| plain.weighted(weights))?
            }
        };
        let mut penalty = None;
        if let Some(term) = &self.kl {
            let ref_logp =
                ref_logp.ok_or(Error::Missing { argument: "ref_logp", needed_by: "a KL penalty" })?;
            let kl = kl(logp, ref_logp, Some(old_logp), mask.clone(), &term.kl)?;
            let mean = aggregate(kl.clone().without_autodiff(), mask.clone(), self.aggregation, counts)?;
            penalty = Some(to_host("kl", mean)?[0]);
            per_token = per_token.plus_kl(kl, term.beta)?;
        }
        per_token = match entropy {
            Some(entropy) => per_token.minus_entropy(entropy, self.entropy)?,
            None if self.entropy == 0.0 => per_token,
            None => return Err(Error::Missing { argument: "entropy", needed_by: "an entropy bonus" }),
        };
        let loss = aggregate(per_token.loss, mask, self.aggregation, counts)?;
        Ok(Loss { loss, diagnostics: per_token.diagnostics, kl: penalty })
    }
}
