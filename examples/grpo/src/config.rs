//! Options: defaults, then the TOML file, then flags.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use models::{Precision, Sampling};
use policy_gradient::advantage::GroupConfig;
use policy_gradient::{Aggregation, Kl, Objective, TokenLogProbConfig};
use polya_prompts::{AnswerFormat, Render, Style};
use serde::{Deserialize, Serialize};
use training::{AdamWConfig, Keep, NonFinitePolicy, Schedule, Shape, resolve};

use crate::rewards::Weights;

/// Reinforcement learning with verifiable rewards: samples groups of responses, verifies them, and moves the policy.
///
/// Input is JSONL; each line is {"question", "answer"}, with an "id" of its own where it has one. The defaults are GRPO with
/// a token mean; --config reaches every objective, advantage and aggregation of crate policy-gradient.
#[derive(Parser)]
#[command(version)]
pub struct Args {
    /// TOML file with any option of the run folder's config.toml.
    #[arg(long)]
    config: Option<PathBuf>,
    /// Go on from the run folder's last checkpoint.
    #[arg(long)]
    pub resume: bool,
    /// Replace an existing run folder.
    #[arg(long)]
    pub overwrite: bool,
    #[command(flatten)]
    flags: Flags,
}

/// Flags that override the file.
#[derive(clap::Args, Serialize)]
struct Flags {
    /// Hugging Face folder to start from.
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<PathBuf>,
    /// JSONL files of questions with answers.
    #[arg(long, num_args = 1..)]
    #[serde(skip_serializing_if = "Option::is_none")]
    input: Option<Vec<PathBuf>>,
    /// JSONL files of questions to evaluate on, one greedy response each.
    #[arg(long, num_args = 1..)]
    #[serde(skip_serializing_if = "Option::is_none")]
    eval: Option<Vec<PathBuf>>,
    /// Run folder [default: runs/grpo].
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    run_dir: Option<PathBuf>,
    /// Where the trained folder goes [default: RUN_DIR/model].
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<PathBuf>,
    /// Seed of order and samples [default: 0].
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<u64>,
    /// cpu, flex, ndarray, cuda, cuda:N [default: cpu].
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    device: Option<String>,
    /// Type of the parameters: f32 or bf16 [default: f32].
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    dtype: Option<String>,
    /// Rounds of sampling and learning [default: 100].
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    steps: Option<u64>,
    /// Questions in a step [default: 8].
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    questions: Option<usize>,
    /// Responses to each: the group [default: 8].
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    samples: Option<usize>,
    /// Dynamic sampling: replace groups of equal rewards by new questions, this many times at most [default: 0].
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    dynamic_rounds: Option<usize>,
    /// Optimiser steps in one pass over a step's responses [default: 1].
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    minibatches: Option<usize>,
    /// Passes over a step's responses [default: 1].
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    epochs: Option<u64>,
    /// Responses in one forward pass [default: 8].
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    micro_batch: Option<usize>,
    /// Prompts as raw text or by the folder's chat template: base, chat [default: base].
    #[arg(long, value_parser = ["base", "chat"])]
    #[serde(skip_serializing_if = "Option::is_none")]
    style: Option<String>,
    /// Worked exemplars in a prompt [default: 0].
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    exemplars: Option<usize>,
    /// Tokens of a response at most [default: 256].
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    max_new_tokens: Option<usize>,
    /// Temperature of sampling, and of the probabilities that are learned [default: 1].
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    /// Peak learning rate [default: 1e-6].
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    lr: Option<f64>,
    /// Weight of the KL term [default: 0, no reference model].
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    kl: Option<f64>,
    /// Folder of the reference model [default: that of --model].
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    reference: Option<PathBuf>,
    /// Weight of the entropy bonus [default: 0].
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    entropy: Option<f64>,
    /// Steps between checkpoints [default: 20].
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    checkpoint_every: Option<u64>,
}

