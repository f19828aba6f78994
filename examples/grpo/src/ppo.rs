//! PPO (arXiv 1707.06347): a value head on the policy's hidden states says what a response is going to be worth, token by
//! token, and every token is compared with what was expected before it.

use anyhow::{Context, Result, ensure};
use burn::tensor::{Device, Tensor};
use models::{CausalLm, Inputs, ValueHead};
use policy_gradient::advantage::{GaeConfig, Whiten, gae};
use policy_gradient::reward::{at_last_token, less_kl};
use policy_gradient::{Kl, KlEstimator, Rollout, RolloutBatch, ValueClip, explained_variance, kl};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use training::{GradientReducer, shard};

use crate::config::Config;
use crate::rollouts::Group;
use crate::share;

/// Settings of PPO.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Ppo {
    /// Peak learning rate of the value head. It begins at zero and is small, so it may learn faster than the policy.
    pub value_lr: f64,
    /// Weight of the value loss beside the policy's: how much the policy's hidden states serve the head (TRL: 0.1).
    pub value_coefficient: f64,
    /// How far a value may move from the one before the step (TRL: 0.2).
    pub value_clip: ValueClip,
    /// Discount per token.
    pub gamma: f64,
    /// Trade between the head's bias (0) and the reward's variance (1).
    pub lambda: f64,
    /// Whether advantages are whitened over all tokens of a step.
    pub whiten: bool,
    /// How.
    pub whitening: Whiten,
    /// Whether `kl` is taken from the reward of each token (arXiv 2203.02155, equation 2) and not added to the loss.
    pub kl_in_reward: bool,
}

impl Default for Ppo {
    fn default() -> Self {
        Self {
            value_lr: 1e-4,
            value_coefficient: 0.1,
            value_clip: ValueClip::Pessimistic(0.2),
            gamma: 1.0,
            lambda: 0.95,
            whiten: true,
            whitening: Whiten::default(),
            kl_in_reward: true,
        }
    }
}

impl Ppo {
    /// Checks ranges.
    pub fn check(&self) -> Result<()> {
        self.gae().check().context("`ppo`")?;
        self.value_clip.check().context("`ppo.value_clip`")?;
        ensure!(
            self.value_coefficient > 0.0 && self.value_coefficient.is_finite(),
            "`ppo.value_coefficient` must be above 0, found {}: the value head would learn nothing",
            self.value_coefficient
        );
        ensure!(
            self.whiten || self.whitening == Whiten::default(),
            "`ppo.whitening` says how to whiten, and `ppo.whiten` says not to: leave out one of them"
        );
        Ok(())
    }

    fn gae(&self) -> GaeConfig {
        GaeConfig {
            gamma: self.gamma,
            lambda: self.lambda,
            whiten: self.whiten.then_some(self.whitening),
            ..GaeConfig::default()
        }
    }
}

/// What is known about each token of a response.
pub struct Estimates {
    /// How much better it was than expected: what the policy learns.
    pub advantages: Vec<f32>,
    /// What it led to: what the head learns.
    pub returns: Vec<f32>,
    /// What the head expected before it.
    pub values: Vec<f32>,
}

impl Estimates {
    /// The mean advantage of the response's tokens.
    pub fn mean_advantage(&self) -> f64 {
        let sum: f64 = self.advantages.iter().map(|a| f64::from(*a)).sum();
        sum / self.advantages.len().max(1) as f64
    }
}

