//! Options: defaults, then the TOML file, then flags.

use std::path::PathBuf;

use anyhow::{Context, Result, anyhow, bail, ensure};
use clap::Parser;
use evaluation::registry::{self, Benchmark, TaskKind};
use models::{LoadOptions, Sampling};
use polya_prompts::client::ClientConfig;
use polya_prompts::openai::ServerSampling;
use polya_prompts::{AnswerFormat, PlanConfig, Render, Style};
use serde::{Deserialize, Serialize};
use training::resolve;

/// Measures pass@k on a benchmark: of a Hugging Face folder, of a server, or of completions that are already there.
///
/// Prints a table with 95 % intervals over questions, and leaves results.json, report.html and every completion with its
/// verdict in the run folder. A killed run goes on with --resume.
#[derive(Parser)]
#[command(version)]
pub struct Args {
    /// TOML file with any option of the run folder's config.toml.
    #[arg(long)]
    config: Option<PathBuf>,
    /// Go on where a killed run ended.
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
    /// Hugging Face folder.
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<PathBuf>,
    /// Base URLs of OpenAI-compatible servers, separated by commas, such as http://localhost:8000/v1.
    #[arg(long, value_delimiter = ',')]
    #[serde(skip_serializing_if = "Option::is_none")]
    endpoint: Option<Vec<String>>,
    /// The model's name as the servers know it.
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    model_name: Option<String>,
    /// Name of the environment variable that holds the API key.
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    api_key_env: Option<String>,
    /// JSONL of {"id", "sample", "completion"}, as generate writes it.
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    completions: Option<PathBuf>,
    /// Name or Hugging Face id of a benchmark, such as gsm8k, svamp, olympiadbench; without one, --data is any JSONL of
    /// "question" and "answer".
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    benchmark: Option<String>,
    /// The benchmark's file, JSONL.
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<PathBuf>,
    /// The first N questions only.
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<usize>,
    /// Completions of each question [default: 1].
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    samples: Option<usize>,
    /// The k of pass@k, separated by commas [default: powers of two up to the samples].
    #[arg(long, value_delimiter = ',')]
    #[serde(skip_serializing_if = "Option::is_none")]
    k: Option<Vec<usize>>,
    /// Run folder [default: runs/evaluate].
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    run_dir: Option<PathBuf>,
    /// Seed of samples and intervals [default: 0].
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
    /// Completions sampled at once by a folder; a killed run loses at most these [default: 64].
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    batch_size: Option<usize>,
    /// Prompts as raw text or as messages: base, chat [default: base].
    #[arg(long, value_parser = ["base", "chat"])]
    #[serde(skip_serializing_if = "Option::is_none")]
    style: Option<String>,
    /// Worked exemplars in a prompt [default: 0].
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    exemplars: Option<usize>,
    /// Tokens of a completion at most [default: 512].
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    max_new_tokens: Option<usize>,
    /// Temperature [default: 0 with one sample, else 1].
    #[arg(long, allow_negative_numbers = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    /// Nucleus mass [default: 1].
    #[arg(long, allow_negative_numbers = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<f64>,
}

/// The resolved configuration.
#[derive(Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    endpoint: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    model_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    api_key_env: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completions: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    benchmark: Option<String>,
    pub data: PathBuf,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    pub samples: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    k: Option<Vec<usize>>,
    pub run_dir: PathBuf,
    pub seed: u64,
    pub device: String,
    dtype: String,
    batch_size: usize,
    /// Requests in flight to servers.
    concurrency: usize,
    /// Seconds one request may take.
    timeout: f64,
    style: Style,
    exemplars: usize,
    /// Texts that end a completion, beside those of base prompts.
    stop: Vec<String>,
    pub max_new_tokens: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    top_p: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    answer_format: Option<AnswerFormat>,
}

impl Default for Config {
    fn default() -> Self {
        let client = ClientConfig::default();
        Self {
            model: None,
            endpoint: None,
            model_name: None,
            api_key_env: None,
            completions: None,
            benchmark: None,
            data: PathBuf::new(),
            limit: None,
            samples: 1,
            k: None,
            run_dir: "runs/evaluate".into(),
            seed: 0,
            device: "cpu".into(),
            dtype: "f32".into(),
            batch_size: 64,
            concurrency: client.concurrency,
            timeout: client.timeout_s,
            style: Style::Base,
            exemplars: 0,
            stop: Vec::new(),
            max_new_tokens: 512,
            temperature: None,
            top_p: 1.0,
            answer_format: None,
        }
    }
}

