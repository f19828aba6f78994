//! Sampling: many requests at once, each sample by a random stream of its own.
//!
//! Rows of different lengths share a batch, finished rows leave it and waiting ones enter, and the prompt of a request is
//! run once for all its samples. Nothing of this changes a result: the stream of a sample is keyed by (seed, request id,
//! sample index).

mod engine;
#[cfg(feature = "flex")]
mod host;
mod sampler;

use rayon::prelude::*;

use crate::config::Task;
use crate::error::{Error, Result};
use crate::model::CausalLm;
use engine::{Engine, TensorEngine};
use kernels::host::Exponentials;
use sampler::{Drawn, Sampler};

/// What to continue, and how often.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Part of the key of the random stream. Two requests of one id and one prompt give the same samples.
    pub id: u64,
    /// Token ids, at least one.
    pub prompt: Vec<u32>,
    /// How many samples.
    pub samples: usize,
}

/// How to choose the next token, and when to stop.
///
/// The order is that of transformers: repetition penalty, temperature, top-k, top-p, min-p.
#[derive(Debug, Clone, PartialEq)]
pub struct Sampling {
    /// Divides the logits; 0 takes the most likely token. Default 0.
    pub temperature: f64,
    /// Keep the `k` most likely tokens. Default: all.
    pub top_k: Option<usize>,
    /// Keep the most likely tokens whose mass reaches this. Default 1: all. Holtzman et al. 2020.
    pub top_p: f64,
    /// Keep tokens at least this likely relative to the most likely one. Default 0: all. Nguyen et al. 2024.
    pub min_p: f64,
    /// Divides positive logits (multiplies negative ones) of tokens already present. Default 1: off. Keskar et al. 2019.
    pub repetition_penalty: f64,
    /// The most tokens of a sample, its end token included. Default 256.
    pub max_new_tokens: usize,
    /// Tokens that end a sample. Default: none.
    pub eos: Vec<u32>,
    /// Part of the key of every random stream. Default 0.
    pub seed: u64,
    /// The most samples in a batch. Default 64.
    pub batch_size: usize,
    /// The most bytes of keys and values kept at once; fewer rows share a batch where they would take more. One row
    /// always runs. Default 1 GiB.
    pub memory_budget: u64,
}

impl Default for Sampling {
    fn default() -> Self {
        Self {
            temperature: 0.0,
            top_k: None,
            top_p: 1.0,
            min_p: 0.0,
            repetition_penalty: 1.0,
            max_new_tokens: 256,
            eos: Vec::new(),
            seed: 0,
            batch_size: 64,
            memory_budget: 1 << 30,
        }
    }
}

impl Sampling {
    /// Checks the ranges of all settings.
    ///
    /// # Errors
    /// If one is out of its range; the error names it.
    pub fn check(&self) -> Result<()> {
        let wrong = |what: &str, found: f64| Err(Error::Request(format!("{what}, found {found}")));
        if !(self.temperature >= 0.0 && self.temperature.is_finite()) {
            return wrong("temperature: expected 0 or a positive number", self.temperature);
        }
        if !(self.top_p > 0.0 && self.top_p <= 1.0) {
            return wrong("top_p: expected a number in (0, 1]", self.top_p);
        }
        if !(self.min_p >= 0.0 && self.min_p <= 1.0) {
            return wrong("min_p: expected a number in [0, 1]", self.min_p);
        }
        if !(self.repetition_penalty > 0.0 && self.repetition_penalty.is_finite()) {
            return wrong("repetition_penalty: expected a positive number", self.repetition_penalty);
        }
        if self.top_k == Some(0) {
            return wrong("top_k: expected at least 1", 0.0);
        }
        if self.batch_size == 0 {
            return wrong("batch_size: expected at least 1", 0.0);
        }
        Ok(())
    }
}

/// Why a sample ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finish {
    /// An end token, or the watcher's wish.
    Stop,
    /// As many tokens as allowed.
    Length,
}

/// One continuation.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// The new tokens, with the end token if there was one.
    pub tokens: Vec<u32>,
    /// The log-probability (nats) of each under the model: log-softmax of the raw logits.
    pub logprobs: Vec<f32>,
    /// The log-probability (nats) of each under the distribution it was drawn from: after penalty, temperature and
    /// truncation. Zero in greedy decoding.
    pub sampling_logprobs: Vec<f32>,
    /// Why it ended.
    pub finish: Finish,
}

/// A token just sampled, as a [`Watch`] sees it.
#[derive(Debug, Clone, Copy)]
pub struct Sampled<'a> {
    /// Index of the request.
    pub request: usize,
    /// Index of the sample within the request.
    pub sample: usize,
    /// All new tokens of the sample so far, the newest last.
    pub tokens: &'a [u32],
}

