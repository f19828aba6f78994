//! Whole models: logits, loading in bf16, greedy sampling, a supervised run, a GRPO step.

use std::path::Path;

use anyhow::{Context, Result};
use burn::tensor::{Bool, DType, Device, Int, Tensor, TensorData};
use models::{
    CausalLm, Config, Inputs, LlamaShape, LoadOptions, Precision, Pretrained, Request, Sample, Sampling,
    ScoreOptions, Scored, generate, score,
};
use policy_gradient::advantage::{self, GroupConfig};
use policy_gradient::{
    Aggregation, GlobalCounts, Objective, TokenLogProbConfig, aggregate, objective, token_log_probs,
};
use sft::{Batch, Example, LossConfig, cross_entropy};
use training::{AdamW, AdamWConfig, Gradients};

use crate::check::{Pair, Part, Report};

/// The parts of this file.
pub(crate) const PARTS: &[(&str, Part)] = &[
    ("model", logits),
    ("greedy sampling", greedy),
    ("stories260K", stories),
    ("supervised run", supervised),
    ("GRPO step", grpo),
];

const WORDS: u32 = 320;

/// Grouped queries, and weights large enough that the next token is not a toss-up.
fn model(device: &Device) -> Result<CausalLm> {
    let shape = LlamaShape {
        vocab_size: WORDS as usize,
        hidden_size: 96,
        intermediate_size: 256,
        layers: 2,
        heads: 6,
        kv_heads: 2,
        initializer_range: 0.15,
        ..LlamaShape::default()
    };
    Ok(CausalLm::init(&Config::llama(shape)?, 7, device)?)
}

fn words(count: usize, seed: u32) -> Vec<u32> {
    (0..count as u32).map(|i| (i * 37 + i * i * seed + seed * 11) % WORDS).collect()
}

fn host<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.cast(DType::F32).into_data().iter::<f32>().collect()
}

fn logits(pair: &Pair, report: &mut Report) -> Result<()> {
    let ids = |device: &Device| {
        let ids = (0..4).flat_map(|row| words(33, row + 1)).map(|id| id as i32).collect();
        Tensor::<2, Int>::from_data(TensorData::new::<i32, _>(ids, [4, 33]), device)
    };
    let run = |model: &CausalLm| host(model.logits(model.hidden(Inputs::new(ids(&model.device())))));
    let reference = model(pair.reference)?;
    let expected = run(&reference);
    report.compare("logits", &run(&model(pair.device)?), &expected, 2.0)?;

    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    Pretrained::new(reference, None).save(folder.path())?;
    let types = [("f32", Precision::F32, 2.0 * report.scale()), ("bf16", Precision::Bf16, 4e-2)];
    for (name, dtype, tolerance) in types.into_iter().take(1 + usize::from(pair.bf16)) {
        let options = LoadOptions { dtype, ..LoadOptions::new(pair.device) };
        let found = run(&Pretrained::load(folder.path(), &options)?.model);
        report.compare_within(
            &format!("logits of a folder loaded in {name}"),
            &found,
            &expected,
            tolerance,
        )?;
    }
    Ok(())
}

/// Prompts of several lengths, more of them than the batch holds, so that rows leave and enter.
fn greedy(pair: &Pair, report: &mut Report) -> Result<()> {
    let requests: Vec<Request> = (0..7)
        .map(|id| Request {
            id,
            prompt: words(3 + 9 * id as usize, id as u32 + 3),
            samples: 1 + id as usize % 2,
        })
        .collect();
    // End tokens make the rows leave at different times.
    let sampling = Sampling { max_new_tokens: 90, batch_size: 4, eos: vec![5, 6, 7], ..Sampling::default() };
    let reference = model(pair.reference)?;
    let sample = |model: &CausalLm| generate(model, &requests, &sampling, &mut ());
    let (expected, found) = (sample(&reference)?, sample(&model(pair.device)?)?);
    let prompts: Vec<&[u32]> = requests.iter().map(|r| r.prompt.as_slice()).collect();
    same_text(report, "greedy sampling", &reference, &prompts, &found, &expected)
}

