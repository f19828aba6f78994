//! Log-probabilities of given tokens from hidden states and the output head: the logits come in tiles of some rows by some words,
//! which stay in the caches, forward and backward.
//!
//! How rows are dealt out to tasks has no influence on any number: a row meets the words' tiles in order, and a word's gradient
//! its rows in blocks of fixed size.

use std::borrow::Cow;

use burn::backend::{DType, Shape, TensorMetadata};
use burn_flex::FlexTensor;
use rayon::prelude::*;

use super::{slice, tensor};
use crate::gemm::{KC, Left, MC, MR, Mat, Old, Panels, gemm_packed, pack_left, share_right};
use crate::simd::{exp, fold, largest, vectorised};

/// Words of a tile: a multiple of what a task and a panel take, so that tasks are even.
const WORDS: usize = 960;
/// Rows whose gradients of logits, for one tile's words, are held at a time.
const ROWS: usize = 8192;

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

/// Lines for one task, in whole panels: enough tasks for all threads, none larger than what stays in a cache.
fn task(lines: usize) -> usize {
    lines.div_ceil(4 * rayon::current_num_threads()).next_multiple_of(MR).clamp(MR, MC)
}

/// Rows of a tile that together hold no more logits than `chunk` whole rows do.
fn rows_held(chunk: usize, vocabulary: usize) -> usize {
    (chunk.saturating_mul(vocabulary) / WORDS.min(vocabulary.max(1))).max(1)
}

/// The result `[2, n]`, and what the backward pass keeps `[3, n]`: entropy, largest logit, logarithm of the sum beside it.
pub(crate) fn forward(
    hidden: &FlexTensor,
    head: &FlexTensor,
    target: &FlexTensor,
    temperature: f64,
    chunk: usize,
) -> (FlexTensor, FlexTensor) {
    // Into the pool once, not once for each of many short loops.
    rayon::scope(|_| forward_in_pool(hidden, head, target, temperature, chunk))
}

fn forward_in_pool(
    hidden: &FlexTensor,
    head: &FlexTensor,
    target: &FlexTensor,
    temperature: f64,
    chunk: usize,
) -> (FlexTensor, FlexTensor) {
    let [tokens, dim]: [usize; 2] = hidden.shape().dims();
    let vocabulary = head.shape()[0];
    let (hidden, head) = (hidden.to_contiguous(), head.to_contiguous());
    let (hidden, head) = (slice(&hidden), slice(&head));
    let target = targets(target, vocabulary);
    let scale = (1.0 / temperature) as f32;

    let mut sums = vec![Sums::default(); tokens];
    let mut columns = vec![];
    let rows = task(tokens).min(rows_held(chunk, vocabulary));
    for first in (0..vocabulary).step_by(WORDS) {
        let words = WORDS.min(vocabulary - first);
        share_right([dim, words], Mat::columns(&head[first * dim..], dim), &mut columns);
        sums.par_chunks_mut(rows).enumerate().for_each_init(Vec::new, |logits: &mut Vec<f32>, (i, sums)| {
            let (start, count) = (i * rows, sums.len());
            logits.resize(count * words, 0.0);
            let (left, right) = (Left::rows(&hidden[start * dim..], dim), Panels::new(&columns, dim));
            gemm_packed([count, words, dim], left, right, logits, words, Old::Replace);
            observe(sums, logits, &target[start..start + count], first, scale);
        });
    }

    let (mut out, mut kept) = (vec![0.0; 2 * tokens], vec![0.0; 3 * tokens]);
    for (i, Sums { top, sum, weighted, chosen }) in sums.into_iter().enumerate() {
        let log_sum = sum.ln();
        out[i] = (chosen - top) * scale - log_sum;
        out[tokens + i] = log_sum - weighted / sum;
        kept[i] = out[tokens + i];
        kept[tokens + i] = top;
        kept[2 * tokens + i] = log_sum;
    }
    (tensor(out, Shape::from([2, tokens])), tensor(kept, Shape::from([3, tokens])))
}

pub(crate) fn backward(
    hidden: &FlexTensor,
    head: &FlexTensor,
    target: &FlexTensor,
    kept: &FlexTensor,
    grad: &FlexTensor,
    temperature: f64,
    chunk: usize,
) -> (FlexTensor, FlexTensor) {
    rayon::scope(|_| backward_in_pool(hidden, head, target, kept, grad, temperature, chunk))
}

