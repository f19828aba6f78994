//! What the model computes of a batch, in training and in evaluation.

use anyhow::Result;
use burn::module::Module;
use burn::tensor::{Device, Tensor};
use models::{CausalLm, Inputs};
use sft::{Batch, Example, Piece, Row, TokenMetrics, cross_entropy, neftune};
use training::{GradientReducer, stream};

use crate::config::Config;

/// Hidden states of a micro-batch, of embeddings with noise where that is asked for.
pub fn hidden(
    model: &CausalLm,
    batch: &Batch,
    rows: &[Row],
    config: &Config,
    (step, number): (u64, usize),
) -> Tensor<3> {
    if config.neftune_alpha == 0.0 {
        return model.hidden(inputs(batch));
    }
    let lengths: Vec<usize> = rows.iter().map(|row| row.iter().map(Piece::fed).sum()).collect();
    let mut random = stream(config.seed, "neftune", step, number as u64, 0);
    let noisy = neftune(model.embed(batch.tokens.clone()), &lengths, config.neftune_alpha, &mut random);
    model.hidden_from(noisy, inputs(batch))
}

fn inputs(batch: &Batch) -> Inputs {
    Inputs {
        tokens: batch.tokens.clone(),
        positions: batch.positions.clone(),
        segments: batch.segments.clone(),
    }
}

/// Loss and accuracy on held-out examples, in order, without a graph.
pub fn evaluate(
    model: &CausalLm,
    examples: &[Example],
    pad: u32,
    device: &Device,
    config: &Config,
    workers: &mut dyn GradientReducer,
) -> Result<TokenMetrics> {
    let model = model.valid();
    let mut total = TokenMetrics::default();
    let parts: Vec<&[Example]> = examples.chunks(config.rows).collect();
    for part in training::shard(&parts, workers) {
        let batch = Batch::collate(&part.iter().collect::<Vec<_>>(), pad, device)?;
        let loss = sft::LossConfig { accuracy: true, ..sft::LossConfig::default() };
        total.add(&cross_entropy(model.hidden(inputs(&batch)), model.head(), &batch, &loss)?.metrics());
    }
    Ok(sum(&total, workers))
}

/// What all workers saw together.
pub fn sum(metrics: &TokenMetrics, workers: &mut dyn GradientReducer) -> TokenMetrics {
    let mut sums = metrics.sums();
    workers.sum_f64(&mut sums);
    sums.into()
}