impl Args {
    /// Defaults, file, flags; then what must be there.
    pub fn resolve(&self) -> Result<Config> {
        let config: Config = resolve(self.config.as_deref(), &self.flags)?;
        let given = [config.model.is_some(), config.endpoint.is_some(), config.completions.is_some()]
            .map(usize::from);
        ensure!(
            given.iter().sum::<usize>() == 1,
            "expected one of --model, --endpoint and --completions, found {}",
            given.iter().sum::<usize>()
        );
        ensure!(
            !config.data.as_os_str().is_empty(),
            "no questions: name the benchmark's JSONL file with --data"
        );
        for (key, value) in [
            ("samples", config.samples),
            ("batch_size", config.batch_size),
            ("max_new_tokens", config.max_new_tokens),
            ("limit", config.limit.unwrap_or(1)),
        ] {
            ensure!(value > 0, "`{key}` must be at least 1, found 0");
        }
        ensure!(config.k.as_ref().is_none_or(|ks| ks.iter().all(|k| *k > 0)), "every `k` must be at least 1");
        if config.completions.is_none()
            && let Some(k) = config.k.iter().flatten().find(|k| **k > config.samples)
        {
            bail!(
                "pass@{k} needs {k} samples of each question, found samples = {}: raise --samples",
                config.samples
            );
        }
        let temperature = config.temperature();
        ensure!(
            (0.0..=100.0).contains(&temperature),
            "`temperature` must be between 0 and 100, found {temperature}"
        );
        ensure!(
            config.top_p > 0.0 && config.top_p <= 1.0,
            "`top_p` must be above 0 and at most 1, found {}",
            config.top_p
        );
        if temperature == 0.0 && config.samples > 1 && config.completions.is_none() {
            eprintln!("warning: temperature 0 makes all {} samples of a question the same", config.samples);
        }
        config.benchmark()?;
        Ok(config)
    }
}

impl Config {
    /// The benchmark, if it is a registered one.
    pub fn benchmark(&self) -> Result<Option<&'static Benchmark>> {
        let Some(name) = &self.benchmark else { return Ok(None) };
        let found = registry::find(name)?;
        ensure!(
            found.kind != TaskKind::Code,
            "{} is judged by running code, which this program does not do: choose a benchmark of final answers",
            found.title
        );
        Ok(Some(found))
    }

    fn temperature(&self) -> f64 {
        self.temperature.unwrap_or(if self.samples > 1 { 1.0 } else { 0.0 })
    }

    /// The k of pass@k for so many samples.
    pub fn ks(&self, samples: usize) -> Vec<usize> {
        let mut ks = self.k.clone().unwrap_or_else(|| evaluation::usual_ks(samples));
        ks.sort_unstable();
        ks.dedup();
        ks
    }

    pub fn render(&self) -> Render<'static> {
        Render {
            style: self.style,
            exemplars: self.exemplars,
            answer_format: self.answer_format.clone(),
            ..Render::default()
        }
    }

    pub fn plan(&self) -> PlanConfig {
        PlanConfig { samples: self.samples, seed: self.seed, ..PlanConfig::default() }
    }

    /// How servers sample, and, in its terms, a folder; base prompts end at the family's stop texts too.
    pub fn server_sampling(&self, of_family: &[String]) -> ServerSampling {
        let own = if self.style == Style::Base { of_family } else { &[] };
        ServerSampling {
            max_tokens: self.max_new_tokens,
            temperature: self.temperature(),
            top_p: self.top_p,
            stop: self.stop.iter().chain(own).cloned().collect(),
            ..ServerSampling::default()
        }
    }

    pub fn sampling(&self) -> Sampling {
        Sampling {
            temperature: self.temperature(),
            top_p: self.top_p,
            max_new_tokens: self.max_new_tokens,
            batch_size: self.batch_size,
            seed: self.seed,
            ..Sampling::default()
        }
    }

    /// Requests in one batch of a folder.
    pub fn requests_at_once(&self) -> usize {
        (self.batch_size / self.samples).max(1)
    }

    pub fn load_options(&self) -> Result<LoadOptions> {
        let dtype = self.dtype.parse().map_err(|problem| anyhow!("`dtype` {problem}"))?;
        Ok(LoadOptions { dtype, ..LoadOptions::new(&training::device(&self.device)?) })
    }

    /// The client's settings, if servers are asked.
    pub fn client(&self, sampling: ServerSampling) -> Result<Option<ClientConfig>> {
        let Some(endpoints) = self.endpoint.clone() else { return Ok(None) };
        Ok(Some(ClientConfig {
            endpoints,
            model: self.model_name.clone().context("--endpoint needs --model-name")?,
            sampling,
            concurrency: self.concurrency,
            timeout_s: self.timeout,
            api_key_env: self.api_key_env.clone(),
            ..ClientConfig::default()
        }))
    }
}