fn backward_in_pool(
    hidden: &FlexTensor,
    head: &FlexTensor,
    target: &FlexTensor,
    kept: &FlexTensor,
    grad: &FlexTensor,
    temperature: f64,
    chunk: usize,
) -> (FlexTensor, FlexTensor) {
    let [tokens, dim]: [usize; 2] = hidden.shape().dims();
    let vocabulary = head.shape()[0];
    let [hidden, head, kept, grad] = [hidden, head, kept, grad].map(FlexTensor::to_contiguous);
    let (hidden, head, kept, grad) = (slice(&hidden), slice(&head), slice(&kept), slice(&grad));
    let target = targets(target, vocabulary);
    // Positions without a gradient cost nothing and cannot leak: they are left out.
    let live: Vec<Row> = (0..tokens)
        .filter(|&i| grad[i] != 0.0 || grad[tokens + i] != 0.0)
        .map(|i| Row {
            place: i,
            target: target[i],
            entropy: kept[i],
            top: kept[tokens + i],
            log_sum: kept[2 * tokens + i],
            chosen_grad: grad[i],
            entropy_grad: grad[tokens + i],
        })
        .collect();
    let all = live.len() == tokens;
    let gathered: Cow<[f32]> = if all {
        hidden.into()
    } else {
        live.iter().flat_map(|row| &hidden[row.place * dim..(row.place + 1) * dim]).copied().collect()
    };
    let mut hidden_grad = vec![0.0; live.len() * dim];
    let mut head_grad = vec![0.0; vocabulary * dim];
    if dim > 0 {
        let most = rows_held(chunk, vocabulary).min(ROWS);
        let mut room = Room::default();
        let blocks =
            live.chunks(most).zip(gathered.chunks(most * dim)).zip(hidden_grad.chunks_mut(most * dim));
        for (i, ((rows, hidden), hidden_grad)) in blocks.enumerate() {
            let old = if i == 0 { Old::Replace } else { Old::Add };
            room.block(rows, hidden, head, hidden_grad, &mut head_grad, old, (1.0 / temperature) as f32);
        }
    }
    if !all {
        let mut spread = vec![0.0; tokens * dim];
        for (i, row) in live.iter().enumerate() {
            spread[row.place * dim..(row.place + 1) * dim]
                .copy_from_slice(&hidden_grad[i * dim..(i + 1) * dim]);
        }
        hidden_grad = spread;
    }
    (tensor(hidden_grad, Shape::from([tokens, dim])), tensor(head_grad, Shape::from([vocabulary, dim])))
}

/// What a block of rows needs backward, kept for the next: the hidden states packed for the head's gradient, a tile's words of the
/// head packed in both directions, and the gradients of the tile's logits.
#[derive(Default)]
struct Room {
    hidden: Vec<f32>,
    columns: Vec<f32>,
    lines: Vec<f32>,
    tile: Vec<f32>,
}

impl Room {
    /// The backward pass of some rows, whose gradients of one tile's logits are held at a time: written by tasks of some rows
    /// each, which go on to the hidden states, then read by tasks of some words each, for the head.
    #[allow(clippy::too_many_arguments)]
    fn block(
        &mut self,
        rows: &[Row],
        hidden: &[f32],
        head: &[f32],
        hidden_grad: &mut [f32],
        head_grad: &mut [f32],
        old: Old,
        scale: f32,
    ) {
        let (count, dim) = (rows.len(), hidden.len() / rows.len());
        share_right([count, dim], Mat::rows(hidden, dim), &mut self.hidden);
        let rows_each = task(count);
        let heads = head.chunks(WORDS * dim).zip(head_grad.chunks_mut(WORDS * dim)).enumerate();
        for (i, (head, head_grad)) in heads {
            let (first, words) = (i * WORDS, head.len() / dim);
            share_right([dim, words], Mat::columns(head, dim), &mut self.columns);
            share_right([words, dim], Mat::rows(head, dim), &mut self.lines);
            self.tile.resize(count * words, 0.0);
            let (columns, lines) = (Panels::new(&self.columns, dim), Panels::new(&self.lines, words));
            self.tile
                .par_chunks_mut(rows_each * words)
                .zip(hidden_grad.par_chunks_mut(rows_each * dim))
                .zip(hidden.par_chunks(rows_each * dim))
                .zip(rows.par_chunks(rows_each))
                .for_each(|(((logits, hidden_grad), hidden), rows)| {
                    let (count, left) = (rows.len(), Left::rows(hidden, dim));
                    gemm_packed([count, words, dim], left, columns, logits, words, Old::Replace);
                    logits_gradient(logits, rows, first, scale);
                    let old = if first == 0 { Old::Replace } else { Old::Add };
                    let left = Left::rows(logits, words);
                    gemm_packed([count, dim, words], left, lines, hidden_grad, dim, old);
                });
            let (tile, hidden) = (&self.tile, Panels::new(&self.hidden, count));
            let words_each = task(words);
            let parts = head_grad.par_chunks_mut(words_each * dim).enumerate();
            parts.for_each_init(Vec::new, |packed, (i, head_grad)| {
                let (first, own) = (i * words_each, head_grad.len() / dim);
                for start in (0..count).step_by(KC) {
                    let depth = KC.min(count - start);
                    pack_left([own, depth], Mat::columns(&tile[start * words + first..], words), packed);
                    let old = if start == 0 { old } else { Old::Add };
                    let left = Left::packed(packed, depth);
                    gemm_packed([own, dim, depth], left, hidden.after(start), head_grad, dim, old);
                }
            });
        }
    }
}