/// The resolved configuration.
#[derive(Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    pub model: PathBuf,
    pub input: Vec<PathBuf>,
    pub eval: Vec<PathBuf>,
    pub run_dir: PathBuf,
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reference: Option<PathBuf>,
    pub seed: u64,
    pub device: String,
    dtype: String,
    pub steps: u64,
    pub questions: usize,
    pub samples: usize,
    /// With more than 0, groups without signal are left out, and the rest of the step's questions are drawn anew.
    pub dynamic_rounds: usize,
    style: Style,
    exemplars: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    answer_format: Option<AnswerFormat>,
    /// Texts that end a response, beside those of base prompts.
    stop: Vec<String>,
    pub max_new_tokens: usize,
    pub temperature: f64,
    /// Responses sampled at once.
    batch_size: usize,
    pub minibatches: usize,
    pub epochs: u64,
    pub micro_batch: usize,
    pub entropy: f64,
    pub kl: f64,
    lr: f64,
    warmup: u64,
    floor: f64,
    betas: (f64, f64),
    eps: f64,
    weight_decay: f64,
    pub max_norm: f64,
    /// Updates whose numbers are not finite that may be left out.
    skip_at_most: u64,
    pub checkpoint_every: u64,
    keep_last: usize,
    pub eval_every: u64,
    schedule: Shape,
    pub rewards: Weights,
    pub advantage: GroupConfig,
    pub objective: Objective,
    pub aggregation: Aggregation,
    pub kl_term: Kl,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            model: PathBuf::new(),
            input: Vec::new(),
            eval: Vec::new(),
            run_dir: "runs/grpo".into(),
            output: None,
            reference: None,
            seed: 0,
            device: "cpu".into(),
            dtype: "f32".into(),
            steps: 100,
            questions: 8,
            samples: 8,
            dynamic_rounds: 0,
            style: Style::Base,
            exemplars: 0,
            answer_format: None,
            stop: Vec::new(),
            max_new_tokens: 256,
            temperature: 1.0,
            batch_size: 64,
            minibatches: 1,
            epochs: 1,
            micro_batch: 8,
            entropy: 0.0,
            kl: 0.0,
            lr: 1e-6,
            warmup: 0,
            floor: 0.0,
            betas: (0.9, 0.999),
            eps: 1e-8,
            weight_decay: 0.0,
            max_norm: 1.0,
            skip_at_most: 10,
            checkpoint_every: 20,
            keep_last: 2,
            eval_every: 20,
            schedule: Shape::Constant,
            rewards: Weights::default(),
            advantage: GroupConfig::default(),
            objective: Objective::ppo_clip(0.2, 0.28),
            aggregation: Aggregation::TokenMean,
            kl_term: Kl::default(),
        }
    }
}

impl Args {
    /// Defaults, file, flags; then what must be there.
    pub fn resolve(&self) -> Result<Config> {
        let config: Config = resolve(self.config.as_deref(), &self.flags)?;
        ensure!(!config.model.as_os_str().is_empty(), "no model: name a Hugging Face folder with --model");
        ensure!(!config.input.is_empty(), "no questions: name a JSONL file with --input");
        let counts = [
            ("questions", config.questions),
            ("samples", config.samples),
            ("max_new_tokens", config.max_new_tokens),
            ("minibatches", config.minibatches),
            ("epochs", config.epochs as usize),
            ("micro_batch", config.micro_batch),
            ("checkpoint_every", config.checkpoint_every as usize),
            ("eval_every", config.eval_every as usize),
        ];
        for (key, value) in counts {
            ensure!(value > 0, "`{key}` must be at least 1, found 0");
        }
        ensure!(
            config.temperature > 0.0 && config.temperature.is_finite(),
            "`temperature` must be above 0, found {}: a greedy group has no variety to learn from",
            config.temperature
        );
        config.rewards.check(config.max_new_tokens)?;
        config.adamw().check()?;
        config.schedule().check()?;
        Ok(config)
    }
}

impl Config {
    pub fn output(&self) -> PathBuf {
        self.output.clone().unwrap_or_else(|| self.run_dir.join("model"))
    }

    /// The reference model's folder, where there is a KL term.
    pub fn reference(&self) -> Option<&PathBuf> {
        (self.kl != 0.0).then(|| self.reference.as_ref().unwrap_or(&self.model))
    }

    pub fn precision(&self) -> Result<Precision> {
        match self.dtype.as_str() {
            "f32" => Ok(Precision::F32),
            "bf16" => Ok(Precision::Bf16),
            other => None.with_context(|| format!("`dtype` must be f32 or bf16, found {other}")),
        }
    }

    /// How questions are put.
    pub fn render(&self) -> Render<'static> {
        Render {
            style: self.style,
            exemplars: self.exemplars,
            answer_format: self.answer_format.clone(),
            ..Render::default()
        }
    }

    /// Texts that end a response: a base model goes on with a next question otherwise.
    pub fn stop(&self, of_family: &[String]) -> Vec<String> {
        let own = if self.style == Style::Base { of_family } else { &[] };
        self.stop.iter().chain(own).cloned().collect()
    }

    pub fn sampling(&self) -> Sampling {
        Sampling {
            temperature: self.temperature,
            max_new_tokens: self.max_new_tokens,
            max_rows: self.batch_size,
            seed: self.seed,
            ..Sampling::default()
        }
    }

    /// Probabilities are learned at the temperature that sampled, or ratios would compare different policies.
    pub fn log_probs(&self) -> TokenLogProbConfig {
        TokenLogProbConfig { temperature: self.temperature, ..TokenLogProbConfig::default() }
    }

    pub fn adamw(&self) -> AdamWConfig {
        AdamWConfig {
            lr: self.lr,
            betas: self.betas,
            eps: self.eps,
            weight_decay: self.weight_decay,
            ..AdamWConfig::default()
        }
    }

    /// The rate of every step; all updates of a step share it.
    pub fn schedule(&self) -> Schedule {
        let Self { lr: peak, warmup, floor, schedule: shape, steps: total, .. } = *self;
        Schedule { peak, warmup, total, shape, floor }
    }

    pub fn keep(&self) -> Keep {
        Keep { last: self.keep_last, best: true }
    }

    pub fn non_finite(&self) -> NonFinitePolicy {
        match self.skip_at_most {
            0 => NonFinitePolicy::Stop,
            at_most => NonFinitePolicy::Skip { at_most },
        }
    }
}