/// Gives every response its estimates, by the policy and the head that have not yet learned from it, on the inner device.
/// Returns what the head's expectations were worth, for the step's metrics.
pub fn estimate(
    groups: &mut [Group],
    model: &CausalLm,
    head: &ValueHead,
    pad: u32,
    config: &Config,
    ppo: &Ppo,
    workers: &mut dyn GradientReducer,
) -> Result<Map<String, Value>> {
    let device = model.device();
    let rollouts: Vec<Rollout> = groups.iter().flat_map(Group::rollouts).collect();
    let expected = values(&rollouts, model, head, pad, config.micro_batch, workers)?;

    let batch = RolloutBatch::collate(&rollouts, pad, &device)?;
    let (values, mask) = (RolloutBatch::lay_out(&rollouts, &expected, &device)?, batch.mask);
    let rewards: Vec<f64> = groups.iter().flat_map(|g| g.answers.iter().map(|a| a.reward)).collect();
    let mut rewards = at_last_token(&rewards, mask.clone())?;
    let mut line = Map::new();
    if let (Some(reference), true) = (batch.reference_logp, ppo.kl_in_reward) {
        // In a reward k1 is right: its expectation is the KL, and the objective takes the derivative.
        let kl = kl(batch.old_logp, reference, None, mask.clone(), &Kl::new(KlEstimator::K1))?;
        let tokens = RolloutBatch::counts(rollouts.iter().copied()).tokens.max(1) as f64;
        line.insert("kl_reference".into(), json!(kl.clone().sum().into_scalar::<f64>() / tokens));
        rewards = less_kl(rewards, kl, mask.clone(), config.kl)?;
    }
    let found = gae(rewards, values.clone(), None, mask.clone(), &ppo.gae())?;
    line.insert("explained_variance".into(), json!(explained_variance(values, found.returns.clone(), mask)?));
    let all = expected.iter().flatten();
    let mean = all.clone().map(|v| f64::from(*v)).sum::<f64>() / all.count().max(1) as f64;
    line.insert("value".into(), json!(mean));

    let advantages = RolloutBatch::pick(&rollouts, found.advantages)?;
    let returns = RolloutBatch::pick(&rollouts, found.returns)?;
    let rows = advantages.into_iter().zip(returns).zip(expected);
    for (answer, ((advantages, returns), values)) in groups.iter_mut().flat_map(|g| &mut g.answers).zip(rows)
    {
        let estimates = Estimates { advantages, returns, values };
        answer.advantage = estimates.mean_advantage();
        answer.estimates = Some(estimates);
    }
    Ok(line)
}

/// What the head expects before each token of each response; workers take turns at micro-batches.
fn values(
    rollouts: &[Rollout],
    model: &CausalLm,
    head: &ValueHead,
    pad: u32,
    micro_batch: usize,
    workers: &mut dyn GradientReducer,
) -> Result<Vec<Vec<f32>>> {
    let mut order: Vec<usize> = (0..rollouts.len()).collect();
    order.sort_by_key(|at| rollouts[*at].prompt.len() + rollouts[*at].response.len());
    let mut found = vec![Vec::new(); rollouts.len()];
    let parts: Vec<&[usize]> = order.chunks(micro_batch).collect();
    for places in shard(&parts, workers) {
        let rows: Vec<Rollout> = places.iter().map(|at| rollouts[*at]).collect();
        let tokens = RolloutBatch::collate(&rows, pad, &model.device())?.tokens;
        let values = head.forward(model.hidden(Inputs::new(tokens)));
        for (at, values) in places.iter().zip(RolloutBatch::pick(&rows, values)?) {
            found[*at] = values;
        }
    }
    let lengths: Vec<usize> = rollouts.iter().map(|rollout| rollout.response.len()).collect();
    Ok(share::numbers(found, &lengths, workers))
}

/// The estimates of a micro-batch as tensors, `[batch, time]` each.
pub struct Targets {
    pub advantages: Tensor<2>,
    pub returns: Tensor<2>,
    pub values: Tensor<2>,
}

impl Targets {
    /// Lays estimates out as [`RolloutBatch::collate`] does their tokens.
    pub fn of(rollouts: &[Rollout], estimates: &[&Estimates], device: &Device) -> Result<Self> {
        let lay_out = |numbers: fn(&Estimates) -> &[f32]| {
            let numbers: Vec<&[f32]> = estimates.iter().map(|e| numbers(e)).collect();
            RolloutBatch::lay_out(rollouts, &numbers, device)
        };
        Ok(Self {
            advantages: lay_out(|e| &e.advantages)?,
            returns: lay_out(|e| &e.returns)?,
            values: lay_out(|e| &e.values)?,
        })
    }
}
