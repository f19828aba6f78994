//! Log-probabilities of given completions, rewards of given texts, and mean hidden states.

use burn::tensor::{DType, Int, Tensor, TensorData};

use crate::config::Task;
use crate::error::{Error, Result};
use crate::generate::{check_device, check_tokens};
use crate::model::{CausalLm, Inputs};
use crate::ops;

/// A sequence to be scored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scored {
    /// Prompt and completion.
    pub tokens: Vec<u32>,
    /// How many of them are prompt. With 0, every token after the first is scored.
    pub prompt_length: usize,
}

/// How to score.
#[derive(Debug, Clone, PartialEq)]
pub struct ScoreOptions {
    /// Divides the logits. Default 1.
    pub temperature: f64,
    /// The most tokens (padding included) run at once. Default 8,192.
    pub batch_tokens: usize,
    /// How many positions' logits exist at once. Default 256.
    pub chunk: usize,
}

impl Default for ScoreOptions {
    fn default() -> Self {
        Self { temperature: 1.0, batch_tokens: 8192, chunk: 256 }
    }
}

/// The log-probability (nats) of each token of each completion, in order.
///
/// # Errors
/// If the model lies on an autodiff device or is a reward model, a sequence is empty, its prompt is longer than it, or
/// it holds an unknown token.
pub fn score(model: &CausalLm, sequences: &[Scored], options: &ScoreOptions) -> Result<Vec<Vec<f32>>> {
    if model.config.task != Task::CausalLm {
        return Err(Error::Request("a reward model has no token probabilities".into()));
    }
    let mut results = vec![Vec::new(); sequences.len()];
    for (index, sequence) in sequences.iter().enumerate() {
        let (length, prompt) = (sequence.tokens.len(), sequence.prompt_length);
        if prompt > length {
            return Err(Error::Request(format!("sequence {index}: a prompt of {prompt} in {length} tokens")));
        }
    }
    let rows: Vec<&[u32]> = sequences.iter().map(|s| s.tokens.as_slice()).collect();
    in_batches(model, &rows, options.batch_tokens, |places, hidden| {
        let device = hidden.device();
        let [_, time, width] = hidden.dims();
        // Position t predicts token t + 1.
        let (mut positions, mut targets) = (Vec::new(), Vec::new());
        for (row, place) in places.iter().enumerate() {
            let Scored { tokens, prompt_length } = &sequences[*place];
            for (t, token) in tokens.iter().enumerate().skip((*prompt_length).max(1)) {
                positions.push((row * time + t - 1) as i32);
                targets.push(*token as i32);
            }
        }
        if positions.is_empty() {
            return Ok(());
        }
        let positions = Tensor::<1, Int>::from_data(TensorData::from(positions.as_slice()), &device);
        let targets = Tensor::<1, Int>::from_data(TensorData::from(targets.as_slice()), &device);
        let hidden = hidden.reshape([places.len() * time, width]).select(0, positions);
        let both = ops::token_log_probs(hidden, model.head(), targets, options.temperature, options.chunk);
        let mut values = host(both.narrow(0, 0, 1)).into_iter();
        for place in places {
            let Scored { tokens, prompt_length } = &sequences[*place];
            let count = tokens.len() - (*prompt_length).max(1).min(tokens.len());
            results[*place] = values.by_ref().take(count).collect();
        }
        Ok(())
    })?;
    Ok(results)
}

/// The reward of each sequence: the head's output at its last token that is not the padding token of `config.json`, which
/// is the last one unless a text ends in padding tokens. This is what transformers reads.
///
/// # Errors
/// If the model is not a reward model or lies on an autodiff device, or a sequence is empty or holds an unknown token.
pub fn reward(model: &CausalLm, sequences: &[&[u32]], options: &ScoreOptions) -> Result<Vec<f32>> {
    if model.config.task != Task::Reward {
        return Err(Error::Request("a causal language model gives no rewards".into()));
    }
    let mut results = vec![0.0; sequences.len()];
    in_batches(model, sequences, options.batch_tokens, |places, hidden| {
        let device = hidden.device();
        let [_, time, width] = hidden.dims();
        let pad = model.config.pad;
        let end = |sequence: &[u32]| match pad {
            Some(pad) => sequence.iter().rposition(|token| *token != pad).unwrap_or(0),
            None => sequence.len() - 1,
        };
        let last = places.iter().enumerate().map(|(row, p)| (row * time + end(sequences[*p])) as i32);
        let last: Vec<i32> = last.collect();
        let last = Tensor::<1, Int>::from_data(TensorData::from(last.as_slice()), &device);
        let hidden = hidden.reshape([places.len() * time, width]).select(0, last);
        let rewards = model.logits(hidden.unsqueeze_dim(1));
        for (place, value) in places.iter().zip(host(rewards)) {
            results[*place] = value;
        }
        Ok(())
    })?;
    Ok(results)
}

/// The mean over its tokens of the last hidden states of each sequence: a vector for measures of similarity.
///
/// # Errors
/// If the model lies on an autodiff device, or a sequence is empty or holds an unknown token.
pub fn mean_hidden(model: &CausalLm, sequences: &[&[u32]], options: &ScoreOptions) -> Result<Vec<Vec<f32>>> {
    let mut results = vec![Vec::new(); sequences.len()];
    in_batches(model, sequences, options.batch_tokens, |places, hidden| {
        for (row, place) in places.iter().enumerate() {
            let length = sequences[*place].len();
            let states = hidden.clone().narrow(0, row, 1).narrow(1, 0, length).cast(DType::F32);
            results[*place] = host(states.mean_dim(1));
        }
        Ok(())
    })?;
    Ok(results)
}

/// Numbers on the host as f32.
pub(crate) fn host<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    let data = tensor.into_data();
    match data.dtype() {
        DType::F32 => data.try_into_vec::<f32>().expect("the type has just been matched"),
        _ => data.iter::<f32>().collect(),
    }
}

/// Runs sequences of like lengths together; `each` gets their indices and their hidden states, padded on the right.
fn in_batches(
    model: &CausalLm,
    sequences: &[&[u32]],
    batch_tokens: usize,
    mut each: impl FnMut(&[usize], Tensor<3>) -> Result<()>,
) -> Result<()> {
    check_device(model)?;
    for (index, sequence) in sequences.iter().enumerate() {
        if sequence.is_empty() {
            return Err(Error::Request(format!("sequence {index} has no tokens")));
        }
        check_tokens(model, sequence)?;
    }
    let rope = &model.config.rope;
    let mut order: Vec<usize> = (0..sequences.len()).collect();
    order.sort_by_key(|i| std::cmp::Reverse(sequences[*i].len()));
    let mut rest = order.as_slice();
    while let Some(first) = rest.first() {
        let longest = sequences[*first].len();
        let count = (batch_tokens / longest).clamp(1, rest.len());
        let alike = |i: &&usize| rope.is_long(sequences[**i].len()) == rope.is_long(longest);
        let count = rest[..count].iter().take_while(alike).count();
        let (batch, others) = rest.split_at(count);
        let rows: Vec<&[u32]> = batch.iter().map(|i| sequences[*i]).collect();
        each(batch, model.hidden(Inputs::new(model.batch(&rows)?)))?;
        rest = others;
    }
    Ok(())
}
