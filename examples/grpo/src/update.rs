//! The gradient of one update, and what happened in it.

use anyhow::Result;
use models::{Inputs, Tokenizer};
use policy_gradient::{
    Aggregation, Diagnostics, Rollout, RolloutBatch, aggregate, kl, objective, token_log_probs, value_loss,
};
use serde_json::{Map, Value, json};
use training::{GradientReducer, shard};

use crate::config::Config;
use crate::learner::{Both, Learner};
use crate::ppo::{Estimates, Targets};

/// A response to learn from; PPO has estimates of its tokens.
#[derive(Clone, Copy)]
pub struct Row<'a> {
    pub rollout: Rollout<'a>,
    pub estimates: Option<&'a Estimates>,
}

impl Row<'_> {
    /// Tokens of prompt and response.
    pub fn length(&self) -> usize {
        self.rollout.prompt.len() + self.rollout.response.len()
    }
}

/// Prompts and responses as texts, special tokens included, and what each was worth.
pub fn texts(rows: &[Row], tokenizer: &Tokenizer) -> Result<Vec<Value>> {
    let one = |row: &Row| -> Result<Value> {
        let Rollout { prompt, response, advantage, .. } = row.rollout;
        let (prompt, response) = (tokenizer.decode(prompt, false)?, tokenizer.decode(response, false)?);
        Ok(json!({"prompt": prompt, "response": response, "advantage": advantage}))
    };
    rows.iter().map(one).collect()
}

/// What happened in one update, or in several.
#[derive(Default)]
pub struct Update {
    loss: f64,
    kl: f64,
    diagnostics: Diagnostics,
    value_loss: f64,
    /// Tokens whose value was clipped.
    value_clipped: f64,
    updates: f64,
    norm: f64,
    value_norm: f64,
}

impl Update {
    /// What must be finite before an update is made: losses, and norms of gradients.
    pub fn sums(&self) -> (f64, f64) {
        (self.loss + self.value_loss, self.norm + self.value_norm)
    }

    /// Adds an update to those of its step.
    pub fn add(&mut self, other: &Update) {
        self.loss += other.loss;
        self.kl += other.kl;
        self.diagnostics.merge(&other.diagnostics);
        self.value_loss += other.value_loss;
        self.value_clipped += other.value_clipped;
        self.updates += 1.0;
        self.norm = self.norm.max(other.norm);
        self.value_norm = self.value_norm.max(other.value_norm);
    }

    /// Adds what the other workers saw of the same update.
    fn sum(&mut self, workers: &mut dyn GradientReducer) {
        let seen = &mut self.diagnostics;
        let mut largest = vec![0.0; workers.workers()];
        largest[workers.worker()] = seen.ratio_max;
        workers.sum_f64(&mut largest);
        seen.ratio_max = largest.into_iter().fold(0.0, f64::max);
        let own = [&mut self.loss, &mut self.kl, &mut self.value_loss, &mut self.value_clipped];
        let mut numbers: Vec<&mut f64> = own.into_iter().chain(seen.sums()).collect();
        let mut sums: Vec<f64> = numbers.iter().map(|number| **number).collect();
        workers.sum_f64(&mut sums);
        numbers.iter_mut().zip(sums).for_each(|(number, sum)| **number = sum);
    }

    /// A step's line of metrics.
    pub fn metrics(&self, lr: f64, value_lr: Option<f64>) -> Map<String, Value> {
        let means = self.diagnostics.summary();
        let mut line = json!({
            "loss": self.loss / self.updates.max(1.0), "entropy": means.entropy, "approx_kl": means.approx_kl_k3,
            "kl_reference": self.kl / means.tokens.max(1.0), "clip_low": means.clip_fraction_low,
            "clip_high": means.clip_fraction_high, "ratio_max": means.ratio_max, "gradient_norm": self.norm, "lr": lr,
            "learned_tokens": means.tokens,
        });
        if let Some(value_lr) = value_lr {
            line["value_loss"] = json!(self.value_loss / self.updates.max(1.0));
            line["value_clip"] = json!(self.value_clipped / means.tokens.max(1.0));
            line["value_gradient_norm"] = json!(self.value_norm);
            line["value_lr"] = json!(value_lr);
        }
        line.as_object().cloned().unwrap_or_default()
    }
}

