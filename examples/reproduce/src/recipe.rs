//! Every number of the experiment. A TOML file can replace any of it.
//!
//! Frozen after a sweep (`--sweep --full --seed 1001 --seeds 2`) on development seeds; the reported seeds begin at 1.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};

use crate::arms::{Arm, CONTROLS, MAIN};
use crate::world::documents::DocumentConfig;

/// All settings of one run, as written to `config.toml`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Recipe {
    /// The network.
    pub model: ModelShape,
    /// What pre-training reads.
    pub documents: DocumentConfig,
    /// Pre-training.
    pub pretrain: Pretrain,
    /// Self-generation and selection.
    pub generation: Generation,
    /// SFT on what was selected; the same for every data set.
    pub midtrain: Midtrain,
    /// GRPO, the same for every arm but for the tuned values below.
    pub rl: Rl,
    /// Measurement.
    pub evaluation: Evaluation,
    /// Time to threshold, with `--full`.
    pub threshold: ThresholdPlan,
    /// What `--sweep` tries.
    pub sweep: Sweep,
    /// What a sweep on development seeds chose for each starting point, and for the arms whose RL is another: keys `base`,
    /// `star`, `mid`, `base_rl_explore`, ...
    pub tuned: BTreeMap<String, Tuned>,
}

impl Default for Recipe {
    fn default() -> Self {
        let tuned = [
            ("base", 1e-4, 0.003),
            ("star", 1e-4, 0.01),
            ("mid", 3e-4, 0.01),
            ("wrong", 3e-4, 0.003),
            ("depth", 3e-4, 0.01),
            ("breadth", 3e-4, 0.003),
            ("n1", 1e-4, 0.003),
            ("n2", 1e-4, 0.003),
            ("base_rl_explore", 1e-4, 0.003),
            ("base_rl_prompted", 1e-4, 0.003),
        ];
        Recipe {
            model: ModelShape::default(),
            documents: DocumentConfig::default(),
            pretrain: Pretrain::default(),
            generation: Generation::default(),
            midtrain: Midtrain::default(),
            rl: Rl::default(),
            evaluation: Evaluation::default(),
            threshold: ThresholdPlan::default(),
            sweep: Sweep::default(),
            tuned: tuned.map(|(key, lr, entropy)| (key.to_string(), Tuned { lr, entropy })).into(),
        }
    }
}

/// A Llama of this size.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ModelShape {
    /// Width of the residual stream.
    pub hidden: usize,
    /// Width of the feed-forward layer.
    pub intermediate: usize,
    /// Number of blocks.
    pub layers: usize,
    /// Number of attention heads.
    pub heads: usize,
}

impl Default for ModelShape {
    fn default() -> Self {
        ModelShape { hidden: 64, intermediate: 192, layers: 2, heads: 4 }
    }
}

/// Pre-training on documents that each use one approach.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Pretrain {
    /// Optimiser steps before the gate is tried.
    pub steps: u64,
    /// Documents a step.
    pub batch: usize,
    /// Peak learning rate; cosine to a tenth after a warm-up.
    pub lr: f64,
    /// Warm-up steps.
    pub warmup: u64,
    /// Steps between measurements of the gate.
    pub check_every: u64,
    /// Every approach must solve this share of one-part problems of its own kind, greedily, when asked for by name.
    pub gate: f64,
    /// Steps added, at the lowest learning rate, while the gate is not met.
    pub extra_steps: u64,
    /// How often steps are added before the run goes on without the gate, and says so.
    pub extra_rounds: u64,
}

impl Default for Pretrain {
    fn default() -> Self {
        Pretrain {
            steps: 4000,
            batch: 64,
            lr: 3e-3,
            warmup: 100,
            check_every: 500,
            gate: 0.9,
            extra_steps: 300,
            extra_rounds: 1,
        }
    }
}

/// Self-generation: each question, each approach's prompt, several candidates.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Generation {
    /// Number of seed questions.
    pub questions: usize,
    /// Candidates per question and approach; STaR draws as many per question in all.
    pub samples: usize,
    /// Relative weights of one, two, ... parts among the seed questions.
    pub parts: Vec<f64>,
}

impl Default for Generation {
    fn default() -> Self {
        Generation { questions: 800, samples: 12, parts: vec![1.0] }
    }
}

/// Supervised fine-tuning, without the approach in the prompt.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Midtrain {
    /// Optimiser steps, the same for every data set.
    pub steps: u64,
    /// Instances a step.
    pub batch: usize,
    /// Peak learning rate; linear to zero.
    pub lr: f64,
}

impl Default for Midtrain {
    fn default() -> Self {
        Midtrain { steps: 200, batch: 64, lr: 5e-4 }
    }
}

