//! A row's softmax from its logits, some words at a time: log-probability of a target, entropy, and the gradients of both.

use burn::backend::{DType, Shape};
use burn_flex::FlexTensor;

use super::tensor;
use crate::simd::{exp, fold, largest, vectorised};

/// The targets, for the function of this name.
pub(crate) fn targets(name: &str, targets: &FlexTensor, vocabulary: usize) -> Vec<usize> {
    let targets = targets.to_contiguous();
    let wide: Vec<i64> = match targets.dtype() {
        DType::I64 => targets.storage::<i64>().to_vec(),
        DType::I32 => targets.storage::<i32>().iter().map(|&x| i64::from(x)).collect(),
        other => panic!("{name}: targets of type {other:?}"),
    };
    wide.into_iter()
        .map(|x| match usize::try_from(x) {
            Ok(x) if x < vocabulary => x,
            _ => panic!("{name}: target {x} outside a vocabulary of {vocabulary}"),
        })
        .collect()
}

/// What is known of a row's softmax after some of its words.
#[derive(Clone, Copy)]
pub(super) struct Sums {
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

/// A row that a gradient reaches, with what its logits' gradient needs.
pub(super) struct Row {
    target: usize,
    entropy: f32,
    top: f32,
    log_sum: f32,
    chosen_grad: f32,
    entropy_grad: f32,
}

/// The result `[2, n]` of rows whose words have all been seen, log-probability and entropy; and what the backward pass keeps `[3, n]`:
/// entropy, largest logit, logarithm of the sum beside it.
pub(super) fn results(sums: &[Sums], scale: f32) -> (FlexTensor, FlexTensor) {
    let n = sums.len();
    let (mut out, mut kept) = (vec![0.0; 2 * n], vec![0.0; 3 * n]);
    for (i, Sums { top, sum, weighted, chosen }) in sums.iter().enumerate() {
        let log_sum = sum.ln();
        out[i] = (chosen - top) * scale - log_sum;
        out[n + i] = log_sum - weighted / sum;
        kept[i] = out[n + i];
        kept[n + i] = *top;
        kept[2 * n + i] = log_sum;
    }
    (tensor(out, Shape::from([2, n])), tensor(kept, Shape::from([3, n])))
}

/// What the backward pass knows of all rows: what [`results`] kept, the gradient `[2, n]`, the targets.
pub(super) struct Kept<'a> {
    pub kept: &'a [f32],
    pub grad: &'a [f32],
    pub targets: &'a [usize],
}

impl Kept<'_> {
    /// A row, where a gradient reaches it.
    pub fn row(&self, i: usize) -> Option<Row> {
        let n = self.targets.len();
        let (chosen_grad, entropy_grad) = (self.grad[i], self.grad[n + i]);
        (chosen_grad != 0.0 || entropy_grad != 0.0).then(|| Row {
            target: self.targets[i],
            entropy: self.kept[i],
            top: self.kept[n + i],
            log_sum: self.kept[2 * n + i],
            chosen_grad,
            entropy_grad,
        })
    }
}

vectorised! {
    /// Takes in the logits of the words from `first` on, for some rows.
    pub(super) fn observe<'a>(sums: &'a mut [Sums], logits: &'a [f32], targets: &'a [usize], first: usize, scale: f32) {
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
    pub(super) fn logits_gradient<'a>(logits: &'a mut [f32], rows: &'a [Row], first: usize, scale: f32) {
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
