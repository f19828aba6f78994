//! Attention of one new token against the caches of its row.

use crate::simd::{LANES, exp, largest, vectorised};

/// Keys and values of one head, of positions in order. Keys lie in blocks of sixteen positions, dimension by dimension, so that scores
/// of a block come out of one pass; values lie position by position.
#[derive(Debug, Clone, Default)]
pub struct HeadCache {
    length: usize,
    keys: Vec<f32>,
    values: Vec<f32>,
}

impl HeadCache {
    /// Appends a position.
    ///
    /// # Panics
    /// If the head's size changes.
    pub fn push(&mut self, key: &[f32], value: &[f32]) {
        let dim = key.len();
        assert!(
            value.len() == dim && self.values.len() == self.length * dim,
            "HeadCache: a head of another size"
        );
        let lane = self.length % LANES;
        if lane == 0 {
            self.keys.resize(self.keys.len() + dim * LANES, 0.0);
        }
        let block = self.keys.len() - dim * LANES;
        for (place, key) in self.keys[block..].iter_mut().skip(lane).step_by(LANES).zip(key) {
            *place = *key;
        }
        self.values.extend_from_slice(value);
        self.length += 1;
    }

    /// How many positions there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }
}

/// Attention of one query per head, all of which share one key head: `queries` and `out` are `[group, dim]`, row by row.
///
/// The positions are those of `before` (a prompt that several rows share, say), then those of `own`; the first `hidden` of them are not
/// seen. `weights` is room, kept between calls.
///
/// # Panics
/// If no position is seen or sizes do not fit.
pub fn attend(
    queries: &[f32],
    dim: usize,
    before: &HeadCache,
    own: &HeadCache,
    hidden: usize,
    out: &mut [f32],
    weights: &mut Vec<f32>,
) {
    assert!(hidden < before.len() + own.len(), "attend: no position is seen");
    let padded = |cache: &HeadCache| cache.len().div_ceil(LANES) * LANES;
    weights.resize(padded(before) + padded(own), 0.0);
    let (first, second) = weights.split_at_mut(padded(before));
    let scale = (1.0 / (dim as f64).sqrt()) as f32;
    for (query, out) in queries.chunks_exact(dim).zip(out.chunks_exact_mut(dim)) {
        let skip = hidden.min(before.len());
        scores(query, &before.keys, first);
        scores(query, &own.keys, second);
        let (seen, own_seen) = (&mut first[skip..before.len()], &mut second[hidden - skip..own.len()]);
        let top = top(seen, own_seen) * scale;
        let sum = weigh(seen, scale, top) + weigh(own_seen, scale, top);
        out.fill(0.0);
        gather(seen, &before.values[skip * dim..], out);
        gather(own_seen, &own.values[(hidden - skip) * dim..], out);
        shrink(out, 1.0 / sum);
    }
}

vectorised! {
    /// Products of the query with every key, block by block.
    fn scores<'a>(query: &'a [f32], keys: &'a [f32], out: &'a mut [f32]) {
        let (out, _) = out.as_chunks_mut::<LANES>();
        let (keys, _) = keys.as_chunks::<LANES>();
        for (out, keys) in out.iter_mut().zip(keys.chunks_exact(query.len())) {
            // Even and odd dimensions on their own, so that one addition need not wait for the other.
            let (mut even, mut odd) = ([0.0_f32; LANES], [0.0_f32; LANES]);
            let (query, last) = query.as_chunks::<2>();
            for (q, k) in query.iter().zip(keys.as_chunks::<2>().0) {
                for l in 0..LANES {
                    even[l] = q[0].mul_add(k[0][l], even[l]);
                    odd[l] = q[1].mul_add(k[1][l], odd[l]);
                }
            }
            if let ([q], [.., k]) = (last, keys) {
                for l in 0..LANES {
                    even[l] = q.mul_add(k[l], even[l]);
                }
            }
            for l in 0..LANES {
                out[l] = even[l] + odd[l];
            }
        }
    }

    fn top<'a>(first: &'a [f32], second: &'a [f32]) -> f32 {
        largest(first).max(largest(second))
    }

    /// Scores become exponentials; returns their sum.
    fn weigh<'a>(scores: &'a mut [f32], scale: f32, top: f32) -> f32 {
        for x in scores.iter_mut() {
            *x = exp(x.mul_add(scale, -top));
        }
        crate::simd::reduce1(scores, 0.0, |s, x| s + x, |a, b| a + b)
    }

    /// Adds the weighted values.
    fn gather<'a>(weights: &'a [f32], values: &'a [f32], out: &'a mut [f32]) {
        let dim = out.len();
        let (blocks, rest) = weights.as_chunks::<4>();
        let mut values = values.chunks_exact(dim);
        for w in blocks {
            let rows = [(); 4].map(|()| values.next().unwrap_or(&[]));
            let lines = out.iter_mut().zip(rows[0]).zip(rows[1]).zip(rows[2]).zip(rows[3]);
            for ((((out, a), b), c), d) in lines {
                *out += w[0].mul_add(*a, w[1] * b) + w[2].mul_add(*c, w[3] * d);
            }
        }
        for (w, values) in rest.iter().zip(values) {
            for (out, value) in out.iter_mut().zip(values) {
                *out = w.mul_add(*value, *out);
            }
        }
    }

    fn shrink<'a>(x: &'a mut [f32], factor: f32) {
        for x in x.iter_mut() {
            *x *= factor;
        }
    }
}
