//! Options: defaults, then the TOML file, then flags.

use std::path::PathBuf;

use anyhow::{Result, anyhow, bail, ensure};
use clap::Parser;
use models::{LoraConfig, Precision, Sampling};
use policy_gradient::advantage::{GroupConfig, Singleton};
use policy_gradient::{Aggregation, Kl, Objective, TokenLogProbConfig};
use polya_prompts::{AnswerFormat, Render, Style};
use serde::{Deserialize, Serialize};
use training::{AdamWConfig, Keep, NonFinitePolicy, Schedule, Shape, resolve};

use crate::ppo::Ppo;
use crate::rewards::Weights;

/// Reinforcement learning with verifiable rewards: samples groups of responses, verifies them, and moves the policy.
///
/// Input is JSONL; each line is {"question", "answer"}, with an "id" of its own where it has one. The defaults are GRPO with
/// a token mean; --algorithm ppo compares with a learned value instead of a group; --lora-rank trains adapters alone; --config
/// reaches every objective, advantage and aggregation of crate policy-gradient.
#[derive(Parser)]
#[command(version)]
pub struct Args {
    /// TOML file with any option of the run folder's config.toml.
    #[arg(long)]
    config: Option<PathBuf>,
    /// Go on from the run folder's last checkpoint.
    #[arg(long, conflicts_with = "overwrite")]
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
    /// What a response is compared with: grpo (the others of its group), ppo (a learned value) [default: grpo].
    #[arg(long, value_parser = ["grpo", "ppo"])]
    #[serde(skip_serializing_if = "Option::is_none")]
    algorithm: Option<String>,
    /// Train adapters of this rank (LoRA) and nothing else [default: 0, all parameters].
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    lora_rank: Option<usize>,
    /// Scale of the adapters' updates: alpha / rank [default: 16].
    #[arg(long, allow_negative_numbers = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    lora_alpha: Option<f64>,
    /// Projections that get adapters [default: q_proj k_proj v_proj o_proj gate_proj up_proj down_proj].
    #[arg(long, num_args = 1..)]
    #[serde(skip_serializing_if = "Option::is_none")]
    lora_targets: Option<Vec<String>>,
    /// Seed of order and samples, and of adapters [default: 0].
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
    /// Responses to each: the group. PPO needs no more than 1 [default: 8].
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
    #[arg(long, allow_negative_numbers = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    /// Peak learning rate [default: 1e-6].
    #[arg(long, allow_negative_numbers = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    lr: Option<f64>,
    /// Weight of the KL term, in the loss or with PPO in the reward [default: 0, no reference model].
    #[arg(long, allow_negative_numbers = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    kl: Option<f64>,
    /// Folder of the reference model [default: that of --model; with adapters, the model without them].
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    reference: Option<PathBuf>,
    /// Weight of the entropy bonus [default: 0].
    #[arg(long, allow_negative_numbers = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    entropy: Option<f64>,
    /// Steps between checkpoints [default: 20].
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    checkpoint_every: Option<u64>,
}

/// What a response is compared with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Algorithm {
    /// The other responses to its question.
    #[default]
    Grpo,
    /// What a value head expected of it.
    Ppo,
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
    pub reference: Option<PathBuf>,
    algorithm: Algorithm,
    /// 0 trains all parameters.
    lora_rank: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    lora_alpha: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lora_targets: Option<Vec<String>>,
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
    /// With `algorithm = "ppo"`, and only there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ppo: Option<Ppo>,
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
            algorithm: Algorithm::Grpo,
            lora_rank: 0,
            lora_alpha: None,
            lora_targets: None,
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
            ppo: None,
        }
    }
}

