//! Log-probabilities of given tokens: a block of rows at a time from logits to result, in the backward pass again.

use burn::backend::{DType, Shape, TensorMetadata};
use burn_flex::FlexTensor;
use rayon::prelude::*;

use super::{slice, tensor};
use crate::gemm::{Mat, Old, Scratch, gemm};
use crate::simd::{exp, fold, largest, vectorised};

/// Rows of logits one task holds at most.
const ROWS: usize = 256;
/// Blocks whose gradients of the head are held at the same time.
const WAVE: usize = 4;

fn targets(targets: &FlexTensor, vocabulary: usize) -> Vec<usize> {
    let targets = targets.to_contiguous();
    let wide: Vec<i64> = match targets.dtype() {
        DType::I64 => targets.storage::<i64>().to_vec(),
        DType::I32 => targets.storage::<i32>().iter().map(|&x| i64::from(x)).collect(),
        other => panic!("token_log_probs: targets of type {other:?}"),
    };
    wide.into_iter()
        .map(|x| match usize::try_from(x) {
            Ok(x) if x < vocabulary => x,
            _ => panic!("token_log_probs: target {x} outside a vocabulary of {vocabulary}"),
        })
        .collect()
}

pub(crate) fn forward(
    hidden: &FlexTensor,
    head: &FlexTensor,
    target: &FlexTensor,
    temperature: f64,
    chunk: usize,
) -> FlexTensor {
    let [tokens, dim]: [usize; 2] = hidden.shape().dims();
    let vocabulary = head.shape()[0];
    let (hidden, head) = (hidden.to_contiguous(), head.to_contiguous());
    let (hidden, head) = (slice(&hidden), slice(&head));
    let target = targets(target, vocabulary);
    let rows = ROWS.min(chunk);
    let mut out = vec![0.0; 2 * tokens];
    let (chosen, entropy) = out.split_at_mut(tokens);
    chosen.par_chunks_mut(rows).zip(entropy.par_chunks_mut(rows)).enumerate().for_each(
        |(i, (chosen, entropy))| {
            let (start, count) = (i * rows, chosen.len());
            let mut logits = vec![0.0; count * vocabulary];
            let size = [count, vocabulary, dim];
            let hidden = Mat::rows(&hidden[start * dim..], dim);
            gemm(
                size,
                hidden,
                Mat::columns(head, dim),
                &mut logits,
                vocabulary,
                Old::Replace,
                &mut Scratch::default(),
            );
            for (j, row) in logits.chunks_exact(vocabulary).enumerate() {
                (chosen[j], entropy[j]) = statistics(row, target[start + j], (1.0 / temperature) as f32);
            }
        },
    );
    tensor(out, Shape::from([2, tokens]))
}

