//! Prefill, decoding and training steps in tokens per second.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Result, bail, ensure};
use burn::tensor::Device;
use clap::ValueEnum;
use models::{
    CausalLm, Config, Flow, Inputs, LlamaShape, LoadOptions, Precision, Prepared, Pretrained, Request,
    Sampled, Sampling, Watch,
};
use serde_json::json;
use sft::{Batch, Example, LossConfig, cross_entropy};
use training::{AdamW, AdamWConfig, Gradients};

use crate::Lines;

/// Options of `parity speed`.
#[derive(clap::Args, Debug)]
pub(crate) struct Arguments {
    /// What to measure
    #[arg(value_enum)]
    what: What,
    /// Where to compute: cpu, flex, ndarray, cuda or cuda:N
    #[arg(long, default_value = "cpu")]
    device: String,
    /// A Hugging Face folder; otherwise random weights of --shape
    #[arg(long, conflicts_with = "shape")]
    model: Option<PathBuf>,
    /// Random weights of a Llama: width, layers and vocabulary, as in 128x4x512
    #[arg(long)]
    shape: Option<String>,
    /// Type of a folder's parameters in memory
    #[arg(long, value_enum, default_value_t = Dtype::F32)]
    dtype: Dtype,
    /// Rows, each a sequence of its own; several values are measured in turn
    #[arg(long, value_delimiter = ',', default_value = "1")]
    batch: Vec<usize>,
    /// Tokens of a prompt, or of a training sequence
    #[arg(long, default_value_t = 128)]
    prompt: usize,
    /// Tokens decoded per row
    #[arg(long, default_value_t = 128)]
    new: usize,
    /// Times the measured part is run
    #[arg(long, default_value_t = 3)]
    repeats: usize,
    /// Goes into each record
    #[arg(long, default_value = "")]
    label: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum What {
    /// Greedy decoding with a key-value cache; the prompt's pass is reported as prefill
    Generate,
    /// Forward, masked cross-entropy, backward, clipping, AdamW
    Train,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Dtype {
    F32,
    Bf16,
}

/// Runs the measurements and writes one record for each batch size.
pub(crate) fn run(arguments: &Arguments, lines: &mut Lines) -> Result<()> {
    ensure!(arguments.repeats > 0, "--repeats 0: at least one run is needed");
    ensure!(arguments.prompt > 1, "--prompt {}: at least two tokens are needed", arguments.prompt);
    ensure!(arguments.new > 1, "--new {}: at least two tokens are needed", arguments.new);
    ensure!(arguments.batch.iter().all(|rows| *rows > 0), "--batch 0: at least one row is needed");
    let started = Instant::now();
    let device = training::device(&arguments.device)?;
    let device = if arguments.what == What::Train { device.autodiff() } else { device };
    let loading = Instant::now();
    let mut model = load(arguments, &device)?;
    let loaded = loading.elapsed().as_secs_f64();
    for rows in &arguments.batch {
        let mut record = match arguments.what {
            What::Generate => generation(arguments, &model, *rows)?,
            What::Train => {
                let (trained, record) = training_steps(arguments, model, *rows)?;
                model = trained;
                record
            }
        };
        record["part"] = json!("speed");
        record["what"] = json!(arguments.what.to_possible_value().map(|v| v.get_name().to_owned()));
        record["label"] = json!(arguments.label);
        record["device"] = json!(arguments.device);
        record["dtype"] = json!(arguments.dtype.to_possible_value().map(|v| v.get_name().to_owned()));
        record["model"] = json!(arguments.model.as_ref().map(|m| m.display().to_string()));
        record["shape"] = json!(arguments.shape);
        record["parameters"] = json!(model.config().parameters());
        record["batch"] = json!(rows);
        record["load_seconds"] = json!(loaded);
        record["total_seconds"] = json!(started.elapsed().as_secs_f64());
        println!("{record}");
        lines.write(&record)?;
    }
    Ok(())
}

fn load(arguments: &Arguments, device: &Device) -> Result<CausalLm> {
    if let Some(folder) = &arguments.model {
        let dtype = match arguments.dtype {
            Dtype::F32 => Precision::F32,
            Dtype::Bf16 => Precision::Bf16,
        };
        let options = LoadOptions { dtype, ..LoadOptions::new(device) };
        return Ok(Pretrained::load(folder, &options)?.model);
    }
    ensure!(arguments.dtype == Dtype::F32, "random weights are f32: --dtype bf16 needs --model");
    let shape = arguments.shape.as_deref().unwrap_or("64x2x512");
    let numbers: Option<Vec<usize>> = shape.split('x').map(|n| n.parse().ok()).collect();
    let Some([width, layers, vocabulary]) = numbers.and_then(|n| <[usize; 3]>::try_from(n).ok()) else {
        bail!("--shape {shape}: expected width, layers and vocabulary, as in 128x4x512");
    };
    ensure!(width % 32 == 0, "--shape {shape}: the width is in heads of 32");
    let shape = LlamaShape {
        vocab_size: vocabulary,
        hidden_size: width,
        intermediate_size: (width * 8 / 3).next_multiple_of(32),
        layers,
        heads: width / 32,
        kv_heads: width / 32,
        max_positions: 4096,
        ..LlamaShape::default()
    };
    Ok(CausalLm::init(&Config::llama(shape)?, 1, device)?)
}

/// The tokens of a row: the same rule as in the PyTorch script beside the measurements.
fn row(index: usize, length: usize, vocabulary: usize) -> Vec<u32> {
    (0..length).map(|t| ((index * 7919 + t * 104_729 + 17) % vocabulary) as u32).collect()
}

/// When the first token of all rows was there.
struct FirstToken {
    waiting: usize,
    at: Option<Instant>,
}

impl Watch for FirstToken {
    fn token(&mut self, sampled: Sampled<'_>) -> Flow {
        if sampled.tokens.len() == 1 {
            self.waiting -= 1;
            if self.waiting == 0 {
                self.at = Some(Instant::now());
            }
        }
        Flow::Continue
    }
}

fn generation(arguments: &Arguments, model: &CausalLm, rows: usize) -> Result<serde_json::Value> {
    let vocabulary = model.config().vocab_size;
    let requests: Vec<Request> = (0..rows)
        .map(|i| Request { id: i as u64, prompt: row(i, arguments.prompt, vocabulary), samples: 1 })
        .collect();
    let sampling = Sampling {
        max_new_tokens: arguments.new,
        batch_size: rows,
        memory_budget: 64 << 30,
        ..Sampling::default()
    };
    let started = Instant::now();
    let prepared = Prepared::new(model)?;
    let prepare = started.elapsed().as_secs_f64();
    let once = || -> Result<(f64, f64, Vec<u32>)> {
        let started = Instant::now();
        let mut first = FirstToken { waiting: rows, at: None };
        let samples = prepared.generate(&requests, &sampling, &mut first)?;
        let ended = started.elapsed().as_secs_f64();
        let prefill = first.at.map_or(ended, |at| (at - started).as_secs_f64());
        Ok((prefill, ended - prefill, samples[0][0].tokens.clone()))
    };
    let (first_prefill, first_decode, tokens) = once()?;
    let mut runs: Vec<(f64, f64)> = Vec::new();
    for _ in 0..arguments.repeats {
        let (prefill, decode, again) = once()?;
        ensure!(again == tokens, "two greedy runs gave different tokens");
        runs.push((prefill, decode));
    }
    let (prefill, decode) = (median(runs.iter().map(|r| r.0)), median(runs.iter().map(|r| r.1)));
    Ok(json!({
        "prompt": arguments.prompt, "new": arguments.new,
        "prefill_tokens_per_second": (rows * arguments.prompt) as f64 / prefill,
        "decode_tokens_per_second": (rows * (arguments.new - 1)) as f64 / decode,
        "decode_seconds_per_step": decode / (arguments.new - 1) as f64,
        "prepare_seconds": prepare, "prefill_seconds": prefill, "first_run_seconds": first_prefill + first_decode,
        "runs": runs, "tokens": tokens[..tokens.len().min(16)],
    }))
}

fn training_steps(
    arguments: &Arguments,
    mut model: CausalLm,
    rows: usize,
) -> Result<(CausalLm, serde_json::Value)> {
    let vocabulary = model.config().vocab_size;
    let examples: Vec<Example> = (0..rows)
        .map(|i| {
            let mut tokens = row(i, arguments.prompt + 1, vocabulary);
            let completion = tokens.split_off(1);
            Example::prompt_completion(tokens, completion)
        })
        .collect();
    let batch = Batch::collate(&examples.iter().collect::<Vec<_>>(), 0, &model.device())?;
    let mut optimizer = AdamW::new(AdamWConfig { lr: 1e-4, ..AdamWConfig::default() });
    let (mut times, mut losses) = (Vec::new(), Vec::new());
    // Three steps at least before the clock counts: kernels are compiled and chosen in them.
    let warm = 3;
    for _ in 0..warm + arguments.repeats {
        let started = Instant::now();
        let hidden = model.hidden(Inputs::new(batch.tokens.clone()));
        let loss = cross_entropy(hidden, model.head(), &batch, &LossConfig::default())?;
        let mut gradients = Gradients::new();
        let (mean, count) = (loss.mean(), loss.count);
        gradients.add(loss.sum.backward(), &model);
        gradients.scale(1.0 / count);
        let norm = gradients.clip_global_norm(1.0);
        ensure!(mean.is_finite() && norm.is_finite(), "the loss is {mean}, the gradient's norm {norm}");
        model = optimizer.step(1e-4, model, gradients);
        model.device().sync().map_err(|error| anyhow::anyhow!("{error}"))?;
        times.push(started.elapsed().as_secs_f64());
        losses.push(mean);
    }
    let seconds = median(times[warm..].iter().copied());
    let record = json!({
        "time": arguments.prompt, "train_tokens_per_second": batch.count as f64 / seconds,
        "step_seconds": seconds, "first_step_seconds": times[0], "steps_seconds": times,
        "losses": losses,
    });
    Ok((model, record))
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 { values[middle] } else { (values[middle - 1] + values[middle]) / 2.0 }
}