/// Greedy texts may part only where two tokens are about as likely; before that, log-probabilities agree.
fn same_text(
    report: &mut Report,
    name: &str,
    reference: &CausalLm,
    prompts: &[&[u32]],
    found: &[Vec<Sample>],
    expected: &[Vec<Sample>],
) -> Result<()> {
    let (mut equal, mut count, mut gap, mut difference) = (0, 0, 0.0_f64, 0.0_f64);
    for ((prompt, found), expected) in prompts.iter().zip(found).zip(expected) {
        for (found, expected) in found.iter().zip(expected) {
            count += 1;
            let pairs = found.tokens.iter().zip(&expected.tokens);
            let common = pairs.take_while(|(a, b)| a == b).count();
            for (a, b) in found.logprobs.iter().zip(&expected.logprobs).take(common) {
                difference = difference.max(f64::from((a - b).abs()));
            }
            if found.tokens == expected.tokens {
                equal += 1;
            } else if let Some(token) = found.tokens.get(common) {
                let mut tokens = [prompt, &expected.tokens[..common]].concat();
                tokens.push(*token);
                let prompt_length = tokens.len() - 1;
                let other = score(reference, &[Scored { tokens, prompt_length }], &ScoreOptions::default())?;
                let chosen = expected.logprobs.get(common).copied().unwrap_or(f32::INFINITY);
                gap = gap.max(f64::from(chosen - other[0][0]));
            }
        }
    }
    println!("     {name}: {equal} of {count} texts are equal");
    let scale = report.scale();
    report.record(&format!("{name}: log-probabilities (nats)"), difference, 10.0 * scale)?;
    report.record(&format!("{name}: how much less likely another text was (nats)"), gap, 10.0 * scale)
}

/// A pretrained model, against what transformers made of it; needs the repository's files.
fn stories(pair: &Pair, report: &mut Report) -> Result<()> {
    let tests = Path::new("crates/models/tests");
    let Ok(golden) = std::fs::read_to_string(tests.join("golden/stories260k.json")) else {
        println!("     skipped: {} is not here; run from the workspace root", tests.display());
        return Ok(());
    };
    let golden: serde_json::Value = serde_json::from_str(&golden)?;
    let ids = |key: &str| -> Vec<u32> {
        golden[key]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|id| id.as_u64())
            .map(|id| id as u32)
            .collect()
    };
    let (prompt, text) = (ids("prompt"), ids("greedy"));
    let logprobs = golden["logprobs"].as_array().into_iter().flatten();
    let logprobs: Vec<f32> = logprobs.filter_map(|x| x.as_f64()).map(|x| x as f32).collect();
    let load =
        |device: &Device| Pretrained::load(tests.join("fixtures/stories260K"), &LoadOptions::new(device));
    let (reference, stories) = (load(pair.reference)?, load(pair.device)?);

    let sequences = [Scored { tokens: text.clone(), prompt_length: 1 }];
    let scores = score(&stories.model, &sequences, &ScoreOptions::default())?;
    report.compare("stories260K: scores against transformers", &scores[0], &logprobs, 3.0)?;

    let requests = [Request { id: 0, prompt: prompt.clone(), samples: 1 }];
    let sampling = Sampling { max_new_tokens: 64, eos: stories.eos().to_vec(), ..Sampling::default() };
    let found = generate(&stories.model, &requests, &sampling, &mut ())?;
    let expected = generate(&reference.model, &requests, &sampling, &mut ())?;
    let equal = found[0][0].tokens == text[prompt.len()..];
    println!("     stories260K: greedy text equal to transformers: {equal}");
    same_text(report, "stories260K", &reference.model, &[&prompt], &found, &expected)
}

/// Losses and gradient norms of 20 steps of AdamW on one batch, packed rows included.
fn supervised(pair: &Pair, report: &mut Report) -> Result<()> {
    let run = |device: &Device| -> Result<(Vec<f32>, Vec<f32>)> {
        let mut model = model(&device.clone().autodiff())?;
        let examples: Vec<Example> = (0..12)
            .map(|i| {
                Example::prompt_completion(words(3 + i as usize, i + 1), words(9 + 2 * i as usize, i + 5))
            })
            .collect();
        let batch = Batch::collate(&examples.iter().collect::<Vec<_>>(), 0, &model.device())?;
        let mut optimizer = AdamW::new(AdamWConfig::default());
        let (mut losses, mut norms) = (Vec::new(), Vec::new());
        for _ in 0..20 {
            let hidden = model.hidden(Inputs::new(batch.tokens.clone()));
            let loss = cross_entropy(hidden, model.head(), &batch, &LossConfig::default())?;
            losses.push(loss.mean() as f32);
            let mut gradients = Gradients::new();
            gradients.add(loss.sum.backward(), &model);
            gradients.scale(1.0 / loss.count);
            norms.push(gradients.clip_global_norm(1.0) as f32);
            model = optimizer.step(1e-3, model, gradients);
        }
        Ok((losses, norms))
    };
    let (losses, norms) = run(pair.device)?;
    let (expected_losses, expected_norms) = run(pair.reference)?;
    println!("     losses {:.4} to {:.4}, {:.4} on flex", losses[0], losses[19], expected_losses[19]);
    report.compare("supervised run: the first loss", &losses[..1], &expected_losses[..1], 1.0)?;
    report.compare("supervised run: the first gradient norm", &norms[..1], &expected_norms[..1], 2.0)?;
    report.compare("supervised run: 20 losses", &losses, &expected_losses, 10.0)
}