#[allow(clippy::too_many_arguments)]
pub(crate) fn backward(
    hidden: &FlexTensor,
    head: &FlexTensor,
    target: &FlexTensor,
    out: &FlexTensor,
    grad: &FlexTensor,
    temperature: f64,
    chunk: usize,
) -> (FlexTensor, FlexTensor) {
    let [tokens, dim]: [usize; 2] = hidden.shape().dims();
    let vocabulary = head.shape()[0];
    let [hidden, head, out, grad] = [hidden, head, out, grad].map(FlexTensor::to_contiguous);
    let (hidden, head, out, grad) = (slice(&hidden), slice(&head), slice(&out), slice(&grad));
    let target = targets(target, vocabulary);
    // Positions without a gradient cost nothing and cannot leak: they are left out.
    let live: Vec<usize> = (0..tokens).filter(|&i| grad[i] != 0.0 || grad[tokens + i] != 0.0).collect();
    let mut hidden_grad = vec![0.0; tokens * dim];
    let mut head_grad = vec![0.0; vocabulary * dim];
    let blocks: Vec<&[usize]> = live.chunks(ROWS.min(chunk)).collect();
    for wave in blocks.chunks(WAVE) {
        let parts: Vec<(Vec<f32>, Vec<f32>)> = wave
            .par_iter()
            .map(|places| {
                let count = places.len();
                let mut scratch = Scratch::default();
                let mut gathered = Vec::with_capacity(count * dim);
                for &i in *places {
                    gathered.extend_from_slice(&hidden[i * dim..(i + 1) * dim]);
                }
                let mut logits = vec![0.0; count * vocabulary];
                let rows = Mat::rows(&gathered, dim);
                gemm(
                    [count, vocabulary, dim],
                    rows,
                    Mat::columns(head, dim),
                    &mut logits,
                    vocabulary,
                    Old::Replace,
                    &mut scratch,
                );
                for (row, &i) in logits.chunks_exact_mut(vocabulary).zip(*places) {
                    let numbers =
                        [out[i], out[tokens + i], grad[i], grad[tokens + i], (1.0 / temperature) as f32];
                    logits_gradient(row, target[i], numbers);
                }
                let mut hidden_part = vec![0.0; count * dim];
                let logits_rows = Mat::rows(&logits, vocabulary);
                gemm(
                    [count, dim, vocabulary],
                    logits_rows,
                    Mat::rows(head, dim),
                    &mut hidden_part,
                    dim,
                    Old::Replace,
                    &mut scratch,
                );
                let mut head_part = vec![0.0; vocabulary * dim];
                let logits_columns = Mat::columns(&logits, vocabulary);
                gemm(
                    [vocabulary, dim, count],
                    logits_columns,
                    rows,
                    &mut head_part,
                    dim,
                    Old::Replace,
                    &mut scratch,
                );
                (hidden_part, head_part)
            })
            .collect();
        for (places, (hidden_part, head_part)) in wave.iter().zip(&parts) {
            for (&i, row) in places.iter().zip(hidden_part.chunks_exact(dim)) {
                hidden_grad[i * dim..(i + 1) * dim].copy_from_slice(row);
            }
            for (sum, part) in head_grad.iter_mut().zip(head_part) {
                *sum += part;
            }
        }
    }
    (tensor(hidden_grad, Shape::from([tokens, dim])), tensor(head_grad, Shape::from([vocabulary, dim])))
}

vectorised! {
    /// Log-probability of the target and entropy.
    fn statistics<'a>(logits: &'a [f32], target: usize, scale: f32) -> (f32, f32) {
        const LANES: usize = crate::simd::LANES;
        let top = largest(logits);
        let (mut sums, mut weighted) = ([0.0; LANES], [0.0; LANES]);
        let (blocks, rest) = logits.as_chunks::<LANES>();
        for block in blocks {
            for l in 0..LANES {
                let z = (block[l] - top) * scale;
                let e = exp(z);
                sums[l] += e;
                // `-inf` has weight zero.
                weighted[l] += e * z.max(-1e30);
            }
        }
        for (l, &x) in rest.iter().enumerate() {
            let z = (x - top) * scale;
            let e = exp(z);
            sums[l] += e;
            weighted[l] += e * z.max(-1e30);
        }
        let (sum, weighted) = (fold(sums, |a, b| a + b), fold(weighted, |a, b| a + b));
        let log_sum = sum.ln();
        ((logits[target] - top) * scale - log_sum, log_sum - weighted / sum)
    }

    /// Logits become gradients of logits. `numbers`: log-probability, entropy, their gradients, scale.
    fn logits_gradient<'a>(logits: &'a mut [f32], target: usize, numbers: [f32; 5]) {
        const LANES: usize = crate::simd::LANES;
        let [chosen, entropy, chosen_grad, entropy_grad, scale] = numbers;
        let top = largest(logits);
        // The sum follows from the target's log-probability, which is exact enough where it is small; a rare target
        // (or an impossible one) needs the sum itself.
        let log_sum = if chosen > -4.0 {
            (logits[target] - top) * scale - chosen
        } else {
            let mut sums = [0.0; LANES];
            let (blocks, rest) = logits.as_chunks::<LANES>();
            for block in blocks {
                for l in 0..LANES {
                    sums[l] += exp((block[l] - top) * scale);
                }
            }
            for (l, &x) in rest.iter().enumerate() {
                sums[l] += exp((x - top) * scale);
            }
            fold(sums, |a, b| a + b).ln()
        };
        for x in logits.iter_mut() {
            let log_p = (*x - top).mul_add(scale, -log_sum).max(-1e30);
            *x = -exp(log_p) * (log_p + entropy).mul_add(entropy_grad, chosen_grad) * scale;
        }
        logits[target] += chosen_grad * scale;
    }
}
