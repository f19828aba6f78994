//! Causal attention: a block of rows at a time, so that scores never live whole. The backward pass computes them again.

use burn::backend::{DType, Shape, TensorMetadata};
use burn_flex::{FlexTensor, Layout};
use rayon::prelude::*;

use super::tensor;
use crate::gemm::{Mat, Old, Scratch, gemm};
use crate::simd::{dot, exp, largest, vectorised};

/// Query rows handled at a time.
const ROWS: usize = 48;

/// `[batch, heads, time, dim]` in any memory order with the last axis dense.
struct View<'a> {
    data: &'a [f32],
    strides: [usize; 3],
}

impl<'a> View<'a> {
    fn new(tensor: &'a FlexTensor) -> Self {
        let strides = tensor.layout().strides();
        Self {
            data: &tensor.storage::<f32>()[tensor.layout().start_offset()..],
            strides: [strides[0] as usize, strides[1] as usize, strides[2] as usize],
        }
    }

    fn head(&self, batch: usize, head: usize) -> (&'a [f32], usize) {
        (&self.data[batch * self.strides[0] + head * self.strides[1]..], self.strides[2])
    }
}

fn dense(tensor: &FlexTensor) -> FlexTensor {
    let strides = tensor.layout().strides();
    let usable = strides[3] == 1 && strides.iter().all(|&s| s > 0);
    if usable { tensor.clone() } else { tensor.to_contiguous() }
}

/// Segment numbers of every position; empty for none.
pub(super) fn segment_numbers(segments: &FlexTensor) -> Vec<i64> {
    let segments = segments.to_contiguous();
    match segments.dtype() {
        DType::I64 => segments.storage::<i64>().to_vec(),
        DType::I32 => segments.storage::<i32>().iter().map(|&x| i64::from(x)).collect(),
        other => panic!("causal_attention: segments of type {other:?}"),
    }
}

#[derive(Clone, Copy)]
struct Sizes {
    batch: usize,
    heads: usize,
    kv: usize,
    rows: usize,
    columns: usize,
    dim: usize,
    window: usize,
}

impl Sizes {
    fn new(q: &FlexTensor, k: &FlexTensor, window: usize) -> Self {
        let [batch, heads, rows, dim] = q.shape().dims();
        let [_, kv, columns, _]: [usize; 4] = k.shape().dims();
        Self { batch, heads, kv, rows, columns, dim, window }
    }

    /// First column and end that a row may see.
    fn span(&self, row: usize) -> (usize, usize) {
        let end = self.columns - self.rows + row + 1;
        (end.saturating_sub(self.window), end)
    }

    fn scale(&self) -> f32 {
        (1.0 / (self.dim as f64).sqrt()) as f32
    }
}

#[derive(Default)]
struct Buffers {
    scores: Vec<f32>,
    score_grads: Vec<f32>,
    panels: Scratch,
}

/// A result stored as `[batch, time, heads, dim]`, seen as `[batch, heads, time, dim]`: what follows wants time first.
fn time_first(values: Vec<f32>, [batch, heads, time, dim]: [usize; 4]) -> FlexTensor {
    let stored = tensor(values, Shape::from([batch, time, heads, dim]));
    let strides = [time * heads * dim, dim, heads * dim, 1].map(|s| s as isize).to_vec();
    stored.with_layout(Layout::new(Shape::from([batch, heads, time, dim]), strides, 0))
}

/// The result and, for each row, the logarithm of its sum of exponentials `[batch, heads, rows]`.
pub(super) fn forward(
    q: &FlexTensor,
    k: &FlexTensor,
    v: &FlexTensor,
    segments: &[i64],
    window: usize,
) -> (FlexTensor, FlexTensor) {
    let sizes = Sizes::new(q, k, window);
    let Sizes { batch, heads, kv, rows, dim, .. } = sizes;
    let mut out = vec![0.0; batch * rows * heads * dim];
    let mut sums = vec![0.0; batch * heads * rows];
    if !out.is_empty() {
        let (q, k, v) = (dense(q), dense(k), dense(v));
        let (q, k, v) = (View::new(&q), View::new(&k), View::new(&v));
        out.par_chunks_mut(rows * heads * dim).zip(sums.par_chunks_mut(heads * rows)).enumerate().for_each(
            |(b, (out, sums))| {
                let mut buffers = Buffers::default();
                let segments = segments.get(b * sizes.columns..(b + 1) * sizes.columns);
                for h in 0..heads {
                    let g = h / (heads / kv);
                    let (out, sums) = (&mut out[h * dim..], &mut sums[h * rows..(h + 1) * rows]);
                    forward_head(
                        sizes,
                        q.head(b, h),
                        k.head(b, g),
                        v.head(b, g),
                        segments,
                        out,
                        sums,
                        &mut buffers,
                    );
                }
            },
        );
    }
    (time_first(out, [batch, heads, rows, dim]), tensor(sums, Shape::from([batch, heads, rows])))
}

