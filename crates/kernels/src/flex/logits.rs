//! Log-probabilities of given tokens from logits: rows in parallel, each in segments that stay in the first-level cache, so that
//! memory is read once forward, and read and written once backward.

use burn::backend::{Shape, TensorMetadata};
use burn_flex::FlexTensor;
use rayon::prelude::*;

use super::softmax::{Kept, Sums, logits_gradient, observe, results, targets};
use super::{slice, tensor};

/// Words of a segment.
const WORDS: usize = 4096;
/// Logits one task takes at least, about.
const PIECE: usize = 64 * 1024;

fn rows_per_task(vocabulary: usize) -> usize {
    PIECE.div_ceil(vocabulary.max(1))
}

/// The result and what the backward pass keeps: see [`results`].
pub(crate) fn forward(
    logits: &FlexTensor,
    target: &FlexTensor,
    temperature: f64,
) -> (FlexTensor, FlexTensor) {
    let [tokens, vocabulary]: [usize; 2] = logits.shape().dims();
    let logits = logits.to_contiguous();
    let logits = slice(&logits);
    let target = targets("logit_log_probs", target, vocabulary);
    let scale = (1.0 / temperature) as f32;
    let mut sums = vec![Sums::default(); tokens];
    sums.par_iter_mut().with_min_len(rows_per_task(vocabulary)).enumerate().for_each(|(i, sums)| {
        let row = &logits[i * vocabulary..(i + 1) * vocabulary];
        for (s, segment) in row.chunks(WORDS).enumerate() {
            observe(std::slice::from_mut(sums), segment, &target[i..=i], s * WORDS, scale);
        }
    });
    results(&sums, scale)
}

/// The gradient of the logits from the gradient `[2, n]` of the result.
pub(crate) fn backward(
    logits: &FlexTensor,
    target: &FlexTensor,
    kept: &FlexTensor,
    grad: &FlexTensor,
    temperature: f64,
) -> FlexTensor {
    let [tokens, vocabulary]: [usize; 2] = logits.shape().dims();
    let [logits, kept, grad] = [logits, kept, grad].map(FlexTensor::to_contiguous);
    let (logits, kept, grad) = (slice(&logits), slice(&kept), slice(&grad));
    let target = targets("logit_log_probs", target, vocabulary);
    let kept = Kept { kept, grad, targets: &target };
    // Zeros from the allocator cost nothing until they are touched; rows without a gradient never are.
    let mut out = vec![0.0; tokens * vocabulary];
    let rows = out.par_chunks_mut(vocabulary.max(1)).with_min_len(rows_per_task(vocabulary));
    rows.zip(logits.par_chunks(vocabulary.max(1))).enumerate().for_each(|(i, (out, logits))| {
        let Some(row) = kept.row(i) else { return };
        for (s, (out, logits)) in out.chunks_mut(WORDS).zip(logits.chunks(WORDS)).enumerate() {
            out.copy_from_slice(logits);
            logits_gradient(out, std::slice::from_ref(&row), s * WORDS, (1.0 / temperature) as f32);
        }
    });
    tensor(out, Shape::from([tokens, vocabulary]))
}
