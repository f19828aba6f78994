//! The supervised loop: pre-training and mid-training differ in data and schedule only.

use anyhow::Result;
use models::{CausalLm, Inputs};
use serde_json::json;
use sft::{Batch, Example, LossConfig, cross_entropy};
use training::{AdamWConfig, Gradients, NonFinite, NonFinitePolicy, Schedule};

use crate::phase::Phase;
use crate::rollout::Text;

/// How one supervised phase runs.
pub struct Supervised<'a> {
    /// Shown beside the progress bar.
    pub label: &'a str,
    /// Learning rate by step.
    pub schedule: Schedule,
    /// The second moment's decay and the rest.
    pub adamw: AdamWConfig,
    /// Total steps.
    pub steps: u64,
    /// Steps between checkpoints.
    pub checkpoint_every: u64,
}

/// Trains on `data(step)`, from the phase's last checkpoint if there is one, and returns the trained model.
pub fn train(
    phase: &mut Phase,
    text: &Text,
    model: CausalLm,
    config: &Supervised,
    mut data: impl FnMut(u64) -> Result<Vec<Example>>,
) -> Result<CausalLm> {
    let (mut model, mut optimizer, start) = phase.restore(model, config.adamw.clone())?;
    let device = model.device();
    let mut guard = NonFinite::new(NonFinitePolicy::Stop);
    let mut progress = phase.progress(config.label, config.steps, start);
    for step in start..config.steps {
        let examples = data(step)?;
        let batch = Batch::collate(&examples.iter().collect::<Vec<_>>(), text.pad, &device)?;
        let hidden = model.hidden(Inputs::new(batch.tokens.clone()));
        let loss = cross_entropy(hidden, model.head(), &batch, &LossConfig::default())?;
        let mean = loss.mean();
        let mut gradients = Gradients::new();
        gradients.add(loss.sum.backward(), &model);
        gradients.scale(1.0 / loss.count);
        let norm = gradients.clip_global_norm(1.0);
        guard.check(step, mean, norm).map(drop)?;
        let lr = config.schedule.at(step);
        model = optimizer.step(lr, model, gradients);

        let metrics = json!({ "loss": mean, "gradient_norm": norm, "lr": lr, "tokens": loss.count });
        phase.folder.log(step + 1, &metrics, &json!({}))?;
        progress.update(step + 1, format!("loss {mean:.4}"));
        phase.pause_point(step + 1, step + 1 == config.steps, config.checkpoint_every, &model, &optimizer)?;
    }
    progress.finish();
    Ok(model)
}