#[allow(clippy::too_many_arguments)]
fn forward_head(
    sizes: Sizes,
    (q, q_row): (&[f32], usize),
    (k, k_row): (&[f32], usize),
    (v, v_row): (&[f32], usize),
    segments: Option<&[i64]>,
    out: &mut [f32],
    sums: &mut [f32],
    buffers: &mut Buffers,
) {
    let dim = sizes.dim;
    let out_row = sizes.heads * dim;
    for start in (0..sizes.rows).step_by(ROWS) {
        let end = (start + ROWS).min(sizes.rows);
        let (low, high) = (sizes.span(start).0, sizes.span(end - 1).1);
        let (count, width) = (end - start, high - low);
        buffers.scores.resize(count * width, 0.0);
        let scores = &mut buffers.scores[..count * width];
        let keys = Mat::columns(&k[low * k_row..], k_row);
        gemm(
            [count, width, dim],
            Mat::rows(&q[start * q_row..], q_row),
            keys,
            scores,
            width,
            Old::Replace,
            &mut buffers.panels,
        );
        for (i, scores) in scores.chunks_exact_mut(width).enumerate() {
            let (first, last) = sizes.span(start + i);
            let (before, rest) = scores.split_at_mut(first - low);
            let (seen, after) = rest.split_at_mut(last - first);
            before.fill(0.0);
            after.fill(0.0);
            hide(seen, segments, first, last);
            sums[start + i] = softmax(seen, sizes.scale());
        }
        let values = Mat::rows(&v[low * v_row..], v_row);
        gemm(
            [count, dim, width],
            Mat::rows(scores, width),
            values,
            &mut out[start * out_row..],
            out_row,
            Old::Replace,
            &mut buffers.panels,
        );
    }
}

/// Scores of another segment than the row's own, which is the last, become `-inf`.
fn hide(scores: &mut [f32], segments: Option<&[i64]>, first: usize, last: usize) {
    if let Some(segments) = segments {
        for (score, segment) in scores.iter_mut().zip(&segments[first..last]) {
            if *segment != segments[last - 1] {
                *score = f32::NEG_INFINITY;
            }
        }
    }
}

/// Gradients of q, k and v. `saved`: q, k, v, segments, result, sums.
pub(super) fn backward(
    saved: &[FlexTensor],
    segments: &[i64],
    grad: FlexTensor,
    window: usize,
) -> Vec<FlexTensor> {
    let (q, k, v) = (dense(&saved[0]), dense(&saved[1]), dense(&saved[2]));
    let sizes = Sizes::new(&q, &k, window);
    let Sizes { batch, heads, kv, rows, columns, dim, .. } = sizes;
    let mut q_grad = vec![0.0; batch * rows * heads * dim];
    let mut k_grad = vec![0.0; batch * columns * kv * dim];
    let mut v_grad = vec![0.0; batch * columns * kv * dim];
    if !q_grad.is_empty() {
        let (out, grad) = (dense(&saved[4]), dense(&grad));
        let (q, k, v) = (View::new(&q), View::new(&k), View::new(&v));
        let (out, grad, sums) = (View::new(&out), View::new(&grad), super::slice(&saved[5]));
        q_grad
            .par_chunks_mut(rows * heads * dim)
            .zip(k_grad.par_chunks_mut(columns * kv * dim))
            .zip(v_grad.par_chunks_mut(columns * kv * dim))
            .enumerate()
            .for_each(|(b, ((q_grad, k_grad), v_grad))| {
                let mut buffers = Buffers::default();
                let segments = segments.get(b * columns..(b + 1) * columns);
                for h in 0..heads {
                    let g = h / (heads / kv);
                    backward_head(
                        sizes,
                        [q.head(b, h), k.head(b, g), v.head(b, g), out.head(b, h), grad.head(b, h)],
                        segments,
                        &sums[(b * heads + h) * rows..(b * heads + h + 1) * rows],
                        [&mut q_grad[h * dim..], &mut k_grad[g * dim..], &mut v_grad[g * dim..]],
                        &mut buffers,
                    );
                }
            });
    }
    vec![
        time_first(q_grad, [batch, heads, rows, dim]),
        time_first(k_grad, [batch, kv, columns, dim]),
        time_first(v_grad, [batch, kv, columns, dim]),
    ]
}

