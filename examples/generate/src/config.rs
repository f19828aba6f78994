//! Options: defaults, then the TOML file, then flags.

use std::path::PathBuf;

use anyhow::{Result, anyhow, ensure};
use clap::Parser;
use models::{Precision, Sampling};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use training::resolve;

/// Samples completions from a Hugging Face folder.
///
/// Input is JSONL; each line is {"id", "prompt"} (raw text) or {"id", "messages": [...]} (chat template). Output lines are
/// {"id", "sample", "completion", "token_ids", "logprobs"?, "finish_reason"}, in input order; further fields of a line are
/// carried through. A run that was killed goes on where it was: start it again with the same options.
#[derive(Parser)]
#[command(version)]
pub struct Args {
    /// TOML file with any of the options below, under their own names with underscores.
    #[arg(long)]
    config: Option<PathBuf>,
    #[command(flatten)]
    flags: Flags,
}

/// Flags that override the file.
#[derive(clap::Args, Serialize)]
struct Flags {
    /// Hugging Face folder.
    #[arg(long, value_name = "DIR")]
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<PathBuf>,
    /// JSONL file to read.
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    input: Option<PathBuf>,
    /// JSONL file to write.
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<PathBuf>,
    /// Most new tokens of a sample [default: 256].
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    max_new_tokens: Option<usize>,
    /// Divides the logits; 0 takes the most likely token [default: 0].
    #[arg(long, value_name = "T", allow_negative_numbers = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    /// Sample among the most likely tokens whose mass reaches P [default: 1].
    #[arg(long, value_name = "P", allow_negative_numbers = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<f64>,
    /// Sample among the K most likely tokens; 0 means all [default: 0].
    #[arg(long, value_name = "K")]
    #[serde(skip_serializing_if = "Option::is_none")]
    top_k: Option<usize>,
    /// Sample among tokens at least P times as likely as the likeliest [default: 0].
    #[arg(long, value_name = "P", allow_negative_numbers = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    min_p: Option<f64>,
    /// Divides positive and multiplies negative logits of tokens already there [default: 1].
    #[arg(long, value_name = "R", allow_negative_numbers = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    repetition_penalty: Option<f64>,
    /// A text that ends a sample and is cut off; may be given several times.
    #[arg(long, value_name = "TEXT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    stop: Option<Vec<String>>,
    /// Samples of each prompt [default: 1].
    #[arg(long, value_name = "S")]
    #[serde(skip_serializing_if = "Option::is_none")]
    samples: Option<usize>,
    /// Seed; a sample depends on it, the id and the sample's number, not on the batch [default: 0].
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<u64>,
    /// Most samples that run together [default: 64].
    #[arg(long, value_name = "B")]
    #[serde(skip_serializing_if = "Option::is_none")]
    batch_size: Option<usize>,
    /// cpu, flex, ndarray, cuda or cuda:N [default: cpu].
    #[arg(long, value_name = "D")]
    #[serde(skip_serializing_if = "Option::is_none")]
    device: Option<String>,
    /// Type of the parameters: f32 or bf16 [default: f32].
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    dtype: Option<String>,
    /// Write the log-probability of each token under the model, before temperature and truncation.
    #[arg(long, num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    logprobs: Option<bool>,
}

/// The resolved configuration.
#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    pub model: PathBuf,
    pub input: PathBuf,
    pub output: PathBuf,
    max_new_tokens: usize,
    temperature: f64,
    top_p: f64,
    top_k: usize,
    min_p: f64,
    repetition_penalty: f64,
    pub stop: Vec<String>,
    pub samples: usize,
    seed: u64,
    batch_size: usize,
    pub device: String,
    dtype: String,
    pub logprobs: bool,
}

impl Default for Config {
    fn default() -> Self {
        let Sampling {
            temperature, top_p, min_p, repetition_penalty, max_new_tokens, seed, batch_size, ..
        } = Sampling::default();
        Self {
            model: PathBuf::new(),
            input: PathBuf::new(),
            output: PathBuf::new(),
            max_new_tokens,
            temperature,
            top_p,
            top_k: 0,
            min_p,
            repetition_penalty,
            stop: Vec::new(),
            samples: 1,
            seed,
            batch_size,
            device: "cpu".into(),
            dtype: "f32".into(),
            logprobs: false,
        }
    }
}

impl Args {
    /// Defaults, file, flags; then what must be there.
    pub fn resolve(&self) -> Result<Config> {
        let config: Config = resolve(self.config.as_deref(), &self.flags)?;
        for (key, path) in [("model", &config.model), ("input", &config.input), ("output", &config.output)] {
            ensure!(!path.as_os_str().is_empty(), "`{key}` is missing: give it with --{key}");
        }
        ensure!(config.samples > 0, "`samples` must be at least 1, found 0");
        config.sampling(&[]).check()?;
        config.precision()?;
        Ok(config)
    }
}

impl Config {
    pub fn sampling(&self, eos: &[u32]) -> Sampling {
        Sampling {
            temperature: self.temperature,
            top_k: (self.top_k > 0).then_some(self.top_k),
            top_p: self.top_p,
            min_p: self.min_p,
            repetition_penalty: self.repetition_penalty,
            max_new_tokens: self.max_new_tokens,
            eos: eos.to_vec(),
            seed: self.seed,
            batch_size: self.batch_size,
            ..Sampling::default()
        }
    }

    pub fn precision(&self) -> Result<Precision> {
        self.dtype.parse().map_err(|problem| anyhow!("`dtype` {problem}"))
    }

    /// What the records depend on: a killed run goes on only with the same.
    pub fn settings(&self) -> Value {
        json!({
            "model": self.model, "input": self.input, "max_new_tokens": self.max_new_tokens,
            "temperature": self.temperature, "top_p": self.top_p, "top_k": self.top_k, "min_p": self.min_p,
            "repetition_penalty": self.repetition_penalty, "stop": self.stop, "samples": self.samples,
            "seed": self.seed, "dtype": self.dtype, "logprobs": self.logprobs,
        })
    }
}
