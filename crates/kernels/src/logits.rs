//! Log-probabilities and entropies of given tokens from logits that already exist.
// burn-ndarray is deprecated upstream and still asked for.
#![allow(deprecated)]

use burn::backend::autodiff::{
    checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
    grads::Gradients,
    ops::{Backward, Ops, OpsKind},
};
use burn::backend::{
    Autodiff, Backend, DType, Dispatch, FloatDType, Shape, Slice, TensorMetadata, backend_extension,
    get_device_settings,
    tensor::{FloatTensor, IntTensor},
};
use burn::tensor::{Int, Tensor};

use crate::composed;
use crate::pieces::{PieceGrad, chosen_and_entropy, chunks, dims, has_extension, joined, scaled, wide};

/// Log-probability and entropy of every position, from logits.
///
/// With `z = logits / temperature` and `p = softmax(z)`: row 0 is `log p[target]`, row 1 the entropy `-Σ p log p`.
/// Prefer [`token_log_probs`](crate::token_log_probs), which never makes the logits; this is for models that hand out
/// nothing else.
///
/// - `logits` `[n, vocabulary]`, `targets` `[n]` with values in `0..vocabulary`. A logit of `-inf` has probability zero.
/// - Result `[2, n]` in nats, in `f32` for `f32` and narrower arguments.
/// - Beside the logits, `chunk` rows live at any time (none in the fused body); the backward pass adds the one buffer of their
///   gradient. No softmax is kept for it.
///
/// Differentiable in `logits`, from both rows. A position whose two gradients are zero sends exactly zero, even where
/// its logits are NaN. With `n = 0` the result is `[2, 0]`, with a graph.
///
/// # Panics
/// If shapes do not fit, `chunk` is 0 or `temperature` is not positive; a target outside the vocabulary is the backend's panic.
pub fn logit_log_probs(
    logits: Tensor<2>,
    targets: Tensor<1, Int>,
    temperature: f64,
    chunk: usize,
) -> Tensor<2> {
    let [tokens, _] = logits.dims();
    let [found] = targets.dims();
    assert!(found == tokens, "logit_log_probs: expected `[{tokens}]`, found `[{found}]` for `targets`");
    assert!(chunk > 0, "logit_log_probs: a chunk needs at least one row");
    assert!(temperature > 0.0, "logit_log_probs: expected a positive temperature, found {temperature}");
    let logits = logits.into_dispatch();
    if !has_extension(&logits.kind) {
        return composed::logit_log_probs(Tensor::from_dispatch(logits), targets, temperature);
    }
    Tensor::from_dispatch(<Dispatch as LogitLogProbsOps>::logit_log_probs(
        logits,
        targets.into_dispatch(),
        temperature,
        chunk,
    ))
}

/// The backend extension behind [`logit_log_probs`]. Default bodies are composed of the backend's own operations.
#[backend_extension(
    Flex: cfg(feature = "flex"),
    NdArray: cfg(feature = "ndarray"),
    Cube: cfg(feature = "cuda"),
    Autodiff,
)]
pub trait LogitLogProbsOps: Backend {
    /// Forward pass: `[2, n]`.
    fn logit_log_probs(
        logits: FloatTensor<Self>,
        targets: IntTensor<Self>,
        temperature: f64,
        chunk: usize,
    ) -> FloatTensor<Self> {
        forward::<Self>(logits, targets, temperature, chunk)
    }

    /// Forward pass, and what this backend's backward pass wants kept.
    fn logit_log_probs_keeping(
        logits: FloatTensor<Self>,
        targets: IntTensor<Self>,
        temperature: f64,
        chunk: usize,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let out = Self::logit_log_probs(logits, targets, temperature, chunk);
        (out.clone(), out)
    }

    /// Backward pass: the gradient of `logits` from the gradient `[2, n]` of the result.
    fn logit_log_probs_backward(
        logits: FloatTensor<Self>,
        targets: IntTensor<Self>,
        kept: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        temperature: f64,
        chunk: usize,
    ) -> FloatTensor<Self> {
        drop(kept);
        backward::<Self>(logits, targets, grad, temperature, chunk)
    }
}

#[cfg(feature = "flex")]
impl LogitLogProbsOps for burn::backend::Flex {
    fn logit_log_probs(
        logits: FloatTensor<Self>,
        targets: IntTensor<Self>,
        temperature: f64,
        chunk: usize,
    ) -> FloatTensor<Self> {
        Self::logit_log_probs_keeping(logits, targets, temperature, chunk).0
    }