fn backward_head(
    sizes: Sizes,
    [(q, q_row), (k, k_row), (v, v_row), (out, out_row), (grad, grad_row)]: [(&[f32], usize); 5],
    segments: Option<&[i64]>,
    sums: &[f32],
    [q_grad, k_grad, v_grad]: [&mut [f32]; 3],
    buffers: &mut Buffers,
) {
    let dim = sizes.dim;
    let (q_grad_row, kv_grad_row) = (sizes.heads * dim, sizes.kv * dim);
    for start in (0..sizes.rows).step_by(ROWS) {
        let end = (start + ROWS).min(sizes.rows);
        let (low, high) = (sizes.span(start).0, sizes.span(end - 1).1);
        let (count, width) = (end - start, high - low);
        buffers.scores.resize(count * width, 0.0);
        buffers.score_grads.resize(count * width, 0.0);
        let scores = &mut buffers.scores[..count * width];
        let score_grads = &mut buffers.score_grads[..count * width];
        let panels = &mut buffers.panels;
        let queries = Mat::rows(&q[start * q_row..], q_row);
        let grads = Mat::rows(&grad[start * grad_row..], grad_row);
        let (keys, values) = (&k[low * k_row..], &v[low * v_row..]);
        gemm([count, width, dim], queries, Mat::columns(keys, k_row), scores, width, Old::Replace, panels);
        gemm(
            [count, width, dim],
            grads,
            Mat::columns(values, v_row),
            score_grads,
            width,
            Old::Replace,
            panels,
        );
        let lines = scores.chunks_exact_mut(width).zip(score_grads.chunks_exact_mut(width));
        for (i, (scores, score_grads)) in lines.enumerate() {
            let row = start + i;
            let (first, last) = sizes.span(row);
            for line in [&mut *scores, &mut *score_grads] {
                line[..first - low].fill(0.0);
                line[last - low..].fill(0.0);
            }
            let seen = &mut scores[first - low..last - low];
            hide(seen, segments, first, last);
            softmax_backward(
                seen,
                &mut score_grads[first - low..last - low],
                &out[row * out_row..row * out_row + dim],
                &grad[row * grad_row..row * grad_row + dim],
                sums[row],
                sizes.scale(),
            );
        }
        let (scores, score_grads) = (&*scores, &*score_grads);
        let (k_grad, v_grad) = (&mut k_grad[low * kv_grad_row..], &mut v_grad[low * kv_grad_row..]);
        gemm([width, dim, count], Mat::columns(scores, width), grads, v_grad, kv_grad_row, Old::Add, panels);
        gemm(
            [width, dim, count],
            Mat::columns(score_grads, width),
            queries,
            k_grad,
            kv_grad_row,
            Old::Add,
            panels,
        );
        let q_grad = &mut q_grad[start * q_grad_row..];
        gemm(
            [count, dim, width],
            Mat::rows(score_grads, width),
            Mat::rows(keys, k_row),
            q_grad,
            q_grad_row,
            Old::Replace,
            panels,
        );
    }
}

vectorised! {
    /// In place; returns the logarithm of the sum.
    fn softmax<'a>(scores: &'a mut [f32], scale: f32) -> f32 {
        let top = largest(scores) * scale;
        for x in scores.iter_mut() {
            *x = exp(x.mul_add(scale, -top));
        }
        let sum = crate::simd::reduce1(scores, 0.0, |s, x| s + x, |a, b| a + b);
        let inverse = 1.0 / sum;
        for x in scores.iter_mut() {
            *x *= inverse;
        }
        top + sum.ln()
    }

    /// Scores become weights, gradients of weights become gradients of unscaled scores.
    fn softmax_backward<'a>(
        scores: &'a mut [f32],
        grads: &'a mut [f32],
        out: &'a [f32],
        grad: &'a [f32],
        log_sum: f32,
        scale: f32,
    ) {
        let mean = dot(out, grad);
        for (score, grad) in scores.iter_mut().zip(grads.iter_mut()) {
            *score = exp(score.mul_add(scale, -log_sum));
            *grad = *score * (*grad - mean) * scale;
        }
    }
}
