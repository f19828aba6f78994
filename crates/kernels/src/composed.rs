//! The plain bodies: burn's own operations, differentiable, on every backend and data type.
//!
//! Sums run in `f32` whatever the type of the arguments.

use burn::tensor::{Bool, DType, FloatDType, Int, Tensor, activation};

use crate::{AdamWState, AdamWStep};

fn to_f32<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    if x.dtype() == DType::F32 || x.dtype() == DType::F64 { x } else { x.cast(FloatDType::F32) }
}

fn back_to<const D: usize>(x: Tensor<D>, dtype: DType) -> Tensor<D> {
    if x.dtype() == dtype { x } else { x.cast(dtype) }
}

/// See [`rms_norm`](crate::rms_norm).
pub fn rms_norm(x: Tensor<3>, weight: Tensor<1>, eps: f64) -> Tensor<3> {
    let dtype = x.dtype();
    let x = to_f32(x);
    let mean_square = x.clone().square().mean_dim(2);
    let normal = x * (mean_square + eps).sqrt().recip();
    back_to(normal, dtype) * weight.unsqueeze()
}

/// See [`rotary`](crate::rotary).
pub fn rotary(x: Tensor<4>, cos: Tensor<2>, sin: Tensor<2>) -> Tensor<4> {
    let [batch, time, heads, dim] = x.dims();
    let half = dim / 2;
    let dtype = x.dtype();
    let device = x.device();
    // The two halves as an axis of their own: every operation covers the whole tensor, which matters on a GPU, where each one
    // is a launch and a slice that is not aligned is a copy.
    let halves: Tensor<5> = x.reshape([batch, time, heads, 2, half]);
    let cos: Tensor<5> = back_to(cos, dtype).reshape([1, time, 1, 1, half]);
    let sin: Tensor<5> = back_to(sin, dtype).reshape([1, time, 1, 1, half]);
    let signs = Tensor::<1>::from_data([-1.0_f32, 1.0], (&device, dtype)).reshape([1, 1, 1, 2, 1]);
    let turned = halves.clone().flip([3]) * (sin * signs);
    (halves * cos + turned).reshape([batch, time, heads, dim])
}

/// See [`swiglu`](crate::swiglu).
pub fn swiglu(gate: Tensor<3>, up: Tensor<3>) -> Tensor<3> {
    if gate.is_autodiff() {
        return activation::silu(gate) * up;
    }
    // Half the operations. Its derivative would be NaN where `exp` overflows, so it is for inference only.
    let dtype = gate.dtype();
    let gate = to_f32(gate);
    back_to(gate.clone() / (gate.neg().exp() + 1.0), dtype) * up
}

/// See [`causal_attention`](crate::causal_attention). Scores live whole: `[batch, heads, time, time]`.
///
/// Values at forbidden places have weight zero but are still multiplied: they must be finite.
pub fn causal_attention(
    q: Tensor<4>,
    k: Tensor<4>,
    v: Tensor<4>,
    segments: Option<Tensor<2, Int>>,
    window: Option<usize>,
) -> Tensor<4> {
    let [batch, heads, rows, dim] = q.dims();
    let [_, kv_heads, columns, _] = k.dims();
    let group = heads / kv_heads;
    let dtype = q.dtype();
    if batch == 0 || rows == 0 {
        return q;
    }
    let repeat = |x: Tensor<4>| -> Tensor<4> {
        if group == 1 {
            return x;
        }
        x.unsqueeze_dim::<5>(2).repeat_dim(2, group).reshape([batch, heads, columns, dim])
    };
    let device = q.device();
    let scores = q.matmul(repeat(k).swap_dims(2, 3));
    let scores = to_f32(scores) * (1.0 / (dim as f64).sqrt());
    let forbidden = forbidden_pairs(rows, columns, window, segments, &device);
    let weights = activation::softmax(scores.mask_fill(forbidden, f32::NEG_INFINITY), 3);
    back_to(weights, dtype).matmul(repeat(v))
}

