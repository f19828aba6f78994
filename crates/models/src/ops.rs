//! The tensor functions of the forward pass, composed from burn's own operations.

use burn::tensor::activation::{log_softmax, sigmoid, softmax};
use burn::tensor::{Bool, DType, Int, Tensor};

/// Root-mean-square norm over the last axis, `[batch, time, dim]`, computed in f32.
pub(crate) fn rms_norm(x: Tensor<3>, weight: Tensor<1>, eps: f64) -> Tensor<3> {
    let dtype = x.dtype();
    let wide = if dtype == DType::F32 { x } else { x.cast(DType::F32) };
    let scale = wide.clone().square().mean_dim(2).add_scalar(eps).sqrt().recip();
    let normed = wide * scale;
    let normed = if dtype == DType::F32 { normed } else { normed.cast(dtype) };
    normed * weight.unsqueeze()
}

/// Rotates the halves of each head, `[batch, time, heads, dim]`, by the angles of `cos` and `sin`, `[time, dim / 2]`.
pub(crate) fn rotary(x: Tensor<4>, cos: Tensor<2>, sin: Tensor<2>) -> Tensor<4> {
    let half = x.dims()[3] / 2;
    let dtype = x.dtype();
    let [time, _] = cos.dims();
    let spread = |t: Tensor<2>| t.cast(dtype).reshape([1, time, 1, half]);
    let (cos, sin) = (spread(cos), spread(sin));
    let first = x.clone().narrow(3, 0, half);
    let second = x.narrow(3, half, half);
    Tensor::cat(
        vec![first.clone() * cos.clone() - second.clone() * sin.clone(), second * cos + first * sin],
        3,
    )
}

/// `silu(gate) * up`.
pub(crate) fn swiglu(gate: Tensor<3>, up: Tensor<3>) -> Tensor<3> {
    sigmoid(gate.clone()) * gate * up
}

/// Causal attention: q `[batch, heads, time, dim]`, k and v `[batch, kv_heads, time, dim]`.
pub(crate) fn causal_attention(
    q: Tensor<4>,
    k: Tensor<4>,
    v: Tensor<4>,
    segments: Option<Tensor<2, Int>>,
    window: Option<usize>,
) -> Tensor<4> {
    let [batch, heads, time, dim] = q.dims();
    let group = heads / k.dims()[1];
    let device = q.device();
    let (k, v) = (repeat(k, group), repeat(v, group));
    let scores = q.matmul(k.transpose()).mul_scalar(1.0 / (dim as f64).sqrt());
    // `tril_mask` is true where it would blank: above the diagonal.
    let mut hidden = Tensor::<2, Bool>::tril_mask([time, time], 0, &device);
    if let Some(window) = window
        && window < time
    {
        hidden = hidden.bool_or(Tensor::<2, Bool>::triu_mask([time, time], 1 - window as i64, &device));
    }
    let mut hidden: Tensor<4, Bool> = hidden.unsqueeze::<4>().expand([batch, 1, time, time]);
    if let Some(segments) = segments {
        let rows = segments.clone().reshape([batch, 1, time, 1]).expand([batch, 1, time, time]);
        let columns = segments.reshape([batch, 1, 1, time]).expand([batch, 1, time, time]);
        hidden = hidden.bool_or(rows.not_equal(columns));
    }
    let scores = scores.mask_fill(hidden.expand([batch, heads, time, time]), -1e30f32.max(f32::MIN / 4.0));
    softmax(scores, 3).matmul(v)
}

/// Each head of `[batch, heads, time, dim]` repeated `times` times in a row.
fn repeat(x: Tensor<4>, times: usize) -> Tensor<4> {
    if times == 1 {
        return x;
    }
    let [batch, heads, time, dim] = x.dims();
    x.unsqueeze_dim::<5>(2).expand([batch, heads, times, time, dim]).reshape([
        batch,
        heads * times,
        time,
        dim,
    ])
}

/// log p(target) and entropy of every position: row 0 and row 1 of `[2, n]`.
pub(crate) fn token_log_probs(
    hidden: Tensor<2>,
    head: Tensor<2>,
    targets: Tensor<1, Int>,
    temperature: f64,
    chunk: usize,
) -> Tensor<2> {
    let [n, _] = hidden.dims();
    let mut parts = Vec::new();
    for start in (0..n).step_by(chunk.max(1)) {
        let size = chunk.max(1).min(n - start);
        let logits = hidden.clone().narrow(0, start, size).matmul(head.clone().transpose());
        let logits = logits.cast(DType::F32).div_scalar(temperature);
        let logp = log_softmax(logits, 1);
        let picked = logp.clone().gather(1, targets.clone().narrow(0, start, size).unsqueeze_dim(1));
        let entropy = (logp.clone().exp() * logp).sum_dim(1).neg();
        parts.push(Tensor::cat(vec![picked, entropy], 1));
    }
    Tensor::cat(parts, 0).transpose()
}