/// GRPO.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rl {
    /// Rollout steps.
    pub steps: u64,
    /// Questions a step.
    pub questions: usize,
    /// Responses a question: the group.
    pub samples: usize,
    /// Optimiser steps a rollout.
    pub minibatches: usize,
    /// Clip range below.
    pub clip_low: f64,
    /// Clip range above.
    pub clip_high: f64,
    /// Gradient norm limit.
    pub max_norm: f64,
    /// Sampling temperature.
    pub temperature: f64,
    /// Relative weights of one, two, ... parts among the training questions.
    pub parts: Vec<f64>,
    /// Learning rate and entropy bonus where `tuned` does not say otherwise.
    pub default: Tuned,
}

impl Default for Rl {
    fn default() -> Self {
        Rl {
            steps: 300,
            questions: 32,
            samples: 12,
            minibatches: 2,
            clip_low: 0.2,
            clip_high: 0.28,
            max_norm: 1.0,
            temperature: 1.0,
            parts: vec![0.0, 1.0],
            default: Tuned { lr: 3e-4, entropy: 0.003 },
        }
    }
}

/// What the sweep may choose.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tuned {
    /// Learning rate of GRPO.
    pub lr: f64,
    /// Coefficient of the entropy bonus, per token.
    pub entropy: f64,
}

/// Time to threshold against the switch prior.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ThresholdPlan {
    /// Shares of the questions whose solutions stay diverse.
    pub shares: Vec<f64>,
    /// The most RL steps.
    pub steps: u64,
}

impl Default for ThresholdPlan {
    fn default() -> Self {
        ThresholdPlan { shares: vec![1.0, 0.5, 0.25, 0.1, 0.03, 0.0], steps: 200 }
    }
}

/// The grid of `--sweep`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Sweep {
    /// Learning rates.
    pub lr: Vec<f64>,
    /// Entropy bonuses.
    pub entropy: Vec<f64>,
    /// RL steps of each run.
    pub steps: u64,
    /// Which keys of `tuned` to try; empty for all of the run's arms.
    pub keys: Vec<String>,
}

impl Default for Sweep {
    fn default() -> Self {
        Sweep { lr: vec![1e-4, 3e-4], entropy: vec![0.003, 0.01], steps: 150, keys: Vec::new() }
    }
}

impl Sweep {
    /// Every pair.
    pub fn grid(&self) -> Vec<Tuned> {
        let mut grid = Vec::new();
        for lr in &self.lr {
            grid.extend(self.entropy.iter().map(|entropy| Tuned { lr: *lr, entropy: *entropy }));
        }
        grid
    }
}

/// What is measured on every model.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Evaluation {
    /// Questions of each set.
    pub questions: usize,
    /// Samples per question, at temperature one.
    pub samples: usize,
    /// Bootstrap resamples of an interval.
    pub resamples: usize,
}

impl Default for Evaluation {
    fn default() -> Self {
        Evaluation { questions: 128, samples: 16, resamples: 2000 }
    }
}

impl Recipe {
    /// The recipe of the default and the full run.
    pub fn frozen() -> Recipe {
        Recipe::default()
    }

    /// Refuses settings that cannot run, naming the key.
    pub fn check(&self) -> Result<()> {
        ensure!(
            self.model.heads > 0 && self.model.hidden.is_multiple_of(self.model.heads),
            "model.heads must divide model.hidden"
        );
        ensure!(self.pretrain.batch > 0, "pretrain.batch must be at least 1");
        ensure!(self.midtrain.batch > 0, "midtrain.batch must be at least 1");
        ensure!(
            self.rl.questions > 0 && self.rl.samples > 1,
            "rl.questions must be at least 1 and rl.samples at least 2"
        );
        ensure!(self.rl.minibatches > 0, "rl.minibatches must be at least 1");
        ensure!(self.evaluation.samples >= 16, "evaluation.samples must be at least 16: pass@16 is reported");
        ensure!(self.evaluation.questions > 0, "evaluation.questions must be at least 1");
        let known: BTreeSet<&str> = MAIN.iter().chain(&CONTROLS).map(Arm::tuning).collect();
        let tuned = self.tuned.keys().map(|key| ("tuned", key));
        for (place, key) in tuned.chain(self.sweep.keys.iter().map(|key| ("sweep.keys", key))) {
            ensure!(
                known.contains(key.as_str()),
                "{place} has `{key}`, which no arm uses: known are {known:?}"
            );
        }
        Ok(())
    }

    /// A smoke run: everything happens, nothing is learned.
    pub fn quick() -> Recipe {
        let mut recipe = Recipe::default();
        recipe.pretrain = Pretrain { steps: 30, batch: 32, gate: 0.0, ..recipe.pretrain };
        recipe.generation = Generation { questions: 12, samples: 4, ..recipe.generation };
        recipe.midtrain = Midtrain { steps: 4, batch: 16, ..recipe.midtrain };
        recipe.rl = Rl { steps: 3, questions: 4, samples: 4, ..recipe.rl };
        recipe.evaluation = Evaluation { questions: 8, resamples: 200, ..recipe.evaluation };
        recipe
    }
}
