//! RMSNorm, rotary positions and SwiGLU.

#[cfg(any(feature = "flex", feature = "cube"))]
use burn::backend::Dispatch;
use burn::tensor::Tensor;

use crate::composed;
#[cfg(feature = "cube")]
use crate::cube::{self, CubeOps};
#[cfg(feature = "flex")]
use crate::flex::{FlexOps, reaches};

/// Root-mean-square normalisation over the last axis, as Llama and Qwen use it.
///
/// `y = x / sqrt(mean(x²) + eps) * weight` (Zhang & Sennrich 2019, <https://arxiv.org/abs/1910.07467>, equation 4). The mean and
/// the root run in `f32`; a narrower `x` is rounded to its own type before the weight, as transformers does.
///
/// `x` `[batch, time, dim]`, `weight` `[dim]` → `[batch, time, dim]`. Differentiable in both.
///
/// # Panics
/// If `weight` does not have `dim` entries.
pub fn rms_norm(x: Tensor<3>, weight: Tensor<1>, eps: f64) -> Tensor<3> {
    let ([_, _, dim], [found]) = (x.dims(), weight.dims());
    assert!(dim == found, "rms_norm: expected `[{dim}]`, found `[{found}]` for `weight`");
    #[cfg(any(feature = "flex", feature = "cube"))]
    let (x, weight) = {
        let (x, weight) = (x.into_dispatch(), weight.into_dispatch());
        #[cfg(feature = "flex")]
        if reaches(&x) && reaches(&weight) {
            return Tensor::from_dispatch(Dispatch::fused_rms_norm(x, weight, eps));
        }
        #[cfg(feature = "cube")]
        if cube::reaches(&x) && cube::reaches(&weight) {
            return Tensor::from_dispatch(Dispatch::cube_rms_norm(x, weight, eps));
        }
        (Tensor::from_dispatch(x), Tensor::from_dispatch(weight))
    };
    composed::rms_norm(x, weight, eps)
}

/// Rotary position embedding with the two halves of each head rotated against each other, as Hugging Face's Llama and
/// Qwen do (not interleaved pairs).
///
/// With `half = dim / 2` and position `p`: `y[i] = x[i] cos[p, i] - x[i + half] sin[p, i]` and
/// `y[i + half] = x[i + half] cos[p, i] + x[i] sin[p, i]` (Su et al. 2021, <https://arxiv.org/abs/2104.09864>, equation 34, with
/// permuted channels).
///
/// `x` `[batch, time, heads, dim]`; `cos`, `sin` either `[time, half]`, shared by the batch, or `[batch * time, half]`, one row per
/// token (packed batches and caches). Differentiable in `x`; the tables are constants.
///
/// # Panics
/// If `dim` is odd or a table's shape does not fit.
pub fn rotary(x: Tensor<4>, cos: Tensor<2>, sin: Tensor<2>) -> Tensor<4> {
    let [batch, time, heads, dim] = x.dims();
    assert!(dim % 2 == 0, "rotary: expected an even head size, found {dim}");
    let half = dim / 2;
    for (name, found) in [("cos", cos.dims()), ("sin", sin.dims())] {
        assert!(
            found == [time, half] || found == [batch * time, half],
            "rotary: expected `[{time}, {half}]` or `[{}, {half}]`, found `{found:?}` for `{name}`",
            batch * time
        );
    }
    assert!(cos.dims() == sin.dims(), "rotary: `cos` is {:?} but `sin` is {:?}", cos.dims(), sin.dims());
    let (cos, sin) = (cos.detach(), sin.detach());
    #[cfg(any(feature = "flex", feature = "cube"))]
    let (x, cos, sin) = {
        let (x, cos, sin) = (x.into_dispatch(), cos.into_dispatch(), sin.into_dispatch());
        #[cfg(feature = "flex")]
        if reaches(&x) && reaches(&cos) && reaches(&sin) {
            return Tensor::from_dispatch(Dispatch::fused_rotary(x, cos, sin));
        }
        #[cfg(feature = "cube")]
        if cube::reaches(&x) && cube::reaches(&cos) && cube::reaches(&sin) {
            return Tensor::from_dispatch(Dispatch::cube_rotary(x, cos, sin, 1.0));
        }
        (Tensor::from_dispatch(x), Tensor::<2>::from_dispatch(cos), Tensor::<2>::from_dispatch(sin))
    };
    if cos.dims()[0] == time {
        composed::rotary(x, cos, sin)
    } else {
        composed::rotary(x.reshape([1, batch * time, heads, dim]), cos, sin)
            .reshape([batch, time, heads, dim])
    }
}

/// The gate of Llama's feed-forward block: `silu(gate) * up`, with `silu(x) = x / (1 + exp(-x))`
/// (Shazeer 2020, <https://arxiv.org/abs/2002.05202>, equation 5).
///
/// Both arguments and the result are `[batch, time, dim]`. Differentiable in both.
///
/// # Panics
/// If the shapes differ.
pub fn swiglu(gate: Tensor<3>, up: Tensor<3>) -> Tensor<3> {
    let (expected, found) = (gate.dims(), up.dims());
    assert!(expected == found, "swiglu: expected `{expected:?}`, found `{found:?}` for `up`");
    #[cfg(any(feature = "flex", feature = "cube"))]
    let (gate, up) = {
        let (gate, up) = (gate.into_dispatch(), up.into_dispatch());
        #[cfg(feature = "flex")]
        if reaches(&gate) && reaches(&up) {
            return Tensor::from_dispatch(Dispatch::fused_swiglu(gate, up));
        }
        #[cfg(feature = "cube")]
        if cube::reaches(&gate) && cube::reaches(&up) {
            return Tensor::from_dispatch(Dispatch::cube_swiglu(gate, up));
        }
        (Tensor::from_dispatch(gate), Tensor::from_dispatch(up))
    };
    composed::swiglu(gate, up)
}