/// `[1 or batch, 1, rows, columns]`: true where row `i` (at position `columns - rows + i`) may not see column `j`.
fn forbidden_pairs(
    rows: usize,
    columns: usize,
    window: Option<usize>,
    segments: Option<Tensor<2, Int>>,
    device: &burn::tensor::Device,
) -> Tensor<4, Bool> {
    let offset = (columns - rows) as i64;
    let row = Tensor::<1, Int>::arange(offset..offset + rows as i64, device).reshape([1, 1, rows, 1]);
    let column = Tensor::<1, Int>::arange(0..columns as i64, device).reshape([1, 1, 1, columns]);
    let distance: Tensor<4, Int> = row - column;
    let mut forbidden = distance.clone().lower_elem(0);
    if let Some(window) = window {
        let window = i64::try_from(window).unwrap_or(i64::MAX);
        forbidden = forbidden.bool_or(distance.greater_equal_elem(window));
    }
    if let Some(segments) = segments {
        let [batch, time] = segments.dims();
        let own: Tensor<4, Int> = segments.clone().reshape([batch, 1, time, 1]);
        let other: Tensor<4, Int> = segments.reshape([batch, 1, 1, time]);
        let own = own.repeat_dim(3, time);
        let other = other.repeat_dim(2, time);
        forbidden = forbidden.repeat_dim(0, batch).bool_or(own.not_equal(other));
    }
    forbidden
}

/// See [`decode_attention`](crate::decode_attention). Slots past a row's length must hold finite values.
pub fn decode_attention(q: Tensor<3>, k: Tensor<4>, v: Tensor<4>, lengths: Tensor<1, Int>) -> Tensor<3> {
    let [batch, heads, dim] = q.dims();
    let [_, kv_heads, time, _] = k.dims();
    let group = heads / kv_heads;
    if batch == 0 {
        return q;
    }
    let dtype = q.dtype();
    let device = q.device();
    let q: Tensor<4> = q.reshape([batch, kv_heads, group, dim]);
    let scores = to_f32(q.matmul(k.swap_dims(2, 3))) * (1.0 / (dim as f64).sqrt());
    let column = Tensor::<1, Int>::arange(0..time as i64, &device).reshape([1, 1, 1, time]);
    let column: Tensor<4, Int> = column.repeat_dim(0, batch);
    let lengths: Tensor<4, Int> = lengths.reshape([batch, 1, 1, 1]).repeat_dim(3, time);
    let weights = activation::softmax(
        scores.mask_fill(
            column.greater_equal(lengths).expand([batch, kv_heads, group, time]),
            f32::NEG_INFINITY,
        ),
        3,
    );
    back_to(weights, dtype).matmul(v).reshape([batch, heads, dim])
}

/// See [`log_softmax`](crate::log_softmax).
pub fn log_softmax(logits: Tensor<2>) -> Tensor<2> {
    activation::log_softmax(to_f32(logits), 1)
}

/// See [`token_log_probs`](crate::token_log_probs). All logits live at once and again in the backward pass.
pub fn token_log_probs(
    hidden: Tensor<2>,
    head: Tensor<2>,
    targets: Tensor<1, Int>,
    temperature: f64,
) -> Tensor<2> {
    logit_log_probs(hidden.matmul(head.transpose()), targets, temperature)
}

/// See [`logit_log_probs`](crate::logit_log_probs). The log-softmax is kept for the backward pass.
pub fn logit_log_probs(logits: Tensor<2>, targets: Tensor<1, Int>, temperature: f64) -> Tensor<2> {
    let [tokens, _] = logits.dims();
    let log_probs = activation::log_softmax(to_f32(logits) / temperature, 1);
    let chosen = log_probs.clone().gather(1, targets.reshape([tokens, 1])).reshape([1, tokens]);
    // `-inf` is probability zero, and 0 log 0 is 0.
    let entropy = -(log_probs.clone().exp() * log_probs.clamp_min(-1e30)).sum_dim(1).reshape([1, tokens]);
    Tensor::cat(vec![chosen, entropy], 0)
}

/// See [`adamw_step`](crate::adamw_step).
pub fn adamw_step<const D: usize>(
    param: Tensor<D>,
    grad: Tensor<D>,
    state: AdamWState<D>,
    step: &AdamWStep,
) -> (Tensor<D>, AdamWState<D>) {
    let dtype = param.dtype();
    let (param, grad) = (to_f32(param), to_f32(grad));
    let m = state.first * step.beta1 + grad.clone() * (1.0 - step.beta1);
    let v = state.second * step.beta2 + grad.square() * (1.0 - step.beta2);
    let denominator = (v.clone() / step.bias_correction2()).sqrt() + step.eps;
    let param = param * (1.0 - step.lr * step.weight_decay)
        - m.clone() / denominator * (step.lr / step.bias_correction1());
    (back_to(param, dtype), AdamWState { first: m, second: v })
}