/// What follows a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// Sample another token.
    Continue,
    /// End it here, with [`Finish::Stop`].
    Stop,
    /// End the whole call at once, with [`Error::Abandoned`]: unfinished samples are dropped, those that were finished before
    /// have been seen.
    Abandon,
}

/// Sees samples grow and end: for streaming, stop strings, progress, and records written as they come.
///
/// `()` watches nothing; a closure `FnMut(usize, usize, &Sample)` sees finished samples (request, sample).
pub trait Watch {
    /// A token was sampled.
    fn token(&mut self, sampled: Sampled<'_>) -> Flow {
        let _ = sampled;
        Flow::Continue
    }

    /// A sample ended.
    fn finished(&mut self, request: usize, sample: usize, result: &Sample) {
        let _ = (request, sample, result);
    }
}

impl Watch for () {}

impl<F: FnMut(usize, usize, &Sample)> Watch for F {
    fn finished(&mut self, request: usize, sample: usize, result: &Sample) {
        self(request, sample, result);
    }
}

/// The most tokens of prompts, padding included, that run at once.
const PREFILL_TOKENS: usize = 16_384;

/// A sample under way.
struct Row {
    request: usize,
    sample: usize,
    sampler: Sampler,
    result: Sample,
}

/// A model made ready to sample, for those who call [`generate`] on it often: on a CPU its `f32` weights are laid out for products with few
/// rows, which takes as many bytes again and, at each call of the function, as long as some dozen tokens do.
pub struct Prepared<'a> {
    model: &'a CausalLm,
    #[cfg(feature = "flex")]
    weights: Option<host::Weights>,
}

impl<'a> Prepared<'a> {
    /// Lays out the weights.
    ///
    /// # Errors
    /// If the model is a reward model or lies on an autodiff device (pass `model.valid()`).
    pub fn new(model: &'a CausalLm) -> Result<Self> {
        if model.config.task != Task::CausalLm {
            return Err(Error::Request("a reward model writes no tokens".into()));
        }
        check_device(model)?;
        Ok(Self {
            model,
            #[cfg(feature = "flex")]
            weights: host::Weights::pack(model),
        })
    }

    /// As [`generate`].
    ///
    /// # Errors
    /// If a prompt is empty or holds an unknown token, a setting is out of range, or the logits are not finite.
    pub fn generate(
        &self,
        requests: &[Request],
        sampling: &Sampling,
        watch: &mut impl Watch,
    ) -> Result<Vec<Vec<Sample>>> {
        sampling.check()?;
        for (index, request) in requests.iter().enumerate() {
            if request.prompt.is_empty() {
                return Err(Error::Request(format!("the prompt of request {index} has no tokens")));
            }
            check_tokens(self.model, &request.prompt)?;
        }
        #[cfg(feature = "flex")]
        if let Some(weights) = &self.weights {
            let mut engine = host::HostEngine::new(self.model, weights);
            return run(&mut engine, self.model, requests, sampling, watch);
        }
        let mut engine = TensorEngine::new(self.model);
        run(&mut engine, self.model, requests, sampling, watch)
    }
}

/// Samples continuations of all requests; the result has one list per request, in order.
///
/// # Errors
/// If the model is a reward model or lies on an autodiff device (pass `model.valid()`), a prompt is empty or holds an unknown token, a
/// setting is out of range, or the logits are not finite.
pub fn generate(
    model: &CausalLm,
    requests: &[Request],
    sampling: &Sampling,
    watch: &mut impl Watch,
) -> Result<Vec<Vec<Sample>>> {
    sampling.check()?;
    Prepared::new(model)?.generate(requests, sampling, watch)
}

pub(crate) fn check_device(model: &CausalLm) -> Result<()> {
    if model.device().is_autodiff() {
        return Err(Error::Request("the model is on an autodiff device; pass `model.valid()`".into()));
    }
    Ok(())
}

pub(crate) fn check_tokens(model: &CausalLm, tokens: &[u32]) -> Result<()> {
    let vocab = model.config.vocab_size;
    match tokens.iter().find(|t| **t as usize >= vocab) {
        Some(token) => Err(Error::Request(format!("token {token} is not below the vocabulary size {vocab}"))),
        None => Ok(()),
    }
}

/// Bytes of keys and values of one row of `length` positions.
fn row_bytes(model: &CausalLm, length: usize) -> u64 {
    let config = &model.config;
    let element = model.embed_tokens.val().dtype().size();
    (2 * config.layers * config.kv_heads * config.head_dim * element) as u64 * length as u64
}

