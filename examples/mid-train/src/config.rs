//! Options: defaults, then the TOML file, then flags.

use std::path::PathBuf;

use anyhow::{Result, anyhow, ensure};
use clap::Parser;
use models::Precision;
use polya_prompts::{AnswerFormat, Style};
use serde::{Deserialize, Serialize};
use sft::{BatchPlan, Labels, LossConfig, Order, Packing, PrepareConfig, Truncation, Weighting};
use training::{AdamWConfig, Decay, Keep, NonFinitePolicy, Schedule, Shape, resolve};

/// Fine-tunes a Hugging Face folder on variants or prompts with completions, and writes another.
///
/// Input is JSONL; each line is {"prompt", "completion"}, {"messages"} with or without "completion", {"question", "response"} as
/// generate-variants writes it, or {"question", "solution", "answer"} as GSM8K has it.
#[derive(Parser)]
#[command(version)]
pub struct Args {
    /// TOML file with any of the options below, under their own names with underscores.
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
    /// JSONL files to learn from.
    #[arg(long, num_args = 1..)]
    #[serde(skip_serializing_if = "Option::is_none")]
    input: Option<Vec<PathBuf>>,
    /// JSONL files to evaluate on.
    #[arg(long, num_args = 1..)]
    #[serde(skip_serializing_if = "Option::is_none")]
    eval: Option<Vec<PathBuf>>,
    /// Run folder [default: runs/mid-train].
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    run_dir: Option<PathBuf>,
    /// Where the trained folder goes [default: RUN_DIR/model].
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<PathBuf>,
    /// Seed of the data's order [default: 0].
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
    /// How questions are put, as raw text or by the folder's chat template: base, chat [default: base].
    #[arg(long, value_parser = ["base", "chat"])]
    #[serde(skip_serializing_if = "Option::is_none")]
    style: Option<String>,
    /// Passes over the data [default: 1].
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    epochs: Option<u64>,
    /// Optimiser steps, instead of epochs.
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    steps: Option<u64>,
    /// Peak learning rate [default: 2e-5].
    #[arg(long, allow_negative_numbers = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    lr: Option<f64>,
    /// Rows per micro-batch [default: 4].
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    rows: Option<usize>,
    /// Micro-batches per step [default: 4].
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    accumulate: Option<usize>,
    /// Tokens per example at most, and never more than the model has positions; longer ones keep their start [default: 1024].
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    max_length: Option<usize>,
    /// Steps between checkpoints [default: 100].
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
    pub seed: u64,
    pub device: String,
    dtype: String,
    pub epochs: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub steps: Option<u64>,
    lr: f64,
    warmup: u64,
    floor: f64,
    betas: (f64, f64),
    eps: f64,
    weight_decay: f64,
    pub max_norm: f64,
    /// Steps whose numbers are not finite that may be left out.
    skip_at_most: u64,
    pub rows: usize,
    pub accumulate: usize,
    max_tokens: Option<usize>,
    pub max_length: usize,
    pub checkpoint_every: u64,
    keep_last: usize,
    pub eval_every: u64,
    /// Evaluations without improvement after which to stop; 0 never stops.
    pub patience: u64,
    /// Variants marked as not correct are left out.
    pub only_correct: bool,
    /// How questions are put: raw text, or messages by the folder's chat template.
    pub style: Style,
    /// The form of the final answer that questions ask for.
    pub answer_format: AnswerFormat,
    label_smoothing: f64,
    /// Noise on embeddings while training (NEFTune); 0 adds none, 5 is the least that its authors tried.
    pub neftune_alpha: f64,
    pub labels: Labels,
    truncation: Truncation,
    packing: Packing,
    row_length: usize,
    order: Order,
    weighting: Weighting,
    decay: Decay,
    schedule: Shape,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            model: PathBuf::new(),
            input: Vec::new(),
            eval: Vec::new(),
            run_dir: "runs/mid-train".into(),
            output: None,
            seed: 0,
            device: "cpu".into(),
            dtype: "f32".into(),
            epochs: 1,
            steps: None,
            lr: 2e-5,
            warmup: 0,
            floor: 0.0,
            betas: (0.9, 0.999),
            eps: 1e-8,
            weight_decay: 0.01,
            max_norm: 1.0,
            skip_at_most: 10,
            rows: 4,
            accumulate: 4,
            max_tokens: None,
            max_length: 1024,
            checkpoint_every: 100,
            keep_last: 2,
            eval_every: 100,
            patience: 0,
            only_correct: true,
            style: Style::Base,
            answer_format: AnswerFormat::Boxed,
            label_smoothing: 0.0,
            neftune_alpha: 0.0,
            labels: Labels::Completion,
            truncation: Truncation::KeepStart,
            packing: Packing::None,
            row_length: 1024,
            order: Order::ByLength,
            weighting: Weighting::Uniform,
            decay: Decay::All,
            schedule: Shape::Cosine,
        }
    }
}

impl Args {
    /// Defaults, file, flags; then what must be there.
    pub fn resolve(&self) -> Result<Config> {
        let config: Config = resolve(self.config.as_deref(), &self.flags)?;
        ensure!(!config.model.as_os_str().is_empty(), "no model: name a Hugging Face folder with --model");
        ensure!(!config.input.is_empty(), "no data: name a JSONL file with --input");
        Ok(config)
    }
}

impl Config {
    pub fn output(&self) -> PathBuf {
        self.output.clone().unwrap_or_else(|| self.run_dir.join("model"))
    }

    pub fn precision(&self) -> Result<Precision> {
        self.dtype.parse().map_err(|problem| anyhow!("`dtype` {problem}"))
    }

    pub fn adamw(&self) -> AdamWConfig {
        AdamWConfig {
            lr: self.lr,
            betas: self.betas,
            eps: self.eps,
            weight_decay: self.weight_decay,
            decay: self.decay,
        }
    }

    pub fn schedule(&self, total: u64) -> Schedule {
        Schedule { peak: self.lr, warmup: self.warmup, total, shape: self.schedule, floor: self.floor }
    }

    pub fn keep(&self) -> Keep {
        Keep { last: self.keep_last, best: true }
    }

    pub fn non_finite(&self) -> NonFinitePolicy {
        NonFinitePolicy::skipping(self.skip_at_most)
    }

    /// No example is longer than the model's positions, whatever `max_length` permits.
    pub fn prepare(&self, model: &models::Config) -> PrepareConfig {
        PrepareConfig {
            max_length: Some(self.max_length.min(model.max_positions)),
            truncation: self.truncation,
            vocabulary: Some(model.vocab_size),
        }
    }

    pub fn batch_plan(&self) -> BatchPlan {
        BatchPlan {
            rows: self.rows,
            max_tokens: self.max_tokens,
            packing: self.packing,
            row_length: self.row_length,
            order: self.order,
        }
    }

    pub fn loss(&self) -> LossConfig {
        LossConfig {
            label_smoothing: self.label_smoothing,
            weighting: self.weighting,
            ..LossConfig::default()
        }
    }
}
