//! What one worker found out, told to all: afterwards each has what a single process would have.

use anyhow::{Context, Result, ensure};
use evaluation::local::Written;
use models::{Finish, Sample};
use serde::{Deserialize, Serialize};
use training::GradientReducer;

/// A response as it travels. Numbers go as bits, so that nothing is rounded.
#[derive(Serialize, Deserialize)]
struct Sent {
    text: String,
    finished: bool,
    tokens: Vec<u32>,
    logprobs: Vec<u32>,
    sampling_logprobs: Vec<u32>,
    stop: bool,
}

impl From<&Written> for Sent {
    fn from(written: &Written) -> Self {
        let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect();
        Self {
            text: written.text.clone(),
            finished: written.finished,
            tokens: written.sample.tokens.clone(),
            logprobs: bits(&written.sample.logprobs),
            sampling_logprobs: bits(&written.sample.sampling_logprobs),
            stop: written.sample.finish == Finish::Stop,
        }
    }
}

impl From<Sent> for Written {
    fn from(sent: Sent) -> Self {
        let numbers = |bits: Vec<u32>| bits.into_iter().map(f32::from_bits).collect();
        let sample = Sample {
            tokens: sent.tokens,
            logprobs: numbers(sent.logprobs),
            sampling_logprobs: numbers(sent.sampling_logprobs),
            finish: if sent.stop { Finish::Stop } else { Finish::Length },
        };
        Self { text: sent.text, finished: sent.finished, sample }
    }
}

/// The responses to `total` questions, from those that each worker asked: every so many-th ([`training::shard`]).
pub fn responses(
    mine: Vec<Vec<Written>>,
    total: usize,
    workers: &mut dyn GradientReducer,
) -> Result<Vec<Vec<Written>>> {
    if workers.workers() == 1 {
        return Ok(mine);
    }
    let sent: Vec<Vec<Sent>> = mine.iter().map(|row| row.iter().map(Sent::from).collect()).collect();
    let mut queues = Vec::new();
    for bytes in workers.gather(&serde_json::to_vec(&sent)?) {
        let rows: Vec<Vec<Sent>> =
            serde_json::from_slice(&bytes).context("another worker's responses cannot be read")?;
        queues.push(rows.into_iter());
    }
    let turns = queues.len();
    let rows: Vec<Vec<Sent>> = (0..total).filter_map(|at| queues[at % turns].next()).collect();
    ensure!(rows.len() == total, "{} of {total} questions were answered", rows.len());
    Ok(rows.into_iter().map(|row| row.into_iter().map(Written::from).collect()).collect())
}

/// Rows of numbers, from those that each worker computed; it left the others empty. `lengths` are those of all rows.
pub fn numbers(mine: Vec<Vec<f32>>, lengths: &[usize], workers: &mut dyn GradientReducer) -> Vec<Vec<f32>> {
    if workers.workers() == 1 {
        return mine;
    }
    let mut all = Vec::with_capacity(lengths.iter().sum());
    for (row, length) in mine.iter().zip(lengths) {
        all.extend_from_slice(row);
        all.resize(all.len() + length - row.len(), 0.0);
    }
    workers.sum(&mut all);
    let mut rest = all.as_slice();
    let mut rows = Vec::with_capacity(lengths.len());
    for length in lengths {
        let (row, after) = rest.split_at(*length);
        rows.push(row.to_vec());
        rest = after;
    }
    rows
}