fn run(
    engine: &mut impl Engine,
    model: &CausalLm,
    requests: &[Request],
    sampling: &Sampling,
    watch: &mut impl Watch,
) -> Result<Vec<Vec<Sample>>> {
    let vocab = model.config.vocab_size;
    let mut results: Vec<Vec<Option<Sample>>> = requests.iter().map(|r| vec![None; r.samples]).collect();
    // Samples not yet begun: (request, first sample, how many), the next at the end.
    let mut waiting: Vec<(usize, usize, usize)> =
        requests.iter().enumerate().rev().map(|(i, r)| (i, 0, r.samples)).filter(|w| w.2 > 0).collect();
    let mut rows: Vec<Row> = Vec::new();
    let mut tokens: Vec<u32> = Vec::new();
    if sampling.max_new_tokens == 0 {
        waiting.clear();
        for (request, list) in results.iter_mut().enumerate() {
            for (sample, result) in list.iter_mut().enumerate() {
                let empty = Sample {
                    tokens: Vec::new(),
                    logprobs: Vec::new(),
                    sampling_logprobs: Vec::new(),
                    finish: Finish::Length,
                };
                watch.finished(request, sample, &empty);
                *result = Some(empty);
            }
        }
    }
    while !(rows.is_empty() && waiting.is_empty()) {
        let fresh = admit(engine, model, requests, sampling, &mut waiting, &mut rows)?;
        let old = rows.len() - fresh.rows;
        // The rows that were running take a step; the new ones begin with the logits of their prompts.
        let mut keep = Vec::with_capacity(rows.len());
        if fresh.rows > 0 {
            let mut row = old;
            let mut exponentials = Exponentials::default();
            for (prompt, copies) in fresh.prompts.iter().enumerate() {
                for _ in 0..*copies {
                    let logits = engine.prompt_logits(prompt);
                    let drawn = rows[row].sampler.draw(sampling, logits, &mut exponentials);
                    keep.push(advance(&mut rows[row], requests, sampling, drawn, watch)?);
                    row += 1;
                }
            }
            // The old rows wait for this round; they step together with the new ones from the next on.
            let fresh_keep = std::mem::take(&mut keep);
            keep = vec![true; old];
            keep.extend(fresh_keep);
        } else {
            tokens.clear();
            tokens.extend(rows.iter().map(|row| row.result.tokens.last().copied().unwrap_or(0)));
            let logits = engine.step(&tokens)?;
            // A draw reads the whole vocabulary: rows share the threads, a few thousand logits at least to each.
            let drawn: Vec<Option<Drawn>> = rows
                .par_iter_mut()
                .zip(logits.par_chunks_exact(vocab))
                .with_min_len((1 << 14) / vocab.max(1) + 1)
                .map_init(Exponentials::default, |exponentials, (row, logits)| {
                    row.sampler.draw(sampling, logits, exponentials)
                })
                .collect();
            for (row, drawn) in rows.iter_mut().zip(drawn) {
                keep.push(advance(row, requests, sampling, drawn, watch)?);
            }
        }
        if keep.contains(&false) {
            engine.retain(&keep);
            let mut kept = keep.iter();
            for row in std::mem::take(&mut rows) {
                if kept.next() == Some(&true) {
                    rows.push(row);
                } else {
                    watch.finished(row.request, row.sample, &row.result);
                    results[row.request][row.sample] = Some(row.result);
                }
            }
        }
    }
    Ok(results.into_iter().map(|list| list.into_iter().flatten().collect()).collect())
}

/// What was admitted: the copies of each prompt, and their sum.
struct Admitted {
    prompts: Vec<usize>,
    rows: usize,
}

