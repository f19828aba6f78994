//! Options: defaults, then the TOML file, then flags.

use std::path::PathBuf;

use anyhow::{Result, anyhow, ensure};
use clap::Parser;
use models::{Precision, ScoreOptions};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use training::resolve;

/// Scores completions, or whole texts with a reward model, from a Hugging Face folder.
///
/// Input is JSONL. For a language model each line is {"id", "prompt", "completion"}, {"id", "messages", "completion"} or {"id",
/// "token_ids", "prompt_length"}, and an output line {"id", "token_ids", "logprobs", "sum_logprob"} has the completion's
/// tokens. For a reward model (*ForSequenceClassification) each line is {"id", "prompt"} or {"id", "messages"}, and an output
/// line {"id", "score"}. Further fields are carried through. A run that was killed goes on where it was: start it again.
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
    /// Most tokens, padding included, that run together [default: 8192].
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    batch_tokens: Option<usize>,
    /// cpu, flex, ndarray, cuda or cuda:N [default: cpu].
    #[arg(long, value_name = "D")]
    #[serde(skip_serializing_if = "Option::is_none")]
    device: Option<String>,
    /// Type of the parameters: f32 or bf16 [default: f32].
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    dtype: Option<String>,
}

/// The resolved configuration.
#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    pub model: PathBuf,
    pub input: PathBuf,
    pub output: PathBuf,
    pub batch_tokens: usize,
    pub device: String,
    dtype: String,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            model: PathBuf::new(),
            input: PathBuf::new(),
            output: PathBuf::new(),
            batch_tokens: ScoreOptions::default().batch_tokens,
            device: "cpu".into(),
            dtype: "f32".into(),
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
        ensure!(config.batch_tokens > 0, "`batch_tokens` must be at least 1, found 0");
        config.precision()?;
        Ok(config)
    }
}

impl Config {
    pub fn precision(&self) -> Result<Precision> {
        self.dtype.parse().map_err(|problem| anyhow!("`dtype` {problem}"))
    }

    /// What the records depend on: a killed run goes on only with the same.
    pub fn settings(&self) -> Value {
        json!({"model": self.model, "input": self.input, "dtype": self.dtype})
    }
}