/// What is known of a row's softmax after some of its words.
#[derive(Clone, Copy)]
struct Sums {
    /// Largest logit.
    top: f32,
    /// Sum of `e^z`, `z` counted from the largest logit.
    sum: f32,
    /// Sum of `z e^z`.
    weighted: f32,
    /// Logit of the target.
    chosen: f32,
}

impl Default for Sums {
    fn default() -> Self {
        Self { top: f32::NEG_INFINITY, sum: 0.0, weighted: 0.0, chosen: f32::NAN }
    }
}

/// A row that a gradient reaches.
struct Row {
    place: usize,
    target: usize,
    entropy: f32,
    top: f32,
    log_sum: f32,
    chosen_grad: f32,
    entropy_grad: f32,
}

vectorised! {
    /// Takes in the logits of the words from `first` on, for some rows.
    fn observe<'a>(sums: &'a mut [Sums], logits: &'a [f32], targets: &'a [usize], first: usize, scale: f32) {
        const LANES: usize = crate::simd::LANES;
        let words = logits.len() / sums.len();
        for ((row, logits), target) in sums.iter_mut().zip(logits.chunks_exact(words)).zip(targets) {
            if let Some(&logit) = target.checked_sub(first).and_then(|i| logits.get(i)) {
                row.chosen = logit;
            }
            let found = largest(logits);
            let top = if found > row.top { found } else { row.top };
            // Before any finite logit the sums stay zero, or NaN.
            let from = top.max(f32::MIN);
            let (mut sums, mut weighted) = ([0.0; LANES], [0.0; LANES]);
            let (blocks, rest) = logits.as_chunks::<LANES>();
            for block in blocks {
                for l in 0..LANES {
                    let z = (block[l] - from) * scale;
                    let e = exp(z);
                    sums[l] += e;
                    // `-inf` has weight zero.
                    weighted[l] += e * z.max(-1e30);
                }
            }
            for (l, &x) in rest.iter().enumerate() {
                let z = (x - from) * scale;
                let e = exp(z);
                sums[l] += e;
                weighted[l] += e * z.max(-1e30);
            }
            let shift = ((row.top - from) * scale).max(-1e30);
            let keep = exp(shift);
            row.weighted = keep * (row.weighted + row.sum * shift) + fold(weighted, |a, b| a + b);
            row.sum = keep * row.sum + fold(sums, |a, b| a + b);
            row.top = top;
        }
    }

    /// Logits of the words from `first` on become gradients of logits.
    fn logits_gradient<'a>(logits: &'a mut [f32], rows: &'a [Row], first: usize, scale: f32) {
        let words = logits.len() / rows.len();
        for (row, logits) in rows.iter().zip(logits.chunks_exact_mut(words)) {
            let Row { target, entropy, top, log_sum, chosen_grad, entropy_grad, .. } = *row;
            for x in logits.iter_mut() {
                let log_p = (*x - top).mul_add(scale, -log_sum).max(-1e30);
                *x = -exp(log_p) * (log_p + entropy).mul_add(entropy_grad, chosen_grad) * scale;
            }
            if let Some(x) = target.checked_sub(first).and_then(|i| logits.get_mut(i)) {
                *x += chosen_grad * scale;
            }
        }
    }
}