    fn logit_log_probs_keeping(
        logits: FloatTensor<Self>,
        targets: IntTensor<Self>,
        temperature: f64,
        chunk: usize,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        if logits.dtype() == DType::F32 {
            return crate::flex::logit_log_probs_forward(&logits, &targets, temperature);
        }
        let out = forward::<Self>(logits, targets, temperature, chunk);
        (out.clone(), out)
    }

    fn logit_log_probs_backward(
        logits: FloatTensor<Self>,
        targets: IntTensor<Self>,
        kept: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        temperature: f64,
        chunk: usize,
    ) -> FloatTensor<Self> {
        if logits.dtype() == DType::F32 {
            return crate::flex::logit_log_probs_backward(&logits, &targets, &kept, &grad, temperature);
        }
        backward::<Self>(logits, targets, grad, temperature, chunk)
    }
}
#[cfg(feature = "ndarray")]
#[allow(deprecated)]
impl LogitLogProbsOps for burn::backend::NdArray {}
#[cfg(feature = "cuda")]
impl LogitLogProbsOps for burn::backend::Cube {}

impl<B: LogitLogProbsOps, C: CheckpointStrategy> LogitLogProbsOps for Autodiff<B, C> {
    fn logit_log_probs(
        logits: FloatTensor<Self>,
        targets: IntTensor<Self>,
        temperature: f64,
        chunk: usize,
    ) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct LogitLogProbs;

        impl<B: LogitLogProbsOps> Backward<B, 1> for LogitLogProbs {
            type State = (FloatTensor<B>, IntTensor<B>, FloatTensor<B>, f64, usize);

            fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
                let grad = grads.consume::<B>(&ops.node);
                let (logits, targets, kept, temperature, chunk) = ops.state;
                let [node] = ops.parents;
                if let Some(node) = node {
                    let logits = B::logit_log_probs_backward(logits, targets, kept, grad, temperature, chunk);
                    grads.register::<B>(node.id, logits);
                }
            }
        }

        let prep = LogitLogProbs.prepare::<C>([logits.node()]).compute_bound().stateful();
        let logits = logits.into_primitive();
        match prep {
            OpsKind::Tracked(prep) => {
                let (out, kept) =
                    B::logit_log_probs_keeping(logits.clone(), targets.clone(), temperature, chunk);
                prep.finish((logits, targets, kept, temperature, chunk), out)
            }
            OpsKind::UnTracked(prep) => prep.finish(B::logit_log_probs(logits, targets, temperature, chunk)),
        }
    }
}

fn forward<B: Backend>(
    logits: FloatTensor<B>,
    targets: IntTensor<B>,
    temperature: f64,
    chunk: usize,
) -> FloatTensor<B> {
    let [tokens, vocabulary] = dims(&logits);
    let device = logits.device();
    let dtype: FloatDType = wide(logits.dtype()).into();
    let mut pieces = Vec::new();
    for rows in chunks(tokens, chunk) {
        let piece = B::float_slice(logits.clone(), &[rows, Slice::from(0..vocabulary)]);
        pieces.push(chosen_and_entropy::<B>(scaled::<B>(piece, temperature, dtype), &targets, rows));
    }
    joined::<B>(pieces, &device, dtype)
}

fn backward<B: Backend>(
    logits: FloatTensor<B>,
    targets: IntTensor<B>,
    grad: FloatTensor<B>,
    temperature: f64,
    chunk: usize,
) -> FloatTensor<B> {
    let [tokens, vocabulary] = dims(&logits);
    let device = logits.device();
    let narrow: FloatDType = logits.dtype().into();
    let dtype: FloatDType = wide(logits.dtype()).into();
    let bools = get_device_settings::<B>(&device).bool_dtype;
    let grad = B::float_cast(grad, dtype);
    let mut result = B::float_zeros(Shape::from([tokens, vocabulary]), &device, narrow);
    for rows in chunks(tokens, chunk) {
        let slices = [rows, Slice::from(0..vocabulary)];
        let piece = B::float_slice(logits.clone(), &slices);
        let logits_grad = PieceGrad::<B>::of(&grad, rows, bools).of_logits(
            scaled::<B>(piece, temperature, dtype),
            &targets,
            temperature,
            narrow,
        );
        result = B::float_slice_assign(result, &slices, logits_grad);
    }
    result
}