/// The clipped gradient of one update's responses, a micro-batch at a time; workers take turns at them. The counts are those of
/// the whole update, so the parts add up to it exactly.
pub fn learn(
    learner: &Learner,
    part: &[Row],
    pad: u32,
    config: &Config,
    workers: &mut dyn GradientReducer,
) -> Result<(Both, Update)> {
    let model = &learner.policy.model;
    let counts = RolloutBatch::counts(part.iter().map(|row| row.rollout));
    let (mut gradients, mut update) = (Both::default(), Update::default());
    let parts: Vec<&[Row]> = part.chunks(config.micro_batch).collect();
    for rows in shard(&parts, workers) {
        let rollouts: Vec<Rollout> = rows.iter().map(|row| row.rollout).collect();
        let estimates: Vec<&Estimates> = rows.iter().filter_map(|row| row.estimates).collect();
        let batch = RolloutBatch::collate(&rollouts, pad, &model.device())?;
        let (hidden, mask) = (model.hidden(Inputs::new(batch.tokens)), batch.mask);
        let critic = match (&learner.head, &config.ppo) {
            (Some(head), Some(ppo)) => Some((
                head.forward(hidden.clone()),
                Targets::of(&rollouts, &estimates, &model.device())?,
                ppo,
            )),
            _ => None,
        };

        // The policy's loss.
        let new = token_log_probs(hidden, model.head(), batch.targets, mask.clone(), &config.log_probs())?;
        let old = batch.old_logp;
        let advantages =
            critic.as_ref().map_or(batch.advantages, |(_, targets, _)| targets.advantages.clone());
        let mut loss = objective(new.logp.clone(), old.clone(), advantages, mask.clone(), &config.objective)?
            .minus_entropy(new.entropy, config.entropy)?;
        if let (Some(reference), true) = (batch.reference_logp, config.kl_in_loss()) {
            let kl = kl(new.logp, reference, Some(old), mask.clone(), &config.kl_term)?;
            update.kl += kl.clone().sum().into_scalar::<f64>();
            loss = loss.plus_kl(kl, config.kl)?;
        }
        update.diagnostics.merge(&loss.diagnostics);
        let mut loss = aggregate(loss.loss, mask.clone(), config.aggregation, &counts)?;
        update.loss += loss.clone().into_scalar::<f64>();

        // The head's: a mean over tokens, whatever the policy's is.
        if let Some((values, Targets { returns, values: old, .. }, ppo)) = critic {
            let value = value_loss(values, old, returns, mask.clone(), ppo.value_clip)?;
            let tokens = RolloutBatch::counts(rollouts.iter().copied()).tokens;
            update.value_clipped += value.clip_fraction * tokens as f64;
            let value = aggregate(value.loss, mask, Aggregation::TokenMean, &counts)?;
            update.value_loss += value.clone().into_scalar::<f64>();
            loss = loss + value.mul_scalar(ppo.value_coefficient);
        }
        let mut backward = loss.backward();
        gradients.policy.add_part(&mut backward, model);
        if let Some(head) = &learner.head {
            gradients.head.add_part(&mut backward, head);
        }
    }
    update.sum(workers);
    gradients.policy.reduce(workers, model);
    if let Some(head) = &learner.head {
        gradients.head.reduce(workers, head);
    }
    update.norm = gradients.policy.clip_global_norm(config.max_norm);
    update.value_norm = gradients.head.clip_global_norm(config.max_norm);
    Ok((gradients, update))
}