/// Loss, entropy and gradients of one GRPO step on the same responses.
fn grpo(pair: &Pair, report: &mut Report) -> Result<()> {
    let requests: Vec<Request> = (0..3)
        .map(|id| Request { id, prompt: words(4 + 2 * id as usize, id as u32 + 1), samples: 4 })
        .collect();
    let sampling =
        Sampling { temperature: 1.0, max_new_tokens: 12, eos: (0..20).collect(), ..Sampling::default() };
    let samples = generate(&model(pair.reference)?, &requests, &sampling, &mut ())?;
    let rows: Vec<(&[u32], &Sample)> = requests
        .iter()
        .zip(&samples)
        .flat_map(|(request, samples)| samples.iter().map(|sample| (request.prompt.as_slice(), sample)))
        .collect();
    let rewards: Vec<f64> = rows.iter().map(|(_, sample)| f64::from(sample.tokens[0] % 2)).collect();
    let groups: Vec<u64> = (0..rows.len()).map(|i| (i / 4) as u64).collect();
    let advantages = advantage::group(&rewards, &groups, &GroupConfig::default())?;
    let time = rows.iter().map(|(prompt, s)| prompt.len() + s.tokens.len() - 1).max().unwrap_or(1);
    let size = rows.len() * time;
    let (mut tokens, mut targets, mut mask) = (vec![0i32; size], vec![0i32; size], vec![false; size]);
    let (mut old, mut weights) = (vec![0f32; size], vec![0f32; size]);
    for (row, ((prompt, sample), advantage)) in rows.iter().zip(&advantages).enumerate() {
        let ids: Vec<u32> = prompt.iter().chain(&sample.tokens).copied().collect();
        for (t, pair) in ids.windows(2).enumerate() {
            (tokens[row * time + t], targets[row * time + t]) = (pair[0] as i32, pair[1] as i32);
        }
        for (i, logprob) in sample.logprobs.iter().enumerate() {
            let place = row * time + prompt.len() - 1 + i;
            // A policy that has moved, so that ratios differ from one and some are clipped.
            (mask[place], old[place]) = (true, logprob + [0.3, -0.3, 0.05][i % 3]);
            weights[place] = *advantage as f32;
        }
    }

    let run = |device: &Device| -> Result<(Vec<f32>, Vec<f32>)> {
        let model = model(&device.clone().autodiff())?;
        let device = model.device();
        let shape = [rows.len(), time];
        let floats =
            |values: &[f32]| Tensor::<2>::from_data(TensorData::new(values.to_vec(), shape), &device);
        let integers =
            |values: &[i32]| Tensor::<2, Int>::from_data(TensorData::new(values.to_vec(), shape), &device);
        let mask = Tensor::<2, Bool>::from_data(TensorData::new(mask.clone(), shape), &device);
        let hidden = model.hidden(Inputs::new(integers(&tokens)));
        let config = TokenLogProbConfig::default();
        let new = token_log_probs(hidden, model.head(), integers(&targets), mask.clone(), &config)?;
        let clip = Objective::ppo_clip(0.2, 0.28);
        let per_token = objective(new.logp, floats(&old), floats(&weights), mask.clone(), &clip)?;
        let summary = per_token.diagnostics.summary();
        let counts = GlobalCounts::of(&mask)?;
        let policy = aggregate(per_token.loss, mask.clone(), Aggregation::TokenMean, &counts)?;
        let entropy = aggregate(new.entropy, mask, Aggregation::TokenMean, &counts)?;
        let numbers = vec![
            policy.clone().into_scalar::<f32>(),
            entropy.clone().into_scalar::<f32>(),
            summary.clip_fraction_low as f32,
            summary.clip_fraction_high as f32,
            summary.approx_kl_k3 as f32,
        ];
        let mut gradients = Gradients::new();
        gradients.add((policy - entropy * 0.01).backward(), &model);
        let mut flat = Vec::new();
        let mut index = 0;
        while let Some(gradient) = gradients.get(index) {
            flat.extend(host(gradient));
            index += 1;
        }
        Ok((numbers, flat))
    };
    let (numbers, gradients) = run(pair.device)?;
    let (expected, expected_gradients) = run(pair.reference)?;
    report.compare("GRPO step: loss, entropy, clipped shares, KL", &numbers, &expected, 2.0)?;
    report.compare("GRPO step: gradients", &gradients, &expected_gradients, 5.0)
}