/// Fills free places of the batch with waiting samples and runs their prompts.
fn admit(
    engine: &mut impl Engine,
    model: &CausalLm,
    requests: &[Request],
    sampling: &Sampling,
    waiting: &mut Vec<(usize, usize, usize)>,
    rows: &mut Vec<Row>,
) -> Result<Admitted> {
    let nothing = Admitted { prompts: Vec::new(), rows: 0 };
    let free = sampling.batch_size.saturating_sub(rows.len());
    // Entering costs a pass over the prompts, so a running batch waits until a quarter of it is free.
    if waiting.is_empty() || (!rows.is_empty() && free < sampling.batch_size.div_ceil(4)) {
        return Ok(nothing);
    }
    let length = |request: usize| requests[request].prompt.len() + sampling.max_new_tokens;
    let longest = rows.iter().map(|row| length(row.request)).max().unwrap_or(0);
    let mut admitted = Admitted { prompts: Vec::new(), rows: 0 };
    let mut prompts: Vec<(&[u32], usize)> = Vec::new();
    let mut longest = longest;
    let is_long = |request: usize| model.config.rope.is_long(requests[request].prompt.len());
    while let Some((request, first, count)) = waiting.pop() {
        // One pass has one set of rotary frequencies, and its hidden states take memory too.
        let padded = prompts.iter().map(|(prompt, _)| prompt.len()).max().unwrap_or(0);
        let padded = (prompts.len() + 1) * padded.max(requests[request].prompt.len());
        let full = !prompts.is_empty() && padded > PREFILL_TOKENS;
        if full || rows.first().is_some_and(|row| is_long(row.request) != is_long(request)) {
            waiting.push((request, first, count));
            break;
        }
        let total = rows.len() + 1;
        let bytes = row_bytes(model, longest.max(length(request)));
        let affordable = usize::try_from(sampling.memory_budget / bytes.max(1)).unwrap_or(usize::MAX);
        let limit = sampling.batch_size.min(affordable);
        if total > limit && !rows.is_empty() {
            waiting.push((request, first, count));
            break;
        }
        longest = longest.max(length(request));
        let take = count.min(limit.saturating_sub(rows.len()).max(1));
        for sample in first..first + take {
            let prompt = &requests[request].prompt;
            rows.push(Row {
                request,
                sample,
                sampler: Sampler::new(sampling, requests[request].id, sample as u64, prompt),
                result: Sample {
                    tokens: Vec::new(),
                    logprobs: Vec::new(),
                    sampling_logprobs: Vec::new(),
                    finish: Finish::Length,
                },
            });
        }
        admitted.prompts.push(take);
        admitted.rows += take;
        prompts.push((&requests[request].prompt, take));
        if take < count {
            waiting.push((request, first + take, count - take));
            break;
        }
    }
    if admitted.rows > 0 {
        engine.admit(&prompts)?;
    }
    Ok(admitted)
}

/// Appends the token drawn for a row; says whether the row goes on.
fn advance(
    row: &mut Row,
    requests: &[Request],
    sampling: &Sampling,
    drawn: Option<Drawn>,
    watch: &mut impl Watch,
) -> Result<bool> {
    debug_assert!(row.request < requests.len());
    let drawn = drawn.ok_or(Error::NotFinite { request: row.request, position: row.result.tokens.len() })?;
    let result = &mut row.result;
    result.tokens.push(drawn.token);
    result.logprobs.push(drawn.logprob);
    result.sampling_logprobs.push(drawn.sampling_logprob);
    let sampled = Sampled { request: row.request, sample: row.sample, tokens: &result.tokens };
    let wish = watch.token(sampled);
    if wish == Flow::Abandon {
        return Err(Error::Abandoned);
    }
    if sampling.eos.contains(&drawn.token) || wish == Flow::Stop {
        result.finish = Finish::Stop;
        return Ok(false);
    }
    Ok(result.tokens.len() < sampling.max_new_tokens)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, LlamaShape};
    use burn::tensor::Device;

    /// Notes how many rows each prompt that runs is for.
    struct Noting<E>(E, Vec<usize>);

    impl<E: Engine> Engine for Noting<E> {
        fn admit(&mut self, prompts: &[(&[u32], usize)]) -> Result<()> {
            self.1.extend(prompts.iter().map(|(_, copies)| *copies));
            self.0.admit(prompts)
        }

        fn prompt_logits(&self, prompt: usize) -> &[f32] {
            self.0.prompt_logits(prompt)
        }

        fn step(&mut self, tokens: &[u32]) -> Result<&[f32]> {
            self.0.step(tokens)
        }

        fn retain(&mut self, keep: &[bool]) {
            self.0.retain(keep);
        }
    }

    #[test]
    fn a_prompt_runs_once_for_all_its_samples() {
        let shape = LlamaShape {
            vocab_size: 11,
            hidden_size: 8,
            intermediate_size: 8,
            layers: 1,
            heads: 1,
            kv_heads: 1,
            ..LlamaShape::default()
        };
        let model = CausalLm::init(&Config::llama(shape).unwrap(), 1, &Device::default()).unwrap();
        let mut engine = Noting(TensorEngine::new(&model), Vec::new());
        let requests = [(0, 5), (1, 3)].map(|(id, samples)| Request { id, prompt: vec![1, 2, 3], samples });
        let sampling = Sampling { max_new_tokens: 4, ..Sampling::default() };
        let samples = run(&mut engine, &model, &requests, &sampling, &mut ()).unwrap();
        assert_eq!(samples.iter().map(Vec::len).collect::<Vec<_>>(), [5, 3]);
        assert_eq!(engine.1, [5, 3]);
    }
}