impl Args {
    /// Defaults, file, flags; then what must be there.
    pub fn resolve(&self) -> Result<Config> {
        let mut config: Config = resolve(self.config.as_deref(), &self.flags)?;
        ensure!(!config.model.as_os_str().is_empty(), "no model: name a Hugging Face folder with --model");
        ensure!(!config.input.is_empty(), "no questions: name a JSONL file with --input");
        let counts = [
            ("steps", config.steps as usize),
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
        let responses = config.questions.saturating_mul(config.samples);
        ensure!(
            config.minibatches <= responses,
            "`minibatches` is {}, and a step has {responses} responses: give each at least one",
            config.minibatches
        );
        ensure!(
            config.kl >= 0.0 && config.kl.is_finite(),
            "`kl` must be finite and at least 0, found {}: it weighs a penalty",
            config.kl
        );
        ensure!(config.entropy.is_finite(), "`entropy` must be finite, found {}", config.entropy);
        ensure!(
            config.reference.is_none() || config.kl > 0.0,
            "`reference` is given, and `kl` is 0: give the KL term a weight, or leave it out"
        );
        config.rewards.check(config.max_new_tokens)?;
        config.adamw().check()?;
        config.schedule().check().map_err(|error| error.renamed(&[("peak", "lr")]))?;
        config.settle_algorithm()?;
        config.settle_lora()?;
        Ok(config)
    }
}

impl Config {
    pub fn output(&self) -> PathBuf {
        self.output.clone().unwrap_or_else(|| self.run_dir.join("model"))
    }

    /// Refuses settings of the algorithm that is not asked for, and completes those of the one that is.
    fn settle_algorithm(&mut self) -> Result<()> {
        if self.algorithm == Algorithm::Grpo {
            ensure!(
                self.ppo.is_none(),
                "`ppo` has settings, and `algorithm` is grpo: ask for ppo, or leave them out"
            );
            ensure!(
                self.samples > 1 || self.advantage.singleton != Singleton::Zero,
                "`samples` is 1, and a group of one has nothing to compare with: raise it, or ask for `algorithm` ppo"
            );
            return Ok(());
        }
        let ppo = self.ppo.get_or_insert_default().clone();
        ppo.check()?;
        self.value_schedule(&ppo).check().map_err(|error| error.renamed(&[("peak", "ppo.value_lr")]))?;
        ensure!(
            self.advantage == GroupConfig::default(),
            "`advantage` compares within groups, and `algorithm` is ppo: leave it out, or ask for grpo"
        );
        ensure!(
            self.dynamic_rounds == 0,
            "`dynamic_rounds` replaces groups of equal rewards, and ppo compares no groups: leave it out, or ask for grpo"
        );
        ensure!(
            !ppo.kl_in_reward || self.kl_term == Kl::default(),
            "`kl_term` belongs to a KL term in the loss, and `ppo.kl_in_reward` takes it from the reward: leave out one of them"
        );
        Ok(())
    }

    /// Refuses settings of adapters where there are none, and completes them where there are.
    fn settle_lora(&mut self) -> Result<()> {
        if self.lora_rank > 0 {
            let default = LoraConfig::default();
            self.lora_alpha.get_or_insert(default.alpha);
            self.lora_targets.get_or_insert(default.targets);
            return Ok(());
        }
        let given =
            [("lora_alpha", self.lora_alpha.is_some()), ("lora_targets", self.lora_targets.is_some())];
        match given.iter().find(|(_, given)| *given) {
            Some((key, _)) => {
                bail!("`{key}` is given, and `lora_rank` is 0: give adapters a rank, or leave it out")
            }
            None => Ok(()),
        }
    }

    /// The adapters to be trained, if it is they.
    pub fn lora(&self) -> Option<LoraConfig> {
        let (rank, alpha, targets) = (self.lora_rank, self.lora_alpha?, self.lora_targets.clone()?);
        (rank > 0).then_some(LoraConfig { rank, alpha, targets })
    }

    /// Whether the KL term is part of the loss, rather than of PPO's rewards.
    pub fn kl_in_loss(&self) -> bool {
        self.ppo.as_ref().is_none_or(|ppo| !ppo.kl_in_reward)
    }

    pub fn precision(&self) -> Result<Precision> {
        self.dtype.parse().map_err(|problem| anyhow!("`dtype` {problem}"))
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
            batch_size: self.batch_size,
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

    /// The rate of PPO's value head: the same course with another peak.
    pub fn value_schedule(&self, ppo: &Ppo) -> Schedule {
        Schedule { peak: ppo.value_lr, ..self.schedule() }
    }

    pub fn keep(&self) -> Keep {
        Keep { last: self.keep_last, best: true }
    }

    pub fn non_finite(&self) -> NonFinitePolicy {
        NonFinitePolicy::skipping(self.skip_at_most)
    }
}
