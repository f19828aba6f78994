//! Log-probabilities of given tokens from hidden states and the output head: the logits come in tiles of some rows by some words,
//! which stay in the caches, forward and backward.
//!
//! How rows are dealt out to tasks has no influence on any number: a row meets the words' tiles in order, and a word's gradient
//! its rows in blocks of fixed size.

use std::borrow::Cow;

use burn::backend::{Shape, TensorMetadata};
use burn_flex::FlexTensor;
use rayon::prelude::*;

use super::softmax::{Kept, Row, Sums, logits_gradient, observe, results, targets};
use super::{slice, tensor};
use crate::gemm::{KC, Left, MC, MR, Mat, Old, Panels, gemm_packed, pack_left, share_right};

/// Words of a tile: a multiple of what a task and a panel take, so that tasks are even.
const WORDS: usize = 960;
/// Rows whose gradients of logits, for one tile's words, are held at a time.
const ROWS: usize = 8192;

/// Lines for one task, in whole panels: enough tasks for all threads, none larger than what stays in a cache.
fn task(lines: usize) -> usize {
    lines.div_ceil(4 * rayon::current_num_threads()).next_multiple_of(MR).clamp(MR, MC)
}

/// Rows of a tile that together hold no more logits than `chunk` whole rows do.
fn rows_held(chunk: usize, vocabulary: usize) -> usize {
    (chunk.saturating_mul(vocabulary) / WORDS.min(vocabulary.max(1))).max(1)
}

/// The result and what the backward pass keeps: see [`results`].
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
    let target = targets("token_log_probs", target, vocabulary);
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

    results(&sums, scale)
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
    let target = targets("token_log_probs", target, vocabulary);
    // Positions without a gradient cost nothing and cannot leak: they are left out.
    let kept = Kept { kept, grad, targets: &target };
    let (places, live): (Vec<usize>, Vec<Row>) = (0..tokens).filter_map(|i| Some((i, kept.row(i)?))).unzip();
    let all = live.len() == tokens;
    let gathered: Cow<[f32]> = if all {
        hidden.into()
    } else {
        places.iter().flat_map(|i| &hidden[i * dim..(i + 1) * dim]).copied().collect()
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
        for (row, place) in hidden_grad.chunks_exact(dim.max(1)).zip(&places) {
            spread[place * dim..(place + 1) * dim].copy_from_slice(row);
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
