//! The RL loop: sample groups, verify, compare within the group, move the policy.

use anyhow::Result;
use burn::module::Module;
use models::{CausalLm, Inputs};
use policy_gradient::{
    Aggregation, Objective, RolloutBatch, TokenLogProbConfig, advantage, advantage::GroupConfig, aggregate,
    objective, token_log_probs,
};
use rand::seq::SliceRandom;
use serde_json::json;
use training::{AdamWConfig, Gradients, NonFinite, NonFinitePolicy, stream};

use crate::arms::Variant;
use crate::measure::{asks, is_correct};
use crate::phase::Phase;
use crate::recipe::{Rl, Tuned};
use crate::rollout::{Response, Text, sample};
use crate::sets::training_question;
use crate::world::check::{approaches_used, fits};

/// One RL run's settings, with the variant's changes already made.
pub struct Grpo {
    /// Shown beside the progress bar.
    pub label: String,
    /// Common settings.
    pub rl: Rl,
    /// This arm's learning rate and entropy bonus.
    pub tuned: Tuned,
    /// Whether prompts name the approaches.
    pub variant: Variant,
    /// The run's seed.
    pub seed: u64,
    /// Steps between checkpoints.
    pub checkpoint_every: u64,
}

/// A response with its advantage.
struct Rollout {
    response: Response,
    advantage: f64,
}

impl Rollout {
    fn view(&self) -> policy_gradient::Rollout<'_> {
        let Response { prompt, sample, .. } = &self.response;
        policy_gradient::Rollout {
            prompt,
            response: &sample.tokens,
            old_logprobs: &sample.sampling_logprobs,
            reference_logprobs: None,
            advantage: self.advantage,
        }
    }
}

/// Runs GRPO from the phase's last checkpoint if there is one, and returns the trained model.
pub fn train(phase: &mut Phase, text: &Text, model: CausalLm, config: &Grpo) -> Result<CausalLm> {
    let adamw = AdamWConfig { lr: config.tuned.lr, weight_decay: 0.0, ..AdamWConfig::default() };
    let (mut model, mut optimizer, start) = phase.restore(model, adamw)?;
    let rl = &config.rl;
    let surrogate = Objective::ppo_clip(rl.clip_low, rl.clip_high);
    let mut guard = NonFinite::new(NonFinitePolicy::Stop);
    let mut progress = phase.progress(&config.label, rl.steps, start);
    for step in start..rl.steps {
        let (rollouts, mut metrics) = roll_out(&model, text, config, step)?;

        let mut order: Vec<usize> = (0..rollouts.len()).collect();
        order.shuffle(&mut stream(config.seed, "rl-minibatch", step, 0, 0));
        let (mut loss_sum, mut entropy_sum, mut norm_max, mut clipped) = (0.0, 0.0, 0.0_f64, 0.0);
        let minibatches: Vec<&[usize]> = order.chunks(order.len().div_ceil(rl.minibatches).max(1)).collect();
        for (i, minibatch) in minibatches.iter().enumerate() {
            let views: Vec<_> = minibatch.iter().map(|i| rollouts[*i].view()).collect();
            let batch = RolloutBatch::collate(&views, text.pad, &model.device())?;
            let hidden = model.hidden(Inputs::new(batch.tokens));
            let new = token_log_probs(
                hidden,
                model.head(),
                batch.targets,
                batch.mask.clone(),
                &TokenLogProbConfig { temperature: rl.temperature, ..TokenLogProbConfig::default() },
            )?;
            let counts = RolloutBatch::counts(views);
            let per_token =
                objective(new.logp, batch.old_logp, batch.advantages, batch.mask.clone(), &surrogate)?;
            let policy = aggregate(per_token.loss, batch.mask.clone(), Aggregation::TokenMean, &counts)?;
            let entropy = aggregate(new.entropy, batch.mask, Aggregation::TokenMean, &counts)?;
            entropy_sum += entropy.clone().into_scalar::<f64>();
            let summary = per_token.diagnostics.summary();
            clipped += summary.clip_fraction_low + summary.clip_fraction_high;
            let loss = policy - entropy * config.tuned.entropy;
            let value: f64 = loss.clone().into_scalar();
            let mut gradients = Gradients::new();
            gradients.add(loss.backward(), &model);
            let norm = gradients.clip_global_norm(rl.max_norm);
            guard.check(step * rl.minibatches as u64 + i as u64, value, norm).map(drop)?;
            model = optimizer.step(config.tuned.lr, model, gradients);
            loss_sum += value;
            norm_max = norm_max.max(norm);
        }

        let updates = minibatches.len() as f64;
        metrics["loss"] = json!(loss_sum / updates);
        metrics["entropy"] = json!(entropy_sum / updates);
        metrics["clip_fraction"] = json!(clipped / updates);
        metrics["gradient_norm"] = json!(norm_max);
        phase.folder.log(step + 1, &metrics, &json!({}))?;
        progress.update(step + 1, format!("reward {:.3}", metrics["reward"].as_f64().unwrap_or(0.0)));
        phase.pause_point(step + 1, step + 1 == rl.steps, config.checkpoint_every, &model, &optimizer)?;
    }
    progress.finish();
    Ok(model)
}

/// Samples a group for each of the step's questions and compares rewards within it.
fn roll_out(
    model: &CausalLm,
    text: &Text,
    config: &Grpo,
    step: u64,
) -> Result<(Vec<Rollout>, serde_json::Value)> {
    let rl = &config.rl;
    let questions: Vec<_> = (0..rl.questions)
        .map(|i| {
            let mut rng = stream(config.seed, "rl-question", step, i as u64, 0);
            training_question(format!("rl-{step}-{i}"), &rl.parts, &mut rng)
        })
        .collect();
    let mut asks = asks(&questions, rl.samples, config.variant == Variant::Prompted);
    for ask in &mut asks {
        ask.id += step << 20;
    }
    let per_question = asks.len() / questions.len();
    let sampled = sample(&model.valid(), text, &asks, rl.temperature, config.seed)?;

    let (mut rewards, mut groups, mut responses) = (Vec::new(), Vec::new(), Vec::new());
    let mut fitting = 0;
    for (i, (question, rows)) in questions.iter().zip(sampled.chunks(per_question)).enumerate() {
        for response in rows.iter().flatten() {
            rewards.push(f64::from(u8::from(is_correct(question, response))));
            groups.push(i as u64);
            fitting += usize::from(fits(&question.problem, &response.text));
            responses.push(response.clone());
        }
    }
    let advantages = advantage::group(&rewards, &groups, &GroupConfig::default())?;

    let count = responses.len() as f64;
    let combined = |r: &Response| {
        let used = approaches_used(&r.text);
        used.iter().any(|a| *a != used[0])
    };
    let share = |n: usize| n as f64 / count;
    let even = |rewards: &[f64]| rewards.iter().all(|r| *r == rewards[0]);
    let metrics = json!({
        "reward": rewards.iter().sum::<f64>() / count,
        "length": responses.iter().map(|r| r.sample.tokens.len()).sum::<usize>() as f64 / count,
        "truncated": share(responses.iter().filter(|r| !r.finished).count()),
        "fitting": share(fitting),
        "combined": share(responses.iter().filter(|r| combined(r)).count()),
        "groups_without_signal": rewards.chunks(rl.samples).filter(|g| even(g)).count(),
    });
    let rollouts =
        responses.into_iter().zip(advantages).map(|(response, advantage)| Rollout { response, advantage });
    Ok((rollouts.collect(), metrics))
}
