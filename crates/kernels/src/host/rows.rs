//! Element-wise pieces: norms, rotation, gate, exponentials of logits.

use crate::simd::{LANES, exp, fold, silu, vectorised};

vectorised! {
    /// RMSNorm in place of each row of `weight.len()` elements; see [`rms_norm`](crate::rms_norm).
    pub fn rms_norm<'a>(x: &'a mut [f32], weight: &'a [f32], eps: f32) {
        for x in x.chunks_exact_mut(weight.len().max(1)) {
            let scale = 1.0 / (crate::simd::dot(x, x) / weight.len() as f32 + eps).sqrt();
            for (x, weight) in x.iter_mut().zip(weight) {
                *x = *x * scale * weight;
            }
        }
    }

    /// `gate` becomes `silu(gate) * up`; see [`swiglu`](crate::swiglu).
    pub fn swiglu<'a>(gate: &'a mut [f32], up: &'a [f32]) {
        for (gate, up) in gate.iter_mut().zip(up) {
            *gate = silu(*gate).0 * up;
        }
    }

    /// `x += y`.
    pub fn add<'a>(x: &'a mut [f32], y: &'a [f32]) {
        for (x, y) in x.iter_mut().zip(y) {
            *x += y;
        }
    }

    /// Rotates the first `2 * cos.len()` elements of each head of `dim` elements, its two halves against each other; see
    /// [`rotary`](crate::rotary).
    pub fn rotate<'a>(heads: &'a mut [f32], dim: usize, cos: &'a [f32], sin: &'a [f32]) {
        let half = cos.len();
        for head in heads.chunks_exact_mut(dim) {
            let (first, second) = head[..2 * half].split_at_mut(half);
            for (((a, b), cos), sin) in first.iter_mut().zip(second).zip(cos).zip(sin) {
                (*a, *b) = (*a * cos - *b * sin, *b * cos + *a * sin);
            }
        }
    }

    fn fill_exponentials<'a>(logits: &'a [f32], max: f32, scale: f32, out: &'a mut [f32], sums: &'a mut [f32]) {
        for ((logits, out), sum) in logits.chunks(BLOCK).zip(out.chunks_mut(BLOCK)).zip(sums.iter_mut()) {
            let mut lanes = [0.0; LANES];
            let (x, x_rest) = logits.as_chunks::<LANES>();
            let (y, y_rest) = out.as_chunks_mut::<LANES>();
            for (x, y) in x.iter().zip(y) {
                for l in 0..LANES {
                    y[l] = exp((x[l] - max) * scale);
                    lanes[l] += y[l];
                }
            }
            for ((lane, x), y) in lanes.iter_mut().zip(x_rest).zip(y_rest) {
                *y = exp((x - max) * scale);
                *lane += *y;
            }
            *sum = fold(lanes, |a, b| a + b);
        }
    }

    fn largest_of<'a>(logits: &'a [f32]) -> f32 {
        crate::simd::largest(logits)
    }
}

/// Elements summed in `f32` before a sum goes on in `f64`.
const BLOCK: usize = 256;

/// The exponentials of a row of logits below their largest, and what a draw from them needs.
#[derive(Debug, Clone, Default)]
pub struct Exponentials {
    max: f32,
    scale: f32,
    total: f64,
    values: Vec<f32>,
    sums: Vec<f32>,
}

impl Exponentials {
    /// Computes `exp((logit - max) / temperature)` of every logit, in place of what was there before.
    ///
    /// A logit of `-inf` has weight zero. A NaN or `+inf` makes [`total`](Self::total) NaN, and so does a row of `-inf` alone.
    pub fn compute(&mut self, logits: &[f32], temperature: f32) {
        self.max = largest_of(logits);
        self.scale = 1.0 / temperature;
        self.values.resize(logits.len(), 0.0);
        self.sums.resize(logits.len().div_ceil(BLOCK), 0.0);
        fill_exponentials(logits, self.max, self.scale, &mut self.values, &mut self.sums);
        self.total = self.sums.iter().map(|sum| f64::from(*sum)).sum();
    }

    /// The largest logit.
    #[must_use]
    pub fn max(&self) -> f32 {
        self.max
    }

    /// The sum of the exponentials; at least 1 for finite logits.
    #[must_use]
    pub fn total(&self) -> f64 {
        self.total
    }

    /// The exponentials, one per logit.
    #[must_use]
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// The log-probability (nats) of a token with this logit.
    #[must_use]
    pub fn log_prob(&self, logit: f32) -> f32 {
        (f64::from((logit - self.max) * self.scale) - self.total.ln()) as f32
    }

    /// The first token at which the running sum of exponentials exceeds `draw * total`; `draw` in `[0, 1)`. `None` where rounding lets
    /// the sum end below that.
    #[must_use]
    pub fn token_at(&self, draw: f64) -> Option<usize> {
        let mut left = draw * self.total;
        for (block, (values, sum)) in self.values.chunks(BLOCK).zip(&self.sums).enumerate() {
            if left >= f64::from(*sum) {
                left -= f64::from(*sum);
                continue;
            }
            for (i, value) in values.iter().enumerate() {
                left -= f64::from(*value);
                if left < 0.0 {
                    return Some(block * BLOCK + i);
                }
            }
            // The block's sum was rounded up: its last token with any weight.
            if let Some(i) = values.iter().rposition(|value| *value > 0.0) {
                return Some(block * BLOCK + i);
            }
        }
        None
    }
}
